#include "tunnel/upgrade.h"

#include <fmt/format.h>

#include "base/arena.h"
#include "base/limits.h"
#include "http/headers.h"

namespace lintel::tunnel {
namespace {

// The value of the one field `name`; null when it is absent or repeated.
const http::Field* only(const http::FieldList& fields, std::string_view name) {
  const http::Field* found = nullptr;
  for (const http::Field& field : fields) {
    if (!http::equal_ignoring_case(field.name, name)) continue;
    if (found != nullptr) return nullptr;
    found = &field;
  }
  return found;
}

}  // namespace

std::string upgrade_request(std::string_view authority, std::string_view token, const Hello& hello) {
  return fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: Upgrade\r\nUpgrade: {}\r\n"
      "Authorization: Bearer {}\r\nLintel-Hello: {}\r\n\r\n",
      agent_path, authority, hello.software, upgrade_token, token, encode(hello));
}

UpgradeAnswer::State UpgradeAnswer::fail_with(std::string why) {
  failure_ = std::move(why);
  return state_ = State::failed;
}

UpgradeAnswer::State UpgradeAnswer::take(std::string_view octets) {
  if (state_ != State::reading) return state_;
  if (in_body_) return take_body(octets);
  octets_.append(octets);
  return take_head();
}

UpgradeAnswer::State UpgradeAnswer::end() {
  if (state_ != State::reading) return state_;
  if (in_body_ && decoder_.close_is_end()) return take_refusal();
  return fail_with(octets_.empty() && !in_body_ ? "it closed the connection without an answer"
                                                : "it closed the connection in the middle of its answer");
}

UpgradeAnswer::State UpgradeAnswer::take_head() {
  for (;;) {
    if (http::find_head_end(octets_, searched_) == std::string::npos) {
      searched_ = octets_.size();
      if (octets_.size() > limits::response_head_bytes) return fail_with("the head of its answer has no end");
      return state_;
    }
    Arena arena;
    http::ResponseHead head;
    const http::HeadParse parse = http::parse_response_head(octets_, http::Method::get, arena, head);
    if (parse.status != http::HeadParse::Status::complete) return fail_with("its answer is not valid HTTP");
    if (head.status == 101) return take_switch(head, parse.consumed);
    if (head.status >= 200) {
      in_body_ = true;
      status_ = head.status;
      decoder_ = http::BodyDecoder(head.framing, head.content_length);
      return take_body(std::string_view(octets_).substr(parse.consumed));
    }
    octets_.erase(0, parse.consumed);
    searched_ = 0;
    if (++informational_ > limits::informational_responses_count)
      return fail_with("it sent interim answers without end");
  }
}

UpgradeAnswer::State UpgradeAnswer::take_switch(const http::ResponseHead& head, size_t consumed) {
  const http::Field* protocol = only(head.fields, "upgrade");
  if (protocol == nullptr || !http::equal_ignoring_case(protocol->value, upgrade_token))
    return fail_with("it changed to another protocol than the tunnel's");
  const http::Field* field = only(head.fields, "lintel-welcome");
  if (field == nullptr)
    return fail_with("its 101 has no Lintel-Welcome: something between here and the edge removed it");
  auto welcome = decode_welcome(field->value);
  if (!welcome) return fail_with(welcome.error().message);
  welcome_ = std::move(*welcome);
  rest_ = octets_.substr(consumed);
  return state_ = State::welcome;
}

UpgradeAnswer::State UpgradeAnswer::take_body(std::string_view input) {
  for (;;) {
    const auto step = decoder_.next(input);
    switch (step.kind) {
      case http::BodyDecoder::Step::Kind::data:
        if (body_.size() + step.data.size() > limits::tunnel_hello_bytes) {
          body_.clear();
          return take_refusal();
        }
        body_.append(step.data);
        break;
      case http::BodyDecoder::Step::Kind::need_more:
        return state_;
      case http::BodyDecoder::Step::Kind::end:
        return take_refusal();
      case http::BodyDecoder::Step::Kind::invalid:
        return fail_with("the chunks of its answer are not valid HTTP");
    }
  }
}

UpgradeAnswer::State UpgradeAnswer::take_refusal() {
  auto refusal = parse_refusal(body_);
  if (!refusal)
    return fail_with(fmt::format("it answered {} and is no edge, or has no [edge] table for this name", status_));
  refusal_ = std::move(*refusal);
  return state_ = State::refusal;
}

}  // namespace lintel::tunnel
