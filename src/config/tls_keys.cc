// What a site asks of the TLS connections to it: client_certificates and tls_policy.
#include <fmt/format.h>

#include "config/site_tables.h"

namespace lintel::config {
namespace {

bool read_ca(Context& context, const toml::node& node, SiteDraft& draft) {
  if (auto path = read_file_path(context, node, "ca"); path.has_value()) {
    draft.site.client_certificates.ca_file = std::move(*path);
  }
  return true;
}

bool read_mode(Context& context, const toml::node& node, SiteDraft& draft) {
  using Mode = ClientCertificates::Mode;
  static constexpr Choice<Mode> choices[] = {{"require", Mode::require}, {"request", Mode::request}};
  const auto text = read_text(context, node, "mode");
  if (!text.has_value()) return true;
  draft.site.client_certificates.mode = read_choice(context, *text, "mode", choices).value_or(Mode::require);
  return true;
}

constexpr Key<SiteDraft> client_certificate_keys[] = {
    {{"site.client_certificates", "ca", "path", "required", true}, read_ca},
    {{"site.client_certificates", "mode", "string", "\"require\"", true}, read_mode},
};

}  // namespace

bool read_client_certificates(Context& context, const toml::node& node, SiteDraft& draft) {
  const toml::table* table = read_table_node(context, node, "client_certificates");
  if (table == nullptr || table->empty()) return true;
  draft.site.client_certificates.mode = ClientCertificates::Mode::require;
  Seen seen;
  read_table<SiteDraft>(context, *table, client_certificate_keys, draft, seen);
  if (!seen.contains("ca")) {
    context.report.error(where_of(context, node),
                         "client_certificates needs \"ca\": the file of the authorities whose certificates count");
  }
  return true;
}

bool read_tls_policy(Context& context, const toml::node& node, SiteDraft& draft) {
  static constexpr Choice<TlsPolicy> choices[] = {{"intermediate", TlsPolicy::intermediate},
                                                  {"modern", TlsPolicy::modern}};
  const auto text = read_text(context, node, "tls_policy");
  if (!text.has_value()) return true;
  draft.site.tls_policy = read_choice(context, *text, "tls_policy", choices).value_or(draft.site.tls_policy);
  return true;
}

void add_tls_keys(std::vector<KeyInfo>& all) {
  for (const auto& key : client_certificate_keys) all.push_back(key.info);
}

}  // namespace lintel::config
