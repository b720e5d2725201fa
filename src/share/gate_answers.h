// What the gates of a share answer by themselves.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proxy/visitor_gate.h"

namespace lintel::share {

inline constexpr std::string_view login_path = "/.well-known/lintel/login";
inline constexpr std::string_view oidc_path = "/.well-known/lintel/oidc";

proxy::VisitorAnswer refusal(ErrorCode error, uint64_t retry_after_ms = 0);
// An HTML page. `content` is HTML.
proxy::VisitorAnswer page(uint16_t status, ErrorCode error, std::string_view title, std::string_view content);
// 303. `location` is an absolute URL or a local target.
proxy::VisitorAnswer redirect(std::string location);
// 404, for paths of Lintel's own that lead nowhere.
proxy::VisitorAnswer nothing_here();
// 401 for programs. A browser shows no window for it.
proxy::VisitorAnswer login_wanted();
void add_challenge(proxy::VisitorAnswer& answer);
// For people a page, for programs Lintel's own error: does the client ask for HTML?
bool wants_html(const proxy::VisitorRequest& request);
bool is_page_visit(const proxy::VisitorRequest& request);
// The request's own target, or "/" when a browser cannot be sent back there.
std::string return_target(std::string_view target);

// The value of `name` in an application/x-www-form-urlencoded text; nothing when it is missing or there twice.
std::optional<std::string> form_value(std::string_view form, std::string_view name);

}  // namespace lintel::share
