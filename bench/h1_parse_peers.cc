// The parser beside llhttp, http-parser and picohttpparser on the browser's head of h1_parse_bench.cc, for
// docs/decisions/parser.md. Not part of the build: the peers are no dependencies. By hand, on Debian:
//   apt-get install node-llhttp libhttp-parser-dev libh2o-evloop-dev libbenchmark-dev
//   clang-19 -O2 -c -I/usr/share/include/llhttp /usr/share/llhttp/{api,http,llhttp}.c
//   clang++-19 -std=c++23 -O2 -Isrc -I/usr/share/include/llhttp bench/h1_parse_peers.cc src/http/{headers,h1}.cc
//     src/base/arena.cc api.o http.o llhttp.o -lhttp_parser -lh2o-evloop -lbenchmark -lpthread
// Each peer keeps names and values as views in an array, as a proxy must.
#include <benchmark/benchmark.h>
// llhttp and http_parser declare the same enumerators, so each has a namespace of its own.
namespace peer_llhttp {
#include <llhttp.h>
}
namespace peer_http_parser {
#include <http_parser.h>
}

#include <array>
#include <cstdlib>
#include <string_view>

#include "http/h1.h"

extern "C" {
// picohttpparser, as libh2o exports it (its header is not packaged).
struct phr_header {
  const char* name;
  size_t name_len;
  const char* value;
  size_t value_len;
};
int phr_parse_request(const char* buf, size_t len, const char** method, size_t* method_len, const char** path,
                      size_t* path_len, int* minor_version, phr_header* headers, size_t* num_headers, size_t last_len);
}

namespace {

constexpr std::string_view request =
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

struct Fields {
  std::array<phr_header, 32> at;
  size_t count = 0;
  std::string_view target;
  bool complete = false;
};

void lintel(benchmark::State& state) {
  for (auto _ : state) {
    lintel::Arena arena;
    lintel::http::RequestHead head;
    auto parse = lintel::http::parse_request_head(request, arena, head);
    if (head.fields.size() != 12) std::abort();
    benchmark::DoNotOptimize(parse);
    benchmark::DoNotOptimize(head);
  }
}
BENCHMARK(lintel);

void picohttpparser(benchmark::State& state) {
  for (auto _ : state) {
    Fields fields;
    const char *method, *path;
    size_t method_size, path_size;
    int minor;
    fields.count = fields.at.size();
    const int result = phr_parse_request(request.data(), request.size(), &method, &method_size, &path, &path_size,
                                         &minor, fields.at.data(), &fields.count, 0);
    if (result <= 0 || fields.count != 12) std::abort();
    benchmark::DoNotOptimize(fields);
  }
}
BENCHMARK(picohttpparser);

template <class Parser>
int take_target(Parser* parser, const char* at, size_t size) {
  static_cast<Fields*>(parser->data)->target = {at, size};
  return 0;
}
template <class Parser>
int take_name(Parser* parser, const char* at, size_t size) {
  auto* fields = static_cast<Fields*>(parser->data);
  fields->at[fields->count].name = at;
  fields->at[fields->count].name_len = size;
  return 0;
}
template <class Parser>
int take_value(Parser* parser, const char* at, size_t size) {
  auto* fields = static_cast<Fields*>(parser->data);
  fields->at[fields->count].value = at;
  fields->at[fields->count++].value_len = size;
  return 0;
}
template <class Parser>
int take_end(Parser* parser) {
  static_cast<Fields*>(parser->data)->complete = true;
  return 0;
}

void llhttp(benchmark::State& state) {
  using namespace peer_llhttp;
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = take_target<llhttp_t>;
  settings.on_header_field = take_name<llhttp_t>;
  settings.on_header_value = take_value<llhttp_t>;
  settings.on_message_complete = take_end<llhttp_t>;
  for (auto _ : state) {
    Fields fields;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &fields;
    llhttp_execute(&parser, request.data(), request.size());
    if (!fields.complete || fields.count != 12) std::abort();
    benchmark::DoNotOptimize(fields);
  }
}
BENCHMARK(llhttp);

void http_parser(benchmark::State& state) {
  namespace peer = peer_http_parser;
  peer::http_parser_settings settings;
  peer::http_parser_settings_init(&settings);
  settings.on_url = take_target<peer::http_parser>;
  settings.on_header_field = take_name<peer::http_parser>;
  settings.on_header_value = take_value<peer::http_parser>;
  settings.on_message_complete = take_end<peer::http_parser>;
  for (auto _ : state) {
    Fields fields;
    peer::http_parser parser;
    peer::http_parser_init(&parser, peer::HTTP_REQUEST);
    parser.data = &fields;
    peer::http_parser_execute(&parser, &settings, request.data(), request.size());
    if (!fields.complete || fields.count != 12) std::abort();
    benchmark::DoNotOptimize(fields);
  }
}
BENCHMARK(http_parser);

}  // namespace

BENCHMARK_MAIN();
