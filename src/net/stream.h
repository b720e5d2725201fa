// A byte stream between a flow and a peer: TCP or unix socket, plain or TLS.
//
// Reading and writing are plain calls that never wait; a flow waits on the Signal that owns the stream's Watch. Reads
// are edge-triggered: `would_block` means that the owner will be notified when there is more.
//
// Writing never refuses: put() collects small pieces, write() sends large ones at once, flush() sends what is
// collected; what the kernel does not take stays here (the spill) and blocked() is true until a later flush() got rid
// of it. A flow does not produce more for a stream that is blocked(): that is the backpressure.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/errors.h"
#include "base/ip.h"
#include "net/fd.h"
#include "net/reactor.h"
#include "tls/engine.h"

namespace lintel::net {

struct ReadResult {
  enum class Status : uint8_t { data, would_block, eof, failed } status = Status::would_block;
  size_t size = 0;  // octets when data
};

// The worker's shared read buffer (limits::scratch_bytes): filled and used up inside one call that does not suspend.
std::span<char> scratch() noexcept;
// A flow has suspended or ended: whoever looks into the scratch without calling scratch() anew reads octets of another
// connection. ASan builds make that a crash; others do nothing.
void forget_scratch() noexcept;

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() = default;

  // Takes ownership of `fd` (non-blocking).
  void open(Reactor& reactor, int fd, Signal* owner, bool connecting = false);
  // Gives the descriptor away; nothing of it may have been read or be unsent.
  int release() noexcept { return watch_.release(); }
  // A connection between two streams: for another flow, or for another worker, whose thread then has it alone.
  struct Parcel {
    UniqueFd fd;
    tls::Engine engine;
    Buffer output, cipher;
    bool peer_closed = false, held_plain = false, ended = false;
  };
  // What is left is as if it had been closed. Not while it is blocked() or has failed.
  Parcel give_away();
  void take(Reactor& reactor, Parcel parcel, Signal* owner);
  void set_owner(Signal* owner) noexcept { watch_.owner = owner; }
  // The next try_read() asks the kernel, although no event has told of anything yet.
  void assume_readable() noexcept { watch_.readable = true; }
  // Puts TLS between this stream and the socket; handshake() comes next.
  void start_tls(tls::Engine engine) { engine_ = std::move(engine); }
  bool is_tls() const noexcept { return static_cast<bool>(engine_); }
  // Drives the handshake with what has arrived. `want_read`: wait for the owner's signal. A failed one has sent its
  // alert when it could.
  tls::HandshakeStatus handshake();
  tls::Engine& engine() noexcept { return engine_; }

  // Reads up to to.size() octets of plain text. A result smaller than that means there is no more for now.
  ReadResult try_read(std::span<char> to);
  // Looks at the first octets of a plain socket without taking them (MSG_PEEK).
  ReadResult peek(std::span<char> to);
  // May try_read() give something (an edge was seen, or TLS holds octets)?
  bool readable() const noexcept { return watch_.readable || held_plain_; }
  // The peer has sent FIN or reset, seen by the kernel (there may be octets before it).
  bool peer_closed() const noexcept { return watch_.peer_closed; }

  // Collects octets; nothing is sent before flush() or write(). Copies.
  void put(std::string_view octets) { output_.append(octets); }
  // Room for octets that the caller writes itself; commit() makes them part of the output.
  std::span<char> prepare(size_t size) { return output_.prepare(size); }
  void commit(size_t size) noexcept { output_.commit(size); }
  // What is collected, for producers that append to a Buffer themselves.
  Buffer& output() noexcept { return output_; }
  // Sends what is collected and `octets`, without copying them when they are large and nothing is in the way.
  void write(std::string_view octets);
  // Sends what is collected. True when nothing is left.
  bool flush();
  // Octets wait for the peer (not counting what put() collected since the last flush).
  bool blocked() const noexcept { return blocked_; }
  bool has_output() const noexcept { return !output_.empty() || !cipher_.empty(); }
  size_t unsent() const noexcept { return output_.size() + cipher_.size(); }
  // The same and what the kernel holds: fewer than before means that the peer takes something, which a slow one may do
  // for minutes before the kernel has room for more. A system call.
  size_t undelivered() const noexcept;
  bool failed() const noexcept { return failed_; }              // reading is over
  bool write_failed() const noexcept { return write_failed_; }  // the peer takes nothing more; it may still be read

  // Sends what is left as far as the kernel takes it, close_notify, FIN. Reading goes on.
  void shutdown_write();
  void close() noexcept;
  // Closes with RST, so that the peer sees that what it got is not complete.
  void abort() noexcept;
  int fd() const noexcept { return watch_.fd(); }
  bool is_open() const noexcept { return watch_.fd() >= 0; }
  // After a connecting open(): 0 when connected, EINPROGRESS while not, else the errno.
  int connect_error() noexcept;

 private:
  size_t send_some(std::string_view first, std::string_view second);
  void note_short_write();
  void encrypt_and_send(std::string_view plain);
  bool flush_cipher();
  ReadResult receive(std::span<char> to);
  ReadResult try_read_tls(std::span<char> to);

  Watch watch_;
  Buffer output_;  // plain text that waits
  Buffer cipher_;  // TLS records that wait
  tls::Engine engine_;
  bool blocked_ = false;
  bool failed_ = false;
  bool write_failed_ = false;
  bool held_plain_ = false;  // the engine can give more without the socket
  bool ended_ = false;       // close_notify or FIN has come, of a TLS stream
};

}  // namespace lintel::net
