#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/arena.h"
#include "base/errors.h"
#include "base/limits.h"
#include "forwarded/library.h"
#include "forwarded/lintel_forwarded.h"
#include "forwarded/managed.h"
#include "forwarded/proxy_fix.h"

namespace lf = lintel::forwarded;
using lintel::ErrorCode;

struct lintel_forwarded_options {
  lf::Options engine;
  lf::ProxyFixOptions fix;
  std::string error;
};
struct lintel_forwarded_engine {
  lf::TrustEngine engine;
};
struct lintel_forwarded_fix {
  lf::ProxyFix fix;
};
struct lintel_forwarded_result {
  int status = 200;
  std::array<std::string, LINTEL_FORWARDED_TEXTS> texts;
  int trusted = 0, client_hidden = 0, client_port = 0, port = 0;
  std::vector<std::pair<std::string, std::string>> headers;
};

namespace {

std::string_view view(lintel_forwarded_text text) {
  return text.data == nullptr ? std::string_view{} : std::string_view{text.data, text.size};
}
lintel_forwarded_text text_of(const std::string& text) { return {text.c_str(), text.size()}; }

// Nothing may be thrown into C: memory that is out becomes `otherwise`.
template <class Work, class Value>
auto guarded(Work&& work, Value otherwise) noexcept -> decltype(work()) {
  try {
    return work();
  } catch (...) {
    return otherwise;
  }
}

struct Fields {
  std::span<const lintel_forwarded_field> fields;
  ErrorCode check() const {
    using namespace lintel::limits;
    if (fields.size() > library_fields_count) return ErrorCode::too_many_headers;
    const bool fits = std::ranges::all_of(fields, [](const lintel_forwarded_field& field) {
      return field.name.size <= library_text_bytes && field.value.size <= library_text_bytes;
    });
    return fits ? ErrorCode::none : ErrorCode::header_too_large;
  }
  void operator()(lf::AddField add) const {
    for (const lintel_forwarded_field& field : fields) add(view(field.name), view(field.value));
  }
};

bool boolean(std::string_view value, bool& to) {
  to = value == "true" || value == "1";
  return to || value == "false" || value == "0";
}

bool integer(std::string_view value, int64_t& to) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), to);
  return error == std::errc() && end == value.data() + value.size();
}

struct TextKey {
  std::string_view key;
  std::optional<std::string> lf::RuleText::* member;
};
constexpr TextKey text_keys[] = {{"source", &lf::RuleText::source},
                                 {"client_header", &lf::RuleText::client_header},
                                 {"scheme_header", &lf::RuleText::scheme_header},
                                 {"scheme", &lf::RuleText::scheme},
                                 {"preset", &lf::RuleText::preset}};
struct CountKey {
  std::string_view key;
  int64_t lf::ProxyFixOptions::* member;
};
constexpr CountKey count_keys[] = {{"x_for", &lf::ProxyFixOptions::x_for},
                                   {"x_proto", &lf::ProxyFixOptions::x_proto},
                                   {"x_host", &lf::ProxyFixOptions::x_host},
                                   {"x_port", &lf::ProxyFixOptions::x_port},
                                   {"x_prefix", &lf::ProxyFixOptions::x_prefix}};

enum class Added { yes, unknown_key, bad_value };

Added add_to_rule(lf::RuleText& rule, std::string_view key, const std::string& value) {
  if (key == "peers") {
    if (rule.peers.size() >= lintel::limits::trust_peers_count) return Added::bad_value;
    rule.peers.push_back(value);
  } else if (key == "accept") {
    if (!rule.accept) rule.accept.emplace();
    if (rule.accept->size() >= lintel::limits::library_fields_count) return Added::bad_value;
    if (!value.empty()) rule.accept->push_back(value);
  } else if (key == "pass") {
    if (rule.pass.size() >= lintel::limits::library_fields_count) return Added::bad_value;
    rule.pass.push_back(value);
  } else if (key == "hops") {
    int64_t hops = 0;
    if (!integer(value, hops)) return Added::bad_value;
    rule.hops = hops;
  } else if (const auto* found = std::ranges::find(text_keys, key, &TextKey::key); found != std::end(text_keys)) {
    (rule.*(found->member)) = value;
  } else {
    return Added::unknown_key;
  }
  return Added::yes;
}

Added add_option(lintel_forwarded_options& options, std::string_view key, const std::string& value) {
  auto& rules = options.engine.trust;
  if (key == "rule") {
    if (rules.size() >= lintel::limits::trust_rules_count) return Added::bad_value;
    rules.emplace_back();
  } else if (key == "served") {
    if (options.engine.served.size() >= lintel::limits::library_served_count) return Added::bad_value;
    options.engine.served.push_back(value);
  } else if (key == "emit") {
    if (options.engine.emit.size() >= lintel::limits::library_fields_count) return Added::bad_value;
    options.engine.emit.push_back(value);
  } else if (key == "public_port") {
    int64_t port = 0;
    if (!integer(value, port) || port < 1 || port > 65'535) return Added::bad_value;
    if (options.engine.public_ports.size() >= lintel::limits::library_served_count) return Added::bad_value;
    options.engine.public_ports.push_back(static_cast<uint16_t>(port));
  } else if (key == "trusted") {
    if (options.fix.trusted.size() >= lintel::limits::trust_peers_count) return Added::bad_value;
    options.fix.trusted.push_back(value);
  } else if (key == "i_know") {
    if (!boolean(value, rules.empty() ? options.fix.i_know : rules.back().i_know)) return Added::bad_value;
  } else if (const auto* found = std::ranges::find(count_keys, key, &CountKey::key); found != std::end(count_keys)) {
    if (!integer(value, options.fix.*(found->member))) return Added::bad_value;
  } else {
    if (rules.empty()) rules.emplace_back();
    return add_to_rule(rules.back(), key, value);
  }
  return Added::yes;
}

lintel_forwarded_result* refused(const lf::Refusal& refusal) {
  auto* result = new lintel_forwarded_result;
  result->status = refusal.status;
  result->texts[LINTEL_FORWARDED_ERROR] = refusal.code;
  result->texts[LINTEL_FORWARDED_FIELD] = refusal.field;
  result->texts[LINTEL_FORWARDED_MESSAGE] = refusal.message;
  return result;
}

lintel_forwarded_result* identify(const lintel_forwarded_engine& engine, const lintel_forwarded_request& request) {
  const Fields fields{{request.fields, request.field_count}};
  if (const ErrorCode error = fields.check(); error != ErrorCode::none) return refused(lf::refusal(error, {}));
  const auto facts = lf::connection(view(request.peer), request.peer_port, request.https != 0, request.local_port);
  if (!facts) return refused({500, "usage", "peer", "The peer that the server names is not an address."});
  auto identity = engine.engine.identify(*facts, view(request.host), fields);
  if (!identity) return refused(identity.error());
  auto* result = new lintel_forwarded_result;
  result->texts[LINTEL_FORWARDED_CLIENT] = std::move(identity->client);
  result->texts[LINTEL_FORWARDED_SCHEME] = identity->scheme();
  result->texts[LINTEL_FORWARDED_HOST] = std::move(identity->host);
  result->texts[LINTEL_FORWARDED_AUTHORITY] = std::move(identity->authority);
  result->texts[LINTEL_FORWARDED_PREFIX] = std::move(identity->prefix);
  result->trusted = identity->trusted;
  result->client_hidden = identity->client_hidden;
  result->client_port = identity->client_port;
  result->port = identity->port;
  result->headers = std::move(identity->headers);
  return result;
}

// A peer that is no address is nobody whom a list of addresses could name.
lf::ProxyFixDecision apply(const lf::ProxyFix& fix, const lf::ServerVariables& variables, const lf::FieldLines& fields,
                           lintel::Arena& arena) {
  const auto facts = lf::connection(variables.remote_addr, 0, false, 0);
  if (facts) return fix.apply(*facts, variables, fields, arena);
  lf::ProxyFixDecision decision;
  decision.variables = variables;
  return decision;
}

std::array<std::string_view, 7> cells_of(const lf::ServerVariables& variables) {
  return {variables.remote_addr, variables.remote_port, variables.url_scheme, variables.http_host,
          variables.server_name, variables.server_port, variables.script_name};
}

lintel_forwarded_result* apply_fix(const lintel_forwarded_fix& fix, const lintel_forwarded_variables& given,
                                   Fields fields) {
  if (const ErrorCode error = fields.check(); error != ErrorCode::none) return refused(lf::refusal(error, {}));
  const lf::ServerVariables variables{view(given.remote_addr), view(given.remote_port), view(given.url_scheme),
                                      view(given.http_host),   view(given.server_name), view(given.server_port),
                                      view(given.script_name)};
  lintel::Arena arena;
  const lf::ProxyFixDecision decision = apply(fix.fix, variables, lf::visited_lines(fields), arena);
  if (decision.error != ErrorCode::none) return refused(lf::refusal(decision.error, decision.field));
  auto* result = new lintel_forwarded_result;
  size_t which = LINTEL_FORWARDED_REMOTE_ADDR;
  for (const std::string_view cell : cells_of(decision.variables)) result->texts[which++] = cell;
  result->trusted = decision.trusted;
  result->client_hidden = decision.client_hidden;
  return result;
}

constexpr std::string_view row_headers[] = {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
                                            "X-Forwarded-Port", "X-Forwarded-Prefix"};

// One row's cells, and where its answer goes.
struct Rows {
  const char* text;
  const uint32_t* ends;
  char* out;
  size_t out_size;
  uint32_t* out_ends;
  size_t used = 0;

  std::string_view cell(size_t at) const {
    const uint32_t begin = at == 0 ? 0 : ends[at - 1];
    return {text + begin, ends[at] - begin};
  }
  bool write(std::string_view cell) {
    if (cell.size() > out_size - used) return false;
    if (!cell.empty()) std::memcpy(out + used, cell.data(), cell.size());
    used += cell.size();
    *out_ends++ = static_cast<uint32_t>(used);
    return true;
  }
  bool answer(const lf::ProxyFix& fix, size_t row, lintel::Arena& arena) {
    const size_t at = row * LINTEL_FORWARDED_ROW_CELLS;
    const lf::ServerVariables variables{cell(at),     cell(at + 1), cell(at + 2), cell(at + 3),
                                        cell(at + 4), cell(at + 5), cell(at + 6)};
    const auto headers = [&](lf::AddField add) {
      for (size_t i = 0; i < std::size(row_headers); ++i) {
        if (const std::string_view value = cell(at + 7 + i); !value.empty()) add(row_headers[i], value);
      }
    };
    const lf::ProxyFixDecision decision = apply(fix, variables, lf::visited_lines(headers), arena);
    const auto cells = cells_of(decision.variables);
    if (!std::ranges::all_of(cells, [this](std::string_view cell) { return write(cell); })) return false;
    const bool fine = decision.error == ErrorCode::none;
    return write(fine ? std::string_view{} : lintel::facts(decision.error).name) && write(decision.field);
  }
};

}  // namespace

extern "C" {

const char* lintel_forwarded_version(void) { return LINTEL_VERSION; }
int lintel_forwarded_abi(void) { return LINTEL_FORWARDED_ABI; }

lintel_forwarded_options* lintel_forwarded_options_new(void) { return new (std::nothrow) lintel_forwarded_options; }
void lintel_forwarded_options_free(lintel_forwarded_options* options) { delete options; }

int lintel_forwarded_options_add(lintel_forwarded_options* options, const char* key, const char* value) {
  return guarded(
      [&] {
        const size_t most = lintel::limits::library_text_bytes;
        if (strnlen(key, most) == most || strnlen(value, most) == most) {
          options->error = "an option of 64 KiB or more";
          return -1;
        }
        const Added added = add_option(*options, key, value);
        if (added == Added::yes) return 0;
        options->error = added == Added::unknown_key ? "unknown option \"" + std::string(key) + "\""
                                                     : std::string(key) + ": \"" + value + "\" cannot be used here";
        return -1;
      },
      -1);
}
const char* lintel_forwarded_options_error(const lintel_forwarded_options* options) { return options->error.c_str(); }

lintel_forwarded_engine* lintel_forwarded_engine_new(lintel_forwarded_options* options) {
  return guarded(
      [&]() -> lintel_forwarded_engine* {
        auto engine = lf::TrustEngine::make(options->engine);
        if (engine) return new lintel_forwarded_engine{std::move(*engine)};
        options->error = engine.error();
        return nullptr;
      },
      nullptr);
}
void lintel_forwarded_engine_free(lintel_forwarded_engine* engine) { delete engine; }

lintel_forwarded_result* lintel_forwarded_identify(const lintel_forwarded_engine* engine,
                                                   const lintel_forwarded_request* request) {
  return guarded([&] { return identify(*engine, *request); }, nullptr);
}
int lintel_forwarded_removes(const lintel_forwarded_engine* engine, lintel_forwarded_text peer,
                             lintel_forwarded_text name) {
  const auto facts = lf::connection(view(peer), 0, false, 0);
  return facts ? engine->engine.removes(*facts, view(name)) : lf::is_managed(view(name));
}
int lintel_forwarded_is_managed(lintel_forwarded_text name) { return lf::is_managed(view(name)); }

lintel_forwarded_fix* lintel_forwarded_fix_new(lintel_forwarded_options* options) {
  return guarded(
      [&]() -> lintel_forwarded_fix* {
        auto fix = lf::ProxyFix::make(options->fix);
        if (fix) return new lintel_forwarded_fix{std::move(*fix)};
        options->error = fix.error().key + ": " + fix.error().message;
        return nullptr;
      },
      nullptr);
}
void lintel_forwarded_fix_free(lintel_forwarded_fix* fix) { delete fix; }

lintel_forwarded_result* lintel_forwarded_fix_apply(const lintel_forwarded_fix* fix,
                                                    const lintel_forwarded_variables* variables,
                                                    const lintel_forwarded_field* fields, size_t field_count) {
  return guarded([&] { return apply_fix(*fix, *variables, {{fields, field_count}}); }, nullptr);
}
int lintel_forwarded_fix_trusts(const lintel_forwarded_fix* fix, lintel_forwarded_text peer) {
  const auto facts = lf::connection(view(peer), 0, false, 0);
  return facts && fix->fix.trusts(*facts);
}

size_t lintel_forwarded_fix_rows(const lintel_forwarded_fix* fix, const char* text, const uint32_t* ends, size_t rows,
                                 char* out, size_t out_size, uint32_t* out_ends) {
  Rows all{text, ends, out, out_size, out_ends};
  return guarded(
      [&] {
        lintel::Arena arena;
        for (size_t row = 0; row < rows; ++row) {
          if (!all.answer(fix->fix, row, arena)) return row;
          arena.reset();
        }
        return rows;
      },
      size_t{0});
}

void lintel_forwarded_result_free(lintel_forwarded_result* result) { delete result; }
int lintel_forwarded_result_status(const lintel_forwarded_result* result) { return result->status; }
lintel_forwarded_text lintel_forwarded_result_text(const lintel_forwarded_result* result, int which) {
  if (which < 0 || which >= LINTEL_FORWARDED_TEXTS) return {"", 0};
  return text_of(result->texts[static_cast<size_t>(which)]);
}
int lintel_forwarded_result_number(const lintel_forwarded_result* result, int which) {
  switch (which) {
    case LINTEL_FORWARDED_TRUSTED:
      return result->trusted;
    case LINTEL_FORWARDED_CLIENT_HIDDEN:
      return result->client_hidden;
    case LINTEL_FORWARDED_CLIENT_PORT:
      return result->client_port;
    case LINTEL_FORWARDED_PORT:
      return result->port;
    default:
      return 0;
  }
}
size_t lintel_forwarded_result_headers(const lintel_forwarded_result* result) { return result->headers.size(); }
lintel_forwarded_field lintel_forwarded_result_header(const lintel_forwarded_result* result, size_t index) {
  if (index >= result->headers.size()) return {{"", 0}, {"", 0}};
  const auto& [name, value] = result->headers[index];
  return {text_of(name), text_of(value)};
}
}
