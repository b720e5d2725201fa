#include "doctor/html.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

#include "base/limits.h"
#include "http/headers.h"

namespace lintel::doctor {
namespace {

using http::equal_ignoring_case;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The character references that stand in URLs: "&amp;", "&#x2F;", "&#47;", …
std::string decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t end = text[i] == '&' ? text.substr(i, 10).find(';') : text.npos;
    if (end == text.npos) {
      result += text[i];
      continue;
    }
    const std::string_view name = text.substr(i + 1, end - 1);
    unsigned code = 0;
    if (name == "amp") code = '&';
    if (name == "quot") code = '"';
    if (name == "lt") code = '<';
    if (name == "gt") code = '>';
    if (name.starts_with('#')) {
      const bool hex = name.size() > 1 && (name[1] | 0x20) == 'x';
      const std::string_view digits = name.substr(hex ? 2 : 1);
      const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
      if (parsed.ptr != digits.data() + digits.size()) code = 0;
    }
    if (code == 0 || code > 0x7e) {
      result += text[i];
      continue;
    }
    result += static_cast<char>(code);
    i += end;
  }
  return result;
}

struct Attribute {
  std::string_view name, value;
};

// One start tag. Its attributes beyond the first few are of no interest here.
struct Tag {
  std::string_view name;
  std::array<Attribute, 24> attributes;
  size_t count = 0;
  std::string_view get(std::string_view wanted) const {
    for (size_t i = 0; i < count; ++i)
      if (equal_ignoring_case(attributes[i].name, wanted)) return attributes[i].value;
    return {};
  }
};

// Reads the tag behind '<' at `at`, which is left behind its '>'.
Tag read_tag(std::string_view html, size_t& at) {
  Tag tag;
  const size_t begin = at;
  while (at < html.size() && !is_space(html[at]) && html[at] != '>' && html[at] != '/') ++at;
  tag.name = html.substr(begin, at - begin);
  while (at < html.size() && html[at] != '>') {
    if (is_space(html[at]) || html[at] == '/') {
      ++at;
      continue;
    }
    const size_t name_begin = at++;
    while (at < html.size() && !is_space(html[at]) && html[at] != '=' && html[at] != '>' && html[at] != '/') ++at;
    Attribute attribute{html.substr(name_begin, at - name_begin), {}};
    size_t value_at = at;
    while (value_at < html.size() && is_space(html[value_at])) ++value_at;
    if (value_at < html.size() && html[value_at] == '=') {
      at = value_at + 1;
      while (at < html.size() && is_space(html[at])) ++at;
      if (at < html.size() && (html[at] == '"' || html[at] == '\'')) {
        const char quote = html[at++];
        const size_t end = std::min(html.find(quote, at), html.size());
        attribute.value = html.substr(at, end - at);
        at = std::min(end + 1, html.size());
      } else {
        const size_t value_begin = at;
        while (at < html.size() && !is_space(html[at]) && html[at] != '>') ++at;
        attribute.value = html.substr(value_begin, at - value_begin);
      }
    }
    if (tag.count < tag.attributes.size()) tag.attributes[tag.count++] = attribute;
  }
  if (at < html.size()) ++at;
  return tag;
}

bool is_csrf_name(std::string_view name) {
  constexpr std::array<std::string_view, 8> names = {
      "csrfmiddlewaretoken",        "csrf_token", "_csrf", "csrf", "_token", "authenticity_token",
      "__RequestVerificationToken", "_csrf_token"};
  for (std::string_view one : names)
    if (equal_ignoring_case(name, one)) return true;
  return false;
}

class Scanner {
 public:
  PageFacts take() { return std::move(facts_); }

  void look(const Tag& tag) {
    if (equal_ignoring_case(tag.name, "a")) return add(PageUrl::Use::link, tag.get("href"));
    if (equal_ignoring_case(tag.name, "link")) return look_at_link(tag);
    if (equal_ignoring_case(tag.name, "form")) {
      facts_.has_form_post = facts_.has_form_post || equal_ignoring_case(tag.get("method"), "post");
      return add(PageUrl::Use::form, tag.get("action"));
    }
    if (equal_ignoring_case(tag.name, "meta")) return look_at_meta(tag);
    if (equal_ignoring_case(tag.name, "input") || equal_ignoring_case(tag.name, "button")) {
      facts_.has_password = facts_.has_password || equal_ignoring_case(tag.get("type"), "password");
      facts_.has_csrf_field = facts_.has_csrf_field || is_csrf_name(tag.get("name"));
      add(PageUrl::Use::form, tag.get("formaction"));
    }
    for (std::string_view name : {"src", "poster"}) add(PageUrl::Use::load, tag.get(name));
    if (equal_ignoring_case(tag.name, "object")) add(PageUrl::Use::load, tag.get("data"));
    // A srcset's candidates are separated by commas; each begins with its URL.
    std::string_view set = tag.get("srcset");
    while (!set.empty()) {
      const size_t comma = set.find(", ");
      const std::string_view candidate = trimmed(set.substr(0, comma));
      add(PageUrl::Use::load, candidate.substr(0, candidate.find(' ')));
      set = comma == set.npos ? std::string_view{} : set.substr(comma + 2);
    }
  }

 private:
  void look_at_link(const Tag& tag) {
    const bool canonical = equal_ignoring_case(tag.get("rel"), "canonical");
    add(canonical ? PageUrl::Use::canon : PageUrl::Use::load, tag.get("href"));
  }

  void look_at_meta(const Tag& tag) {
    if (equal_ignoring_case(tag.get("property"), "og:url")) return add(PageUrl::Use::canon, tag.get("content"));
    if (equal_ignoring_case(tag.get("http-equiv"), "refresh") && facts_.refresh.empty())
      facts_.refresh = decoded(tag.get("content").substr(0, limits::doctor_url_bytes));
    facts_.has_csrf_field = facts_.has_csrf_field || equal_ignoring_case(tag.get("name"), "csrf-token");
  }

  void add(PageUrl::Use use, std::string_view value) {
    value = trimmed(value);
    if (value.empty() || value.size() > limits::doctor_url_bytes) return;
    if (facts_.urls.size() < limits::doctor_page_urls_count) facts_.urls.push_back({use, decoded(value)});
  }

  PageFacts facts_;
};

// Behind the end tag of an element whose content is no markup.
size_t behind_raw_text(std::string_view html, size_t at, std::string_view name) {
  while ((at = html.find("</", at)) != html.npos) {
    at += 2;
    if (equal_ignoring_case(html.substr(at, name.size()), name)) return at;
  }
  return html.size();
}

}  // namespace

PageFacts scan_page(std::string_view html) {
  Scanner scanner;
  for (size_t at = 0; (at = html.find('<', at)) != html.npos;) {
    ++at;
    if (html.substr(at).starts_with("!--")) {
      const size_t end = html.find("-->", at);
      if (end == html.npos) break;
      at = end + 3;
      continue;
    }
    if (at >= html.size() || !is_letter(html[at])) continue;
    const Tag tag = read_tag(html, at);
    scanner.look(tag);
    for (std::string_view raw : {"script", "style", "textarea", "title"})
      if (equal_ignoring_case(tag.name, raw)) at = behind_raw_text(html, at, raw);
  }
  return scanner.take();
}

}  // namespace lintel::doctor
