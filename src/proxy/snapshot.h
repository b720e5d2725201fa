// What a reload replaces, as one immutable value: an exchange keeps the snapshot that it began with.
#pragma once

#include <memory>
#include <vector>

#include "base/object_memory.h"
#include "config/config.h"
#include "proxy/upstream_groups.h"
#include "tls/context.h"

namespace lintel::proxy {

struct Snapshot {
  std::shared_ptr<const config::Config> config;
  std::shared_ptr<const UpstreamGroups> upstreams;       // of config
  std::shared_ptr<tls::CertificateSource> certificates;  // null: no TLS listener
  std::vector<uint16_t> site_labels;                     // for metrics, of config->sites; empty: metrics are off
  uint16_t https_port = 0;                               // of the first TLS listener; 0 = there is none
};

// A worker's share of a snapshot: counted without atomics, because nothing of a connection leaves its worker.
class SnapshotUse {
 public:
  explicit SnapshotUse(std::shared_ptr<const Snapshot> snapshot) noexcept : snapshot_(std::move(snapshot)) {}
  const Snapshot& operator*() const noexcept { return *snapshot_; }
  void add() noexcept { ++users_; }
  void drop() noexcept {
    if (--users_ == 0) delete this;
  }

 private:
  std::shared_ptr<const Snapshot> snapshot_;
  size_t users_ = 0;
};

class SnapshotRef {
 public:
  SnapshotRef() = default;
  explicit SnapshotRef(SnapshotUse* use) noexcept : use_(use) { use_->add(); }
  SnapshotRef(const SnapshotRef& other) noexcept : use_(other.use_) {
    if (use_ != nullptr) use_->add();
  }
  SnapshotRef& operator=(const SnapshotRef& other) noexcept {
    if (other.use_ != nullptr) other.use_->add();
    if (use_ != nullptr) use_->drop();
    use_ = other.use_;
    return *this;
  }
  ~SnapshotRef() {
    if (use_ != nullptr) use_->drop();
  }
  const Snapshot& operator*() const noexcept { return **use_; }
  const Snapshot* operator->() const noexcept { return &**use_; }

 private:
  SnapshotUse* use_ = nullptr;
};

}  // namespace lintel::proxy
