// Who may speak for the client, and what holds for the whole process.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/ascii.h"
#include "base/ip.h"
#include "base/limits.h"
#include "forwarded/presets.h"
#include "import/convert_parts.h"

namespace lintel::import {
namespace {

struct RealIp {
  const Directive* header = nullptr;
  bool recursive = false;
  std::vector<const Directive*> from;
};

// Is every network of `peers` in the preset's own list?
bool is_all_of_preset(std::string_view preset, const std::vector<std::string>& peers) {
  const forwarded::Ranges* ranges = forwarded::find_ranges(preset);
  if (ranges == nullptr || peers.empty()) return false;
  return std::ranges::all_of(peers, [&](const std::string& peer) {
    const auto one = IpPrefix::parse(peer);
    return one.has_value() && std::ranges::any_of(ranges->prefixes, [&](std::string_view text) {
             const auto known = IpPrefix::parse(text);
             return known.has_value() && known->length <= one->length &&
                    known->address.is_v4() == one->address.is_v4() && known->contains(one->address);
           });
  });
}

// The peers that may be believed; those that stand for everybody are left out, and said so.
std::vector<std::string> read_peers(Work& work, const std::vector<const Directive*>& lines) {
  std::vector<std::string> peers;
  for (const Directive* line : lines) {
    work.report.used(*line);
    const std::string_view text = line->arg(0);
    if (text == "unix:") {
      peers.emplace_back("unix");
      continue;
    }
    const auto network = read_network(text);
    if (!network.has_value()) {
      work.report.not_understood(*line, "[[trust]] takes addresses and networks, not names");
    } else if (const auto prefix = IpPrefix::parse(*network); prefix->length <= (prefix->address.is_v4() ? 4 : 16)) {
      work.report.unsafe(*line,
                         "everybody could choose the address they seem to come from: rules by address, rate limits "
                         "and logs were worth nothing. Left out: name the proxies in front of you in [[trust]]");
    } else if (std::ranges::find(peers, *network) == peers.end()) {
      peers.push_back(*network);
    }
  }
  return peers;
}

// Was the scheme of these peers believed too?
bool believes_scheme(const Directives& own) {
  return std::ranges::any_of(own, [](const Directive& one) {
    return std::ranges::any_of(
               one.args,
               [](const std::string& arg) { return arg.find("$http_x_forwarded_proto") != std::string::npos; }) ||
           believes_scheme(one.block);
  });
}

void write_trust(Work& work, const RealIp& found, const Directives& level) {
  TrustModel trust;
  trust.peers = read_peers(work, found.from);
  const std::string header = found.header == nullptr ? "x-real-ip" : lowered(found.header->arg(0));
  if (found.header != nullptr) work.report.used(*found.header);
  if (trust.peers.empty()) return;
  trust.place = work.place(*found.from.front());
  trust.accept = {"for"};
  if (believes_scheme(level)) trust.accept.emplace_back("proto");
  if (header == "proxy_protocol") {
    trust.client_header = "proxy_protocol";  // write_listeners() takes it
    std::erase(trust.peers, "unix");
  } else if (header == "x-forwarded-for") {
    trust.source = "x-forwarded";
    trust.hops = found.recursive ? -1 : 1;
  } else if (header == "cf-connecting-ip" && is_all_of_preset("cloudflare", trust.peers)) {
    trust = {.peers = {}, .preset = "cloudflare", .accept = {}, .place = trust.place};
    work.report.changed(*found.from.front(),
                        "Lintel knows Cloudflare's addresses (preset = \"cloudflare\"), so the list "
                        "need not be kept by hand; it believes the visitor's scheme too");
  } else if (is_token(header)) {
    trust.client_header = found.header == nullptr ? "X-Real-IP" : std::string(found.header->arg(0));
    trust.accept.clear();
  } else {
    work.report.not_understood(*found.header, "this is not a header's name");
    return;
  }
  const auto same = [&](const TrustModel& one) {
    return one.peers == trust.peers && one.source == trust.source && one.client_header == trust.client_header &&
           one.preset == trust.preset;
  };
  if (std::ranges::none_of(work.model.trust, same)) work.model.trust.push_back(std::move(trust));
}

// "response" <- proxy_read_timeout: the longest one of the file.
struct Timeout {
  std::string_view ours;
  uint64_t default_ms;  // nginx's
  uint64_t longest_ms = 0;
};

void take_timeout(Work& work, const Directive& line, Timeout& timeout) {
  work.report.used(line);
  const auto ms = read_nginx_time_ms(line.arg(0));
  if (!ms.has_value() || *ms == 0) {
    work.report.not_understood(line, "Lintel's timeouts are from 1ms to 1h");
    return;
  }
  if (*ms > limits::config_timeout_max_ms) {
    work.report.changed(line, "Lintel's longest timeout is 1h; WebSockets are not bound by it");
  }
  if (timeout.longest_ms != 0 && timeout.longest_ms != *ms) {
    work.report.changed(line, "Lintel's timeouts hold for all sites; the longest of the old ones is written");
  }
  timeout.longest_ms = std::max(timeout.longest_ms, std::min(*ms, limits::config_timeout_max_ms));
}

void walk(const Directives& own, const auto& visit) {
  for (const Directive& one : own) {
    visit(one);
    walk(one.block, visit);
  }
}

}  // namespace

void read_trust(Work& work, const std::vector<const Directives*>& levels) {
  const Directive* header = nullptr;  // of http, for servers that do not say it again
  const Directive* recursive = nullptr;
  for (size_t at = 0; at < levels.size(); ++at) {
    RealIp found;
    found.from = all_of(*levels[at], {"set_real_ip_from"});
    const auto own_header = all_of(*levels[at], {"real_ip_header"});
    const auto own_recursive = all_of(*levels[at], {"real_ip_recursive"});
    found.header = own_header.empty() ? header : own_header.back();
    const Directive* mode = own_recursive.empty() ? recursive : own_recursive.back();
    found.recursive = mode != nullptr && mode->arg(0) == "on";
    if (mode != nullptr) work.report.used(*mode);
    if (at == 0) {
      header = found.header;
      recursive = mode;
    }
    if (found.from.empty()) continue;
    if (at > 0) work.report.changed(*found.from.front(), "[[trust]] holds for all sites, not for this server alone");
    write_trust(work, found, *levels[at]);
  }
}

void read_globals(Work& work, const std::vector<const Directives*>& levels) {
  Timeout connect{"connect", 60'000}, response{"response", 60'000}, header{"header", 60'000}, body{"body_idle", 60'000},
      keep_alive{"keep_alive", 75'000};
  for (const Directives* level : levels) {
    walk(*level, [&](const Directive& line) {
      if (line.name == "proxy_connect_timeout" || line.name == "grpc_connect_timeout")
        take_timeout(work, line, connect);
      if (line.name == "proxy_read_timeout" || line.name == "grpc_read_timeout") take_timeout(work, line, response);
      if (line.name == "client_header_timeout") take_timeout(work, line, header);
      if (line.name == "client_body_timeout") take_timeout(work, line, body);
      if (line.name == "keepalive_timeout") take_timeout(work, line, keep_alive);
    });
  }
  for (const Timeout* one : {&connect, &response, &header, &body, &keep_alive}) {
    if (one->longest_ms != 0) work.model.timeouts[std::string(one->ours)] = duration_text(one->longest_ms);
  }
  for (const Directive& line : work.files.tree) {
    if (line.name != "worker_processes") continue;
    unsigned count = 0;
    const std::string_view text = line.arg(0);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error == std::errc() && end == text.data() + text.size() && count > 0 &&
        count <= limits::config_workers_count) {
      work.model.workers = std::to_string(count);
      work.report.used(line);
    }
  }
}

}  // namespace lintel::import
