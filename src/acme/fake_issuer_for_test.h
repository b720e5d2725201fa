// An ACME issuer in memory, with a certificate authority, and storage to go with it. It checks what a real one checks:
// signatures, nonces, URLs. Faults are put in front of it by the test.
#pragma once

#include <fmt/format.h>
#include <openssl/x509.h>

#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "acme/client.h"
#include "acme/jose.h"
#include "tls/x509_build.h"

namespace lintel::acme::testing_support {

using Json = nlohmann::json;

class MemoryStorage final : public Storage {
 public:
  Outcome<Bundle> load(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    if (!bundles.contains(key)) return fail(ErrorCode::not_found, "no " + key);
    return bundles[key];
  }
  Outcome<void> store(const std::string& key, const Bundle& bundle) override {
    const std::lock_guard lock(mutex_);
    if (read_only) return fail(ErrorCode::io_error, "the disk is full");
    bundles[key] = bundle;
    return {};
  }
  Outcome<void> remove(const std::string&) override { return {}; }
  Outcome<std::vector<std::string>> list(const std::string&) override { return std::vector<std::string>{}; }
  Outcome<std::unique_ptr<StorageLock>> try_lock(const std::string& key) override {
    struct Held : StorageLock {
      ~Held() override {
        const std::lock_guard lock(owner->mutex_);
        owner->locks_.erase(key);
      }
      MemoryStorage* owner = nullptr;
      std::string key;
    };
    const std::lock_guard lock(mutex_);
    if (!locks_.insert(key).second) return std::unique_ptr<StorageLock>();
    auto held = std::make_unique<Held>();
    held->owner = this;
    held->key = key;
    return std::unique_ptr<StorageLock>(std::move(held));
  }
  Outcome<void> probe() override { return {}; }

  std::map<std::string, Bundle> bundles;
  bool read_only = false;

 private:
  std::mutex mutex_;
  std::set<std::string> locks_;
};

// What one request said.
struct Seen {
  std::string method, path;
  Json header, payload;  // of a POST
  TimeMs at = 0;
};

struct FakeOrder {
  std::vector<std::string> names;
  std::string status = "pending";
  std::vector<int> authorizations;
  std::string certificate;
  Json error;
};
struct FakeAuthorization {
  std::string host, status = "pending", challenge_error;
  bool wildcard = false;
  std::string tried;
};

class FakeIssuer {
 public:
  using Reply = Outcome<fetch::Response>;
  explicit FakeIssuer(MemoryStorage& s) : storage(s) {
    root_key_ = tls::generate_key(false);
    root_ =
        tls::make_authority({"Fake root", 1, {"test"}, {0, 4'000'000'000}}, root_key_.get(), nullptr, root_key_.get());
  }

  Reply answer(const fetch::Request& request, TimeMs now) {
    Seen one = read(request);
    one.at = now;
    seen.push_back(one);
    if (intercept) {
      if (auto faulty = intercept(one)) return *faulty;
    }
    if (request.method == "POST") {
      if (auto refused = check(request, one)) return *refused;
    }
    return respond(one);
  }

  static fetch::Response reply(uint16_t status, const Json& body,
                               std::vector<std::pair<std::string, std::string>> f = {}) {
    return {status, std::move(f), body.dump()};
  }
  static fetch::Response problem(uint16_t status, const std::string& type, const std::string& detail,
                                 std::vector<std::pair<std::string, std::string>> fields = {}) {
    return reply(status, {{"type", "urn:ietf:params:acme:error:" + type}, {"detail", detail}}, std::move(fields));
  }
  size_t count(const std::string& path) const {
    return static_cast<size_t>(
        std::ranges::count_if(seen, [&](const Seen& one) { return one.path.starts_with(path); }));
  }

  MemoryStorage& storage;
  std::vector<Seen> seen;
  std::function<std::optional<Reply>(const Seen&)> intercept;
  Json meta = Json::object();
  bool has_renewal_info = false;
  bool reuse_orders = false;            // newOrder gives the last one as it stands
  bool authorizations_valid = false;    // from the beginning
  std::set<std::string> failing_types;  // challenges that do not succeed
  std::string account_url = "https://ca.test/account/1";
  std::string known_key;  // thumbprint of the account's; "" = no account
  bool deactivated = false;
  std::string csr_der;
  std::vector<FakeOrder> orders;
  std::vector<FakeAuthorization> authorizations;
  std::vector<std::string> complaints;  // what a client must not do

 private:
  Seen read(const fetch::Request& request) const {
    Seen one{request.method, request.url.substr(std::string_view("https://ca.test").size()), {}, {}, 0};
    if (request.method != "POST") return one;
    const Json jws = Json::parse(request.body);
    one.header = Json::parse(*from_base64url(jws["protected"].get<std::string>()));
    const std::string payload = *from_base64url(jws["payload"].get<std::string>());
    if (!payload.empty()) one.payload = Json::parse(payload);
    return one;
  }
  Key stored_key() const {
    const auto at = storage.bundles.find("accounts/ca");
    return at == storage.bundles.end() ? nullptr : key_from_pem(at->second.at("key.pem"));
  }
  static bool signature_fits(const fetch::Request& request, EVP_PKEY* key) {
    const Json jws = Json::parse(request.body);
    const std::string text = jws["protected"].get<std::string>() + "." + jws["payload"].get<std::string>();
    const std::string raw = *from_base64url(jws["signature"].get<std::string>());
    if (raw.size() != 64) return false;
    const auto* octets = reinterpret_cast<const unsigned char*>(raw.data());
    ECDSA_SIG* signature = ECDSA_SIG_new();
    ECDSA_SIG_set0(signature, BN_bin2bn(octets, 32, nullptr), BN_bin2bn(octets + 32, 32, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(signature, &der);
    ECDSA_SIG_free(signature);
    EVP_MD_CTX* digest = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(digest, nullptr, EVP_sha256(), nullptr, key);
    const bool fits = EVP_DigestVerify(digest, der, static_cast<size_t>(size),
                                       reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
    EVP_MD_CTX_free(digest);
    OPENSSL_free(der);
    return fits;
  }
  std::optional<Reply> check(const fetch::Request& request, const Seen& one) {
    const Key key = stored_key();
    if (key == nullptr) {
      complaints.push_back("a key was used before it was kept");
      return problem(400, "malformed", "no key");
    }
    if (!signature_fits(request, key.get())) complaints.push_back("a signature does not fit the key that is kept");
    if (one.header["url"] != request.url || one.header["alg"] != "ES256") complaints.push_back("a wrong JWS header");
    if (nonces_.erase(one.header["nonce"].get<std::string>()) == 0)
      return problem(400, "badNonce", "that nonce is not known", {nonce()});
    if (one.path == "/new-account") return std::nullopt;
    if (known_key.empty() || one.header["kid"] != account_url)
      return problem(400, "accountDoesNotExist", "no such account", {nonce()});
    if (deactivated || known_key != thumbprint(key.get()))
      return problem(403, "unauthorized", "the account is deactivated", {nonce()});
    return std::nullopt;
  }
  std::pair<std::string, std::string> nonce() {
    const std::string made = "nonce-" + std::to_string(++nonce_count_);
    nonces_.insert(made);
    return {"replay-nonce", made};
  }

  Reply respond(const Seen& one) {
    const std::string& path = one.path;
    if (path == "/directory") return directory();
    if (path == "/new-nonce") return fetch::Response{200, {nonce()}, ""};
    if (path == "/new-account") return new_account(one);
    if (path == "/new-order") return new_order(one);
    const size_t number = static_cast<size_t>(std::stoul(path.substr(path.find_last_of('/') + 1)));
    if (path.starts_with("/order/")) return order_reply(200, number);
    if (path.starts_with("/authz/")) return reply(200, authorization_json(number), {nonce()});
    if (path.starts_with("/challenge/")) return challenge(path, number);
    if (path.starts_with("/finalize/")) return finalize(one, number);
    if (path.starts_with("/certificate/")) return fetch::Response{200, {nonce()}, orders[number].certificate};
    return problem(404, "malformed", "no such place");
  }
  Reply directory() {
    Json body = {{"newNonce", "https://ca.test/new-nonce"},
                 {"newAccount", "https://ca.test/new-account"},
                 {"newOrder", "https://ca.test/new-order"},
                 {"revokeCert", "https://ca.test/revoke"},
                 {"meta", meta}};
    if (has_renewal_info) body["renewalInfo"] = "https://ca.test/ari";
    return reply(200, body);
  }
  Reply new_account(const Seen& one) {
    const std::string print = base64url(sha256(one.header["jwk"].dump()));
    const bool known = known_key == print;
    if (known && deactivated) return problem(403, "unauthorized", "the account is deactivated", {nonce()});
    if (!known && one.payload.contains("onlyReturnExisting"))
      return problem(400, "accountDoesNotExist", "no such account", {nonce()});
    if (!known) {
      if (!known_key.empty()) account_url += "1";
      known_key = print;
      deactivated = false;
    }
    return reply(known ? 200 : 201, {{"status", "valid"}}, {nonce(), {"location", account_url}});
  }
  Reply new_order(const Seen& one) {
    if (!reuse_orders || orders.empty()) {
      FakeOrder order;
      for (const Json& identifier : one.payload["identifiers"]) {
        std::string host = identifier["value"];
        order.names.push_back(host);
        FakeAuthorization authorization;
        authorization.wildcard = host.starts_with("*.");
        authorization.host = authorization.wildcard ? host.substr(2) : host;
        if (authorizations_valid) authorization.status = "valid";
        order.authorizations.push_back(static_cast<int>(authorizations.size()));
        authorizations.push_back(authorization);
      }
      orders.push_back(order);
    }
    return order_reply(201, orders.size() - 1);
  }
  Json authorization_json(size_t number) {
    const FakeAuthorization& one = authorizations[number];
    Json challenges = Json::array();
    for (const char* type : {"http-01", "tls-alpn-01", "dns-01", "dns-persist-01"}) {
      Json challenge = {{"type", type},
                        {"url", fmt::format("https://ca.test/challenge/{}/{}", type, number)},
                        {"token", fmt::format("token-{}", number)},
                        {"status", "pending"}};
      if (one.tried == type) {
        challenge["status"] = one.status;
        if (one.status == "invalid")
          challenge["error"] = {{"type", "urn:ietf:params:acme:error:connection"}, {"detail", "nobody answered"}};
      }
      challenges.push_back(challenge);
    }
    return {{"status", one.status},
            {"identifier", {{"type", "dns"}, {"value", one.host}}},
            {"wildcard", one.wildcard},
            {"challenges", challenges}};
  }
  Reply challenge(const std::string& path, size_t number) {
    FakeAuthorization& one = authorizations[number];
    one.tried = path.substr(11, path.find('/', 11) - 11);
    one.status = failing_types.contains(one.tried) ? "invalid" : "valid";
    return reply(200, {{"status", "processing"}}, {nonce()});
  }
  Reply order_reply(uint16_t status, size_t number) {
    FakeOrder& order = orders[number];
    Json urls = Json::array();
    bool all_valid = true, any_invalid = false;
    for (const int at : order.authorizations) {
      urls.push_back(fmt::format("https://ca.test/authz/{}", at));
      const std::string& state = authorizations[static_cast<size_t>(at)].status;
      all_valid = all_valid && state == "valid";
      any_invalid = any_invalid || state == "invalid";
    }
    if (order.status == "pending" && any_invalid) order.status = "invalid";
    if (order.status == "pending" && all_valid) order.status = "ready";
    Json body = {{"status", order.status},
                 {"authorizations", urls},
                 {"finalize", fmt::format("https://ca.test/finalize/{}", number)}};
    if (order.status == "valid") body["certificate"] = fmt::format("https://ca.test/certificate/{}", number);
    if (!order.error.is_null()) body["error"] = order.error;
    Reply made = reply(status, body, {nonce(), {"location", fmt::format("https://ca.test/order/{}", number)}});
    if (order.status == "processing") order.status = "valid";  // by the next look
    return made;
  }
  Reply finalize(const Seen& one, size_t number) {
    FakeOrder& order = orders[number];
    if (order.status != "ready") return problem(403, "orderNotReady", "it is " + order.status, {nonce()});
    csr_der = *from_base64url(one.payload["csr"].get<std::string>());
    const auto* at = reinterpret_cast<const unsigned char*>(csr_der.data());
    X509_REQ* request = d2i_X509_REQ(nullptr, &at, static_cast<long>(csr_der.size()));
    EVP_PKEY* key = X509_REQ_get_pubkey(request);
    if (X509_REQ_verify(request, key) != 1) complaints.push_back("a certificate request with a wrong signature");
    if (const Key account = stored_key(); EVP_PKEY_eq(account.get(), key) == 1)
      complaints.push_back("the certificate's key is the account's");
    const tls::X509Ptr leaf = tls::make_leaf(order.names, {0, 4'000'000'000}, key, root_.get(), root_key_.get());
    order.certificate = tls::to_pem(leaf.get()) + tls::to_pem(root_.get());
    EVP_PKEY_free(key);
    X509_REQ_free(request);
    order.status = "processing";
    return order_reply(200, number);
  }

  tls::KeyPtr root_key_;
  tls::X509Ptr root_;
  std::set<std::string> nonces_;
  unsigned nonce_count_ = 0;
};

}  // namespace lintel::acme::testing_support
