#include "proxy/error_page.h"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "base/ascii.h"
#include "base/json.h"
#include "base/log.h"
#include "http/h1.h"
#include "http/headers.h"

namespace lintel::proxy {
namespace {

using http::equal_ignoring_case;

enum class Form : uint8_t { text, json, html };  // in the order of preference when a client takes all alike

// --- Accept (RFC 9110 §12.5.1)

struct MediaRange {
  std::string_view type, subtype;
  unsigned quality = 1000;  // thousandths
};

// "0", "0.5", "1.000"; nullopt for anything else.
std::optional<unsigned> parse_quality(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return std::nullopt;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  unsigned quality = text[0] == '1' ? 1000 : 0;
  unsigned place = 100;
  for (size_t i = 2; i < text.size(); ++i, place /= 10) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    quality += static_cast<unsigned>(text[i] - '0') * place;
  }
  return std::min(quality, 1000u);
}

MediaRange parse_media_range(std::string_view element) {
  MediaRange range;
  size_t end = element.find(';');
  const std::string_view name = trimmed(element.substr(0, end));
  const size_t slash = name.find('/');
  if (slash != name.npos) {
    range.type = name.substr(0, slash);
    range.subtype = name.substr(slash + 1);
  }
  while (end != element.npos) {
    element.remove_prefix(end + 1);
    end = element.find(';');
    const std::string_view parameter = trimmed(element.substr(0, end));
    if (parameter.size() < 2 || (parameter[0] != 'q' && parameter[0] != 'Q') || parameter[1] != '=') continue;
    // A quality that cannot be read is no reason to hide the page.
    range.quality = parse_quality(parameter.substr(2)).value_or(1000);
  }
  return range;
}

// How exactly `range` names `form`: 3 by its own type, 1 to 2 by a wildcard, 0 not at all.
unsigned precision(const MediaRange& range, Form form) {
  if (range.type == "*") return range.subtype == "*" ? 1 : 0;
  const bool is_text = equal_ignoring_case(range.type, "text");
  const bool is_application = equal_ignoring_case(range.type, "application");
  switch (form) {
    case Form::text:
      return !is_text ? 0 : range.subtype == "*" ? 2 : equal_ignoring_case(range.subtype, "plain") ? 3 : 0;
    case Form::html:
      if (is_application && equal_ignoring_case(range.subtype, "xhtml+xml")) return 3;
      return !is_text ? 0 : range.subtype == "*" ? 2 : equal_ignoring_case(range.subtype, "html") ? 3 : 0;
    case Form::json:
      break;
  }
  if (!is_application) return 0;
  if (range.subtype == "*") return 2;
  const size_t size = range.subtype.size();
  if (equal_ignoring_case(range.subtype, "json")) return 3;
  return size > 5 && equal_ignoring_case(range.subtype.substr(size - 5), "+json") ? 3 : 0;
}

struct Preference {
  Form form;
  unsigned precision = 0, quality = 0;
  size_t position = 0;  // in the list; earlier wins among equals
  bool better_than(const Preference& other) const {
    if (quality != other.quality) return quality > other.quality;
    if (precision != other.precision) return precision > other.precision;
    return position < other.position;
  }
};

Form choose_form(std::string_view accept) {
  std::array<Preference, 3> preferences = {Preference{Form::text}, Preference{Form::json}, Preference{Form::html}};
  size_t position = 0;
  http::for_each_element(accept, [&](std::string_view element) {
    const MediaRange range = parse_media_range(element);
    ++position;
    for (Preference& preference : preferences) {
      const unsigned found = precision(range, preference.form);
      // The most exact range decides for its type, whatever its place in the list.
      if (found <= preference.precision) continue;
      preference = {preference.form, found, range.quality, position};
    }
  });
  const Preference* best = &preferences[0];
  for (const Preference& preference : preferences) {
    if (preference.better_than(*best)) best = &preference;
  }
  return best->quality == 0 ? Form::text : best->form;
}

// --- the three forms

// A page for people that loads itself again, because what is missing comes back by itself.
struct Reload {
  unsigned after_s = 0;  // 0: it does not
  std::string_view sentence;
};

Reload reload_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::app_starting:
      return {1, "This page loads itself again until the app answers."};
    case ErrorCode::share_away:
      return {5,
              "It may be asleep, switched off or without a network. This page loads itself again and shows the app as "
              "soon as the computer is back."};
    case ErrorCode::share_busy:
      return {5, "This page loads itself again."};
    default:
      return {};
  }
}

struct Facts {
  unsigned status;
  std::string_view title;  // the reason phrase
  std::string_view name;
  std::string_view meaning;
  std::string_view host;  // empty unless it is what is wrong
  Reload reload;
};

Facts facts_of(const ErrorPage& page) {
  const ErrorFacts& error = facts(page.code);
  const uint16_t status = page.status != 0 ? page.status : error.status;
  const bool about_host = page.code == ErrorCode::host_not_served || page.code == ErrorCode::host_port ||
                          page.code == ErrorCode::sni_mismatch;
  return {status,
          http::reason_phrase(status),
          error.name,
          explain(page.code),
          about_host ? page.host : std::string_view{},
          page.method == "GET" ? reload_of(page.code) : Reload{}};
}

// Safe to show, with its line ends kept.
std::string escape_lines(std::string_view text) {
  std::string lines;
  while (true) {
    const size_t end = text.find('\n');
    lines += log::escape(text.substr(0, end));
    if (end == text.npos) return lines;
    lines += '\n';
    text.remove_prefix(end + 1);
  }
}

void append_html(std::string_view text, std::string& to) {
  for (char c : escape_lines(text)) {
    switch (c) {
      case '&':
        to += "&amp;";
        break;
      case '<':
        to += "&lt;";
        break;
      case '>':
        to += "&gt;";
        break;
      case '"':
        to += "&quot;";
        break;
      case '\'':
        to += "&#39;";
        break;
      default:
        to += c;
    }
  }
}

void append_html_row(std::string_view label, std::string_view value, std::string& to) {
  if (value.empty()) return;
  to += "<dt>";
  to += label;
  to += "</dt><dd><code>";
  append_html(value, to);
  to += "</code></dd>\n";
}

constexpr std::string_view html_style =
    "<style>\n"
    ":root{color-scheme:light dark}\n"
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:12vh 1.25rem 2rem;max-width:38rem}\n"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}\n"
    ".note{border-left:.25rem solid #2f6fde;padding:.25rem 0 .25rem 1rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:1.5rem 0 0;font-size:.875rem}\n"
    "dt{opacity:.75}dd{margin:0;overflow-wrap:anywhere}\n"
    "code{font-family:ui-monospace,monospace}\n"
    "</style>\n";

void append_html_page(const ErrorPage& page, const Facts& page_facts, std::string& to) {
  // The policy also binds a page that some later mistake would let markup into: no script, nothing from elsewhere.
  to +=
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"robots\" content=\"noindex\">\n";
  if (page_facts.reload.after_s != 0) {
    fmt::format_to(std::back_inserter(to), "<meta http-equiv=\"refresh\" content=\"{}\">\n", page_facts.reload.after_s);
  }
  fmt::format_to(std::back_inserter(to), "<title>{0} {1}</title>\n{2}</head>\n<body>\n<main>\n<h1>{0} {1}</h1>\n<p>",
                 page_facts.status, page_facts.title, html_style);
  append_html(page_facts.meaning, to);
  to += "</p>\n";
  if (page_facts.reload.after_s != 0) fmt::format_to(std::back_inserter(to), "<p>{}</p>\n", page_facts.reload.sentence);
  if (!page.dev_detail.empty()) {
    to += "<p class=\"note\">";
    append_html(page.dev_detail, to);
    to += "</p>\n";
  }
  to += "<dl>\n";
  append_html_row("Host", page_facts.host, to);
  append_html_row("Error", page_facts.name, to);
  append_html_row("Request id", page.request_id, to);
  to += "</dl>\n</main>\n</body>\n</html>\n";
}

void append_json_member(std::string_view label, std::string_view value, std::string& to) {
  if (value.empty()) return;
  to += label;
  append_json_escaped(value, to);
  to += '"';
}

void append_json_page(const ErrorPage& page, const Facts& page_facts, std::string& to) {
  fmt::format_to(std::back_inserter(to), "{{\"status\":{}", page_facts.status);
  append_json_member(",\"error\":\"", page_facts.name, to);
  append_json_member(",\"message\":\"", page_facts.meaning, to);
  append_json_member(",\"host\":\"", page_facts.host, to);
  append_json_member(",\"detail\":\"", page.dev_detail, to);
  append_json_member(",\"request_id\":\"", page.request_id, to);
  to += "}\n";
}

void append_text_page(const ErrorPage& page, const Facts& page_facts, std::string& to) {
  fmt::format_to(std::back_inserter(to), "{} {} ({})\n{}\n", page_facts.status, page_facts.title, page_facts.name,
                 page_facts.meaning);
  if (!page_facts.host.empty()) to += "Host: " + log::escape(page_facts.host) + '\n';
  if (!page.dev_detail.empty()) to += escape_lines(page.dev_detail) + '\n';
  if (!page.request_id.empty()) to += "Request id: " + log::escape(page.request_id) + '\n';
}

}  // namespace

void render_error_page(const ErrorPage& page, std::string& body, std::string_view& content_type) {
  const Facts page_facts = facts_of(page);
  body.clear();
  switch (choose_form(page.accept)) {
    case Form::html:
      append_html_page(page, page_facts, body);
      content_type = "text/html; charset=utf-8";
      return;
    case Form::json:
      append_json_page(page, page_facts, body);
      content_type = "application/json";
      return;
    case Form::text:
      break;
  }
  append_text_page(page, page_facts, body);
  content_type = "text/plain; charset=utf-8";
}

}  // namespace lintel::proxy
