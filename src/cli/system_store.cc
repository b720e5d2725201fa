// The system's store: a folder of CA files and a tool that makes a bundle of it.
#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/trust_stores.h"

namespace lintel::cli {
namespace {

struct Distribution {
  const char* folder;
  const char* suffix;
  std::vector<std::string> update;
  const char* package;
};

const std::array<Distribution, 4>& distributions() {
  static const std::array<Distribution, 4> all = {{
      {"/etc/pki/ca-trust/source/anchors", ".pem", {"update-ca-trust", "extract"}, "ca-certificates"},
      {"/usr/local/share/ca-certificates", ".crt", {"update-ca-certificates"}, "ca-certificates"},
      {"/etc/ca-certificates/trust-source/anchors", ".crt", {"trust", "extract-compat"}, "ca-certificates-utils"},
      {"/usr/share/pki/trust/anchors", ".pem", {"update-ca-certificates"}, "ca-certificates"},
  }};
  return all;
}

bool is_folder(const std::string& path) {
  struct stat facts = {};
  return stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

std::vector<std::string> files_with_prefix(const std::string& folder, const std::string& prefix) {
  std::vector<std::string> found;
  DIR* open_folder = opendir(folder.c_str());
  if (open_folder == nullptr) return found;
  while (const dirent* entry = readdir(open_folder)) {
    if (std::string_view(entry->d_name).starts_with(prefix)) found.push_back(folder + "/" + entry->d_name);
  }
  closedir(open_folder);
  return found;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

class SystemStore final : public TrustStore {
 public:
  SystemStore(Caller caller, std::string folder, std::string suffix, std::vector<std::string> update)
      : caller_(std::move(caller)),
        folder_(std::move(folder)),
        suffix_(std::move(suffix)),
        update_(std::move(update)) {}

  std::string kind() const override { return "system"; }
  std::string title() const override { return "system store"; }
  std::string place() const override { return folder_; }

  StoreStatus status(const tls::LocalCa& ca) const override {
    const bool trusted = update_.empty() ? holds(ca) : system_trusts_root(ca);
    if (trusted) return {TrustState::trusted, {}};
    return {TrustState::missing, "lintel trust install"};
  }

  Outcome<void> install(const tls::LocalCa& ca) override {
    const std::string file = folder_ + "/" + entry_name(caller_, ca) + suffix_;
    for (const auto& old : files_with_prefix(folder_, entry_prefix(caller_))) {
      if (old == file) continue;
      if (auto done = run({"rm", "-f", old}, "remove " + old); !done) return done;
    }
    if (auto done = run({"install", "-m", "0644", ca.root_file(), file}, "write " + file); !done) return done;
    return update();
  }

  Outcome<bool> uninstall() override {
    const auto files = files_with_prefix(folder_, entry_prefix(caller_));
    if (files.empty()) return false;
    for (const auto& file : files) {
      if (auto done = run({"rm", "-f", file}, "remove " + file); !done) return std::unexpected(done.error());
    }
    if (auto done = update(); !done) return std::unexpected(done.error());
    return true;
  }

 private:
  bool holds(const tls::LocalCa& ca) const {
    auto text = read_whole_file(folder_ + "/" + entry_name(caller_, ca) + suffix_, "CA", limits::pem_file_bytes);
    return text && *text == ca.root_pem();
  }

  // A folder that the user may write (an image, a prefix) needs no root.
  Outcome<void> run(const std::vector<std::string>& command, const std::string& action) {
    const bool own = update_.empty() || may_write(folder_);
    const ToolResult result = run_tool(caller_, command, own ? Privilege::user : Privilege::root);
    if (result.fine()) return {};
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot {}: {}; run: {}{}", log::escape(action), log::escape(first_line(result.output)),
                            own ? "" : "sudo ", log::escape(shell_line(command))));
  }

  Outcome<void> update() {
    if (update_.empty()) return {};
    const ToolResult result = run_tool(caller_, update_, Privilege::root);
    if (result.fine()) return {};
    return fail(ErrorCode::permission_denied, fmt::format("cannot update the system store: {}; run: sudo {}",
                                                          log::escape(first_line(result.output)), shell_line(update_)));
  }

  Caller caller_;
  std::string folder_, suffix_;
  std::vector<std::string> update_;  // empty: only the folder
};

// A system whose store Lintel does not know, so that `status` says so instead of leaving it out.
class UnknownSystemStore final : public TrustStore {
 public:
  std::string kind() const override { return "system"; }
  std::string title() const override { return "system store"; }
  std::string place() const override { return ""; }
  StoreStatus status(const tls::LocalCa&) const override {
    return {TrustState::unknown, "install the package ca-certificates, then: lintel trust install"};
  }
  Outcome<void> install(const tls::LocalCa&) override {
    return fail(ErrorCode::not_found,
                "cannot find the system's store of CA files: none of the usual folders exists; install the package "
                "ca-certificates, or name the folder with --system-store");
  }
  Outcome<bool> uninstall() override { return false; }
};

}  // namespace

std::unique_ptr<TrustStore> make_system_store(const Caller& caller, const std::string& folder_instead) {
  if (!folder_instead.empty()) {
    return std::make_unique<SystemStore>(caller, folder_instead, ".crt", std::vector<std::string>{});
  }
  for (const auto& one : distributions()) {
    if (!is_folder(one.folder) || find_program(one.update[0]).empty()) continue;
    return std::make_unique<SystemStore>(caller, one.folder, one.suffix, one.update);
  }
  return std::make_unique<UnknownSystemStore>();
}

std::string system_bundle_file() {
  for (const char* file : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    if (access(file, R_OK) == 0) return file;
  }
  return {};
}

bool system_trusts_root(const tls::LocalCa& ca) {
  const std::string file = system_bundle_file();
  if (file.empty()) return false;
  auto bundle = read_whole_file(file, "CA bundle", limits::ca_bundle_bytes);
  return bundle && pem_body(*bundle).find(pem_body(ca.root_pem())) != std::string::npos;
}

std::string entry_prefix(const Caller& caller) {
  std::string name = caller.name;
  std::erase_if(name, [](char c) {
    return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.');
  });
  return "lintel-" + name + "-";
}

std::string entry_name(const Caller& caller, const tls::LocalCa& ca) {
  return entry_prefix(caller) + ca.root_fingerprint_sha256().substr(0, 16);
}

std::string pem_body(const std::string& pem) {
  std::string body;
  body.reserve(pem.size());
  for (size_t from = 0; from < pem.size();) {
    const size_t end = std::min(pem.find('\n', from), pem.size());
    std::string_view line(pem.data() + from, end - from);
    from = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with('-') && !line.starts_with('#')) body += line;
    // One certificate's body must not run into the next one's.
    if (line.starts_with("-----END")) body += '.';
  }
  while (body.ends_with('.')) body.pop_back();
  return body;
}

}  // namespace lintel::cli
