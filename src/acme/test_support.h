// What the tests of this layer share: a folder that goes with the test, and certificates to put into it.
#pragma once

#include <openssl/evp.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include "acme/storage.h"
#include "tls/x509_build.h"

namespace lintel::acme::testing_support {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path().string() + "/lintel-acme-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct PemPair {
  std::string certificate, key;
};

// Self-signed, valid from `from_s` on for `seconds` (both relative to `now`).
inline PemPair make_pem(const std::vector<std::string>& names, int64_t now, int64_t from_s, int64_t seconds) {
  const tls::KeyPtr key = tls::generate_key(false);
  const tls::X509Ptr leaf =
      tls::make_leaf(names, {now + from_s, now + from_s + seconds}, key.get(), nullptr, key.get());
  return {tls::to_pem(leaf.get()), tls::to_pem(key.get())};
}

inline Bundle make_bundle(const std::string& name, int64_t now = std::time(nullptr), int64_t from_s = -3600,
                          int64_t seconds = 90 * 86400) {
  PemPair pem = make_pem({name}, now, from_s, seconds);
  return {{"cert.pem", std::move(pem.certificate)}, {"key.pem", std::move(pem.key)}, {"meta.json", "{}\n"}};
}

}  // namespace lintel::acme::testing_support
