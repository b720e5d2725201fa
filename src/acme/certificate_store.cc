#include "acme/certificate_store.h"

#include <openssl/bn.h>
#include <openssl/x509.h>

#include <algorithm>
#include <new>

#include "base/ip.h"
#include "base/log.h"

namespace lintel::acme {

std::string wildcard_of(std::string_view host) {
  const size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0 || IpAddress::parse(host)) return {};
  return "*" + std::string(host.substr(dot));
}

std::string serial_of(const X509* certificate) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
  char* text = number != nullptr ? BN_bn2hex(number) : nullptr;
  std::string serial = text != nullptr ? text : "";
  OPENSSL_free(text);
  BN_free(number);
  return serial;
}

CertificateStore::CertificateStore(Storage& storage, const Clock& clock, size_t loaded_count)
    : storage_(storage), clock_(clock), capacity_(loaded_count), names_(std::make_shared<Names>()) {}

void CertificateStore::set_names(std::shared_ptr<const Names> names) {
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
  ++generation_;
  // What was not there may be, under another issuer.
  for (auto entry = recent_.begin(); entry != recent_.end();) {
    if (entry->certificate != nullptr) {
      ++entry;
      continue;
    }
    by_name_.erase(entry->name);
    entry = recent_.erase(entry);
  }
}

// Null with `look`: the Storage has to be asked.
tls::CertificatePtr CertificateStore::usable(const Entry& entry, bool& look) const {
  const int64_t now_s = clock_.unix_ms() / 1000;
  if (entry.certificate != nullptr && now_s < entry.certificate->not_after_unix_s) return entry.certificate;
  look = clock_.monotonic_ms() - entry.looked_ms >= limits::acme_absent_ms;
  return nullptr;
}

tls::CertificatePtr CertificateStore::find(std::string_view sni) {
  std::string name(sni);
  std::shared_ptr<const Names> names;
  unsigned generation = 0;
  bool on_demand = false;
  {
    const std::lock_guard lock(mutex_);
    names = names_;
    generation = generation_;
    if (!names->names.contains(name)) {
      std::string wildcard = wildcard_of(name);
      if (!wildcard.empty() && names->names.contains(wildcard))
        name = std::move(wildcard);
      else
        on_demand = true;
    }
    if (const auto known = by_name_.find(name); known != by_name_.end()) {
      recent_.splice(recent_.begin(), recent_, known->second);
      bool look = false;
      if (auto certificate = usable(*known->second, look); certificate != nullptr || !look) return certificate;
    }
  }
  if (on_demand && (!names->on_demand || !names->on_demand(name))) return nullptr;
  bool damaged = false;
  tls::CertificatePtr loaded = load(name, *names, damaged);
  if (damaged && on_damaged) on_damaged(name);
  if (loaded == nullptr && on_demand) {
    // Not remembered here: strangers choose these names, and would push out the certificates that are there.
    if (on_missing) on_missing(name);
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  if (generation != generation_) return loaded;  // what was read may be old by now: the next handshake reads again
  if (loaded != nullptr) loaded = with_shared_chain(loaded, name);
  const auto known = by_name_.find(name);
  if (known == by_name_.end()) {
    recent_.push_front({name, loaded, clock_.monotonic_ms(), generation});
    by_name_[name] = recent_.begin();
  } else {
    *known->second = {name, loaded, clock_.monotonic_ms(), generation};
  }
  if (recent_.size() > capacity_) {
    by_name_.erase(recent_.back().name);
    recent_.pop_back();
  }
  return loaded;
}

// Of the issuers' certificates for the name the one that is valid longest.
tls::CertificatePtr CertificateStore::load(const std::string& name, const Names& names, bool& damaged) {
  tls::CertificatePtr best;
  for (const std::string& issuer : names.issuers) {
    auto bundle = storage_.load("certificates/" + issuer + "/" + name);
    if (!bundle) {
      damaged |= bundle.error().code == ErrorCode::certificate_invalid;
      if (bundle.error().code != ErrorCode::not_found)
        log::error("certificate of {}: {}", name, bundle.error().message);
      continue;
    }
    std::string& key = (*bundle)["key.pem"];
    auto parsed = tls::parse_certificate((*bundle)["cert.pem"], key, name);
    OPENSSL_cleanse(key.data(), key.size());
    if (!parsed) {
      log::error("certificate of {}: {}", name, parsed.error().message);
      continue;
    }
    if (best == nullptr || best->not_after_unix_s < (*parsed)->not_after_unix_s) best = std::move(*parsed);
  }
  if (best != nullptr && best->not_after_unix_s <= clock_.unix_ms() / 1000) return nullptr;
  return best;
}

X509* CertificateStore::shared_chain_certificate(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return certificate;
  const std::string key(reinterpret_cast<char*>(digest), size);
  auto known = intermediates_.find(key);
  if (known != intermediates_.end()) return known->second.get();
  if (intermediates_.size() >= limits::acme_shared_intermediates_count) intermediates_.clear();
  X509_up_ref(certificate);
  intermediates_[key] = std::shared_ptr<X509>(certificate, X509_free);
  return certificate;
}

// Thousands of leaves have the same few intermediates; a copy of each would double what a certificate takes.
tls::CertificatePtr CertificateStore::with_shared_chain(const tls::CertificatePtr& loaded, const std::string& name) {
  auto made = std::make_shared<tls::Certificate>();
  X509_up_ref(loaded->leaf);
  EVP_PKEY_up_ref(loaded->key);
  made->leaf = loaded->leaf;
  made->key = loaded->key;
  made->chain = sk_X509_new_null();
  for (int i = 0; i < sk_X509_num(loaded->chain); ++i) {
    X509* one = shared_chain_certificate(sk_X509_value(loaded->chain, i));
    if (X509_add_cert(made->chain, one, X509_ADD_FLAG_UP_REF) != 1) throw std::bad_alloc();
  }
  made->names = loaded->names;
  made->not_after_unix_s = loaded->not_after_unix_s;
  made->not_before_unix_s = loaded->not_before_unix_s;
  made->self_signed = loaded->self_signed;
  if (const auto staple = staples_.find(name);
      staple != staples_.end() && staple->second.serial == serial_of(made->leaf)) {
    made->ocsp_response = staple->second.response;
    made->ocsp_until_unix_s = staple->second.until_unix_s;
  }
  return made;
}

void CertificateStore::changed(const std::string& name) {
  const std::lock_guard lock(mutex_);
  ++generation_;
  staples_.erase(name);
  const auto known = by_name_.find(name);
  if (known == by_name_.end()) return;
  recent_.erase(known->second);
  by_name_.erase(known);
}

void CertificateStore::staple(const std::string& name, std::string serial, std::string response, int64_t until_unix_s) {
  const std::lock_guard lock(mutex_);
  staples_[name] = {std::move(serial), std::move(response), until_unix_s};
  const auto known = by_name_.find(name);
  if (known == by_name_.end() || known->second->certificate == nullptr) return;
  known->second->certificate = with_shared_chain(known->second->certificate, name);
}

size_t CertificateStore::loaded() const {
  const std::lock_guard lock(mutex_);
  return recent_.size();
}

}  // namespace lintel::acme
