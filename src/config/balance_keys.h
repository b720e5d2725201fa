#pragma once

#include "config/draft.h"

namespace lintel::config {

bool read_balance(Context& context, const toml::node& node, SiteDraft& draft);
bool read_health(Context& context, const toml::node& node, SiteDraft& draft);
void add_health_keys(std::vector<KeyInfo>& all);

}  // namespace lintel::config
