// The small languages inside configuration values. Pure functions, except expand() which reads the environment.
// Errors are the reason as a phrase, without the value: the caller knows how the value was written, and an expanded
// ${NAME} may be a secret.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "config/config.h"

namespace lintel::config {

template <class T>
using Read = std::expected<T, std::string>;

// "10s", "1500ms", "2h", "30d", "1y" (365 days) in milliseconds. A whole number and one unit: ms, s, m, h, d or y.
Read<uint64_t> read_duration_ms(std::string_view text);
// "100MiB", "10MB", "512B" in octets. Units: B, KB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).
Read<uint64_t> read_size_bytes(std::string_view text);
// A name that a site can have: a DNS name, an IPv4 address or an IPv6 address (with or without brackets), and with
// `patterns` also "*.name" and "*". The result is as find_site() wants it: lower case, IPv6 canonical in brackets.
Read<std::string> read_host(std::string_view text, bool patterns);
// An upstream as in parse_endpoint(). `url` of the result is left empty.
Read<Endpoint> read_endpoint(std::string_view text);
// A listener's address as in parse_listen().
Read<SocketAddress> read_listen(std::string_view text);
// The "/admin/*" of a route.
Read<std::string> read_route_path(std::string_view text);
// Replaces ${NAME} by the environment's value and $${ by ${.
Read<std::string> expand(std::string_view text);

bool is_field_value(std::string_view text) noexcept;  // printable ASCII and inner tabs; no blank at either end

}  // namespace lintel::config
