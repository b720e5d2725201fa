#include "proxy/websocket.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>

namespace lintel::proxy {
namespace {

std::string base64(const unsigned char* octets, int size) {
  std::string text(static_cast<size_t>((size + 2) / 3 * 4), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), octets, size);
  return text;
}

}  // namespace

std::string websocket_accept(std::string_view key) {
  const std::string input = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, 20> digest{};
  unsigned size = 0;
  EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return base64(digest.data(), static_cast<int>(size));
}

std::string new_websocket_key() {
  std::array<unsigned char, 16> nonce{};
  RAND_bytes(nonce.data(), static_cast<int>(nonce.size()));
  return base64(nonce.data(), static_cast<int>(nonce.size()));
}

}  // namespace lintel::proxy
