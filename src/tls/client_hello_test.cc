#include "tls/client_hello.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "tls/context.h"
#include "tls/engine.h"

namespace lintel::tls {
namespace {

using Status = ClientHello::Status;

// What OpenSSL's client really sends.
std::string real_hello(const std::string& sni, std::string_view alpn) {
  ClientOptions options;
  options.verify = false;
  auto context = make_client_context(options);
  EXPECT_TRUE(context);
  Engine engine = Engine::client(context->get(), sni, "", alpn);
  Buffer out;
  engine.handshake(out);
  return std::string(out.view());
}

// The same message in records of `octets` each.
std::string in_records(const std::string& hello, size_t octets) {
  std::string message = hello.substr(5), cut;
  for (size_t at = 0; at < message.size(); at += octets) {
    const std::string part = message.substr(at, octets);
    cut += std::string("\x16\x03\x01", 3) + static_cast<char>(part.size() >> 8) + static_cast<char>(part.size() & 255) +
           part;
  }
  return cut;
}

TEST(ClientHelloTest, RealHelloInEveryFragmentation) {
  const std::string hello = real_hello("App.Example", "\x02h2\x08http/1.1");
  const std::vector<std::string> alpn = {"h2", "http/1.1"};
  for (const size_t record : {1, 2, 7, 16, 31, 100, 16384}) {
    SCOPED_TRACE(record);
    const std::string octets = in_records(hello, record);
    for (size_t size = 0; size < octets.size(); ++size) {
      ASSERT_EQ(parse_client_hello(std::string_view(octets).substr(0, size)).status, Status::need_more) << size;
    }
    const ClientHello parsed = parse_client_hello(octets + "what follows");
    ASSERT_EQ(parsed.status, Status::complete);
    EXPECT_EQ(parsed.sni, "app.example");
    EXPECT_EQ(parsed.alpn, alpn);
  }
}

TEST(ClientHelloTest, WithoutNameAndProtocols) {
  const ClientHello parsed = parse_client_hello(real_hello("", ""));
  ASSERT_EQ(parsed.status, Status::complete);
  EXPECT_EQ(parsed.sni, "");
  EXPECT_TRUE(parsed.alpn.empty());
}

TEST(ClientHelloTest, EveryChangedOctetIsRefusedOrReadWithoutHarm) {
  const std::string hello = real_hello("app.example", "\x02h2");
  for (size_t at = 0; at < hello.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      std::string broken = hello;
      broken[at] = static_cast<char>(broken[at] ^ change);
      const ClientHello parsed = parse_client_hello(broken);
      if (parsed.status != Status::complete) EXPECT_TRUE(parsed.sni.empty() && parsed.alpn.empty());
    }
  }
}

TEST(ClientHelloTest, SecondNameInOneHelloIsRefused) {
  // Two names would let one part of the program see one site and another part the other.
  std::string name("\x00\x06\x00\x00\x03", 5);
  std::string to;
  EXPECT_TRUE(parse_server_name(name + "a.b", to));
  EXPECT_EQ(to, "a.b");
  std::string two("\x00\x0c\x00\x00\x03", 5);
  two += "a.b" + std::string("\x00\x00\x03", 3) + "c.d";
  EXPECT_FALSE(parse_server_name(two, to));
  EXPECT_FALSE(parse_server_name(name + "a.b.", to)) << "octets after the list";
  EXPECT_FALSE(parse_server_name(std::string("\x00\x06\x01\x00\x03", 5) + "a.b", to)) << "not a host_name";
  EXPECT_FALSE(parse_server_name("", to));

  // The extension itself twice, with the lengths made right.
  const std::string hello = real_hello("app.example", "");
  std::string extension("\x00\x00\x00\x10\x00\x0e\x00\x00\x0b", 9);
  extension += "app.example";
  const size_t at = hello.find(extension);
  ASSERT_NE(at, std::string::npos);
  std::string twice = hello.substr(0, at) + extension + hello.substr(at);
  const auto add = [&](size_t where, size_t octets) {
    size_t value = 0;
    for (size_t i = 0; i < octets; ++i) value = value << 8 | static_cast<unsigned char>(twice[where + i]);
    value += extension.size();
    for (size_t i = 0; i < octets; ++i) twice[where + i] = static_cast<char>(value >> 8 * (octets - 1 - i));
  };
  size_t extensions_at = 5 + 4 + 34;
  extensions_at += 1 + static_cast<unsigned char>(hello[extensions_at]);
  extensions_at += 2 + (static_cast<unsigned char>(hello[extensions_at]) << 8 |
                        static_cast<unsigned char>(hello[extensions_at + 1]));
  extensions_at += 1 + static_cast<unsigned char>(hello[extensions_at]);
  add(3, 2);
  add(6, 3);
  add(extensions_at, 2);
  EXPECT_EQ(parse_client_hello(twice).status, Status::invalid);
}

TEST(ClientHelloTest, EndlessHelloIsRefusedNotCollected) {
  std::string octets = std::string("\x16\x03\x01\x00\x04\x01", 6) + std::string("\xff\xff\xff", 3);
  EXPECT_EQ(parse_client_hello(octets).status, Status::invalid);
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\x00\x00", 5)).status, Status::invalid)
      << "empty records for ever";
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\xff\xff", 5)).status, Status::invalid);
  EXPECT_EQ(parse_client_hello(std::string("\x16\x03\x01\x00\x01\x02", 6) + "aaa").status, Status::invalid);
}

TEST(ClientHelloTest, FirstOctetsTellTheProtocol) {
  EXPECT_EQ(peek_protocol(""), Peek::need_more);
  EXPECT_EQ(peek_protocol("\x16"), Peek::tls);
  EXPECT_EQ(peek_protocol("G"), Peek::plain_http);
  EXPECT_EQ(peek_protocol("PR"), Peek::need_more);
  EXPECT_EQ(peek_protocol("PRO"), Peek::need_more);
  EXPECT_EQ(peek_protocol("PROP"), Peek::plain_http);
  EXPECT_EQ(peek_protocol("PRI * HTTP/2.0"), Peek::plain_http);
  EXPECT_EQ(peek_protocol("PROXY TCP4"), Peek::proxy_protocol);
  EXPECT_EQ(peek_protocol("\r\n"), Peek::need_more);
  EXPECT_EQ(peek_protocol("\r\nGET"), Peek::plain_http);
  EXPECT_EQ(peek_protocol(std::string_view("\r\n\r\n\0\r\nQUIT\n", 12)), Peek::proxy_protocol);
  EXPECT_EQ(peek_protocol("\x80"), Peek::other);
  EXPECT_EQ(peek_protocol(std::string_view("\0", 1)), Peek::other);
}

}  // namespace
}  // namespace lintel::tls
