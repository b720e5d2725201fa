// lintel edge token | ban | unban: who may share through an edge.
#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "config/config.h"
#include "config/values.h"
#include "tunnel/hello.h"
#include "tunnel/tokens.h"

namespace lintel::cli {
namespace {

using tunnel::Token;

struct EdgeOptions {
  std::string file, config, name, what, expires;
  std::vector<std::string> allow{"*"};
  bool no_tcp = false, share_name = false, json = false;
};

// Where the tokens are, and what the configuration says besides.
struct Place {
  std::string file, domain;
  std::string owner;  // the user that a new file is for; "" = whoever writes it
};

Outcome<Place> place_of(const EdgeOptions& options) {
  if (!options.file.empty()) return Place{options.file, {}, {}};
  const std::string config_file = options.config.empty() ? default_file : options.config;
  const config::ParseResult parsed = config::parse_file(config_file);
  if (parsed.config == nullptr) {
    return fail(ErrorCode::config_invalid,
                fmt::format("{} is not valid, so its tokens file is not known; 'lintel check -c {}' says why; or name "
                            "the tokens file with --file",
                            config_file, config_file));
  }
  if (!parsed.config->edge.on()) {
    return fail(ErrorCode::usage,
                fmt::format("{} has no [edge], so it has no tokens; docs/edge.md shows how to set one "
                            "up; or name a tokens file with --file",
                            config_file));
  }
  return Place{parsed.config->edge.tokens_file, parsed.config->edge.domain,
               parsed.config->user.empty() ? "lintel" : parsed.config->user};
}

struct Content {
  std::vector<Token> tokens;  // in the order in which they were made
  std::vector<std::string> banned_names;
};

Outcome<Content> read(const std::string& file) {
  const auto table = tunnel::TokenTable::load(file);
  if (!table) return std::unexpected(table.error());
  Content content{(*table)->tokens(), (*table)->banned_names()};
  std::ranges::sort(content.tokens, {}, [](const Token& one) { return std::tie(one.created_unix_s, one.name); });
  return content;
}

// Of the old file; a new one belongs to the user that the server runs as, which must be able to read it.
void give(const Place& place, const struct stat* before) {
  if (::geteuid() != 0) return;
  if (before != nullptr) {
    if (::lchown(place.file.c_str(), before->st_uid, before->st_gid) == 0) return;
  } else if (const passwd* account = place.owner.empty() ? nullptr : ::getpwnam(place.owner.c_str())) {
    if (::lchown(place.file.c_str(), account->pw_uid, account->pw_gid) == 0) return;
  } else {
    return;
  }
  log::warn("cannot give {} to the user that the server runs as; it may be unable to read it", place.file);
}

// Reads, lets `change` change, and writes: under a lock, so that two commands at once lose nothing.
Outcome<void> edit(const Place& place, const std::function<Outcome<void>(Content&)>& change) {
  const auto lock = FileLock::take(place.file + ".lock");
  if (!lock) return std::unexpected(lock.error());
  struct stat before{};
  const bool is_there = ::lstat(place.file.c_str(), &before) == 0;
  auto content = read(place.file);
  if (!content) return std::unexpected(content.error());
  if (auto changed = change(*content); !changed) return changed;
  if (content->tokens.size() > limits::edge_tokens_count) {
    return fail(ErrorCode::usage, fmt::format("{} would have more than {} tokens; revoke those that nobody uses",
                                              place.file, limits::edge_tokens_count));
  }
  const std::string text = tunnel::to_toml(content->tokens, content->banned_names);
  if (auto written = write_file_atomically(place.file, text, 0600); !written) return written;
  give(place, is_there ? &before : nullptr);
  return {};
}

std::string day(int64_t unix_s) {
  if (unix_s == 0) return "-";
  const time_t when = unix_s;
  tm parts{};
  ::gmtime_r(&when, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

std::string_view state_of(const Token& token) {
  if (token.banned) return "banned";
  return token.expired(std::time(nullptr)) ? "expired" : "valid";
}

nlohmann::json as_json(const Token& token) {
  nlohmann::json one = {{"name", token.name}, {"id", token.id},           {"allow", token.allow},
                        {"tcp", token.tcp},   {"state", state_of(token)}, {"created", token.created_unix_s}};
  one["expires"] = token.expires_unix_s == 0 ? nlohmann::json() : nlohmann::json(token.expires_unix_s);
  return one;
}

int print_json(const nlohmann::json& body) {
  fmt::print("{}\n", body.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return 0;
}

Outcome<Token> wanted_token(const EdgeOptions& options) {
  Token token;
  token.name = options.name;
  token.allow = options.allow;
  token.tcp = !options.no_tcp;
  token.created_unix_s = std::time(nullptr);
  if (!tunnel::is_token_name(token.name)) {
    return fail(ErrorCode::usage,
                fmt::format("\"{}\" is no name for a token; use letters, digits, '.', '_' and '-', as "
                            "in --name laptop",
                            token.name));
  }
  for (const std::string& pattern : token.allow) {
    if (tunnel::is_name_pattern(pattern)) continue;
    return fail(ErrorCode::usage, fmt::format("--allow: \"{}\" is no name of a share; write names of lower-case "
                                              "letters, digits and hyphens, with at most one \"*\", as in 'app,app-*'",
                                              pattern));
  }
  if (token.allow.empty() || token.allow.size() > limits::token_patterns_count) {
    return fail(ErrorCode::usage, fmt::format("--allow takes 1 to {} names", limits::token_patterns_count));
  }
  if (options.expires.empty()) return token;
  const auto ms = config::read_duration_ms(options.expires);
  if (!ms || *ms < 1'000) {
    return fail(ErrorCode::usage,
                fmt::format("--expires: \"{}\" is no time from now; write it as in 90d", options.expires));
  }
  constexpr uint64_t most_s = uint64_t{100} * 365 * 86'400;
  token.expires_unix_s = token.created_unix_s + static_cast<int64_t>(std::min(*ms / 1000, most_s));
  return token;
}

int token_new(const EdgeOptions& options) {
  const auto place = place_of(options);
  if (!place) return report(place.error());
  auto wanted = wanted_token(options);
  if (!wanted) return report(wanted.error());
  tunnel::NewToken made;
  const auto done = edit(*place, [&](Content& content) -> Outcome<void> {
    if (std::ranges::find(content.tokens, wanted->name, &Token::name) != content.tokens.end()) {
      return fail(ErrorCode::usage, fmt::format("there is a token \"{}\" already; choose another --name, or revoke it "
                                                "first: lintel edge token revoke {}",
                                                wanted->name, wanted->name));
    }
    do {
      made = tunnel::make_token(*wanted);
    } while (std::ranges::find(content.tokens, made.token.id, &Token::id) != content.tokens.end());
    content.tokens.push_back(made.token);
    return {};
  });
  if (!done) return report(done.error());
  const Token& token = made.token;
  if (options.json) {
    nlohmann::json body = as_json(token);
    body["token"] = made.text;
    body["file"] = place->file;
    return print_json(body);
  }
  fmt::print("{}\n", made.text);
  std::fflush(stdout);
  fmt::print(stderr,
             "lintel: the token \"{}\" may use the names {}{}{}. It is shown this once; {} has its hash only.\n"
             "lintel: on the computer that shares: lintel login {}\n",
             token.name, fmt::join(token.allow, ", "), token.tcp ? " and TCP ports" : "",
             token.expires_unix_s == 0 ? "" : fmt::format(" until {}", day(token.expires_unix_s)), place->file,
             place->domain.empty() ? "EDGE" : place->domain);
  return 0;
}

int token_list(const EdgeOptions& options) {
  const auto place = place_of(options);
  if (!place) return report(place.error());
  const auto content = read(place->file);
  if (!content) return report(content.error());
  if (options.json) {
    nlohmann::json tokens = nlohmann::json::array();
    for (const Token& token : content->tokens) tokens.push_back(as_json(token));
    return print_json({{"file", place->file}, {"tokens", tokens}, {"banned_names", content->banned_names}});
  }
  if (content->tokens.empty()) fmt::print("no tokens; lintel edge token new --name NAME makes one\n");
  size_t width = 4;
  for (const Token& token : content->tokens) width = std::max(width, token.name.size());
  if (!content->tokens.empty()) {
    fmt::print("{:{}}  id        state    made        expires     names\n", "name", width);
  }
  for (const Token& token : content->tokens) {
    fmt::print("{:{}}  {}  {:7}  {:10}  {:10}  {}{}\n", token.name, width, token.id, state_of(token),
               day(token.created_unix_s), day(token.expires_unix_s), fmt::join(token.allow, ", "),
               token.tcp ? "" : " (no TCP)");
  }
  if (!content->banned_names.empty()) fmt::print("banned names: {}\n", fmt::join(content->banned_names, ", "));
  return 0;
}

// By its name, its id, or the token itself (whose id stands in it).
std::vector<Token>::iterator find_token(Content& content, const std::string& what) {
  const std::string id = what.starts_with("lt_") && what.size() > 11 ? what.substr(3, 8) : what;
  return std::ranges::find_if(content.tokens, [&](const Token& one) { return one.name == what || one.id == id; });
}

// A whole token is a secret: what is not known about it is not repeated.
std::string shown(const std::string& what) {
  return what.starts_with("lt_") ? "with this text" : fmt::format("\"{}\"", what);
}

int token_revoke(const EdgeOptions& options) {
  const auto place = place_of(options);
  if (!place) return report(place.error());
  Token gone;
  const auto done = edit(*place, [&](Content& content) -> Outcome<void> {
    const auto found = find_token(content, options.what);
    if (found == content.tokens.end()) {
      return fail(ErrorCode::usage, fmt::format("there is no token {} in {}; 'lintel edge token list' shows them",
                                                shown(options.what), place->file));
    }
    gone = *found;
    content.tokens.erase(found);
    return {};
  });
  if (!done) return report(done.error());
  if (options.json) return print_json({{"revoked", as_json(gone)}});
  fmt::print("revoked \"{}\" ({}); a running edge cuts its agents within a second\n", gone.name, gone.id);
  return 0;
}

int ban(const EdgeOptions& options, bool is_ban) {
  const auto place = place_of(options);
  if (!place) return report(place.error());
  bool is_token = false;
  std::string name = options.what;
  const auto done = edit(*place, [&](Content& content) -> Outcome<void> {
    const auto found = options.share_name ? content.tokens.end() : find_token(content, options.what);
    is_token = found != content.tokens.end() && (is_ban || found->banned);
    if (is_token) {
      found->banned = is_ban;
      name = found->name;
      return {};
    }
    const auto banned = std::ranges::find(content.banned_names, options.what);
    if (!is_ban && banned == content.banned_names.end()) {
      return fail(ErrorCode::usage,
                  fmt::format("neither a token nor a share's name {} is banned", shown(options.what)));
    }
    if (!is_ban) {
      content.banned_names.erase(banned);
    } else if (!tunnel::is_share_name(options.what)) {
      return fail(ErrorCode::usage, fmt::format("{} is neither a token nor a share's name", shown(options.what)));
    } else if (banned == content.banned_names.end()) {
      content.banned_names.push_back(options.what);
      std::ranges::sort(content.banned_names);
    }
    return {};
  });
  if (!done) return report(done.error());
  const std::string_view what = is_token ? "token" : "name";
  if (options.json) return print_json({{what, name}, {"banned", is_ban}});
  fmt::print("the {} \"{}\" is {}banned{}\n", what, name, is_ban ? "" : "no longer ",
             is_ban ? "; a running edge cuts its agents within a second" : "");
  return 0;
}

void add_places(CLI::App& command, EdgeOptions& options) {
  auto* file = command.add_option("--file", options.file, "The tokens file itself")->type_name("FILE");
  command.add_option("-c,--config", options.config, "Configuration that names it (default /etc/lintel/lintel.toml)")
      ->type_name("FILE")
      ->excludes(file);
  command.add_flag("--json", options.json, "Print JSON");
}

void add_tokens(CLI::App& edge, int& exit_code) {
  CLI::App* token = edge.add_subcommand("token", "Make, list and revoke tokens");
  token->require_subcommand(1);
  token->footer("Example: lintel edge token new --name laptop --allow 'app,app-*'");
  const auto options = std::make_shared<EdgeOptions>();
  CLI::App* made = token->add_subcommand("new", "Make a token, and print it once");
  made->add_option("--name", options->name, "What to call it, as in \"laptop\"")->type_name("NAME")->required();
  made->add_option("--allow", options->allow, "Names of shares that it may use, \"*\" for any")
      ->type_name("NAMES")
      ->delimiter(',')
      ->capture_default_str();
  made->add_option("--expires", options->expires, "When it ends, as in 90d (default never)")->type_name("TIME");
  made->add_flag("--no-tcp", options->no_tcp, "It may not share TCP ports");
  add_places(*made, *options);
  made->footer(
      "Stdout gets the token and nothing else; the file gets its hash.\n"
      "Example: lintel edge token new --name laptop --allow 'app,app-*' --expires 90d\n"
      "Example: lintel edge token new --name ci --json | jq -r .token");
  made->callback([options, &exit_code] { exit_code = token_new(*options); });

  CLI::App* list = token->add_subcommand("list", "The tokens, and the names that are banned");
  add_places(*list, *options);
  list->footer("Example: lintel edge token list --json");
  list->callback([options, &exit_code] { exit_code = token_list(*options); });

  CLI::App* revoke = token->add_subcommand("revoke", "Remove a token for good");
  revoke->add_option("token", options->what, "Its name or id")->type_name("NAME|ID")->required();
  add_places(*revoke, *options);
  revoke->footer(
      "Its agents are cut within a second; its names rest for 30 days for a new token of the same name.\n"
      "Example: lintel edge token revoke laptop");
  revoke->callback([options, &exit_code] { exit_code = token_revoke(*options); });
}

}  // namespace

void add_edge(CLI::App& app, int& exit_code) {
  CLI::App* edge = app.add_subcommand("edge", "Who may share through this server");
  edge->require_subcommand(1);
  edge->footer("Example: lintel edge token new --name laptop\nExample: lintel edge ban spammer");
  add_tokens(*edge, exit_code);
  for (const bool is_ban : {true, false}) {
    const auto options = std::make_shared<EdgeOptions>();
    CLI::App* command = is_ban ? edge->add_subcommand("ban", "Keep out a token, or a share's name for every token")
                               : edge->add_subcommand("unban", "Let it in again");
    command->add_option("what", options->what, "A token's name or id, else the name of a share")
        ->type_name("NAME|TOKEN")
        ->required();
    command->add_flag("--share-name", options->share_name, "It is a share's name, also when a token is called so");
    add_places(*command, *options);
    command->footer(is_ban ? "Agents that it concerns are cut within a second.\nExample: lintel edge ban laptop\n"
                             "Example: lintel edge ban paypal --share-name"
                           : "Example: lintel edge unban laptop");
    command->callback([options, &exit_code, is_ban] { exit_code = ban(*options, is_ban); });
  }
}

}  // namespace lintel::cli
