#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "serve/privileges.h"

namespace lintel::serve {
namespace {

constexpr char open_file = 'o', new_connection = 'c';
constexpr size_t message_bytes = 4096;
// A request is a letter, a number, and a path; its answer has the same number.
constexpr size_t request_head_bytes = 1 + sizeof(uint32_t);
struct AnswerHead {
  uint32_t number = 0;
  int error = EPIPE;
};

bool send_answer(int socket, AnswerHead head, int fd) {
  iovec octets{&head, sizeof head};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &octets;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof head);
}

// The next answer, and its descriptor or -1. False: there is none.
bool receive_answer(int socket, AnswerHead& head, int& fd) {
  iovec octets{&head, sizeof head};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &octets;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  fd = -1;
  const bool got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == static_cast<ssize_t>(sizeof head);
  const cmsghdr* header = got ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return got;
}

// Of all that root may do, reading files is what is left.
void keep_only_reading() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  data[0].effective = data[0].permitted = 1U << CAP_DAC_READ_SEARCH;
  ::syscall(SYS_capset, &header, data);
}

// The other side of FileBroker, in the process that stays root.
class Broker {
 public:
  Broker(int socket, std::string config_file, const config::Config& config) : config_file_(std::move(config_file)) {
    sockets_.push_back({socket, POLLIN, 0});
    permit(config);
  }

  // Until nobody is left who could ask.
  void run() {
    while (!sockets_.empty()) {
      if (::poll(sockets_.data(), sockets_.size(), -1) < 0 && errno != EINTR) return;
      for (size_t i = 0; i < sockets_.size(); ++i) {
        if (sockets_[i].revents == 0 || answer(sockets_[i].fd)) continue;
        ::close(sockets_[i].fd);
        sockets_.erase(sockets_.begin() + static_cast<ptrdiff_t>(i--));
      }
    }
  }

 private:
  void permit(const config::Config& config) {
    permitted_.clear();
    if (!config_file_.empty()) permitted_.insert(config_file_);
    for (std::string& file : files_of(config)) {
      if (permitted_.size() < limits::broker_files_count) permitted_.insert(std::move(file));
    }
  }

  bool is_permitted(const std::string& path) {
    if (permitted_.contains(path)) return true;
    if (config_file_.empty()) return false;
    const auto stamp = file_stamp(config_file_);
    if (stamp == read_at_ && !includes_changed()) return false;
    read_at_ = stamp;
    const config::ParseResult parsed = config::parse_file(config_file_);
    if (parsed.config != nullptr) {
      permit(*parsed.config);
      included_.clear();
      for (const std::string& file : parsed.config->files) included_.emplace_back(file, file_stamp(file));
    }
    return permitted_.contains(path);
  }

  bool includes_changed() const {
    return included_.empty() ||
           std::ranges::any_of(included_, [](const auto& one) { return file_stamp(one.first) != one.second; });
  }

  bool answer(int socket) {
    char octets[message_bytes];
    const ssize_t size = ::recv(socket, octets, sizeof octets, 0);
    if (size < static_cast<ssize_t>(request_head_bytes)) return size < 0 && errno == EINTR;
    uint32_t number = 0;
    std::memcpy(&number, octets + 1, sizeof number);
    if (octets[0] == new_connection) return give_connection(socket, number);
    const std::string path(octets + request_head_bytes, static_cast<size_t>(size) - request_head_bytes);
    if (!is_permitted(path)) return send_answer(socket, {number, EACCES}, -1);
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const int error = errno;
    struct stat facts{};
    const bool is_file = fd >= 0 && ::fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
    const bool sent = send_answer(socket, {number, fd < 0 ? error : is_file ? 0 : EACCES}, is_file ? fd : -1);
    if (fd >= 0) ::close(fd);
    return sent;
  }

  bool give_connection(int socket, uint32_t number) {
    int pair[2];
    if (sockets_.size() >= limits::admin_connections_count ||
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
      return send_answer(socket, {number, EMFILE}, -1);
    }
    const bool sent = send_answer(socket, {number, 0}, pair[1]);
    ::close(pair[1]);
    sockets_.push_back({pair[0], POLLIN, 0});
    return sent;
  }

  std::string config_file_;
  std::set<std::string> permitted_;
  std::optional<FileStamp> read_at_;
  std::vector<std::pair<std::string, std::optional<FileStamp>>> included_;
  std::vector<pollfd> sockets_;
};

}  // namespace

Outcome<std::unique_ptr<FileBroker>> FileBroker::start(const std::string& config_file, const config::Config& config) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return fail(ErrorCode::resource_exhausted,
                fmt::format("cannot start the process that opens files: {}", std::strerror(errno)));
  }
  const pid_t child = ::fork();
  if (child < 0) {
    ::close(pair[0]);
    ::close(pair[1]);
    return fail(ErrorCode::resource_exhausted,
                fmt::format("cannot start the process that opens files: {}", std::strerror(errno)));
  }
  if (child == 0) {
    // Its own standard streams and its socket are all that it keeps: a port that it held would never be free again.
    ::dup2(pair[1], 3);
    ::fcntl(3, F_SETFD, FD_CLOEXEC);
    ::close_range(4, ~0U, 0);
    ::prctl(PR_SET_NAME, "lintel-files");
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) ::signal(number, SIG_IGN);
    keep_only_reading();
    log::set_level(LogLevel::off);
    Broker(3, config_file, config).run();
    ::_exit(0);
  }
  ::close(pair[1]);
  return std::make_unique<FileBroker>(net::UniqueFd(pair[0]));
}

FileBroker::FileBroker(net::UniqueFd socket) : socket_(std::move(socket)) {
  const timeval patience{.tv_sec = limits::broker_request_ms / 1000, .tv_usec = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

int FileBroker::ask(char what, const std::string& path) {
  const std::lock_guard lock(mutex_);
  const uint32_t number = ++number_;
  std::string message(1, what);
  message.append(reinterpret_cast<const char*>(&number), sizeof number);
  message += path;
  if (message.size() > message_bytes) {
    errno = ENAMETOOLONG;
    return -1;
  }
  if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0) return -1;
  AnswerHead head;
  int fd = -1;
  while (receive_answer(socket_.get(), head, fd)) {
    if (head.number == number) {
      if (fd < 0) errno = head.error;
      return fd;
    }
    // The answer to a request that was given up: another file, which nobody may take for this one.
    if (fd >= 0) ::close(fd);
  }
  errno = EPIPE;
  return -1;
}

int FileBroker::open(const std::string& path) { return ask(open_file, path); }
int FileBroker::connect_another() { return ask(new_connection, {}); }

std::vector<std::string> files_of(const config::Config& config) {
  std::vector<std::string> files = config.files;
  const auto add = [&](const std::string& file) {
    if (!file.empty()) files.push_back(file);
  };
  const auto add_endpoints = [&](const std::vector<config::Endpoint>& endpoints) {
    for (const config::Endpoint& endpoint : endpoints) {
      add(endpoint.tls.ca_file);
      add(endpoint.tls.cert_file);
      add(endpoint.tls.key_file);
    }
  };
  add(config.edge.tokens_file);
  for (const config::AcmeIssuer& issuer : config.acme.issuers) {
    add(issuer.ca_file);
    add(issuer.eab_hmac_file);
  }
  for (const config::Site& site : config.sites) {
    add(site.certificate_file);
    add(site.key_file);
    add(site.client_certificates.ca_file);
    add_endpoints(site.to);
    for (const config::Route& route : site.routes) {
      add(route.basic_auth.users_file);
      add_endpoints(route.to);
    }
  }
  return files;
}

}  // namespace lintel::serve
