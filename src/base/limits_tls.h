// The limits of what sites ask of TLS: a part of base/limits.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lintel::limits {

inline constexpr size_t client_authorities_count = 256;  // that may sign client certificates, of one site
inline constexpr int client_chain_depth = 4;             // intermediates of a client's chain
inline constexpr size_t client_chain_bytes = 16 * 1024;  // of what a client shows
inline constexpr uint32_t hsts_auto_age_s = 24 * 3600;   // that a trusted certificate has served, before hsts = "auto"
inline constexpr size_t hsts_names_count = 50'000;
inline constexpr size_t hsts_file_bytes = 16 * 1024 * 1024;
inline constexpr size_t hsts_checks_count = 64;      // certificates that wait to be verified
inline constexpr uint32_t hsts_check_ms = 5'000;     // between looks at them
inline constexpr size_t metrics_sites_count = 1000;  // with a label of their own: some 40 series each

}  // namespace lintel::limits
