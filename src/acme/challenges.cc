#include "acme/challenges.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/ip.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

using nlohmann::json;

bool is_token(std::string_view text) {
  return !text.empty() && text.size() <= limits::acme_token_bytes && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

// A token is any base64url text; a key's segment may not begin with every one.
std::string http_key(std::string_view token) { return fmt::format("challenges/http-01/t-{}", token); }
std::string tls_key(std::string_view name) { return fmt::format("challenges/tls-alpn-01/{}", name); }

std::string file_of(const Challenge& challenge) {
  return json{{"host", challenge.host},
              {"key_authorization", challenge.key_authorization},
              {"created_unix_s", std::time(nullptr)}}
             .dump(2) +
         "\n";
}

}  // namespace

std::string tls_alpn_name(const std::string& host) {
  const auto ip = IpAddress::parse(host);
  if (!ip) return host;
  const auto& octets = ip->octets();
  if (ip->is_v4()) return fmt::format("{}.{}.{}.{}.in-addr.arpa", octets[3], octets[2], octets[1], octets[0]);
  std::string name;
  for (size_t i = octets.size(); i-- > 0;) name += fmt::format("{:x}.{:x}.", octets[i] & 15, octets[i] >> 4);
  return name + "ip6.arpa";
}

Outcome<void> Challenges::add(const Challenge& challenge) {
  const Bundle bundle = {{"challenge.json", file_of(challenge)}};
  if (challenge.type == ChallengeType::http_01) {
    if (!is_token(challenge.token)) {
      return fail(ErrorCode::acme_protocol, "the issuer's challenge has a token that is none (RFC 8555 §8.3)");
    }
    {
      const std::lock_guard lock(mutex_);
      tokens_[challenge.token] = challenge.key_authorization;
    }
    return storage_.store(http_key(challenge.token), bundle);
  }
  const std::string name = tls_alpn_name(challenge.host);
  tls::CertificatePtr certificate = tls::make_challenge_certificate(challenge.host, challenge.key_authorization);
  if (certificate == nullptr) return fail(ErrorCode::internal, "cannot make a certificate for tls-alpn-01");
  {
    const std::lock_guard lock(mutex_);
    certificates_[name] = std::move(certificate);
  }
  return storage_.store(tls_key(name), bundle);
}

void Challenges::remove(const Challenge& challenge) {
  const bool http = challenge.type == ChallengeType::http_01;
  const std::string name = tls_alpn_name(challenge.host);
  {
    const std::lock_guard lock(mutex_);
    if (http)
      tokens_.erase(challenge.token);
    else
      certificates_.erase(name);
  }
  if (http && !is_token(challenge.token)) return;
  const auto removed = storage_.remove(http ? http_key(challenge.token) : tls_key(name));
  if (!removed && removed.error().code != ErrorCode::not_found) log::warn("{}", removed.error().message);
}

void Challenges::clean_old(int64_t now_unix_s) {
  for (const char* folder : {"challenges/http-01", "challenges/tls-alpn-01"}) {
    const auto keys = storage_.list(folder);
    if (!keys) continue;
    for (const std::string& key : *keys) {
      const auto text = storage_.load_file(key, "challenge.json");
      const json parsed = text ? json::parse(*text, nullptr, false) : json();
      const int64_t created = parsed.is_object() ? parsed.value("created_unix_s", int64_t{0}) : 0;
      if (now_unix_s - created > limits::acme_challenge_kept_s) static_cast<void>(storage_.remove(key));
    }
  }
}

std::optional<std::string> Challenges::stored(const std::string& key) {
  const auto text = storage_.load_file(key, "challenge.json");
  if (!text) return std::nullopt;
  const json parsed = json::parse(*text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  const auto value = parsed.find("key_authorization");
  if (value == parsed.end() || !value->is_string()) return std::nullopt;
  return value->get<std::string>();
}

std::optional<std::string> Challenges::http_answer(std::string_view token) {
  if (!is_token(token)) return std::nullopt;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = tokens_.find(token); known != tokens_.end()) return known->second;
  }
  return stored(http_key(token));
}

tls::CertificatePtr Challenges::tls_answer(std::string_view sni) {
  std::string name;
  if (!tls::normalise_sni(sni, name)) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = certificates_.find(name); known != certificates_.end()) return known->second;
  }
  const auto text = storage_.load_file(tls_key(name), "challenge.json");
  const json parsed = text ? json::parse(*text, nullptr, false) : json();
  if (!parsed.is_object() || !parsed.contains("host") || !parsed.contains("key_authorization")) return nullptr;
  if (!parsed["host"].is_string() || !parsed["key_authorization"].is_string()) return nullptr;
  return tls::make_challenge_certificate(parsed["host"], parsed["key_authorization"].get<std::string>());
}

}  // namespace lintel::acme
