// One request and its answer, whatever protocols carry them: identify, route, connect, send, relay, observe.
// docs/request-life.md draws it. One coroutine; everything that concerns the exchange wakes its one Signal.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "config/config.h"
#include "forwarded/identity.h"
#include "http/message.h"
#include "net/task.h"
#include "observe/access_log.h"
#include "proxy/balancer.h"
#include "proxy/client_counts.h"
#include "proxy/edge_gate.h"
#include "proxy/gate.h"
#include "proxy/rewrite.h"
#include "proxy/sides.h"
#include "proxy/snapshot.h"
#include "proxy/upstream_pool.h"

namespace lintel::proxy {

// Fields of a request that concern one hop, or that the upstream connection writes by itself.
bool is_hop_by_hop(http::FieldId id) noexcept;

class Worker;
struct VisitorAnswer;

// A proxy that spoke the PROXY protocol for the client: the socket's peer.
struct SpokeForClient {
  IpAddress address;
  bool is_unix = false;
  bool replaced_peer = false;  // it named a client; else it is the peer itself
  std::string unique_id;       // that it gave the connection, "" = none
};

// Of a connection whose handshake was under a TLS policy of a site.
struct GuardedConnection {
  std::array<unsigned char, SSL_MAX_SID_CTX_LENGTH> policy_id{};
  std::string client_cert;  // the verified certificate as a Client-Cert value (RFC 9440), "" = none was shown
};

// What a client connection knows about itself; lives as long as the connection.
struct ConnectionContext {
  forwarded::ConnectionFacts facts;
  std::string peer_text;                     // for messages
  std::string_view tls_version, tls_cipher;  // static
  std::string sni;
  bool tls_resumed = false;
  std::unique_ptr<const SpokeForClient> proxy;     // null: the listener asks for no PROXY header
  std::unique_ptr<const GuardedConnection> guard;  // null: no policy beyond the usual
  std::string_view protocol;                       // "HTTP/1.1" or "HTTP/2", for the log
  bool bridge = false;  // the peer is another worker of this process, which has decided everything
  // The rule for what the peer says of its clients, instead of the configuration's; null: those decide. For tunnels.
  const forwarded::Rule* spokesman = nullptr;
  mutable ConnectionPlaces places;  // that it counts among its client's connections
};

class Exchange {
 public:
  // `head` and what it views live in the request's memory, which outlives the exchange; so does `arena`.
  Exchange(Worker& worker, const ConnectionContext& connection, ClientSide& client, net::Signal& signal,
           const http::RequestHead& head, Arena& arena);
  ~Exchange();

  // Runs the exchange to its end. Afterwards completed() tells whether the client's connection may go on.
  net::Task<void> run();
  // Answers with Lintel's own page for `code` without looking at the request further (a head that broke a rule).
  void refuse(ErrorCode code);
  // The answer was sent in full, and the request was read in full.
  bool completed() const noexcept { return response_done_ && request_done_ && error_abort_ == ErrorCode::none; }
  bool response_complete() const noexcept { return response_done_; }
  // Not 0: the client is an agent that was let in, and its connection goes to EdgeGate::attach() now.
  uint64_t agent_ticket() const noexcept { return agent_ticket_; }

 private:
  enum class Step : uint8_t { waiting, finished };
  // --- identify and route (exchange_route.cc)
  Result<void> identify();
  std::string_view kept_request_id() const;
  Result<void> route();
  bool redirected();
  Result<void> check_tls_policy() const;
  void note_upgrade();
  // --- may it (exchange_access.cc)
  Result<void> choose_target();
  bool choose_stricter(std::string_view path);
  Result<void> check_access();
  Result<void> check_limits();
  size_t field_octets() const;
  bool take_place();
  bool take_token(const config::Rate& rate);
  void note_refusal(ErrorCode code);
  void add_refusal_fields(http::FieldList& fields);
  // --- who is the user (exchange_auth.cc)
  struct AuthAnswer;
  net::Task<ErrorCode> authenticate();
  net::Task<ErrorCode> check_password();
  net::Task<ErrorCode> ask_auth_service();
  net::Task<ErrorCode> ask_once(const UpstreamRequest& request, TimeMs deadline_ms, AuthAnswer& answer);
  void build_auth_request(UpstreamRequest& out);
  bool read_auth_answer(UpstreamSide& side, AuthAnswer& answer);
  void take_auth_head(const http::ResponseHead& head, AuthAnswer& answer);
  void give_auth_answer(const AuthAnswer& answer);
  bool is_of_auth(const http::Field& field) const;
  void add_user_fields();
  // --- is the visitor let in (exchange_visitor.cc)
  net::Task<bool> pass_visitor_gate();
  net::Task<ErrorCode> collect_body(std::string& body);
  void keep_visitor_fields(const VisitorAnswer& answer);
  // --- a page in front of a share, for browsers (exchange_interstitial.cc)
  void answer_first_visit();
  void answer_go_on();
  void show_interstitial();
  // --- the request for the app (exchange_request.cc)
  void choose_app_host();
  std::string_view value_for_app(const http::Field& field);
  void build_upstream_request();
  void add_forwarded_fields();
  void add_client_fields();
  void add_simulated_fields();  // exchange_simulate.cc
  bool nominated(std::string_view name) const;
  bool withheld(std::string_view name) const;
  bool names_client_by_certificate() const noexcept;
  const http::FieldList* clean_trailers(const http::FieldList* trailers, bool of_request);
  // --- connect, send, relay (exchange.cc)
  net::Task<ErrorCode> wait_for_app();
  net::Task<ErrorCode> connect();
  void begin_relay();
  Step advance();
  bool pump_request();
  bool pump_response();
  void take_informational();
  void take_answer_head();
  AnswerSeen answer_seen(const http::ResponseHead* response) const;
  void observe_body(std::string_view octets, bool last);
  ErrorCode check_upgrade_answer(const http::ResponseHead& head) const;
  uint32_t patience_ms() const noexcept;
  bool client_takes_some();
  void on_deadline();
  std::string_view websocket_key() const;
  void finish();
  // --- which instance of the app, and another one (exchange_upstream.cc)
  bool repeatable() const;
  bool take_endpoint();
  void leave_endpoint() noexcept;
  void judge_endpoint();
  bool may_retry(size_t attempt);
  // --- an edge's agents and shares (exchange_tunnel.cc)
  void answer_at_door();
  void answer_agent(const AgentAnswer& answer);
  bool is_share() const noexcept { return site_->edge == config::EdgeRole::shares; }
  net::Task<ErrorCode> connect_share();
  bool is_raw() const noexcept;
  net::Task<void> serve_raw();
  net::Task<ErrorCode> relay_to_raw();
  const config::Endpoint& app_endpoint() const noexcept;
  bool may_retry_share(size_t attempt);
  bool may_ask_gate_again(size_t attempt);
  // --- answers (exchange_answer.cc)
  void build_answer_fields(http::FieldList& fields);
  void add_policy_fields(http::FieldList& fields, const http::FieldList& from_app);
  void report_location(std::string_view value, std::string_view repaired) const;
  std::string_view repaired_cookie(std::string_view value);
  void answer_page(ErrorCode code);
  // True: the request was an ACME issuer's, and has its answer.
  bool answered_challenge();
  void answer_redirect(uint16_t status, std::string_view location);
  void add_date(http::FieldList& fields);
  void send_own_answer(uint16_t status, http::FieldList& fields, std::string_view body);
  std::string_view hsts_value() const;
  void log();
  void count(uint64_t duration_us);

  Worker& worker_;
  const ConnectionContext& connection_;
  ClientSide& client_;
  net::Signal& signal_;
  const http::RequestHead& head_;
  Arena& arena_;
  const SnapshotRef snapshot_;  // that it began with, whatever is reloaded meanwhile
  const config::Config& config_;

  const forwarded::Rule* rule_ = nullptr;  // that lets the peer speak for the client
  forwarded::Identity identity_;
  std::string_view refused_field_;  // that the trust engine refused
  const config::Site* site_ = nullptr;
  const config::Route* route_ = nullptr;
  const UpstreamGroup* group_ = nullptr;        // of the site or route; null: the gate knows
  EndpointState* state_ = nullptr;              // of group_, that counts this request
  const config::Endpoint* endpoint_ = nullptr;  // state_'s, or the gate's
  Tried tried_;
  std::string_view target_;   // that the app gets
  std::string_view upgrade_;  // the protocol the client asks for, empty otherwise
  std::string_view request_id_;
  std::string_view forwarded_prefix_;
  UpstreamRequest upstream_request_;
  EndpointPool* pool_ = nullptr;
  UpstreamHandle upstream_;
  std::unique_ptr<ShareUse> share_use_;
  std::string_view share_, token_;  // names, of a share
  uint64_t agent_ticket_ = 0;

  uint64_t started_us_ = 0;
  int64_t connect_us_ = -1, first_byte_us_ = -1;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  uint64_t body_limit_bytes_ = 0;      // 0 = none
  uint64_t retry_after_ms_ = 0;        // of a refusal; 0 = not said
  std::string_view user_;              // that basic_auth let in
  http::FieldList auth_fields_;        // that the service of auth_request has for the app
  http::FieldList visitor_fields_;     // of the visitor gate, for the answer
  std::string_view withheld_cookies_;  // how the names of those begin that the app does not get
  TimeMs cut_at_ms_ = 0;               // 0 = never
  std::string_view app_host_;          // instead of the public one; "" = that
  ClientPlace place_;                  // among the requests of a client behind a trusted proxy
  TimeMs deadline_ms_ = 0;
  TimeMs continue_at_ms_ = 0;  // when Lintel itself sends 100 Continue; 0 = not at all
  size_t turn_octets_ = 0;
  size_t client_undelivered_ = 0;  // when it was last looked at
  std::string_view upstream_address_;
  std::string_view websocket_key_;  // minted for an extended CONNECT
  std::string_view nominated_;      // what the client's Connection field lists beyond the usual
  uint16_t status_ = 0;
  ErrorCode outcome_ = ErrorCode::none;      // of the attempt that runs
  ErrorCode error_ = ErrorCode::none;        // for the log
  ErrorCode error_abort_ = ErrorCode::none;  // the answer had begun and was broken off
  uint8_t informational_count_ = 0;
  uint8_t times_sent_ = 0;
  bool probe_ = false;                 // this request tells whether state_ is back
  bool wants_new_connection_ = false;  // a pooled one was stale
  bool request_done_ = false;
  bool response_started_ = false;
  bool response_done_ = false;
  bool guarded_ = false;  // the route authenticates
  bool tunnel_ = false;
  bool event_stream_ = false;
  bool upstream_reused_ = false;
  bool continue_sent_ = false;
  bool yield_ = false;
  bool sent_ = false;           // a request, by some attempt
  bool body_observed_ = false;  // the observer wants to see the beginning of the answer's body
  std::string observed_body_;   // of it, what has come
};

}  // namespace lintel::proxy
