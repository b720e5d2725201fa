// From TOML nodes to values, with a diagnostic at the node where something is wrong.
//
// A table of the file is described by an array of Key<T>: the one list that the parser, known_keys() and with it
// docs/configuration.md share.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/report.h"
#include "config/toml.h"
#include "config/values.h"

namespace lintel::config {

// What the reading of one file's content needs.
struct Context {
  Report& report;
  uint32_t file;
  std::string folder;  // relative paths start here; "" = the working directory
};

// Where each key of a table stood, for messages of later checks. Keys are those of the Key arrays (static storage).
using Seen = std::map<std::string_view, Where>;

template <class T>
struct Key {
  KeyInfo info;
  // Reads the value into the draft. Of a key that is not available: accepts the value that asks for nothing (may be
  // null: every value is refused) and returns whether it was that.
  bool (*read)(Context&, const toml::node&, T&);
};

// A string of the file: `value` with ${NAME} expanded, `raw` as written, which is what messages show.
struct Text {
  std::string value, raw;
  Where where;
};

// The table that `content` is; reports and returns nothing when it is none.
std::optional<toml::table> parse_toml(Report& report, uint32_t file, std::string_view content);

Where where_of(const Context& context, const toml::node& node);
Where where_of(const Context& context, const toml::key& key);
// Reports "`what` must be `expected`, not an integer".
void wrong_type(Context& context, const toml::node& node, std::string_view what, std::string_view expected);

// Each reports what is wrong and then returns nothing. `what` names the key in messages.
std::optional<Text> read_text(Context& context, const toml::node& node, std::string_view what);
std::optional<bool> read_bool(Context& context, const toml::node& node, std::string_view what);
std::optional<int64_t> read_integer(Context& context, const toml::node& node, std::string_view what, int64_t least,
                                    int64_t most);
std::optional<uint64_t> read_milliseconds(Context& context, const toml::node& node, std::string_view what,
                                          uint64_t least, uint64_t most);
// Written as "": for many keys the same as leaving it out. A ${NAME} that expands to nothing is not meant.
bool is_empty_string(const toml::node& node);
// One string or an array of strings; entries that are wrong are reported and left out.
std::vector<Text> read_texts(Context& context, const toml::node& node, std::string_view what);
// The nodes of an array, or the node itself when it is none.
std::vector<const toml::node*> items(const toml::node& node);
// The entries of `table` as they stand in the file; TOML tables themselves are sorted by key.
std::vector<std::pair<const toml::key*, const toml::node*>> in_file_order(const toml::table& table);
const toml::table* read_table_node(Context& context, const toml::node& node, std::string_view what);

// `path` from the file's folder, as an absolute path when that is known.
std::string resolve_path(const Context& context, std::string_view path);
// The path of a file that must be readable now; reports when it is not.
std::optional<std::string> read_file_path(Context& context, const toml::node& node, std::string_view what);

// Reports a key that is in none of the lists: with the nearest known one, or the table that it belongs to.
void unknown_key(Context& context, const toml::key& key, std::string_view table,
                 std::span<const std::string_view> known);
void not_available(Context& context, const Where& where, std::string_view what);
void set_twice(Context& context, const Where& again, const Where& first, std::string_view key);
// "[[site]]", "[server]", "server.timeouts" -> as people write it.
std::string table_name(std::string_view table);

template <class T>
void read_table(Context& context, const toml::table& table, std::span<const Key<T>> keys, T& draft, Seen& seen) {
  for (const auto& [name_at, node_at] : in_file_order(table)) {
    const toml::key& name = *name_at;
    const toml::node& node = *node_at;
    const Key<T>* key = nullptr;
    for (const Key<T>& one : keys) {
      if (one.info.key == name.str()) key = &one;
    }
    if (key == nullptr) {
      std::vector<std::string_view> known;
      for (const Key<T>& one : keys) known.push_back(one.info.key);
      unknown_key(context, name, keys.front().info.table, known);
      continue;
    }
    const Where where = where_of(context, name);
    const auto [first, is_new] = seen.emplace(key->info.key, where);
    if (!is_new) {
      set_twice(context, where, first->second, key->info.key);
      continue;
    }
    const bool is_read = key->read != nullptr && key->read(context, node, draft);
    if (!key->info.available && !is_read) not_available(context, where, key->info.key);
  }
}

// An array of strings where each must be one of a few words.
template <class T>
struct Choice {
  std::string_view name;
  T value;
};
std::string one_of(std::span<const std::string_view> names);
template <class T, size_t n>
std::optional<T> read_choice(Context& context, const Text& text, std::string_view what, const Choice<T> (&choices)[n]) {
  std::vector<std::string_view> names;
  for (const Choice<T>& choice : choices) {
    if (choice.name == text.value) return choice.value;
    names.push_back(choice.name);
  }
  const std::string_view near = nearest(text.raw, names);
  context.report.error(text.where, std::string(what) + " must be " + one_of(names) + ", not " + in_quotes(text.raw) +
                                       (near.empty() ? "" : "; did you mean \"" + std::string(near) + "\"?"));
  return std::nullopt;
}

}  // namespace lintel::config
