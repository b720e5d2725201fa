// What a client receives (design §5): Location, Content-Location, Refresh and Set-Cookie. Pure; idempotent.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "config/config.h"
#include "http/headers.h"

namespace lintel::proxy {

// The facts that decide a rewrite. Views live as long as the request.
struct RewriteContext {
  bool https = false;              // the client's scheme
  std::string_view host;           // the client's host, lower case, no port
  std::string_view authority;      // with the port when it is not the default
  uint16_t port = 443;             // the client's
  std::string_view upstream_host;  // as in the endpoint's URL, lower case
  uint16_t upstream_port = 0;
  std::string_view sent_authority;     // that the app got instead of the public one; "" = it got that
  const config::Site* site = nullptr;  // its hosts are "our own public names"
};

// `value` of a Location, Content-Location (or the URL inside a Refresh) field: "http://" + one of our own public names
// (no port, 80, or the client's port) or the upstream's own address (any scheme) becomes the public https origin;
// everything else comes back unchanged (the same view). Only when context.https. Result lives in `arena` or is `value`.
std::string_view repair_url(std::string_view value, const RewriteContext& context, Arena& arena);
// "5; url=http://…" (quotes allowed).
std::string_view repair_refresh(std::string_view value, const RewriteContext& context, Arena& arena);

}  // namespace lintel::proxy
