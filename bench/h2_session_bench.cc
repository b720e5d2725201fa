// What HTTP/2 costs one proxied request: the head in, the answer's head and body out. Prints ns per request;
// `scripts/bench` is what compares whole proxies. Requests come eight at a time and answers leave together, as they do
// on a busy connection.
#include <benchmark/benchmark.h>

#include <string>

#include "http/h2_session.h"
#include "http/h2_test_support.h"

namespace {

using namespace lintel;
using namespace lintel::http;
using namespace lintel::http::h2_test;

constexpr uint32_t batch_size = 8;

const Fields browser_fields = {
    {"user-agent",
     "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"},
    {"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"},
    {"cache-control", "max-age=0"},
    {"sec-fetch-site", "same-origin"},
    {"sec-fetch-mode", "navigate"},
    {"sec-fetch-dest", "document"},
    {"referer", "https://shop.example.com/accounts/"},
    {"accept-encoding", "gzip, deflate, br, zstd"},
    {"accept-language", "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"},
    {"cookie", "sessionid=9f2c1b7e4d5a6f80123456789abcdef0; csrftoken=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"}};

// The octets of a request that the tables on both sides know already, as they are from the second one on.
struct KnownRequest {
  std::string opening;  // preface, SETTINGS and a first request
  std::string frame;    // of stream 3
  explicit KnownRequest(const Fields& fields) {
    H2Session client({.role = H2Session::Role::client, .extended_connect = true, .max_concurrent_streams = 0}, 0);
    const OwnedFields owned(fields);
    for (std::string* to : {&opening, &frame}) {
      static_cast<void>(client.submit_request("GET", "https", "shop.example.com", "/accounts/login?next=%2Fdashboard",
                                              "", owned.list, true));
      *to = gather_all(client);
    }
  }
};

void head_in_answer_out(benchmark::State& state, const Fields& fields, size_t body_octets) {
  const KnownRequest known(fields);
  H2Session server({.role = H2Session::Role::server, .extended_connect = true, .max_concurrent_streams = 0}, 1);
  const OwnedFields answer({{"server", "gunicorn"},
                            {"date", "Sun, 06 Nov 1994 08:49:37 GMT"},
                            {"content-type", "text/html; charset=utf-8"},
                            {"content-length", std::to_string(body_octets)},
                            {"vary", "Accept-Encoding, Cookie"},
                            {"strict-transport-security", "max-age=2592000"},
                            {"x-content-type-options", "nosniff"},
                            {"referrer-policy", "strict-origin-when-cross-origin"}});
  const std::string body(body_octets, 'b');
  Buffer out;
  auto serve = [&](std::string_view octets) {
    if (!server.feed(octets, 1).has_value()) state.SkipWithError("refused");
    for (const H2Event& event : server.events()) {
      if (event.kind != H2Event::Kind::request) continue;
      server.submit_response(event.stream, 200, answer.list, body_octets == 0);
      if (body_octets == 0) continue;
      server.write(event.stream, body);
      server.finish(event.stream);
    }
    server.clear_events();
    server.gather(out, 1 << 20);
    out.clear_keep();
  };
  serve(known.opening);
  uint32_t next = 3;
  std::string batch;
  for (uint32_t i = 0; i < batch_size; ++i) batch += known.frame;
  if (body_octets != 0)
    batch += frame(window_update, 0, 0, number(static_cast<uint32_t>(batch_size * body_octets + 1), 4));
  for (auto _ : state) {
    for (uint32_t i = 0; i < batch_size; ++i, next += 2) {
      const std::string id = number(next, 4);
      batch.replace(i * known.frame.size() + 5, 4, id);
    }
    serve(batch);
  }
  state.SetItemsProcessed(state.iterations() * batch_size);
  state.counters["s/request"] = benchmark::Counter(static_cast<double>(state.iterations() * batch_size),
                                                   benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(head_in_answer_out, browser_100_octets, browser_fields, 100);
BENCHMARK_CAPTURE(head_in_answer_out, browser_no_body, browser_fields, 0);
BENCHMARK_CAPTURE(head_in_answer_out, no_fields_100_octets, Fields{}, 100);

}  // namespace

BENCHMARK_MAIN();
