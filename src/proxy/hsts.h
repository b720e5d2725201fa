// hsts = "auto": which names a publicly trusted certificate has served for a day. Only then is HSTS sent for them: a
// certificate that was just obtained may be taken back, and a header that promises https for 30 days is not.
//
// Workers tell what they have served (HstsView::served) and ask (HstsView::mature); one other thread does the work.
// The names are in a file of the state folder, so that a restart does not begin the day anew. A name counts only once
// the file has it.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "config/config.h"

namespace lintel::proxy {

// HSTS would stick to every port of these names, or means nothing for them: localhost, .test, IP addresses.
bool hsts_is_harmful(std::string_view host);

class HstsNames {
 public:
  // `state`: the folder. Reads the file; a damaged one is set aside with a line in the log. `clock` outlives this.
  HstsNames(std::string state, const Clock& clock);
  ~HstsNames();
  HstsNames(const HstsNames&) = delete;
  HstsNames& operator=(const HstsNames&) = delete;

  // Verifies what was served, writes the file when something has changed, and lets names come of age. Blocks. One
  // thread at a time. `force` also when it is not yet time to look (tests).
  void look_after(bool force = false);
  static constexpr std::string_view value = "max-age=2592000";

 private:
  friend class HstsView;
  // Names as certificates have them ("*.example.com" too); true: of age.
  using Known = std::map<std::string, bool, std::less<>>;
  struct Entry {
    int64_t since_unix_s = 0;
    bool saved = false;
  };
  struct Served {
    X509* leaf = nullptr;  // one reference
    STACK_OF(X509) * chain = nullptr;
    std::string name;
  };
  // False when too many wait.
  bool note(X509* leaf, STACK_OF(X509) * chain, std::string_view name);
  void read_file();
  bool take(const std::vector<Served>& served, int64_t now_s);
  void save();
  void publish(int64_t now_s);
  std::shared_ptr<const Known> known() const;

  const Clock& clock_;
  std::string folder_, file_;
  // Of look_after() alone.
  std::map<std::string, Entry, std::less<>> names_;
  int64_t next_of_age_unix_s_ = 0;
  uint64_t next_look_ms_ = 0;
  bool dirty_ = false, save_failed_ = false, full_ = false;

  mutable std::mutex mutex_;  // of the next two
  std::vector<Served> served_;
  std::shared_ptr<const Known> known_;
  std::atomic<uint64_t> generation_{1};
};

// A worker's look at the names, without a lock as long as nothing has changed.
class HstsView {
 public:
  explicit HstsView(HstsNames* names) : names_(names) {}
  // After a full handshake for `sni`, whose site has hsts = "auto".
  void served(const SSL* ssl, std::string_view sni);
  // May HSTS be sent for `host` (lower case)?
  bool mature(std::string_view host);

 private:
  const HstsNames::Known* known();
  HstsNames* names_;
  uint64_t generation_ = 0;
  std::shared_ptr<const HstsNames::Known> known_;
};

}  // namespace lintel::proxy
