// Counters and latency histograms for Prometheus. Each worker counts on cache lines of its own with plain relaxed
// stores; render() adds them up. Labels come from the configuration and from fixed sets, never from a client: whatever
// hosts, methods and paths it sends, there are no more series.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/limits.h"

namespace lintel::observe {

// Text format 0.0.4. A family's samples stand together below its head.
class Exposition {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  // `type`: counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);
  // Of the last family; `suffix`: "", "_bucket", "_sum", "_count". Label values are escaped.
  void sample(Labels labels, double value, std::string_view suffix = {});
  std::string take() { return std::move(text_); }

 private:
  std::string name_, text_;
};

// One writer, any number of readers.
class Counter {
 public:
  void add(uint64_t count = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

struct Histogram {
  static constexpr std::array<uint32_t, 12> bounds_us = {
      1'000, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000, 250'000, 1'000'000, 2'500'000, 10'000'000, 60'000'000};
  std::array<Counter, bounds_us.size() + 1> buckets;  // each value in one; the last is beyond all bounds
  Counter sum_us;
  void observe(uint64_t us) noexcept;
};

// Methods that have a label of their own; every other one is "other".
inline constexpr std::array<std::string_view, 8> metric_methods = {"GET",    "HEAD",    "POST",    "PUT",
                                                                   "DELETE", "OPTIONS", "CONNECT", "other"};

struct RequestSample {
  size_t site = 0;  // a label of Metrics::site_label()
  std::string_view method;
  uint16_t status = 0;
  uint64_t duration_us = 0;
  int64_t first_byte_us = -1;  // -1: the app has not answered
  uint64_t bytes_in = 0, bytes_out = 0;
  ErrorCode error = ErrorCode::none;
};

enum class ClientProtocol : uint8_t { http1, https1, h2c, https2 };

// Of one worker; its methods are called from its thread only.
class alignas(64) WorkerMetrics {
 public:
  ~WorkerMetrics();
  void request(const RequestSample& sample) noexcept;
  void opened(ClientProtocol protocol) noexcept { opened_[static_cast<size_t>(protocol)].add(); }
  void closed(ClientProtocol protocol) noexcept { closed_[static_cast<size_t>(protocol)].add(); }
  void handshake(bool tls13, bool resumed) noexcept { handshakes_[(tls13 ? 2 : 0) + (resumed ? 1 : 0)].add(); }
  void handshake_failed() noexcept { failed_handshakes_.add(); }

 private:
  friend class Metrics;
  struct Site {
    std::array<std::array<Counter, 6>, metric_methods.size()> requests;  // by method and status class; 0: none
    Histogram duration;
    Counter bytes_in, bytes_out;
  };
  Site* site(size_t label) noexcept;
  std::array<std::atomic<Site*>, limits::metrics_sites_count + 2> sites_{};
  Histogram first_byte_;
  std::array<Counter, 256> errors_;
  std::array<Counter, 4> opened_, closed_, handshakes_;
  Counter failed_handshakes_;
};

class Metrics {
 public:
  explicit Metrics(unsigned workers);
  ~Metrics();
  WorkerMetrics& worker(unsigned index) noexcept { return *workers_[index]; }
  // The label of the site whose first host this is: always the same one, also after a reload. Sites beyond
  // limits::metrics_sites_count share "other". Thread-safe.
  size_t site_label(std::string_view first_host);
  // Label of requests that no site was found for.
  static constexpr size_t no_site = 0;
  // More families, from those who know them; called by render().
  void add_source(std::function<void(Exposition&)> source) { sources_.push_back(std::move(source)); }
  // Everything, as text. Any one thread.
  std::string render();

 private:
  static constexpr size_t other_sites = 1;
  void render_requests(Exposition& to, const std::vector<std::string>& names) const;
  void render_connections(Exposition& to) const;
  template <class Pick>
  uint64_t sum(Pick&& pick) const;

  std::vector<std::unique_ptr<WorkerMetrics>> workers_;
  std::mutex mutex_;  // of the names
  std::vector<std::string> names_;
  std::map<std::string, size_t, std::less<>> labels_;
  std::vector<std::function<void(Exposition&)>> sources_;
};

// process_*: descriptors, memory, CPU, start time, as every Prometheus client names them; and lintel_build_info.
void render_process(Exposition& to, int64_t started_unix_s, std::string_view version);

}  // namespace lintel::observe
