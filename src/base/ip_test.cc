#include "base/ip.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <random>

namespace lintel {
namespace {

// Allow lists and trust rules compare addresses: text that another program reads differently must not parse at all.
TEST(IpAddress, RefusesTextThatOthersReadDifferently) {
  using namespace std::string_view_literals;
  for (std::string_view text : {""sv,
                                "127.1"sv,
                                "0177.0.0.1"sv,
                                "127.0.0.01"sv,
                                "2130706433"sv,
                                "0x7f.0.0.1"sv,
                                "256.0.0.1"sv,
                                "1.2.3"sv,
                                "1.2.3.4.5"sv,
                                " 1.2.3.4"sv,
                                "1.2.3.4 "sv,
                                "1.2.3.4\n"sv,
                                "127.0.0.1\0evil"sv,
                                "[::1]"sv,
                                "fe80::1%eth0"sv,
                                "::1::"sv,
                                ":::"sv,
                                "12345::"sv,
                                "1:2:3:4:5:6:7:8:9"sv,
                                "1:2:3:4:5:6:7"sv,
                                "::ffff:1.2.3"sv,
                                "+1.2.3.4"sv,
                                "1.2.3.-4"sv,
                                "0000:0000:0000:0000:0000:ffff:192.168.100.2000"sv}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
}

TEST(IpAddress, ParsesAndPrintsIPv4) {
  for (const char* text : {"0.0.0.0", "127.0.0.1", "203.0.113.9", "10.100.1.255", "255.255.255.255"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_TRUE(address->is_v4());
    EXPECT_EQ(address->text(), text);
  }
  EXPECT_EQ(IpAddress::v4(0x7f000001), *IpAddress::parse("127.0.0.1"));
}

// A dual-stack listener reports IPv4 peers as ::ffff:a.b.c.d: an allow list of 10.0.0.0/8 must still match them.
TEST(IpAddress, MappedIPv6IsIPv4) {
  const auto address = IpAddress::parse("::ffff:10.1.2.3");
  ASSERT_TRUE(address);
  EXPECT_TRUE(address->is_v4());
  EXPECT_EQ(*address, *IpAddress::parse("10.1.2.3"));
  EXPECT_EQ(*IpAddress::parse("::FFFF:0a01:0203"), *address);
  EXPECT_FALSE(IpAddress::parse("::10.1.2.3")->is_v4());  // v4-compatible is not v4-mapped
}

TEST(IpAddress, PrintsRfc5952) {
  const std::pair<const char*, const char*> cases[] = {
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one group is not shortened
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest run
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // the first of equal runs
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"0:0:1::", "0:0:1::"},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"::0abc:0", "::abc:0"},
  };
  for (const auto& [text, expected] : cases) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), expected);
  }
}

// What is printed is read back as the same address, by us and by the C library.
TEST(IpAddress, TextReadsBack) {
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::array<uint8_t, 16> octets{};
    for (size_t g = 0; g < 16; ++g) octets[g] = random() % 3 == 0 ? static_cast<uint8_t>(random()) : uint8_t{0};
    const IpAddress address = IpAddress::v6(octets);
    const std::string text = address.text();
    ASSERT_LE(text.size(), 45u);
    EXPECT_EQ(IpAddress::parse(text), address) << text;
    std::array<uint8_t, 16> read{};
    if (!address.is_v4()) {
      ASSERT_EQ(inet_pton(AF_INET6, text.c_str(), read.data()), 1) << text;
      EXPECT_EQ(read, octets) << text;
    }
  }
}

TEST(IpAddress, KnowsLoopbackAndUnspecified) {
  for (const char* text : {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IpAddress::parse(text)->is_loopback()) << text;
  }
  for (const char* text : {"128.0.0.1", "10.0.0.1", "::2", "1::1", "::", "0.0.0.0"}) {
    EXPECT_FALSE(IpAddress::parse(text)->is_loopback()) << text;
  }
  EXPECT_TRUE(IpAddress::parse("::")->is_unspecified());
  EXPECT_TRUE(IpAddress::parse("0.0.0.0")->is_unspecified());
  EXPECT_FALSE(IpAddress::parse("::1")->is_unspecified());
  EXPECT_NE(*IpAddress::parse("::"), *IpAddress::parse("0.0.0.0"));
}

TEST(IpPrefix, Contains) {
  const auto in = [](const char* prefix, const char* address) {
    return IpPrefix::parse(prefix)->contains(*IpAddress::parse(address));
  };
  EXPECT_TRUE(in("10.0.0.0/8", "10.255.0.1"));
  EXPECT_FALSE(in("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(in("10.0.0.0/8", "::ffff:10.0.0.1"));
  EXPECT_TRUE(in("192.0.2.128/25", "192.0.2.200"));
  EXPECT_FALSE(in("192.0.2.128/25", "192.0.2.127"));
  EXPECT_TRUE(in("192.0.2.7", "192.0.2.7"));
  EXPECT_FALSE(in("192.0.2.7", "192.0.2.6"));
  EXPECT_TRUE(in("0.0.0.0/0", "203.0.113.1"));
  EXPECT_FALSE(in("0.0.0.0/0", "2001:db8::1"));  // one family never stands for the other
  EXPECT_FALSE(in("::/0", "203.0.113.1"));
  EXPECT_TRUE(in("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(in("::ffff:10.0.0.0/104", "10.2.3.4"));
}

// "10.0.0.1/8" is usually a typing mistake that opens more than was meant.
TEST(IpPrefix, RefusesHostBitsAndBadLengths) {
  for (const char* text : {"10.0.0.1/8", "2001:db8::1/32", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8",
                           "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0.0/8/8", "::/129", "/8", "", "::ffff:10.0.0.0/8",
                           "10.0.0.0/1000", "10.0.0.0/0x8", "0.0.0.1/0"}) {
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
  }
  EXPECT_EQ(IpPrefix::parse("10.0.0.0/8")->text(), "10.0.0.0/8");
  EXPECT_EQ(IpPrefix::parse("::1")->text(), "::1/128");
}

TEST(SocketAddress, RoundTripsThroughTheKernelsForm) {
  for (const SocketAddress& address :
       {SocketAddress::of(*IpAddress::parse("127.0.0.1"), 80),
        SocketAddress::of(*IpAddress::parse("2001:db8::1"), 8443), SocketAddress::of_unix("/run/app.sock")}) {
    sockaddr_storage storage{};
    const unsigned length = address.fill(reinterpret_cast<sockaddr*>(&storage));
    EXPECT_GT(length, 0u);
    EXPECT_EQ(SocketAddress::from(reinterpret_cast<sockaddr*>(&storage)), address) << address.text();
  }
  EXPECT_EQ(SocketAddress::of(*IpAddress::parse("::1"), 80).text(), "[::1]:80");
  EXPECT_EQ(SocketAddress::of(*IpAddress::parse("127.0.0.1"), 80).text(), "127.0.0.1:80");
  EXPECT_EQ(SocketAddress::of_unix("/run/app.sock").text(), "unix:/run/app.sock");
}

// A path that does not fit must not be cut: the cut path is another socket.
TEST(SocketAddress, TooLongUnixPathIsNotCut) {
  sockaddr_storage storage{};
  EXPECT_EQ(SocketAddress::of_unix(std::string(108, 'a')).fill(reinterpret_cast<sockaddr*>(&storage)), 0u);
  EXPECT_GT(SocketAddress::of_unix(std::string(107, 'a')).fill(reinterpret_cast<sockaddr*>(&storage)), 0u);
}

}  // namespace
}  // namespace lintel
