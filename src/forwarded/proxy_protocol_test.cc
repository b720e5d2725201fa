#include "forwarded/proxy_protocol.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/limits.h"

namespace lintel::forwarded {
namespace {

using namespace std::string_literals;

constexpr std::array<size_t, 11> fragment_sizes = {1, 2, 3, 4, 5, 6, 7, 8, 16, 31, std::string::npos};

struct Outcome {
  ProxyHeader header;
  bool valid = true;
  size_t seen = 0;  // octets it took to know
};

// Asks with growing prefixes, each in an allocation of exactly its size, so that ASan sees a read beyond it.
Outcome replay(const std::string& octets, size_t fragment) {
  for (size_t size = 0;;) {
    size = fragment > octets.size() - size ? octets.size() : size + fragment;
    const std::vector<char> part(octets.begin(), octets.begin() + static_cast<std::ptrdiff_t>(size));
    auto parsed = parse_proxy_header({part.data(), part.size()});
    if (!parsed) {
      EXPECT_EQ(parsed.error(), ErrorCode::proxy_protocol_invalid);
      return {{}, false, size};
    }
    if (parsed->size != 0 || size == octets.size()) return {std::move(*parsed), true, size};
  }
}

// Where the network cuts must make no difference, nor what follows the header.
Outcome read(const std::string& octets) {
  const Outcome first = replay(octets, 1);
  for (const size_t fragment : fragment_sizes) {
    const Outcome other = replay(octets, fragment);
    EXPECT_EQ(other.valid, first.valid) << "fragments of " << fragment;
    EXPECT_EQ(other.header.size, first.header.size) << "fragments of " << fragment;
    EXPECT_EQ(other.header.source, first.header.source) << "fragments of " << fragment;
    EXPECT_EQ(other.header.source_port, first.header.source_port) << "fragments of " << fragment;
    EXPECT_EQ(other.header.local, first.header.local) << "fragments of " << fragment;
    EXPECT_EQ(other.header.client_tls, first.header.client_tls) << "fragments of " << fragment;
    EXPECT_EQ(other.header.unique_id, first.header.unique_id) << "fragments of " << fragment;
  }
  if (first.valid && first.header.size != 0) {
    EXPECT_EQ(first.header.size, octets.size());
    EXPECT_EQ(first.seen, octets.size());
    const auto followed = parse_proxy_header(octets + "\x16\x03\x01\r\nPROXY ");
    EXPECT_TRUE(followed && followed->size == octets.size());
  }
  return first;
}

bool refused(const std::string& octets) { return !read(octets).valid; }
bool unfinished(const std::string& octets) {
  const Outcome outcome = read(octets);
  return outcome.valid && outcome.header.size == 0;
}

// --- version 1

TEST(ProxyV1, tells_source_and_destination) {
  const ProxyHeader four = read("PROXY TCP4 203.0.113.9 10.0.0.2 51000 443\r\n").header;
  ASSERT_NE(four.size, 0u);
  EXPECT_TRUE(four.has_source);
  EXPECT_FALSE(four.local || four.has_tls || four.unix_source);
  EXPECT_EQ(four.source.text(), "203.0.113.9");
  EXPECT_EQ(four.destination.text(), "10.0.0.2");
  EXPECT_EQ(four.source_port, 51000);
  EXPECT_EQ(four.destination_port, 443);
  const ProxyHeader six = read("PROXY TCP6 2001:DB8::9 ::1 0 65535\r\n").header;
  EXPECT_EQ(six.source.text(), "2001:db8::9");
  EXPECT_EQ(six.destination.text(), "::1");
  EXPECT_EQ(six.source_port, 0);
  EXPECT_EQ(six.destination_port, 65535);
}

TEST(ProxyV1, mapped_addresses_of_dual_stack_proxies_are_ipv4) {
  const ProxyHeader header = read("PROXY TCP6 ::ffff:203.0.113.9 ::ffff:10.0.0.2 51000 443\r\n").header;
  ASSERT_NE(header.size, 0u);
  EXPECT_EQ(header.source, IpAddress::v4(0xcb007109));
}

TEST(ProxyV1, unknown_keeps_the_connections_facts_and_ignores_the_rest_of_the_line) {
  for (const std::string line :
       {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN 203.0.113.9 10.0.0.2 1 2\r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"}) {
    const ProxyHeader header = read(line).header;
    EXPECT_EQ(header.size, line.size()) << line;
    EXPECT_TRUE(header.local && !header.has_source) << line;
  }
}

// HAProxy 2.6 takes 203.0.113.999 as 203.0.116.231: a client with another address than any log ever shows.
TEST(ProxyV1, an_address_that_is_none_is_never_repaired) {
  for (const char* address : {"203.0.113.999", "203.0.113.256", "203.0.113", "203.0.113.9.1", "203.0.113.09",
                              "0x7f.0.0.1", "203.0.113.", ".203.0.113.9", "203..113.9", "3405803785", "2001:db8::9",
                              "app.example", "*", "", "203.0.113.9:80", "::ffff:203.0.113.9"}) {
    EXPECT_TRUE(refused("PROXY TCP4 "s + address + " 10.0.0.2 51000 443\r\n")) << address;
    EXPECT_TRUE(refused("PROXY TCP4 10.0.0.2 "s + address + " 51000 443\r\n")) << address;
  }
  for (const char* address : {"203.0.113.9", "2001:db8::9::1", "2001:db8", "[2001:db8::9]", "2001:db8::12345",
                              "fe80::1%eth0", ":::", "1:2:3:4:5:6:7:8:9", "::ffff:203.0.113.999", "", "g::1"}) {
    EXPECT_TRUE(refused("PROXY TCP6 "s + address + " ::1 51000 443\r\n")) << address;
  }
}

TEST(ProxyV1, ports_are_plain_decimals) {
  for (const char* port : {"65536", "99999", "00", "080", "+80", "-1", "0x50", "", "8 0", "80 ", "123456"}) {
    EXPECT_TRUE(refused("PROXY TCP4 203.0.113.9 10.0.0.2 "s + port + " 443\r\n")) << port;
    EXPECT_TRUE(refused("PROXY TCP4 203.0.113.9 10.0.0.2 51000 "s + port + "\r\n")) << port;
  }
}

TEST(ProxyV1, the_line_has_one_form) {
  for (const std::string& line : {"PROXY  TCP4 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY TCP4  203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY TCP4 203.0.113.9 10.0.0.2 51000 443\n"s,
                                  "PROXY TCP4 203.0.113.9 10.0.0.2 51000 443\rX"s,
                                  "PROXY TCP4 203.0.113.9 10.0.0.2 51000 443 \r\n"s,
                                  "PROXY TCP4 203.0.113.9 10.0.0.2 51000 443 1\r\n"s,
                                  "PROXY TCP4 203.0.113.9 10.0.0.2 51000\r\n"s,
                                  "PROXY\tTCP4 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "proxy TCP4 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY tcp4 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY UDP4 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY TCP5 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY TCP 203.0.113.9 10.0.0.2 51000 443\r\n"s,
                                  "PROXY\r\n"s,
                                  "PROXY \r\n"s,
                                  "PROXY UNKNOWNX\r\n"s,
                                  "PROXY UNKNOWN\n"s,
                                  "PROXY UNKNOWN a\nb\r\n"s,
                                  "PROXY UNKNOWN a\0b\r\n"s,
                                  "PROXY UNKNOWN \x80\r\n"s,
                                  " PROXY UNKNOWN\r\n"s,
                                  "PROXY TCP4 203.0.113.9\0 10.0.0.2 51000 443\r\n"s}) {
    EXPECT_TRUE(refused(line)) << line;
  }
}

TEST(ProxyV1, a_line_has_at_most_107_octets) {
  const std::string most = "PROXY UNKNOWN " + std::string(limits::proxy_protocol_v1_bytes - 16, 'x');
  EXPECT_EQ(read(most + "\r\n").header.size, limits::proxy_protocol_v1_bytes);
  EXPECT_TRUE(refused(most + "x\r\n"));
  EXPECT_TRUE(unfinished(most));
  EXPECT_TRUE(unfinished(most + "\r"));
  // One more octet and no CRLF can end it in time.
  EXPECT_TRUE(refused(most + "x"));
}

// What is no header is told at the octet that shows it: an attacker cannot hold the connection with it any longer.
TEST(ProxyV1, errors_come_with_the_octet_that_shows_them) {
  const auto known_after = [](const std::string& octets) {
    const Outcome outcome = read(octets);
    return outcome.valid ? 0 : outcome.seen;
  };
  EXPECT_EQ(known_after("GET / HTTP/1.1\r\n"), 1u);
  EXPECT_EQ(known_after("\x16\x03\x01\x02\x00"s), 1u);
  EXPECT_EQ(known_after("PRI * HTTP/2.0\r\n"), 3u);
  EXPECT_EQ(known_after("POST / HTTP/1.1\r\n"), 2u);
  EXPECT_EQ(known_after("PROXY TCP4 203.0.113.999 "), 24u);
  EXPECT_EQ(known_after("PROXY TCP4 203.0.113.9 10.0.0.2 65536"), 37u);
  EXPECT_EQ(known_after("PROXY TCP4 203.0.113.9 10.0.0.2 51000 443\n"), 42u);
  EXPECT_EQ(known_after("\r\n\r\nX"), 5u);
}

TEST(ProxyV1, the_beginning_of_a_header_waits_for_more) {
  const std::string line = "PROXY TCP6 2001:db8::9 ::1 51000 443\r\n";
  for (size_t size = 0; size < line.size(); ++size) EXPECT_TRUE(unfinished(line.substr(0, size))) << size;
}

// --- version 2

std::string number16(size_t value) { return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)}; }
std::string tlv(int type, const std::string& value) { return static_cast<char>(type) + number16(value.size()) + value; }
std::string v2(int version_command, int family, const std::string& block) {
  return "\r\n\r\n\0\r\nQUIT\n"s + static_cast<char>(version_command) + static_cast<char>(family) +
         number16(block.size()) + block;
}
const std::string inet = "\xcb\x00\x71\x09\x0a\x00\x00\x02"s + number16(51000) + number16(443);
const std::string inet6 = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x09" + std::string(15, '\0') + "\x01" +
                          number16(51000) + number16(443);
const std::string with_tls = "\x01\0\0\0\0"s, without_tls = "\0\0\0\0\0"s;

TEST(ProxyV2, tells_source_and_destination) {
  const ProxyHeader four = read(v2(0x21, 0x11, inet)).header;
  ASSERT_NE(four.size, 0u);
  EXPECT_TRUE(four.has_source);
  EXPECT_EQ(four.source.text(), "203.0.113.9");
  EXPECT_EQ(four.destination.text(), "10.0.0.2");
  EXPECT_EQ(four.source_port, 51000);
  EXPECT_EQ(four.destination_port, 443);
  const ProxyHeader six = read(v2(0x21, 0x21, inet6)).header;
  EXPECT_EQ(six.source.text(), "2001:db8::9");
  EXPECT_EQ(six.destination.text(), "::1");
  EXPECT_EQ(six.source_port, 51000);
  const std::string mapped = std::string(10, '\0') + "\xff\xff\xcb\x00\x71\x09"s + std::string(20, '\0');
  EXPECT_EQ(read(v2(0x21, 0x21, mapped)).header.source.text(), "203.0.113.9");
  const ProxyHeader path = read(v2(0x21, 0x31, std::string(216, 'p'))).header;
  EXPECT_TRUE(path.has_source && path.unix_source);
  const ProxyHeader none = read(v2(0x21, 0x00, "")).header;
  EXPECT_EQ(none.size, 16u);
  EXPECT_FALSE(none.has_source || none.local);
}

TEST(ProxyV2, local_keeps_the_connections_facts_whatever_its_block_holds) {
  for (const int family : {0x00, 0x11, 0x12, 0x99}) {
    const ProxyHeader header = read(v2(0x20, family, "\x20\xff\xff rubbish"s)).header;
    EXPECT_NE(header.size, 0u);
    EXPECT_TRUE(header.local && !header.has_source && !header.client_tls);
  }
  EXPECT_EQ(read(v2(0x20, 0x00, "")).header.size, 16u);
}

TEST(ProxyV2, version_command_and_family_are_the_known_ones) {
  for (int value = 0; value < 256; ++value) {
    if (value != 0x20 && value != 0x21) EXPECT_TRUE(refused(v2(value, 0x11, inet))) << value;
    const bool known = value == 0x00 || value == 0x11 || value == 0x21 || value == 0x31;
    EXPECT_EQ(refused(v2(0x21, value, std::string(216, '\0'))), !known) << value;
  }
}

TEST(ProxyV2, an_address_block_that_is_too_short_is_refused) {
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet.substr(1))));
  EXPECT_TRUE(refused(v2(0x21, 0x21, inet)));
  EXPECT_TRUE(refused(v2(0x21, 0x31, std::string(215, '\0'))));
}

TEST(ProxyV2, the_header_has_a_limit) {
  const size_t room = limits::proxy_protocol_bytes - 16 - inet.size() - 3;
  EXPECT_EQ(read(v2(0x21, 0x11, inet + tlv(0x04, std::string(room, '\0')))).header.size, limits::proxy_protocol_bytes);
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet + tlv(0x04, std::string(room + 1, '\0')))));
  EXPECT_TRUE(refused(v2(0x20, 0x00, std::string(limits::proxy_protocol_bytes - 15, '\0'))));
  // Known from the length alone: nobody collects 64 KiB for it.
  EXPECT_EQ(replay(v2(0x21, 0x11, "").substr(0, 14) + "\xff\xff", 1).seen, 15u);
}

TEST(ProxyV2, the_tls_extension_says_whether_the_client_came_over_tls) {
  const std::string inner = tlv(0x21, "TLSv1.3") + tlv(0x22, "client.example") + tlv(0x23, "X") + tlv(0x7f, "");
  const ProxyHeader over_tls = read(v2(0x21, 0x11, inet + tlv(0x20, with_tls + inner))).header;
  EXPECT_TRUE(over_tls.has_tls && over_tls.client_tls);
  const ProxyHeader plain = read(v2(0x21, 0x21, inet6 + tlv(0x20, without_tls))).header;
  EXPECT_TRUE(plain.has_tls && !plain.client_tls);
  // A certificate that was shown earlier in the session (bits 2 and 4) is not what says that this connection has TLS.
  EXPECT_FALSE(read(v2(0x21, 0x11, inet + tlv(0x20, "\x06\0\0\0\0"s))).header.client_tls);
  EXPECT_FALSE(read(v2(0x21, 0x11, inet)).header.has_tls);
}

TEST(ProxyV2, extensions_that_reach_beyond_their_end_are_refused) {
  const auto with = [](const std::string& extensions) { return v2(0x21, 0x11, inet + extensions); };
  EXPECT_TRUE(refused(with("\x04"s)));
  EXPECT_TRUE(refused(with("\x04\0"s)));
  EXPECT_TRUE(refused(with("\x04\0\x01"s)));
  EXPECT_TRUE(refused(with("\x04\xff\xff"s + std::string(100, 'x'))));
  EXPECT_TRUE(refused(with(tlv(0x04, "") + "\x01\0\x02h"s)));
  EXPECT_TRUE(refused(with(tlv(0x20, with_tls.substr(1)))));
  EXPECT_TRUE(refused(with(tlv(0x20, ""))));
  EXPECT_TRUE(refused(with(tlv(0x20, with_tls + "\x21"s))));
  EXPECT_TRUE(refused(with(tlv(0x20, with_tls + "\x21\0\x08TLSv1.3"s))));
  // The inner one would fit the header, but not its own extension.
  EXPECT_TRUE(refused(with(tlv(0x20, with_tls + "\x21\0\x08TLSv1.3"s) + tlv(0x04, "padding"))));
}

TEST(ProxyV2, what_is_said_twice_is_refused) {
  for (const std::string& one : {tlv(0x20, with_tls), tlv(0x05, "id")}) {
    EXPECT_FALSE(refused(v2(0x21, 0x11, inet + one)));
    EXPECT_TRUE(refused(v2(0x21, 0x11, inet + one + one)));
  }
}

TEST(ProxyV2, the_unique_id_is_text_or_hex) {
  const auto id_of = [](const std::string& value) {
    return read(v2(0x21, 0x11, inet + tlv(0x05, value))).header.unique_id;
  };
  EXPECT_EQ(id_of("7F000001:C738_2f9-A"), "7F000001:C738_2f9-A");
  EXPECT_EQ(id_of("\x00\x01\xfe\x7f"s), "0001fe7f");
  EXPECT_EQ(id_of("a b"), "612062");
  EXPECT_EQ(id_of("a\nb"), "610a62");
  EXPECT_EQ(id_of(""), "");
  EXPECT_EQ(id_of(std::string(128, 'x')), std::string(128, 'x'));
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet + tlv(0x05, std::string(129, 'x')))));
}

TEST(ProxyV2, unknown_extensions_are_passed_over) {
  const std::string others = tlv(0x04, "\0\0\0"s) + tlv(0x01, "h2") + tlv(0x02, "app.example") + tlv(0x30, "netns") +
                             tlv(0xea, "\x01vpce-1"s) + tlv(0xe0, "") + tlv(0x00, "");
  const ProxyHeader header = read(v2(0x21, 0x11, inet + others + tlv(0x05, "id"))).header;
  EXPECT_EQ(header.unique_id, "id");
  EXPECT_TRUE(read(v2(0x21, 0x00, others + tlv(0x20, with_tls))).header.client_tls);
}

TEST(ProxyV2, a_checksum_is_verified) {
  // Computed apart from this code, bit by bit.
  const std::string good = v2(0x21, 0x11, inet + tlv(0x03, "\xbf\xd4\x8b\xe7"));
  EXPECT_EQ(read(good).header.source.text(), "203.0.113.9");
  for (size_t i = 16; i < good.size(); ++i) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const bool still_one = i == 28;  // its type: an unknown extension then
    EXPECT_EQ(refused(damaged), !still_one) << i;
  }
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet + tlv(0x03, "\0\0\0\0"s))));
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet + tlv(0x03, "\xbf\xd4\x8b"))));
  EXPECT_TRUE(refused(v2(0x21, 0x11, inet + tlv(0x03, "\xbf\xd4\x8b\xe7") + tlv(0x03, "\xbf\xd4\x8b\xe7"))));
}

TEST(ProxyV2, errors_come_with_the_octet_that_shows_them) {
  const auto known_after = [](const std::string& octets) {
    const Outcome outcome = read(octets);
    return outcome.valid ? 0 : outcome.seen;
  };
  EXPECT_EQ(known_after("\r\n\r\n\0\r\nQUIX"s), 11u);
  EXPECT_EQ(known_after(v2(0x22, 0x11, inet)), 13u);
  EXPECT_EQ(known_after(v2(0x21, 0x12, inet)), 14u);
  EXPECT_EQ(known_after(v2(0x21, 0x11, "")), 16u);
  EXPECT_EQ(known_after(v2(0x21, 0x11, inet + tlv(0x05, std::string(129, 'x')))), 31u);
  EXPECT_EQ(known_after(v2(0x21, 0x11, inet + tlv(0x20, with_tls + "\x21\xff\xff"s) + tlv(0x04, "later"))), 39u);
}

TEST(ProxyV2, the_beginning_of_a_header_waits_for_more) {
  const std::string header = v2(0x21, 0x21, inet6 + tlv(0x20, with_tls + tlv(0x21, "TLSv1.3")) + tlv(0x05, "id"));
  for (size_t size = 0; size < header.size(); ++size) {
    const auto parsed = parse_proxy_header(header.substr(0, size));
    EXPECT_TRUE(parsed && parsed->size == 0) << size;
  }
  EXPECT_TRUE(unfinished(v2(0x20, 0x00, "block").substr(0, 18)));
}

// --- what it changes

ConnectionFacts socket_facts() {
  ConnectionFacts facts;
  facts.peer = IpAddress::v4(0x0a000002);
  facts.peer_port = 40000;
  facts.local_port = 8443;
  return facts;
}

TEST(ProxyFacts, the_source_becomes_the_peer) {
  ConnectionFacts facts = socket_facts();
  apply(read("PROXY TCP6 2001:db8::9 ::1 51000 443\r\n").header, facts);
  EXPECT_EQ(facts.peer.text(), "2001:db8::9");
  EXPECT_EQ(facts.peer_port, 51000);
  EXPECT_EQ(facts.local_port, 443);
  EXPECT_FALSE(facts.https || facts.peer_is_unix);
  // Behind a unix socket too: else "unix" in a trust rule would believe every client of that proxy.
  facts.peer_is_unix = true;
  apply(read(v2(0x21, 0x11, inet)).header, facts);
  EXPECT_FALSE(facts.peer_is_unix);
  EXPECT_EQ(facts.peer.text(), "203.0.113.9");
}

TEST(ProxyFacts, tls_that_the_proxy_ended_is_https) {
  for (const std::string& header : {v2(0x21, 0x11, inet + tlv(0x20, with_tls)), v2(0x21, 0x00, tlv(0x20, with_tls))}) {
    ConnectionFacts facts = socket_facts();
    apply(read(header).header, facts);
    EXPECT_TRUE(facts.https);
  }
  ConnectionFacts facts = socket_facts();
  apply(read(v2(0x21, 0x11, inet + tlv(0x20, without_tls))).header, facts);
  EXPECT_FALSE(facts.https);
}

TEST(ProxyFacts, local_and_unspecified_keep_the_socket) {
  for (const std::string& header :
       {v2(0x20, 0x11, inet), v2(0x21, 0x00, ""), "PROXY UNKNOWN 203.0.113.9 ::1 1 2\r\n"s}) {
    ConnectionFacts facts = socket_facts();
    apply(read(header).header, facts);
    EXPECT_EQ(facts.peer.text(), "10.0.0.2");
    EXPECT_EQ(facts.peer_port, 40000);
    EXPECT_EQ(facts.local_port, 8443);
  }
}

TEST(ProxyFacts, a_unix_source_has_no_address) {
  ConnectionFacts facts = socket_facts();
  apply(read(v2(0x21, 0x31, std::string(216, 'p'))).header, facts);
  // A path on the proxy's machine: a rule for this machine's unix peers, or for loopback, must not match it.
  EXPECT_FALSE(facts.peer_is_unix);
  EXPECT_TRUE(facts.peer.is_unspecified());
  EXPECT_EQ(facts.local_port, 8443);
}

}  // namespace
}  // namespace lintel::forwarded
