// Java's own list of CAs, by keytool.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "cli/trust_stores.h"

namespace lintel::cli {
namespace {

// The documented password of every JDK's cacerts; the file's content is public.
constexpr const char* cacerts_password = "changeit";

std::string java_home() {
  if (const char* home = std::getenv("JAVA_HOME"); home != nullptr && home[0] == '/') return home;
  const std::string java = find_program("java");
  if (java.empty()) return {};
  char* real = realpath(java.c_str(), nullptr);
  if (real == nullptr) return {};
  std::string home = real;
  std::free(real);
  for (int i = 0; i < 2; ++i) home.erase(std::min(home.rfind('/'), home.size()));  // …/bin/java
  return home;
}

std::string upper_with_colons(const std::string& hex) {
  std::string text;
  for (size_t i = 0; i < hex.size(); ++i) {
    if (i != 0 && i % 2 == 0) text += ':';
    text += static_cast<char>(hex[i] >= 'a' && hex[i] <= 'f' ? hex[i] - 'a' + 'A' : hex[i]);
  }
  return text;
}

class JavaStore final : public TrustStore {
 public:
  JavaStore(Caller caller, std::string keytool, std::string file)
      : caller_(std::move(caller)), keytool_(std::move(keytool)), file_(std::move(file)) {}

  std::string kind() const override { return "java"; }
  std::string title() const override { return "Java"; }
  std::string place() const override { return file_; }

  // By fingerprint: Debian's own hook takes the system's CAs over under names of its own.
  StoreStatus status(const tls::LocalCa& ca) const override {
    const ToolResult list = keytool({"-list"}, Privilege::user);
    if (!list.fine()) return {TrustState::unknown, "check that this works: " + shell_line(command({"-list"}))};
    const std::string print = upper_with_colons(ca.root_fingerprint_sha256());
    if (list.output.find(print) != std::string::npos) return {TrustState::trusted, {}};
    return {TrustState::missing, "lintel trust install"};
  }

  Outcome<void> install(const tls::LocalCa& ca) override {
    if (auto removed = uninstall(); !removed) return std::unexpected(removed.error());
    return change({"-importcert", "-noprompt", "-alias", entry_name(caller_, ca), "-file", ca.root_file()});
  }

  Outcome<bool> uninstall() override {
    // Java lower-cases aliases.
    std::string prefix = entry_prefix(caller_);
    std::ranges::transform(prefix, prefix.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    const ToolResult list = keytool({"-list"}, Privilege::user);
    bool any = false;
    for (size_t from = 0; from < list.output.size();) {
      const size_t end = std::min(list.output.find('\n', from), list.output.size());
      const std::string line = list.output.substr(from, end - from);
      from = end + 1;
      if (!line.starts_with(prefix)) continue;
      if (auto done = change({"-delete", "-alias", line.substr(0, line.find(','))}); !done) {
        return std::unexpected(done.error());
      }
      any = true;
    }
    return any;
  }

 private:
  std::vector<std::string> command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), keytool_);
    arguments.insert(arguments.end(), {"-keystore", file_, "-storepass", cacerts_password});
    return arguments;
  }
  ToolResult keytool(std::vector<std::string> arguments, Privilege privilege) const {
    return run_tool(caller_, command(std::move(arguments)), privilege);
  }
  Outcome<void> change(const std::vector<std::string>& arguments) const {
    const bool own = may_write(file_);
    const ToolResult result = keytool(arguments, own ? Privilege::user : Privilege::root);
    if (result.fine()) return {};
    return fail(ErrorCode::permission_denied,
                fmt::format("cannot change Java's list {}: {}; run: {}{}", log::escape(file_),
                            log::escape(result.output.substr(0, result.output.find('\n'))), own ? "" : "sudo ",
                            log::escape(shell_line(command(arguments)))));
  }

  Caller caller_;
  std::string keytool_, file_;
};

}  // namespace

void add_java_store(const Caller& caller, std::vector<std::unique_ptr<TrustStore>>& stores) {
  const std::string home = java_home();
  if (home.empty()) return;
  std::string keytool = home + "/bin/keytool";
  if (access(keytool.c_str(), X_OK) != 0) keytool = find_program("keytool");
  if (keytool.empty()) return;
  for (const char* place : {"/lib/security/cacerts", "/jre/lib/security/cacerts"}) {
    if (access((home + place).c_str(), R_OK) != 0) continue;
    stores.push_back(std::make_unique<JavaStore>(caller, keytool, home + place));
    return;
  }
}

std::vector<std::unique_ptr<TrustStore>> find_stores(const Caller& caller, const StoreOptions& options,
                                                     bool create_missing) {
  std::vector<std::unique_ptr<TrustStore>> stores;
  stores.push_back(make_system_store(caller, options.system_folder));
  add_nss_stores(caller, create_missing, stores);
  // Java's list is the machine's too.
  if (options.system_folder.empty()) add_java_store(caller, stores);
  return stores;
}

}  // namespace lintel::cli
