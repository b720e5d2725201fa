// A file of users for basic_auth: "name:hash" lines, as htpasswd and mkpasswd write them; empty lines and lines that
// begin with '#' are skipped. Hashes that a stolen file gives away quickly (plain text, MD5, DES, SHA-1) are refused.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace lintel::config {

struct User {
  std::string name;  // printable ASCII without ':'
  std::string hash;  // yescrypt ($y$), bcrypt ($2b$, $2y$) or sha512-crypt ($6$)
};

// Sorted by name.
using Users = std::vector<User>;
// The user of that name, or null. Valid as long as `users`.
const User* find_user(const Users& users, std::string_view name) noexcept;

// `name` stands for the file in messages. Error: a sentence with the place, "users.txt:3: …"; never with a hash.
std::expected<Users, std::string> parse_users(std::string_view text, std::string_view name);
// The same from the file. Error: also when it cannot be read.
std::expected<Users, std::string> read_users_file(const std::string& path);

}  // namespace lintel::config
