#include "config/users_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/ascii.h"
#include "base/files.h"
#include "base/limits.h"
#include "config/report.h"

namespace lintel::config {
namespace {

constexpr std::string_view how_to =
    "write a yescrypt hash (mkpasswd -m yescrypt) or a bcrypt hash (mkpasswd -m bcrypt, htpasswd -B)";

bool is_hash_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/';
  });
}

template <class Number>
bool read_number(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "" when `hash` is well formed, else why not. bcrypt: "$2b$12$" and 53 characters.
std::string bcrypt_fault(std::string_view hash) {
  unsigned cost = 0;
  if (hash.size() != 60 || hash[6] != '$' || !read_number(hash.substr(4, 2), cost) || !is_hash_text(hash.substr(7))) {
    return "is not a whole bcrypt hash";
  }
  if (cost < 4 || cost > limits::bcrypt_cost) {
    return fmt::format("has a cost of {}, which is not between 4 and {}", cost, limits::bcrypt_cost);
  }
  return {};
}

// "$y$", parameters, '$', salt, '$', 43 characters.
std::string yescrypt_fault(std::string_view hash) {
  const std::string_view rest = hash.substr(3);
  const size_t salt = rest.find('$');
  const size_t last = rest.rfind('$');
  const bool whole = salt != std::string_view::npos && salt > 0 && salt <= 12 && last > salt + 1 &&
                     rest.size() - last - 1 == 43 && is_hash_text(rest.substr(0, salt)) &&
                     is_hash_text(rest.substr(salt + 1, last - salt - 1)) && is_hash_text(rest.substr(last + 1));
  return whole ? "" : "is not a whole yescrypt hash";
}

// "$6$", perhaps "rounds=N$", salt, '$', 86 characters.
std::string sha512_fault(std::string_view hash) {
  std::string_view rest = hash.substr(3);
  if (rest.starts_with("rounds=")) {
    const size_t end = rest.find('$');
    uint64_t rounds = 0;
    if (end == std::string_view::npos || !read_number(rest.substr(7, end - 7), rounds)) {
      return "is not a whole sha512-crypt hash";
    }
    if (rounds < 5'000 || rounds > limits::sha512_rounds) {
      return fmt::format("has {} rounds, which is not between 5000 and {}", rounds, limits::sha512_rounds);
    }
    rest.remove_prefix(end + 1);
  }
  const size_t end = rest.find('$');
  const bool whole = end != std::string_view::npos && end <= 16 && rest.size() - end - 1 == 86 &&
                     is_hash_text(rest.substr(0, end)) && is_hash_text(rest.substr(end + 1));
  return whole ? "" : "is not a whole sha512-crypt hash";
}

std::string hash_fault(std::string_view hash) {
  if (hash.size() > limits::password_hash_bytes) return "has a hash that is too long";
  if (hash.starts_with("$2b$") || hash.starts_with("$2y$")) return bcrypt_fault(hash);
  if (hash.starts_with("$y$")) return yescrypt_fault(hash);
  if (hash.starts_with("$6$")) return sha512_fault(hash);
  std::string_view what = "is not hashed, or in a way that is not known";
  if (hash.empty()) what = "is missing";
  if (hash.starts_with("$apr1$") || hash.starts_with("$1$")) what = "is an MD5 hash, which is guessed in minutes";
  if (hash.starts_with("{SHA}")) what = "is a SHA-1 hash without salt, which is guessed in seconds";
  if (hash.starts_with("$5$")) what = "is a sha256-crypt hash";
  if (hash.starts_with("$2a$") || hash.starts_with("$2x$")) what = "is a bcrypt hash of an old, ambiguous kind";
  if (hash.size() == 13 && is_hash_text(hash)) what = "is not hashed, or a DES hash, which is guessed in minutes";
  return fmt::format("{}; {}", what, how_to);
}

// "" when the line is a user's, else what is wrong with it.
std::string read_line(std::string_view line, User& user) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return "is not \"name:hash\"";
  const std::string_view name = line.substr(0, colon);
  const bool printable = std::ranges::all_of(name, [](char c) { return c >= ' ' && c <= '~'; });
  if (name.empty() || name.size() > limits::user_name_bytes || !printable || trimmed(name) != name) {
    return fmt::format("has no valid user name: 1 to {} printable ASCII characters without ':'",
                       limits::user_name_bytes);
  }
  user = {std::string(name), std::string(line.substr(colon + 1))};
  // htpasswd and /etc/shadow may have more fields.
  if (const size_t more = user.hash.find(':'); more != std::string::npos) user.hash.resize(more);
  const std::string fault = hash_fault(user.hash);
  return fault.empty() ? "" : fmt::format("the password of {} {}", in_quotes(name), fault);
}

}  // namespace

const User* find_user(const Users& users, std::string_view name) noexcept {
  const auto found = std::ranges::lower_bound(users, name, {}, &User::name);
  return found != users.end() && found->name == name ? &*found : nullptr;
}

std::expected<Users, std::string> parse_users(std::string_view text, std::string_view name) {
  Users users;
  size_t number = 0;
  const auto fail = [&](std::string_view why) { return std::unexpected(fmt::format("{}:{}: {}", name, number, why)); };
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (trimmed(line).empty() || line.starts_with('#')) continue;
    User user;
    if (const std::string fault = read_line(line, user); !fault.empty()) {
      return fail(fault.starts_with("the ") ? fault : "this line " + fault);
    }
    if (users.size() == limits::users_count) return fail(fmt::format("there are more than {} users", users.size()));
    users.push_back(std::move(user));
  }
  std::ranges::sort(users, {}, &User::name);
  const auto twice = std::ranges::adjacent_find(users, {}, &User::name);
  if (twice != users.end()) {
    return std::unexpected(fmt::format("{}: the user {} is there twice", name, in_quotes(twice->name)));
  }
  return users;
}

std::expected<Users, std::string> read_users_file(const std::string& path) {
  const int descriptor = open_for_reading(path);
  if (descriptor < 0) return std::unexpected(fmt::format("{} cannot be read: {}", path, std::strerror(errno)));
  std::string text;
  std::string failure;
  struct stat facts{};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) failure = "it is not a regular file";
  char piece[16 * 1024];
  while (failure.empty()) {
    const ssize_t count = ::read(descriptor, piece, sizeof piece);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      failure = std::strerror(errno);
      break;
    }
    text.append(piece, static_cast<size_t>(count));
    if (text.size() > limits::users_file_bytes) {
      failure = fmt::format("it is larger than {} KiB", limits::users_file_bytes / 1024);
    }
  }
  ::close(descriptor);
  if (!failure.empty()) return std::unexpected(fmt::format("{} cannot be read: {}", path, failure));
  return parse_users(text, path);
}

}  // namespace lintel::config
