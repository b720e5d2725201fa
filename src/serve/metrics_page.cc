#include "serve/metrics_page.h"

#include "base/ip.h"
#include "observe/metrics.h"
#include "serve/service.h"

namespace lintel::serve {

bool is_metrics_host(std::string_view host, bool unix_socket) {
  if (unix_socket) return true;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end != std::string_view::npos && IpAddress::parse(host.substr(1, end - 1)).has_value();
  }
  const std::string_view name = host.substr(0, host.find(':'));
  return name == "localhost" || IpAddress::parse(name).has_value();
}

SmallAnswer answer_metrics(Service& service, const SmallRequest& request, bool unix_socket) {
  const auto refuse = [](uint16_t status, std::string body) {
    return SmallAnswer{status, "text/plain", std::move(body)};
  };
  if (!is_metrics_host(request.host, unix_socket)) {
    return refuse(421, "host-not-served: ask by IP address or as localhost\n");
  }
  if (request.method != "GET" && request.method != "HEAD") return refuse(405, "method-not-supported: only GET\n");
  if (request.path != "/metrics") return refuse(404, "not-found: the metrics are at /metrics\n");
  observe::Metrics* metrics = service.server().metrics();
  if (metrics == nullptr) return refuse(404, "not-found: server.metrics is off\n");
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics->render()};
}

void add_service_metrics(Service& service) {
  observe::Metrics* metrics = service.server().metrics();
  if (metrics == nullptr) return;
  metrics->add_source([&service](observe::Exposition& to) {
    to.family("lintel_reloads_total", "counter", "Reloads of the configuration, by result.");
    to.sample({{"result", "done"}}, static_cast<double>(service.reloads()));
    to.sample({{"result", "refused"}}, static_cast<double>(service.refused_reloads()));
    to.family("lintel_access_log_dropped_total", "counter", "Lines of the access log that were lost.");
    to.sample({}, static_cast<double>(service.server().log_lines_dropped()));
    observe::render_process(to, service.started_unix_s(), LINTEL_VERSION);
  });
}

}  // namespace lintel::serve
