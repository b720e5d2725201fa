// The value of `lintel dev --trust`: who may speak for the client.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "forwarded/rules.h"

namespace lintel::dev {

struct TrustOption {
  forwarded::Rule rule;
  std::vector<std::string> notes;  // what is believed from now on, and what is risky about it
};

// "10.0.0.0/8": X-Forwarded-For and X-Forwarded-Proto of these peers. "cloudflare": a preset and its published ranges.
// "ngrok=127.0.0.1,::1": a preset, with the addresses from which that proxy connects. Error usage.
Outcome<TrustOption> read_trust_option(std::string_view written);

}  // namespace lintel::dev
