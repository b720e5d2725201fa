// [acme]: who issues certificates, and how names are proven.
#include <fmt/format.h>

#include <algorithm>

#include "config/draft.h"

namespace lintel::config {
namespace {

struct KnownIssuer {
  std::string_view name, url;
};
constexpr KnownIssuer known_issuers[] = {
    {"letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"},
    {"letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"},
    {"zerossl", "https://acme.zerossl.com/v2/DV90"},
};

// Of an URL: "acme.example.com", "localhost:14000"; names the issuer's folder in the state.
std::string host_of(std::string_view url) {
  url.remove_prefix(std::string_view("https://").size());
  url = url.substr(0, url.find_first_of("/?#"));
  std::string name;
  for (const char c : url) name += c == '[' || c == ']' ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return name;
}

constexpr std::string_view not_an_issuer =
    "is no issuer; write letsencrypt, letsencrypt-staging, zerossl, or the https URL of an ACME directory";

bool is_directory_url(std::string_view text) {
  if (!text.starts_with("https://")) return false;
  const std::string host = host_of(text);
  const auto ordinary = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view(".-:_").find(c) != std::string::npos;
  };
  return !host.empty() && host.front() != '.' && std::ranges::all_of(host, ordinary) &&
         text.find_first_of(" \t@") == std::string_view::npos;
}

void take_directory(Context& context, const Text& text, IssuerDraft& draft) {
  auto issuer = named_issuer(text.value);
  if (issuer) {
    draft.issuer.name = std::move(issuer->name);
    draft.issuer.directory_url = std::move(issuer->directory_url);
    return;
  }
  context.report.error(text.where, fmt::format("{} {}", in_quotes(text.raw), not_an_issuer));
}

bool read_kid(Context& context, const toml::node& node, IssuerDraft& draft) {
  if (auto text = read_text(context, node, "kid")) draft.issuer.eab_kid = std::move(text->value);
  return true;
}

bool read_hmac_file(Context& context, const toml::node& node, IssuerDraft& draft) {
  if (auto path = read_file_path(context, node, "hmac_file")) draft.issuer.eab_hmac_file = std::move(*path);
  return true;
}

constexpr Key<IssuerDraft> eab_keys[] = {
    {{"acme.eab", "kid", "string", "required", true}, read_kid},
    {{"acme.eab", "hmac_file", "path", "required", true}, read_hmac_file},
};

bool read_issuer_eab(Context& context, const toml::node& node, IssuerDraft& draft) {
  const toml::table* table = read_table_node(context, node, "eab");
  if (table == nullptr) return true;
  Seen seen;
  read_table<IssuerDraft>(context, *table, eab_keys, draft, seen);
  if (!seen.contains("kid") || !seen.contains("hmac_file")) {
    context.report.error(where_of(context, node), "eab needs \"kid\" and \"hmac_file\", as the issuer gives them");
  }
  return true;
}

bool read_issuer_url(Context& context, const toml::node& node, IssuerDraft& draft) {
  if (const auto text = read_text(context, node, "url")) take_directory(context, *text, draft);
  return true;
}

bool read_issuer_ca_file(Context& context, const toml::node& node, IssuerDraft& draft) {
  if (is_empty_string(node)) return true;
  if (auto path = read_file_path(context, node, "ca_file")) draft.issuer.ca_file = std::move(*path);
  return true;
}

bool read_issuer_profile(Context& context, const toml::node& node, IssuerDraft& draft) {
  if (auto text = read_text(context, node, "profile")) draft.issuer.profile = std::move(text->value);
  return true;
}

constexpr Key<IssuerDraft> issuer_keys[] = {
    {{"acme.directory", "url", "string", "required", true}, read_issuer_url},
    {{"acme.directory", "ca_file", "path", "\"\"", true}, read_issuer_ca_file},
    {{"acme.directory", "profile", "string", "\"\"", true}, read_issuer_profile},
    {{"acme.directory", "eab", "table", "{}", true}, read_issuer_eab},
};

bool read_email(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "email");
  if (!text.has_value()) return true;
  const std::string& value = text->value;
  const bool fine = value.find('@') != std::string::npos && value.find_first_of(" ,<>\"?") == std::string::npos;
  if (!value.empty() && !fine) {
    context.report.error(text->where, fmt::format("{} is no mail address", in_quotes(text->raw)));
  }
  draft.config.acme.email = value;
  return true;
}

bool read_agree(Context& context, const toml::node& node, Draft& draft) {
  draft.config.acme.agree = read_bool(context, node, "agree").value_or(false);
  return true;
}

bool read_directory(Context& context, const toml::node& node, Draft& draft) {
  for (const toml::node* item : items(node)) {
    IssuerDraft issuer;
    issuer.where = where_of(context, *item);
    if (const toml::table* table = item->as_table()) {
      Seen seen;
      read_table<IssuerDraft>(context, *table, issuer_keys, issuer, seen);
      if (!seen.contains("url")) context.report.error(issuer.where, "this issuer has no \"url\"");
    } else if (item->is_string()) {
      if (const auto text = read_text(context, *item, "directory")) take_directory(context, *text, issuer);
    } else {
      wrong_type(context, *item, "directory", "an issuer's name, the URL of its directory, or a table with \"url\"");
    }
    for (const IssuerDraft& other : draft.issuers) {
      if (issuer.issuer.name.empty() || other.issuer.name != issuer.issuer.name) continue;
      context.report.error(issuer.where, fmt::format("the issuer {} is there twice", issuer.issuer.name));
    }
    draft.issuers.push_back(std::move(issuer));
  }
  return true;
}

bool read_ca_file(Context& context, const toml::node& node, Draft& draft) {
  return read_issuer_ca_file(context, node, draft.every_issuer);
}

bool read_profile(Context& context, const toml::node& node, Draft& draft) {
  return read_issuer_profile(context, node, draft.every_issuer);
}

bool read_eab(Context& context, const toml::node& node, Draft& draft) {
  draft.every_issuer.where = where_of(context, node);
  return read_issuer_eab(context, node, draft.every_issuer);
}

bool read_challenges(Context& context, const toml::node& node, Draft& draft) {
  static constexpr Choice<std::string_view> choices[] = {
      {"http-01", "http-01"}, {"tls-alpn-01", "tls-alpn-01"}, {"dns-01", "dns-01"}};
  std::vector<std::string>& challenges = draft.config.acme.challenges;
  challenges.clear();
  for (const Text& text : read_texts(context, node, "challenges")) {
    const auto choice = read_choice(context, text, "challenges", choices);
    if (choice && std::ranges::find(challenges, *choice) == challenges.end()) challenges.emplace_back(*choice);
  }
  if (challenges.empty() && !context.report.failed()) {
    context.report.error(where_of(context, node), "challenges is empty: no name could be proven");
  }
  return true;
}

bool read_dns_hook(Context& context, const toml::node& node, Draft& draft) {
  std::vector<std::string>& hook = draft.config.acme.dns_hook;
  for (Text& text : read_texts(context, node, "dns_hook")) {
    hook.push_back(hook.empty() && !text.value.empty() ? resolve_path(context, text.value) : std::move(text.value));
  }
  if (hook.size() == 1 && hook.front().empty()) hook.clear();
  return true;
}

bool read_dns_hook_user(Context& context, const toml::node& node, Draft& draft) {
  if (auto text = read_text(context, node, "dns_hook_user")) draft.config.acme.dns_hook_user = std::move(text->value);
  return true;
}

bool read_dns_wait(Context& context, const toml::node& node, Draft& draft) {
  const auto ms = read_milliseconds(context, node, "dns_wait", 0, limits::config_timeout_max_ms);
  if (ms.has_value()) draft.config.acme.dns_wait_ms = static_cast<uint32_t>(*ms);
  return true;
}

bool read_dns_servers(Context& context, const toml::node& node, Draft& draft) {
  for (Text& text : read_texts(context, node, "dns_servers")) {
    const auto ip = IpAddress::parse(text.value);
    const auto listen = read_listen(text.value);
    const bool with_port = listen.has_value() && listen->kind == SocketAddress::Kind::ip && listen->port != 0 &&
                           !listen->ip.is_unspecified();
    if (ip || with_port) {
      draft.config.acme.dns_servers.push_back(std::move(text.value));
      continue;
    }
    context.report.error(text.where, fmt::format("{} is no name server; write an address, as in \"192.0.2.1\" or "
                                                 "\"192.0.2.1:5353\"",
                                                 in_quotes(text.raw)));
  }
  return true;
}

bool read_ask(Context& context, const toml::node& node, Draft& draft) {
  const auto text = read_text(context, node, "ask");
  if (!text.has_value() || text->value.empty()) return true;
  if (!text->value.starts_with("http://") && !text->value.starts_with("https://")) {
    context.report.error(text->where, "ask must be an http or https URL");
  }
  draft.config.acme.on_demand_ask = text->value;
  return true;
}

bool read_allow(Context& context, const toml::node& node, Draft& draft) {
  for (const Text& text : read_texts(context, node, "allow")) {
    auto host = read_host(text.value, true);
    if (!host || *host == "*") {
      context.report.error(text.where,
                           fmt::format("{} is no name; write names like \"shop.example.com\" or \"*.example.com\"",
                                       in_quotes(text.raw)));
      continue;
    }
    draft.config.acme.on_demand_allow.push_back(std::move(*host));
  }
  return true;
}

constexpr Key<Draft> on_demand_keys[] = {
    {{"acme.on_demand", "ask", "string", "\"\"", true}, read_ask},
    {{"acme.on_demand", "allow", "array of strings", "[]", true}, read_allow},
};

bool read_on_demand(Context& context, const toml::node& node, Draft& draft) {
  Seen seen;
  const toml::table* table = read_table_node(context, node, "on_demand");
  if (table != nullptr) read_table<Draft>(context, *table, on_demand_keys, draft, seen);
  return true;
}

constexpr Key<Draft> acme_keys[] = {
    {{"acme", "email", "string", "\"\"", true}, read_email},
    {{"acme", "agree", "boolean", "false", true}, read_agree},
    {{"acme", "directory", "string, table, or array of them", "\"letsencrypt\"", true}, read_directory},
    {{"acme", "ca_file", "path", "\"\"", true}, read_ca_file},
    {{"acme", "profile", "string", "\"\"", true}, read_profile},
    {{"acme", "eab", "table", "{}", true}, read_eab},
    {{"acme", "challenges", "array of strings", "[\"tls-alpn-01\", \"http-01\"]", true}, read_challenges},
    {{"acme", "dns_hook", "path or array of strings", "[]", true}, read_dns_hook},
    {{"acme", "dns_hook_user", "string", "\"\"", true}, read_dns_hook_user},
    {{"acme", "dns_wait", "duration", "\"2m\"", true}, read_dns_wait},
    {{"acme", "dns_servers", "array of strings", "[]", true}, read_dns_servers},
    {{"acme", "on_demand", "table", "{}", true}, read_on_demand},
};

bool is_public_issuer(const AcmeIssuer& issuer) {
  return std::ranges::any_of(known_issuers, [&](const KnownIssuer& one) { return one.url == issuer.directory_url; });
}

void check_names(Report& report, const Draft& draft, const SiteDraft& site, bool all_public) {
  const Acme& acme = draft.config.acme;
  const auto uses = [&](std::string_view type) {
    return std::ranges::find(acme.challenges, type) != acme.challenges.end();
  };
  for (const Text& host : site.hosts) {
    if (host.value == "*") {
      if (site.site.on_demand) continue;
      report.error(host.where,
                   "certificate = \"acme\" needs names; for hosts that are not known beforehand write on_demand = true "
                   "and [acme.on_demand] with ask or allow");
    } else if (host.value.starts_with("*.") && !site.site.on_demand && (!uses("dns-01") || acme.dns_hook.empty())) {
      std::string message = fmt::format(
          "a certificate for {} needs the challenge dns-01: add \"dns-01\" to acme.challenges, and acme.dns_hook",
          in_quotes(host.raw));
      if (site.site.edge != EdgeRole::none) {
        message +=
            "; or write edge.certificate = { file = ..., key = ... }. One certificate for each share would meet "
            "the issuers' weekly limits, and publish every name in the logs of Certificate Transparency";
      }
      report.error(host.where, std::move(message));
    } else if (all_public && is_private_name(host.value)) {
      report.error(host.where,
                   fmt::format("no public issuer signs for {}; use certificate = \"local\", or the directory "
                               "of an issuer of your own",
                               in_quotes(host.raw)));
    }
  }
}

}  // namespace

std::expected<AcmeIssuer, std::string> named_issuer(std::string_view text) {
  AcmeIssuer issuer;
  for (const KnownIssuer& known : known_issuers) {
    if (text != known.name) continue;
    issuer.name = known.name;
    issuer.directory_url = known.url;
    return issuer;
  }
  if (!is_directory_url(text)) return std::unexpected(fmt::format("{} {}", in_quotes(text), not_an_issuer));
  issuer.name = host_of(text);
  issuer.directory_url = text;
  return issuer;
}

// Not below a public suffix, or reserved (RFC 6761, RFC 6762, RFC 8375).
bool is_private_name(std::string_view host) {
  if (host.starts_with('[')) return false;
  if (IpAddress::parse(host)) return false;
  if (host.find('.') == std::string_view::npos) return true;
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{".localhost", ".test", ".local", ".internal", ".home.arpa", ".invalid",
                                              ".example", ".lan", ".corp"},
      [&](std::string_view suffix) { return host.ends_with(suffix); });
}

void read_acme(Context& context, const toml::table& table, Draft& draft) {
  read_table<Draft>(context, table, acme_keys, draft, draft.acme);
}

void check_acme(Report& report, Draft& draft) {
  Acme& acme = draft.config.acme;
  if (draft.issuers.empty()) {
    IssuerDraft usual;
    usual.issuer.name = known_issuers[0].name;
    usual.issuer.directory_url = known_issuers[0].url;
    draft.issuers.push_back(std::move(usual));
  }
  const AcmeIssuer& every = draft.every_issuer.issuer;
  if (!every.eab_kid.empty() && draft.issuers.size() > 1) {
    report.error(draft.every_issuer.where,
                 "there are several issuers, and an external account belongs to one: write eab into its table, as in "
                 "directory = [{ url = \"zerossl\", eab = { ... } }]");
  }
  for (IssuerDraft& one : draft.issuers) {
    AcmeIssuer& issuer = one.issuer;
    // A private CA says nothing about the public issuers beside it.
    if (issuer.ca_file.empty() && !is_public_issuer(issuer)) issuer.ca_file = every.ca_file;
    if (issuer.profile.empty()) issuer.profile = every.profile;
    if (issuer.eab_kid.empty()) {
      issuer.eab_kid = every.eab_kid;
      issuer.eab_hmac_file = every.eab_hmac_file;
    }
    acme.issuers.push_back(issuer);
  }
  const bool all_public = std::ranges::all_of(acme.issuers, is_public_issuer);
  const bool asks = !acme.on_demand_ask.empty() || !acme.on_demand_allow.empty();
  for (const SiteDraft& site : draft.sites) {
    const auto on_demand = site.seen.find("on_demand");
    if (site.site.on_demand && site.site.certificate != CertificateKind::acme) {
      report.error(on_demand->second, "on_demand belongs to certificate = \"acme\"");
    } else if (site.site.on_demand && !asks) {
      report.error(on_demand->second,
                   "on_demand needs [acme.on_demand] with ask or allow: else anybody could make Lintel order "
                   "certificates for any name");
    }
    if (site.site.certificate != CertificateKind::acme) continue;
    if (!acme.agree && site.site.edge != EdgeRole::shares) {  // said of the edge's own name already
      const auto at = site.seen.find("certificate");
      report.error(
          at == site.seen.end() ? site.where : at->second,
          "certificate = \"acme\" needs your agreement to the issuer's terms: write agree = true below [acme]");
    }
    check_names(report, draft, site, all_public);
  }
}

void add_acme_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : acme_keys) all.push_back(key.info);
  for (const auto& key : issuer_keys) all.push_back(key.info);
  for (const auto& key : eab_keys) all.push_back(key.info);
  for (const auto& key : on_demand_keys) all.push_back(key.info);
}

}  // namespace lintel::config
