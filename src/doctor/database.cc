#include "doctor/database.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/limits.h"
#include "config/toml.h"
#include "http/cookie.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

constexpr std::string_view general_file = "general.toml";

// Reads the keys of one table; what is missing, of a wrong type or not known is an error with its place.
class Reader {
 public:
  Reader(std::string_view file, const toml::table& table) : file_(file), table_(table) {}

  std::string text(std::string_view key, bool required = true) {
    used_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      if (required) fail_at(key, "is missing");
      return {};
    }
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty()) fail_at(key, "is no text");
    return value.value_or("");
  }
  std::vector<std::string> texts(std::string_view key, bool required = true) {
    used_.push_back(key);
    std::vector<std::string> result;
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      if (required) fail_at(key, "is missing");
      return result;
    }
    const toml::array* list = node->as_array();
    if (list == nullptr || list->empty()) fail_at(key, "is no list of texts");
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const auto value = list->get(i)->value_exact<std::string>();
      if (!value) fail_at(key, "holds something that is no text");
      result.push_back(value.value_or(""));
    }
    return result;
  }
  bool flag(std::string_view key) {
    used_.push_back(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr) return false;
    const auto value = node->value_exact<bool>();
    if (!value) fail_at(key, "is neither true nor false");
    return value.value_or(false);
  }
  unsigned number(std::string_view key) {
    used_.push_back(key);
    const toml::node* node = table_.get(key);
    const auto value = node == nullptr ? std::nullopt : node->value_exact<int64_t>();
    if (!value || *value < 1 || *value > 100) fail_at(key, "is no number from 1 to 100");
    return static_cast<unsigned>(value.value_or(1));
  }
  std::vector<Reader> tables(std::string_view key) {
    used_.push_back(key);
    std::vector<Reader> result;
    const toml::array* list = table_.get(key) == nullptr ? nullptr : table_.get(key)->as_array();
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      if (const toml::table* one = list->get(i)->as_table()) result.emplace_back(file_, *one);
    }
    return result;
  }
  std::map<std::string, std::string> map(std::string_view key) {
    used_.push_back(key);
    std::map<std::string, std::string> result;
    const toml::table* table = table_.get(key) == nullptr ? nullptr : table_.get(key)->as_table();
    if (table == nullptr) return result;
    for (const auto& [name, node] : *table) {
      const auto value = node.value_exact<std::string>();
      if (!value) fail_at(key, "holds something that is no text");
      result.emplace(std::string(name.str()), value.value_or(""));
    }
    return result;
  }
  void fail_at(std::string_view key, std::string_view what) {
    if (error_.empty())
      error_ = fmt::format("{}:{}: {} {}", file_, static_cast<unsigned>(table_.source().begin.line), key, what);
  }
  // The first thing that was wrong; empty when nothing was.
  std::string error() {
    for (const auto& [name, node] : table_)
      if (std::ranges::find(used_, name.str()) == used_.end()) fail_at(name.str(), "is no key that is known");
    return error_;
  }

 private:
  std::string_view file_;
  const toml::table& table_;
  std::vector<std::string_view> used_;
  std::string error_;
};

Fingerprint read_fingerprint(Reader& reader) {
  Fingerprint sign;
  for (auto [key, kind] : {std::pair{"header", Fingerprint::Kind::header}, {"cookie", Fingerprint::Kind::cookie}}) {
    std::string name = reader.text(key, false);
    if (name.empty()) continue;
    sign.kind = kind;
    sign.name = std::move(name);
  }
  sign.contains = reader.text("contains", false);
  if (sign.name.empty()) {
    sign.kind = Fingerprint::Kind::body;
    if (sign.contains.empty()) reader.fail_at("contains", "is missing, and header and cookie are too");
  }
  sign.weight = reader.number("weight");
  sign.source = reader.text("source");
  return sign;
}

Fix read_fix(Reader& reader) {
  Fix fix;
  for (const std::string& name : reader.texts("findings")) {
    const auto id = finding_id(name);
    if (id)
      fix.findings.push_back(*id);
    else
      reader.fail_at("findings", "names what is no finding: " + name);
  }
  fix.file = reader.text("file");
  fix.lines = reader.texts("lines");
  fix.note = reader.text("note", false);
  fix.verify = reader.text("verify");
  fix.source = reader.text("source");
  return fix;
}

ForwardedHost read_forwarded_host(Reader& reader) {
  const std::string value = reader.text("forwarded_host");
  if (value == "opt-in") return ForwardedHost::opt_in;
  if (value == "with-scheme") return ForwardedHost::with_scheme;
  if (value == "always") return ForwardedHost::always;
  if (value != "never") reader.fail_at("forwarded_host", "is none of never, opt-in, with-scheme, always");
  return ForwardedHost::never;
}

Outcome<Framework> read_framework(std::string_view file, const toml::table& table) {
  Reader reader(file, table);
  Framework one;
  one.file = file;
  one.name = reader.text("name");
  one.is_server = reader.flag("server");
  one.ignores_server = reader.flag("ignores_server");
  one.suppresses_secure_cookies = reader.flag("suppresses_secure_cookies");
  one.forwarded_host = read_forwarded_host(reader);
  one.reads = reader.text("reads");
  one.source = reader.text("source");
  one.probes = reader.texts("probes", false);
  one.try_paths = reader.texts("try", false);
  std::string error;
  for (Reader& part : reader.tables("fingerprint")) {
    one.fingerprints.push_back(read_fingerprint(part));
    if (error.empty()) error = part.error();
  }
  for (Reader& part : reader.tables("fix")) {
    one.fixes.push_back(read_fix(part));
    if (error.empty()) error = part.error();
  }
  if (error.empty()) error = reader.error();
  if (!error.empty()) return fail(ErrorCode::config_invalid, error);
  return one;
}

Outcome<Platform> read_platform(std::string_view file, const toml::table& table) {
  Reader reader(file, table);
  Platform one;
  one.file = file;
  one.name = reader.text("name");
  one.title = reader.text("title");
  one.sends = reader.text("sends");
  one.where = reader.text("where", false);
  one.configure = reader.texts("configure", false);
  one.note = reader.text("note", false);
  one.source = reader.text("source");
  one.values = reader.map("values");
  one.framework_notes = reader.map("frameworks");
  if (const std::string error = reader.error(); !error.empty()) return fail(ErrorCode::config_invalid, error);
  return one;
}

template <class Element, class Read>
Outcome<std::vector<Element>> read_all(std::span<const EmbeddedFile> files, Read read) {
  std::vector<Element> all;
  for (const EmbeddedFile& file : files) {
    const toml::parse_result parsed = toml::parse(file.text, file.name);
    if (!parsed)
      return fail(ErrorCode::config_invalid,
                  fmt::format("{}:{}: {}", file.name, static_cast<unsigned>(parsed.error().source().begin.line),
                              parsed.error().description()));
    auto one = read(file.name, parsed.table());
    if (!one) return std::unexpected(one.error());
    all.push_back(std::move(*one));
  }
  return all;
}

}  // namespace

const Fix* Framework::fix(FindingId id) const {
  for (const Fix& one : fixes)
    if (std::ranges::find(one.findings, id) != one.findings.end()) return &one;
  return nullptr;
}

Outcome<Database> Database::parse(std::span<const EmbeddedFile> frameworks, std::span<const EmbeddedFile> platforms) {
  Database database;
  auto read_frameworks = read_all<Framework>(frameworks, read_framework);
  if (!read_frameworks) return std::unexpected(read_frameworks.error());
  database.frameworks_ = std::move(*read_frameworks);
  auto read_platforms = read_all<Platform>(platforms, read_platform);
  if (!read_platforms) return std::unexpected(read_platforms.error());
  database.platforms_ = std::move(*read_platforms);
  for (const Framework& one : database.frameworks_)
    if (one.file == general_file) return database;
  return fail(ErrorCode::config_invalid, fmt::format("{} is missing", general_file));
}

const Database& Database::embedded() {
  static const Database database = [] {
    auto parsed = parse(framework_files(), platform_files());
    if (!parsed) {
      std::fprintf(stderr, "lintel: the built-in data is broken: %s\n", parsed.error().message.c_str());
      std::abort();
    }
    return std::move(*parsed);
  }();
  return database;
}

const Framework& Database::general() const {
  return *std::ranges::find_if(frameworks_, [](const Framework& one) { return one.file == general_file; });
}

const Platform* Database::platform(std::string_view name) const {
  for (const Platform& one : platforms_)
    if (one.name == name) return &one;
  return nullptr;
}

std::string Database::platform_names() const {
  std::string names;
  for (const Platform& one : platforms_) names += (names.empty() ? "" : ", ") + one.name;
  return names;
}

}  // namespace lintel::doctor
