// The names that an edge remembers, each for the token that had it last: in use or at rest. Not thread-safe; the
// owner's lock is enough. Bounded: of one token limits::token_names_count, of all limits::edge_names_count; what ends
// soonest gives way.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/errors.h"
#include "tunnel/hello.h"

namespace lintel::tunnel {

struct KeptName {
  std::string token_name;
  int64_t until_unix_s = 0;
  uint16_t tcp_port = 0;  // 0: not of a TCP share
  // In use, or it was when the edge ended without saying so: then its agent is about to come back.
  std::optional<ShareKind> in_use;
  bool sealed = false;  // at rest: visitors meant it for their own agent's key, and nobody else's
};

class KeptNames {
 public:
  // `file` "" = in memory only. A file that is damaged is reported once in the log, and what can be read of it counts.
  KeptNames(std::string file, int64_t now_unix_s);

  // Null: nobody had it within the time. Valid until the next keep() or expire().
  const KeptName* find(std::string_view name) const;
  void keep(std::string_view name, KeptName value);
  void expire(int64_t now_unix_s);
  // Until when the port is kept for somebody; 0 = it is not.
  int64_t port_until(uint16_t port) const;
  const std::map<std::string, KeptName, std::less<>>& names() const noexcept { return names_; }
  size_t size() const noexcept { return names_.size(); }
  bool changed() const noexcept { return changed_; }
  // The file's content; afterwards nothing is changed.
  std::string take_text();
  // Blocks.
  Outcome<void> write(const std::string& text) const;

 private:
  using Order = std::set<std::pair<int64_t, std::string>>;  // until, name
  void drop(const std::string& name);
  void read(std::string_view text, int64_t now_unix_s);

  std::string file_;
  std::map<std::string, KeptName, std::less<>> names_;
  Order order_;
  std::map<std::string, Order> by_token_;
  std::map<uint16_t, std::string> ports_;  // whose it is
  bool changed_ = false;
};

}  // namespace lintel::tunnel
