// The tables inside [[site]]: certificate, hsts, cookies, headers.
#pragma once

#include "config/draft.h"

namespace lintel::config {

bool read_certificate(Context& context, const toml::node& node, SiteDraft& draft);
bool read_hsts(Context& context, const toml::node& node, SiteDraft& draft);
bool read_cookies(Context& context, const toml::node& node, SiteDraft& draft);
bool read_headers(Context& context, const toml::node& node, SiteDraft& draft);
bool read_client_certificates(Context& context, const toml::node& node, SiteDraft& draft);
bool read_tls_policy(Context& context, const toml::node& node, SiteDraft& draft);
void add_tls_keys(std::vector<KeyInfo>& all);
void add_site_table_keys(std::vector<KeyInfo>& all);

}  // namespace lintel::config
