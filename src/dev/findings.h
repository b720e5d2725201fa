// The classic mistakes of an app behind https, seen in its answers while it is being used (design §2, live findings).
// Each cause is reported once. The ids and the lines to change are those of the doctor (docs/doctor.md).
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dev/process_tree.h"
#include "doctor/database.h"
#include "proxy/gate.h"

namespace lintel::dev {

struct Finding {
  std::string id;       // stable: "scheme-untrusted", "cookie-without-secure", …
  std::string cause;    // what makes it the same finding again: the id, and a cookie's name or an address
  std::string message;  // what was seen and what it means; safe for a terminal
  std::string fix;      // what to change in the app: lines
  std::string where;    // in which file; may be empty
};

class LiveFindings final : public proxy::AnswerObserver {
 public:
  // `sink` is called once per cause, on the reactor's thread, before the answer is sent on.
  explicit LiveFindings(std::function<void(const Finding&)> sink)
      : sink_(std::move(sink)), recogniser_(doctor::Database::embedded()) {}
  void answer(const proxy::AnswerSeen& seen) override;
  bool wants_body(const proxy::AnswerSeen& seen) override;
  void body(const proxy::AnswerSeen& seen, std::string_view octets) override;
  // The app listens on `socket` for the whole network, beside the proxy: what is sent there has no https and may carry
  // forged forwarded headers.
  void open_to_network(const ListeningSocket& socket, const std::string& process);

 private:
  void report(Finding finding);
  void report(doctor::FindingId id, std::string message, std::string_view cause_detail = {});
  void look_at_location(const proxy::AnswerSeen& seen, std::string_view location);
  void look_at_cookie(const proxy::AnswerSeen& seen, std::string_view set_cookie);
  void look_at_sign_in(const proxy::AnswerSeen& seen);
  void look_at_issuer(const proxy::AnswerSeen& seen, std::string_view octets);
  void look_for_loop(const proxy::AnswerSeen& seen, std::string_view location);
  void look_for_debugger(const proxy::AnswerSeen& seen);
  std::function<void(const Finding&)> sink_;
  doctor::Recogniser recogniser_;   // of all answers so far
  std::set<std::string> reported_;  // at most limits::findings_count
  std::string self_redirected_;     // the URL that last answered with a redirect to itself
  unsigned self_redirects_ = 0;     // how often in a row
};

}  // namespace lintel::dev
