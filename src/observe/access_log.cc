#include "observe/access_log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::observe {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

int open_file(const std::string& path) {
  // O_NONBLOCK: a path may be a FIFO, which must not block the open, nor later the thread at the end.
  constexpr int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  // As root not through another user's link: the folder is often theirs, and the link may lead to any file.
  struct stat facts{};
  const bool foreign_link =
      ::geteuid() == 0 && ::lstat(path.c_str(), &facts) == 0 && S_ISLNK(facts.st_mode) && facts.st_uid != 0;
  if (foreign_link) {
    errno = ELOOP;
    return -1;
  }
  const bool own_link = ::geteuid() == 0 && S_ISLNK(facts.st_mode);
  return ::open(path.c_str(), flags | (::geteuid() == 0 && !own_link ? O_NOFOLLOW : 0), 0640);
}

bool is_regular(int fd) {
  struct stat facts{};
  return fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

// The thread takes no signal: those are for main, and a SIGPIPE would end the program instead of giving EPIPE.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

// One producer, one consumer. Positions only grow; their remainder is the place in `octets`. Only whole lines go in, so
// the content between the two positions always begins and ends at a line's end.
struct AccessLog::Ring {
  static constexpr size_t capacity = limits::access_log_ring_bytes;
  static_assert(std::has_single_bit(capacity));

  std::unique_ptr<char[]> octets = std::make_unique_for_overwrite<char[]>(capacity);
  std::string line;  // the producer's; keeps its capacity
  alignas(64) std::atomic<size_t> written{0};
  std::atomic<uint64_t> dropped{0};
  alignas(64) std::atomic<size_t> taken{0};

  // Returns how full the ring is now, or 0 when the line had no room and was dropped.
  size_t push(std::string_view text) {
    const size_t at = written.load(std::memory_order_relaxed);
    const size_t used = at - taken.load(std::memory_order_acquire);
    if (text.size() > capacity - used) {
      dropped.fetch_add(1, std::memory_order_relaxed);
      return 0;
    }
    const size_t offset = at % capacity;
    const size_t first = std::min(text.size(), capacity - offset);
    std::memcpy(octets.get() + offset, text.data(), first);
    std::memcpy(octets.get(), text.data() + first, text.size() - first);
    // Sequentially consistent against AccessLog::writer_: either the writer sees this line before it sleeps, or the
    // producer sees that the writer sleeps.
    written.store(at + text.size(), std::memory_order_seq_cst);
    return used + text.size();
  }
};

Outcome<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& destination, unsigned writers,
                                                    std::vector<std::string> log_query) {
  std::unique_ptr<AccessLog> log(new AccessLog);
  log->log_query_ = std::move(log_query);
  if (destination == "off") return log;
  if (destination == "stdout") {
    log->fd_ = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  } else {
    log->path_ = destination;
    log->fd_ = open_file(destination);
  }
  if (log->fd_ < 0) {
    const int error = errno;
    const ErrorCode code = error == EACCES || error == EPERM ? ErrorCode::permission_denied
                           : error == ENOENT                 ? ErrorCode::not_found
                                                             : ErrorCode::io_error;
    return fail(code, fmt::format("the access log {} cannot be opened: {}; set access_log to a file that can be "
                                  "written, to \"stdout\" or to \"off\"",
                                  log::escape(destination), reason(error)));
  }
  log->in_pieces_ = !is_regular(log->fd_);
  log->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (log->wake_fd_ < 0) {
    return fail(ErrorCode::resource_exhausted,
                fmt::format("the access log cannot be started: {}; raise the limit of open files", reason(errno)));
  }
  for (unsigned i = 0; i < writers; ++i) log->rings_.push_back(std::make_unique<Ring>());
  const BlockedSignals blocked;
  log->thread_ = std::thread([self = log.get()] { self->drain_loop(); });
  return log;
}

AccessLog::~AccessLog() {
  if (thread_.joinable()) {
    stop_.store(true);
    wake();
    thread_.join();
  }
  if (wake_fd_ >= 0) ::close(wake_fd_);
  if (fd_ >= 0) ::close(fd_);
}

void AccessLog::record(unsigned writer, const AccessRecord& record) {
  if (!enabled()) return;
  Ring& ring = *rings_[writer];
  ring.line.clear();
  format_access_line(record, log_query_, ring.line);
  const size_t used = ring.push(ring.line);
  const Writer state = writer_.load(std::memory_order_seq_cst);
  if (state == Writer::running || (state == Writer::batching && used < Ring::capacity / 2)) return;
  if (writer_.exchange(Writer::running) != Writer::running) wake();
}

void AccessLog::wake() { eventfd_write(wake_fd_, 1); }

void AccessLog::reopen() {
  if (!enabled()) return;
  reopen_.store(true);
  wake();
}

uint64_t AccessLog::dropped() const noexcept {
  uint64_t total = unwritten_.load(std::memory_order_relaxed);
  for (const auto& ring : rings_) total += ring->dropped.load(std::memory_order_relaxed);
  return total;
}

void AccessLog::drain_loop() {
  while (true) {
    const bool stopping = stop_.load();
    writer_.store(Writer::running, std::memory_order_seq_cst);
    if (drain_all()) {
      if (stopping) continue;
      writer_.store(Writer::batching, std::memory_order_seq_cst);
      sleep_until_woken(limits::access_log_batch_ms);
      continue;
    }
    if (stopping) break;
    // Announce the sleep, then look once more: a line recorded before the announcement is found here, one recorded
    // after it wakes us.
    writer_.store(Writer::idle, std::memory_order_seq_cst);
    if (!drain_all()) sleep_until_woken(-1);
  }
  report_drops(true);
}

bool AccessLog::drain_all() {
  bool wrote = false;
  for (const auto& ring : rings_) wrote |= drain(*ring);
  if (reopen_.exchange(false)) open_again();
  report_drops(false);
  return wrote;
}

bool AccessLog::drain(Ring& ring) {
  const size_t end = ring.written.load(std::memory_order_seq_cst);
  // Behind that load: a line that was recorded after reopen() must not go to the old file.
  if (reopen_.exchange(false)) open_again();
  size_t at = ring.taken.load(std::memory_order_relaxed);
  if (at == end) return false;
  while (at != end) {
    const size_t offset = at % Ring::capacity;
    const std::string_view piece(ring.octets.get() + offset, std::min(end - at, Ring::capacity - offset));
    size_t size = write_some(piece);
    if (size == 0) {  // the destination fails: what is waiting is dropped, else no line would ever fit again
      size = piece.size();
      unwritten_.fetch_add(static_cast<uint64_t>(std::count(piece.begin(), piece.end(), '\n')));
      torn_ = !at_line_start_;
    }
    at += size;
    ring.taken.store(at, std::memory_order_release);
  }
  return true;
}

// Returns how many octets the destination took; 0 when it failed.
size_t AccessLog::write_some(std::string_view text) {
  if (torn_) {
    if (put("\n") == 0) return 0;
    torn_ = false;
  }
  if (!in_pieces_ || text.size() <= PIPE_BUF) return put(text);
  // A pipe that polls as writable takes PIPE_BUF octets without blocking (pipe(7)); ending where a line ends keeps
  // lines whole among the output of other processes on the same pipe.
  text = text.substr(0, PIPE_BUF);
  const size_t end = text.rfind('\n');
  return put(end == text.npos ? text : text.substr(0, end + 1));
}

size_t AccessLog::put(std::string_view piece) {
  while (true) {
    if (in_pieces_ && !wait_for_room()) {
      complain("it takes no more");
      return 0;
    }
    const ssize_t size = ::write(fd_, piece.data(), piece.size());
    if (size > 0) {
      at_line_start_ = piece[static_cast<size_t>(size) - 1] == '\n';
      failing_ = false;
      patience_ms_ = limits::access_log_stop_patience_ms;
      return static_cast<size_t>(size);
    }
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    complain(reason(errno));
    return 0;
  }
}

// False when the program wants to end and the destination has taken nothing for a while.
bool AccessLog::wait_for_room() {
  while (true) {
    pollfd room{fd_, POLLOUT, 0};
    if (poll(&room, 1, patience_ms_ > 0 ? limits::access_log_stuck_poll_ms : 0) > 0) return true;  // or write() fails
    if (stop_.load()) {
      patience_ms_ -= limits::access_log_stuck_poll_ms;
      if (patience_ms_ <= 0) return false;
    }
    report_drops(false);
  }
}

void AccessLog::complain(const std::string& why) {
  if (std::exchange(failing_, true)) return;
  log::error("the access log {} cannot be written: {}; lines are dropped until it can",
             path_.empty() ? "on stdout" : path_, why);
}

void AccessLog::sleep_until_woken(int timeout_ms) {
  pollfd woken{wake_fd_, POLLIN, 0};
  poll(&woken, 1, timeout_ms);
  eventfd_t count = 0;
  eventfd_read(wake_fd_, &count);
}

void AccessLog::open_again() {
  if (path_.empty()) return;
  const int fresh = open_file(path_);
  // dup3 replaces the file behind the same number, which workers compare in enabled().
  if (fresh < 0 || dup3(fresh, fd_, O_CLOEXEC) < 0) {
    log::error("the access log {} cannot be opened again: {}; lines go to the old file", path_, reason(errno));
  } else {
    in_pieces_ = !is_regular(fd_);
    at_line_start_ = true;
    torn_ = false;
  }
  if (fresh >= 0) ::close(fresh);
}

void AccessLog::report_drops(bool now) {
  const uint64_t total = dropped();
  const uint64_t at_ms = system_clock().monotonic_ms();
  if (total == reported_drops_ || (!now && at_ms - reported_at_ms_ < limits::access_log_drop_report_ms)) return;
  log::warn("the access log lost {} lines: its destination is slower than the traffic", total - reported_drops_);
  reported_drops_ = total;
  reported_at_ms_ = at_ms;
}

}  // namespace lintel::observe
