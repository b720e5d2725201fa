#include "share/session.h"

#include <fmt/format.h>

#include "base/log.h"
#include "dev/app.h"
#include "dev/environment.h"
#include "dev/privileges.h"
#include "proxy/server.h"
#include "share/sealed.h"
#include "share/share_findings.h"
#include "tunnel/agent.h"

namespace lintel::share {
namespace {

class Session final : public tunnel::AgentObserver {
 public:
  Session(const ShareOptions& options, dev::AppTarget app, dev::Environment environment, Reporter& reporter)
      : options_(options),
        reporter_(reporter),
        app_(std::move(app), std::move(environment), reporter),
        findings_(app_.observer(), [&reporter](const dev::Finding& finding) { reporter.finding(finding); }),
        gates_(options.gates) {}

  Outcome<void> prepare();
  int run();

  void connected(const tunnel::Welcome& welcome) override;
  void round_trip(uint32_t us) override { reporter_.round_trip(us); }
  void lost(const std::string& why, uint32_t retry_in_ms) override {
    reporter_.away(options_.edge.text(), why, retry_in_ms);
  }
  void refused(const tunnel::Refusal& refusal, uint32_t retry_in_ms, bool given_up) override;
  void notice(const tunnel::Notice& notice) override { reporter_.notice(notice); }

 private:
  void take_request(const observe::AccessRecord& record);
  void take_tcp(const TcpTarget::Seen& seen);
  Outcome<void> choose_raw(proxy::ServerOptions& server, tunnel::AgentOptions& agent);
  std::optional<std::string> app_url();
  void expire();

  const ShareOptions& options_;
  Reporter& reporter_;
  dev::App app_;
  ShareFindings findings_;
  // Before the server, whose flows use them.
  Gates gates_;
  std::unique_ptr<tunnel::Agent> agent_;
  std::unique_ptr<net::BlockingPool> blocking_;
  std::unique_ptr<TcpTarget> tcp_;
  SealedDoor door_;
  std::unique_ptr<Sealed> sealed_;
  std::unique_ptr<proxy::Server> server_;
  bool was_connected_ = false;
  bool given_up_ = false;
  bool expired_ = false;
};

Outcome<void> Session::prepare() {
  proxy::ServerOptions server;
  server.gate = app_.gate();
  server.observer = &findings_;
  server.visitor_gate = &gates_;
  server.app_host = options_.gates.host_header;
  server.on_request = [this](const observe::AccessRecord& record) { take_request(record); };
  tunnel::AgentOptions agent;
  if (auto chosen = choose_raw(server, agent); !chosen) return chosen;
  auto created = proxy::Server::create(make_config(options_, app_.target()), std::move(server));
  if (!created) return std::unexpected(created.error());
  server_ = std::move(*created);
  if (tcp_ != nullptr) tcp_->use(server_->reactor(), *blocking_);
  door_.use(server_->first_worker());
  agent.edge = options_.edge.host;
  agent.port = options_.edge.port;
  agent.token = options_.token;
  agent.ca_file = options_.ca_file;
  agent.name = options_.name;
  agent.pool = options_.pool;
  agent.legs = options_.legs;
  auto made = tunnel::Agent::create(server_->first_worker(), std::move(agent), *this);
  if (!made) return std::unexpected(made.error());
  agent_ = std::move(*made);
  return {};
}

// What of the tunnel is octets, and where they go.
Outcome<void> Session::choose_raw(proxy::ServerOptions& server, tunnel::AgentOptions& agent) {
  if (options_.tcp) {
    auto address = parse_tcp_target(options_.target);
    if (!address) return std::unexpected(address.error());
    blocking_ = std::make_unique<net::BlockingPool>(1);
    tcp_ = std::make_unique<TcpTarget>(address->host, address->port, options_.gates.allow,
                                       [this](const TcpTarget::Seen& seen) { take_tcp(seen); });
    server.raw_gate = tcp_.get();
    agent.kind = tunnel::ShareKind::tcp;
  } else if (options_.sealed) {
    sealed_ = std::make_unique<Sealed>(options_.acme, options_.edge.host, options_.edge.port,
                                       [this](const SealedEvent& event) { reporter_.sealed(event); });
    server.raw_gate = &door_;
    server.certificates = &sealed_->source();
    agent.kind = tunnel::ShareKind::sealed;
  }
  return {};
}

int Session::run() {
  app_.attach(*server_);
  gates_.start(server_->reactor(), [this] { return app_url(); }, [this] { expire(); });
  // Nothing is to be started: whether the app is there is known before the first visitor comes.
  if (options_.command.empty()) app_.start({}, {});
  if (options_.command.empty() && app_.gate() != nullptr)
    app_.on_first_look = [this] { agent_->start(); };
  else
    agent_->start();
  app_.run();
  if (sealed_ != nullptr) sealed_->stop();
  gates_.stop();
  if (given_up_) return 1;
  if (expired_) return 0;
  return app_.exit_code();
}

void Session::connected(const tunnel::Welcome& welcome) {
  Announcement announcement;
  announcement.url = welcome.url;
  if (!options_.tcp) announcement.url += options_.path.empty() ? "/" : options_.path;
  for (size_t i = 1; i < welcome.hosts.size(); ++i)
    announcement.also.push_back(fmt::format("https://{}/", welcome.hosts[i]));
  announcement.edge = options_.edge.text();
  announcement.forwards_to = options_.tcp ? log::escape(options_.target) : shown(app_.target());
  announcement.agents = welcome.agents;
  announcement.again = was_connected_;
  reporter_.connected(announcement);
  if (std::exchange(was_connected_, true)) return;
  if (sealed_ != nullptr) {
    if (auto begun = sealed_->start(server_->reactor(), welcome.hosts); !begun) {
      log::error("{}", begun.error().message);
      given_up_ = true;
      return app_.end();
    }
  }
  // Not before: the app is told its public address.
  const std::string url = announcement.url;
  if (options_.open && !options_.command.empty()) app_.on_first_up = [url] { dev::open_browser(url); };
  if (!options_.command.empty() && !app_.start(welcome.url, "")) return app_.end();
  if (options_.open && options_.command.empty()) dev::open_browser(url);
}

void Session::refused(const tunnel::Refusal& refusal, uint32_t retry_in_ms, bool given_up) {
  reporter_.refused(options_.edge.text(), refusal, retry_in_ms, given_up);
  if (!given_up) return;
  given_up_ = true;
  app_.end();
}

// Where the app is right now; nothing when it is not there, or has no address that a URL can name.
std::optional<std::string> Session::app_url() {
  const auto& fixed = app_.target().upstream;
  const config::Endpoint* endpoint = app_.gate() != nullptr ? app_.gate()->endpoint() : fixed ? &*fixed : nullptr;
  if (endpoint == nullptr || endpoint->host.empty() || endpoint->protocol == config::Endpoint::Protocol::h2c) return {};
  const bool https = endpoint->protocol == config::Endpoint::Protocol::https;
  const bool v6 = endpoint->host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}", https ? "https" : "http", v6 ? "[" : "", endpoint->host, v6 ? "]" : "",
                     endpoint->port);
}

void Session::expire() {
  expired_ = true;
  reporter_.expired();
  app_.end();
}

void Session::take_request(const observe::AccessRecord& record) {
  RequestLine line;
  line.unix_ms = record.unix_ms;
  line.method = record.method;
  line.path = record.target.substr(0, record.target.find('?'));
  line.status = record.status;
  line.duration_us = record.duration_us;
  line.visitor = record.client.text();
  if (record.error != ErrorCode::none) line.error = facts(record.error).name;
  reporter_.request(line);
}

void Session::take_tcp(const TcpTarget::Seen& seen) {
  RequestLine line;
  line.unix_ms = server_->reactor().clock().unix_ms();
  line.method = "TCP";
  line.path = options_.target;
  line.status = seen.error == ErrorCode::none ? 200 : facts(seen.error).status;
  line.visitor = seen.visitor.text();
  if (seen.error != ErrorCode::none) line.error = facts(seen.error).name;
  reporter_.request(line);
}

}  // namespace

std::shared_ptr<const config::Config> make_config(const ShareOptions& options, const dev::AppTarget& app) {
  config::Config config;
  config.workers = 1;
  config.access_log = "off";
  config.upstream_http1_only_loopback_first = true;
  config.timeouts.response = limits::app_patience_ms;
  config.timeouts.body_idle = limits::app_patience_ms;
  config::Site site;
  site.hosts = {"*"};  // only the edge comes here, and it knows which names are ours
  site.redirect_http = config::RedirectHttp::off;
  site.hsts.mode = config::Hsts::Mode::off;  // the app's own passes; a name of the edge is not ours to pin
  if (!options.index) site.response_headers.set.emplace_back("X-Robots-Tag", "noindex");
  if (app.upstream && !options.tcp) site.to.push_back(*app.upstream);
  config.sites.push_back(std::move(site));
  return config::freeze(std::move(config));
}

Outcome<int> run_session(const ShareOptions& options, Reporter& reporter) {
  dev::Environment environment = dev::Environment::of_this_process();
  auto became = dev::become_calling_user(environment);
  if (!became) return std::unexpected(became.error());
  // Of a TCP share there is no app that speaks HTTP.
  auto app = options.tcp ? dev::choose_app("http://127.0.0.1:9", {}, "share")
                         : dev::choose_app(options.target, options.command, "share");
  if (!app) return std::unexpected(app.error());
  Session session(options, std::move(*app), std::move(environment), reporter);
  if (auto prepared = session.prepare(); !prepared) return std::unexpected(prepared.error());
  return session.run();
}

}  // namespace lintel::share
