#include "share/share_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/limits.h"
#include "config/reader.h"
#include "tunnel/hello.h"

namespace lintel::share {
namespace {

using config::Context;
using config::in_quotes;

struct Draft {
  FileShare share;
  config::Where where;
  config::Seen seen;
};

struct FileDraft {
  FileShare every;  // what the file says for all shares
  std::vector<Draft> shares;
};

template <std::string FileShare::* field>
bool read_string(Context& context, const toml::node& node, FileShare& share) {
  if (auto text = read_text(context, node, "this key")) share.*field = std::move(text->value);
  return true;
}

template <std::string FileShare::* field>
bool read_path(Context& context, const toml::node& node, FileShare& share) {
  if (auto path = read_file_path(context, node, "the file")) share.*field = std::move(*path);
  return true;
}

template <bool FileShare::* field>
bool read_flag(Context& context, const toml::node& node, FileShare& share) {
  if (const auto value = read_bool(context, node, "this key")) share.*field = *value;
  return true;
}

// A port may be written as a number.
bool read_target(Context& context, const toml::node& node, FileShare& share) {
  if (node.is_integer()) {
    const auto port = read_integer(context, node, "target", 1, 65'535);
    if (port.has_value()) share.target = fmt::format("{}", *port);
    return true;
  }
  const auto text = read_text(context, node, "target");
  if (!text.has_value()) return true;
  share.target = text->value;
  const std::string_view address = text->value;
  const bool is_tcp = address.starts_with("tcp://");
  const size_t colon = address.rfind(':');
  const bool fits = is_tcp ? colon > 6 && config::read_endpoint("http://" + text->value.substr(6)).has_value()
                           : config::read_endpoint(address).has_value();
  if (!fits) {
    context.report.error(text->where, fmt::format("{} is no target; write a port, a URL as in "
                                                  "\"http://127.0.0.1:5000\", or \"tcp://127.0.0.1:5432\"",
                                                  in_quotes(text->raw)));
  }
  return true;
}

bool read_edge(Context& context, const toml::node& node, FileShare& share) {
  const auto text = read_text(context, node, "edge");
  if (!text.has_value()) return true;
  share.edge = text->value;
  const size_t colon = share.edge.find(':');
  const auto port = colon == std::string::npos ? config::read_endpoint("443")
                                               : config::read_endpoint(std::string_view(share.edge).substr(colon + 1));
  if (!config::read_host(std::string_view(share.edge).substr(0, colon), false) || !port) {
    context.report.error(text->where, fmt::format("{} is no edge; write its name, as in \"t.example.com\" or "
                                                  "\"t.example.com:8443\"",
                                                  in_quotes(text->raw)));
  }
  return true;
}

bool read_name(Context& context, const toml::node& node, FileShare& share) {
  const auto text = read_text(context, node, "name");
  if (!text.has_value()) return true;
  share.name = text->value;
  if (!share.name.empty() && !tunnel::is_share_name(share.name)) {
    context.report.error(text->where, fmt::format("{} is no name of a share: lower-case letters, digits and inner "
                                                  "hyphens make one",
                                                  in_quotes(text->raw)));
  }
  return true;
}

bool read_legs(Context& context, const toml::node& node, FileShare& share) {
  const auto count = read_integer(context, node, "legs", 1, limits::share_legs_count);
  if (count.has_value()) share.legs = static_cast<unsigned>(*count);
  return true;
}

bool read_allow(Context& context, const toml::node& node, FileShare& share) {
  for (const config::Text& text : read_texts(context, node, "allow")) {
    const auto prefix = IpPrefix::parse(text.value);
    if (prefix) {
      share.allow.push_back(*prefix);
    } else {
      context.report.error(text.where, fmt::format("{} is no address or network, as in \"192.0.2.7\" or "
                                                   "\"10.0.0.0/8\"",
                                                   in_quotes(text.raw)));
    }
  }
  if (share.allow.empty() && !context.report.failed()) {
    context.report.error(where_of(context, node),
                         "allow is empty, so nobody could visit; leave it out, or name somebody");
  }
  return true;
}

bool read_expires(Context& context, const toml::node& node, FileShare& share) {
  constexpr uint64_t year_ms = uint64_t{365} * 86'400'000;
  const auto ms = read_milliseconds(context, node, "expires", 1'000, year_ms);
  if (ms.has_value()) share.expires_after_ms = *ms;
  return true;
}

bool read_oidc_allow(Context& context, const toml::node& node, FileShare& share) {
  for (config::Text& text : read_texts(context, node, "allow")) share.oidc_allow.push_back(std::move(text.value));
  if (share.oidc_allow.size() > limits::oidc_addresses_count) {
    context.report.error(where_of(context, node), fmt::format("more than {} addresses", limits::oidc_addresses_count));
  }
  return true;
}

constexpr config::Key<FileShare> oidc_keys[] = {
    {{"share.oidc", "issuer", "string", "required", true}, read_string<&FileShare::oidc_issuer>},
    {{"share.oidc", "client_id", "string", "required", true}, read_string<&FileShare::oidc_client_id>},
    {{"share.oidc", "client_secret_file", "path", "\"\"", true}, read_path<&FileShare::oidc_client_secret_file>},
    {{"share.oidc", "allow", "array of strings", "required", true}, read_oidc_allow},
};

bool read_oidc(Context& context, const toml::node& node, FileShare& share) {
  const toml::table* table = read_table_node(context, node, "oidc");
  if (table == nullptr) return true;
  config::Seen seen;
  config::read_table<FileShare>(context, *table, oidc_keys, share, seen);
  for (const std::string_view needed : {"issuer", "client_id", "allow"}) {
    if (!seen.contains(needed)) {
      context.report.error(where_of(context, node), fmt::format("oidc needs \"{}\"", needed));
    }
  }
  return true;
}

constexpr config::Key<FileShare> share_keys[] = {
    {{"share", "target", "port or URL", "required", true}, read_target},
    {{"share", "name", "string", "\"\"", true}, read_name},
    {{"share", "edge", "string", "required", true}, read_edge},
    {{"share", "token_file", "path", "\"\"", true}, read_path<&FileShare::token_file>},
    {{"share", "ca_file", "path", "\"\"", true}, read_path<&FileShare::ca_file>},
    {{"share", "pool", "boolean", "false", true}, read_flag<&FileShare::pool>},
    {{"share", "sealed", "boolean", "false", true}, read_flag<&FileShare::sealed>},
    {{"share", "agree", "boolean", "false", true}, read_flag<&FileShare::agree>},
    {{"share", "index", "boolean", "false", true}, read_flag<&FileShare::index>},
    {{"share", "legs", "integer", "2", true}, read_legs},
    {{"share", "password_file", "path", "\"\"", true}, read_path<&FileShare::password_file>},
    {{"share", "allow", "array of strings", "[]", true}, read_allow},
    {{"share", "expires", "duration", "\"\"", true}, read_expires},
    {{"share", "host_header", "string", "\"\"", true}, read_string<&FileShare::host_header>},
    {{"share", "oidc", "table", "{}", true}, read_oidc},
};

template <bool (*read)(Context&, const toml::node&, FileShare&)>
bool read_for_all(Context& context, const toml::node& node, FileDraft& draft) {
  return read(context, node, draft.every);
}

// The shares come after the rest of the file: what it says for all of them counts wherever it stands.
bool read_nothing(Context&, const toml::node&, FileDraft&) { return true; }

constexpr config::Key<FileDraft> file_keys[] = {
    {{"share file", "edge", "string", "", true}, read_for_all<read_edge>},
    {{"share file", "token_file", "path", "", true}, read_for_all<read_path<&FileShare::token_file>>},
    {{"share file", "ca_file", "path", "", true}, read_for_all<read_path<&FileShare::ca_file>>},
    {{"share file", "share", "array of tables", "required", true}, read_nothing},
};

void read_shares(Context& context, const toml::node& node, FileDraft& draft) {
  if (!node.is_array()) return wrong_type(context, node, "share", "an array of tables, each written as [[share]]");
  for (const toml::node* item : config::items(node)) {
    const toml::table* table = read_table_node(context, *item, "share");
    if (table == nullptr) continue;
    Draft& one = draft.shares.emplace_back(Draft{draft.every, where_of(context, *table), {}});
    one.share.line = one.where.line;
    config::read_table<FileShare>(context, *table, share_keys, one.share, one.seen);
  }
}

void check_share(config::Report& report, const Draft& draft) {
  const FileShare& share = draft.share;
  const auto at = [&](std::string_view key) {
    const auto found = draft.seen.find(key);
    return found == draft.seen.end() ? draft.where : found->second;
  };
  if (!draft.seen.contains("target")) report.error(draft.where, "this share has no \"target\": the app's port or URL");
  if (share.edge.empty()) {
    report.error(draft.where, "this share has no \"edge\"; write it here, or once at the top of the file");
  }
  const bool is_tcp = share.target.starts_with("tcp://");
  if (is_tcp && share.allow.empty()) {
    report.error(at("target"),
                 "a TCP share needs allow = [...]: whoever finds the port could talk to the program, and "
                 "scanners find every port");
  }
  for (const std::string_view key : {"password_file", "oidc", "host_header", "sealed", "index"}) {
    if (is_tcp && draft.seen.contains(key)) {
      report.error(at(key), fmt::format("{} is for web apps; a TCP share has octets only", key));
    }
  }
  if (!share.password_file.empty() && !share.oidc_issuer.empty()) {
    report.error(at("oidc"), "password_file and oidc both ask who the visitor is; choose one of them");
  }
  if (!share.host_header.empty() && share.password_file.empty() && share.oidc_issuer.empty() && share.allow.empty()) {
    report.error(at("host_header"),
                 "host_header switches off what a dev server does against DNS rebinding; so it needs "
                 "a gate: password_file, allow or oidc");
  }
}

void check_file(config::Report& report, uint32_t file, const FileDraft& draft) {
  if (draft.shares.empty() && !report.failed()) {
    report.error({.file = file, .line = 0, .column = 0}, "there is no share; add [[share]] with target");
  }
  if (draft.shares.size() > limits::share_file_shares_count) {
    report.error(draft.shares.back().where, fmt::format("more than {} shares", limits::share_file_shares_count));
  }
  for (size_t at = 0; at < draft.shares.size(); ++at) {
    const Draft& one = draft.shares[at];
    check_share(report, one);
    for (size_t before = 0; before < at && !one.share.name.empty(); ++before) {
      const Draft& other = draft.shares[before];
      if (other.share.name != one.share.name || other.share.edge != one.share.edge) continue;
      report.error(one.where, fmt::format("the name {} is there twice; the first is at {}", in_quotes(one.share.name),
                                          report.place(other.where)));
      break;
    }
  }
}

}  // namespace

Outcome<ShareOptions> to_options(FileShare from) {
  ShareOptions to;
  to.target = std::move(from.target);
  to.name = std::move(from.name);
  to.ca_file = std::move(from.ca_file);
  to.pool = from.pool;
  to.legs = from.legs;
  to.index = from.index;
  to.sealed = from.sealed;
  to.acme.agree = from.agree;
  GateOptions& gates = to.gates;
  if (!from.password_file.empty()) {
    auto password = read_secret(from.password_file, "password");
    if (!password) return std::unexpected(password.error());
    gates.password = std::move(*password);
  }
  gates.allow = std::move(from.allow);
  gates.expires_after_ms = from.expires_after_ms;
  gates.host_header = std::move(from.host_header);
  gates.oidc.issuer = std::move(from.oidc_issuer);
  gates.oidc.client_id = std::move(from.oidc_client_id);
  gates.oidc.allow = std::move(from.oidc_allow);
  if (!from.oidc_client_secret_file.empty()) {
    auto secret = read_secret(from.oidc_client_secret_file, "client secret");
    if (!secret) return std::unexpected(secret.error());
    gates.oidc.client_secret = std::move(*secret);
  }
  if (auto fine = check_gates(gates); !fine) return std::unexpected(fine.error());
  return to;
}

ShareFile parse_share_file(std::string_view text, const std::string& name, const std::string& folder) {
  config::Report report;
  const uint32_t file = report.add_file(name, std::string(text));
  FileDraft draft;
  if (const auto table = config::parse_toml(report, file, text)) {
    Context context{report, file, folder};
    config::Seen seen;
    config::read_table<FileDraft>(context, *table, file_keys, draft, seen);
    if (const toml::node* shares = table->get("share"); shares != nullptr) read_shares(context, *shares, draft);
    check_file(report, file, draft);
  }
  ShareFile result;
  const bool failed = report.failed();
  result.diagnostics = report.take();
  if (failed) return result;
  for (Draft& one : draft.shares) result.shares.push_back(std::move(one.share));
  return result;
}

ShareFile read_share_file(const std::string& file) {
  const auto text = read_whole_file(file, "share", limits::config_file_bytes);
  if (!text) {
    config::Diagnostic one;
    one.file = file;
    one.message = text.error().message;
    return {{}, {std::move(one)}};
  }
  std::error_code error;
  const auto full = std::filesystem::absolute(file, error);
  return parse_share_file(*text, file, error ? "." : full.parent_path().string());
}

}  // namespace lintel::share
