#include "observe/metrics.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>

namespace lintel::observe {
namespace {

constexpr std::array<std::string_view, 6> status_classes = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
constexpr std::array<std::string_view, 4> protocols = {"http/1.1", "https/1.1", "h2c", "h2"};

void append_escaped(std::string_view text, std::string& to) {
  for (const char c : text) {
    if (c == '\\' || c == '"') to += '\\';
    if (c == '\n') {
      to += "\\n";
    } else {
      to += c;
    }
  }
}

size_t method_index(std::string_view method) noexcept {
  const auto* found = std::find(metric_methods.begin(), metric_methods.end() - 1, method);
  return static_cast<size_t>(found - metric_methods.begin());
}

double seconds(uint64_t us) { return static_cast<double>(us) / 1e6; }

// What `pick` finds in each worker, added up.
struct HistogramSum {
  std::array<uint64_t, Histogram::bounds_us.size() + 1> buckets{};
  uint64_t sum_us = 0;
  void add(const Histogram& one) {
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += one.buckets[i].value();
    sum_us += one.sum_us.value();
  }
  void write(Exposition& to, std::string_view site) const {
    uint64_t total = 0;
    const auto put = [&](std::string_view bound) {
      const auto value = static_cast<double>(total);
      site.empty() ? to.sample({{"le", bound}}, value, "_bucket")
                   : to.sample({{"site", site}, {"le", bound}}, value, "_bucket");
    };
    for (size_t i = 0; i < Histogram::bounds_us.size(); ++i) {
      total += buckets[i];
      put(fmt::format("{}", seconds(Histogram::bounds_us[i])));
    }
    total += buckets.back();
    put("+Inf");
    const auto count = static_cast<double>(total);
    if (site.empty()) {
      to.sample({}, seconds(sum_us), "_sum");
      to.sample({}, count, "_count");
    } else {
      to.sample({{"site", site}}, seconds(sum_us), "_sum");
      to.sample({{"site", site}}, count, "_count");
    }
  }
};

size_t open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  size_t count = 0;
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count > 3 ? count - 3 : 0;  // ".", ".." and the one that reads
}

double resident_octets() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long size = 0, resident = 0;
  const bool fine = std::fscanf(file, "%lu %lu", &size, &resident) == 2;
  std::fclose(file);
  return fine ? static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace

void Exposition::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void Exposition::sample(Labels labels, double value, std::string_view suffix) {
  text_ += name_;
  text_ += suffix;
  char before = '{';
  for (const auto& [name, text] : labels) {
    text_ += std::exchange(before, ',');
    text_ += name;
    text_ += "=\"";
    append_escaped(text, text_);
    text_ += '"';
  }
  if (labels.size() != 0) text_ += '}';
  fmt::format_to(std::back_inserter(text_), " {}\n", value);
}

void Histogram::observe(uint64_t us) noexcept {
  size_t at = 0;
  while (at < bounds_us.size() && us > bounds_us[at]) ++at;
  buckets[at].add();
  sum_us.add(us);
}

WorkerMetrics::~WorkerMetrics() {
  for (const auto& one : sites_) delete one.load(std::memory_order_relaxed);
}

WorkerMetrics::Site* WorkerMetrics::site(size_t label) noexcept {
  if (label >= sites_.size()) return nullptr;
  Site* found = sites_[label].load(std::memory_order_relaxed);
  if (found != nullptr) return found;
  found = new (std::nothrow) Site;
  sites_[label].store(found, std::memory_order_release);
  return found;
}

void WorkerMetrics::request(const RequestSample& sample) noexcept {
  Site* counted = site(sample.site);
  if (counted == nullptr) return;
  const size_t status_class = sample.status >= 100 && sample.status < 600 ? sample.status / 100 : 0;
  counted->requests[method_index(sample.method)][status_class].add();
  counted->duration.observe(sample.duration_us);
  counted->bytes_in.add(sample.bytes_in);
  counted->bytes_out.add(sample.bytes_out);
  if (sample.first_byte_us >= 0) first_byte_.observe(static_cast<uint64_t>(sample.first_byte_us));
  if (sample.error != ErrorCode::none) errors_[static_cast<size_t>(sample.error)].add();
}

Metrics::Metrics(unsigned workers) : names_{"", "other"} {
  for (unsigned i = 0; i < workers; ++i) workers_.push_back(std::make_unique<WorkerMetrics>());
}

Metrics::~Metrics() = default;

size_t Metrics::site_label(std::string_view first_host) {
  const std::lock_guard lock(mutex_);
  if (const auto found = labels_.find(first_host); found != labels_.end()) return found->second;
  if (labels_.size() >= limits::metrics_sites_count) return other_sites;
  names_.emplace_back(first_host);
  return labels_.emplace(first_host, names_.size() - 1).first->second;
}

template <class Pick>
uint64_t Metrics::sum(Pick&& pick) const {
  uint64_t total = 0;
  for (const auto& worker : workers_) total += pick(*worker).value();
  return total;
}

void Metrics::render_requests(Exposition& to, const std::vector<std::string>& names) const {
  const auto each_site = [&](auto&& use) {
    for (size_t label = 0; label < names.size(); ++label) {
      std::vector<const WorkerMetrics::Site*> parts;
      for (const auto& worker : workers_) {
        if (const auto* part = worker->sites_[label].load(std::memory_order_acquire); part != nullptr) {
          parts.push_back(part);
        }
      }
      if (!parts.empty()) use(label == no_site ? std::string_view("none") : std::string_view(names[label]), parts);
    }
  };
  const auto total = [](const auto& parts, auto&& pick) {
    uint64_t sum = 0;
    for (const auto* part : parts) sum += pick(*part).value();
    return static_cast<double>(sum);
  };
  to.family("lintel_requests_total", "counter", "Requests, by site, method and class of the answer's status.");
  each_site([&](std::string_view site, const auto& parts) {
    for (size_t m = 0; m < metric_methods.size(); ++m) {
      for (size_t s = 0; s < status_classes.size(); ++s) {
        const double count = total(parts, [&](const auto& part) -> const Counter& { return part.requests[m][s]; });
        if (count == 0) continue;
        to.sample({{"site", site}, {"method", metric_methods[m]}, {"status", status_classes[s]}}, count);
      }
    }
  });
  to.family("lintel_request_duration_seconds", "histogram", "From a request's head to the end of its answer.");
  each_site([&](std::string_view site, const auto& parts) {
    HistogramSum sum;
    for (const auto* part : parts) sum.add(part->duration);
    sum.write(to, site);
  });
  to.family("lintel_request_body_bytes_total", "counter", "Octets of requests' bodies.");
  each_site([&](std::string_view site, const auto& parts) {
    to.sample({{"site", site}}, total(parts, [](const auto& part) -> const Counter& { return part.bytes_in; }));
  });
  to.family("lintel_response_body_bytes_total", "counter", "Octets of answers' bodies.");
  each_site([&](std::string_view site, const auto& parts) {
    to.sample({{"site", site}}, total(parts, [](const auto& part) -> const Counter& { return part.bytes_out; }));
  });
}

void Metrics::render_connections(Exposition& to) const {
  to.family("lintel_connections_total", "counter", "Connections of clients that came to speak HTTP, by protocol.");
  for (size_t i = 0; i < protocols.size(); ++i) {
    to.sample({{"protocol", protocols[i]}},
              static_cast<double>(sum([&](const WorkerMetrics& w) -> const Counter& { return w.opened_[i]; })));
  }
  to.family("lintel_connections_open", "gauge", "Those that are open now.");
  for (size_t i = 0; i < protocols.size(); ++i) {
    const uint64_t closed = sum([&](const WorkerMetrics& w) -> const Counter& { return w.closed_[i]; });
    const uint64_t opened = sum([&](const WorkerMetrics& w) -> const Counter& { return w.opened_[i]; });
    to.sample({{"protocol", protocols[i]}}, static_cast<double>(opened - std::min(opened, closed)));
  }
  to.family("lintel_tls_handshakes_total", "counter", "Handshakes that succeeded.");
  for (size_t i = 0; i < 4; ++i) {
    to.sample({{"version", i < 2 ? "1.2" : "1.3"}, {"resumed", i % 2 == 0 ? "false" : "true"}},
              static_cast<double>(sum([&](const WorkerMetrics& w) -> const Counter& { return w.handshakes_[i]; })));
  }
  to.family("lintel_tls_handshakes_failed_total", "counter", "Handshakes that failed, also for want of time.");
  to.sample({},
            static_cast<double>(sum([](const WorkerMetrics& w) -> const Counter& { return w.failed_handshakes_; })));
}

std::string Metrics::render() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    names = names_;
  }
  Exposition to;
  render_requests(to, names);
  to.family("lintel_time_to_first_byte_seconds", "histogram", "From a request's head to that of the app's answer.");
  HistogramSum first;
  for (const auto& worker : workers_) first.add(worker->first_byte_);
  first.write(to, {});
  to.family("lintel_errors_total", "counter", "Requests that ended in one of Lintel's errors, by its code.");
  for (size_t i = 1; i < error_code_count(); ++i) {
    const uint64_t count = sum([&](const WorkerMetrics& w) -> const Counter& { return w.errors_[i]; });
    if (count != 0) to.sample({{"code", facts(static_cast<ErrorCode>(i)).name}}, static_cast<double>(count));
  }
  render_connections(to);
  for (const auto& source : sources_) source(to);
  return to.take();
}

void render_process(Exposition& to, int64_t started_unix_s, std::string_view version) {
  to.family("process_open_fds", "gauge", "Number of open file descriptors.");
  to.sample({}, static_cast<double>(open_descriptors()));
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  to.family("process_max_fds", "gauge", "Maximum number of open file descriptors.");
  to.sample({}, static_cast<double>(limit.rlim_cur));
  to.family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
  to.sample({}, resident_octets());
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  to.family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
  to.sample({}, of(usage.ru_utime) + of(usage.ru_stime));
  to.family("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
  to.sample({}, static_cast<double>(started_unix_s));
  to.family("lintel_build_info", "gauge", "Version of this Lintel; always 1.");
  to.sample({{"version", version}}, 1);
}

}  // namespace lintel::observe
