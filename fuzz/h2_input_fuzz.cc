// Octets from a hostile HTTP/2 peer, in fragments, with an application that answers. The first octet picks the role and
// the fragment size, and whether the preface is given. Checked: no crash, views inside what was fed, one head a stream,
// nothing for a stream after its end, and bounded memory.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "http/h2_session.h"

namespace {

using namespace lintel;
using namespace lintel::http;

void require(bool holds) {
  if (!holds) std::abort();
}

struct Seen {
  bool head = false;
  bool ended = false;
};

class Driver {
 public:
  explicit Driver(uint8_t choice)
      : server_((choice & 1) == 0),
        session_({.role = server_ ? H2Session::Role::server : H2Session::Role::client,
                  .extended_connect = true,
                  .max_concurrent_streams = 0},
                 now_ms_) {
    if (server_) return;
    for (std::string_view method : {"GET", "HEAD", "POST", "CONNECT"}) {
      const bool connect = method == "CONNECT";
      static_cast<void>(session_.submit_request(method, "https", "a.test", "/", connect ? "websocket" : "", no_fields_,
                                                method == "GET" || method == "HEAD"));
    }
    gather();
  }

  // False when the session has ended.
  bool feed(std::string_view octets) {
    const bool fine = session_.feed(octets, now_ms_).has_value();
    now_ms_ += 7;
    for (const H2Event& event : session_.events()) take(event, octets);
    session_.clear_events();
    gather();
    for (const H2Event& event : session_.events()) take(event, octets);
    session_.clear_events();
    require(session_.memory_octets() < 8 * limits::connection_memory_bytes);
    require(session_.open_streams() <= limits::h2_concurrent_streams_count);
    return fine && !session_.finished();
  }

 private:
  void take(const H2Event& event, std::string_view fed) {
    Seen& seen = streams_[event.stream];
    switch (event.kind) {
      case H2Event::Kind::request:
        require(server_ && !seen.head && event.head->request.host.size() != 0);
        require(event.head->request.target.front() == '/' || event.head->request.target == "*");
        seen.head = true;
        answer(event.stream);
        break;
      case H2Event::Kind::refused_head:
        require(server_ && !seen.head && event.error != ErrorCode::none);
        seen.head = true;
        session_.submit_response(event.stream, facts(event.error).status, no_fields_, true);
        session_.reset(event.stream, H2Error::no_error);
        break;
      case H2Event::Kind::response:
        require(!server_ && !seen.head && event.head->response.status >= 200);
        seen.head = true;
        break;
      case H2Event::Kind::data:
        require(seen.head && !seen.ended && !event.data.empty());
        require(event.data.data() >= fed.data() && event.data.data() + event.data.size() <= fed.data() + fed.size());
        session_.consume(event.stream, event.data.size());
        break;
      case H2Event::Kind::end:
        require(seen.head && !seen.ended);
        break;
      case H2Event::Kind::reset:
        seen.ended = true;
        break;
      default:
        break;
    }
    if (event.end_stream) seen.ended = true;
  }
  void answer(StreamId stream) {
    session_.submit_response(stream, 200, no_fields_, false);
    session_.write(stream, "an answer");
    // Some streams stay open, so that frames find them in every state.
    if (stream % 8 != 7) session_.finish(stream);
    if (stream % 32 == 25) session_.reset(stream, H2Error::cancel);
  }
  void gather() {
    Buffer out;
    while (session_.gather(out, 4096)) out.clear_keep();
  }

  TimeMs now_ms_ = 1000;
  bool server_;
  FieldList no_fields_;
  H2Session session_;
  std::map<StreamId, Seen> streams_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = data[0];
  constexpr size_t pieces[] = {1, 2, 3, 7, 16, 31, 1024, SIZE_MAX};
  const size_t piece = pieces[choice >> 1 & 7];
  std::string_view octets(reinterpret_cast<const char*>(data) + 1, size - 1);
  Driver driver(choice);
  // Mutations seldom leave the client's preface whole: most inputs start behind it.
  if ((choice & 0x10) != 0 && (choice & 1) == 0) {
    driver.feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + std::string("\0\0\0\4\0\0\0\0\0", 9));
  }
  while (!octets.empty()) {
    const std::string_view part = octets.substr(0, piece);
    if (!driver.feed(part)) break;
    octets.remove_prefix(part.size());
  }
  return 0;
}
