#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace lintel {
namespace {

constexpr std::array<uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

char* write_decimal(char* to, unsigned value) {  // 0-255
  if (value >= 100) *to++ = static_cast<char>('0' + value / 100);
  if (value >= 10) *to++ = static_cast<char>('0' + value / 10 % 10);
  *to++ = static_cast<char>('0' + value % 10);
  return to;
}

char* write_group(char* to, unsigned value) {  // one 16-bit group, no leading zeros
  static constexpr char digits[] = "0123456789abcdef";
  if (value >= 0x1000) *to++ = digits[value >> 12];
  if (value >= 0x100) *to++ = digits[(value >> 8) & 15];
  if (value >= 0x10) *to++ = digits[(value >> 4) & 15];
  *to++ = digits[value & 15];
  return to;
}

// RFC 5952 §4: the longest run of two or more zero groups, the first of equals, becomes "::".
size_t write_v6(const std::array<uint8_t, 16>& octets, char* to) {
  unsigned groups[8];
  for (size_t i = 0; i < 8; ++i) groups[i] = unsigned{octets[2 * i]} << 8 | octets[2 * i + 1];
  size_t best_start = 8, best_length = 1;
  for (size_t i = 0; i < 8;) {
    size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > best_length) {
      best_start = i;
      best_length = end - i;
    }
    i = end == i ? i + 1 : end;
  }
  char* at = to;
  for (size_t i = 0; i < 8;) {
    if (i == best_start) {
      *at++ = ':';
      *at++ = ':';
      i += best_length;
      continue;
    }
    if (i != 0 && at[-1] != ':') *at++ = ':';
    at = write_group(at, groups[i++]);
  }
  return static_cast<size_t>(at - to);
}

// Four decimal numbers without leading zeros. inet_pton does the same in several times the time, and this runs for
// every entry of a chain of proxies.
std::optional<uint32_t> parse_v4(std::string_view text) {
  uint32_t address = 0;
  size_t at = 0;
  for (int part = 0; part < 4; ++part) {
    if (part != 0 && (at == text.size() || text[at++] != '.')) return std::nullopt;
    const size_t start = at;
    unsigned value = 0;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - start < 3)
      value = value * 10 + static_cast<unsigned>(text[at++] - '0');
    const bool leading_zero = at - start > 1 && text[start] == '0';
    if (at == start || leading_zero || value > 255) return std::nullopt;
    address = address << 8 | value;
  }
  if (at != text.size()) return std::nullopt;
  return address;
}

}  // namespace

IpAddress IpAddress::v4(uint32_t host_order) {
  IpAddress address;
  for (unsigned i = 0; i < 4; ++i) address.octets_[i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
  return address;
}

IpAddress IpAddress::v6(const std::array<uint8_t, 16>& octets) {
  IpAddress address;
  if (std::equal(mapped_prefix.begin(), mapped_prefix.end(), octets.begin())) {
    std::copy(octets.begin() + 12, octets.end(), address.octets_.begin());
    return address;
  }
  address.octets_ = octets;
  address.v4_ = false;
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (const auto four = parse_v4(text)) return v4(*four);
  char copy[INET6_ADDRSTRLEN];
  // A NUL inside would end the copy early and let "127.0.0.1\0evil" pass.
  if (text.empty() || text.size() >= sizeof copy || text.find('\0') != text.npos) return std::nullopt;
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  std::array<uint8_t, 16> octets{};
  if (inet_pton(AF_INET6, copy, octets.data()) == 1) return v6(octets);
  return std::nullopt;
}

bool IpAddress::is_loopback() const noexcept {
  if (v4_) return octets_[0] == 127;
  return octets_[15] == 1 && std::all_of(octets_.begin(), octets_.end() - 1, [](uint8_t octet) { return octet == 0; });
}

bool IpAddress::is_unspecified() const noexcept {
  return std::all_of(octets_.begin(), octets_.end(), [](uint8_t octet) { return octet == 0; });
}

std::string IpAddress::text() const {
  char buffer[46];
  return {buffer, write(buffer)};
}

size_t IpAddress::write(char* to) const {
  if (!v4_) return write_v6(octets_, to);
  char* at = to;
  for (unsigned i = 0; i < 4; ++i) {
    if (i != 0) *at++ = '.';
    at = write_decimal(at, octets_[i]);
  }
  return static_cast<size_t>(at - to);
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string_view address_text = text.substr(0, slash);
  const auto address = IpAddress::parse(address_text);
  if (!address) return std::nullopt;
  // "::ffff:10.0.0.0/104" is 10.0.0.0/8 in the form that is stored.
  const bool mapped = address->is_v4() && address_text.find(':') != text.npos;
  const unsigned width = address->is_v4() && !mapped ? 32 : 128;
  unsigned length = width;
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    if (digits.empty() || digits.size() > 3 || (digits.size() > 1 && digits[0] == '0')) return std::nullopt;
    length = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') return std::nullopt;
      length = length * 10 + static_cast<unsigned>(c - '0');
    }
    if (length > width) return std::nullopt;
  }
  if (mapped) {
    if (length < 96) return std::nullopt;
    length -= 96;
  }
  const unsigned bits = address->is_v4() ? 32 : 128;
  for (unsigned bit = length; bit < bits; ++bit) {
    if ((address->octets()[bit / 8] >> (7 - bit % 8) & 1) != 0) return std::nullopt;
  }
  return IpPrefix{*address, static_cast<uint8_t>(length)};
}

bool IpPrefix::contains(const IpAddress& other) const noexcept {
  if (other.is_v4() != address.is_v4()) return false;
  const size_t whole = length / 8;
  if (std::memcmp(other.octets().data(), address.octets().data(), whole) != 0) return false;
  const unsigned rest = length % 8;
  return rest == 0 || ((other.octets()[whole] ^ address.octets()[whole]) >> (8 - rest)) == 0;
}

std::string IpPrefix::text() const { return address.text() + '/' + std::to_string(length); }

SocketAddress SocketAddress::from(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return of(IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    std::array<uint8_t, 16> octets;
    std::memcpy(octets.data(), &in.sin6_addr, octets.size());
    return of(IpAddress::v6(octets), ntohs(in.sin6_port));
  }
  if (address->sa_family != AF_UNIX) return {};
  const char* path = reinterpret_cast<const char*>(address) + offsetof(sockaddr_un, sun_path);
  return of_unix(std::string(path, strnlen(path, sizeof(sockaddr_un::sun_path))));
}

unsigned SocketAddress::fill(sockaddr* storage) const {
  if (kind == Kind::unix_path) {
    sockaddr_un un{};
    if (path.size() >= sizeof un.sun_path) return 0;
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, path.data(), path.size());
    std::memcpy(storage, &un, sizeof un);
    return static_cast<unsigned>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  }
  if (ip.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, ip.octets().data(), 4);
    std::memcpy(storage, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  std::memcpy(&in.sin6_addr, ip.octets().data(), 16);
  std::memcpy(storage, &in, sizeof in);
  return sizeof in;
}

std::string SocketAddress::text() const {
  if (kind == Kind::unix_path) return "unix:" + path;
  return (ip.is_v4() ? ip.text() : '[' + ip.text() + ']') + ':' + std::to_string(port);
}

}  // namespace lintel
