#include "proxy/rewrite.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace lintel::proxy {
namespace {

using namespace std::string_view_literals;

class Rewrite : public testing::Test {
 protected:
  Rewrite() {
    site_.hosts = {"app.ex", "www.ex", "*.wild.ex"};
    site_.public_ports = {9443};
    context_.https = true;
    context_.host = context_.authority = "app.ex";
    context_.port = 443;
    context_.upstream_host = "127.0.0.1";
    context_.upstream_port = 8000;
    context_.site = &site_;
  }
  void use_port_8443() {
    context_.authority = "app.ex:8443";
    context_.port = 8443;
  }
  std::string url(std::string_view value) { return std::string(repair_url(value, context_, arena_)); }
  std::string refresh(std::string_view value) { return std::string(repair_refresh(value, context_, arena_)); }
  // Untouched means the very same octets, not a copy that looks alike.
  void expect_untouched(std::string_view value) {
    const std::string_view result = repair_url(value, context_, arena_);
    EXPECT_EQ(result, value);
    EXPECT_EQ(result.data(), value.data()) << value;
  }
  config::Site site_;
  RewriteContext context_;
  Arena arena_;
};

// The classic: the app does not know that it is on https, and a login ends on http.
TEST_F(Rewrite, OwnNamesOnHttpBecomeHttps) {
  EXPECT_EQ(url("http://app.ex/login?next=%2F#top"), "https://app.ex/login?next=%2F#top");
  EXPECT_EQ(url("http://app.ex"), "https://app.ex");
  EXPECT_EQ(url("http://app.ex?x=1"), "https://app.ex?x=1");
  EXPECT_EQ(url("http://app.ex#x"), "https://app.ex#x");
  EXPECT_EQ(url("http://app.ex:80/"), "https://app.ex/");
  EXPECT_EQ(url("http://app.ex:443/"), "https://app.ex/");
  EXPECT_EQ(url("http://app.ex:/"), "https://app.ex/");
  EXPECT_EQ(url("http://www.ex/"), "https://www.ex/");
  EXPECT_EQ(url("HTTP://APP.EX/Path"), "https://app.ex/Path");
  EXPECT_EQ(url("http://app.ex./x"), "https://app.ex/x");
  EXPECT_EQ(url("http://app.ex/?u=http://app.ex/"), "https://app.ex/?u=http://app.ex/");
  EXPECT_EQ(url("http://app.ex/?q=a\\b"), "https://app.ex/?q=a\\b");
}

// Without the port, every redirect in dev would lead to whatever listens on 443.
TEST_F(Rewrite, TheClientsPortIsKept) {
  use_port_8443();
  EXPECT_EQ(url("http://app.ex/"), "https://app.ex:8443/");
  EXPECT_EQ(url("http://app.ex:80/"), "https://app.ex:8443/");
  EXPECT_EQ(url("http://app.ex:8443/"), "https://app.ex:8443/");
  EXPECT_EQ(url("http://www.ex/"), "https://www.ex:8443/");
  EXPECT_EQ(url("http://127.0.0.1:8000/x"), "https://app.ex:8443/x");
}

TEST_F(Rewrite, PublicPortsOfTheSite) {
  EXPECT_EQ(url("http://app.ex:9443/"), "https://app.ex:9443/");
  expect_untouched("http://app.ex:9444/");
}

// Another service on the same name is not ours to redirect.
TEST_F(Rewrite, OtherPortsOfOwnNamesAreUntouched) {
  expect_untouched("http://app.ex:3000/");
  expect_untouched("http://app.ex:8443/");
  expect_untouched("http://app.ex:65536/");
  expect_untouched("http://app.ex:080/");
}

TEST_F(Rewrite, WildcardsCoverOneLabel) {
  EXPECT_EQ(url("http://a.wild.ex/"), "https://a.wild.ex/");
  EXPECT_EQ(url("http://A.Wild.Ex/"), "https://a.wild.ex/");
  expect_untouched("http://wild.ex/");
  expect_untouched("http://a.b.wild.ex/");
  expect_untouched("http://.wild.ex/");
  expect_untouched("http://awild.ex/");
}

// A site for every host must not claim every host on the internet; the name that the client used is still its own.
TEST_F(Rewrite, CatchAllSiteOwnsOnlyTheClientsName) {
  site_.hosts = {"*"};
  expect_untouched("http://identity-provider.test/authorize");
  EXPECT_EQ(url("http://app.ex/"), "https://app.ex/");
  context_.site = nullptr;
  EXPECT_EQ(url("http://app.ex/"), "https://app.ex/");
}

// An attacker who controls a redirect target must gain nothing from the repair: hosts that only look like ours stay
// as the app sent them.
TEST_F(Rewrite, LookalikesAreUntouched) {
  for (std::string_view value : {"http://app.ex.evil.com/"sv,
                                 "http://app.ex@evil.com/"sv,
                                 "http://evil.com@app.ex/"sv,
                                 "http://app.ex:80@evil.com/"sv,
                                 "http://app.ex:x@evil.com/"sv,
                                 "http://evilapp.ex/"sv,
                                 "http://app.exe/"sv,
                                 "http://app.ex%2eevil.com/"sv,
                                 "http://app.ex%00.evil.com/"sv,
                                 "http://app.ex\\@evil.com/"sv,
                                 "http://app.ex\\.evil.com/"sv,
                                 "http://app.ex/\\evil.com"sv,
                                 "http://app.ex\t/"sv,
                                 "http://app.ex/\x01"sv,
                                 "http://app.ex\0/"sv,
                                 "http://app.ex\x7f/"sv,
                                 "http://\xc3\xa4pp.ex/"sv,
                                 "http://app.ex:80:80/"sv,
                                 "http:// app.ex/"sv,
                                 "http://app.ex /"sv,
                                 "http://[app.ex]/"sv,
                                 "http://app..ex/"sv,
                                 "http://app.ex../"sv,
                                 "http:///app.ex/"sv,
                                 "http://"sv,
                                 "http:app.ex"sv,
                                 "http:/app.ex/"sv,
                                 "http:\\\\app.ex/"sv,
                                 " http://app.ex/"sv,
                                 "http ://app.ex/"sv}) {
    expect_untouched(value);
  }
}

TEST_F(Rewrite, EverythingElseIsUntouched) {
  for (std::string_view value : {""sv,
                                 "/"sv,
                                 "/login"sv,
                                 "login"sv,
                                 "../up"sv,
                                 "?q=1"sv,
                                 "#top"sv,
                                 "//app.ex/x"sv,
                                 "//evil.com/"sv,
                                 "https://app.ex/"sv,
                                 "https://app.ex:443/"sv,
                                 "https://www.ex/"sv,
                                 "https://evil.com/"sv,
                                 "http://evil.com/"sv,
                                 "ftp://app.ex/"sv,
                                 "ws://app.ex/"sv,
                                 "myapp://app.ex/callback"sv,
                                 "javascript:alert(1)"sv,
                                 "mailto:a@app.ex"sv,
                                 "httpx://app.ex/"sv,
                                 "https://accounts.google.com/o/oauth2/auth?redirect_uri=http%3A%2F%2Fapp.ex%2Fcb"sv,
                                 "http://identity.test/?redirect_uri=http://app.ex/cb"sv}) {
    expect_untouched(value);
  }
}

TEST_F(Rewrite, TheUpstreamsOwnAddressInAnyScheme) {
  EXPECT_EQ(url("http://127.0.0.1:8000/x"), "https://app.ex/x");
  EXPECT_EQ(url("https://127.0.0.1:8000/x"), "https://app.ex/x");
  // The app may call itself by the name or the address that it is bound to.
  EXPECT_EQ(url("http://localhost:8000/x"), "https://app.ex/x");
  EXPECT_EQ(url("http://0.0.0.0:8000/x"), "https://app.ex/x");
  EXPECT_EQ(url("http://[::1]:8000/x"), "https://app.ex/x");
  expect_untouched("http://127.0.0.1/x");
  expect_untouched("http://127.0.0.1:8001/x");
  expect_untouched("http://user@127.0.0.1:8000/x");
  expect_untouched("http://10.0.0.1:8000/x");

  context_.upstream_host = "backend.internal";
  context_.upstream_port = 80;
  EXPECT_EQ(url("http://backend.internal/x"), "https://app.ex/x");
  EXPECT_EQ(url("http://Backend.Internal:80"), "https://app.ex");
  expect_untouched("https://backend.internal/x");
  expect_untouched("http://localhost/x");

  context_.upstream_host = "2001:db8::1";
  EXPECT_EQ(url("http://[2001:0DB8:0::1]/x"), "https://app.ex/x");
  expect_untouched("http://[2001:db8::2]/x");

  context_.upstream_host = "";  // a unix socket has no address that a URL could name
  context_.upstream_port = 0;
  expect_untouched("http://localhost/x");
}

TEST_F(Rewrite, IPv6IsAnOwnName) {
  context_.host = "[::1]";
  context_.authority = "[::1]:8443";
  context_.port = 8443;
  EXPECT_EQ(url("http://[::1]/"), "https://[::1]:8443/");
  EXPECT_EQ(url("http://[::1]:8443/a"), "https://[::1]:8443/a");
  expect_untouched("http://[::2]/");
  expect_untouched("http://::1/");
  expect_untouched("http://[::1/");
}

// On http (redirect_http = "off") the same URLs are the truth.
TEST_F(Rewrite, NothingOnPlainHttp) {
  context_.https = false;
  context_.port = 80;
  expect_untouched("http://app.ex/");
  expect_untouched("http://127.0.0.1:8000/");
  EXPECT_EQ(refresh("0; url=http://app.ex/"), "0; url=http://app.ex/");
}

// An upstream that is reached by a public name: what is repaired once must not be taken for the upstream's address.
TEST_F(Rewrite, UpstreamWithAPublicName) {
  use_port_8443();
  context_.upstream_host = "www.ex";
  context_.upstream_port = 8443;
  EXPECT_EQ(url("http://www.ex/"), "https://www.ex:8443/");
  expect_untouched("https://www.ex:8443/");
  context_.upstream_port = 443;
  EXPECT_EQ(url("https://www.ex/"), "https://app.ex:8443/");
}

// A chain of two Lintels, or a retry, applies the repair twice.
TEST_F(Rewrite, IsIdempotent) {
  std::mt19937 random(3);
  const auto pick = [&](const std::vector<std::string_view>& from) { return from[random() % from.size()]; };
  for (int i = 0; i < 20'000; ++i) {
    context_.port = std::vector<uint16_t>{443, 8443, 80}[random() % 3];
    context_.host = pick({"app.ex", "www.ex", "localhost", "127.0.0.1", "[::1]", "a.wild.ex"});
    const std::string authority =
        std::string(context_.host) + (context_.port == 443 ? "" : ":" + std::to_string(context_.port));
    context_.authority = authority;
    context_.upstream_host = pick({"127.0.0.1", "::1", "localhost", "www.ex", "app.ex", "backend", ""});
    context_.upstream_port = std::vector<uint16_t>{8000, 80, 443, 8443, 9443}[random() % 5];
    std::string value(pick({"http", "https", "HTTP", "ftp"}));
    value += pick({"://", "://", "://", "//", ":/"});
    value += pick({"", "", "", "u@"});
    value += pick(
        {"app.ex", "APP.ex.", "www.ex", "localhost", "127.0.0.1", "[::1]", "0.0.0.0", "a.wild.ex", "backend", "evil"});
    value += pick({"", ":", ":80", ":443", ":8000", ":8443", ":9443", ":0"});
    value += pick({"", "/", "/a?b#c", "?x", "#y", "\\", "/\\"});
    const std::string once = url(value);
    EXPECT_EQ(url(once), once) << value << " for " << authority << " upstream " << context_.upstream_host << ':'
                               << context_.upstream_port;
    const std::string refreshed = refresh(std::string("1; url=") + value);
    EXPECT_EQ(refresh(refreshed), refreshed) << value;
  }
}

// Whatever the octets, nothing is read beyond them and nothing unlike a URL of ours is produced.
TEST_F(Rewrite, RandomOctetsAreUntouchedOrOurs) {
  std::mt19937 random(5);
  constexpr std::string_view alphabet = "http://app.ex:80@\\[]%?#\t\0;url='\",8 "sv;
  for (int i = 0; i < 50'000; ++i) {
    std::string value(random() % 2 == 0 ? "http://" : "");
    for (size_t n = random() % 24; n-- > 0;) value += alphabet[random() % alphabet.size()];
    const std::string result = url(value);
    if (result != value) EXPECT_EQ(result.substr(0, 14), "https://app.ex") << value;
    refresh(value);
  }
}

TEST_F(Rewrite, RefreshInEveryFormThatBrowsersRead) {
  EXPECT_EQ(refresh("5; url=http://app.ex/a"), "5; url=https://app.ex/a");
  EXPECT_EQ(refresh("0;URL=http://app.ex/a"), "0;URL=https://app.ex/a");
  EXPECT_EQ(refresh("0, url = http://app.ex/a"), "0, url = https://app.ex/a");
  EXPECT_EQ(refresh("0 url=http://app.ex/a"), "0 url=https://app.ex/a");
  EXPECT_EQ(refresh("1.5;http://app.ex/a"), "1.5;https://app.ex/a");
  EXPECT_EQ(refresh("  3 ;  url='http://app.ex/a'"), "  3 ;  url='https://app.ex/a'");
  EXPECT_EQ(refresh("3;url=\"http://app.ex/a\" trailing"), "3;url=\"https://app.ex/a\" trailing");
  EXPECT_EQ(refresh("3;url=\"http://app.ex/a"), "3;url=\"https://app.ex/a");
  EXPECT_EQ(refresh("3;'http://127.0.0.1:8000/a'"), "3;'https://app.ex/a'");
}

TEST_F(Rewrite, RefreshWithoutAUrlOfOursIsUntouched) {
  for (std::string_view value :
       {""sv, "5"sv, "5;"sv, "5; "sv, "5; url"sv, "5; url="sv, "5; url=\""sv, "5; url=/next"sv,
        "5; url=http://evil.com/"sv, "5; url=http://app.ex@evil.com/"sv, "url=http://app.ex/"sv, "http://app.ex/"sv,
        "x; url=http://app.ex/"sv, "-1; url=http://app.ex/"sv, "5; curl=http://app.ex/"sv, "5; url http://app.ex/"sv,
        "5x url=http://app.ex/"sv, "5; url='http://evil.com/' http://app.ex/"sv, "5; url=''http://app.ex/"sv}) {
    const std::string_view result = repair_refresh(value, context_, arena_);
    EXPECT_EQ(result, value);
    EXPECT_EQ(result.data(), value.data());
  }
}

}  // namespace
}  // namespace lintel::proxy
