#include "forwarded/claims.h"

#include "base/ascii.h"

namespace lintel::forwarded {

void Claims::add(std::string_view name, std::string_view value) noexcept {
  if (!rule_.client_header.empty() && same_ignoring_case(name, rule_.client_header)) client_.add(value);
  if (!rule_.scheme_header.empty() && same_ignoring_case(name, rule_.scheme_header)) proto_.add(value);
  constexpr std::string_view prefix = "x-forwarded-";
  switch (rule_.source) {
    case Source::none:
      return;
    case Source::forwarded:
      if (same_ignoring_case(name, "forwarded")) forwarded_.add(value);
      return;
    case Source::x_forwarded:
      break;
  }
  if (name.size() < prefix.size() + 3 || name.size() > prefix.size() + 6 || name[prefix.size() - 1] != '-') return;
  if (!same_ignoring_case(name.substr(0, prefix.size()), prefix)) return;
  const std::string_view rest = name.substr(prefix.size());
  const Accept& accept = rule_.accept;
  if (accept.client && rule_.client_header.empty() && same_ignoring_case(rest, "for")) {
    forwarded_.add(value);
  } else if (accept.proto && rule_.reads_proto() && same_ignoring_case(rest, "proto")) {
    proto_.add(value);
  } else if (accept.host && same_ignoring_case(rest, "host")) {
    host_.add(value);
  } else if (accept.port && same_ignoring_case(rest, "port")) {
    port_.add(value);
  } else if (accept.prefix && same_ignoring_case(rest, "prefix")) {
    prefix_.add(value);
  }
}

}  // namespace lintel::forwarded
