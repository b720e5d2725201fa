// Does a port speak TLS or plain HTTP? Asked once per start of an app, and in a way that leaves no line in its log.
//
// A ClientHello makes every plain server log garbage, and a real request is a line in the access log. So five octets
// are sent that are neither: a TLS server takes them for a broken record and closes; an HTTP server waits for the rest
// of the line. Which octets, depends on the parser: five no-break spaces are an empty request line to Python's
// http.server and its children (Flask, Django) and are refused with a warning by llhttp (node, httptools, aiohttp);
// "TRACE" without the rest of its line is the other way round. Only a server that closes is asked again, with a
// ClientHello, whose answer is certain.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/ip.h"
#include "base/limits.h"

namespace lintel::dev {

enum class Speaks : uint8_t {
  plain,
  tls,
  nothing_yet,  // refused, or not accepted in time: ask again later
};

enum class ProbeOctets : uint8_t { no_break_spaces, trace };

// What suits the process that holds the port.
ProbeOctets probe_octets_for(pid_t pid);

// Blocks for at most `patience_ms`. Not for an event loop's thread.
Speaks probe_scheme(const SocketAddress& address, ProbeOctets octets, uint32_t patience_ms = limits::app_probe_ms);

}  // namespace lintel::dev
