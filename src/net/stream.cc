#include "net/stream.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <memory>

#include "base/limits.h"
#include "base/sanitizer.h"

namespace lintel::net {
namespace {

// Pieces up to this size are copied and sent together with what follows; larger ones go to the kernel from where they
// are.
constexpr size_t copy_at_most = 8 * 1024;
// Ciphertext is taken from the socket in pieces of this size: four records.
constexpr size_t cipher_read_bytes = 64 * 1024 + 4 * 1024;

struct ThreadBuffers {
  ~ThreadBuffers() { permit_access(plain.get(), limits::scratch_bytes); }
  std::unique_ptr<char[]> plain = std::make_unique_for_overwrite<char[]>(limits::scratch_bytes);
  std::unique_ptr<char[]> cipher = std::make_unique_for_overwrite<char[]>(limits::scratch_bytes);
};
ThreadBuffers& thread_buffers() {
  thread_local ThreadBuffers buffers;
  return buffers;
}

}  // namespace

std::span<char> scratch() noexcept {
  char* const octets = thread_buffers().plain.get();
  permit_access(octets, limits::scratch_bytes);
  return {octets, limits::scratch_bytes};
}

void forget_scratch() noexcept { forbid_access(thread_buffers().plain.get(), limits::scratch_bytes); }

void Stream::open(Reactor& reactor, int fd, Signal* owner, bool connecting) {
  watch_.open(reactor, fd, connecting);
  watch_.owner = owner;
}

Stream::Parcel Stream::give_away() {
  Parcel parcel;
  parcel.peer_closed = watch_.peer_closed;
  parcel.fd = UniqueFd(watch_.release());
  parcel.engine = std::move(engine_);
  parcel.output = std::move(output_);
  parcel.cipher = std::move(cipher_);
  parcel.held_plain = held_plain_;
  parcel.ended = ended_;
  return parcel;
}

void Stream::take(Reactor& reactor, Parcel parcel, Signal* owner) {
  open(reactor, parcel.fd.release(), owner);
  watch_.readable = true;  // nothing is known: the first read asks the kernel
  watch_.peer_closed = parcel.peer_closed;
  engine_ = std::move(parcel.engine);
  output_ = std::move(parcel.output);
  cipher_ = std::move(parcel.cipher);
  held_plain_ = parcel.held_plain;
  ended_ = parcel.ended;
}

int Stream::connect_error() noexcept {
  if (!watch_.writable && !watch_.peer_closed) return EINPROGRESS;
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(watch_.fd(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  if (error == 0) watch_.want_writable(false);
  return error;
}

// --- reading

ReadResult Stream::receive(std::span<char> to) {
  if (!watch_.readable || failed_) return {failed_ ? ReadResult::Status::failed : ReadResult::Status::would_block, 0};
  const ssize_t got = ::recv(watch_.fd(), to.data(), to.size(), MSG_DONTWAIT);
  if (got > 0) {
    // A short read has emptied the socket: the next edge says when there is more. With a FIN behind the octets there
    // is no next edge, so reading goes on until it is seen.
    if (static_cast<size_t>(got) < to.size() && !watch_.peer_closed) watch_.readable = false;
    return {ReadResult::Status::data, static_cast<size_t>(got)};
  }
  if (got == 0) return {ReadResult::Status::eof, 0};
  if (errno == EAGAIN || errno == EINTR) {
    watch_.readable = errno == EINTR;
    return {ReadResult::Status::would_block, 0};
  }
  failed_ = true;
  return {ReadResult::Status::failed, 0};
}

ReadResult Stream::peek(std::span<char> to) {
  if (!watch_.readable) return {};
  const ssize_t got = ::recv(watch_.fd(), to.data(), to.size(), MSG_DONTWAIT | MSG_PEEK);
  if (got > 0) return {ReadResult::Status::data, static_cast<size_t>(got)};
  if (got == 0) return {ReadResult::Status::eof, 0};
  if (errno == EAGAIN) watch_.readable = false;
  return {errno == EAGAIN ? ReadResult::Status::would_block : ReadResult::Status::failed, 0};
}

ReadResult Stream::try_read(std::span<char> to) { return engine_ ? try_read_tls(to) : receive(to); }

ReadResult Stream::try_read_tls(std::span<char> to) {
  if (failed_) return {ReadResult::Status::failed, 0};
  if (ended_) return {ReadResult::Status::eof, 0};
  char* const cipher = thread_buffers().cipher.get();
  size_t total = 0;
  bool eof = false;
  bool ask = held_plain_;  // a call into OpenSSL that can only say "want read" costs as much as one that delivers
  for (;;) {
    while (ask && total < to.size()) {
      const auto got = engine_.read(to.subspan(total), cipher_);
      if (got.status == tls::ReadResult::Status::data) {
        total += got.size;
        ask = engine_.unread() != 0 || engine_.has_pending() || engine_.over();
        continue;
      }
      if (got.status == tls::ReadResult::Status::closed) eof = true;
      if (got.status == tls::ReadResult::Status::failed) failed_ = true;
      break;
    }
    if (total == to.size() || eof || failed_) break;
    const ReadResult raw = receive({cipher, cipher_read_bytes});
    if (raw.status == ReadResult::Status::data) {
      engine_.feed({cipher, raw.size});
      ask = true;
      continue;
    }
    if (raw.status == ReadResult::Status::eof) eof = true;  // after a reset failed_ is set: that is no end
    break;
  }
  if (engine_.unread() != 0) engine_.hold_unread();
  held_plain_ = total == to.size() && (engine_.unread() != 0 || engine_.has_pending() || engine_.over());
  if (!cipher_.empty() && !blocked_) flush_cipher();  // KeyUpdate and alerts answer a read
  ended_ = eof;
  if (total != 0) {
    // The end is reported by the next call. The socket may never tell of it again: a close_notify needs no FIN.
    if (eof || failed_) watch_.readable = true;
    return {ReadResult::Status::data, total};
  }
  if (eof) return {ReadResult::Status::eof, 0};
  return {failed_ ? ReadResult::Status::failed : ReadResult::Status::would_block, 0};
}

tls::HandshakeStatus Stream::handshake() {
  char* const cipher = thread_buffers().cipher.get();
  for (;;) {
    const auto status = engine_.handshake(cipher_);
    if (engine_.unread() != 0) engine_.hold_unread();
    if (!cipher_.empty()) flush_cipher();
    if (status != tls::HandshakeStatus::want_read) {
      held_plain_ = status == tls::HandshakeStatus::done && (engine_.unread() != 0 || engine_.has_pending());
      if (status == tls::HandshakeStatus::failed) failed_ = true;
      return status;
    }
    if (failed_) return tls::HandshakeStatus::failed;
    const ReadResult raw = receive({cipher, cipher_read_bytes});
    if (raw.status == ReadResult::Status::would_block) return tls::HandshakeStatus::want_read;
    if (raw.status != ReadResult::Status::data) {
      failed_ = true;
      return tls::HandshakeStatus::failed;
    }
    engine_.feed({cipher, raw.size});
  }
}

// --- writing

void Stream::note_short_write() {
  blocked_ = true;
  watch_.writable = false;
  watch_.want_writable(true);
}

// Sends both spans as far as the kernel takes them; returns how many octets it took. Marks the stream blocked or
// failed.
size_t Stream::send_some(std::string_view first, std::string_view second) {
  if (write_failed_ || watch_.fd() < 0) {
    write_failed_ = true;
    return first.size() + second.size();  // a broken stream swallows output; write_failed() tells
  }
  ssize_t sent;
  if (second.empty()) {
    sent = ::send(watch_.fd(), first.data(), first.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } else {
    iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                      {const_cast<char*>(second.data()), second.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    sent = ::sendmsg(watch_.fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  if (sent < 0) {
    if (errno == EAGAIN || errno == EINTR) {
      note_short_write();
      return 0;
    }
    write_failed_ = true;
    return first.size() + second.size();
  }
  if (static_cast<size_t>(sent) < first.size() + second.size()) note_short_write();
  return static_cast<size_t>(sent);
}

bool Stream::flush_cipher() {
  if (cipher_.empty()) return true;
  cipher_.consume(send_some(cipher_.view(), {}));
  return cipher_.empty();
}

void Stream::encrypt_and_send(std::string_view plain) {
  if (!engine_.write(plain, cipher_)) {
    write_failed_ = true;
    return;
  }
  flush_cipher();
}

void Stream::write(std::string_view octets) {
  if (octets.size() <= copy_at_most || blocked_ || write_failed_) {
    if (!write_failed_) output_.append(octets);
    return;
  }
  if (engine_) {
    if (!output_.empty()) {
      // The head shares its record with the beginning of the body.
      const size_t record_room = output_.size() < 16'000 ? 16'000 - output_.size() : 0;
      const size_t joined = std::min(record_room, octets.size());
      output_.append(octets.substr(0, joined));
      octets.remove_prefix(joined);
      if (!engine_.write(output_.view(), cipher_)) write_failed_ = true;
      output_.release();
    }
    if (!write_failed_) encrypt_and_send(octets);
    return;
  }
  const size_t held = output_.size();
  const size_t sent = held != 0 ? send_some(output_.view(), octets) : send_some(octets, {});
  if (sent < held) {
    output_.consume(sent);
    output_.append(octets);
  } else {
    if (held != 0) output_.consume(held);
    if (!write_failed_) output_.append(octets.substr(sent - held));
  }
}

bool Stream::flush() {
  if (write_failed_) {
    output_.release();
    cipher_.release();
    blocked_ = false;
    return true;
  }
  if (blocked_ && !watch_.writable) return false;
  const bool was_blocked = blocked_;
  blocked_ = false;
  if (engine_) {
    if (flush_cipher() && !output_.empty()) {
      if (!engine_.write(output_.view(), cipher_)) write_failed_ = true;
      output_.release();
      flush_cipher();
    }
  } else if (!output_.empty()) {
    output_.consume(send_some(output_.view(), {}));
  }
  if (was_blocked && !blocked_) watch_.want_writable(false);
  return !has_output();
}

size_t Stream::undelivered() const noexcept {
  int queued = 0;
  if (::ioctl(watch_.fd(), TIOCOUTQ, &queued) != 0) queued = 0;
  return unsent() + static_cast<size_t>(queued);
}

// --- closing

void Stream::shutdown_write() {
  if (!is_open()) return;
  if (engine_ && !write_failed_ && !blocked_) {
    engine_.shutdown(cipher_);
    flush_cipher();
  }
  ::shutdown(watch_.fd(), SHUT_WR);
}

void Stream::close() noexcept {
  watch_.close();
  output_.release();
  cipher_.release();
}

void Stream::abort() noexcept {
  if (is_open()) {
    const linger now{1, 0};
    setsockopt(watch_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  close();
}

}  // namespace lintel::net
