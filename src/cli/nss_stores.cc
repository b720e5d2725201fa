// The NSS databases of Firefox and Chromium, by NSS's own certutil.
#include <dirent.h>
#include <fmt/format.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/files.h"
#include "base/log.h"
#include "cli/trust_stores.h"

namespace lintel::cli {
namespace {

constexpr std::string_view nickname_start = "Lintel local root";

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// The root's common name: what people see in the browser's list.
std::string nickname_of(const tls::LocalCa& ca) {
  const std::string& pem = ca.root_pem();
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* root = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  char name[128] = {};
  if (root != nullptr) X509_NAME_get_text_by_NID(X509_get_subject_name(root), NID_commonName, name, sizeof name);
  X509_free(root);
  BIO_free(bio);
  return name;
}

class NssStore final : public TrustStore {
 public:
  NssStore(Caller caller, std::string title, std::string folder)
      : caller_(std::move(caller)), title_(std::move(title)), folder_(std::move(folder)) {}

  std::string kind() const override { return "nss"; }
  std::string title() const override { return title_; }
  std::string place() const override { return folder_; }

  StoreStatus status(const tls::LocalCa& ca) const override {
    if (find_program("certutil").empty()) {
      return {TrustState::unknown,
              "install certutil (Debian: libnss3-tools, Fedora: nss-tools, Arch: nss), then: lintel trust install"};
    }
    const std::string nickname = nickname_of(ca);
    const ToolResult shown = certutil({"-L", "-n", nickname, "-a"});
    const bool same = shown.fine() && pem_body(shown.output) == pem_body(ca.root_pem());
    const auto entries = ours();
    const bool trusted = std::ranges::any_of(
        entries, [&](const Entry& entry) { return entry.nickname == nickname && entry.flags.starts_with('C'); });
    if (same && trusted) return {TrustState::trusted, {}};
    return {TrustState::missing, "lintel trust install"};
  }

  Outcome<void> install(const tls::LocalCa& ca) override {
    if (auto removed = uninstall(); !removed) return std::unexpected(removed.error());
    return checked(certutil({"-A", "-t", "C,,", "-n", nickname_of(ca), "-i", ca.root_file()}), ca.root_file());
  }

  Outcome<bool> uninstall() override {
    if (find_program("certutil").empty()) {
      return fail(
          ErrorCode::not_found,
          fmt::format("cannot change the {} ({}): certutil is not installed; install it (Debian: libnss3-tools, "
                      "Fedora: nss-tools, Arch: nss) and run the command again",
                      title_, log::escape(folder_)));
    }
    const auto entries = ours();
    for (const auto& entry : entries) {
      if (auto done = checked(certutil({"-D", "-n", entry.nickname}), "it"); !done) {
        return std::unexpected(done.error());
      }
    }
    return !entries.empty();
  }

 private:
  struct Entry {
    std::string nickname, flags;
  };

  ToolResult certutil(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"certutil", "-d", "sql:" + folder_});
    return run_tool(caller_, arguments);
  }

  // The lines of `certutil -L` are a nickname, spaces, and the trust flags.
  std::vector<Entry> ours() const {
    std::vector<Entry> entries;
    const ToolResult list = certutil({"-L"});
    for (size_t from = 0; from < list.output.size();) {
      const size_t end = std::min(list.output.find('\n', from), list.output.size());
      std::string line = list.output.substr(from, end - from);
      from = end + 1;
      line.erase(line.find_last_not_of(' ') + 1);
      const size_t gap = line.rfind(' ');
      if (!line.starts_with(nickname_start) || gap == std::string::npos) continue;
      entries.push_back({line.substr(0, line.find_last_not_of(' ', gap) + 1), line.substr(gap + 1)});
    }
    return entries;
  }

  Outcome<void> checked(const ToolResult& result, const std::string& file) const {
    if (result.fine()) return {};
    return fail(ErrorCode::io_error,
                fmt::format("cannot change the {} ({}): {}; close the browser and try again, or import {} in its "
                            "settings by hand",
                            title_, log::escape(folder_),
                            log::escape(result.output.substr(0, result.output.find('\n'))), log::escape(file)));
  }

  Caller caller_;
  std::string title_, folder_;
};

bool chromium_is_installed() {
  static constexpr std::array<const char*, 8> programs = {
      "chromium",       "chromium-browser", "google-chrome", "google-chrome-stable",
      "microsoft-edge", "brave-browser",    "vivaldi",       "opera"};
  return std::ranges::any_of(programs, [](const char* program) { return !find_program(program).empty(); });
}

void add_firefox_profiles(const Caller& caller, const std::string& base,
                          std::vector<std::unique_ptr<TrustStore>>& stores) {
  DIR* folder = opendir(base.c_str());
  if (folder == nullptr) return;
  std::vector<std::string> names;
  while (const dirent* entry = readdir(folder)) names.emplace_back(entry->d_name);
  closedir(folder);
  std::ranges::sort(names);
  for (const auto& name : names) {
    const std::string profile = base + "/" + name;
    if (name.starts_with('.') || !exists(profile + "/cert9.db")) continue;
    stores.push_back(std::make_unique<NssStore>(caller, "Firefox profile " + log::escape(name), profile));
  }
}

}  // namespace

void add_nss_stores(const Caller& caller, bool create_missing, std::vector<std::unique_ptr<TrustStore>>& stores) {
  const std::string classic = caller.home + "/.pki/nssdb";
  const std::string modern = caller.home + "/.local/share/pki/nssdb";
  if (create_missing && !exists(classic + "/cert9.db") && !exists(modern + "/cert9.db") && chromium_is_installed() &&
      !find_program("certutil").empty() && make_folders(classic, 0700)) {
    run_tool(caller, {"certutil", "-N", "-d", "sql:" + classic, "--empty-password"});
  }
  for (const auto& [title, folder] : std::initializer_list<std::pair<const char*, std::string>>{
           {"Chromium and Chrome", classic},
           {"Chromium and Chrome (new place)", modern},
           {"Chromium (snap)", caller.home + "/snap/chromium/current/.pki/nssdb"},
           {"Chromium (flatpak)", caller.home + "/.var/app/org.chromium.Chromium/.pki/nssdb"},
           {"Chrome (flatpak)", caller.home + "/.var/app/com.google.Chrome/.pki/nssdb"}}) {
    if (exists(folder + "/cert9.db")) stores.push_back(std::make_unique<NssStore>(caller, title, folder));
  }
  for (const char* base : {"/.mozilla/firefox", "/.config/mozilla/firefox", "/snap/firefox/common/.mozilla/firefox",
                           "/.var/app/org.mozilla.firefox/.mozilla/firefox", "/.librewolf"}) {
    add_firefox_profiles(caller, caller.home + base, stores);
  }
}

}  // namespace lintel::cli
