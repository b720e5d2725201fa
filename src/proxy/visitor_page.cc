#include "proxy/visitor_page.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/ascii.h"
#include "base/limits.h"

namespace lintel::proxy {
namespace {

constexpr std::string_view style =
    ":root{color-scheme:light dark}\n"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:12vh 1.25rem 2rem;max-width:26rem}\n"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem;overflow-wrap:anywhere}\n"
    "label{display:block;margin:1rem 0 .25rem}\n"
    "input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}\n"
    "button,.button{font:inherit;display:inline-block;margin:1rem 0 0;padding:.5rem 1.25rem}\n"
    ".note{border-left:.25rem solid #c33;padding:.25rem 0 .25rem 1rem}\n"
    "small{opacity:.75}\n";

// Base64, as Content-Security-Policy wants it.
std::string style_hash() {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(style.data(), style.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::array<unsigned char, 48> text{};
  const int length = EVP_EncodeBlock(text.data(), digest.data(), static_cast<int>(digest.size()));
  return std::string(reinterpret_cast<const char*>(text.data()), static_cast<size_t>(length));
}

}  // namespace

bool is_local_target(std::string_view target) noexcept {
  if (target.empty() || target.size() > limits::share_return_bytes || target.front() != '/') return false;
  if (target.starts_with("//")) return false;
  return std::ranges::all_of(target, [](char c) { return c > ' ' && c < 0x7F && c != '\\'; });
}

bool is_page_visit(std::string_view method, const http::FieldList& fields) noexcept {
  if (method != "GET" && method != "HEAD") return false;
  if (fields.find(http::FieldId::upgrade) != nullptr) return false;
  const std::string_view mode = fields.value_of("sec-fetch-mode");
  if (!mode.empty() && mode != "navigate") return false;
  const std::string_view purpose = fields.value_of("x-requested-with");
  if (!purpose.empty()) return false;
  return std::ranges::any_of(fields, [](const http::Field& field) {
    return field.id == http::FieldId::accept && http::list_has_token(field.value, "text/html");
  });
}

bool is_page_visit(const http::RequestHead& head) noexcept { return is_page_visit(head.method, head.fields); }

bool is_form_of(std::string_view authority, const http::FieldList& fields) noexcept {
  const std::string_view site = fields.value_of("sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") return false;
  const std::string_view origin = fields.value_of("origin");
  constexpr std::string_view scheme = "https://";
  return origin.empty() || (origin.starts_with(scheme) && same_ignoring_case(origin.substr(scheme.size()), authority));
}

std::string html_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string visitor_page(std::string_view title, std::string_view content) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"robots\" content=\"noindex\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n"
      "<body>\n<main>\n<h1>{0}</h1>\n{2}</main>\n</body>\n</html>\n",
      html_escaped(title), style, content);
}

std::string_view visitor_page_policy() {
  static const std::string policy = fmt::format(
      "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      style_hash());
  return policy;
}

}  // namespace lintel::proxy
