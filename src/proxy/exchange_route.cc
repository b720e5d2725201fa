// Exchange: who asks, for which site, and by which route.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "forwarded/decide.h"
#include "http/authority.h"
#include "proxy/certificates.h"
#include "proxy/connection_options.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

using http::FieldId;

std::string_view copy_formatted(Arena& arena, const fmt::memory_buffer& text) {
  return arena.copy({text.data(), text.size()});
}

// Which names and ports are served, for the trust engine; keeps the site that it asked for last.
struct ServedSite {
  const config::Config& config;
  mutable const config::Site* site;

  forwarded::Served callbacks() const {
    return {this,
            [](const void* object, std::string_view host) {
              const auto& self = *static_cast<const ServedSite*>(object);
              self.site = config::find_site(self.config, host);
              return self.site != nullptr;
            },
            [](const void* object, std::string_view, uint16_t port) {
              const auto& ports = static_cast<const ServedSite*>(object)->site->public_ports;
              return std::find(ports.begin(), ports.end(), port) != ports.end();
            }};
  }
};

}  // namespace

// Who the client is and which authority it asked for. Everything later reads identity_, never a raw field.
Result<void> Exchange::identify() {
  const forwarded::ConnectionFacts& facts = connection_.facts;
  rule_ = connection_.spokesman != nullptr ? connection_.spokesman : forwarded::find_rule(config_.trust, facts);
  request_id_ = kept_request_id();
  if (request_id_.empty()) request_id_ = worker_.new_request_id(arena_);
  // A trusted proxy that ended TLS may say https in :scheme on a connection that is plain.
  if (rule_ == nullptr && !head_.scheme.empty() && http::equal_ignoring_case(head_.scheme, "https") != facts.https) {
    return fail(ErrorCode::scheme_mismatch);
  }
  ServedSite served{config_, nullptr};
  const forwarded::Request request{head_.host, forwarded::field_lines(head_.fields)};
  const forwarded::Decision decision = forwarded::decide(rule_, facts, request, served.callbacks(), arena_);
  identity_ = decision.identity;
  if (decision.error != ErrorCode::none) {
    refused_field_ = decision.field;
    uint64_t skipped = 0;  // lines; the access log has all
    if (rule_ != nullptr && worker_.refused_forwarding_lines().admit(signal_.reactor().now_ms(), skipped)) {
      log::info("{}: {} from peer {}", lintel::facts(decision.error).name, decision.field, connection_.peer_text);
      if (skipped != 0) log::info("{} such lines were left out before", skipped);
    }
    return fail(decision.error);
  }
  site_ = served.site;
  // A connection whose certificate was chosen for a name that is not served may not speak for one that is.
  if (config_.dev && !connection_.sni.empty() && config::find_site(config_, connection_.sni) == nullptr) {
    return fail(ErrorCode::sni_mismatch);
  }
  return check_tls_policy();
}

// The handshake kept to what the site of its SNI asks for. A request that asks for another site (an own Host, or HTTP/2
// connections that a browser shares among names) has kept to nothing when either of them asks for something.
Result<void> Exchange::check_tls_policy() const {
  const bool guarded = has_tls_policy(*site_);
  if (!guarded && connection_.guard == nullptr) return {};
  if (connection_.tls_version.empty()) return {};
  tls::CertificateSource& source = worker_.certificates();
  const tls::HandshakePolicyPtr now = source.policy(connection_.sni);
  // Without SNI the site is the one whose certificate such connections get: each site's policy is an object of its own.
  const bool same_site = connection_.sni.empty() ? now != nullptr && now == source.policy(site_->hosts.front())
                                                 : config::find_site(config_, connection_.sni) == site_;
  if (!same_site) return fail(ErrorCode::sni_mismatch);
  if (!guarded) return {};
  // A reload may have given the site other authorities since the handshake.
  if (now == nullptr || connection_.guard == nullptr || now->id != connection_.guard->policy_id) {
    return fail(ErrorCode::sni_mismatch);
  }
  return {};
}

// A trusted proxy's id goes on, so that both logs can be read together; a stranger's could be anybody's.
std::string_view Exchange::kept_request_id() const {
  if (rule_ == nullptr || head_.fields.count(FieldId::x_request_id) != 1) return {};
  const std::string_view id = head_.fields.find(FieldId::x_request_id)->value;
  if (id.empty() || id.size() > limits::request_id_bytes) return {};
  const bool sane = std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.:=+/@").find(c) != std::string_view::npos;
  });
  return sane ? id : std::string_view();
}

Result<void> Exchange::route() {
  if (head_.method_id == http::Method::trace) return fail(ErrorCode::method_not_supported);
  // Extended CONNECT (RFC 8441) only for WebSockets: "h2c" would open a second, unseen HTTP connection to the app.
  if (head_.method_id == http::Method::connect && !http::equal_ignoring_case(head_.protocol, "websocket")) {
    return fail(ErrorCode::method_not_supported);
  }
  if (redirected()) return {};
  if (site_->client_certificates.mode == config::ClientCertificates::Mode::require &&
      (connection_.guard == nullptr || connection_.guard->client_cert.empty())) {
    return fail(ErrorCode::client_certificate_required);
  }
  if (site_->maintenance) return fail(ErrorCode::maintenance);
  if (const http::Field* loop = head_.fields.find(http::FieldId::cdn_loop);
      loop != nullptr && !connection_.bridge && worker_.meets_itself(head_.fields)) {
    return fail(ErrorCode::loop_detected);
  }
  nominated_ = nominated_fields(head_.fields, arena_);
  // Each field's name is looked for in the list: 30 KiB of it would cost milliseconds.
  if (nominated_.size() > limits::connection_options_bytes) return fail(ErrorCode::header_too_large);
  if (Result<void> chosen = choose_target(); !chosen) return chosen;
  if (Result<void> allowed = check_access(); !allowed) return allowed;
  if (Result<void> within = check_limits(); !within) return within;
  note_upgrade();
  group_ = snapshot_->upstreams->of(*site_, route_);
  return {};
}

// http -> https, and other hosts -> the canonical one. True when the answer has been given.
bool Exchange::redirected() {
  const bool plain =
      !identity_.https && snapshot_->https_port != 0 && site_->certificate != config::CertificateKind::none;
  if (plain && site_->redirect_http == config::RedirectHttp::refuse) {
    answer_page(ErrorCode::https_required);
    return true;
  }
  const bool to_https = plain && site_->redirect_http != config::RedirectHttp::off;
  const bool to_canonical = !site_->canonical.empty() && identity_.host != site_->canonical;
  if (!to_https && !to_canonical) return false;
  const bool https = to_https || identity_.https;
  // Our https port is not one that a balancer's clients know: behind one at port 80, https is where they expect it.
  const bool behind_proxy = rule_ != nullptr || connection_.proxy != nullptr;
  const uint16_t https_port = behind_proxy && identity_.port == 80 ? default_port(true) : snapshot_->https_port;
  const uint16_t port = to_https ? https_port : identity_.port;
  const std::string_view host = to_canonical ? std::string_view(site_->canonical) : identity_.host;
  fmt::memory_buffer location;
  fmt::format_to(std::back_inserter(location), "{}://{}", https ? "https" : "http", host);
  if (port != http::default_port(https)) fmt::format_to(std::back_inserter(location), ":{}", port);
  if (head_.target.starts_with('/'))
    location.append(head_.target);
  else
    location.push_back('/');
  const bool moved = to_https && site_->redirect_http == config::RedirectHttp::moved_301;
  answer_redirect(moved ? 301 : 308, copy_formatted(arena_, location));
  return true;
}

// Which protocol the client asks to switch to. "h2c" and HTTP itself are not passed on: they would open a second,
// unseen HTTP connection through the proxy.
void Exchange::note_upgrade() {
  if (head_.method_id == http::Method::connect) {
    upgrade_ = head_.protocol;
    return;
  }
  if (!head_.has_upgrade || head_.framing != http::Framing::none) return;
  const http::Field* field = head_.fields.find(http::FieldId::upgrade);
  if (field == nullptr) return;
  // protocol-name ["/" protocol-version] (RFC 9110 7.8); of a list nothing is taken.
  const size_t slash = std::min(field->value.find('/'), field->value.size());
  const std::string_view name = field->value.substr(0, slash);
  if (!http::is_token(name) || (slash < field->value.size() && !http::is_token(field->value.substr(slash + 1)))) return;
  if (http::equal_ignoring_case(name, "h2c") || http::equal_ignoring_case(name, "h2") ||
      http::equal_ignoring_case(name, "http") || http::equal_ignoring_case(name, "tls")) {
    return;
  }
  upgrade_ = field->value;
}

}  // namespace lintel::proxy
