// What the TLS engine costs by itself: no socket, server side only, TLS 1.3 with AES-128-GCM, X25519 and P-256.
// LINTEL_BENCH_MALLOC=1: OpenSSL's memory from malloc; LINTEL_BENCH_KEEP_BUFFERS=1: without RELEASE_BUFFERS;
// LINTEL_BENCH_READ_AHEAD=1: with read-ahead. docs/decisions/tls-engine.md has the figures.
#include <benchmark/benchmark.h>
#include <openssl/crypto.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/small_heap.h"
#include "tls/allocator.h"
#include "tls/context.h"
#include "tls/engine.h"
#include "tls/local_ca.h"

namespace {

using namespace lintel;
using namespace lintel::tls;

size_t allocations = 0;

class OneCertificate final : public CertificateSource {
 public:
  CertificatePtr find(std::string_view) override { return certificate_; }

 private:
  CertificatePtr certificate_ = *make_self_signed({"app.test"});
};

struct Contexts {
  OneCertificate source;
  TicketKeys tickets;
  ContextPtr server, client;
  Contexts() {
    server = std::move(*make_server_context({}, source, tickets));
    ClientOptions options;
    options.verify = false;
    client = std::move(*make_client_context(options));
    if (std::getenv("LINTEL_BENCH_KEEP_BUFFERS") != nullptr) SSL_CTX_clear_mode(server.get(), SSL_MODE_RELEASE_BUFFERS);
    if (std::getenv("LINTEL_BENCH_READ_AHEAD") != nullptr) SSL_CTX_set_read_ahead(server.get(), 1);
  }
};
Contexts& contexts() {
  static Contexts all;
  return all;
}

double cpu_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Pair {
  Engine client, server;
  double server_s = 0;  // CPU time of the server's side of the handshake, with making the engine

  Pair() {
    client = Engine::client(contexts().client.get(), "app.test", "", "\x08http/1.1");
    Buffer to_server, to_client;
    client.handshake(to_server);
    double begin = cpu_seconds();
    server = Engine::server(contexts().server.get());
    server.feed(to_server.view());
    server.handshake(to_client);
    server_s = cpu_seconds() - begin;
    to_server.release();
    client.feed(to_client.view());
    client.handshake(to_server);
    to_client.release();
    begin = cpu_seconds();
    server.feed(to_server.view());
    if (server.handshake(to_client) != HandshakeStatus::done) std::abort();
    server_s += cpu_seconds() - begin;
    drain(client, to_client);
  }
  static void drain(Engine& engine, Buffer& wire) {
    char room[16 * 1024];
    Buffer out;
    engine.feed(wire.view());
    while (engine.read(room, out).status == ReadResult::Status::data) {
    }
    wire.release();
  }
};

constexpr int batch = 64;  // reading the clock costs as much as a read

void report_each(benchmark::State& state, double total_s, size_t counted, double operations) {
  state.counters["ns_each"] = total_s * 1e9 / operations;
  state.counters["allocations_each"] = static_cast<double>(counted) / operations;
}

void read_300_octets(benchmark::State& state) {
  Pair pair;
  char room[16 * 1024];
  size_t counted = 0;
  double total_s = 0;
  for (auto _ : state) {
    std::vector<Buffer> wire(batch);
    for (auto& one : wire) pair.client.write(std::string(300, 'r'), one);
    Buffer out;
    const size_t before = allocations;
    const double begin = cpu_seconds();
    for (auto& one : wire) {
      pair.server.feed(one.view());
      if (pair.server.read(room, out).size != 300) std::abort();
    }
    const double spent = cpu_seconds() - begin;
    state.SetIterationTime(spent);
    total_s += spent;
    counted += allocations - before;
  }
  report_each(state, total_s, counted, static_cast<double>(state.iterations() * batch));
}
BENCHMARK(read_300_octets)->UseManualTime();

void write_octets(benchmark::State& state) {
  Pair pair;
  const std::string answer(static_cast<size_t>(state.range(0)), 'w');
  const size_t each = answer.size() > 10'000 ? 1 : batch;
  size_t counted = 0;
  double total_s = 0;
  for (auto _ : state) {
    std::vector<Buffer> wire(each);
    for (auto& one : wire) one.prepare(answer.size() + answer.size() / 256 + 64);
    const size_t before = allocations;
    const double begin = cpu_seconds();
    for (auto& one : wire) pair.server.write(answer, one);
    const double spent = cpu_seconds() - begin;
    state.SetIterationTime(spent);
    total_s += spent;
    counted += allocations - before;
    for (auto& one : wire) Pair::drain(pair.client, one);
  }
  report_each(state, total_s, counted, static_cast<double>(state.iterations()) * static_cast<double>(each));
}
BENCHMARK(write_octets)->Arg(500)->Arg(256 * 1024)->UseManualTime();

void full_handshake_server_side(benchmark::State& state) {
  for (auto _ : state) {
    const Pair pair;
    state.SetIterationTime(pair.server_s);
  }
}
BENCHMARK(full_handshake_server_side)->UseManualTime()->Unit(benchmark::kMicrosecond);

double resident_kib() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  long total = 0, resident = 0;
  if (file == nullptr || std::fscanf(file, "%ld %ld", &total, &resident) != 2) std::abort();
  std::fclose(file);
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
}

// Resident size of a fresh heap per engine that has shaken hands and is silent. Only the first run counts: later ones
// find the pages of the one before.
void idle_engine(benchmark::State& state) {
  constexpr size_t count = 1500;
  for (int i = 0; i < 20; ++i) Pair();
  for (auto _ : state) {
    std::vector<Engine> idle;
    idle.reserve(count);
    const double before = resident_kib();
    for (size_t i = 0; i < count; ++i) {
      Pair pair;
      idle.push_back(std::move(pair.server));
    }
    state.counters["KiB_each"] = (resident_kib() - before) / count;
  }
}
BENCHMARK(idle_engine)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("LINTEL_BENCH_MALLOC") == nullptr) {
    install_crypto_allocator();
  } else {
    CRYPTO_set_mem_functions(
        [](size_t size, const char*, int) { return ++allocations, std::malloc(size); },
        [](void* old, size_t size, const char*, int) { return ++allocations, std::realloc(old, size); },
        [](void* old, const char*, int) { std::free(old); });
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
