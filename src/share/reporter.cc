#include "share/reporter.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/log.h"
#include "share/qr.h"

namespace lintel::share {
namespace {

constexpr size_t shown_path_bytes = 200;

void say(std::FILE* to, const std::string& lines) {
  std::fputs(lines.c_str(), to);
  std::fflush(to);
}

void event(const nlohmann::json& object) {
  say(stdout, object.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string shown_wait(uint32_t ms) {
  if (ms == 0) return "trying again at once";
  return fmt::format("trying again in {} s", (ms + 999) / 1000);
}

std::string shown_duration(uint64_t us) {
  if (us < 10'000) return fmt::format("{:.1f} ms", static_cast<double>(us) / 1000);
  if (us < 10'000'000) return fmt::format("{} ms", us / 1000);
  return fmt::format("{} s", us / 1'000'000);
}

std::string shown_path(std::string_view path) {
  std::string text = log::escape(path.substr(0, shown_path_bytes));
  return path.size() > shown_path_bytes ? text + "…" : text;
}

std::string clock_time(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  return fmt::format("{:%H:%M:%S}", parts);
}

}  // namespace

void HumanReporter::connected(const Announcement& announcement) {
  trouble_.clear();
  wants_rtt_ = true;
  if (announcement.again && announcement.url == url_) return say(stderr, "lintel: connected again\n");
  if (announcement.again) say(stderr, "lintel: connected again, under another address:\n");
  url_ = announcement.url;
  std::string text = fmt::format("{}{}{}\n", style_.color ? "\x1b[1m" : "", url_, style_.color ? "\x1b[0m" : "");
  if (style_.qr) text += qr_lines(url_, style_.columns, style_.color);
  for (const std::string& url : announcement.also) text += fmt::format("  also {}\n", url);
  text += fmt::format("  -> {}\n", announcement.forwards_to);
  if (announcement.agents > 1)
    text += fmt::format("  {} agents have this name; visitors are spread over them\n", announcement.agents);
  say(stdout, text);
}

void HumanReporter::round_trip(uint32_t us) {
  if (wants_rtt_) say(stderr, fmt::format("lintel: round trip to the edge: {}\n", shown_duration(us)));
  wants_rtt_ = false;
}

void HumanReporter::away(const std::string& edge, const std::string& why, uint32_t retry_in_ms) {
  // Again and again the same would push everything else off the screen.
  if (why == trouble_) return;
  trouble_ = why;
  say(stderr, fmt::format("lintel: the edge {} is away: {}; {}\n", edge, log::escape(why), shown_wait(retry_in_ms)));
}

void HumanReporter::refused(const std::string& edge, const tunnel::Refusal& refusal, uint32_t retry_in_ms,
                            bool given_up) {
  if (!given_up && refusal.message == trouble_) return;
  trouble_ = refusal.message;
  say(stderr, fmt::format("lintel: {} refuses ({}): {}{}\n", edge, log::escape(refusal.error),
                          log::escape(refusal.message), given_up ? "" : "; " + shown_wait(retry_in_ms)));
}

void HumanReporter::expired() { say(stderr, "lintel: the time of --expires is over; the share has ended\n"); }

void HumanReporter::notice(const tunnel::Notice& notice) {
  const std::string agents = notice.agents == 1 ? "this agent alone has the name now"
                                                : fmt::format("{} agents have the name now", notice.agents);
  say(stderr, fmt::format("lintel: {}{}{}\n", agents, notice.message.empty() ? "" : ": ", log::escape(notice.message)));
}

void HumanReporter::request(const RequestLine& line) {
  const int64_t second = line.unix_ms / 1000;
  if (second != second_) {
    if (not_shown_ != 0) say(stderr, fmt::format("          {} more requests\n", not_shown_));
    second_ = second;
    in_second_ = not_shown_ = 0;
  }
  if (++in_second_ > limits::share_request_lines_count) {
    ++not_shown_;
    return;
  }
  const char* color = "";
  if (style_.color) color = line.status >= 500 ? "\x1b[31m" : line.status >= 400 ? "\x1b[33m" : "\x1b[32m";
  say(stderr, fmt::format("{}  {:<6} {}  {}{}{}  {}  {}{}{}\n", clock_time(line.unix_ms),
                          log::escape(line.method.substr(0, 32)), shown_path(line.path), color, line.status,
                          style_.color ? "\x1b[0m" : "", shown_duration(line.duration_us), line.visitor,
                          line.error.empty() ? "" : "  ", line.error));
}

void HumanReporter::sealed(const SealedEvent& event) {
  using Kind = SealedEvent::Kind;
  const std::string name = log::escape(event.name);
  const std::string message = log::escape(event.message);
  std::string line;
  switch (event.kind) {
    case Kind::waiting:
      line = message.empty() ? fmt::format("ordering a certificate for {}; its key stays on this computer", name)
                             : fmt::format("no certificate for {} yet: {}", name, message);
      break;
    case Kind::ready:
      line = fmt::format("{} has its own certificate: what visitors send is encrypted up to this computer", name);
      break;
    case Kind::seen:
      line = fmt::format("seen from outside, {} shows this computer's key", name);
      break;
    case Kind::not_seen:
      line = fmt::format("whether visitors meet this computer's key is not known: {}", message);
      break;
    case Kind::other_key:
      line = fmt::format(
          "{} shows SOMEBODY ELSE'S KEY to visitors: whoever has it reads what they send. Stop the share, and look at "
          "who may change the name's DNS and at its CAA records (docs/sealed.md)",
          name);
      break;
  }
  const bool bad = event.kind == Kind::other_key;
  say(stderr, fmt::format("{}lintel: {}{}\n", bad && style_.color ? "\x1b[31m" : "", line,
                          bad && style_.color ? "\x1b[0m" : ""));
}

void JsonReporter::connected(const Announcement& announcement) {
  event({{"event", "connected"},
         {"url", announcement.url},
         {"also", announcement.also},
         {"edge", announcement.edge},
         {"to", announcement.forwards_to},
         {"agents", announcement.agents},
         {"again", announcement.again}});
}

void JsonReporter::round_trip(uint32_t us) { event({{"event", "round-trip"}, {"ms", static_cast<double>(us) / 1000}}); }

void JsonReporter::away(const std::string& edge, const std::string& why, uint32_t retry_in_ms) {
  event({{"event", "away"}, {"edge", edge}, {"why", why}, {"retry_in_ms", retry_in_ms}});
}

void JsonReporter::refused(const std::string& edge, const tunnel::Refusal& refusal, uint32_t retry_in_ms,
                           bool given_up) {
  event({{"event", "refused"},
         {"edge", edge},
         {"error", refusal.error},
         {"message", refusal.message},
         {"retry_in_ms", retry_in_ms},
         {"given_up", given_up}});
}

void JsonReporter::expired() { event({{"event", "expired"}}); }

void JsonReporter::notice(const tunnel::Notice& notice) {
  event({{"event", "notice"}, {"agents", notice.agents}, {"message", notice.message}});
}

void JsonReporter::sealed(const SealedEvent& sealed_event) {
  constexpr std::string_view names[] = {"waiting", "ready", "seen", "not-seen", "other-key"};
  event({{"event", "sealed"},
         {"state", names[static_cast<size_t>(sealed_event.kind)]},
         {"name", sealed_event.name},
         {"message", sealed_event.message}});
}

void JsonReporter::request(const RequestLine& line) {
  event({{"event", "request"},
         {"time", line.unix_ms},
         {"method", line.method},
         {"path", line.path},
         {"status", line.status},
         {"ms", static_cast<double>(line.duration_us) / 1000},
         {"visitor", line.visitor},
         {"error", line.error}});
}

}  // namespace lintel::share
