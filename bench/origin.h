// The app behind every proxy of the benchmark: one thread, one epoll loop, answers prepared before the first request,
// so that it is never what limits the measurement.
//   GET /        100 octets        GET /1m     1 MiB      GET /endless  1 TiB
//   GET /honest  100 octets, counted apart      GET /stats  what arrived, as JSON
//   GET /ws      WebSocket, echoes every frame
//   any other    100 octets, after the request's body has been read and thrown away
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

struct Stats {
  uint64_t requests = 0;         // without those for /stats
  uint64_t honest_requests = 0;  // for /honest: the client beside an attack
  uint64_t connections = 0;
  uint64_t open_connections = 0;
  uint64_t body_octets = 0;
  uint64_t websocket_messages = 0;
};

// One connection's protocol: octets in, octets out, no socket.
class OriginConnection {
 public:
  explicit OriginConnection(Stats& stats) : stats_(stats) {}
  // Consumes what it can of input(); appends answers to output(). False: close the connection.
  bool process();
  // Octets that arrived and are not consumed yet.
  std::string& input() { return input_; }
  // The answer goes on when output() and body() have been sent.
  void refill();
  // Small answers. The 1 MiB body is not copied into it, see body().
  std::string& output() { return output_; }
  // Static octets that follow output(); valid for the program's life. Empty most of the time.
  std::string_view& body() { return body_; }
  bool closing() const { return closing_; }

 private:
  enum class State : uint8_t { head, length_body, chunk_line, chunk_data, chunk_trailer, websocket };

  bool head();
  bool length_body();
  bool chunk_line();
  bool chunk_data();
  bool chunk_trailer();
  bool websocket_frames();
  void answer();
  bool start_websocket(std::string_view head);

  Stats& stats_;
  State state_ = State::head;
  size_t position_ = 0;  // in input_: what is before it is consumed
  uint64_t left_ = 0;    // octets of the body or chunk
  char target_kind_ = ' ';
  bool closing_ = false;
  bool head_request_ = false;
  std::string input_;
  std::string output_;
  std::string_view body_;
  uint64_t repeats_ = 0;  // of body_ that are still to follow it
};

}  // namespace bench
