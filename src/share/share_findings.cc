#include "share/share_findings.h"

#include <fmt/format.h>

#include "base/log.h"

namespace lintel::share {
namespace {

bool is_html(const proxy::AnswerSeen& seen) {
  const http::Field* type = seen.response->fields.find(http::FieldId::content_type);
  return type != nullptr && type->value.starts_with("text/html") &&
         seen.response->fields.value_of("content-encoding").empty();
}

// Pages of errors, where debuggers show themselves.
bool may_be_debug_page(const proxy::AnswerSeen& seen) {
  return seen.response != nullptr && seen.response->status >= 400 && is_html(seen);
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

std::string shown_path(std::string_view target) { return log::escape(target.substr(0, target.find('?'))); }

}  // namespace

void ShareFindings::report(std::string_view id, std::string message, std::string_view fix) {
  if (!reported_.emplace(id).second) return;
  sink_({std::string(id), std::string(id), std::move(message), std::string(fix), ""});
}

void ShareFindings::answer(const proxy::AnswerSeen& seen) {
  if (next_ != nullptr) next_->answer(seen);
}

bool ShareFindings::wants_body(const proxy::AnswerSeen& seen) {
  next_wants_ = next_ != nullptr && next_->wants_body(seen);
  return next_wants_ || may_be_debug_page(seen);
}

// Whose page it is, is told by what it alone says.
void ShareFindings::body(const proxy::AnswerSeen& seen, std::string_view octets) {
  if (next_wants_) next_->body(seen, octets);
  if (has(octets, "EVALEX = ") && has(octets, "SECRET = ")) {
    report("debugger-shared",
           fmt::format("{} shows visitors Werkzeug's traceback, with the code around the error; the debugger itself is "
                       "refused to them",
                       shown_path(seen.target)),
           "run the app without --debug (FLASK_DEBUG=0) while it is shared");
  } else if (has(octets, "content=\"NONE,NOARCHIVE\"") && has(octets, "html * { padding:0; margin:0; }")) {
    report("debug-page-shared",
           fmt::format("{} shows visitors Django's page for developers: settings, paths and source of the app",
                       shown_path(seen.target)),
           "DEBUG = False while the app is shared");
  }
}

}  // namespace lintel::share
