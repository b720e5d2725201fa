// A long line between two network namespaces: a TUN device in each, and every packet that enters at one leaves at the
// other --delay-us later. For kernels without netem.
//   bench_loadgen delay-line --from FILE --to FILE --delay-us N   (FILE: /proc/PID/ns/net; the devices are "line")
// It works on packets, so that TCP's own windows, pacing and congestion control see the line as they would a real one:
// nothing is ended, acknowledged or merged here. Segmentation is left to the kernels at both ends (packets of up to
// 64 KiB with their virtio header pass whole), so that the line carries more than the programs under test can send. It
// loses nothing until a direction holds line_octets, then it stops taking packets and the device's queue drops them.
// Prints "ready"; ends when its stdin does.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "client.h"

namespace bench {
namespace {

using std::chrono::nanoseconds;

constexpr size_t line_octets = size_t{256} * 1024 * 1024;  // in flight, each direction
constexpr size_t packet_octets = 65536 + 10;               // with its virtio_net_hdr, which passes as it is
constexpr unsigned packets_a_turn = 64;                    // so that one direction does not hold the other up

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "bench_loadgen delay-line: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

// A TUN device in the namespace; this thread is in it afterwards.
int open_device(const std::string& namespace_file) {
  const int space = open(namespace_file.c_str(), O_RDONLY | O_CLOEXEC);
  if (space < 0) fail(namespace_file.c_str());
  if (setns(space, CLONE_NEWNET) != 0) fail("setns");
  close(space);
  const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) fail("/dev/net/tun");
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  std::strncpy(request.ifr_name, "line", sizeof request.ifr_name - 1);
  if (ioctl(device, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
  if (ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) != 0) fail("TUNSETOFFLOAD");
  return device;
}

// Packets on their way: a ring of {due, size, octets}; none is split at the ring's end.
class Direction {
 public:
  explicit Direction(nanoseconds delay) : delay_(delay) {
    void* memory =
        mmap(nullptr, line_octets, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    ring_ = static_cast<char*>(memory);
  }

  bool has_room() const {
    const size_t needed = 2 * (sizeof(Head) + packet_octets);  // one may have to begin anew at the start
    return line_octets - (tail_ - head_) >= needed;
  }
  bool empty() const { return head_ == tail_; }
  nanoseconds due() const { return at(head_)->due; }

  // Takes what has arrived at the device.
  void take(int device, nanoseconds now) {
    for (unsigned i = 0; i < packets_a_turn && has_room(); ++i) {
      if (line_octets - tail_ % line_octets < sizeof(Head) + packet_octets) skip_to_start();
      Head* head = at(tail_);
      const ssize_t size = read(device, head + 1, packet_octets);
      if (size <= 0) return;
      *head = {.due = now + delay_, .size = static_cast<size_t>(size)};
      tail_ += whole(head->size);
    }
  }

  void deliver(int device, nanoseconds now) {
    while (!empty()) {
      const Head* head = at(head_);
      if (head->due > now) return;
      // What the device does not take is lost, as on any line.
      if (head->size != 0 && write(device, head + 1, head->size) < 0 && errno == EINTR) continue;
      head_ += head->size != 0 ? whole(head->size) : line_octets - head_ % line_octets;
    }
  }

 private:
  struct alignas(16) Head {
    nanoseconds due;
    size_t size;  // 0: the rest of the ring is unused
  };
  static size_t whole(size_t size) { return sizeof(Head) + ((size + 15) & ~size_t{15}); }
  Head* at(size_t position) const { return reinterpret_cast<Head*>(ring_ + position % line_octets); }
  void skip_to_start() {
    if (line_octets - tail_ % line_octets >= sizeof(Head)) *at(tail_) = {.due = nanoseconds(0), .size = 0};
    tail_ += line_octets - tail_ % line_octets;
  }

  char* ring_ = nullptr;
  size_t head_ = 0, tail_ = 0;  // grow for ever; positions modulo line_octets
  nanoseconds delay_;
};

nanoseconds monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

void carry(int first, int second, nanoseconds delay) {
  Direction there(delay), back(delay);
  for (;;) {
    const nanoseconds now = monotonic();
    there.deliver(second, now);
    back.deliver(first, now);
    nanoseconds wait = std::chrono::seconds(1);
    for (const Direction* direction : {&there, &back})
      if (!direction->empty()) wait = std::clamp(direction->due() - monotonic(), nanoseconds(0), wait);
    pollfd files[] = {{STDIN_FILENO, POLLIN, 0},
                      {first, static_cast<short>(there.has_room() ? POLLIN : 0), 0},
                      {second, static_cast<short>(back.has_room() ? POLLIN : 0), 0}};
    const timespec limit{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    if (ppoll(files, 3, &limit, nullptr) <= 0) continue;
    char ignored[64];
    if (files[0].revents != 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return;
    const nanoseconds arrived = monotonic();
    if (files[1].revents != 0) there.take(first, arrived);
    if (files[2].revents != 0) back.take(second, arrived);
  }
}

}  // namespace

int run_delay_line(const Options& options) {
  const int first = open_device(text(options, "from", "")), second = open_device(text(options, "to", ""));
  std::puts("ready");
  std::fflush(stdout);
  carry(first, second, std::chrono::microseconds(number(options, "delay-us", 0)));
  return 0;
}

}  // namespace bench
