// The JSON access log (design §6): workers format lines into a ring of their own, one thread writes. A full ring counts
// and drops; a worker never blocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "base/limits.h"

namespace lintel::observe {

// One exchange, as the log shows it. Views are only read during record().
struct AccessRecord {
  int64_t unix_ms = 0;
  std::string_view request_id;
  IpAddress client, peer;
  bool peer_is_unix = false;
  bool client_hidden = false;        // the chain hides the client; `client` is the last that is known
  std::string_view client_from;      // "connection", "proxy-protocol", or the header that named the client
  const IpAddress* proxy = nullptr;  // the socket's peer, when its PROXY protocol header named `peer`
  bool proxy_is_unix = false;
  std::string_view unique_id;                               // of that header
  std::string_view scheme, host, method, target, protocol;  // protocol: "HTTP/1.1", "HTTP/2"
  uint16_t status = 0;
  uint64_t bytes_in = 0, bytes_out = 0;  // body octets
  uint64_t duration_us = 0;
  std::string_view upstream;                    // "127.0.0.1:8000", empty when none was asked
  int64_t connect_us = -1, first_byte_us = -1;  // -1: not reached
  bool upstream_reused = false;
  std::string_view tls_version, tls_cipher, sni;  // empty on plain http
  bool tls_resumed = false;
  std::string_view share, token;  // at an edge: the name, and whose it is
  std::string_view trace_id;      // of traceparent
  ErrorCode error = ErrorCode::none;
  std::string_view error_detail;
};

// Appends the JSON line (with its newline) for `record`. `log_query`: parameters whose values are kept; all others
// become "…=*". Invalid UTF-8 and control octets are escaped as \u00NN; never fails.
void format_access_line(const AccessRecord& record, const std::vector<std::string>& log_query, std::string& to);

// Redacts the query of `target`: "/a?q=1&page=2" -> "/a?q=*&page=2" with log_query = {"page"}.
void append_redacted_target(std::string_view target, const std::vector<std::string>& log_query, std::string& to);

class AccessLog {
 public:
  // `destination`: "stdout", "off" or a path (0640, appended). `writers`: how many worker threads.
  static Outcome<std::unique_ptr<AccessLog>> open(const std::string& destination, unsigned writers,
                                                  std::vector<std::string> log_query);
  ~AccessLog();  // writes what is left
  bool enabled() const noexcept { return fd_ >= 0; }
  // From worker `writer` only (one thread per index). Never blocks.
  void record(unsigned writer, const AccessRecord& record);
  // Opens the file again (log rotation). Thread-safe.
  void reopen();
  uint64_t dropped() const noexcept;

 private:
  // What the writing thread is doing, so that a worker makes a system call only when it must be woken.
  enum class Writer : uint8_t { running, batching, idle };
  struct Ring;
  AccessLog() = default;
  void wake();
  // The rest belongs to the writing thread.
  void drain_loop();
  bool drain_all();
  bool drain(Ring& ring);
  size_t write_some(std::string_view text);
  size_t put(std::string_view piece);
  bool wait_for_room();
  void complain(const std::string& why);
  void sleep_until_woken(int timeout_ms);
  void open_again();
  void report_drops(bool now);

  std::vector<std::unique_ptr<Ring>> rings_;
  std::vector<std::string> log_query_;
  std::string path_;  // empty for stdout
  int fd_ = -1;       // keeps its number when the file is opened again
  int wake_fd_ = -1;
  bool in_pieces_ = false;                                 // not a regular file: short writes that end at line ends
  bool at_line_start_ = true;                              // of the destination
  bool torn_ = false;                                      // the destination's last line was given up in its middle
  bool failing_ = false;                                   // already said so
  int patience_ms_ = limits::access_log_stop_patience_ms;  // with a destination that takes nothing, at the end
  uint64_t reported_drops_ = 0;
  uint64_t reported_at_ms_ = 0;
  std::atomic<uint64_t> unwritten_{0};  // lines taken from a ring that the destination refused
  std::atomic<Writer> writer_{Writer::running};
  std::atomic<bool> stop_{false};
  std::atomic<bool> reopen_{false};
  std::thread thread_;
};

}  // namespace lintel::observe
