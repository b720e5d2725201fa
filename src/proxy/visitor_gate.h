// The seam through which a share asks visitors who they are before the app sees anything (src/share). On the worker's
// thread; one worker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "base/ip.h"
#include "http/message.h"
#include "net/task.h"

namespace lintel::proxy {

struct VisitorRequest {
  std::string_view method, target;   // as it came
  std::string_view path;             // normalised, without query
  std::string_view authority, host;  // of the identity: with its port; without
  IpAddress client;
  bool client_known = true;  // false: whoever speaks for the client did not name it
  bool https = true;
  const http::FieldList* fields = nullptr;
  std::string_view body = {};  // of requests to paths that the gate owns, at most limits::share_form_bytes
};

struct VisitorAnswer {
  bool pass = false;                  // the app gets the request; otherwise:
  ErrorCode error = ErrorCode::none;  // for the log and,
  uint16_t status = 0;                // when this is 0, Lintel's page; else the gate's own answer
  std::vector<std::pair<std::string, std::string>> fields =
      {};  // of the answer, also of the app's on pass; lower-case names
  std::string body = {};
  std::string cookies_withheld = {};  // how the names of cookies begin that the app does not get; "" = none
  uint64_t retry_after_ms = 0;
  TimeMs until_ms = 0;  // on the reactor's clock: the exchange is cut then, whatever runs; 0 = never
};

class VisitorGate {
 public:
  virtual ~VisitorGate() = default;
  // Is the path one of the gate's own, whose requests never reach the app, and whose body it wants?
  virtual bool owns(std::string_view path) const = 0;
  virtual net::Task<VisitorAnswer> check(const VisitorRequest& request) = 0;
};

}  // namespace lintel::proxy
