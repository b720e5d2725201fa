// Exchange: the page that an edge's owner can put in front of shares, for browsers that come for the first time.
#include <fmt/format.h>

#include "base/percent.h"
#include "proxy/balancer.h"
#include "proxy/exchange.h"
#include "proxy/visitor_page.h"

namespace lintel::proxy {
namespace {

using http::Field;
using http::FieldId;

constexpr std::string_view seen_cookie = "__Host-lintel-seen";
constexpr std::string_view seen_set =
    "__Host-lintel-seen=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000";  // 30 days
constexpr std::string_view go_on_path = "/.well-known/lintel/continue";

}  // namespace

void Exchange::answer_first_visit() {
  if (!config_.edge.interstitial || connection_.bridge) return;
  withheld_cookies_ = seen_cookie;
  const std::string_view path = head_.target.substr(0, head_.target.find('?'));
  // Only by the button: a page elsewhere must not press it for its visitors.
  const bool pressed = path == go_on_path && head_.method_id == http::Method::post;
  if (pressed && is_form_of(identity_.authority, head_.fields)) return answer_go_on();
  if (is_page_visit(head_) && cookie_value(head_.fields, seen_cookie) != "1") show_interstitial();
}

void Exchange::answer_go_on() {
  constexpr std::string_view asks = "?to=";
  const std::string_view query = head_.target.substr(go_on_path.size());
  const std::string to = query.starts_with(asks) ? percent_decoded(query.substr(asks.size())) : "/";
  http::FieldList fields;
  fields.push(arena_, {"Location", is_local_target(to) ? arena_.copy(to) : "/", FieldId::location});
  fields.push(arena_, {"Set-Cookie", seen_set, FieldId::set_cookie});
  fields.push(arena_, {"Cache-Control", "no-store", FieldId::other});
  send_own_answer(303, fields, {});
}

void Exchange::show_interstitial() {
  const std::string_view to = is_local_target(head_.target) ? head_.target : std::string_view("/");
  const std::string body = visitor_page(
      fmt::format("{} is somebody's own app", identity_.host),
      fmt::format("<p>It runs on a computer of a user of this server, who shares it at this address. The owner of "
                  "this server has not looked at it.</p>\n"
                  "<p>Do not enter a password or other data that you use elsewhere unless you know who sent you "
                  "here.</p>\n"
                  "<form method=\"post\" action=\"{}?to={}\"><button>Go on to {}</button></form>\n",
                  go_on_path, percent_encoded(to), html_escaped(identity_.host)));
  http::FieldList fields;
  fields.push(arena_, {"Content-Type", "text/html; charset=utf-8", FieldId::content_type});
  fields.push(arena_, {"Cache-Control", "no-store", FieldId::other});
  fields.push(arena_, {"Content-Security-Policy", visitor_page_policy(), FieldId::content_security_policy});
  fields.push(arena_, {"X-Content-Type-Options", "nosniff", FieldId::x_content_type_options});
  fields.push(arena_, {"Referrer-Policy", "same-origin", FieldId::referrer_policy});
  fields.push(arena_, {"X-Robots-Tag", "noindex", FieldId::other});
  send_own_answer(200, fields, body);
}

}  // namespace lintel::proxy
