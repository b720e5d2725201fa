// One certificate from one issuer (RFC 8555 §7.4), as a state machine without I/O: it says what to send, what to wait
// for and which challenges to make ready, and is told what came of it.
//
//   placing → authorizing → presenting → responding → polling → finalizing → polling → downloading → done
//
// An order that comes back further on (reused, already authorized, already ready) enters where it stands. A challenge
// that fails is tried with the next type in a new order. Whatever an issuer answers, the machine ends: every loop has
// its count in base/limits.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "acme/jose.h"
#include "acme/messages.h"
#include "acme/patience.h"

namespace lintel::acme {

// A signed POST; an empty payload is a POST-as-GET.
struct Call {
  std::string url;
  std::string payload;
  bool wants_pem = false;
};

class Order {
 public:
  struct Settings {
    std::vector<std::string> names;    // lower case, IP addresses as IpAddress::text() writes them
    std::vector<ChallengeType> types;  // in order of preference
    std::string profile, replaces;
    std::function<bool(ChallengeType, const std::string& host, bool wildcard)> can_solve;
  };
  enum class Want : uint8_t {
    call,     // send step.call, then on_answer() or on_no_answer()
    wait,     // step.wait_ms, then next()
    present,  // step.challenges, then on_presented()
    clean,    // take back everything that was presented, then next()
    done,     // issued()
    failed,   // problem()
  };
  struct Step {
    Want want = Want::failed;
    Call call;
    uint64_t wait_ms = 0;
    std::vector<Challenge> challenges;
  };

  Order(Settings settings, std::shared_ptr<const Directory> directory, std::shared_ptr<EVP_PKEY> account_key);

  Step next();
  void on_answer(const Answer& answer, int64_t now_unix_s);
  // Nothing came back, or nothing that is HTTP. The issuer may have acted on the request.
  void on_no_answer(const Error& error);
  // `failures`: one for each challenge of the step, "" for those that are ready.
  void on_presented(const std::vector<std::string>& failures);

  // The account has been made anew: key authorizations change, the order begins again.
  void use_account(std::shared_ptr<EVP_PKEY> account_key);
  bool is_placing() const noexcept { return state_ == State::placing; }

  const Problem& problem() const noexcept { return problem_; }
  Issued& issued() noexcept { return issued_; }
  // What happened that somebody may want to know, since the last call: "asked again without `replaces`".
  std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }

 private:
  enum class State : uint8_t {
    placing,
    authorizing,
    presenting,
    responding,
    polling,
    explaining,
    finalizing,
    downloading,
    cleaning,
    done,
    failed
  };
  struct Authorization {
    std::string url;
    AuthorizationView view;
    bool valid = false;
    bool ready = false;  // its challenge is presented
    bool responded = false;
    ChallengeView chosen;
  };

  void fail_with(Problem problem);
  void fail_with_protocol(std::string_view what, std::string_view why);
  void enter(State state);
  void wait(uint64_t ms) { wait_ms_ = ms; }
  // Another order, from the beginning; fails with `why` when there were too many.
  void begin_again(Problem why);
  void refused(const Answer& answer, std::string_view what);
  void on_placed(const Answer& answer);
  void on_authorization(const Answer& answer);
  void on_response(const Answer& answer);
  void on_polled(const Answer& answer);
  void on_explained(const Answer& answer);
  void on_finalized(const Answer& answer);
  void on_downloaded(const Answer& answer, int64_t now_unix_s);
  void follow(const OrderView& order, int64_t retry_after_s);
  void poll_again(int64_t retry_after_s);
  bool choose(Authorization& authorization);
  bool usable(const Authorization& authorization, const ChallengeView& challenge) const;
  void present_or_respond();
  void respond_or_poll();
  void explain();
  void skip_valid();
  void fall_back();
  void note_failure(const AuthorizationView& view);
  Challenge challenge_of(const Authorization& authorization) const;
  bool has_failed(const std::string& host, ChallengeType type) const;

  Settings settings_;
  std::shared_ptr<const Directory> directory_;
  std::shared_ptr<EVP_PKEY> account_key_;
  State state_ = State::placing;
  Patience patience_;
  uint64_t wait_ms_ = 0;
  unsigned polls_ = 0, orders_ = 0, garbage_ = 0, not_ready_ = 0, finalizes_ = 0;

  std::string order_url_, certificate_url_, finalize_url_;
  std::vector<Authorization> authorizations_;
  size_t at_ = 0;  // in authorizations_, for the states that go through them
  bool finalized_ = false;
  bool stranger_ = false;  // the order was finalized by somebody else, with another key
  Key key_;
  std::string csr_;
  std::vector<std::pair<std::string, ChallengeType>> failed_types_;
  Problem challenge_problem_;
  Problem problem_;
  Issued issued_;
  std::vector<std::string> notes_;
};

}  // namespace lintel::acme
