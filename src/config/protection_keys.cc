#include "config/protection_keys.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/ascii.h"
#include "config/users_file.h"
#include "forwarded/managed.h"

namespace lintel::config {
namespace {

// --- limits

struct LimitsDraft {
  std::optional<uint64_t> body;
  size_t header = 0;
  Rate rate;
  uint32_t connections = 0;
};

bool read_body_limit(Context& context, const toml::node& node, LimitsDraft& draft) {
  if (!node.is_string()) {
    wrong_type(context, node, "body", "\"off\" or a size with its unit, such as \"100MiB\"");
    return true;
  }
  const auto text = read_text(context, node, "body");
  if (!text.has_value()) return true;
  if (text->value == "off") {
    draft.body = 0;
    return true;
  }
  const auto size = read_size_bytes(text->value);
  if (!size) {
    context.report.error(text->where, fmt::format("{} is not a size: {}", in_quotes(text->raw), size.error()));
  } else if (*size == 0) {
    context.report.error(text->where, "a limit of 0 would refuse every body; write \"off\" for no limit");
  } else {
    draft.body = *size;
  }
  return true;
}

bool read_header_limit(Context& context, const toml::node& node, LimitsDraft& draft) {
  constexpr uint64_t least = 256;
  if (!node.is_string()) {
    wrong_type(context, node, "header", "\"off\" or a size with its unit, such as \"8KiB\"");
    return true;
  }
  const auto text = read_text(context, node, "header");
  if (!text.has_value() || text->value == "off") return true;
  const auto size = read_size_bytes(text->value);
  if (!size) {
    context.report.error(text->where, fmt::format("{} is not a size: {}", in_quotes(text->raw), size.error()));
  } else if (*size < least || *size > limits::request_head_bytes) {
    context.report.error(text->where, fmt::format("header must lie between {} and {} octets: Lintel takes no larger "
                                                  "head at all",
                                                  least, limits::request_head_bytes));
  } else {
    draft.header = static_cast<size_t>(*size);
  }
  return true;
}

// "50/s", "100/m", "1000/h"; nothing when it is none.
std::optional<Rate> rate_from(std::string_view text) {
  Rate rate;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), rate.count);
  if (error != std::errc() || rate.count == 0 || rate.count > limits::rate_count) return std::nullopt;
  const std::string_view per = text.substr(static_cast<size_t>(end - text.data()));
  if (per == "/s") return rate;
  rate.per_ms = per == "/m" ? 60'000 : 3'600'000;
  if (per != "/m" && per != "/h") return std::nullopt;
  return rate;
}

bool read_rate(Context& context, const toml::node& node, LimitsDraft& draft) {
  if (!node.is_string()) {
    wrong_type(context, node, "rate", "\"off\" or requests in a time, such as \"50/s\"");
    return true;
  }
  const auto text = read_text(context, node, "rate");
  if (!text.has_value() || text->value == "off") return true;
  const auto rate = rate_from(text->value);
  if (!rate.has_value()) {
    context.report.error(text->where,
                         fmt::format("{} is not a rate: write 1 to {} requests and \"/s\", \"/m\" or \"/h\", as in "
                                     "\"50/s\"",
                                     in_quotes(text->raw), limits::rate_count));
    return true;
  }
  draft.rate.count = rate->count;
  draft.rate.per_ms = rate->per_ms;
  return true;
}

bool read_burst(Context& context, const toml::node& node, LimitsDraft& draft) {
  const auto burst = read_integer(context, node, "burst", 0, static_cast<int64_t>(limits::rate_count));
  draft.rate.burst = static_cast<uint32_t>(burst.value_or(0));
  return true;
}

bool read_connections(Context& context, const toml::node& node, LimitsDraft& draft) {
  const auto count = read_integer(context, node, "connections_per_client", 0,
                                  static_cast<int64_t>(limits::connections_per_worker_count));
  draft.connections = static_cast<uint32_t>(count.value_or(0));
  return true;
}

constexpr Key<LimitsDraft> site_limit_keys[] = {
    {{"site.limits", "body", "size", "\"off\"", true}, read_body_limit},
    {{"site.limits", "rate", "string", "\"off\"", true}, read_rate},
    {{"site.limits", "burst", "integer", "0", true}, read_burst},
    {{"site.limits", "connections_per_client", "integer", "0", true}, read_connections},
};
constexpr Key<LimitsDraft> route_limit_keys[] = {
    {{"site.route.limits", "body", "size", "the site's", true}, read_body_limit},
    {{"site.route.limits", "header", "size", "\"off\"", true}, read_header_limit},
    {{"site.route.limits", "rate", "string", "\"off\"", true}, read_rate},
    {{"site.route.limits", "burst", "integer", "0", true}, read_burst},
};

LimitsDraft read_limits_table(Context& context, const toml::node& node, std::span<const Key<LimitsDraft>> keys) {
  LimitsDraft limits;
  const toml::table* table = read_table_node(context, node, "limits");
  if (table == nullptr) return limits;
  Seen seen;
  read_table<LimitsDraft>(context, *table, keys, limits, seen);
  if (limits.rate.burst != 0 && !seen.contains("rate")) {
    context.report.error(seen["burst"], "burst says how far the rate may be passed: it needs \"rate\"");
  }
  return limits;
}

// --- basic_auth

bool read_users(Context& context, const toml::node& node, BasicAuth& draft) {
  auto path = read_file_path(context, node, "users_file");
  if (!path.has_value()) return true;
  const auto users = read_users_file(*path);
  if (!users) {
    context.report.error(where_of(context, node), users.error());
  } else if (users->empty()) {
    context.report.warning(where_of(context, node), "there is no user in this file, so nobody gets in");
  }
  struct stat facts{};
  if (::stat(path->c_str(), &facts) == 0 && (facts.st_mode & S_IROTH) != 0) {
    context.report.warning(where_of(context, node),
                           "every user of this machine can read these hashes and guess passwords; chmod 640 the file");
  }
  draft.users_file = std::move(*path);
  return true;
}

bool read_realm(Context& context, const toml::node& node, BasicAuth& draft) {
  const auto text = read_text(context, node, "realm");
  if (!text.has_value()) return true;
  if (!is_field_value(text->value) || text->value.find_first_of("\"\\\t") != std::string::npos) {
    context.report.error(text->where, "realm is printable ASCII without quotes and backslashes");
    return true;
  }
  draft.realm = text->value;
  return true;
}

bool read_forward(Context& context, const toml::node& node, BasicAuth& draft) {
  draft.forward_credentials = read_bool(context, node, "forward_credentials").value_or(false);
  return true;
}

constexpr Key<BasicAuth> basic_auth_keys[] = {
    {{"site.route.basic_auth", "users_file", "path", "required", true}, read_users},
    {{"site.route.basic_auth", "realm", "string", "\"restricted\"", true}, read_realm},
    {{"site.route.basic_auth", "forward_credentials", "boolean", "false", true}, read_forward},
};

// --- auth_request

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// Names of identities that gateways hand to apps; the rest of the managed set says who the client is, and only the
// trust rules do that.
bool is_identity(std::string_view folded) {
  const auto begins = [&](std::string_view prefix) { return folded.starts_with(prefix); };
  return begins("remote-user") || begins("x-remote-user") || begins("x-auth-request-") || begins("x-webauth-user") ||
         begins("x-goog-iap-") || begins("x-ms-client-principal") || begins("x-amzn-oidc-") ||
         is_one_of(folded, {"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups",
                            "x-forwarded-preferred-username", "x-forwarded-access-token"});
}

std::string_view copy_fault(std::string_view name) {
  if (!is_token(name)) return "is not a header's name";
  const std::string folded = forwarded::folded_name(name);
  if (is_one_of(folded, {"connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "keep-alive",
                         "proxy-connection", "http2-settings", "expect", "content-type", "content-encoding", "date"})) {
    return "belongs to the message itself";
  }
  if (is_one_of(folded, {"host", "cookie", "set-cookie", "x-request-id", "cdn-loop"}))
    return "is not the service's to set";
  if (forwarded::is_managed(name) && !is_identity(folded)) {
    return "says who the client is, which only the trust rules decide";
  }
  return {};
}

bool read_copy(Context& context, const toml::node& node, AuthRequest& draft) {
  for (const Text& text : read_texts(context, node, "copy")) {
    if (const std::string_view fault = copy_fault(text.value); !fault.empty()) {
      context.report.error(text.where, fmt::format("{} cannot be copied: it {}", in_quotes(text.raw), fault));
      continue;
    }
    if (draft.copy.size() == limits::auth_copied_count) {
      context.report.error(text.where, fmt::format("copy has more than {} entries", limits::auth_copied_count));
      break;
    }
    draft.copy.push_back(lowered(text.value));
  }
  return true;
}

// Where the path of "http://host/path" or of "unix:/socket:/path" begins.
size_t path_begin(std::string_view url) {
  if (url.starts_with("unix:")) {
    const size_t colon = url.find(":/", 5);
    return colon == std::string_view::npos ? colon : colon + 1;
  }
  const size_t scheme = url.find("://");
  return url.find('/', scheme == std::string_view::npos ? 0 : scheme + 3);
}

bool read_auth_url(Context& context, const toml::node& node, AuthRequest& draft) {
  const auto text = read_text(context, node, "auth_request");
  if (!text.has_value()) return true;
  const std::string_view url = text->value;
  const size_t begin = path_begin(url);
  const std::string_view target = begin == std::string_view::npos ? std::string_view("/") : url.substr(begin);
  std::string_view base = url.substr(0, begin);
  if (base.starts_with("unix:") && base.ends_with(':')) base.remove_suffix(1);
  auto endpoint = read_endpoint(base);
  if (!endpoint) {
    context.report.error(text->where, fmt::format("{} is not a URL: {}", in_quotes(text->raw), endpoint.error()));
    return true;
  }
  const bool printable = std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (!printable || target.size() > limits::request_target_bytes) {
    context.report.error(text->where,
                         fmt::format("{} has a path with characters that no URL has", in_quotes(text->raw)));
    return true;
  }
  endpoint->url = text->raw;
  if (!endpoint->unix_path.empty()) endpoint->unix_path = resolve_path(context, endpoint->unix_path);
  draft.endpoint = std::move(*endpoint);
  draft.target = std::string(target);
  return true;
}

constexpr Key<AuthRequest> auth_request_keys[] = {
    {{"site.route.auth_request", "url", "string", "required", true}, read_auth_url},
    {{"site.route.auth_request", "copy", "array of strings", "[]", true}, read_copy},
};

}  // namespace

bool read_limits(Context& context, const toml::node& node, SiteDraft& draft) {
  const LimitsDraft limits = read_limits_table(context, node, site_limit_keys);
  draft.site.body_limit_bytes = limits.body.value_or(0);
  draft.site.rate = limits.rate;
  draft.site.connections_per_client = limits.connections;
  return true;
}

bool read_route_limits(Context& context, const toml::node& node, RouteDraft& draft) {
  const LimitsDraft limits = read_limits_table(context, node, route_limit_keys);
  draft.route.body_limit_bytes = limits.body;
  draft.route.header_limit_bytes = limits.header;
  draft.route.rate = limits.rate;
  return true;
}

bool read_basic_auth(Context& context, const toml::node& node, RouteDraft& draft) {
  const toml::table* table = read_table_node(context, node, "basic_auth");
  if (table == nullptr || table->empty()) return true;
  Seen seen;
  read_table<BasicAuth>(context, *table, basic_auth_keys, draft.route.basic_auth, seen);
  if (!seen.contains("users_file")) context.report.error(where_of(context, node), "basic_auth needs \"users_file\"");
  return true;
}

bool read_auth_request(Context& context, const toml::node& node, RouteDraft& draft) {
  if (is_empty_string(node)) return true;
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    if (node.is_string()) return read_auth_url(context, node, draft.route.auth_request);
    wrong_type(context, node, "auth_request", "a URL, or a table { url = ..., copy = [...] }");
    return true;
  }
  Seen seen;
  read_table<AuthRequest>(context, *table, auth_request_keys, draft.route.auth_request, seen);
  if (!seen.contains("url")) context.report.error(where_of(context, node), "auth_request needs \"url\"");
  return true;
}

void add_protection_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : site_limit_keys) all.push_back(key.info);
  for (const auto& key : route_limit_keys) all.push_back(key.info);
  for (const auto& key : basic_auth_keys) all.push_back(key.info);
  for (const auto& key : auth_request_keys) all.push_back(key.info);
}

}  // namespace lintel::config
