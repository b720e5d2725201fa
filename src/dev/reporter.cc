#include "dev/reporter.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace lintel::dev {
namespace {

void say(std::FILE* to, const std::string& lines) {
  std::fputs(lines.c_str(), to);
  std::fflush(to);
}

void event(const nlohmann::json& object) {
  say(stdout, object.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string app_url(const AppUpdate& update) {
  return fmt::format("{}://{}", update.tls ? "https" : "http", update.address.text());
}

}  // namespace

void HumanReporter::announce(const Announcement& announcement) {
  std::string text = fmt::format("{}{}{}\n", color_ ? "\x1b[1m" : "", announcement.url, color_ ? "\x1b[0m" : "");
  for (const std::string& url : announcement.also) text += fmt::format("  also {}\n", url);
  text += fmt::format("  -> {}\n", announcement.forwards_to);
  if (!announcement.simulates.empty())
    text += fmt::format("  SIMULATION: the app gets the headers of {}, also those that a client forged ({}).\n",
                        announcement.simulates, announcement.simulates_about);
  if (announcement.trusted)
    text += "  The certificate is trusted here (browsers with a store of their own: lintel trust status).\n";
  else
    text += fmt::format("  The certificate is not trusted here yet; run: {}\n", announcement.trust_command);
  for (const std::string& note : announcement.notes) text += fmt::format("  Note: {}\n", log::escape(note));
  say(stdout, text);
}

void HumanReporter::app_up(const AppUpdate& update) {
  std::string url = app_url(update);
  if (url == last_up_) return;
  last_up_ = url;
  std::string process = update.process.empty() ? "" : fmt::format(" ({})", log::escape(update.process));
  say(stderr, fmt::format("lintel: forwarding to {}{}{}\n", url, process,
                          update.tls ? "; its certificate is not verified, because it is on this machine" : ""));
}

void HumanReporter::app_exited(int code) {
  if (code != 0) say(stderr, fmt::format("lintel: the app exited with code {}\n", code));
}

void HumanReporter::finding(const Finding& finding) {
  // One line behind "fix:", several below it.
  std::string fix = finding.where.empty() ? finding.fix : finding.where + ":\n" + finding.fix;
  for (size_t at = 0; (at = fix.find('\n', at)) != fix.npos; at += 14) fix.replace(at, 1, "\n             ");
  say(stderr, fmt::format("lintel: {}\n        fix: {}\n", finding.message, fix));
}

void JsonReporter::announce(const Announcement& announcement) {
  nlohmann::json object{{"event", "listening"},
                        {"url", announcement.url},
                        {"also", announcement.also},
                        {"to", announcement.forwards_to},
                        {"trusted", announcement.trusted},
                        {"trust_command", announcement.trust_command},
                        {"root", announcement.root_file},
                        {"notes", announcement.notes}};
  if (!announcement.simulates.empty()) object["simulates"] = announcement.simulates;
  event(object);
}

void JsonReporter::app_up(const AppUpdate& update) {
  event({{"event", "app-up"}, {"url", app_url(update)}, {"tls", update.tls}, {"process", update.process}});
}

void JsonReporter::app_lost() { event({{"event", "app-lost"}}); }

void JsonReporter::app_exited(int code) { event({{"event", "app-exited"}, {"code", code}}); }

void JsonReporter::finding(const Finding& finding) {
  event({{"event", "finding"},
         {"id", finding.id},
         {"message", finding.message},
         {"fix", finding.fix},
         {"where", finding.where}});
}

}  // namespace lintel::dev
