// Session tickets under our own keys, so that every worker (and every context of one policy) can read them.
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <cstring>
#include <new>

#include "base/limits.h"
#include "tls/context.h"

namespace lintel::tls {
namespace {

int ticket_keys_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

bool set_mac_key(EVP_MAC_CTX* mac, std::array<unsigned char, 32>& key) {
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.data(), key.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_end(),
  };
  return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

}  // namespace

struct TicketCallback {
  // The key named `name`, or the newest when it is null. `newest` says whether it is the one that encrypts now.
  static bool find(TicketKeys& keys, const unsigned char* name, TicketKeys::Key& key, bool& newest) {
    const std::lock_guard lock(keys.mutex_);
    for (const auto& candidate : keys.keys_) {
      if (name != nullptr && std::memcmp(candidate.name.data(), name, candidate.name.size()) != 0) continue;
      key = candidate;
      newest = &candidate == &keys.keys_.front();
      return true;
    }
    return false;
  }

  // Contract of SSL_CTX_set_tlsext_ticket_key_evp_cb: -1 error, 0 no such key (a full handshake follows), 1 fine,
  // 2 fine and the client should get a ticket under the newest key.
  static int run(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                 int encrypt) {
    auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ticket_keys_index()));
    TicketKeys::Key key;
    bool newest = false;
    if (!find(*keys, encrypt != 0 ? nullptr : name, key, newest)) return 0;
    bool fine = true;
    if (encrypt != 0) {
      std::memcpy(name, key.name.data(), key.name.size());
      fine = RAND_bytes(iv, EVP_CIPHER_get_iv_length(keys->cipher_)) == 1;
    }
    fine = fine && EVP_CipherInit_ex2(cipher, keys->cipher_, key.cipher.data(), iv, encrypt, nullptr) == 1;
    fine = fine && set_mac_key(mac, key.mac);
    OPENSSL_cleanse(&key, sizeof key);
    if (!fine) return -1;
    return encrypt != 0 || newest ? 1 : 2;
  }
};

TicketKeys::TicketKeys() : cipher_(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)) {
  if (cipher_ == nullptr) throw std::bad_alloc();
  keys_.reserve(limits::tls_sessions_ticket_keys_count + 1);  // so that no key is left behind in freed memory
  rotate();
}

TicketKeys::~TicketKeys() {
  OPENSSL_cleanse(keys_.data(), keys_.size() * sizeof(Key));
  EVP_CIPHER_free(cipher_);
}

void TicketKeys::rotate() {
  Key fresh;
  if (RAND_bytes(fresh.name.data(), static_cast<int>(fresh.name.size())) != 1 ||
      RAND_priv_bytes(fresh.cipher.data(), static_cast<int>(fresh.cipher.size())) != 1 ||
      RAND_priv_bytes(fresh.mac.data(), static_cast<int>(fresh.mac.size())) != 1) {
    throw std::bad_alloc();  // no randomness: nothing about TLS can go on
  }
  const std::lock_guard lock(mutex_);
  keys_.insert(keys_.begin(), fresh);
  OPENSSL_cleanse(&fresh, sizeof fresh);
  if (keys_.size() > limits::tls_sessions_ticket_keys_count) {
    OPENSSL_cleanse(&keys_.back(), sizeof(Key));
    keys_.pop_back();
  }
}

void TicketKeys::install(SSL_CTX* context) {
  SSL_CTX_set_ex_data(context, ticket_keys_index(), this);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, TicketCallback::run);
}

}  // namespace lintel::tls
