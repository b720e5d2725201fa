#include "dev/environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/limits.h"

extern char** environ;

namespace lintel::dev {
namespace {

bool names(const std::string& entry, std::string_view name) {
  return entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name);
}

std::string home_or(const Environment& environment, std::string_view variable, std::string_view below_home) {
  auto set = environment.get(variable);
  if (set && set->starts_with('/')) return fmt::format("{}/lintel", *set);  // the XDG rules ignore relative ones
  return fmt::format("{}/{}/lintel", environment.get("HOME").value_or("/"), below_home);
}

// A stable name per source, so that a changed source replaces its bundle instead of adding one.
std::string bundle_name(std::string_view base) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char c : base) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("ca-{:016x}.pem", hash);
}

class Bundles {
 public:
  Bundles(const AppFacts& facts, std::vector<std::string>& notes) : facts_(facts), notes_(notes) {
    if (auto root = read_file(facts.root_file)) root_ = *root;
  }

  // Points `variable` at the certificates of `base` (may be empty) and Lintel's root.
  void point(Environment& environment, const char* variable, const std::string& base) {
    std::string content;
    if (!base.empty()) {
      auto read = read_file(base);
      if (!read) return note(variable, fmt::format("cannot read {}", base));
      content = std::move(*read);
      if (!content.ends_with('\n')) content += '\n';
    }
    if (root_.empty()) return note(variable, fmt::format("cannot read {}", facts_.root_file));
    content += root_;
    std::string file = facts_.folder + "/" + bundle_name(base);
    if (read_file(file) != content) {
      auto made = make_folders(facts_.folder, 0700);
      if (!made) return note(variable, made.error().message);
      auto written = write_file_atomically(file, content, 0644);
      if (!written) return note(variable, written.error().message);
    }
    environment.set(variable, file);
  }

 private:
  void note(const char* variable, const std::string& why) {
    notes_.push_back(fmt::format("{} is left as it was: {}", variable, why));
  }
  const AppFacts& facts_;
  std::vector<std::string>& notes_;
  std::string root_;
};

}  // namespace

Environment Environment::of_this_process() {
  std::vector<std::string> entries;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return Environment(std::move(entries));
}

std::optional<std::string_view> Environment::get(std::string_view name) const {
  for (const std::string& entry : entries_)
    if (names(entry, name)) return std::string_view(entry).substr(name.size() + 1);
  return std::nullopt;
}

void Environment::set(std::string_view name, std::string_view value) {
  erase(name);
  entries_.push_back(fmt::format("{}={}", name, value));
}

void Environment::erase(std::string_view name) {
  std::erase_if(entries_, [&](const std::string& entry) { return names(entry, name); });
}

void Environment::erase_prefix(std::string_view prefix) {
  std::erase_if(entries_, [&](const std::string& entry) { return entry.starts_with(prefix); });
}

Environment app_environment(Environment parent, const AppFacts& facts, std::vector<std::string>& notes) {
  Environment environment = std::move(parent);
  environment.erase_prefix("LINTEL_");
  // The app runs as the calling user: what sudo said about itself is no longer true for it.
  environment.erase_prefix("SUDO_");
  std::string port = std::to_string(facts.port);
  environment.set("PORT", port);
  environment.set("HOST", "127.0.0.1");
  environment.set("FLASK_RUN_PORT", port);
  environment.set("LINTEL_URL", facts.url);
  environment.set("FORWARDED_ALLOW_IPS", "127.0.0.1");
  if (facts.root_file.empty()) return environment;
  Bundles bundles(facts, notes);
  for (const char* variable : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}) {
    auto own = environment.get(variable);
    // Without the system's certificates a bundle would cut the app off from the rest of the world.
    auto base = own && !own->empty() ? std::optional<std::string>(*own) : system_bundle();
    if (base)
      bundles.point(environment, variable, *base);
    else
      notes.push_back(fmt::format("{} is not set: this system has no bundle of certificate authorities", variable));
  }
  // Node adds these to its built-in ones, so Lintel's root alone is enough; it takes one file only.
  bundles.point(environment, "NODE_EXTRA_CA_CERTS", std::string(environment.get("NODE_EXTRA_CA_CERTS").value_or("")));
  return environment;
}

std::optional<std::string> system_bundle() {
  for (const char* file :
       {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"})
    if (::access(file, R_OK) == 0) return file;
  return std::nullopt;
}

std::string cache_folder(const Environment& environment) { return home_or(environment, "XDG_CACHE_HOME", ".cache"); }

std::string state_folder(const Environment& environment) {
  return home_or(environment, "XDG_STATE_HOME", ".local/state");
}

std::optional<std::string> read_file(const std::string& file) {
  auto content = read_whole_file(file, "file", limits::certificate_bundle_bytes);
  if (!content) return std::nullopt;
  return std::move(*content);
}

}  // namespace lintel::dev
