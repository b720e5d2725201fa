// The body of an answer that Lintel gives itself (design §5). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/errors.h"

namespace lintel::proxy {

// What the page is about. Views are only read during render_error_page(); all but `code` and `status` may hold anything
// a client sent.
struct ErrorPage {
  ErrorCode code = ErrorCode::internal;
  uint16_t status = 0;          // 0: the one of the table
  std::string_view accept;      // the client's Accept (several lines joined with ","); empty when absent
  std::string_view method;      // empty when the request could not be read
  std::string_view host;        // the host asked for; shown only when it is what is wrong
  std::string_view request_id;  // empty when there is none
  // What the developer should do, with the app's address or command. Only for `lintel dev` on loopback: it is shown to
  // whoever asks.
  std::string_view dev_detail;
};

// Replaces `body` by a page in the form that `page.accept` prefers: HTML, JSON or plain text (also for "*/*", which is
// what command-line clients send, and when none of the three is accepted). `content_type` gets static storage.
// The HTML needs nothing from elsewhere, runs no script, and loads itself again where what is missing comes back by
// itself (GET only). The caller adds X-Lintel-Error and Cache-Control: no-store.
void render_error_page(const ErrorPage& page, std::string& body, std::string_view& content_type);

}  // namespace lintel::proxy
