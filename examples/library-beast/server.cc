// A Boost.Beast server that knows its client: answers with what the trust engine found. Usage: server PORT
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <cstdlib>
#include <forwarded/adapters/beast.h>
#include <string>

namespace fw = lintel::forwarded;
namespace http = boost::beast::http;
using boost::asio::ip::tcp;

static http::response<http::string_body> answer(const fw::TrustEngine& engine, const fw::ConnectionFacts& facts,
                                                http::request<http::string_body> request) {
  http::response<http::string_body> response{http::status::ok, request.version()};
  response.keep_alive(request.keep_alive());
  const auto identity = fw::beast::identify(engine, facts, request);
  if (!identity) {
    response.result(static_cast<unsigned>(identity.error().status));
    response.set("X-Lintel-Error", identity.error().code);
    response.body() = identity.error().message + "\n";
  } else {
    fw::beast::apply(engine, facts, *identity, request);  // code that reads headers now sees the truth
    response.body() = "client=" + identity->client + " scheme=" + std::string(identity->scheme()) +
                      " authority=" + identity->authority +
                      " x-forwarded-for=" + std::string(request["X-Forwarded-For"]) + "\n";
  }
  response.prepare_payload();
  return response;
}

static void serve(const fw::TrustEngine& engine, tcp::socket socket) {
  const auto facts = fw::beast::connection(socket, /*https=*/false);
  if (!facts) return;
  boost::beast::flat_buffer buffer;
  boost::system::error_code failed;
  while (true) {
    http::request<http::string_body> request;
    http::read(socket, buffer, request, failed);
    if (failed) return;
    const auto response = answer(engine, *facts, std::move(request));
    http::write(socket, response, failed);
    if (failed || !response.keep_alive()) return;
  }
}

int main(int argc, char** argv) {
  const int port = argc > 1 ? std::atoi(argv[1]) : 8080;
  const fw::TrustEngine engine({
      .trust = {{.peers = {"127.0.0.1"}, .source = "x-forwarded", .accept = {{"for", "proto", "host"}}}},
      .served = {"app.example", "*.app.example"},
  });
  boost::asio::io_context context;
  tcp::acceptor acceptor(context, {boost::asio::ip::make_address("127.0.0.1"), static_cast<unsigned short>(port)});
  std::printf("listening on %d\n", port);
  std::fflush(stdout);
  while (true) serve(engine, acceptor.accept());
}
