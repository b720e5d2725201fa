// One call of acme::Client for the end-to-end tests: a JSON object on stdin says what to do, one on stdout what came of
// it. Challenges are answered by pebble-challtestsrv over its HTTP interface.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "acme/client.h"
#include "net/fd.h"

namespace lintel::acme {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// Plain files, without the care of the real one.
class PlainStorage final : public Storage {
 public:
  explicit PlainStorage(fs::path root) : root_(std::move(root)) {}
  Outcome<Bundle> load(const std::string& key) override {
    Bundle bundle;
    if (!fs::exists(root_ / key)) return fail(ErrorCode::not_found, "no " + key);
    for (const auto& entry : fs::directory_iterator(root_ / key)) {
      std::ifstream file(entry.path());
      bundle[entry.path().filename()] = std::string(std::istreambuf_iterator<char>(file), {});
    }
    return bundle;
  }
  Outcome<void> store(const std::string& key, const Bundle& bundle) override {
    fs::create_directories(root_ / key);
    for (const auto& [name, content] : bundle) std::ofstream(root_ / key / name) << content;
    return {};
  }
  Outcome<void> remove(const std::string& key) override {
    fs::remove_all(root_ / key);
    return {};
  }
  Outcome<std::vector<std::string>> list(const std::string&) override { return std::vector<std::string>{}; }
  Outcome<std::unique_ptr<StorageLock>> try_lock(const std::string& key) override {
    struct Held : StorageLock {
      net::UniqueFd fd;
    };
    auto held = std::make_unique<Held>();
    fs::create_directories(root_ / "locks");
    std::string name = key;
    for (char& c : name) c = c == '/' ? '_' : c;
    held->fd = net::UniqueFd(::open((root_ / "locks" / name).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (::flock(held->fd.get(), LOCK_EX | LOCK_NB) != 0) return std::unique_ptr<StorageLock>();
    return std::unique_ptr<StorageLock>(std::move(held));
  }
  Outcome<void> probe() override { return {}; }

 private:
  fs::path root_;
};

class ChallengeServer final : public Solver {
 public:
  ChallengeServer(net::Reactor& reactor, net::BlockingPool& pool, Json request)
      : reactor_(reactor), client_(reactor, pool, {}), request_(std::move(request)) {}
  bool can_solve(ChallengeType type, const std::string&, bool wildcard) const override {
    return !wildcard || type == ChallengeType::dns_01;
  }
  net::Task<Outcome<void>> present(Challenge challenge) override {
    log.push_back("present " + name_of(challenge));
    // Types that the test wants to fail are presented with the wrong content.
    bool broken = false;
    for (const auto& type : request_["broken"]) broken = broken || type == text_of(challenge.type);
    const std::string content = broken ? "wrong" : challenge.key_authorization;
    std::string path = "add-http01";
    Json body = {{"token", challenge.token}, {"content", content}};
    if (challenge.type == ChallengeType::tls_alpn_01) {
      path = "add-tlsalpn01";
      body = {{"host", challenge.host}, {"content", content}};
    } else if (challenge.type == ChallengeType::dns_01) {
      path = "set-txt";
      body = {{"host", "_acme-challenge." + challenge.host + "."}, {"value", broken ? "wrong" : challenge.dns_value}};
    }
    const Outcome<void> done = co_await manage(std::move(path), std::move(body));
    co_return done;
  }
  net::Task<void> clean(Challenge challenge) override {
    log.push_back("clean " + name_of(challenge));
    co_return;
  }
  std::vector<std::string> log;

 private:
  static std::string name_of(const Challenge& challenge) {
    return fmt::format("{} {}{}", text_of(challenge.type), challenge.wildcard ? "*." : "", challenge.host);
  }
  net::Task<Outcome<void>> manage(std::string path, Json body) {
    fetch::Request request{"POST", request_["management"].get<std::string>() + "/" + path, {}, body.dump()};
    const Outcome<fetch::Response> response = co_await client_.send(std::move(request), reactor_.now_ms() + 10'000);
    if (!response) co_return std::unexpected(response.error());
    co_return Outcome<void>();
  }
  net::Reactor& reactor_;
  fetch::Client client_;
  Json request_;
};

Json problem_json(const Problem& problem) {
  return {{"code", facts(problem.code).name}, {"message", problem.message},
          {"type", problem.acme_type},        {"host", problem.host},
          {"permanent", problem.permanent},   {"retry_after_ms", problem.retry_after_ms}};
}

net::Task<void> run(Client& client, ChallengeServer& solver, Json request, TimeMs deadline, Json& result) {
  const auto action = request["action"].get<std::string>();
  if (action == "obtain") {
    std::vector<ChallengeType> types;
    for (const auto& wanted : request["types"])
      for (const auto type : {ChallengeType::http_01, ChallengeType::tls_alpn_01, ChallengeType::dns_01})
        if (wanted == text_of(type)) types.push_back(type);
    const auto names = request["names"].get<std::vector<std::string>>();
    const std::string replaces = request.value("replaces", "");
    const std::expected<Issued, Problem> issued = co_await client.obtain(names, types, replaces, solver, deadline);
    if (issued) {
      result = {{"chain", issued->chain_pem}, {"key", issued->key_pem}, {"requests", issued->requests_count}};
      result["renewal_id"] = renewal_id(issued->chain_pem);
    } else {
      result["problem"] = problem_json(issued.error());
    }
  } else if (action == "renewal_info") {
    const std::string id = renewal_id(request["pem"].get<std::string>());
    const std::expected<RenewalInfo, Problem> info = co_await client.renewal_info(id, deadline);
    if (info)
      result = {{"start", info->start_unix_s}, {"end", info->end_unix_s}, {"retry_after", info->retry_after_s}};
    else
      result["problem"] = problem_json(info.error());
  } else {
    const std::string pem = request["pem"].get<std::string>();
    const std::expected<void, Problem> revoked = co_await client.revoke(pem, deadline);
    if (!revoked) result["problem"] = problem_json(revoked.error());
  }
  net::Reactor::current().stop();
}

int main_of_tool() {
  Json request = Json::parse(std::cin);
  net::Reactor reactor;
  reactor.make_current();
  net::BlockingPool pool(2);
  PlainStorage storage(request["state"].get<std::string>());
  IssuerSettings settings{.name = "pebble",
                          .directory_url = request["directory"],
                          .ca_file = request.value("ca_file", ""),
                          .email = request.value("email", ""),
                          .terms_agreed = request.value("agree", true),
                          .eab = {},
                          .profile = request.value("profile", "")};
  if (request.contains("eab")) settings.eab = ExternalAccount{request["eab"]["kid"], request["eab"]["key"]};
  ChallengeServer solver(reactor, pool, request);
  Client client(reactor, pool, storage, settings);
  net::Nursery flows(reactor);
  Json result = Json::object();
  flows.spawn(run(client, solver, request, reactor.now_ms() + request.value("deadline_ms", 60'000U), result));
  reactor.run();
  result["log"] = solver.log;
  std::cout << result.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  return result.contains("problem") ? 1 : 0;
}

}  // namespace
}  // namespace lintel::acme

int main() { return lintel::acme::main_of_tool(); }
