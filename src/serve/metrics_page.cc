#include "serve/metrics_page.h"

#include <map>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "base/limits.h"
#include "observe/metrics.h"
#include "serve/service.h"

namespace lintel::serve {

bool is_metrics_host(std::string_view host, bool unix_socket) {
  if (unix_socket) return true;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == std::string_view::npos || (end + 1 < host.size() && host[end + 1] != ':')) return false;
    return IpAddress::parse(host.substr(1, end - 1)).has_value();
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

namespace {

void render_upstreams(observe::Exposition& to, const Service& service) {
  const std::vector<proxy::GroupStatus> groups = service.server().upstream_status();
  const auto each = [&](const auto& sample) {
    size_t left = limits::metrics_upstreams_count;
    for (const proxy::GroupStatus& group : groups) {
      for (const proxy::EndpointStatus& one : group.endpoints) {
        if (left-- == 0) return;
        sample(group, one);
      }
    }
  };
  using State = proxy::EndpointStatus::State;
  to.family("lintel_upstream_up", "gauge", "1: the instance of an app gets requests; 0: it is out or down.");
  each([&](const proxy::GroupStatus& group, const proxy::EndpointStatus& one) {
    const bool up = one.state == State::up || one.state == State::slow_start;
    to.sample({{"site", group.site}, {"route", group.route}, {"upstream", one.url}}, up ? 1 : 0);
  });
  to.family("lintel_upstream_requests_active", "gauge", "Requests and WebSockets that an instance has now.");
  each([&](const proxy::GroupStatus& group, const proxy::EndpointStatus& one) {
    to.sample({{"site", group.site}, {"route", group.route}, {"upstream", one.url}}, one.active);
  });
}

void render_certificates(observe::Exposition& to, Service& service) {
  if (service.acme() == nullptr) return;
  std::vector<acme::CertificateStatus> all = service.acme()->status();
  if (all.size() > limits::metrics_certificates_count) all.resize(limits::metrics_certificates_count);
  to.family("lintel_certificate_not_after_seconds", "gauge",
            "End of a certificate from an issuer, Unix time; 0: none.");
  for (const acme::CertificateStatus& one : all) {
    to.sample({{"name", one.name}}, static_cast<double>(one.not_after_unix_s));
  }
  to.family("lintel_certificate_failures", "gauge", "Attempts to obtain or renew in a row that have failed.");
  for (const acme::CertificateStatus& one : all) to.sample({{"name", one.name}}, one.failures);
}

struct ShareSample {
  const tunnel::SessionStatus* any = nullptr;
  uint32_t agents = 0;
};

// Those of a share are the same for all of its agents.
void render_shares(observe::Exposition& to, Service& service) {
  if (service.edge() == nullptr) return;
  const std::vector<tunnel::SessionStatus> all = service.edge()->registry().status();
  std::map<std::string_view, ShareSample> shares;
  for (const tunnel::SessionStatus& one : all) {
    if (!shares.contains(one.name) && shares.size() == limits::metrics_shares_count) continue;
    ShareSample& share = shares[one.name];
    share.any = &one;
    if (one.connected) ++share.agents;
  }
  to.family("lintel_edge_agents", "gauge", "Agents that are connected, or were until a moment ago.");
  to.sample({}, static_cast<double>(all.size()));
  const auto each = [&](std::string_view name, std::string_view type, std::string_view help, const auto& value) {
    to.family(name, type, help);
    for (const auto& [share, sample] : shares) {
      to.sample({{"share", share}, {"token", sample.any->token}}, static_cast<double>(value(sample)));
    }
  };
  each("lintel_share_connected", "gauge", "1: an agent of the share is connected.",
       [](const ShareSample& one) { return one.agents == 0 ? 0 : 1; });
  each("lintel_share_agents", "gauge", "Agents of the share that are connected.",
       [](const ShareSample& one) { return one.agents; });
  each("lintel_share_requests_total", "counter", "Requests of visitors.",
       [](const ShareSample& one) { return one.any->requests; });
  each("lintel_share_streams", "gauge", "Requests and WebSockets of visitors under way.",
       [](const ShareSample& one) { return one.any->streams; });
  each("lintel_share_reconnects_total", "counter", "How often an agent came back.",
       [](const ShareSample& one) { return one.any->reconnects; });
  each("lintel_share_rtt_seconds", "gauge", "Round-trip time to the agent.",
       [](const ShareSample& one) { return static_cast<double>(one.any->rtt_us) / 1e6; });
  each("lintel_share_received_bytes_total", "counter", "Octets of visitors' requests.",
       [](const ShareSample& one) { return one.any->bytes_in; });
  each("lintel_share_sent_bytes_total", "counter", "Octets of answers to visitors.",
       [](const ShareSample& one) { return one.any->bytes_out; });
}

}  // namespace

void add_service_metrics(Service& service) {
  observe::Metrics* metrics = service.server().metrics();
  if (metrics == nullptr) return;
  metrics->add_source([&service](observe::Exposition& to) {
    to.family("lintel_reloads_total", "counter", "Reloads of the configuration, by result.");
    to.sample({{"result", "done"}}, static_cast<double>(service.reloads()));
    to.sample({{"result", "refused"}}, static_cast<double>(service.refused_reloads()));
    to.family("lintel_access_log_dropped_total", "counter", "Lines of the access log that were lost.");
    to.sample({}, static_cast<double>(service.server().log_lines_dropped()));
    render_upstreams(to, service);
    render_certificates(to, service);
    render_shares(to, service);
    observe::render_process(to, service.started_unix_s(), LINTEL_VERSION);
  });
}

}  // namespace lintel::serve
