// Leaves: of the local CA, self-signed, and minted on demand.
#include <algorithm>
#include <array>
#include <ctime>
#include <optional>

#include "base/limits.h"
#include "base/log.h"
#include "tls/local_ca.h"
#include "tls/x509_build.h"

namespace lintel::tls {
namespace {

constexpr int64_t day_s = 24 * 3600;

// Single labels that no public registry delegates, and so may be permitted as a whole.
constexpr std::array<std::string_view, 11> private_labels = {
    "internal", "intranet", "private", "corp", "home", "lan", "local", "localdomain", "example", "invalid", "alt"};

// The name as it goes into the certificate; nullopt when it is none.
std::optional<std::string> certificate_name(std::string_view name) {
  if (const auto ip = IpAddress::parse(name)) return ip->text();
  const bool wildcard = name.starts_with("*.");
  std::string plain;
  if (!normalise_sni(wildcard ? name.substr(2) : name, plain)) return std::nullopt;
  // All digits at the end would be an IPv4 address that did not parse (RFC 1123 §2.1).
  const std::string_view last = std::string_view(plain).substr(plain.rfind('.') + 1);
  if (std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  return wildcard ? "*." + plain : plain;
}

Outcome<std::vector<std::string>> certificate_names(const std::vector<std::string>& names) {
  if (names.empty() || names.size() > limits::certificate_names_count) {
    return fail(ErrorCode::usage, fmt::format("cannot make a certificate for {} names; give 1 to {}", names.size(),
                                              limits::certificate_names_count));
  }
  std::vector<std::string> clean;
  for (const auto& name : names) {
    auto one = certificate_name(name);
    if (!one) {
      return fail(ErrorCode::usage, fmt::format("cannot make a certificate for {}: it is no host name or IP address; "
                                                "write it like app.test, *.app.test or 127.0.0.1",
                                                log::escape(name)));
    }
    if (std::ranges::find(clean, *one) == clean.end()) clean.push_back(std::move(*one));
  }
  return clean;
}

}  // namespace

std::string extra_name_problem(std::string_view name) {
  if (IpAddress::parse(name)) return {};
  auto clean = certificate_name(name);
  if (!clean) return "it is no domain name or IP address";
  if (clean->starts_with("*.")) clean->erase(0, 2);
  if (clean->find('.') != std::string::npos) return {};
  if (*clean == "localhost" || *clean == "test") return {};
  if (std::ranges::find(private_labels, *clean) != private_labels.end()) return {};
  return "that is every site below a top-level domain";
}

Outcome<std::vector<std::string>> LocalCa::checked_names(const LeafRequest& request) const {
  if (request.days == 0 || request.days > limits::local_leaf_days) {
    return fail(ErrorCode::usage, fmt::format("cannot make a certificate for {} days; give 1 to {}", request.days,
                                              limits::local_leaf_days));
  }
  auto names = certificate_names(request.names);
  if (!names) return names;
  for (const auto& name : *names) {
    if (permits(name)) continue;
    const std::string_view plain = name.starts_with("*.") ? std::string_view(name).substr(2) : std::string_view(name);
    return fail(ErrorCode::certificate_invalid,
                fmt::format("cannot make a certificate for {}: the local CA may not sign for it; run `lintel trust "
                            "install --name {}`",
                            name, plain));
  }
  return names;
}

Outcome<CertificatePtr> LocalCa::issue(const LeafRequest& request) const {
  auto names = checked_names(request);
  if (!names) return std::unexpected(names.error());
  const int64_t now = std::time(nullptr);
  const Validity validity = {now - limits::backdate_s, std::min(now + request.days * day_s, not_after_unix_s())};
  KeyPtr key = generate_key(request.key == KeyKind::rsa);
  X509Ptr leaf = make_leaf(*names, validity, key.get(), intermediate_->leaf, intermediate_->key);
  return assemble(std::move(leaf), std::move(key), {intermediate_->leaf});
}

Outcome<LocalCa::Pem> LocalCa::issue_pem(const LeafRequest& request) const {
  auto issued = issue(request);
  if (!issued) return std::unexpected(issued.error());
  return Pem{to_pem((*issued)->leaf) + intermediate_pem_, to_pem((*issued)->key)};
}

Outcome<CertificatePtr> make_self_signed(const std::vector<std::string>& names, unsigned days) {
  auto clean = certificate_names(names);
  if (!clean) return std::unexpected(clean.error());
  const int64_t now = std::time(nullptr);
  KeyPtr key = generate_key(false);
  X509Ptr leaf = make_leaf(*clean, {now - limits::backdate_s, now + days * day_s}, key.get(), nullptr, key.get());
  return assemble(std::move(leaf), std::move(key), {});
}

CertificatePtr make_challenge_certificate(const std::string& host, std::string_view key_authorization) {
  std::array<uint8_t, 32> digest{};
  size_t size = 0;
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, key_authorization.data(), key_authorization.size(), digest.data(),
                   &size) != 1) {
    return nullptr;
  }
  const int64_t now = std::time(nullptr);
  KeyPtr key = generate_key(false);
  X509Ptr leaf = make_challenge_leaf(host, digest, {now - limits::backdate_s, now + 7 * day_s}, key.get());
  return assemble(std::move(leaf), std::move(key), {});
}

MintingSource::MintingSource(std::shared_ptr<const LocalCa> ca, std::function<bool(std::string_view)> allowed)
    : ca_(std::move(ca)), allowed_(std::move(allowed)) {}

CertificatePtr MintingSource::find(std::string_view sni) {
  const auto ip = IpAddress::parse(sni);
  const bool loopback = sni.empty() || (ip && ip->is_loopback());
  const std::string name = loopback ? "127.0.0.1" : std::string(sni);
  if (!allowed_(name)) return nullptr;
  const std::lock_guard lock(mutex_);
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    recent_.splice(recent_.begin(), recent_, known->second);
    const CertificatePtr& cached = known->second->second;
    if (cached->not_after_unix_s - limits::minted_renew_s > std::time(nullptr)) return cached;
    recent_.pop_front();
    by_name_.erase(known);
  }
  LeafRequest request;
  request.names = loopback ? std::vector<std::string>{"localhost", "127.0.0.1", "::1"} : std::vector<std::string>{name};
  request.days = limits::local_leaf_days;
  auto issued = ca_->issue(request);
  if (!issued) {
    log::warn("{}", issued.error().message);
    return nullptr;
  }
  recent_.emplace_front(name, *issued);
  by_name_[name] = recent_.begin();
  if (recent_.size() > limits::minted_certificates_count) {
    by_name_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return *issued;
}

}  // namespace lintel::tls
