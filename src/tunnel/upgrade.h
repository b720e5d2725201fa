// The agent's request for a tunnel and the edge's answer to it (hello.h). Sans-I/O.
#pragma once

#include <string>
#include <string_view>

#include "http/h1.h"
#include "tunnel/hello.h"

namespace lintel::tunnel {

// The whole request. `authority`: the edge, with its port when that is not 443.
std::string upgrade_request(std::string_view authority, std::string_view token, const Hello& hello);

// The edge's answer, fed in pieces of any size.
class UpgradeAnswer {
 public:
  enum class State : uint8_t {
    reading,
    welcome,  // the tunnel begins; first_octets() are its first
    refusal,  // the edge has said why
    failed,   // what answers is no edge, or one that breaks the rules; failure() says how
  };
  State take(std::string_view octets);
  // The connection has ended.
  State end();

  State state() const noexcept { return state_; }
  const Welcome& welcome() const noexcept { return welcome_; }
  const Refusal& refusal() const noexcept { return refusal_; }
  const std::string& failure() const noexcept { return failure_; }
  std::string_view first_octets() const noexcept { return rest_; }

 private:
  State fail_with(std::string why);
  State take_head();
  State take_switch(const http::ResponseHead& head, size_t consumed);
  State take_body(std::string_view input);
  State take_refusal();

  State state_ = State::reading;
  std::string octets_;  // of the head
  size_t searched_ = 0;
  unsigned informational_ = 0;
  bool in_body_ = false;
  uint16_t status_ = 0;
  http::BodyDecoder decoder_;
  std::string body_;
  std::string rest_;
  Welcome welcome_;
  Refusal refusal_;
  std::string failure_;
};

}  // namespace lintel::tunnel
