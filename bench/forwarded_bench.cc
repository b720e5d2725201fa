// What an identity costs. Goals: a direct client 150 ns, a chain of three with 1,000 trusted ranges 400 ns, and no heap
// allocation in either. Run with: cmake --build --preset release --target forwarded_bench &&
// build/release/forwarded_bench
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "forwarded/decide.h"
#include "http/headers.h"

// Counts what reaches the C library's allocator through operator new; the arena takes pooled blocks.
static size_t allocations = 0;
void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace lintel::forwarded {
namespace {

std::vector<Rule> rules_with(size_t ranges, const char* source) {
  RuleText text;
  text.source = source;
  text.peers = {"10.0.0.0/8"};
  for (size_t i = 1; i < ranges; ++i)
    text.peers.push_back("172." + std::to_string(16 + i / 65536) + "." + std::to_string(i / 256 % 256) + "." +
                         std::to_string(i % 256) + "/32");
  return {*make_rule(text)};
}

// As a browser's request comes through the proxy: twelve fields.
void browser_fields(http::FieldList& fields, Arena& arena, bool forwarded, const char* source) {
  for (const auto& [name, value] : {std::pair{"Host", "app.example.com"},
                                    {"User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko Firefox"},
                                    {"Accept", "text/html,application/xhtml+xml"},
                                    {"Accept-Language", "en-US,en;q=0.5"},
                                    {"Accept-Encoding", "gzip, deflate, br"},
                                    {"Referer", "https://app.example.com/"},
                                    {"Cookie", "session=abcdef"},
                                    {"Upgrade-Insecure-Requests", "1"},
                                    {"Sec-Fetch-Dest", "document"},
                                    {"Sec-Fetch-Mode", "navigate"},
                                    {"Sec-Fetch-Site", "same-origin"},
                                    {"Priority", "u=0, i"}})
    fields.push(arena, {name, value, http::field_id(name)});
  if (!forwarded) return;
  if (std::string_view(source) == "forwarded") {
    fields.push(arena, {"Forwarded", "for=203.0.113.9;proto=https, for=10.1.2.3;proto=http, for=10.1.2.4", {}});
    return;
  }
  fields.push(arena, {"X-Forwarded-For", "203.0.113.9, 10.1.2.3, 10.1.2.4", {}});
  fields.push(arena, {"X-Forwarded-Proto", "https", {}});
}

void run(benchmark::State& state, const char* peer, bool forwarded, size_t ranges, const char* source) {
  const std::vector<Rule> rules = ranges == 0 ? std::vector<Rule>() : rules_with(ranges, source);
  Arena kept;
  http::FieldList fields;
  browser_fields(fields, kept, forwarded, source);
  ConnectionFacts facts;
  facts.peer = *IpAddress::parse(peer);
  facts.https = !forwarded;
  facts.local_port = forwarded ? 80 : 443;
  const Request request{"app.example.com", field_lines(fields)};
  Arena arena;
  size_t before = allocations;
  for (auto _ : state) {
    if (allocations == 0) before = 0;
    Decision decision = decide(find_rule(rules, facts), facts, request, {}, arena);
    benchmark::DoNotOptimize(decision);
    arena.reset();
  }
  if (decide(find_rule(rules, facts), facts, request, {}, arena).identity.client !=
      *IpAddress::parse(forwarded ? "203.0.113.9" : peer))
    state.SkipWithError("wrong client");
  state.counters["allocations"] = static_cast<double>(allocations - before) / static_cast<double>(state.iterations());
}

void direct(benchmark::State& state) { run(state, "203.0.113.9", false, 0, "none"); }
void direct_with_ranges(benchmark::State& state) {
  run(state, "203.0.113.9", false, static_cast<size_t>(state.range(0)), "x-forwarded");
}
void chain_of_three(benchmark::State& state) {
  run(state, "10.1.2.5", true, static_cast<size_t>(state.range(0)), "x-forwarded");
}
void forwarded_of_three(benchmark::State& state) {
  run(state, "10.1.2.5", true, static_cast<size_t>(state.range(0)), "forwarded");
}
BENCHMARK(direct);
BENCHMARK(direct_with_ranges)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(chain_of_three)->Arg(10)->Arg(1000)->Arg(10000);
BENCHMARK(forwarded_of_three)->Arg(1000);

}  // namespace
}  // namespace lintel::forwarded

BENCHMARK_MAIN();
