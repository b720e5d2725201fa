// The program that adds and removes TXT records for dns-01: started without a shell as
//   PROGRAM [ARGUMENT…] add|remove RECORD-NAME VALUE
// ("add _acme-challenge.example.com 8Ro…"), as `user` when Lintel may change to it, in an environment of its own, at
// most limits::dns_hook_ms long. Exit 0: done. Records of the same name stand beside each other: the hook adds and
// removes exactly the one with VALUE.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"

namespace lintel::acme {

struct DnsHook {
  std::vector<std::string> command;  // program (absolute path) and its first arguments; empty: there is none
  std::string user;                  // empty: Lintel's own
  uint32_t timeout_ms = 0;           // 0: limits::dns_hook_ms
};

// Blocks. Error: what it printed last, or that it did not end in time (it is then killed with all it started).
Outcome<void> run_dns_hook(const DnsHook& hook, std::string_view action, const std::string& record,
                           const std::string& value);

// The name servers of `texts` ("192.0.2.1:53"), or when there are none those of the zone of `record`. Blocks.
Outcome<std::vector<SocketAddress>> servers_to_ask(const std::string& record, const std::vector<std::string>& texts);

// Asks each of `servers` once, and removes from it those that show `value` at `record`. Blocks. What the last of those
// that stay has said: "" when none is left.
std::string look_for_record(const std::string& record, const std::string& value, std::vector<SocketAddress>& servers);

}  // namespace lintel::acme
