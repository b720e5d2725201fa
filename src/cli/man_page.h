// The manual pages: lintel(1) from the parser's commands, lintel.toml(5) from docs/configuration.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/embedded.h"
#include "cli/command_tree.h"

namespace lintel::cli {

// docs/configuration.md alone.
std::span<const EmbeddedFile> manual_files() noexcept;

std::string command_page(const Command& root);
std::string configuration_page();

// The Markdown of our documents as roff: headings, paragraphs, lists, code, tables. A table whose first two columns are
// "key" and "type" becomes a list of keys.
std::string roff_of_markdown(std::string_view markdown);
// `text` so that roff prints it as it is; with `inline_marks`, `code`, **bold** and [links](to) are set.
std::string roff_text(std::string_view text, bool inline_marks = false);

}  // namespace lintel::cli
