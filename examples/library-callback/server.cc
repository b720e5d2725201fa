// Any other server: the engine asks for a request's lines by a callback. This one reads HTTP from a plain socket, as
// little of it as the example needs (one request a connection, no body). Usage: server PORT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <forwarded/library.h>
#include <string>
#include <string_view>

namespace fw = lintel::forwarded;

// Calls visit(name, value) for every header line of a request's head.
template <class Visit>
static void each_line(std::string_view head, Visit visit) {
  for (size_t at = head.find("\r\n") + 2; at < head.size();) {
    const std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    if (line.empty()) return;
    at += line.size() + 2;
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    visit(line.substr(0, colon), value);
  }
}

static std::string refused(const fw::Refusal& refusal) {
  return "HTTP/1.1 " + std::to_string(refusal.status) + " Refused\r\nX-Lintel-Error: " + refusal.code +
         "\r\nConnection: close\r\n\r\n" + refusal.message + "\n";
}

static std::string answer(const fw::TrustEngine& engine, const fw::ConnectionFacts& facts, std::string_view head) {
  std::string_view host;
  int hosts = 0;
  each_line(head, [&](std::string_view name, std::string_view value) {
    if (!fw::folds_to(name, "host")) return;
    host = value;
    ++hosts;
  });
  if (hosts > 1) return refused(fw::refusal(lintel::ErrorCode::host_duplicate, "Host"));
  const auto identity = engine.identify(facts, host, [head](fw::AddField add) { each_line(head, add); });
  if (!identity) return refused(identity.error());
  std::string seen;  // what an app behind this server is to be told
  for (const auto& [name, value] : identity->headers) {
    if (name == "X-Forwarded-For") seen = value;
  }
  return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nclient=" + identity->client +
         " scheme=" + std::string(identity->scheme()) + " authority=" + identity->authority +
         " x-forwarded-for=" + seen + "\n";
}

static void serve(const fw::TrustEngine& engine, int connection, uint16_t local_port) {
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  if (getpeername(connection, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return;
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
  const auto facts = fw::connection(text, ntohs(peer.sin_port), /*https=*/false, local_port);

  std::string head;
  char octets[4096];
  while (head.find("\r\n\r\n") == head.npos && head.size() < 32 * 1024) {
    const ssize_t count = read(connection, octets, sizeof octets);
    if (count <= 0) return;
    head.append(octets, static_cast<size_t>(count));
  }
  const std::string reply = answer(engine, *facts, head);
  if (write(connection, reply.data(), reply.size()) < 0) std::perror("write");
}

int main(int argc, char** argv) {
  const auto port = static_cast<uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8080);
  const fw::TrustEngine engine({
      .trust = {{.peers = {"127.0.0.1"}, .source = "x-forwarded", .accept = {{"for", "proto", "host"}}}},
      .served = {"app.example", "*.app.example"},
  });
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 64) != 0) {
    std::perror("server");
    return 1;
  }
  std::printf("listening on %d\n", port);
  std::fflush(stdout);
  while (true) {
    const int connection = accept(listener, nullptr, nullptr);
    if (connection < 0) continue;
    serve(engine, connection, port);
    close(connection);
  }
}
