// What a platform's proxy sends, as a rule: `preset = "cloudflare"`. Address ranges come from data/ranges/NAME.txt,
// which name their source and date (scripts/update-ranges renews them); a preset without such a file asks for `peers`.
#pragma once

#include <span>
#include <string_view>

#include "base/embedded.h"
#include "forwarded/rules.h"

namespace lintel::forwarded {

struct Preset {
  std::string_view name;  // "cloudflare"
  Source source = Source::none;
  Accept accept;
  uint8_t hops = 0;
  std::string_view client_header{}, scheme_header{};
  FixedScheme scheme = FixedScheme::none;
  std::string_view about;  // one sentence: what it reads and why
};

// Lists are static.
std::span<const Preset> presets() noexcept;
const Preset* find_preset(std::string_view name) noexcept;

// A platform without a preset: it passes on what the client wrote in the very header that a rule would have to read.
struct RefusedPreset {
  std::string_view name;
  std::string_view why;  // a sentence, with what to do instead
};
std::span<const RefusedPreset> refused_presets() noexcept;
const RefusedPreset* find_refused_preset(std::string_view name) noexcept;

// The published ranges of a preset, from its data file.
struct Ranges {
  std::string_view name;
  std::string_view source_url;                 // one, or several with spaces between
  std::string_view date;                       // YYYY-MM-DD on which the list was read at the source
  std::span<const std::string_view> prefixes;  // valid IpPrefix texts
};
// Null: no list is shipped for this name.
const Ranges* find_ranges(std::string_view name) noexcept;

// data/ranges/*.txt as compiled in.
std::span<const EmbeddedFile> range_files() noexcept;

}  // namespace lintel::forwarded
