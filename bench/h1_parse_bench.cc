// How long the HTTP/1 parser takes for heads as browsers and apps send them. Prints ns per head; `scripts/bench` is
// what compares whole proxies. The arena is reset for each head, as it is for each request.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>

#include "http/authority.h"
#include "http/cookie.h"
#include "http/h1.h"

namespace {

using namespace lintel;
using namespace lintel::http;

constexpr std::string_view browser_request =
    "GET /accounts/login?next=%2Fdashboard HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Referer: https://shop.example.com/accounts/\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n"
    "Cookie: sessionid=9f2c1b7e4d5a6f80123456789abcdef0; csrftoken=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA\r\n"
    "\r\n";

constexpr std::string_view small_request = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

constexpr std::string_view app_response =
    "HTTP/1.1 200 OK\r\n"
    "Server: gunicorn\r\n"
    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    "Connection: keep-alive\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Length: 100\r\n"
    "Vary: Accept-Encoding, Cookie\r\n"
    "Set-Cookie: sessionid=9f2c1b7e4d5a6f80; HttpOnly; Path=/; SameSite=Lax\r\n"
    "\r\n";

void request_head(benchmark::State& state, std::string_view octets) {
  for (auto _ : state) {
    Arena arena;
    RequestHead head;
    HeadParse parse = parse_request_head(octets, arena, head);
    benchmark::DoNotOptimize(parse);
    benchmark::DoNotOptimize(head);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(octets.size()));
}
BENCHMARK_CAPTURE(request_head, browser_12_fields, browser_request);
BENCHMARK_CAPTURE(request_head, host_only, small_request);

void response_head(benchmark::State& state) {
  for (auto _ : state) {
    Arena arena;
    ResponseHead head;
    HeadParse parse = parse_response_head(app_response, Method::get, arena, head);
    benchmark::DoNotOptimize(parse);
    benchmark::DoNotOptimize(head);
  }
}
BENCHMARK(response_head);

void head_end(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(find_head_end(browser_request, 0));
}
BENCHMARK(head_end);

// 64 KiB as 16 chunks of 4 KiB.
void chunked_body(benchmark::State& state) {
  std::string body;
  for (int i = 0; i < 16; ++i) body += "1000\r\n" + std::string(4096, 'x') + "\r\n";
  body += "0\r\n\r\n";
  for (auto _ : state) {
    BodyDecoder decoder(Framing::chunked, 0);
    std::string_view input = body;
    while (decoder.next(input).kind == BodyDecoder::Step::Kind::data) {
    }
    benchmark::DoNotOptimize(decoder.ended());
  }
}
BENCHMARK(chunked_body);

void authority(benchmark::State& state) {
  for (auto _ : state) {
    Arena arena;
    benchmark::DoNotOptimize(parse_authority("shop.example.com:8443", arena));
  }
}
BENCHMARK(authority);

void set_cookie(benchmark::State& state) {
  for (auto _ : state) {
    Arena arena;
    benchmark::DoNotOptimize(
        apply_cookie_policy("sessionid=9f2c1b7e4d5a6f80; HttpOnly; Path=/; SameSite=Lax", {.secure = true}, arena));
  }
}
BENCHMARK(set_cookie);

}  // namespace

BENCHMARK_MAIN();
