// Pages that visitors of shares see before the app: what they have in common, and where they lead on to.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"

namespace lintel::proxy {

// Paths below this one are Lintel's own on shares.
inline constexpr std::string_view own_paths = "/.well-known/lintel/";

// Can a browser be sent to `target` without leaving the site? An absolute path; nothing that browsers would read as
// the name of another host ("//evil", "/\evil", "/<tab>/evil") and nothing that is not to stand in a field.
bool is_local_target(std::string_view target) noexcept;

// Does a person in front of a browser wait for a page? GET or HEAD of a document: no fetch(), no WebSocket, no curl.
bool is_page_visit(const http::RequestHead& head) noexcept;
bool is_page_visit(std::string_view method, const http::FieldList& fields) noexcept;

// May a form that was sent here be from this site? Browsers say where it comes from; programs say nothing.
bool is_form_of(std::string_view authority, const http::FieldList& fields) noexcept;

std::string html_escaped(std::string_view text);
// A whole page. `content` is HTML. It needs nothing from elsewhere and runs no script.
std::string visitor_page(std::string_view title, std::string_view content);
// Its Content-Security-Policy. Static storage.
std::string_view visitor_page_policy();

}  // namespace lintel::proxy
