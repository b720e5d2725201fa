// The keys that protect a site or a route: limits, basic_auth, auth_request.
#pragma once

#include "config/draft.h"

namespace lintel::config {

bool read_limits(Context& context, const toml::node& node, SiteDraft& draft);
bool read_route_limits(Context& context, const toml::node& node, RouteDraft& draft);
bool read_basic_auth(Context& context, const toml::node& node, RouteDraft& draft);
bool read_auth_request(Context& context, const toml::node& node, RouteDraft& draft);
void add_protection_keys(std::vector<KeyInfo>& all);

}  // namespace lintel::config
