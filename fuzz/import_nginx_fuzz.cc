// nginx's configuration: the parser, the translation and what it writes. Whatever comes in, the new file passes
// Lintel's own parser (or says that it names its own listener as an upstream), and nothing written steers a terminal.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "fuzz_check.h"
#include "import/import.h"

using namespace lintel;
using namespace lintel::import;

namespace {

void check_displayable(std::string_view text) {
  while (!text.empty()) {
    uint32_t point = 0;
    const size_t length = utf8_length(text, point);
    FUZZ_CHECK(length > 0 && (point == '\n' || is_displayable(point)));
    text.remove_prefix(length);
  }
}

// Of what the translation cannot know: addresses that are only wrong together, and a file that became too large.
bool is_of_the_whole(const config::Diagnostic& one) {
  for (const std::string_view part : {"go round in a circle", "is larger than", "are more than"}) {
    if (one.message.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto files = read_nginx_text(text, "fuzz.conf");
  if (!files) {
    FUZZ_CHECK(!files.error().message.empty());
    return 0;
  }
  const Imported imported = import_nginx(*files, "new.toml");
  check_displayable(imported.toml);
  check_displayable(report_text(imported, *files));
  check_displayable(report_json(imported, *files));
  for (const config::Diagnostic& one : imported.check) {
    if (one.severity == config::Diagnostic::Severity::error && !is_of_the_whole(one)) {
      std::fprintf(stderr, "%s\n%s\n", imported.toml.c_str(), one.render().c_str());
      FUZZ_CHECK(false);
    }
  }
  return 0;
}
