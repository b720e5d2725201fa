// Exchange: the request as another platform would send it (dev --simulate). Nothing of Lintel's own is added.
#include "forwarded/simulate.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace lintel::proxy {

void Exchange::add_simulated_fields() {
  std::vector<forwarded::HeaderLine> received;
  for (const http::Field& field : head_.fields) {
    const bool own_key = field.id == http::FieldId::sec_websocket_key && head_.method_id == http::Method::connect;
    if (is_hop_by_hop(field.id) || own_key || nominated(field.name)) continue;
    const std::string_view value = value_for_app(field);
    if (value.empty() && !field.value.empty()) continue;
    received.push_back({field.name, value});
  }
  forwarded::SimulationFacts facts;
  facts.client = identity_.client;
  facts.client_port = identity_.client_port;
  facts.https = identity_.https;
  facts.host = identity_.host;
  facts.authority = identity_.authority;
  facts.port = identity_.port;
  facts.target = target_;
  facts.websocket = http::equal_ignoring_case(upgrade_, "websocket");
  facts.http2 = head_.version == http::Version::http2;
  facts.unix_us = static_cast<uint64_t>(worker_.clock().unix_ms()) * 1000;
  facts.id = worker_.new_request_id(arena_);
  const forwarded::SimulatedRequest request = forwarded::simulate(*config_.simulate, facts, received, arena_);
  upstream_request_.authority = request.authority;
  const bool http2_app = endpoint_ != nullptr && endpoint_->protocol == config::Endpoint::Protocol::h2c;
  for (const forwarded::HeaderLine& line : request.lines) {
    const http::FieldId id = http::field_id(line.name);
    if (id == http::FieldId::connection) {
      if (http2_app) continue;                // RFC 9113 §8.2.2
      upstream_request_.te_trailers = false;  // would be a second Connection line
    }
    upstream_request_.fields.push(arena_, {line.name, line.value, id});
  }
}

}  // namespace lintel::proxy
