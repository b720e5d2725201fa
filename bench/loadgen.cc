// The parts of the benchmark's load that wrk and h2load cannot make.
//   bench_loadgen handshakes --port P [--count N] [--connections C] [--resume]
//   bench_loadgen idle       --port P --request FILE [--count N] [--connections C] [--h2] [--plain]
//   bench_loadgen websocket  --port P --request FILE [--connections C] [--milliseconds M] [--size S] [--plain]
//   bench_loadgen latency    --port P --request FILE --rate R [--connections C] [--milliseconds M] [--plain]
//   bench_loadgen bulk       --port P --request FILE [--milliseconds M] [--warm-milliseconds M] [--plain]
// Each takes --address (default 127.0.0.1) and --name (default localhost) of the server.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <string_view>

#include "client.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  bench::Options options;
  for (int i = 2; i < argc; ++i) {
    std::string_view name(argv[i]);
    if (!name.starts_with("--")) continue;
    name.remove_prefix(2);
    const bool has_value = i + 1 < argc && !std::string_view(argv[i + 1]).starts_with("--");
    options[std::string(name)] = has_value ? argv[++i] : "1";
  }
  bench::set_server(bench::text(options, "address", "127.0.0.1"), bench::text(options, "name", "localhost"));
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "handshakes") return bench::run_handshakes(options);
  if (mode == "idle") return bench::run_idle(options);
  if (mode == "websocket") return bench::run_websocket(options);
  if (mode == "latency") return bench::run_latency(options);
  if (mode == "bulk") return bench::run_bulk(options);
  if (mode == "delay-line") return bench::run_delay_line(options);
  std::fprintf(stderr, "bench_loadgen: the mode is one of handshakes, idle, websocket, latency, bulk, delay-line\n");
  return 2;
}
