// One HTTP/2 connection to an app, shared by its streams; each stream is the upstream half of one exchange.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "http/h2_session.h"
#include "net/stream.h"
#include "net/task.h"
#include "proxy/sides.h"

namespace lintel::proxy {

class H2UpstreamStream;

// Whose connection it is: hears of what changes. The connection may not be destroyed inside these calls.
class H2UpstreamOwner {
 public:
  virtual void opened() noexcept = 0;
  virtual void closed() noexcept = 0;
  // Its SETTINGS have come, or it has ended: who waits for a stream looks again.
  virtual void changed() noexcept = 0;

 protected:
  ~H2UpstreamOwner() = default;
};

class H2Upstream {
 public:
  // tunnel: the peer is an agent, or another worker of this process. PINGs keep it and tell whether it is there; its
  // windows may grow further; being idle does not end it.
  enum class Peer : uint8_t { app, tunnel };
  H2Upstream(net::Reactor& reactor, H2UpstreamOwner& owner, std::unique_ptr<net::Stream> stream, std::string address,
             Peer peer = Peer::app);
  ~H2Upstream();
  void start();
  // Until the app's SETTINGS have come only the first stream is safe: they may allow no second one.
  bool can_open() const {
    return !ended_ && !silent_ && !retired_ && session_.can_open(promised_) && (settings_seen_ || streams_.empty());
  }
  bool cold() const noexcept { return !ended_ && !settings_seen_; }
  bool ended() const noexcept { return ended_; }
  bool finished() const noexcept { return ended_ && streams_.empty(); }
  bool settings_seen() const noexcept { return settings_seen_; }
  // No more streams: its address is no longer the app's.
  void retire() noexcept { retired_ = true; }
  std::string_view address() const noexcept { return address_; }
  // Streams that exchanges hold now.
  size_t stream_count() const noexcept { return streams_.size(); }
  // Something large is under way: what is small waits behind it.
  bool carries_bulk() const noexcept;
  // The peer has said that it takes no more streams.
  bool goodbye() const noexcept { return goodbye_; }
  // Of the last PING; 0 = none was answered yet. tunnel only.
  uint32_t rtt_us() const noexcept { return rtt_us_; }
  // Tells the peer that no more streams come (GOAWAY); what runs goes on.
  void say_goodbye();
  // Ends the connection now: streams fail.
  void end();
  bool allows_extended_connect() const { return session_.peer_allows_extended_connect(); }
  // A stream, with its place among those that the peer allows, for an exchange whose flow `owner` wakes, also when the
  // peer's SETTINGS have come and when the connection has ended. Owned by the exchange (finish()).
  H2UpstreamStream* open_stream(net::Signal& owner);

 private:
  friend class H2UpstreamStream;
  struct FlushNode : net::ReadyNode {
    explicit FlushNode(H2Upstream* upstream) noexcept
        : ReadyNode([](ReadyNode* node) { static_cast<FlushNode*>(node)->owner->flush(); }), owner(upstream) {}
    H2Upstream* owner;
  };
  net::Task<void> run();
  bool read_some();
  void take_events();
  void take_event(http::H2Event& event);
  void flush();
  void mark_dirty() noexcept { reactor_.at_turn_end(flush_node_); }
  void end_all(ErrorCode why);
  // A stream of `opened_ms` was given up.
  void note_unanswered(TimeMs opened_ms);
  bool look_after_silence();

  net::Reactor& reactor_;
  H2UpstreamOwner& owner_;
  const Peer peer_;
  std::unique_ptr<net::Stream> stream_;
  std::string address_;
  net::Signal signal_;
  http::H2Session session_;
  FlushNode flush_node_{this};
  std::vector<H2UpstreamStream*> streams_;
  std::vector<http::H2Event> batch_;
  TimeMs heard_ms_ = 0;  // when the last octets came
  bool silent_ = false;  // it let a request wait and has said nothing since: no more are risked on it
  size_t promised_ = 0;  // streams given out whose request has not been sent
  bool retired_ = false;
  bool used_ = false;
  bool settings_seen_ = false;
  bool ended_ = false;
  bool goodbye_ = false;
  bool end_wanted_ = false;
  void count_octets(size_t octets) noexcept;
  TimeMs counting_since_ms_ = 0;
  size_t octets_now_ = 0, octets_before_ = 0;  // both ways: since then, and in the period before it
  TimeMs last_ping_ms_ = 0;
  uint64_t pinged_us_ = 0;  // 0 = no PING is under way
  uint32_t rtt_us_ = 0;
  net::Nursery flow_;  // last: its task uses what stands above
};

class H2UpstreamStream final : public UpstreamSide {
 public:
  H2UpstreamStream(H2Upstream& owner, net::Signal& signal, bool reused);
  ~H2UpstreamStream() override;

  void send_request(const UpstreamRequest& request) override;
  void send_body(std::string_view octets) override;
  void send_end(const http::FieldList* trailers) override;
  void flush() override;
  bool blocked() const override;
  UpstreamEvent read(size_t most) override;
  const http::ResponseHead& head() const override;
  bool holds_scratch() const override { return false; }
  const http::FieldList* response_trailers(Arena& arena) override;
  void begin_tunnel() override {}
  void finish(bool clean) override;
  bool reused() const override { return reused_; }
  bool any_response_octet() const override { return any_response_octet_; }
  bool request_sent() const override { return id_ != 0 && !refused_; }
  std::string_view address() const override { return owner_.address_; }

 private:
  friend class H2Upstream;
  void give_up_place() noexcept;
  H2Upstream& owner_;
  net::Signal& signal_;
  http::StreamId id_ = 0;
  std::deque<std::unique_ptr<http::H2Head>> heads_;  // 1xx and the final one, in order
  std::unique_ptr<http::H2Head> current_;            // backs head()
  std::unique_ptr<http::H2Head> trailers_;
  http::ResponseHead upgraded_;  // the 101 that a 200 to an extended CONNECT stands for
  Arena arena_;
  Buffer body_;
  TimeMs opened_ms_;
  size_t handed_out_ = 0;  // of body_, taken back at the next call
  ErrorCode error_ = ErrorCode::none;
  bool reused_;
  bool promised_ = true;
  bool connect_ = false;
  bool refused_ = false;  // the peer has said that it did nothing with the request (RFC 9113 §8.7)
  bool request_complete_ = false;
  bool head_seen_ = false;
  bool ended_ = false;  // the peer's END_STREAM
  bool end_given_ = false;
  bool any_response_octet_ = false;
};

}  // namespace lintel::proxy
