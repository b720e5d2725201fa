#include "tls/public_trust.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include <new>

namespace lintel::tls {
namespace {

void free_answer(void*, void* answer, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::atomic<PublicTrust>*>(answer);
}

int answer_index() {
  static const int index = X509_get_ex_new_index(0, nullptr, nullptr, nullptr, free_answer);
  return index;
}

}  // namespace

void keep_public_trust(X509* leaf) noexcept {
  if (leaf == nullptr || public_trust(leaf) != nullptr) return;
  std::unique_ptr<std::atomic<PublicTrust>> answer(new (std::nothrow) std::atomic<PublicTrust>(PublicTrust::unknown));
  if (answer != nullptr && X509_set_ex_data(leaf, answer_index(), answer.get()) == 1) {
    static_cast<void>(answer.release());
  }
}

std::atomic<PublicTrust>* public_trust(X509* leaf) noexcept {
  return leaf != nullptr ? static_cast<std::atomic<PublicTrust>*>(X509_get_ex_data(leaf, answer_index())) : nullptr;
}

SystemStore::SystemStore() : store_(X509_STORE_new()) {
  if (store_ == nullptr) throw std::bad_alloc();
  X509_STORE_set_default_paths(store_);
  ERR_clear_error();
}

SystemStore::~SystemStore() { X509_STORE_free(store_); }

bool SystemStore::trusts(X509* leaf, STACK_OF(X509) * chain, int64_t unix_s) const {
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  if (context == nullptr) throw std::bad_alloc();
  bool trusted =
      X509_STORE_CTX_init(context, store_, leaf, chain) == 1 && X509_STORE_CTX_set_default(context, "ssl_server") == 1;
  X509_STORE_CTX_set_time(context, 0, static_cast<time_t>(unix_s));
  trusted = trusted && X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  ERR_clear_error();
  return trusted;
}

}  // namespace lintel::tls
