#include "share/check_token.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "fetch/client.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "tunnel/hello.h"

namespace lintel::share {
namespace {

net::Task<void> ask(fetch::Client& client, const Login& login, net::Reactor& reactor,
                    std::optional<Outcome<fetch::Response>>& answer) {
  fetch::Request request;
  request.url = fmt::format("https://{}{}", login.edge.text(), tunnel::agent_path);
  request.fields = {{"Authorization", "Bearer " + login.token}};
  auto got = co_await client.send(std::move(request), reactor.now_ms() + limits::tunnel_dial_ms);
  answer.emplace(std::move(got));
  reactor.stop();
}

}  // namespace

Outcome<std::string> check_token(const Login& login) {
  std::optional<Outcome<fetch::Response>> answer;
  net::Reactor reactor;
  reactor.make_current();
  {
    net::BlockingPool blocking(1);
    fetch::Client client(reactor, blocking,
                         {.ca_file = login.ca_file, .body_bytes = limits::tunnel_hello_bytes, .user_agent = {}});
    net::Task<void> task = ask(client, login, reactor, answer);
    task.start(nullptr);
    if (!answer) reactor.run();
  }
  if (!*answer && answer->error().code == ErrorCode::certificate_invalid) return std::unexpected(answer->error());
  if (!*answer) return fmt::format("the token could not be tried: {}", answer->error().message);
  const fetch::Response& response = **answer;
  if (response.status == 200 || response.status == 204) return std::string();
  const auto refusal = tunnel::parse_refusal(response.body);
  if (refusal && refusal->error != facts(ErrorCode::agent_protocol).name)
    return fail(ErrorCode::token_refused, fmt::format("{}: {}", login.edge.text(), refusal->message));
  return fmt::format("the token could not be tried: {} answered {}", login.edge.text(), response.status);
}

}  // namespace lintel::share
