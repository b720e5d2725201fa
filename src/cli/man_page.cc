#include "cli/man_page.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

namespace lintel::cli {
namespace {

std::string title(std::string_view name, int section) {
  return fmt::format(".\\\" Written by `lintel man`.\n.TH {} {} \"\" \"Lintel {}\" \"\"\n", name, section,
                     LINTEL_VERSION);
}

std::string code_block(std::string_view lines) { return fmt::format(".PP\n.RS 4\n.nf\n{}.fi\n.RE\n", lines); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// A help's notes: prose as one paragraph a line group, examples as they are typed.
std::string footer_text(const Command& command) {
  constexpr std::string_view example = "Example: ";
  constexpr size_t wrapped_octets = 90;  // a shorter line ends where it was meant to end
  std::string prose, examples;
  for (std::string_view line : lines_of(command.footer)) {
    if (line.starts_with(example)) {
      examples += roff_text(line.substr(example.size())) + "\n";
    } else if (!examples.empty()) {
      examples += roff_text(line) + "\n";  // it goes on
    } else {
      prose += roff_text(line) + (line.size() < wrapped_octets ? "\n.br\n" : "\n");
    }
  }
  std::string text = prose.empty() ? "" : ".PP\n" + prose;
  if (!examples.empty()) text += code_block(examples);
  return text;
}

std::string option_text(const CommandOption& option) {
  std::string head;
  for (const std::string& name : option.names)
    head += (head.empty() ? "" : ", ") + fmt::format("\\fB{}\\fR", roff_text(name));
  if (option.names.empty()) head = fmt::format("\\fI{}\\fR", roff_text(option.positional));
  if (!option.names.empty() && !option.argument.empty()) head += fmt::format(" \\fI{}\\fR", roff_text(option.argument));
  std::string notes;
  const auto note = [&](const std::string& text) { notes += (notes.empty() ? "" : "; ") + text; };
  if (option.required) note("required");
  if (option.repeats && option.about.find("may be repeated") == std::string::npos) note("may be repeated");
  if (!option.values.empty() && option.about.find(option.values.back()) == std::string::npos) {
    note(fmt::format("one of {}", fmt::join(option.values, ", ")));
  }
  if (!option.default_value.empty()) note("default " + option.default_value);
  return fmt::format(".TP\n{}\n{}{}\n", head, roff_text(option.about),
                     notes.empty() ? "" : roff_text(fmt::format(" ({})", notes)));
}

std::string command_text(const Command& command, bool heading) {
  std::string text;
  if (heading) {
    const std::string usage = command.usage.empty() ? command.path : command.usage;
    text += fmt::format(".SS {}\n{}.\n", roff_text(usage), roff_text(command.about));
  }
  for (const CommandOption& option : command.options) {
    if (!option.names.empty() && option.names.back() == "--help" && heading) continue;  // every command's; said once
    text += option_text(option);
  }
  return text + footer_text(command);
}

}  // namespace

std::string roff_text(std::string_view text, bool inline_marks) {
  std::string result;
  bool in_code = false, in_bold = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (result.empty() && (c == '.' || c == '\'')) result += "\\&";
    if (inline_marks && c == '`') {
      in_code = !in_code;
      result += in_code ? "\\fB" : (in_bold ? "\\fB" : "\\fR");
    } else if (inline_marks && !in_code && text.substr(i, 2) == "**") {
      in_bold = !in_bold;
      result += in_bold ? "\\fB" : "\\fR";
      ++i;
    } else if (inline_marks && !in_code && c == '[' && text.find("](", i) != std::string_view::npos) {
      const size_t middle = text.find("](", i);
      const size_t end = std::min(text.find(')', middle), text.size());
      const std::string_view target = text.substr(middle + 2, end - middle - 2);
      result += roff_text(text.substr(i + 1, middle - i - 1), true);
      if (target.find("://") != std::string_view::npos) result += fmt::format(" <{}>", roff_text(target));
      i = end;
    } else if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else if (c == '\'') {
      result += "\\(aq";
    } else if (c == '`') {
      result += "\\(ga";
    } else if (c == '^') {
      result += "\\(ha";
    } else if (c == '~') {
      result += "\\(ti";
    } else {
      result += c;
    }
  }
  return result;
}

std::string command_page(const Command& root) {
  std::string text = title("LINTEL", 1);
  text += ".SH NAME\nlintel \\- HTTPS in front of a web app\n.SH SYNOPSIS\n";
  for (const Command& one : root.commands) {
    text += fmt::format(".B {}\n.br\n", roff_text(one.usage.empty() ? one.path : one.usage));
  }
  text += fmt::format(".SH DESCRIPTION\n{}\n.SH OPTIONS\n{}", roff_text(root.about), command_text(root, false));
  text += ".SH COMMANDS\n";
  for (const Command* command : all_commands(root)) {
    if (command != &root) text += command_text(*command, true);
  }
  text +=
      ".SH EXIT STATUS\n.TP\n0\nFine.\n.TP\n1\nThe thing asked about is not fine.\n.TP\n2\nUsage or configuration "
      "error.\n.TP\n3\nA resource is not available: a port in use, a permission, a file.\n.PP\n"
      "\\fBlintel dev \\-\\- COMMAND\\fR ends with the code of the command.\n"
      ".SH FILES\n.TP\n/etc/lintel/lintel.toml\nThe configuration of \\fBlintel serve\\fR.\n.TP\n/var/lib/lintel\nWhat "
      "it keeps.\n.TP\n~/.local/share/lintel/ca\nThe local certificate authority of \\fBlintel dev\\fR, \\fBtrust\\fR "
      "and \\fBcert\\fR (below \\fB$XDG_DATA_HOME\\fR where that is set).\n"
      ".SH ENVIRONMENT\n.TP\nNO_COLOR\nNo colours, whatever the terminal.\n"
      ".SH SEE ALSO\n.BR lintel.toml (5),\n/usr/share/doc/lintel\n";
  return text;
}

namespace {

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  std::string cell;
  bool in_code = false;
  for (const char c : line.substr(1)) {
    if (c == '`') in_code = !in_code;
    if (c == '|' && !in_code) {
      cells.emplace_back(trimmed(cell));
      cell.clear();
    } else {
      cell += c;
    }
  }
  return cells;
}

// One row of a table; `header` are the names of its columns.
std::string row_text(const std::vector<std::string>& header, const std::vector<std::string>& cells) {
  if (cells.empty()) return {};
  const bool is_key = header.size() == 6 && header[0] == "key" && cells.size() == 6;
  std::string text = fmt::format(".TP\n{}", roff_text(cells[0], true));
  if (!is_key) {
    std::string rest;
    for (size_t i = 1; i < cells.size(); ++i) rest += (rest.empty() ? "" : "; ") + cells[i];
    return text + fmt::format("\n{}\n", roff_text(rest, true));
  }
  const std::string value = cells[2] == "`required`" ? "required" : "default " + cells[2];
  text += roff_text(fmt::format("  ({}; {}; applied: {})", cells[1], value, cells[4]), true);
  return text + fmt::format("\n{}\n.br\nExample: {}\n", roff_text(cells[5], true), roff_text(cells[3], true));
}

class Converter {
 public:
  std::string convert(std::string_view markdown) {
    for (const std::string_view line : lines_of(markdown)) take(line);
    end_block();
    return std::move(out_);
  }

 private:
  void take(std::string_view line) {
    if (line.starts_with("```")) {
      end_block();
      if (in_code_) out_ += code_block(code_);
      code_.clear();
      in_code_ = !in_code_;
    } else if (in_code_) {
      code_ += roff_text(line) + "\n";
    } else if (line.starts_with('|')) {
      take_row(line);
    } else if (line.starts_with('#')) {
      end_block();
      take_heading(line);
    } else if (line.starts_with("- ")) {
      end_block();
      out_ += ".IP \\(bu 2\n";
      paragraph_ = line.substr(2);
    } else if (trimmed(line).empty()) {
      end_block();
    } else {
      if (paragraph_.empty()) out_ += ".PP\n";
      paragraph_ += (paragraph_.empty() ? "" : " ") + std::string(trimmed(line));
    }
  }

  void take_heading(std::string_view line) {
    const size_t level = line.find_first_not_of('#');
    const std::string_view text = trimmed(line.substr(level));
    if (level == 1) return;  // the page's own
    if (level == 2) {
      out_ += fmt::format(".SH {}\n", roff_text(text, true));
    } else {
      out_ += fmt::format(".SS {}\n", roff_text(text, true));
    }
  }

  void take_row(std::string_view line) {
    if (!paragraph_.empty()) end_block();
    const std::vector<std::string> cells = cells_of(line);
    if (header_.empty()) {
      header_ = cells;
    } else if (!line.starts_with("|-")) {
      out_ += row_text(header_, cells);
    }
  }

  void end_block() {
    if (!paragraph_.empty()) out_ += roff_text(paragraph_, true) + "\n";
    paragraph_.clear();
    header_.clear();
  }

  std::string out_;
  std::string paragraph_, code_;
  std::vector<std::string> header_;
  bool in_code_ = false;
};

}  // namespace

std::string roff_of_markdown(std::string_view markdown) { return Converter().convert(markdown); }

std::string configuration_page() {
  std::string text = title("LINTEL.TOML", 5);
  text += ".SH NAME\nlintel.toml \\- configuration of lintel serve\n.SH DESCRIPTION\n";
  for (const EmbeddedFile& file : manual_files()) text += roff_of_markdown(file.text);
  text += ".SH SEE ALSO\n.BR lintel (1),\n/usr/share/doc/lintel\n";
  return text;
}

}  // namespace lintel::cli
