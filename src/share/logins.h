// Which edges this user has logged in to, and with which token: edges.toml below the user's configuration folder, 0600.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"

namespace lintel::share {

struct EdgeAddress {
  std::string host;  // lower case
  uint16_t port = 443;
  std::string text() const;  // "t.example.com", "t.example.com:8443"
  bool operator==(const EdgeAddress&) const = default;
};
// HOST[:PORT]; https:// in front and / behind are meant well. Error: usage.
Outcome<EdgeAddress> parse_edge(std::string_view text);

struct Login {
  EdgeAddress edge;
  std::string token;
  std::string ca_file;  // that the edge's certificate is verified with; "" = the system's store
};

class Logins {
 public:
  // $XDG_CONFIG_HOME/lintel/edges.toml or ~/.config/lintel/edges.toml.
  static std::string default_file();
  // A file that is not there holds none. Errors: config_invalid, permission_denied, io_error.
  static Outcome<Logins> load(const std::string& file);
  // Null: not logged in there. Valid until put().
  const Login* find(const EdgeAddress& edge) const noexcept;
  const std::vector<Login>& all() const noexcept { return logins_; }
  // Replaces the one of the same edge and writes the file. Errors: permission_denied, io_error.
  Outcome<void> put(Login login);

 private:
  std::string file_;
  std::vector<Login> logins_;
};

// One line of printable characters without spaces, or error usage. `where` names the source for the message.
Outcome<std::string> clean_token(std::string_view text, std::string_view where);

}  // namespace lintel::share
