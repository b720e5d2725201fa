#include "tunnel/tokens.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "config/reader.h"

namespace lintel::tunnel {
namespace {

constexpr std::string_view prefix = "lt_";
constexpr size_t id_size = 8, secret_size = 43, hash_size = 64;
constexpr size_t text_size = prefix.size() + id_size + 1 + secret_size;

bool is_id(std::string_view text) noexcept {
  return text.size() == id_size &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); });
}

bool is_hash(std::string_view text) noexcept {
  return text.size() == hash_size &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Of a name, or of a pattern's piece of one.
bool is_name_text(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

bool matches(std::string_view pattern, std::string_view name) noexcept {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == name;
  const std::string_view begin = pattern.substr(0, star), end = pattern.substr(star + 1);
  return name.size() >= begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end);
}

using Hash = std::array<char, hash_size>;

Hash hash_of(std::string_view text) noexcept {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  Hash hex;
  for (size_t i = 0; i < digest.size(); ++i) {
    constexpr std::string_view digits = "0123456789abcdef";
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  return hex;
}

// --- reading

struct FileDraft {
  std::vector<Token> tokens;
  std::vector<config::Where> places;
  std::vector<std::string> banned_names;
};

using config::Context;

bool read_id(Context& context, const toml::node& node, Token& token) {
  if (auto text = read_text(context, node, "id")) {
    token.id = std::move(text->value);
    if (!is_id(token.id))
      context.report.error(text->where, "a token's id is 8 letters and digits, as Lintel writes it");
  }
  return true;
}

bool read_name(Context& context, const toml::node& node, Token& token) {
  if (auto text = read_text(context, node, "name")) {
    token.name = std::move(text->value);
    if (!is_token_name(token.name)) {
      context.report.error(text->where, fmt::format("{} is no name of a token: 1 to {} letters, digits, '.', '_' and "
                                                    "'-'",
                                                    config::in_quotes(text->raw), limits::share_name_bytes));
    }
  }
  return true;
}

bool read_hash(Context& context, const toml::node& node, Token& token) {
  if (auto text = read_text(context, node, "hash")) {
    token.hash = std::move(text->value);
    if (!is_hash(token.hash)) {
      context.report.error(text->where,
                           "hash is the SHA-256 of the whole token in 64 hexadecimal digits, lower case; "
                           "'lintel edge token new' writes it");
    }
  }
  return true;
}

bool read_allow(Context& context, const toml::node& node, Token& token) {
  for (config::Text& text : read_texts(context, node, "allow")) {
    if (!is_name_pattern(text.value)) {
      context.report.error(text.where,
                           fmt::format("{} is no name of a share, nor one with a \"*\"", config::in_quotes(text.raw)));
    }
    token.allow.push_back(std::move(text.value));
  }
  if (token.allow.size() > limits::token_patterns_count) {
    context.report.error(where_of(context, node), fmt::format("more than {} names", limits::token_patterns_count));
  }
  return true;
}

template <bool Token::* field>
bool read_flag(Context& context, const toml::node& node, Token& token) {
  if (const auto value = read_bool(context, node, "a token's property")) token.*field = *value;
  return true;
}

template <int64_t Token::* field>
bool read_moment(Context& context, const toml::node& node, Token& token) {
  const auto* value = node.as_date_time();
  if (value == nullptr || !value->get().offset.has_value()) {
    wrong_type(context, node, "a token's date", "a date and time with its zone, such as 2027-01-31T12:00:00Z");
    return true;
  }
  const toml::date_time& at = value->get();
  const std::chrono::sys_days day{std::chrono::year(at.date.year) / at.date.month / at.date.day};
  token.*field = int64_t{day.time_since_epoch().count()} * 86'400 + at.time.hour * 3600 + at.time.minute * 60 +
                 at.time.second - at.offset->minutes * 60;
  return true;
}

constexpr config::Key<Token> token_keys[] = {
    {{"token", "id", "string", "required", true}, read_id},
    {{"token", "name", "string", "required", true}, read_name},
    {{"token", "hash", "string", "required", true}, read_hash},
    {{"token", "allow", "array of strings", "required", true}, read_allow},
    {{"token", "tcp", "boolean", "true", true}, read_flag<&Token::tcp>},
    {{"token", "created", "date and time", "", true}, read_moment<&Token::created_unix_s>},
    {{"token", "expires", "date and time", "", true}, read_moment<&Token::expires_unix_s>},
    {{"token", "banned", "boolean", "false", true}, read_flag<&Token::banned>},
};

bool read_tokens(Context& context, const toml::node& node, FileDraft& draft) {
  if (!node.is_array()) {
    wrong_type(context, node, "token", "an array of tables, each written as [[token]]");
    return true;
  }
  for (const toml::node* item : config::items(node)) {
    const toml::table* table = read_table_node(context, *item, "token");
    if (table == nullptr) continue;
    Token token;
    config::Seen seen;
    config::read_table<Token>(context, *table, token_keys, token, seen);
    for (const std::string_view needed : {"id", "name", "hash", "allow"}) {
      if (seen.contains(needed)) continue;
      context.report.error(where_of(context, *item), fmt::format("this token has no \"{}\"", needed));
    }
    draft.tokens.push_back(std::move(token));
    draft.places.push_back(where_of(context, *item));
  }
  return true;
}

bool read_banned_names(Context& context, const toml::node& node, FileDraft& draft) {
  for (config::Text& text : read_texts(context, node, "banned_names")) {
    if (!is_name_pattern(text.value) || text.value.find('*') != std::string::npos) {
      context.report.error(text.where, fmt::format("{} is no name of a share", config::in_quotes(text.raw)));
    }
    draft.banned_names.push_back(std::move(text.value));
  }
  if (draft.banned_names.size() > limits::edge_names_count) {
    context.report.error(where_of(context, node), fmt::format("more than {} names", limits::edge_names_count));
  }
  return true;
}

constexpr config::Key<FileDraft> file_keys[] = {
    {{"tokens file", "banned_names", "array of strings", "[]", true}, read_banned_names},
    {{"tokens file", "token", "array of tables", "[]", true}, read_tokens},
};

void check_twins(config::Report& report, const FileDraft& draft) {
  std::map<std::string_view, size_t> ids, names;
  for (size_t at = 0; at < draft.tokens.size(); ++at) {
    const auto twin = [&](std::map<std::string_view, size_t>& seen, std::string_view what, std::string_view value) {
      const auto [first, is_new] = seen.emplace(value, at);
      if (is_new) return;
      report.error(draft.places[at], fmt::format("the {} {} is there twice; the first is at {}", what,
                                                 config::in_quotes(value), report.place(draft.places[first->second])));
    };
    twin(ids, "id", draft.tokens[at].id);
    twin(names, "name", draft.tokens[at].name);
  }
  if (draft.tokens.size() > limits::edge_tokens_count) {
    report.error(draft.places.back(), fmt::format("more than {} tokens", limits::edge_tokens_count));
  }
}

// --- writing

std::string moment(int64_t unix_s) {
  const std::chrono::sys_seconds at{std::chrono::seconds(unix_s)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const int64_t rest = (at - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), rest / 3600,
                     rest / 60 % 60, rest % 60);
}

std::string quoted_list(const std::vector<std::string>& texts) {
  return texts.empty() ? "[]" : fmt::format("[\"{}\"]", fmt::join(texts, "\", \""));
}

std::string random_text(size_t size, std::string_view alphabet) {
  std::string octets(size, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(octets.data()), static_cast<int>(size)) != 1) std::abort();
  for (char& c : octets) c = alphabet[static_cast<unsigned char>(c) % alphabet.size()];
  return octets;
}

}  // namespace

bool Token::allows(std::string_view wanted) const noexcept {
  return std::ranges::any_of(allow, [&](const std::string& pattern) { return matches(pattern, wanted); });
}

bool is_name_pattern(std::string_view text) noexcept {
  const size_t star = text.find('*');
  if (star == std::string_view::npos) {
    return !text.empty() && text.size() <= limits::share_name_bytes && is_name_text(text) && !text.starts_with('-') &&
           !text.ends_with('-') && !text.starts_with("xn--");
  }
  const std::string_view begin = text.substr(0, star), end = text.substr(star + 1);
  return text.size() <= limits::share_name_bytes && is_name_text(begin) && is_name_text(end) &&
         !begin.starts_with('-') && !end.ends_with('-');
}

bool is_token_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= limits::share_name_bytes &&
         std::ranges::all_of(text,
                             [](char c) {
                               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                      c == '.' || c == '_' || c == '-';
                             }) &&
         !text.starts_with('-') && !text.starts_with(prefix);
}

std::shared_ptr<const TokenTable> TokenTable::of(std::vector<Token> tokens, std::vector<std::string> banned_names) {
  auto table = std::make_shared<TokenTable>();
  table->tokens_ = std::move(tokens);
  table->banned_names_ = std::move(banned_names);
  std::ranges::sort(table->tokens_, {}, &Token::id);
  std::ranges::sort(table->banned_names_);
  return table;
}

Outcome<std::shared_ptr<const TokenTable>> TokenTable::parse(std::string_view toml, const std::string& name) {
  config::Report report;
  const uint32_t file = report.add_file(name, std::string(toml));
  FileDraft draft;
  if (const auto table = config::parse_toml(report, file, toml)) {
    Context context{report, file, {}};
    config::Seen seen;
    config::read_table<FileDraft>(context, *table, file_keys, draft, seen);
    check_twins(report, draft);
  }
  if (report.failed()) {
    const config::Diagnostic first = report.take().front();
    return fail(ErrorCode::config_invalid,
                fmt::format("{}:{}:{}: {}", first.file, first.line, first.column, first.message));
  }
  return of(std::move(draft.tokens), std::move(draft.banned_names));
}

Outcome<std::shared_ptr<const TokenTable>> TokenTable::load(const std::string& file) {
  const auto text = read_whole_file(file, "tokens", limits::edge_tokens_file_bytes);
  if (text) return parse(*text, file);
  if (text.error().code == ErrorCode::not_found) return of({});
  return std::unexpected(text.error());
}

const Token* TokenTable::find(std::string_view presented) const noexcept {
  const bool formed =
      presented.size() == text_size && presented.starts_with(prefix) && presented[prefix.size() + id_size] == '_';
  const Token* token = formed ? find_id(presented.substr(prefix.size(), id_size)) : nullptr;
  // An id that is not there takes as long as a secret that is wrong. (Ids are no secret: they stand in the file.)
  static constexpr Hash nobody{};
  const Hash got = hash_of(presented.substr(0, text_size));
  const char* wanted = token == nullptr ? nobody.data() : token->hash.data();
  return CRYPTO_memcmp(got.data(), wanted, hash_size) == 0 ? token : nullptr;
}

const Token* TokenTable::find_name(std::string_view name) const noexcept {
  const auto found = std::ranges::find(tokens_, name, &Token::name);
  return found == tokens_.end() ? nullptr : &*found;
}

const Token* TokenTable::find_id(std::string_view id) const noexcept {
  const auto found = std::ranges::lower_bound(tokens_, id, {}, &Token::id);
  return found != tokens_.end() && found->id == id ? &*found : nullptr;
}

bool TokenTable::bans(std::string_view name) const noexcept { return std::ranges::binary_search(banned_names_, name); }

NewToken make_token(Token like) {
  constexpr std::string_view base32 = "abcdefghijklmnopqrstuvwxyz234567";
  constexpr std::string_view base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  NewToken made{std::move(like), {}};
  made.token.id = random_text(id_size, base32);
  made.text = fmt::format("{}{}_{}", prefix, made.token.id, random_text(secret_size, base64));
  const Hash hash = hash_of(made.text);
  made.token.hash.assign(hash.data(), hash.size());
  return made;
}

std::string to_toml(const std::vector<Token>& tokens, const std::vector<std::string>& banned_names) {
  std::string text =
      "# Who may share through this edge. Written by 'lintel edge token' and 'lintel edge ban', which keep no "
      "comments;\n"
      "# a running edge follows it within a second. It has hashes only: nobody can share with what stands here.\n";
  if (!banned_names.empty()) text += fmt::format("banned_names = {}\n", quoted_list(banned_names));
  for (const Token& token : tokens) {
    text += fmt::format("\n[[token]]\nid = \"{}\"\nname = \"{}\"\nhash = \"{}\"\nallow = {}\ntcp = {}\n", token.id,
                        token.name, token.hash, quoted_list(token.allow), token.tcp);
    if (token.created_unix_s != 0) text += fmt::format("created = {}\n", moment(token.created_unix_s));
    if (token.expires_unix_s != 0) text += fmt::format("expires = {}\n", moment(token.expires_unix_s));
    if (token.banned) text += "banned = true\n";
  }
  return text;
}

Outcome<std::shared_ptr<const TokenTable>> TokenFile::load() {
  stamp_ = file_stamp(file_);
  return TokenTable::load(file_);
}

std::shared_ptr<const TokenTable> TokenFile::look() {
  const auto stamp = file_stamp(file_);
  if (stamp == stamp_) {
    was_gone_ = false;
    return nullptr;
  }
  if (!stamp.has_value() && !was_gone_) {
    was_gone_ = true;
    return nullptr;
  }
  was_gone_ = false;
  auto table = TokenTable::load(file_);
  if (!table) {
    if (std::exchange(told_, stamp) != stamp) log::error("the tokens stay as they were: {}", table.error().message);
    // A right to read it can come without another content.
    if (table.error().code == ErrorCode::config_invalid) stamp_ = stamp;
    return nullptr;
  }
  stamp_ = stamp;
  told_.reset();
  log::info("{}: {} tokens", file_, (*table)->tokens().size());
  return *table;
}

}  // namespace lintel::tunnel
