#include "config/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/limits.h"
#include "base/log.h"

namespace lintel::config {
namespace {

constexpr size_t shown_before = 60, shown_after = 90;  // characters of a long line around the caret

size_t octets_of_character(std::string_view text) {
  size_t length = 1;
  while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) ++length;
  return length;
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
size_t edits(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = above;
    above = row;
  }
  return above[b.size()];
}

}  // namespace

std::string Diagnostic::render() const {
  const std::string_view kind = severity == Severity::error ? "error" : "warning";
  const std::string name = log::escape(file);
  if (line == 0) return fmt::format("{}: {}: {}", name, kind, log::escape(message));
  std::string text = fmt::format("{}:{}:{}: {}: {}", name, line, column, kind, log::escape(message));
  // The caret is placed by what is shown: tabs become one space and control octets become \xNN before it.
  std::string_view rest = source_line;
  std::string before, after;
  for (int at = 1; !rest.empty(); ++at) {
    const std::string_view octets = rest.substr(0, octets_of_character(rest));
    (at < column ? before : after) += octets == "\t" ? " " : log::escape(octets);
    rest.remove_prefix(octets.size());
  }
  if (characters(before) > shown_before) {
    size_t cut = 0;
    for (size_t drop = characters(before) - shown_before; drop > 0; --drop) {
      cut += octets_of_character(std::string_view(before).substr(cut));
    }
    before = "..." + before.substr(cut);
  }
  if (characters(after) > shown_after) {
    size_t keep = 0;
    for (size_t n = 0; n < shown_after; ++n) keep += octets_of_character(std::string_view(after).substr(keep));
    after = after.substr(0, keep) + "...";
  }
  return fmt::format("{}\n  {}{}\n  {}^", text, before, after, std::string(characters(before), ' '));
}

uint32_t Report::add_file(std::string name, std::string text) {
  files_.push_back({std::move(name), std::move(text)});
  return static_cast<uint32_t>(files_.size() - 1);
}

std::string Report::place(const Where& where) const {
  return fmt::format("{}:{}", files_[where.file].name, where.line);
}

Place Report::place_of(const Where& where) const {
  return {.file = files_[where.file].name, .line = where.line, .column = where.column, .source_line = line_of(where)};
}

void Report::add(Diagnostic::Severity severity, const Where& where, std::string message) {
  if (severity == Diagnostic::Severity::error) failed_ = true;
  if (found_.size() >= limits::config_diagnostics_count) {
    ++left_out_;
    return;
  }
  found_.push_back({severity, where, std::move(message)});
}

std::string Report::line_of(const Where& where) const {
  std::string_view text = files_[where.file].text;
  for (int line = 1; line < where.line; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return std::string(text);
}

std::vector<Diagnostic> Report::take() {
  std::ranges::sort(found_, {}, [](const Found& one) {
    return std::tie(one.where.file, one.where.line, one.where.column, one.message);
  });
  std::vector<Diagnostic> all;
  for (Found& found : found_) {
    Diagnostic one;
    one.severity = found.severity;
    one.file = files_[found.where.file].name;
    one.line = found.where.line;
    one.column = found.where.column;
    one.message = std::move(found.message);
    if (one.line > 0) one.source_line = line_of(found.where);
    all.push_back(std::move(one));
  }
  if (left_out_ > 0) {
    Diagnostic last;
    last.severity = failed_ ? Diagnostic::Severity::error : Diagnostic::Severity::warning;
    last.file = files_.front().name;
    last.message = fmt::format("{} more problems are not shown", left_out_);
    all.push_back(std::move(last));
  }
  found_.clear();
  return all;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  // A third of the word may be wrong: "hots" finds "hosts", "x" finds nothing.
  size_t fewest = std::max<size_t>(1, word.size() / 3) + 1;
  if (word.size() > 64) return best;
  for (const std::string_view candidate : candidates) {
    std::string folded(word);
    for (char& c : folded) c = c == '-' ? '_' : (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
    const size_t distance = std::min(edits(word, candidate), edits(folded, candidate));
    if (distance < fewest) {
      fewest = distance;
      best = candidate;
    }
  }
  return best;
}

std::string in_quotes(std::string_view text) {
  constexpr size_t most = 80;
  if (text.size() <= most) return fmt::format("\"{}\"", text);
  size_t cut = most;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return fmt::format("\"{}...\"", text.substr(0, cut));
}

}  // namespace lintel::config
