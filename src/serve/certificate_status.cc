#include "serve/certificate_status.h"

#include <algorithm>
#include <map>

#include "acme/schedule.h"
#include "tls/context.h"

namespace lintel::serve {
namespace {

std::string last_of(const std::string& key) { return key.substr(key.rfind('/') + 1); }

void add_certificate(acme::Storage& storage, const std::string& issuer, const std::string& key, int64_t now_s,
                     acme::CertificateStatus& to) {
  const auto pem = storage.load_file(key, "cert.pem");
  const auto private_key = storage.load_file(key, "key.pem");
  if (!pem || !private_key) return;
  const auto parsed = tls::parse_certificate(*pem, *private_key, key);
  if (!parsed || to.not_after_unix_s >= (*parsed)->not_after_unix_s) return;
  to.issuer = issuer;
  to.not_before_unix_s = (*parsed)->not_before_unix_s;
  to.not_after_unix_s = (*parsed)->not_after_unix_s;
  to.state = to.not_after_unix_s <= now_s ? "expired" : "valid";
}

}  // namespace

nlohmann::json to_json(const std::vector<acme::CertificateStatus>& all) {
  nlohmann::json list = nlohmann::json::array();
  for (const acme::CertificateStatus& one : all) {
    list.push_back({{"name", one.name},
                    {"issuer", one.issuer},
                    {"state", one.state},
                    {"not_before_unix_s", one.not_before_unix_s},
                    {"not_after_unix_s", one.not_after_unix_s},
                    {"next_try_unix_s", one.next_try_unix_s},
                    {"failures", one.failures},
                    {"last_error", one.last_error},
                    {"last_error_code", one.last_error_code},
                    {"on_demand", one.on_demand}});
  }
  return list;
}

std::vector<acme::CertificateStatus> stored_status(acme::Storage& storage, int64_t now_unix_s) {
  std::map<std::string, acme::CertificateStatus> found;
  const std::vector<std::string> none;
  const auto issuers = storage.list("certificates");
  for (const std::string& issuer : issuers ? *issuers : none) {
    const auto keys = storage.list(issuer);
    for (const std::string& key : keys ? *keys : none) {
      add_certificate(storage, last_of(issuer), key, now_unix_s, found[last_of(key)]);
    }
  }
  const auto records = storage.list("status");
  for (const std::string& key : records ? *records : none) {
    const auto text = storage.load_file(key, "status.json");
    const auto record = text ? acme::NameRecord::from_json(*text) : std::nullopt;
    if (!record) continue;
    acme::CertificateStatus& one = found[last_of(key)];
    one.failures = record->failures;
    one.last_error = record->last_error;
    one.last_error_code = record->last_error_code;
    one.next_try_unix_s = record->next_try_unix_s;
    if (one.not_after_unix_s == 0) continue;
    const int64_t usual = acme::renewal_time(one.not_before_unix_s, one.not_after_unix_s, last_of(key));
    const int64_t wanted = record->ari_moment_unix_s != 0 ? record->ari_moment_unix_s : usual;
    one.next_try_unix_s = std::max(wanted, one.next_try_unix_s);
  }
  std::vector<acme::CertificateStatus> all;
  for (auto& [name, one] : found) {
    one.name = name;
    if (one.state.empty()) one.state = "missing";
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace lintel::serve
