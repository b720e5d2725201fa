// A look over a file's text before the TOML parser sees it.
#pragma once

#include <string_view>

namespace lintel::config {

struct DeepKey {
  int line = 0, column = 0;  // 1-based; column counts characters
};

// The first dotted key with limits::config_key_parts_count parts or more; line 0: there is none. toml++ 3.3 recurses
// over the parts of a key, and so does the destructor of what it makes of them: a key that is long enough would
// overflow the stack.
DeepKey find_deep_key(std::string_view text);

}  // namespace lintel::config
