// IP addresses, prefixes and endpoints as values. No DNS, no allocation except in text().
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr;

namespace lintel {

// An IPv4 or IPv6 address. v4-mapped IPv6 (::ffff:a.b.c.d) is normalised to IPv4 on the way in.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static IpAddress v4(uint32_t host_order);
  static IpAddress v6(const std::array<uint8_t, 16>& octets);
  // Strict: no leading zeros in IPv4 octets, no zone, no brackets. nullopt for anything else.
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const noexcept { return v4_; }
  bool is_loopback() const noexcept;     // 127.0.0.0/8, ::1
  bool is_unspecified() const noexcept;  // 0.0.0.0, ::
  // Network order: 4 octets at the front for IPv4, all 16 for IPv6.
  const std::array<uint8_t, 16>& octets() const noexcept { return octets_; }
  // RFC 5952 text, without brackets. At most 45 characters.
  std::string text() const;
  // Writes text() to `to` (46 octets of room) and returns its length.
  size_t write(char* to) const;
  bool operator==(const IpAddress&) const = default;

 private:
  std::array<uint8_t, 16> octets_{};
  bool v4_ = true;
};

struct IpPrefix {
  bool operator==(const IpPrefix&) const = default;
  IpAddress address;
  uint8_t length = 32;  // bits, of the address's own family
  // "10.0.0.0/8", "::1", "192.0.2.7" (full length). Host bits beyond the length are refused.
  static std::optional<IpPrefix> parse(std::string_view text);
  bool contains(const IpAddress& other) const noexcept;
  std::string text() const;
};

// Where a socket is bound or connected to: an IP and port, or a unix path.
struct SocketAddress {
  enum class Kind : uint8_t { ip, unix_path } kind = Kind::ip;
  IpAddress ip;
  uint16_t port = 0;
  std::string path;  // unix_path only
  static SocketAddress of(const IpAddress& ip, uint16_t port) { return {Kind::ip, ip, port, {}}; }
  static SocketAddress of_unix(std::string path) { return {Kind::unix_path, {}, 0, std::move(path)}; }
  static SocketAddress from(const sockaddr* address);
  // Fills a sockaddr_storage (passed as sockaddr*) and returns its length in octets; IPv4 stays AF_INET.
  unsigned fill(sockaddr* storage) const;
  // "127.0.0.1:80", "[::1]:80", "unix:/run/app.sock"
  std::string text() const;
  bool operator==(const SocketAddress&) const = default;
};

}  // namespace lintel
