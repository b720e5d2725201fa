// A cpp-httplib server that knows its client: answers with what the trust engine found. Usage: server PORT
#include <cstdio>
#include <cstdlib>
#include <forwarded/adapters/httplib.h>

namespace fw = lintel::forwarded;

int main(int argc, char** argv) {
  const int port = argc > 1 ? std::atoi(argv[1]) : 8080;
  const fw::TrustEngine engine({
      .trust = {{.peers = {"127.0.0.1"}, .source = "x-forwarded", .accept = {{"for", "proto", "host"}}}},
      .served = {"app.example", "*.app.example"},
  });

  httplib::Server server;
  server.Get(".*", [&engine](const httplib::Request& request, httplib::Response& response) {
    const auto facts = fw::cpp_httplib::connection(request, /*https=*/false);
    if (!facts) {
      response.status = 500;
      return;
    }
    const auto identity = fw::cpp_httplib::identify(engine, *facts, request);
    if (!identity) {
      response.status = identity.error().status;
      response.set_header("X-Lintel-Error", identity.error().code);
      response.set_content(identity.error().message + "\n", "text/plain");
      return;
    }
    httplib::Request honest = request;  // what code that reads headers should see
    fw::cpp_httplib::apply(engine, *facts, *identity, honest);
    response.set_content("client=" + identity->client + " scheme=" + std::string(identity->scheme()) +
                             " authority=" + identity->authority +
                             " x-forwarded-for=" + honest.get_header_value("X-Forwarded-For") + "\n",
                         "text/plain");
  });
  std::printf("listening on %d\n", port);
  std::fflush(stdout);
  return server.listen("127.0.0.1", port) ? 0 : 1;
}
