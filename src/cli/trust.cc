// lintel trust install | uninstall | status
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/tool.h"
#include "cli/trust_stores.h"
#include "tls/local_ca.h"

namespace lintel::cli {
namespace {

using tls::LocalCa;
using LocalCaPtr = std::shared_ptr<LocalCa>;
using Stores = std::vector<std::unique_ptr<TrustStore>>;

struct Options {
  std::vector<std::string> names;
  StoreOptions stores;
  bool json = false;
};

std::string_view text_of(TrustState state) {
  switch (state) {
    case TrustState::trusted:
      return "trusted";
    case TrustState::missing:
      return "not trusted";
    case TrustState::unknown:
      break;
  }
  return "unknown";
}

std::string described(const TrustStore& store) {
  if (store.place().empty()) return store.title();
  return fmt::format("{} ({})", store.title(), log::escape(store.place()));
}

// One object for all three commands: what the stores say now.
void print_json(const LocalCa* ca, const Stores& stores, const std::vector<Error>& problems) {
  nlohmann::json all = {{"root", nullptr}, {"stores", nlohmann::json::array()}, {"problems", nlohmann::json::array()}};
  if (ca != nullptr) {
    all["root"] = {{"file", ca->root_file()},
                   {"sha256", ca->root_fingerprint_sha256()},
                   {"not_after_unix_s", ca->not_after_unix_s()},
                   {"extra_names", ca->extra_names()}};
  }
  for (const auto& store : stores) {
    const StoreStatus status =
        ca != nullptr ? store->status(*ca) : StoreStatus{TrustState::missing, "lintel trust install"};
    all["stores"].push_back({{"kind", store->kind()},
                             {"title", store->title()},
                             {"place", store->place()},
                             {"trusted", status.state == TrustState::trusted},
                             {"state", text_of(status.state)},
                             {"fix", status.fix}});
  }
  for (const auto& problem : problems) all["problems"].push_back(problem.message);
  fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

bool is_wsl() {
  std::ifstream file("/proc/version");
  std::string text;
  std::getline(file, text);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text.find("microsoft") != std::string::npos;
}

// Programs that look into none of the stores.
void print_hints(const LocalCa& ca) {
  const std::string root = log::escape(shell_quoted(ca.root_file()));
  const std::string bundle = system_trusts_root(ca) ? system_bundle_file() : root;
  fmt::print("Programs with a list of their own need a line:\n");
  fmt::print("  Node.js     export NODE_EXTRA_CA_CERTS={}\n", root);
  fmt::print("  Python      export REQUESTS_CA_BUNDLE={0} SSL_CERT_FILE={0}\n", bundle);
  fmt::print("  curl        curl --cacert {} https://…\n", root);
  fmt::print(
      "  containers  docker run -v {}:/usr/local/share/ca-certificates/lintel.crt:ro …   and in it: "
      "update-ca-certificates\n",
      root);
  if (is_wsl()) fmt::print("  Windows     certutil.exe -user -addstore Root \"$(wslpath -w {})\"\n", root);
}

// The CA that the request needs: a new one when names are to be added or the old one has expired.
Outcome<LocalCaPtr> wanted_authority(const std::vector<std::string>& names) {
  const std::string folder = LocalCa::default_folder();
  for (const auto& name : names) {
    if (const auto problem = tls::extra_name_problem(name); !problem.empty()) {
      return fail(ErrorCode::usage, fmt::format("cannot let the local CA sign for {}: {}; name a domain that is yours",
                                                log::escape(name), problem));
    }
  }
  // Only an expired one is replaced without being asked; a damaged one is the user's to judge.
  if (LocalCa::has_expired(folder)) return LocalCa::recreate(folder, names);
  auto ca = LocalCa::open(folder);
  if (!ca) return ca;
  const bool enough = std::ranges::all_of(names, [&](const std::string& name) { return (*ca)->permits(name); });
  if (enough) return ca;
  return LocalCa::recreate(folder, names);
}

int install(const Options& options) {
  auto caller = become_caller();
  if (!caller) return report(caller.error());
  auto ca = wanted_authority(options.names);
  if (!ca) return report(ca.error());
  const Stores stores = find_stores(*caller, options.stores, true);
  std::vector<Error> problems;
  for (const auto& store : stores) {
    const bool before = store->status(**ca).state == TrustState::trusted;
    if (!before) {
      if (auto done = store->install(**ca); !done) {
        problems.push_back(done.error());
        continue;
      }
    }
    if (!options.json)
      fmt::print("{}: {}\n", before ? "already trusted by the" : "now trusted by the", described(*store));
  }
  if (options.json) {
    print_json(ca->get(), stores, problems);
  } else {
    fmt::print("root certificate: {}\n", log::escape((*ca)->root_file()));
    print_hints(**ca);
  }
  std::fflush(stdout);
  for (const auto& problem : problems) report(problem);
  return problems.empty() ? 0 : 3;
}

int uninstall(const Options& options) {
  auto caller = become_caller();
  if (!caller) return report(caller.error());
  const Stores stores = find_stores(*caller, options.stores, false);
  std::vector<Error> problems;
  for (const auto& store : stores) {
    auto removed = store->uninstall();
    if (!removed) {
      problems.push_back(removed.error());
    } else if (!options.json) {
      fmt::print("{}: {}\n", *removed ? "removed from the" : "was not in the", described(*store));
    }
  }
  // Last and in any case: without its key, a root that is left somewhere can do nothing.
  const std::string folder = LocalCa::default_folder();
  if (auto removed = LocalCa::remove(folder); !removed) {
    problems.push_back(removed.error());
  } else if (!options.json) {
    fmt::print("deleted: {}\n", log::escape(folder));
  }
  if (options.json) print_json(nullptr, stores, problems);
  std::fflush(stdout);
  for (const auto& problem : problems) report(problem);
  return problems.empty() ? 0 : 3;
}

struct Row {
  std::string store, state, fix;
};

void print_table(const std::vector<Row>& rows) {
  size_t store_width = 0, state_width = 0;
  for (const auto& row : rows) {
    store_width = std::max(store_width, row.store.size());
    state_width = std::max(state_width, row.state.size());
  }
  for (const auto& row : rows) {
    std::string line = fmt::format("{:<{}}  {:<{}}  {}", row.store, store_width, row.state, state_width, row.fix);
    line.erase(line.find_last_not_of(' ') + 1);
    fmt::print("{}\n", line);
  }
}

int status(const Options& options) {
  auto caller = become_caller();
  if (!caller) return report(caller.error());
  auto ca = LocalCa::open(LocalCa::default_folder(), false);
  if (!ca && ca.error().code != ErrorCode::not_found) return report(ca.error());
  const Stores stores = find_stores(*caller, options.stores, false);
  bool all_trusted = ca.has_value();
  std::vector<Row> rows = {{"STORE", "STATE", "FIX"}};
  for (const auto& store : stores) {
    const StoreStatus now = ca ? store->status(**ca) : StoreStatus{TrustState::missing, "lintel trust install"};
    all_trusted = all_trusted && now.state == TrustState::trusted;
    rows.push_back({described(*store), std::string(text_of(now.state)), now.fix});
  }
  if (options.json) {
    print_json(ca ? ca->get() : nullptr, stores, {});
    return all_trusted ? 0 : 1;
  }
  print_table(rows);
  if (!ca) {
    fmt::print("There is no local CA yet; `lintel trust install` makes one.\n");
    return 1;
  }
  fmt::print("root certificate: {}\n", log::escape((*ca)->root_file()));
  std::string names = "localhost, *.localhost, *.test, 127.0.0.0/8, ::1";
  for (const auto& name : (*ca)->extra_names()) names += ", " + log::escape(name);
  fmt::print("may sign for: {}\n", names);
  return all_trusted ? 0 : 1;
}

void add_common(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  command
      ->add_option("--system-store", options->stores.system_folder,
                   "This folder of CA files instead of the machine's stores, e.g. of an image that is being built; no "
                   "update tool is run, and Java is left alone")
      ->type_name("DIR");
}

}  // namespace

void add_trust(CLI::App& app, int& exit_code) {
  CLI::App* trust = app.add_subcommand("trust", "Make this machine trust Lintel's local certificates");
  trust->require_subcommand(1);
  trust->footer(
      "The local CA may sign only for localhost, .localhost, .test, loopback addresses and the names that you add:\n"
      "the certificates say so themselves, and the root's key is destroyed when they have been made.\n"
      "Example: lintel trust install");
  const auto options = std::make_shared<Options>();

  CLI::App* add = trust->add_subcommand("install", "Make the local CA, if there is none, and put it into every store");
  add->add_option("--name", options->names, "Let the CA sign for this domain and all below it, or this IP address, too")
      ->type_name("DOMAIN");
  add_common(add, options);
  add->footer(
      "Covers the system's store (asks for sudo), the user's Firefox and Chromium databases, and Java.\n"
      "Exit code: 0 every store trusts it, 3 one could not be changed.\n"
      "Example: lintel trust install --name dev.example.com");
  add->callback([options, &exit_code] { exit_code = install(*options); });

  CLI::App* remove = trust->add_subcommand("uninstall", "Take the local CA out of every store and delete it");
  add_common(remove, options);
  remove->footer("Exit code: 0 done, 3 a store could not be changed.\nExample: lintel trust uninstall");
  remove->callback([options, &exit_code] { exit_code = uninstall(*options); });

  CLI::App* show = trust->add_subcommand("status", "Which stores trust the local CA, and what would make the others");
  add_common(show, options);
  show->footer(
      "Exit code: 0 every store that is there trusts it, 1 one does not.\nExample: lintel trust status --json");
  show->callback([options, &exit_code] { exit_code = status(*options); });
}

}  // namespace lintel::cli
