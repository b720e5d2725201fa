#include "config/reader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "config/prescan.h"
namespace lintel::config {
namespace {

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a floating-point number";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7F; });
}

}  // namespace

std::optional<toml::table> parse_toml(Report& report, uint32_t file, std::string_view content) {
  if (const DeepKey key = find_deep_key(content); key.line != 0) {
    report.error({.file = file, .line = key.line, .column = key.column}, "this key has too many parts");
    return std::nullopt;
  }
  toml::parse_result parsed = toml::parse(content, std::string_view());
  if (!parsed.failed()) return std::move(parsed).table();
  const toml::source_position at = parsed.error().source().begin;
  std::string message(parsed.error().description());
  if (message.find("maximum nested value depth") != std::string::npos) message = "values are nested too deeply";
  report.error({.file = file, .line = static_cast<int>(at.line), .column = static_cast<int>(at.column)},
               fmt::format("not valid TOML: {}", message));
  return std::nullopt;
}

Where where_of(const Context& context, const toml::node& node) {
  const toml::source_position begin = node.source().begin;
  return {context.file, static_cast<int>(begin.line), static_cast<int>(begin.column)};
}

Where where_of(const Context& context, const toml::key& key) {
  const toml::source_position begin = key.source().begin;
  return {context.file, static_cast<int>(begin.line), static_cast<int>(begin.column)};
}

void wrong_type(Context& context, const toml::node& node, std::string_view what, std::string_view expected) {
  context.report.error(where_of(context, node), fmt::format("{} must be {}, not {}", what, expected, type_name(node)));
}

std::optional<Text> read_text(Context& context, const toml::node& node, std::string_view what) {
  const auto* string = node.as_string();
  if (string == nullptr) {
    wrong_type(context, node, what, "a string");
    return std::nullopt;
  }
  Text text{{}, string->get(), where_of(context, node)};
  auto value = expand(text.raw);
  if (!value) {
    context.report.error(text.where, fmt::format("{}: {}", what, value.error()));
    return std::nullopt;
  }
  if (has_control(*value)) {
    context.report.error(
        text.where, fmt::format("{} has a control character (a line end or the like), which no value may have", what));
    return std::nullopt;
  }
  text.value = std::move(*value);
  return text;
}

std::optional<bool> read_bool(Context& context, const toml::node& node, std::string_view what) {
  if (const auto* value = node.as_boolean(); value != nullptr) return value->get();
  wrong_type(context, node, what, "true or false");
  return std::nullopt;
}

std::optional<int64_t> read_integer(Context& context, const toml::node& node, std::string_view what, int64_t least,
                                    int64_t most) {
  const auto* value = node.as_integer();
  const std::string range = fmt::format("a whole number from {} to {}", least, most);
  if (value == nullptr) {
    wrong_type(context, node, what, range);
    return std::nullopt;
  }
  if (value->get() < least || value->get() > most) {
    context.report.error(where_of(context, node), fmt::format("{} must be {}, not {}", what, range, value->get()));
    return std::nullopt;
  }
  return value->get();
}

std::optional<uint64_t> read_milliseconds(Context& context, const toml::node& node, std::string_view what,
                                          uint64_t least, uint64_t most) {
  if (node.as_string() == nullptr) {
    wrong_type(context, node, what, "a duration with its unit, such as \"10s\"");
    return std::nullopt;
  }
  const auto text = read_text(context, node, what);
  if (!text.has_value()) return std::nullopt;
  const auto value = read_duration_ms(text->value);
  if (!value) {
    context.report.error(text->where, fmt::format("{} is not a duration: {}", in_quotes(text->raw), value.error()));
    return std::nullopt;
  }
  if (*value < least || *value > most) {
    const auto shown = [](uint64_t ms) {
      return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
    };
    context.report.error(text->where, fmt::format("{} must lie between {} and {}, not be {}", what, shown(least),
                                                  shown(most), in_quotes(text->raw)));
    return std::nullopt;
  }
  return *value;
}

bool is_empty_string(const toml::node& node) {
  const auto* string = node.as_string();
  return string != nullptr && string->get().empty();
}

std::vector<Text> read_texts(Context& context, const toml::node& node, std::string_view what) {
  std::vector<Text> texts;
  if (!node.is_array() && !node.is_string()) {
    wrong_type(context, node, what, "an array of strings");
    return texts;
  }
  for (const toml::node* item : items(node)) {
    auto text = read_text(context, *item, what);
    if (text.has_value()) texts.push_back(std::move(*text));
  }
  return texts;
}

std::vector<const toml::node*> items(const toml::node& node) {
  std::vector<const toml::node*> all;
  if (const toml::array* array = node.as_array(); array != nullptr) {
    for (const toml::node& item : *array) all.push_back(&item);
  } else {
    all.push_back(&node);
  }
  return all;
}

std::vector<std::pair<const toml::key*, const toml::node*>> in_file_order(const toml::table& table) {
  std::vector<std::pair<const toml::key*, const toml::node*>> all;
  for (const auto& [key, node] : table) all.emplace_back(&key, &node);
  std::ranges::sort(all, {}, [](const auto& entry) {
    const toml::source_position begin = entry.first->source().begin;
    return std::pair(begin.line, begin.column);
  });
  return all;
}

const toml::table* read_table_node(Context& context, const toml::node& node, std::string_view what) {
  if (const toml::table* table = node.as_table(); table != nullptr) return table;
  wrong_type(context, node, what, "a table");
  return nullptr;
}

std::string resolve_path(const Context& context, std::string_view path) {
  if (path.starts_with('/') || context.folder.empty()) return std::string(path);
  return std::filesystem::path(context.folder + "/" + std::string(path)).lexically_normal().string();
}

std::optional<std::string> read_file_path(Context& context, const toml::node& node, std::string_view what) {
  const auto text = read_text(context, node, what);
  if (!text.has_value()) return std::nullopt;
  if (text->value.empty()) {
    context.report.error(text->where, fmt::format("{} is empty; it must name a file", what));
    return std::nullopt;
  }
  std::string path = resolve_path(context, text->value);
  struct stat facts{};
  const int descriptor = open_for_reading(path);  // does not hang on a FIFO in the place of a file
  const int failure = errno;
  const bool is_file = descriptor >= 0 && ::fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode);
  if (descriptor >= 0) ::close(descriptor);
  if (descriptor < 0) {
    context.report.error(text->where,
                         fmt::format("{} {} cannot be read: {}", what, in_quotes(text->raw), std::strerror(failure)));
    return std::nullopt;
  }
  if (!is_file) {
    context.report.error(text->where, fmt::format("{} {} is not a regular file", what, in_quotes(text->raw)));
    return std::nullopt;
  }
  return path;
}

std::string table_name(std::string_view table) {
  if (table.empty()) return "a file's top level";
  if (table == "site" || table == "trust" || table == "token" || table == "share") return fmt::format("[[{}]]", table);
  if (table.ends_with(" file")) return fmt::format("a {}", table);
  if (table == "site.route") return "[[site.route]]";
  return fmt::format("[{}]", table);
}

void unknown_key(Context& context, const toml::key& key, std::string_view table,
                 std::span<const std::string_view> known) {
  std::string message = fmt::format("unknown key {} in {}", in_quotes(key.str()), table_name(table));
  std::string_view elsewhere;
  const bool of_configuration =
      std::ranges::any_of(known_keys(), [&](const KeyInfo& info) { return info.table == table; });
  for (const KeyInfo& info : known_keys()) {
    if (!of_configuration) break;
    if (info.key == key.str() && elsewhere.empty())
      elsewhere = table_name(info.table) == table_name("") ? "-" : info.table;
  }
  const std::string_view near = nearest(key.str(), known);
  if (!near.empty()) {
    message += fmt::format("; did you mean \"{}\"?", near);
  } else if (!elsewhere.empty()) {
    message += fmt::format("; it belongs in {}", table_name(elsewhere == "-" ? std::string_view{} : elsewhere));
  } else {
    message += fmt::format("; the keys there are {}", fmt::join(known, ", "));
  }
  context.report.error(where_of(context, key), std::move(message));
}

void not_available(Context& context, const Where& where, std::string_view what) {
  context.report.error(where, fmt::format("\"{}\" is known, but not available in this version; remove it", what));
}

void set_twice(Context& context, const Where& again, const Where& first, std::string_view key) {
  context.report.error(again, fmt::format("\"{}\" is already set at {}", key, context.report.place(first)));
}

std::string one_of(std::span<const std::string_view> names) {
  std::string text;
  for (size_t at = 0; at < names.size(); ++at) {
    if (at > 0) text += at + 1 == names.size() ? " or " : ", ";
    text += fmt::format("\"{}\"", names[at]);
  }
  return text;
}

}  // namespace lintel::config
