// Limits of what stands between visitors and a shared app; the rest of the table is in limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lintel::limits {

inline constexpr size_t share_return_bytes = 2 * 1024;  // of the path that a visitor comes back to after a login
inline constexpr int64_t share_expires_max_s = 366 * 86'400;
inline constexpr size_t oidc_answer_bytes = 256 * 1024;
inline constexpr size_t oidc_keys_count = 64;        // of one issuer
inline constexpr unsigned oidc_exchanges_count = 8;  // codes that are redeemed at once
inline constexpr uint32_t oidc_keys_age_ms = 3'600'000;
inline constexpr uint32_t oidc_retry_ms = 10'000;  // between looks at an issuer's documents, whoever asks for them
inline constexpr size_t id_token_bytes = 16 * 1024;
inline constexpr int64_t id_token_skew_s = 60;
inline constexpr uint32_t debugger_probe_ms = 3'000;  // for the app to say whether it is a debugger
inline constexpr uint32_t debugger_known_ms = 5'000;  // that its answer holds

}  // namespace lintel::limits
