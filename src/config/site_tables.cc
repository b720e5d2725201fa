#include "config/site_tables.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/ascii.h"
#include "forwarded/managed.h"

namespace lintel::config {
namespace {

// --- certificate

bool read_certificate_file(Context& context, const toml::node& node, SiteDraft& draft) {
  if (auto path = read_file_path(context, node, "file"); path.has_value()) draft.site.certificate_file = *path;
  return true;
}

bool read_certificate_key(Context& context, const toml::node& node, SiteDraft& draft) {
  auto path = read_file_path(context, node, "key");
  if (!path.has_value()) return true;
  struct stat facts{};
  if (::stat(path->c_str(), &facts) == 0 && (facts.st_mode & S_IROTH) != 0) {
    context.report.warning(where_of(context, node),
                           "every user of this machine can read this private key; chmod 600 it");
  }
  draft.site.key_file = std::move(*path);
  return true;
}

constexpr Key<SiteDraft> certificate_keys[] = {
    {{"site.certificate", "file", "path", "required", true}, read_certificate_file},
    {{"site.certificate", "key", "path", "required", true}, read_certificate_key},
};

// --- hsts

struct HstsDraft {
  uint64_t max_age_s = 0;
  bool include_subdomains = false;
  bool preload = false;
};
constexpr uint64_t year_s = 365 * 86'400;

std::string hsts_value(const HstsDraft& hsts) {
  return fmt::format("max-age={}{}{}", hsts.max_age_s, hsts.include_subdomains ? "; includeSubDomains" : "",
                     hsts.preload ? "; preload" : "");
}

bool read_max_age(Context& context, const toml::node& node, HstsDraft& draft) {
  // "0s" is a real use: it makes browsers forget the site's HSTS. 100 years keep the number within every browser's.
  const auto ms = read_milliseconds(context, node, "max_age", 0, 100 * year_s * 1000);
  if (ms.has_value() && *ms % 1000 != 0) {
    context.report.error(where_of(context, node), "max_age must be whole seconds");
  }
  draft.max_age_s = ms.value_or(year_s * 1000) / 1000;
  return true;
}

bool read_include_subdomains(Context& context, const toml::node& node, HstsDraft& draft) {
  draft.include_subdomains = read_bool(context, node, "include_subdomains").value_or(true);
  return true;
}

bool read_preload(Context& context, const toml::node& node, HstsDraft& draft) {
  draft.preload = read_bool(context, node, "preload").value_or(false);
  return true;
}

constexpr Key<HstsDraft> hsts_keys[] = {
    {{"site.hsts", "max_age", "duration", "required", true}, read_max_age},
    {{"site.hsts", "include_subdomains", "boolean", "false", true}, read_include_subdomains},
    {{"site.hsts", "preload", "boolean", "false", true}, read_preload},
};

// --- cookies

std::optional<std::string> read_cookie_name(Context& context, std::string_view name, const Where& where) {
  if (is_token(name) && name != "*") return std::string(name);
  context.report.error(
      where, fmt::format("{} is not a cookie's name{}", in_quotes(name), name == "*" ? "; name each cookie" : ""));
  return std::nullopt;
}

bool read_cookies_secure(Context& context, const toml::node& node, SiteDraft& draft) {
  draft.site.cookies_secure = read_bool(context, node, "secure").value_or(true);
  return true;
}

bool read_http_only(Context& context, const toml::node& node, SiteDraft& draft) {
  for (const Text& text : read_texts(context, node, "http_only")) {
    auto name = read_cookie_name(context, text.value, text.where);
    if (name.has_value()) draft.site.cookies_http_only.push_back(std::move(*name));
  }
  return true;
}

bool read_same_site(Context& context, const toml::node& node, SiteDraft& draft) {
  static constexpr Choice<std::string_view> choices[] = {{"Lax", "Lax"}, {"Strict", "Strict"}, {"None", "None"}};
  const toml::table* table = read_table_node(context, node, "same_site");
  if (table == nullptr) return true;
  for (const auto& [key, value] : *table) {
    const auto name = read_cookie_name(context, key.str(), where_of(context, key));
    const auto text = read_text(context, value, "same_site");
    if (!name.has_value() || !text.has_value()) continue;
    const auto chosen = read_choice(context, *text, "same_site", choices);
    if (chosen.has_value()) draft.site.cookies_same_site[*name] = *chosen;
  }
  return true;
}

constexpr Key<SiteDraft> cookie_keys[] = {
    {{"site.cookies", "secure", "boolean", "true", true}, read_cookies_secure},
    {{"site.cookies", "http_only", "array of strings", "[]", true}, read_http_only},
    {{"site.cookies", "same_site", "table of strings", "{}", true}, read_same_site},
};

// --- headers

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

// Why `name` (lower case) cannot be set or removed, or nothing.
std::string_view refusal(std::string_view name, bool is_request) {
  if (is_one_of(name, {"connection", "transfer-encoding", "content-length", "te", "trailer", "upgrade", "keep-alive",
                       "proxy-connection", "http2-settings", "expect"})) {
    return "it frames the message, and Lintel writes it from what it really sends";
  }
  if (is_request && name == "host") return "the app receives the host that chose the site";
  if (is_request && forwarded::is_managed(name)) {
    return "only Lintel writes it, so that the app can believe it (see emit for more of them)";
  }
  if (!is_request && name == "strict-transport-security") return "the hsts key sets it, and only over https";
  if (!is_request && name.starts_with("x-lintel-")) return "names with x-lintel- are Lintel's own";
  return {};
}

std::optional<std::string> read_field_name(Context& context, std::string_view name, const Where& where,
                                           bool is_request) {
  if (!is_token(name)) {
    context.report.error(where, fmt::format("{} is not a header's name", in_quotes(name)));
    return std::nullopt;
  }
  std::string low = lowered(name);
  if (const std::string_view reason = refusal(low, is_request); !reason.empty()) {
    context.report.error(where, fmt::format("{} cannot be set or removed here: {}", in_quotes(name), reason));
    return std::nullopt;
  }
  return low;
}

template <bool is_request>
bool read_set(Context& context, const toml::node& node, HeaderEdits& edits) {
  const toml::table* table = read_table_node(context, node, "set");
  if (table == nullptr) return true;
  std::map<std::string, Where> names;
  for (const auto& [key, value] : in_file_order(*table)) {
    const Where where = where_of(context, *key);
    const auto name = read_field_name(context, key->str(), where, is_request);
    const auto text = read_text(context, *value, "a header's value");
    if (!name.has_value() || !text.has_value()) continue;
    if (const auto [first, is_new] = names.emplace(*name, where); !is_new) {
      set_twice(context, where, first->second, key->str());
      continue;
    }
    if (!is_field_value(text->value)) {
      context.report.error(text->where, "a header's value is printable ASCII without blanks at its ends");
      continue;
    }
    edits.set.emplace_back(std::string(key->str()), text->value);
  }
  return true;
}

template <bool is_request>
bool read_remove(Context& context, const toml::node& node, HeaderEdits& edits) {
  for (const Text& text : read_texts(context, node, "remove")) {
    auto name = read_field_name(context, text.value, text.where, is_request);
    if (name.has_value()) edits.remove.push_back(std::move(*name));
  }
  return true;
}

constexpr Key<HeaderEdits> request_header_keys[] = {
    {{"site.headers.request", "set", "table of strings", "{}", true}, read_set<true>},
    {{"site.headers.request", "remove", "array of strings", "[]", true}, read_remove<true>},
};
constexpr Key<HeaderEdits> response_header_keys[] = {
    {{"site.headers.response", "set", "table of strings", "{}", true}, read_set<false>},
    {{"site.headers.response", "remove", "array of strings", "[]", true}, read_remove<false>},
};

bool read_request_headers(Context& context, const toml::node& node, SiteDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "request");
  if (table != nullptr) {
    read_table<HeaderEdits>(context, *table, request_header_keys, draft.site.request_headers, seen);
  }
  return true;
}

bool read_response_headers(Context& context, const toml::node& node, SiteDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "response");
  if (table != nullptr) {
    read_table<HeaderEdits>(context, *table, response_header_keys, draft.site.response_headers, seen);
  }
  return true;
}

constexpr Key<SiteDraft> header_keys[] = {
    {{"site.headers", "request", "table", "{}", true}, read_request_headers},
    {{"site.headers", "response", "table", "{}", true}, read_response_headers},
};

}  // namespace

bool read_certificate(Context& context, const toml::node& node, SiteDraft& draft) {
  draft.site.certificate_at = context.report.place_of(where_of(context, node));
  if (const toml::table* table = node.as_table(); table != nullptr) {
    Seen seen;
    read_table<SiteDraft>(context, *table, certificate_keys, draft, seen);
    if (!seen.contains("file") || !seen.contains("key")) {
      context.report.error(where_of(context, node), "certificate needs \"file\" and \"key\"");
    }
    draft.site.certificate = CertificateKind::files;
    return true;
  }
  constexpr std::string_view expected = "\"acme\", \"local\", \"self-signed\" or { file = ..., key = ... }";
  if (!node.is_string()) {
    wrong_type(context, node, "certificate", expected);
    return true;
  }
  const auto text = read_text(context, node, "certificate");
  if (!text.has_value()) return true;
  if (text->value == "local") {
    draft.site.certificate = CertificateKind::local;
  } else if (text->value == "self-signed") {
    draft.site.certificate = CertificateKind::self_signed;
  } else if (text->value == "acme") {
    draft.site.certificate = CertificateKind::acme;
  } else {
    context.report.error(text->where, fmt::format("certificate must be {}, not {}", expected, in_quotes(text->raw)));
  }
  return true;
}

bool read_hsts(Context& context, const toml::node& node, SiteDraft& draft) {
  const auto set = [&](const HstsDraft& hsts) {
    draft.site.hsts.mode = Hsts::Mode::fixed;
    draft.site.hsts.value = hsts_value(hsts);
  };
  if (const auto* flag = node.as_boolean(); flag != nullptr) {
    draft.site.hsts.mode = Hsts::Mode::off;
    if (flag->get()) set({.max_age_s = year_s});
    return true;
  }
  if (const toml::table* table = node.as_table(); table != nullptr) {
    HstsDraft hsts;
    Seen seen;
    const Where where = where_of(context, node);
    read_table<HstsDraft>(context, *table, hsts_keys, hsts, seen);
    if (!seen.contains("max_age")) context.report.error(where, "hsts needs \"max_age\", such as \"30d\"");
    if (hsts.preload && (hsts.max_age_s < year_s || !hsts.include_subdomains)) {
      context.report.error(seen["preload"],
                           "preload needs a max_age of at least \"1y\" and include_subdomains = true: the browsers' "
                           "preload list refuses anything less");
    }
    set(hsts);
    return true;
  }
  const auto* text = node.as_string();
  if (text != nullptr && text->get() == "auto") {
    draft.site.hsts.mode = Hsts::Mode::automatic;
  } else {
    wrong_type(context, node, "hsts", "\"auto\", true, false or { max_age = ... }");
  }
  return true;
}

bool read_cookies(Context& context, const toml::node& node, SiteDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "cookies");
  if (table != nullptr) read_table<SiteDraft>(context, *table, cookie_keys, draft, seen);
  return true;
}

bool read_headers(Context& context, const toml::node& node, SiteDraft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "headers");
  if (table != nullptr) read_table<SiteDraft>(context, *table, header_keys, draft, seen);
  return true;
}

void add_site_table_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : certificate_keys) all.push_back(key.info);
  for (const auto& key : hsts_keys) all.push_back(key.info);
  for (const auto& key : cookie_keys) all.push_back(key.info);
  for (const auto& key : header_keys) all.push_back(key.info);
  for (const auto& key : request_header_keys) all.push_back(key.info);
  for (const auto& key : response_header_keys) all.push_back(key.info);
}

}  // namespace lintel::config
