// Exchange: by which route, and may it: access rules, limits.
#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"
#include "http/authority.h"
#include "proxy/exchange.h"
#include "proxy/protection.h"
#include "proxy/worker.h"

namespace lintel::proxy {
namespace {

bool matches_any(const std::vector<IpPrefix>& prefixes, const IpAddress& address) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const IpPrefix& p) { return p.contains(address); });
}

// Is there a segment "." or "..", with dots as they are or encoded?
bool has_dot_segment(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);  // '/'
    std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    size_t dots = 0;
    for (; dots < 3 && !segment.empty(); ++dots) {
      const bool encoded = http::equal_ignoring_case(segment.substr(0, 3), "%2e");
      if (!encoded && segment.front() != '.') break;
      segment.remove_prefix(encoded ? 3 : 1);
    }
    if (segment.empty() && (dots == 1 || dots == 2)) return true;
  }
  return false;
}

// The path as servers see it that take ";…" of a segment for parameters and drop it (Tomcat, Jetty): "/admin;x/y" is
// "/admin/y" to them, and "/a/..;/admin" is "/admin".
std::string_view without_parameters(std::string_view path, Arena& arena) {
  char* to = arena.chars(path.size());
  size_t size = 0;
  bool in_parameters = false;
  for (char c : path) {
    if (c == ';') in_parameters = true;
    if (c == '/') in_parameters = false;
    if (!in_parameters) to[size++] = c;
  }
  return {to, size};
}

}  // namespace

// Finds the route on the normalised path. Where a route restricts access the app gets that form too, so that both
// speak of the same resource.
Result<void> Exchange::choose_target() {
  target_ = head_.target;
  if (site_->routes.empty()) return {};
  bool restricted = false, rated = false;
  for (const config::Route& route : site_->routes) {
    restricted |= route.restricts();
    rated |= route.rate.on();
  }
  const auto normalised = http::normalise_path(head_.target, arena_);
  if (!normalised && restricted) return fail(normalised.error());
  const std::string_view raw_path = head_.target.substr(0, head_.target.find('?'));
  std::string_view path = normalised ? *normalised : raw_path;
  route_ = config::find_route(*site_, path);
  if ((restricted || rated) && !choose_stricter(path)) return fail(ErrorCode::path_invalid);
  // What ".." takes away is not the same to all: a URL parser of browsers (Next.js, Hono) reads "/admin//../x" as
  // "/admin/x", and Tomcat "/x/;/../admin" as "/admin". The app is not left to find out.
  const bool ambiguous = restricted && path.size() != raw_path.size() && has_dot_segment(raw_path);
  const bool rewrite = ambiguous || (route_ != nullptr && (route_->restricts() || !route_->strip_prefix.empty()));
  if (!rewrite) return {};
  if (route_ != nullptr && !route_->strip_prefix.empty() && path.starts_with(route_->strip_prefix)) {
    const std::string_view rest = path.substr(route_->strip_prefix.size());
    if (rest.empty() || rest.front() == '/') {
      path = rest.empty() ? std::string_view("/") : rest;
      forwarded_prefix_ = route_->strip_prefix;
    }
  }
  const std::string_view query = head_.target.substr(raw_path.size());
  char* joined = arena_.chars(path.size() + query.size());
  std::copy(path.begin(), path.end(), joined);
  std::copy(query.begin(), query.end(), joined + path.size());
  target_ = {joined, path.size() + query.size()};
  return {};
}

Result<void> Exchange::check_access() {
  if (route_ == nullptr) return {};
  if (route_->require_https && !identity_.https) return fail(ErrorCode::https_required);
  if (route_->deny.empty() && route_->allow.empty()) return {};
  // A proxy that should name the client and does not stands here itself as the client: it must not open the door for
  // whoever made it drop its header (Connection: X-Forwarded-For).
  const bool nobody_named = rule_ != nullptr && rule_->names_client() && identity_.client_from == "connection";
  if (identity_.client_hidden || nobody_named) return fail(ErrorCode::access_denied);
  if (matches_any(route_->deny, identity_.client)) return fail(ErrorCode::access_denied);
  if (!route_->allow.empty() && !matches_any(route_->allow, identity_.client)) return fail(ErrorCode::access_denied);
  return {};
}

// Apps differ in what they take for the same path: "/Admin" for "/admin", "/admin;x" for "/admin". Where another
// reading of the path meets a restricted route, that one counts. False when both readings meet restricted routes:
// which of them the app's reading would have passed is not known.
bool Exchange::choose_stricter(std::string_view path) {
  const config::Route* const as_written = route_;
  const auto reads_as = [&](std::string_view other) {
    const config::Route* route = config::find_route_ignoring_case(*site_, other);
    if (route == nullptr || route == route_) return true;
    if (!route->restricts()) {
      // Nor is a rate evaded by another spelling, where that leads to the same app.
      const bool same_app = route->to.empty() && route->strip_prefix.empty();
      if (route_ == nullptr && route->rate.on() && same_app) route_ = route;
      return true;
    }
    // Two routes that differ in case alone are meant so.
    if (as_written != nullptr && http::equal_ignoring_case(as_written->path, route->path)) return true;
    if (route_ != nullptr && route_->restricts()) return false;
    route_ = route;
    return true;
  };
  if (!reads_as(path)) return false;
  if (path.find(';') == std::string_view::npos) return true;
  const auto bare = http::normalise_path(without_parameters(path, arena_), arena_);
  return !bare || reads_as(*bare);
}

// --- limits

// Sizes, connections and rates, in the order of what a refusal costs the client.
Result<void> Exchange::check_limits() {
  body_limit_bytes_ = site_->body_limit_bytes;
  if (route_ != nullptr) {
    body_limit_bytes_ = route_->body_limit_bytes.value_or(body_limit_bytes_);
    if (route_->header_limit_bytes != 0 && field_octets() > route_->header_limit_bytes) {
      return fail(ErrorCode::header_too_large);
    }
  }
  if (body_limit_bytes_ != 0 && head_.framing == http::Framing::length && head_.content_length > body_limit_bytes_) {
    return fail(ErrorCode::body_too_large);
  }
  if (site_->connections_per_client != 0 && !take_place()) return fail(ErrorCode::too_many_connections);
  if (site_->rate.on() && !take_token(site_->rate)) return fail(ErrorCode::rate_limited);
  if (route_ != nullptr && route_->rate.on() && !take_token(route_->rate)) return fail(ErrorCode::rate_limited);
  return {};
}

size_t Exchange::field_octets() const {
  size_t octets = 0;
  for (const http::Field& field : head_.fields) octets += field.name.size() + field.value.size() + 4;
  return octets;
}

// A connection of the client's own counts until it closes, once for each site. Behind a trusted proxy the connections
// are the proxy's, and it is the client's requests under way that count.
bool Exchange::take_place() {
  ClientCounts& counts = worker_.protection().connections;
  const uint64_t tag = counts.tag_of(site_->scope, ClientId::of(identity_.client));
  const bool own = rule_ == nullptr;
  const ConnectionPlaces::Held held = own ? connection_.places.holds(tag) : ConnectionPlaces::Held::full;
  if (held == ConnectionPlaces::Held::yes) return true;
  ClientPlace place = counts.take(tag, site_->connections_per_client);
  if (!place) {
    if (own) client_.close_after_answer();
    note_refusal(ErrorCode::too_many_connections);
    return false;
  }
  if (held == ConnectionPlaces::Held::no)
    connection_.places.keep(std::move(place));
  else
    place_ = std::move(place);
  return true;
}

// A client that a trusted proxy does not name is counted under the proxy's address, together with all others that it
// hides: nobody gets a bucket of his own by hiding.
bool Exchange::take_token(const config::Rate& rate) {
  const uint64_t wait_ms = worker_.protection().rates.take(Bucket::of(rate.count, rate.per_ms, rate.burst), rate.scope,
                                                           ClientId::of(identity_.client), signal_.reactor().now_ms());
  if (wait_ms == 0) return true;
  retry_after_ms_ = wait_ms;
  note_refusal(ErrorCode::rate_limited);
  return false;
}

// Lintel's own log; the access log has every request.
void Exchange::note_refusal(ErrorCode code) {
  uint64_t skipped = 0;
  if (!worker_.protection_lines().admit(signal_.reactor().now_ms(), skipped)) return;
  log::info("{}: {} at {}", facts(code).name, identity_.client.text(), identity_.host);
  if (skipped != 0) log::info("{} such lines were left out before", skipped);
}

// What a refusal says beside its page: how to log in, when to come again.
void Exchange::add_refusal_fields(http::FieldList& fields) {
  if (error_ == ErrorCode::login_required) {
    const auto challenge = arena_.copy(fmt::format("Basic realm=\"{}\", charset=\"UTF-8\"", route_->basic_auth.realm));
    fields.push(arena_, {"WWW-Authenticate", challenge, http::FieldId::other});
  }
  if (retry_after_ms_ == 0) return;
  const auto seconds = arena_.copy(fmt::format("{}", (retry_after_ms_ + 999) / 1000));
  fields.push(arena_, {"Retry-After", seconds, http::FieldId::retry_after});
}

}  // namespace lintel::proxy
