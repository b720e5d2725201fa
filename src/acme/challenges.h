// The challenges that wait for an issuer's look (http-01, tls-alpn-01), as the listeners find them: in memory, and in
// the Storage under challenges/, so that another process or machine that shares it answers too.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "acme/client.h"
#include "acme/storage.h"
#include "tls/context.h"

namespace lintel::acme {

// The name for which an issuer asks in tls-alpn-01: of an address its reverse name (RFC 8738 §6), else `host`.
std::string tls_alpn_name(const std::string& host);

// Thread-safe.
class Challenges {
 public:
  explicit Challenges(Storage& storage) : storage_(storage) {}

  // Both block. When add() has returned, every listener answers.
  Outcome<void> add(const Challenge& challenge);
  void remove(const Challenge& challenge);
  // Removes from the Storage what processes that died have left there. Blocks.
  void clean_old(int64_t now_unix_s);

  // The key authorization for `token`; nullopt: not ours.
  std::optional<std::string> http_answer(std::string_view token);
  // The certificate for a handshake with "acme-tls/1" for `sni`; null: none is waited for.
  tls::CertificatePtr tls_answer(std::string_view sni);

 private:
  std::optional<std::string> stored(const std::string& key);
  Storage& storage_;
  std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> tokens_;
  std::map<std::string, tls::CertificatePtr, std::less<>> certificates_;  // by tls_alpn_name
};

}  // namespace lintel::acme
