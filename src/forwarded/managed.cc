#include "forwarded/managed.h"

#include <array>

namespace lintel::forwarded {
namespace {

// Letters in lower case, digits as they are, everything else '-'. WSGI and CGI servers fold '-' and '_' (some also '.'
// or every other octet) into one '_', so all of these spell the same variable to the app.
constexpr auto fold = [] {
  std::array<char, 256> table{};
  for (size_t octet = 0; octet < 256; ++octet) {
    const char c = static_cast<char>(octet);
    if (c >= 'A' && c <= 'Z') {
      table[octet] = static_cast<char>(c + ('a' - 'A'));
    } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
      table[octet] = c;
    } else {
      table[octet] = '-';
    }
  }
  return table;
}();

inline char folded(std::string_view name, size_t at) noexcept { return fold[static_cast<unsigned char>(name[at])]; }

// Does `name` begin with `prefix`, which is folded already?
inline bool begins(std::string_view name, std::string_view prefix) noexcept {
  if (name.size() < prefix.size()) return false;
  for (size_t i = 0; i < prefix.size(); ++i) {
    if (folded(name, i) != prefix[i]) return false;
  }
  return true;
}

inline bool is(std::string_view name, std::string_view whole) noexcept {
  return name.size() == whole.size() && begins(name, whole);
}

bool is_managed_original(std::string_view name) noexcept {
  constexpr std::string_view prefix = "x-original-";
  if (!begins(name, prefix)) return false;
  name.remove_prefix(prefix.size());
  return is(name, "for") || is(name, "host") || is(name, "proto") || is(name, "url") || is(name, "uri") ||
         is(name, "method") || is(name, "forwarded-for");
}

// `name` begins with "x-" once folded and has at least one octet more.
bool is_managed_x(std::string_view name) noexcept {
  switch (folded(name, 2)) {
    case 'a':
      return begins(name, "x-auth-request-") || begins(name, "x-amzn-oidc-") || is(name, "x-azure-clientip") ||
             is(name, "x-azure-socketip") || is(name, "x-arr-ssl") || is(name, "x-arr-clientcert") ||
             begins(name, "x-appengine-");
    case 'c':
      return is(name, "x-client-ip") || is(name, "x-cluster-client-ip");
    case 'e':
      return is(name, "x-envoy-external-address");
    case 'f':
      return begins(name, "x-forwarded") && (name.size() == 11 || folded(name, 11) == '-');
    case 'g':
      return begins(name, "x-goog-iap-");
    case 'l':
      return begins(name, "x-lintel-");
    case 'm':
      return begins(name, "x-ms-client-principal") || begins(name, "x-middleware-subrequest");
    case 'o':
      return is_managed_original(name);
    case 'r':
      // X-Request-Id itself is the caller's to decide on; an alias of it would be merged with the one that is sent.
      if (is(name, "x-request-id")) return name[1] != '-' || name[9] != '-';
      return is(name, "x-real-ip") || is(name, "x-rewrite-url") || begins(name, "x-remote-user") ||
             is(name, "x-remote-addr");
    case 's':
      return is(name, "x-scheme") || begins(name, "x-ssl-client-");
    case 'u':
      return is(name, "x-url-scheme");
    case 'v':
      return is(name, "x-vercel-forwarded-for");
    case 'w':
      return is(name, "x-webauth-user");
    default:
      return false;
  }
}

}  // namespace

std::string folded_name(std::string_view name) {
  std::string text(name.size(), '\0');
  for (size_t i = 0; i < name.size(); ++i) text[i] = folded(name, i);
  return text;
}

bool folds_to(std::string_view name, std::string_view wanted) noexcept { return is(name, wanted); }

bool is_managed(std::string_view name) noexcept {
  if (name.size() < 4) return begins(name, "cf-");
  switch (folded(name, 0)) {
    case 'c':
      return begins(name, "cf-") || is(name, "client-ip") || is(name, "client-cert") || is(name, "client-cert-chain") ||
             is(name, "cloudfront-forwarded-proto");
    case 'f':
      return is(name, "forwarded") || is(name, "forwarded-for") || begins(name, "fly-") ||
             is(name, "front-end-https") || is(name, "fastly-client-ip");
    case 'p':
      // "Proxy" becomes HTTP_PROXY in a CGI environment, where HTTP libraries look for a proxy.
      return is(name, "proxy") || is(name, "proxy-client-ip");
    case 'r':
      return is(name, "remote-user");
    case 't':
      return is(name, "true-client-ip");
    case 'w':
      return is(name, "wl-proxy-client-ip");
    case 'x':
      return folded(name, 1) == '-' && is_managed_x(name);
    default:
      return false;
  }
}

}  // namespace lintel::forwarded
