#include <fmt/format.h>

#include <array>

#include "base/json.h"
#include "base/log.h"
#include "import/import.h"

namespace lintel::import {
namespace {

struct Section {
  Kind kind;
  std::string_view name;   // in JSON
  std::string_view title;  // for people
};

constexpr std::array<Section, 4> sections = {{
    {Kind::unsafe, "unsafe", "Unsafe in the old configuration, and what Lintel does instead"},
    {Kind::not_understood, "not-understood", "Not translated: decide about each"},
    {Kind::changed, "changed", "Translated, and different"},
    {Kind::not_needed, "not-needed", "Needs nothing in Lintel"},
}};

std::string_view name_of(Kind kind) {
  for (const Section& one : sections) {
    if (one.kind == kind) return one.name;
  }
  return "";
}

std::string place(const Finding& one, const NginxFiles& files) {
  return fmt::format("{}:{}", log::escape(files.names[one.at.file]), one.at.line);
}

std::string json_string(std::string_view text) {
  std::string result = "\"";
  append_json_escaped(text, result);
  return result + "\"";
}

std::string counted(size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string check_text(const Imported& imported) {
  if (imported.toml.empty()) {
    return "Nothing could be translated, so there is no new file.\n";
  }
  std::string text;
  for (const config::Diagnostic& one : imported.check) text += one.render() + "\n";
  if (!imported.valid) return text + "The new file does not pass 'lintel check': see above.\n";
  for (const std::string& path : imported.missing_files) {
    text += fmt::format("The new file needs {}, which is not here or not readable.\n", log::escape(path));
  }
  return text + (imported.missing_files.empty() ? "The new file passes 'lintel check'.\n"
                                                : "With these files in place the new one passes 'lintel check'.\n");
}

}  // namespace

std::string report_text(const Imported& imported, const NginxFiles& files) {
  std::string text;
  for (const Section& section : sections) {
    const size_t count = imported.count(section.kind);
    if (count == 0) continue;
    text += fmt::format("{} ({})\n", section.title, count);
    for (const Finding& one : imported.findings) {
      if (one.kind != section.kind) continue;
      text += fmt::format("  {}: {}\n      {}\n", place(one, files), log::escape(one.line), log::escape(one.message));
    }
    text += "\n";
  }
  text += fmt::format("{} read: {} unsafe, {} not translated, {} different, {} not needed.\n",
                      counted(files.names.size(), "file"), imported.count(Kind::unsafe),
                      imported.count(Kind::not_understood), imported.count(Kind::changed),
                      imported.count(Kind::not_needed));
  return text + check_text(imported);
}

std::string report_json(const Imported& imported, const NginxFiles& files) {
  std::string text = fmt::format("{{\"ok\":{},\"valid\":{},\"files\":[", imported.all_fine(), imported.valid);
  const auto add = [&text](std::string_view item) {
    if (text.back() != '[') text += ',';
    text += item;
  };
  for (const std::string& name : files.names) add(json_string(name));
  text += "],\"findings\":[";
  for (const Finding& one : imported.findings) {
    add(fmt::format("{{\"kind\":\"{}\",\"file\":{},\"line\":{},\"directive\":{},\"message\":{}}}", name_of(one.kind),
                    json_string(files.names[one.at.file]), one.at.line, json_string(one.line),
                    json_string(one.message)));
  }
  text += "],\"missing_files\":[";
  for (const std::string& path : imported.missing_files) add(json_string(path));
  text += "],\"check\":[";
  for (const config::Diagnostic& one : imported.check) {
    const bool is_error = one.severity == config::Diagnostic::Severity::error;
    add(fmt::format("{{\"severity\":\"{}\",\"line\":{},\"column\":{},\"message\":{}}}", is_error ? "error" : "warning",
                    one.line, one.column, json_string(one.message)));
  }
  return text + fmt::format("],\"toml\":{}}}\n", json_string(imported.toml));
}

}  // namespace lintel::import
