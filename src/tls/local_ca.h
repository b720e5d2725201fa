// The local certificate authority of dev, trust and cert: ECDSA P-256, one root, one intermediate, both with the same
// critical name constraints; the root's private key is destroyed as soon as it has signed the intermediate. What stays
// on disk can sign only for localhost, .localhost, .test, loopback addresses, and names added with `trust install
// --name` (which makes a new root and intermediate).
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/errors.h"
#include "tls/context.h"

namespace lintel::tls {

enum class KeyKind : uint8_t { ecdsa, rsa };

struct LeafRequest {
  std::vector<std::string> names;  // DNS names, "*.x.test", or IP addresses
  unsigned days = 90;
  KeyKind key = KeyKind::ecdsa;
};

class LocalCa {
 public:
  // `folder` is $XDG_DATA_HOME/lintel/ca: root.pem, intermediate.pem, intermediate-key.pem (0600), created with 0700.
  static std::string default_folder();
  // Loads, or creates when nothing is there (atomic writes; safe when two processes start at once).
  // Error: certificate_invalid for a damaged or expired one (never overwritten silently), not_found without `create`,
  // io_error, permission_denied.
  static Outcome<std::shared_ptr<LocalCa>> open(const std::string& folder, bool create = true);
  // Is there a CA, undamaged but past its end?
  static bool has_expired(const std::string& folder);
  // Makes a new root and intermediate that also permit `extra_names` (kept over later re-creations).
  static Outcome<std::shared_ptr<LocalCa>> recreate(const std::string& folder,
                                                    const std::vector<std::string>& extra_names);

  // Deletes the files, the key first; nothing to delete is fine. Works on a damaged folder too.
  static Outcome<void> remove(const std::string& folder);

  const std::string& folder() const noexcept { return folder_; }
  std::string root_file() const { return folder_ + "/root.pem"; }
  const std::string& root_pem() const noexcept { return root_pem_; }
  const std::vector<std::string>& extra_names() const noexcept { return extra_names_; }
  // Would the name constraints permit it?
  bool permits(std::string_view name) const;
  // A leaf with the intermediate as its chain. Refuses names that are not permitted (certificate_invalid).
  Outcome<CertificatePtr> issue(const LeafRequest& request) const;
  // The same, as PEM texts (for `cert new`): certificate with chain, and key.
  struct Pem {
    std::string certificate, key;
  };
  Outcome<Pem> issue_pem(const LeafRequest& request) const;
  std::string root_fingerprint_sha256() const;  // lower-case hex
  int64_t not_after_unix_s() const noexcept;

 private:
  LocalCa() = default;
  static Outcome<std::shared_ptr<LocalCa>> load(const std::string& folder);
  static Outcome<void> write_new(const std::string& folder, const std::vector<std::string>& extra_names);
  Outcome<std::vector<std::string>> checked_names(const LeafRequest& request) const;

  std::string folder_;
  std::vector<std::string> permitted_;    // everything the name constraints permit, without the loopback networks
  std::vector<std::string> extra_names_;  // permitted_ without what every local CA permits
  CertificatePtr root_;                   // without a key: nobody has it
  CertificatePtr intermediate_;
  std::string root_pem_;
  std::string intermediate_pem_;
};

// A self-signed certificate for `names` (sites with certificate = "self-signed").
Outcome<CertificatePtr> make_self_signed(const std::vector<std::string>& names, unsigned days = 90);

// Why `name` may not be given to `trust install --name`, in words; empty when it may. "*.x" counts as "x".
std::string extra_name_problem(std::string_view name);

// A bounded cache of leaves that `ca` mints on demand, for exactly the names that `allowed` accepts.
// Least recently used ones leave at limits::minted_certificates_count. Thread-safe. Loopback addresses, and a client
// that names nothing, get one leaf for localhost, 127.0.0.1 and ::1.
class MintingSource final : public CertificateSource {
 public:
  MintingSource(std::shared_ptr<const LocalCa> ca, std::function<bool(std::string_view)> allowed);
  CertificatePtr find(std::string_view sni) override;

 private:
  std::shared_ptr<const LocalCa> ca_;
  std::function<bool(std::string_view)> allowed_;
  std::mutex mutex_;
  std::list<std::pair<std::string, CertificatePtr>> recent_;
  std::unordered_map<std::string, decltype(recent_)::iterator> by_name_;
};

}  // namespace lintel::tls
