#include "tunnel/edge.h"

#include "base/log.h"
#include "proxy/server.h"

namespace lintel::tunnel {

Outcome<std::unique_ptr<Edge>> Edge::create(const config::Config& config, uint16_t public_port, const Clock& clock) {
  std::unique_ptr<Edge> edge(new Edge);
  edge->registry_ =
      std::make_unique<Registry>(config.edge, public_port, proxy::worker_count(config), clock, config.state + "/edge");
  edge->token_file_ = std::make_unique<TokenFile>(config.edge.tokens_file);
  auto tokens = edge->token_file_->load();
  if (!tokens) return std::unexpected(tokens.error());
  edge->registry_->replace_tokens(*tokens);
  auto rule = forwarded::make_rule({.peers = {"unix"},
                                    .source = "x-forwarded",
                                    .accept = std::vector<std::string>{"for", "proto", "host", "port"},
                                    .hops = 1});
  if (!rule) return fail(ErrorCode::internal, rule.error().message);
  edge->bridge_rule_ = std::move(*rule);
  edge->workers_.resize(proxy::worker_count(config));
  return edge;
}

Edge::~Edge() = default;

std::unique_ptr<proxy::EdgeGate> Edge::gate_of(proxy::Worker& worker) {
  return std::make_unique<EdgeWorker>(*this, worker);
}

void Edge::look_after() {
  if (auto tokens = token_file_->look(); tokens != nullptr) end_sessions(registry_->replace_tokens(std::move(tokens)));
  end_sessions(registry_->look_after());
}

void Edge::replace(const config::Config& config) {
  if (config.edge.tokens_file != token_file_->file()) {
    auto file = std::make_unique<TokenFile>(config.edge.tokens_file);
    if (auto tokens = file->load()) {
      token_file_ = std::move(file);
      end_sessions(registry_->replace_tokens(*tokens));
    } else {
      log::warn("{}; the tokens stay those of {}", tokens.error().message, token_file_->file());
    }
  }
  end_sessions(registry_->replace_edge(config.edge));
}

void Edge::join(EdgeWorker& worker) {
  const std::lock_guard lock(mutex_);
  workers_.at(worker.index()) = &worker;
}

void Edge::leave(EdgeWorker& worker) {
  const std::lock_guard lock(mutex_);
  workers_.at(worker.index()) = nullptr;
}

// A worker is destroyed only after its reactor has run for the last time, so that what is posted finds it there.
bool Edge::post(EdgeWorker* to, std::function<void(EdgeWorker&)> what) {
  return to != nullptr && to->reactor().post([to, what = std::move(what)] { what(*to); });
}

void Edge::wake_all(const std::shared_ptr<Share>& share) {
  const std::lock_guard lock(mutex_);
  for (EdgeWorker* worker : workers_) {
    post(worker, [share](EdgeWorker& self) { self.wake(share.get()); });
  }
}

void Edge::end_sessions(std::vector<SessionId> sessions) {
  if (sessions.empty()) return;
  const std::lock_guard lock(mutex_);
  for (EdgeWorker* worker : workers_) {
    post(worker, [sessions](EdgeWorker& self) {
      for (const SessionId session : sessions) self.end_session(session);
    });
  }
}

void Edge::tell_sessions(std::vector<SessionId> sessions, std::string notice) {
  const std::lock_guard lock(mutex_);
  for (EdgeWorker* worker : workers_) {
    post(worker, [sessions, notice](EdgeWorker& self) {
      for (const SessionId session : sessions) self.tell(session, notice);
    });
  }
}

bool Edge::give_bridge(size_t worker, int fd) {
  const std::lock_guard lock(mutex_);
  auto held = std::make_shared<net::UniqueFd>(fd);  // a message that is never run closes it
  return post(workers_.at(worker), [held](EdgeWorker& self) { self.serve_bridge(held->release()); });
}

bool Edge::give_raw(size_t worker, std::shared_ptr<RawVisitor> visitor) {
  const std::lock_guard lock(mutex_);
  return post(workers_.at(worker), [visitor](EdgeWorker& self) { self.serve_raw(std::move(*visitor)); });
}

bool Edge::give_leg(size_t worker, std::shared_ptr<NewLeg> leg) {
  const std::lock_guard lock(mutex_);
  return post(workers_.at(worker), [leg](EdgeWorker& self) { self.take_leg(std::move(*leg)); });
}

}  // namespace lintel::tunnel
