// The places where programs of this machine look up which certificate authorities they trust.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/errors.h"
#include "cli/tool.h"
#include "tls/local_ca.h"

namespace lintel::cli {

enum class TrustState : uint8_t { trusted, missing, unknown };  // unknown: the tool that could tell is not installed

struct StoreStatus {
  TrustState state = TrustState::unknown;
  std::string fix;  // what makes it trusted, or known; empty when trusted
};

// One store. Several roots of ours may be in it (an older one, from before `trust install --name`).
class TrustStore {
 public:
  virtual ~TrustStore() = default;
  virtual std::string kind() const = 0;   // "system", "nss", "java"
  virtual std::string title() const = 0;  // for people: "Firefox profile abc.default"
  virtual std::string place() const = 0;  // path
  virtual StoreStatus status(const tls::LocalCa& ca) const = 0;
  // Also removes older roots of ours.
  virtual Outcome<void> install(const tls::LocalCa& ca) = 0;
  // Removes every root of ours; true when there was one.
  virtual Outcome<bool> uninstall() = 0;
};

struct StoreOptions {
  // Instead of the machine's folder of CA files, e.g. of an image that is being built; its update tool is not run, and
  // Java's list is left alone.
  std::string system_folder;
};

// Every store that this user's programs may use. `create_missing`: makes the one that Chromium would make at its
// first start.
std::vector<std::unique_ptr<TrustStore>> find_stores(const Caller& caller, const StoreOptions& options,
                                                     bool create_missing);
std::unique_ptr<TrustStore> make_system_store(const Caller& caller, const std::string& folder_instead);
void add_nss_stores(const Caller& caller, bool create_missing, std::vector<std::unique_ptr<TrustStore>>& stores);
void add_java_store(const Caller& caller, std::vector<std::unique_ptr<TrustStore>>& stores);

// The bundle that the system's tools make of their store; empty when none is known here.
std::string system_bundle_file();
// Is the root in that bundle, so that curl and most programs accept the local CA's certificates? Reads one file.
bool system_trusts_root(const tls::LocalCa& ca);

// "lintel-USER-": what the names of our entries in shared stores begin with, so that users do not meddle with each
// other's. With the root's fingerprint behind it: one entry.
std::string entry_prefix(const Caller& caller);
std::string entry_name(const Caller& caller, const tls::LocalCa& ca);
// The base64 body of a PEM text, without line breaks. For comparing.
std::string pem_body(const std::string& pem);

}  // namespace lintel::cli
