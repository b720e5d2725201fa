// Files of the repository that are compiled into the program (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace lintel {

struct EmbeddedFile {
  std::string_view name;  // without its folder: "cloudflare.txt"
  std::string_view text;
};

}  // namespace lintel
