// Lines that are unsafe wherever they stand.
#include <fmt/format.h>

#include <algorithm>

#include "base/ascii.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

void check_switches(Work& work, const Directive& line) {
  const std::string_view state = line.arg(0);
  if (line.name == "merge_slashes" && state == "off") {
    work.report.unsafe(line,
                       "//admin does not match location /admin, but most apps take it for the same page. Lintel "
                       "merges slashes before it compares, and where a route restricts access the app gets that form");
  } else if (line.name == "underscores_in_headers" && state == "on") {
    work.report.unsafe(line,
                       "X_Forwarded_For reaches the app beside X-Forwarded-For, and WSGI, CGI and PHP read both as "
                       "one. Lintel removes such spellings of the names that it writes");
  } else if (line.name == "ignore_invalid_headers" && state == "off") {
    work.report.unsafe(line,
                       "header names that are not valid reached the app, where they can turn into other ones. Lintel "
                       "answers 400");
  } else if (line.name == "ssl_early_data" && state == "on") {
    work.report.unsafe(line,
                       "what comes as early data can be sent again by anybody who recorded it. Lintel does not take "
                       "early data");
  } else if (line.name == "proxy_next_upstream" && std::ranges::find(line.args, "non_idempotent") != line.args.end()) {
    work.report.unsafe(line, "a POST could reach the app twice. Lintel repeats only what may be repeated");
  } else if (line.name == "autoindex" && state == "on") {
    work.report.unsafe(line, "it showed the list of files to everybody");
  } else if (line.name == "server_tokens" && state == "on") {
    work.report.unsafe(line, "it told everybody nginx's version");
  } else if (line.name == "stub_status" && line.args.empty()) {
    work.report.not_understood(line, "see metrics in docs/configuration.md");
  }
}

void check_protocols(Work& work, const Directive& line) {
  if (line.name != "ssl_protocols" && line.name != "proxy_ssl_protocols") return;
  std::vector<std::string> old;
  for (const std::string& version : line.args) {
    if (version == "SSLv2" || version == "SSLv3" || version == "TLSv1" || version == "TLSv1.1") old.push_back(version);
  }
  if (old.empty()) return;
  work.report.unsafe(
      line, fmt::format("{} {} broken and no browser has used {} since 2020. Lintel speaks TLS 1.2 and 1.3",
                        fmt::join(old, ", "), old.size() == 1 ? "is" : "are", old.size() == 1 ? "it" : "them"));
}

void check_ciphers(Work& work, const Directive& line) {
  if (line.name != "ssl_ciphers") return;
  const std::string text = lowered(line.joined());
  std::string_view rest = text;
  while (!rest.empty()) {
    const size_t end = rest.find_first_of(": ");
    const std::string_view one = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (one.starts_with('!') || one.starts_with('-')) continue;
    for (const std::string_view bad : {"rc4", "des", "md5", "null", "export", "anull", "low"}) {
      if (one != bad && !one.starts_with(std::string(bad) + "-") && !one.ends_with("-" + std::string(bad))) continue;
      work.report.unsafe(line,
                         fmt::format("{} is broken. Lintel offers only suites with forward secrecy and AEAD", one));
      return;
    }
  }
}

// location /static { alias /srv/static/; } gives /static../secret to everybody.
void check_alias(Work& work, const Directive& location) {
  if (location.name != "location" || location.args.empty()) return;
  const std::string_view path = location.args.back();
  if (location.args.size() == 2 && location.arg(0).starts_with('~')) return;
  for (const Directive* alias : all_of(location.block, {"alias"})) {
    if (path.ends_with('/') || !alias->arg(0).ends_with('/')) continue;
    work.report.unsafe(*alias,
                       fmt::format("a request for {0}../name got the file beside that folder: the location {0} has "
                                   "no '/' at its end and the alias has one. Whatever lay there may have been read",
                                   path));
  }
}

void check_injection(Work& work, const Directive& line) {
  if (line.name != "return" && line.name != "rewrite" && line.name != "add_header") return;
  const bool decoded = std::ranges::any_of(line.args, [](const std::string& arg) {
    return arg.find("$uri") != std::string::npos || arg.find("$document_uri") != std::string::npos;
  });
  if (!decoded || (line.name != "add_header" && line.joined().find("://") == std::string::npos)) return;
  work.report.unsafe(
      line, "$uri is decoded: with %0d%0a in the path a client writes header lines of its own into the answer");
}

// One line in an inner level discards all lines of the outer ones.
void check_lists(Work& work, const Directives& own, const Directives& outer, std::string_view name,
                 std::string_view consequence) {
  const auto inner_lines = all_of(own, {name});
  const auto outer_lines = all_of(outer, {name});
  if (inner_lines.empty() || outer_lines.empty()) return;
  std::vector<std::string> lost;
  for (const Directive* line : outer_lines) {
    const bool again = std::ranges::any_of(
        inner_lines, [&](const Directive* one) { return same_ignoring_case(one->arg(0), line->arg(0)); });
    if (!again && std::ranges::find(lost, line->arg(0)) == lost.end()) lost.emplace_back(line->arg(0));
  }
  if (lost.empty()) return;
  work.report.unsafe(*inner_lines.front(),
                     fmt::format("this one line switched off every {} of the levels above: {} {} not "
                                 "there any more. {}",
                                 name, fmt::join(lost, ", "), lost.size() == 1 ? "was" : "were", consequence));
}

void check_inheritance(Work& work, const Directives& own, const Directives& outer) {
  check_lists(
      work, own, outer, "proxy_set_header",
      "Where that was about Host or X-Forwarded-*, the client's own values reached the app. Lintel writes them for "
      "every request");
  check_lists(work, own, outer, "add_header",
              "Answers of these paths came without them. In Lintel they hold for the whole "
              "site");
}

void check_level(Work& work, const Directives& own, const std::vector<const Directives*>& outer) {
  for (const Directive& line : own) {
    check_switches(work, line);
    check_protocols(work, line);
    check_ciphers(work, line);
    check_alias(work, line);
    check_injection(work, line);
    if (!line.has_block) continue;
    if (line.name == "server" || line.name == "location" || line.name == "if") {
      for (const Directives* level : outer) check_inheritance(work, line.block, *level);
      check_inheritance(work, line.block, own);
    }
    std::vector<const Directives*> levels = outer;
    levels.push_back(&own);
    check_level(work, line.block, levels);
  }
}

}  // namespace

void check_everywhere(Work& work, const Directives& all) { check_level(work, all, {}); }

}  // namespace lintel::import
