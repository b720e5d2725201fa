#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "serve/privileges.h"

namespace lintel::serve {
namespace {

// What the broker's process does, by hand: an answer with the number of `request`.
void answer(int socket, const std::string& request, int fd) {
  struct {
    uint32_t number;
    int error;
  } head{0, 0};
  std::memcpy(&head.number, request.data() + 1, sizeof head.number);
  iovec octets{&head, sizeof head};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &octets;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ASSERT_EQ(::sendmsg(socket, &message, 0), static_cast<ssize_t>(sizeof head));
}

std::string receive(int socket) {
  char octets[512];
  const ssize_t size = ::recv(socket, octets, sizeof octets, 0);
  return size > 0 ? std::string(octets, static_cast<size_t>(size)) : std::string();
}

// A late answer would otherwise be taken for the next one: a site would be given another site's key, or other
// authorities for its client certificates, and every later file would be the wrong one too.
TEST(FileBrokers, a_late_answer_is_never_taken_for_another_file) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  FileBroker broker{net::UniqueFd(pair[0])};
  const timeval short_patience{.tv_sec = 0, .tv_usec = 10'000};
  ::setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &short_patience, sizeof short_patience);
  EXPECT_EQ(broker.open("/etc/first"), -1) << "nobody answered in time";
  const timeval patience{.tv_sec = 60, .tv_usec = 0};
  ::setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  std::FILE* const first = std::tmpfile();
  std::FILE* const second = std::tmpfile();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  std::fputs("first", first);
  std::fputs("second", second);
  std::fflush(first);
  std::fflush(second);
  std::thread late([&] {
    answer(pair[1], receive(pair[1]), ::fileno(first));
    answer(pair[1], receive(pair[1]), ::fileno(second));
  });
  const int fd = broker.open("/etc/second");
  late.join();
  char octets[16] = {};
  ASSERT_GE(fd, 0);
  EXPECT_EQ(::pread(fd, octets, sizeof octets - 1, 0), 6);
  EXPECT_STREQ(octets, "second");
  ::close(fd);
  ::close(pair[1]);
  std::fclose(first);
  std::fclose(second);
}

}  // namespace
}  // namespace lintel::serve
