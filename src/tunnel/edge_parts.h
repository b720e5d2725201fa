// What EdgeWorker consists of. Internal to src/tunnel: edge_worker.cc has agents and HTTP, edge_raw.cc octets.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "net/listener.h"
#include "tunnel/edge.h"

namespace lintel::tunnel {

// A connection of an agent that this worker has.
struct EdgeWorker::Leg final : proxy::H2UpstreamOwner {
  Leg(EdgeWorker& w, NewLeg&& from, std::unique_ptr<net::Stream> stream)
      : worker(w),
        share(std::move(from.share)),
        session(from.session),
        connection(w.reactor(), *this, std::move(stream), std::move(from.peer), proxy::H2Upstream::Peer::tunnel) {}
  ~Leg() { share->placed[worker.index()].fetch_sub(1, std::memory_order_relaxed); }
  Leg(const Leg&) = delete;
  Leg& operator=(const Leg&) = delete;
  void opened() noexcept override {}
  void closed() noexcept override {}
  void changed() noexcept override { worker.leg_changed(*this); }

  EdgeWorker& worker;
  const std::shared_ptr<Share> share;
  const SessionId session;
  bool counted = false;  // in the registry
  bool over = false;     // its end has been seen to
  proxy::H2Upstream connection;
};

// What this worker has of one share.
struct EdgeWorker::Local {
  explicit Local(std::shared_ptr<Share> s) : share(std::move(s)) {}
  std::shared_ptr<Share> share;
  std::vector<std::unique_ptr<Leg>> legs;
  std::vector<net::Signal*> waiting;
  net::Acceptor* acceptor = nullptr;  // of a TCP share: this worker listens for it
};

// This worker's way to the legs of another one.
struct EdgeWorker::Bridge final : proxy::H2UpstreamOwner {
  Bridge(EdgeWorker& w, std::unique_ptr<net::Stream> stream)
      : worker(w), connection(w.reactor(), *this, std::move(stream), "worker", proxy::H2Upstream::Peer::tunnel) {}
  void opened() noexcept override {}
  void closed() noexcept override {}
  void changed() noexcept override { worker.wake_everybody(); }
  EdgeWorker& worker;
  proxy::H2Upstream connection;
};

// One request of a visitor that the registry has let begin, to its end.
struct EdgeWorker::Use final : proxy::ShareUse {
  Use(Registry& r, std::shared_ptr<Share> s) : registry(r), share(std::move(s)) {}
  ~Use() override { registry.end_request(*share); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  void count(uint64_t bytes_in, uint64_t bytes_out) noexcept override {
    share->bytes_in.fetch_add(bytes_in, std::memory_order_relaxed);
    share->bytes_out.fetch_add(bytes_out, std::memory_order_relaxed);
  }
  Registry& registry;
  const std::shared_ptr<Share> share;
};

// A place among those that wait for the share's agent, also when the flow is cancelled.
struct EdgeWorker::Wait {
  Wait(EdgeWorker& w, Local& l, net::Signal& s)
      : worker(w), place(l), signal(s), admitted(w.edge_.registry().begin_waiting(*l.share)) {
    if (admitted) place.waiting.push_back(&signal);
  }
  ~Wait() {
    if (!admitted) return;
    std::erase(place.waiting, &signal);
    worker.edge_.registry().end_waiting(*place.share);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  EdgeWorker& worker;
  Local& place;
  net::Signal& signal;
  const bool admitted;
};

}  // namespace lintel::tunnel
