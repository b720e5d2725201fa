// Where durable state lives: certificates, accounts, what failed and when. The seam for engines that several machines
// share; the embedded one is the state folder (folder_storage.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/errors.h"

namespace lintel::acme {

// A set of files that belong together and are replaced together: "cert.pem", "key.pem", "meta.json".
using Bundle = std::map<std::string, std::string>;

// A held lock; its lease is renewed by itself, and it is given back when the value goes.
class StorageLock {
 public:
  virtual ~StorageLock() = default;
};

// Calls block (files, fsync): not on a worker. Keys are relative paths of [A-Za-z0-9._*:-] segments:
// "certificates/letsencrypt/example.com". Thread-safe.
class Storage {
 public:
  virtual ~Storage() = default;
  // Error not_found; io_error; certificate_invalid when what is there is damaged (it has then been set aside under
  // another name, which the message and the log name).
  virtual Outcome<Bundle> load(const std::string& key) = 0;
  // One file of a bundle, as it is there: not looked at for damage. For those who look through thousands.
  virtual Outcome<std::string> load_file(const std::string& key, const std::string& file) {
    auto bundle = load(key);
    if (!bundle) return std::unexpected(bundle.error());
    const auto found = bundle->find(file);
    if (found == bundle->end()) return fail(ErrorCode::not_found, "there is no " + file + " in " + key);
    return std::move(found->second);
  }
  // All or nothing, also when the process or the machine dies at any octet.
  virtual Outcome<void> store(const std::string& key, const Bundle& bundle) = 0;
  virtual Outcome<void> remove(const std::string& key) = 0;
  // The keys directly below `prefix`, sorted.
  virtual Outcome<std::vector<std::string>> list(const std::string& prefix) = 0;
  // Null when another process (or thread) holds it. Survives nobody: a holder that died has lost it.
  virtual Outcome<std::unique_ptr<StorageLock>> try_lock(const std::string& key) = 0;
  // Can it be written now? The error says what is wrong, before an order is made that could not be kept.
  virtual Outcome<void> probe() = 0;
};

}  // namespace lintel::acme
