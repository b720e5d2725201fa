// The limits of this layer, apart from base/limits.h because nothing else reads them.
#pragma once

#include <cstddef>

#include "base/limits.h"

namespace lintel::limits {

inline constexpr size_t import_file_bytes = 1024 * 1024;
inline constexpr size_t import_total_bytes = 16 * 1024 * 1024;  // of all files together
inline constexpr size_t import_files_count = 1024;
inline constexpr unsigned import_include_depth = 8;
inline constexpr unsigned import_depth_count = 32;          // blocks in blocks
inline constexpr size_t import_directives_count = 100'000;  // of one file
inline constexpr size_t import_words_count = 4096;          // of one directive
inline constexpr size_t import_word_bytes = 8 * 1024;
inline constexpr size_t import_shown_bytes = 160;    // of a directive in the report
inline constexpr size_t import_routes_count = 1000;  // of one site

}  // namespace lintel::limits
