// What an answer gives away that is fine at home and not in public: pages of debuggers, and servers that run in debug
// mode. Each is reported once; the answers pass. Beside dev's findings.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "dev/findings.h"
#include "proxy/gate.h"

namespace lintel::share {

class ShareFindings final : public proxy::AnswerObserver {
 public:
  // `next` sees everything as well and must outlive this; null: nobody. `sink` is called on the reactor's thread.
  ShareFindings(proxy::AnswerObserver* next, std::function<void(const dev::Finding&)> sink)
      : next_(next), sink_(std::move(sink)) {}
  void answer(const proxy::AnswerSeen& seen) override;
  bool wants_body(const proxy::AnswerSeen& seen) override;
  void body(const proxy::AnswerSeen& seen, std::string_view octets) override;

 private:
  void report(std::string_view id, std::string message, std::string_view fix);

  proxy::AnswerObserver* next_;
  std::function<void(const dev::Finding&)> sink_;
  std::set<std::string, std::less<>> reported_;  // ids: a handful
  bool next_wants_ = false;
};

}  // namespace lintel::share
