#include "serve/small_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/arena.h"
#include "base/limits.h"
#include "base/percent.h"
#include "http/h1.h"

namespace lintel::serve {
namespace {

void copy_head(const http::RequestHead& head, SmallRequest& request) {
  request.method = head.method;
  const size_t question = head.target.find('?');
  request.path = head.target.substr(0, question);
  if (question != std::string_view::npos) request.query = head.target.substr(question + 1);
  request.host = head.host;
}

}  // namespace

std::string query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string() : percent_decoded(pair.substr(equals + 1));
  }
  return {};
}

SmallServer::SmallServer(net::Reactor& reactor, SocketAddress address, Gate gate, Handler handler)
    : reactor_(reactor),
      address_(std::move(address)),
      gate_(std::move(gate)),
      handler_(std::move(handler)),
      connections_(reactor),
      accepting_(reactor) {}

Outcome<std::unique_ptr<SmallServer>> SmallServer::create(net::Reactor& reactor, const SocketAddress& address,
                                                          mode_t mode, Gate gate, Handler handler, int inherited) {
  const bool is_unix = address.kind == SocketAddress::Kind::unix_path;
  // Nobody may connect between bind() and chmod().
  const mode_t mask = ::umask(is_unix ? static_cast<mode_t>(~mode & 0777) : 022);
  auto sockets = inherited >= 0 ? Outcome<std::vector<int>>(std::vector<int>{inherited}) : net::listen_on(address, 1);
  ::umask(mask);
  if (!sockets) return std::unexpected(sockets.error());
  std::unique_ptr<SmallServer> server(new SmallServer(reactor, is_unix ? address : net::local_address(sockets->front()),
                                                      std::move(gate), std::move(handler)));
  server->fd_ = sockets->front();
  server->acceptor_ =
      std::make_unique<net::Acceptor>(reactor, sockets->front(), [self = server.get()](net::Accepted accepted) {
        const bool room = self->connections_.size() < limits::admin_connections_count;
        if (!room || (self->gate_ && !self->gate_(accepted.fd))) {
          ::close(accepted.fd);
          return;
        }
        self->connections_.spawn(self->serve(accepted.fd));
      });
  server->accepting_.spawn(server->acceptor_->run());
  return server;
}

int SmallServer::duplicate_socket() const { return ::fcntl(fd_, F_DUPFD_CLOEXEC, 3); }

SmallServer::~SmallServer() {
  connections_.cancel_all();
  accepting_.cancel_all();
}

// False when there is nobody to answer. `status` is not 0 when the request cannot be used.
net::Task<bool> SmallServer::read_request(net::Stream& stream, net::Signal& signal, SmallRequest& request,
                                          uint16_t& status) {
  std::string octets;
  size_t head_size = 0;
  for (;;) {
    char piece[4096];
    const net::ReadResult got = stream.try_read(piece);
    if (got.status == net::ReadResult::Status::would_block) {
      const net::Wake wake = co_await signal.wait();
      if (wake == net::Wake::deadline) co_return false;
      continue;
    }
    if (got.status != net::ReadResult::Status::data) co_return false;
    octets.append(piece, got.size);
    if (octets.size() > limits::admin_request_bytes) {
      status = 413;
      co_return true;
    }
    if (head_size == 0) {
      const size_t end = http::find_head_end(octets, 0);
      if (end == std::string::npos) continue;
      head_size = end;
    }
    Arena arena;
    http::RequestHead head;
    const auto parsed = http::parse_request_head(octets, arena, head);
    const bool framed = head.framing == http::Framing::none || head.framing == http::Framing::length;
    if (parsed.status != http::HeadParse::Status::complete || !framed) {
      status = 400;
      co_return true;
    }
    if (octets.size() - parsed.consumed < head.content_length) continue;
    copy_head(head, request);
    request.body = octets.substr(parsed.consumed, head.content_length);
    co_return true;
  }
}

net::Task<void> SmallServer::serve(int fd) {
  net::Signal signal(reactor_);
  net::Stream stream;
  stream.open(reactor_, fd, &signal);
  signal.set_deadline_in(limits::admin_request_ms);
  SmallRequest request;
  SmallAnswer answer;
  uint16_t refused = 0;
  const bool there = co_await read_request(stream, signal, request, refused);
  if (!there) co_return;
  const bool is_head = request.method == "HEAD";
  if (refused != 0) {
    answer = {refused, "text/plain", "this request cannot be used\n"};
  } else {
    answer = co_await handler_(std::move(request));
  }
  signal.set_deadline_in(limits::admin_request_ms);
  stream.put(
      fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                  answer.status, http::reason_phrase(answer.status), answer.type, answer.body.size()));
  if (!is_head) stream.put(answer.body);
  while (!stream.flush()) {
    if (stream.write_failed()) co_return;
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline) co_return;
  }
  stream.shutdown_write();
  // What the client still sends would turn the close into a reset.
  for (size_t discarded = 0; discarded < limits::discard_bytes;) {
    char piece[4096];
    const net::ReadResult got = stream.try_read(piece);
    if (got.status == net::ReadResult::Status::data) {
      discarded += got.size;
      continue;
    }
    if (got.status != net::ReadResult::Status::would_block) co_return;
    const net::Wake wake = co_await signal.wait();
    if (wake == net::Wake::deadline) co_return;
  }
}

}  // namespace lintel::serve
