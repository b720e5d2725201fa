#include "forwarded/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "base/limits.h"

namespace lintel::forwarded {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view v1_start = "PROXY ";
constexpr std::string_view v2_signature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr size_t v2_fixed_bytes = 16;  // signature, version and command, family, length

std::unexpected<ErrorCode> invalid() { return fail(ErrorCode::proxy_protocol_invalid); }
ProxyHeader incomplete() { return {}; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// --- version 1: a line of text

// Could `text`, the whole number or the beginning of one, be a decimal of at most `most` without leading zeros?
bool is_decimal(std::string_view text, unsigned most) {
  unsigned value = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!is_digit(text[i]) || (i == 1 && text[0] == '0')) return false;
    value = value * 10 + static_cast<unsigned>(text[i] - '0');
    if (value > most) return false;
  }
  return true;
}

bool begins_v4(std::string_view text) {
  unsigned dots = 0;
  for (size_t from = 0;;) {
    const size_t dot = text.find('.', from);
    if (!is_decimal(text.substr(from, dot == text.npos ? dot : dot - from), 255)) return false;
    if (dot == text.npos) return true;
    if (dot == from || ++dots > 3) return false;
    from = dot + 1;
  }
}

bool begins_v6(std::string_view text) {
  // The dotted form of a mapped address is not in the document, but nginx and HAProxy send it for dual-stack sockets.
  return text.size() <= "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"sv.size() &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; });
}

// Takes octets up to `end` from the front of `rest`. What is there must satisfy `begins`, whether the end has come or
// not. nullopt and no error: the end has not come.
template <class Begins>
Result<std::optional<std::string_view>> take_until(std::string_view& rest, char end, const Begins& begins) {
  const size_t at = rest.find(end);
  const std::string_view field = rest.substr(0, at);
  if (!begins(field)) return invalid();
  if (at == rest.npos) return std::nullopt;
  rest.remove_prefix(at + 1);
  return field;
}

enum class Step : uint8_t { done, more, invalid };

Step take_address(std::string_view& rest, bool v4, IpAddress& to) {
  const auto field = take_until(rest, ' ', v4 ? begins_v4 : begins_v6);
  if (!field) return Step::invalid;
  if (!*field) return Step::more;
  // A colon is what tells the families apart: ::ffff:192.0.2.1 parses to an IPv4 address too.
  if (v4 != ((*field)->find(':') == std::string_view::npos)) return Step::invalid;
  const auto address = IpAddress::parse(**field);
  if (!address) return Step::invalid;
  to = *address;
  return Step::done;
}

Step take_port(std::string_view& rest, char end, uint16_t& to) {
  const auto field = take_until(rest, end, [](std::string_view text) { return is_decimal(text, 65535); });
  if (!field) return Step::invalid;
  if (!*field) return Step::more;
  if ((*field)->empty()) return Step::invalid;
  unsigned value = 0;
  for (const char c : **field) value = value * 10 + static_cast<unsigned>(c - '0');
  to = static_cast<uint16_t>(value);
  return Step::done;
}

Step take_exactly(std::string_view& rest, std::string_view wanted) {
  const std::string_view seen = rest.substr(0, wanted.size());
  if (!wanted.starts_with(seen)) return Step::invalid;
  if (seen.size() < wanted.size()) return Step::more;
  rest.remove_prefix(wanted.size());
  return Step::done;
}

// What follows UNKNOWN is ignored, but it has to be a line of text.
Step take_unknown(std::string_view& rest) {
  Step step = take_exactly(rest, "UNKNOWN");
  if (step != Step::done || rest.empty()) return step == Step::done ? Step::more : step;
  if (rest[0] != ' ' && rest[0] != '\r') return Step::invalid;
  const auto ignored = take_until(rest, '\r', [](std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  });
  if (!ignored) return Step::invalid;
  return *ignored ? Step::done : Step::more;
}

Step take_tcp(std::string_view& rest, ProxyHeader& header) {
  Step step = take_exactly(rest, "TCP");
  if (step != Step::done || rest.empty()) return step == Step::done ? Step::more : step;
  if (rest[0] != '4' && rest[0] != '6') return Step::invalid;
  const bool v4 = rest[0] == '4';
  rest.remove_prefix(1);
  step = take_exactly(rest, " ");
  if (step == Step::done) step = take_address(rest, v4, header.source);
  if (step == Step::done) step = take_address(rest, v4, header.destination);
  if (step == Step::done) step = take_port(rest, ' ', header.source_port);
  if (step == Step::done) step = take_port(rest, '\r', header.destination_port);
  return step;
}

Result<ProxyHeader> parse_v1(std::string_view octets) {
  const std::string_view line = octets.substr(0, limits::proxy_protocol_v1_bytes);
  std::string_view rest = line;
  ProxyHeader header;
  Step step = take_exactly(rest, v1_start);
  if (step == Step::done && rest.empty()) step = Step::more;
  if (step == Step::done) {
    header.local = rest[0] == 'U';
    header.has_source = !header.local;
    step = header.local ? take_unknown(rest) : take_tcp(rest, header);
  }
  if (step == Step::done) step = take_exactly(rest, "\n");
  // The CR is due at the last octet but one.
  const size_t shortest_end = line.ends_with('\r') ? 1 : 2;
  if (step == Step::more && line.size() + shortest_end > limits::proxy_protocol_v1_bytes) step = Step::invalid;
  if (step == Step::invalid) return invalid();
  if (step == Step::more) return incomplete();
  header.size = line.size() - rest.size();
  return header;
}

// --- version 2: binary

enum Extension : uint8_t { ext_crc32c = 0x03, ext_unique_id = 0x05, ext_ssl = 0x20 };
constexpr uint8_t client_came_over_tls = 0x01;
constexpr size_t ssl_fixed_bytes = 5;  // client bits, verify
constexpr size_t unix_path_bytes = 108;

uint8_t octet(std::string_view octets, size_t at) { return static_cast<uint8_t>(octets[at]); }
unsigned number16(std::string_view octets, size_t at) {
  return unsigned{octet(octets, at)} << 8 | octet(octets, at + 1);
}

constexpr std::array<uint32_t, 256> crc32c_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? 0x82f63b78U : 0);
    table[i] = value;
  }
  return table;
}();

// Of `octets` with the four from `field` on as zeros.
uint32_t crc32c(std::string_view octets, size_t field) {
  uint32_t crc = ~uint32_t{0};
  for (size_t i = 0; i < octets.size(); ++i) {
    const uint8_t value = i - field < 4 ? 0 : octet(octets, i);
    crc = crc32c_table[(crc ^ value) & 0xff] ^ crc >> 8;
  }
  return ~crc;
}

// One type-length-value of a list that ends at `end`, of which the octets before `here.size()` have come.
struct Tlv {
  uint8_t type = 0;
  size_t from = 0, size = 0;  // of the value
};

// Step::more: its type and length have not come yet. The value may still be incomplete.
Step read_tlv(std::string_view here, size_t at, size_t end, Tlv& to) {
  if (end - at < 3) return Step::invalid;
  if (here.size() < at + 3) return Step::more;
  to = {octet(here, at), at + 3, number16(here, at + 1)};
  return to.size > end - to.from ? Step::invalid : Step::done;
}

std::string printable_or_hex(std::string_view id) {
  static constexpr char digits[] = "0123456789abcdef";
  if (std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7f; })) return std::string(id);
  std::string text;
  for (const char c : id) {
    text += digits[static_cast<uint8_t>(c) >> 4];
    text += digits[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

class Extensions {
 public:
  // Walks the extensions from `at` to `end`. Step::more: octets are missing, and those that are there are fine.
  Step read(std::string_view here, size_t at, size_t end, ProxyHeader& header) {
    while (at < end) {
      Tlv tlv;
      Step step = read_tlv(here, at, end, tlv);
      if (step != Step::done) return step;
      step = take(here, tlv, header);
      if (step != Step::done) return step;
      at = tlv.from + tlv.size;
    }
    return here.size() < end ? Step::more : Step::done;
  }
  bool checksum_holds(std::string_view whole) const {
    return !crc_at_ || crc32c(whole, *crc_at_) == (number16(whole, *crc_at_) << 16 | number16(whole, *crc_at_ + 2));
  }

 private:
  Step take(std::string_view here, const Tlv& tlv, ProxyHeader& header) {
    switch (tlv.type) {
      case ext_crc32c:
        if (crc_at_ || tlv.size != 4) return Step::invalid;
        crc_at_ = tlv.from;
        break;
      case ext_unique_id:
        if (has_unique_id_ || tlv.size > limits::proxy_protocol_unique_id_bytes) return Step::invalid;
        has_unique_id_ = true;
        if (here.size() >= tlv.from + tlv.size) header.unique_id = printable_or_hex(here.substr(tlv.from, tlv.size));
        break;
      case ext_ssl:
        if (header.has_tls || tlv.size < ssl_fixed_bytes) return Step::invalid;
        header.has_tls = true;
        return take_ssl(here, tlv, header);
      default:
        break;  // NOOP, and what we have no use for
    }
    return here.size() < tlv.from + tlv.size ? Step::more : Step::done;
  }
  static Step take_ssl(std::string_view here, const Tlv& tlv, ProxyHeader& header) {
    const size_t end = tlv.from + tlv.size;
    if (here.size() > tlv.from) header.client_tls = (octet(here, tlv.from) & client_came_over_tls) != 0;
    for (size_t at = tlv.from + ssl_fixed_bytes; at < end;) {
      Tlv inner;
      const Step step = read_tlv(here, at, end, inner);
      if (step != Step::done) return step;
      at = inner.from + inner.size;
    }
    return here.size() < end ? Step::more : Step::done;
  }

  std::optional<size_t> crc_at_;
  bool has_unique_id_ = false;
};

// Octets of the address block; nullopt for families and transports that no client of a web server has.
std::optional<size_t> address_bytes(uint8_t family) {
  switch (family) {
    case 0x00:
      return 0;
    case 0x11:
      return 4 + 4 + 2 + 2;
    case 0x21:
      return 16 + 16 + 2 + 2;
    case 0x31:
      return 2 * unix_path_bytes;
    default:
      return std::nullopt;
  }
}

IpAddress read_address(std::string_view octets, size_t at, bool v4) {
  if (v4) return IpAddress::v4(number16(octets, at) << 16 | number16(octets, at + 2));
  std::array<uint8_t, 16> address;
  std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(at), address.size(), address.begin());
  return IpAddress::v6(address);
}

void read_addresses(std::string_view octets, uint8_t family, ProxyHeader& header) {
  header.has_source = family != 0x00;
  header.unix_source = family == 0x31;
  if (family != 0x11 && family != 0x21) return;
  const bool v4 = family == 0x11;
  const size_t width = v4 ? 4 : 16;
  header.source = read_address(octets, v2_fixed_bytes, v4);
  header.destination = read_address(octets, v2_fixed_bytes + width, v4);
  header.source_port = static_cast<uint16_t>(number16(octets, v2_fixed_bytes + 2 * width));
  header.destination_port = static_cast<uint16_t>(number16(octets, v2_fixed_bytes + 2 * width + 2));
}

Result<ProxyHeader> parse_v2(std::string_view octets) {
  std::string_view rest = octets;
  const Step signature = take_exactly(rest, v2_signature);
  if (signature == Step::invalid) return invalid();
  ProxyHeader header;
  if (octets.size() > 12) {
    if (octet(octets, 12) != 0x20 && octet(octets, 12) != 0x21) return invalid();
    header.local = octet(octets, 12) == 0x20;
  }
  std::optional<size_t> addresses = 0;  // LOCAL: the family and the block are to be ignored
  if (octets.size() > 13 && !header.local) addresses = address_bytes(octet(octets, 13));
  if (!addresses) return invalid();
  // The length's first octet can already be too much.
  if (octets.size() == 15 && (octet(octets, 14) << 8) + v2_fixed_bytes > limits::proxy_protocol_bytes) return invalid();
  if (octets.size() < v2_fixed_bytes) return incomplete();
  const size_t size = v2_fixed_bytes + number16(octets, 14);
  if (size > limits::proxy_protocol_bytes || size < v2_fixed_bytes + *addresses) return invalid();

  const std::string_view here = octets.substr(0, size);
  if (!header.local) {
    Extensions extensions;
    const Step step = extensions.read(here, v2_fixed_bytes + *addresses, size, header);
    if (step == Step::invalid) return invalid();
    if (step == Step::more) return incomplete();
    if (!extensions.checksum_holds(here)) return invalid();
    read_addresses(here, octet(here, 13), header);
  }
  if (here.size() < size) return incomplete();
  header.size = size;
  return header;
}

}  // namespace

Result<ProxyHeader> parse_proxy_header(std::string_view octets) {
  if (octets.empty()) return incomplete();
  return octets[0] == v2_signature[0] ? parse_v2(octets) : parse_v1(octets);
}

void apply(const ProxyHeader& header, ConnectionFacts& facts) {
  if (header.local) return;
  if (header.client_tls) facts.https = true;
  if (!header.has_source) return;
  // A socket's path on the proxy's machine: "unix" in a trust rule means a unix socket of this one.
  facts.peer_is_unix = false;
  facts.peer = header.unix_source ? IpAddress() : header.source;
  facts.peer_port = header.source_port;
  if (header.destination_port != 0) facts.local_port = header.destination_port;
}

size_t write_proxy_header(const IpAddress& source, uint16_t source_port, const IpAddress& destination,
                          uint16_t destination_port, char* to) {
  const bool v4 = source.is_v4() && destination.is_v4();
  // A mixed pair is written as IPv6, the IPv4 one mapped.
  const auto put_address = [&](char* at, const IpAddress& address) {
    if (!v4 && address.is_v4()) {
      std::memset(at, 0, 10);
      std::memset(at + 10, 0xff, 2);
      std::memcpy(at + 12, address.octets().data(), 4);
    } else {
      std::memcpy(at, address.octets().data(), v4 ? 4 : 16);
    }
    return at + (v4 ? 4 : 16);
  };
  const auto put_number = [](char* at, uint16_t number) {
    at[0] = static_cast<char>(number >> 8);
    at[1] = static_cast<char>(number & 0xff);
    return at + 2;
  };
  char* at = to;
  std::memcpy(at, "\r\n\r\n\0\r\nQUIT\n", 12);
  at[12] = 0x21;                                 // version 2, PROXY
  at[13] = static_cast<char>(v4 ? 0x11 : 0x21);  // TCP over IPv4 or IPv6
  at = put_number(at + 14, v4 ? 12 : 36);
  at = put_address(at, source);
  at = put_address(at, destination);
  at = put_number(at, source_port);
  at = put_number(at, destination_port);
  return static_cast<size_t>(at - to);
}

}  // namespace lintel::forwarded
