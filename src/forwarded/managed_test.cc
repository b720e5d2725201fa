#include "forwarded/managed.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lintel::forwarded {
namespace {

// The managed set: what an app, a framework or an auth gateway's app believes about the client. One that gets through
// lets any client choose its own address, scheme, host or user name.
const std::vector<std::string> managed = {
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-scheme", "x-forwarded-protocol", "x-forwarded-ssl", "x-forwarded-server", "x-forwarded-by",
    "x-forwarded-uri", "x-forwarded-method", "x-forwarded-tls-client-cert", "x-forwarded-tls-client-cert-info",
    "x-forwarded-client-cert", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-anything",
    "x-original-for", "x-original-host", "x-original-proto", "x-original-url", "x-original-uri", "x-original-method",
    "x-original-forwarded-for", "x-rewrite-url", "x-real-ip", "x-scheme", "x-url-scheme", "x-client-ip", "client-ip",
    "true-client-ip", "x-cluster-client-ip", "front-end-https", "cf-connecting-ip", "cf-connecting-ipv6", "cf-visitor",
    "cf-ray", "cf-ipcountry", "cf-access-jwt-assertion", "cf-access-authenticated-user-email", "fly-client-ip",
    "fly-forwarded-proto", "fly-region", "x-azure-clientip", "x-azure-socketip", "x-arr-ssl",
    "cloudfront-forwarded-proto", "x-vercel-forwarded-for", "fastly-client-ip", "client-cert", "client-cert-chain",
    "proxy", "x-lintel-error", "x-lintel-anything", "x-auth-request-user", "x-auth-request-email",
    "x-auth-request-access-token", "remote-user", "x-webauth-user", "x-ssl-client-cert", "x-ssl-client-verify",
    "x-ssl-client-s-dn", "x-goog-iap-jwt-assertion", "x-ms-client-principal", "x-ms-client-principal-name",
    "x-ms-client-principal-id", "x-amzn-oidc-data", "x-amzn-oidc-identity", "x-amzn-oidc-accesstoken",
    "x-middleware-subrequest", "x-middleware-subrequest-id",
    // Not sent by a platform today, but read by widely copied "client address" code.
    "x-forwarded", "forwarded-for", "proxy-client-ip", "wl-proxy-client-ip", "x-remote-user", "x-remote-addr",
    "x-arr-clientcert", "x-appengine-user-ip", "x-envoy-external-address"};

std::string replaced(std::string text, char by) {
  for (char& c : text) {
    if (c == '-') c = by;
  }
  return text;
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

TEST(Managed, EveryNameInEveryCase) {
  for (const std::string& name : managed) {
    EXPECT_TRUE(is_managed(name)) << name;
    EXPECT_TRUE(is_managed(upper(name))) << upper(name);
    std::string title = name;
    title[0] = upper(name)[0];
    title.back() = upper(name).back();
    EXPECT_TRUE(is_managed(title)) << title;
  }
}

// CVE-2015-0219, CVE-2025-64484 and others: "X_Forwarded_For" is the same variable as X-Forwarded-For to WSGI, CGI and
// PHP, so an alias that passes overrides the proxy's own header.
TEST(Managed, EveryAliasThatServersFoldTogether) {
  for (const std::string& name : managed) {
    for (char by : {'_', '.', '!', '~', '|'}) {
      EXPECT_TRUE(is_managed(replaced(name, by))) << replaced(name, by);
      EXPECT_TRUE(is_managed(upper(replaced(name, by)))) << by << name;
    }
    std::string mixed = name;  // "x_forwarded-for"
    if (const size_t dash = mixed.find('-'); dash != mixed.npos) mixed[dash] = '_';
    EXPECT_TRUE(is_managed(mixed)) << mixed;
    mixed = name;  // "x-forwarded.for"
    if (const size_t dash = mixed.rfind('-'); dash != mixed.npos) mixed[dash] = '.';
    EXPECT_TRUE(is_managed(mixed)) << mixed;
  }
}

// Lintel mints X-Request-Id; a second spelling of it would reach a WSGI app as one value with the real one.
TEST(Managed, AliasesOfTheRequestId) {
  for (const char* name : {"x_request_id", "X-Request_Id", "X.REQUEST-ID"}) EXPECT_TRUE(is_managed(name)) << name;
  EXPECT_FALSE(is_managed("X-Request-Id"));
}

TEST(Managed, EdgesOfThePrefixes) {
  EXPECT_TRUE(is_managed("cf-"));
  EXPECT_TRUE(is_managed("CF_x"));
  EXPECT_TRUE(is_managed("fly-"));
  EXPECT_TRUE(is_managed("x-lintel-"));
  EXPECT_FALSE(is_managed("cf"));
  EXPECT_FALSE(is_managed("fly"));
  EXPECT_FALSE(is_managed("cfg-connecting-ip"));
  EXPECT_FALSE(is_managed("x-lintel"));
}

// Removing more than the set breaks apps: these carry sessions, CSRF tokens, negotiation and tracing.
TEST(Managed, OrdinaryNamesPass) {
  for (const char* name : {"",
                           "a",
                           "x",
                           "x-",
                           "cf",
                           "te",
                           "host",
                           "accept",
                           "accept-encoding",
                           "accept-language",
                           "user-agent",
                           "cookie",
                           "authorization",
                           "origin",
                           "referer",
                           "range",
                           "priority",
                           "purpose",
                           "pragma",
                           "cache-control",
                           "connection",
                           "content-type",
                           "content-length",
                           "sec-ch-ua",
                           "sec-ch-ua-platform",
                           "sec-fetch-mode",
                           "sec-websocket-key",
                           "upgrade-insecure-requests",
                           "if-none-match",
                           "x-requested-with",
                           "x-csrf-token",
                           "x-xsrf-token",
                           "x-csrftoken",
                           "x-request-id",
                           "x-amzn-trace-id",
                           "x-cloud-trace-context",
                           "x-b3-traceid",
                           "traceparent",
                           "x-api-key",
                           "x-client-id",
                           "x-client-version",
                           "x-client-ips",
                           "x-http-method-override",
                           "x-real",
                           "x-real-ipx",
                           "x-forward",
                           "x-forwarder-for",
                           "x-forwardedfor",
                           "xx-forwarded-for",
                           "x-original",
                           "x-original-title",
                           "x-original-hostname",
                           "x-rewrite",
                           "x-scheme-x",
                           "x-url",
                           "x-ssl-client",
                           "x-ssl",
                           "x-auth-token",
                           "x-auth-request",
                           "x-middleware",
                           "x-ms-client-request-id",
                           "x-goog-api-key",
                           "x-amz-date",
                           "x-vercel-id",
                           "client",
                           "client-id",
                           "client-certificate",
                           "cloudfront-viewer-country",
                           "proxy-authorization",
                           "proxy-connection",
                           "proxyx",
                           "remote-users",
                           "remote-addr",
                           "true-client",
                           "front-end",
                           "forward",
                           "forwarded-proto",
                           "from",
                           "fetch",
                           "fastly-ff",
                           "x\xc3\xa4"}) {
    EXPECT_FALSE(is_managed(name)) << name;
  }
}

// The table of a hot path is indexed with octets that a client chose.
TEST(Managed, AnyOctetIsSafe) {
  for (int octet = 0; octet < 256; ++octet) {
    const char c = static_cast<char>(octet);
    const std::string name = {'x', c, 'r', 'e', 'a', 'l', c, 'i', 'p'};
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    EXPECT_EQ(is_managed(name), !alphanumeric) << octet;
    EXPECT_FALSE(is_managed(std::string(8, c))) << octet;
  }
}

}  // namespace
}  // namespace lintel::forwarded
