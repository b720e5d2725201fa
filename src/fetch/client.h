// An HTTP/1.1 client for Lintel's own calls (ACME, `ask` URLs, OCSP, DNS services): one request per connection, over
// the reactor, bounded in octets and time. Not part of the data plane.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "net/blocking.h"
#include "net/reactor.h"
#include "net/task.h"
#include "tls/context.h"

namespace lintel::fetch {

struct Request {
  std::string method = "GET";
  std::string url;  // http:// or https://, host name or IP literal, optional port
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;  // sent with Content-Length when not empty or when the method is POST
};

struct Response {
  uint16_t status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // names lower case
  std::string body;
  // The first value of `name` (lower case), or "".
  std::string_view field(std::string_view name) const noexcept;
};

struct Options {
  std::string ca_file;     // additional trust anchors instead of the system's store; empty: the system's
  size_t body_bytes = 0;   // the most that is taken of an answer; 0: limits::fetch_body_bytes
  std::string user_agent;  // empty: "lintel/<version>"
};

class Client {
 public:
  // Both must outlive the client, and the client every send() that runs.
  Client(net::Reactor& reactor, net::BlockingPool& blocking, Options options);
  // `deadline` on the reactor's clock covers everything: name, connect, TLS, answer. Redirects are not followed. The
  // certificate is always verified against the URL's host. Errors: upstream_* codes, overloaded and usage (a URL that
  // is none), with a sentence that says what happened where.
  net::Task<Outcome<Response>> send(Request request, TimeMs deadline);

 private:
  net::Task<Outcome<void>> prepare_tls(TimeMs deadline);
  net::Reactor& reactor_;
  net::BlockingPool& blocking_;
  Options options_;
  tls::ContextPtr context_;
};

}  // namespace lintel::fetch
