#include "acme/order.h"

#include <fmt/format.h>

#include <algorithm>

#include "acme/x509.h"
#include "base/limits.h"
#include "base/log.h"

namespace lintel::acme {
namespace {

constexpr std::string_view the_order = "the order", the_certificate = "the certificate";

// A challenge of another type finds the same obstacle.
bool hits_every_type(std::string_view acme_type) { return acme_type == "caa" || acme_type == "rejectedIdentifier"; }

}  // namespace

Order::Order(Settings settings, std::shared_ptr<const Directory> directory, std::shared_ptr<EVP_PKEY> account_key)
    : settings_(std::move(settings)), directory_(std::move(directory)), account_key_(std::move(account_key)) {
  if (directory_->renewal_info.empty()) settings_.replaces.clear();
  if (!settings_.profile.empty() &&
      std::ranges::find(directory_->profiles, settings_.profile) == directory_->profiles.end()) {
    notes_.push_back(fmt::format("the issuer does not offer the profile {}; its default is used", settings_.profile));
    settings_.profile.clear();
  }
}

void Order::use_account(std::shared_ptr<EVP_PKEY> account_key) {
  account_key_ = std::move(account_key);
  enter(State::placing);
}

Order::Step Order::next() {
  Step step;
  if (wait_ms_ != 0 && state_ != State::failed) {
    step.want = Want::wait;
    step.wait_ms = std::exchange(wait_ms_, 0);
    return step;
  }
  step.want = Want::call;
  switch (state_) {
    case State::placing:
      step.call = {directory_->new_order, new_order_payload(settings_.names, settings_.profile, settings_.replaces),
                   false};
      return step;
    case State::authorizing:
    case State::explaining:
      step.call.url = authorizations_[at_].url;
      return step;
    case State::presenting:
      step.want = Want::present;
      for (const Authorization& one : authorizations_)
        if (!one.valid && !one.ready) step.challenges.push_back(challenge_of(one));
      return step;
    case State::responding:
      step.call = {authorizations_[at_].chosen.url, "{}", false};
      return step;
    case State::polling:
      step.call.url = order_url_;
      return step;
    case State::finalizing:
      if (key_ == nullptr) {
        key_ = make_p256_key();
        csr_ = base64url(make_csr(key_.get(), settings_.names));
      }
      finalized_ = true;
      step.call = {finalize_url_, fmt::format(R"({{"csr":"{}"}})", csr_), false};
      return step;
    case State::downloading:
      step.call = {certificate_url_, {}, true};
      return step;
    case State::cleaning:
      step.want = Want::clean;
      enter(State::placing);
      return step;
    case State::done:
      step.want = Want::done;
      return step;
    case State::failed:
      break;
  }
  step.want = Want::failed;
  return step;
}

void Order::enter(State state) {
  if (state_ != state) polls_ = 0;
  state_ = state;
  at_ = 0;
  patience_.reset();
}

void Order::fail_with(Problem problem) {
  problem_ = std::move(problem);
  state_ = State::failed;
}

void Order::fail_with_protocol(std::string_view what, std::string_view why) { fail_with(protocol_problem(what, why)); }

void Order::begin_again(Problem why) {
  if (++orders_ >= limits::acme_orders_count) return fail_with(std::move(why));
  authorizations_.clear();
  order_url_.clear();
  key_.reset();  // a key that an issuer has seen in one order is not shown in another
  finalized_ = stranger_ = false;
  finalizes_ = not_ready_ = 0;
  enter(State::cleaning);
}

// --- what came back

void Order::on_answer(const Answer& answer, int64_t now_unix_s) {
  switch (state_) {
    case State::placing:
      return on_placed(answer);
    case State::authorizing:
      return on_authorization(answer);
    case State::responding:
      return on_response(answer);
    case State::polling:
      return on_polled(answer);
    case State::explaining:
      return on_explained(answer);
    case State::finalizing:
      return on_finalized(answer);
    case State::downloading:
      return on_downloaded(answer, now_unix_s);
    case State::presenting:
    case State::cleaning:
    case State::done:
    case State::failed:
      return;
  }
}

void Order::on_no_answer(const Error& error) {
  const auto again_in = patience_.after_silence();
  if (!again_in) return fail_with(unreachable(error, "the issuer did not answer"));
  wait(*again_in);
  // The request may have arrived: the order says.
  if (state_ == State::finalizing) state_ = State::polling;
}

void Order::refused(const Answer& answer, std::string_view what) {
  if (const auto again_in = patience_.after(answer)) return wait(*again_in);
  fail_with(problem_of(answer, what));
}

void Order::on_placed(const Answer& answer) {
  const bool rejected = answer.status >= 400 && answer.status < 500 && answer.status != 429;
  if (rejected && !settings_.replaces.empty()) {
    // Whatever it says: a certificate matters more than what it replaces.
    notes_.push_back("the issuer did not take the certificate to be replaced; asked again without it" +
                     (answer.problem ? " (" + answer.problem->text + ")" : std::string()));
    settings_.replaces.clear();
    return;
  }
  if (!answer.fine()) return refused(answer, the_order);
  const auto order = parse_order(answer.body, directory_->https);
  if (!order) return fail_with_protocol(the_order, order.error());
  if (!usable_url(answer.location, directory_->https)) return fail_with_protocol(the_order, "it has no address");
  order_url_ = answer.location;
  patience_.reset();
  authorizations_.clear();
  for (const std::string& url : order->authorizations) {
    Authorization one;
    one.url = url;
    authorizations_.push_back(std::move(one));
  }
  finalized_ = false;
  stranger_ = order->status == "processing" || order->status == "valid";
  finalize_url_ = order->finalize;
  if (order->status == "pending" && !authorizations_.empty()) return enter(State::authorizing);
  follow(*order, answer.retry_after_s);
}

// Goes where the order stands.
void Order::follow(const OrderView& order, int64_t retry_after_s) {
  if (!order.finalize.empty()) finalize_url_ = order.finalize;
  if (order.status == "pending") return poll_again(retry_after_s);
  if (order.status == "processing") return poll_again(retry_after_s);
  if (order.status == "ready") {
    if (finalize_url_.empty()) return fail_with_protocol(the_order, "it has no finalize address");
    enter(State::finalizing);
    if (!finalized_) return;
    // A finalize that did not arrive, or came too early; the same request again, after a while.
    if (++finalizes_ > limits::acme_retries_count)
      return fail_with_protocol(the_order, "it stays ready although it was finalized");
    return wait(uint64_t{500} << finalizes_);
  }
  if (order.status == "valid") {
    if (stranger_ || !finalized_)
      return begin_again(protocol_problem(the_order, "the issuer gives only orders that were finalized before"));
    if (order.certificate.empty()) return fail_with_protocol(the_order, "it is valid and has no certificate");
    certificate_url_ = order.certificate;
    return enter(State::downloading);
  }
  // invalid
  if (order.error && finalized_) return fail_with(problem_of(*order.error, the_order));
  if (stranger_ || authorizations_.empty()) {
    return begin_again(order.error ? problem_of(*order.error, the_order)
                                   : protocol_problem(the_order, "it is invalid and says no reason"));
  }
  challenge_problem_ = order.error ? problem_of(*order.error, the_order) : Problem{};
  explain();
}

void Order::poll_again(int64_t retry_after_s) {
  if (state_ != State::polling) enter(State::polling);
  if (++polls_ > limits::acme_polls_count) {
    Problem endless = protocol_problem(the_order, fmt::format("it is not done after {} looks at it", polls_ - 1));
    if (finalized_ || authorizations_.empty()) return fail_with(std::move(endless));
    challenge_problem_ = std::move(endless);
    return explain();
  }
  if (retry_after_s > 0) {
    const uint64_t asked_ms = static_cast<uint64_t>(retry_after_s) * 1000;
    if (asked_ms <= limits::acme_inline_wait_ms) return wait(asked_ms);
    Problem later = protocol_problem(the_order, "it asks to come back much later");
    later.retry_after_ms = static_cast<int64_t>(asked_ms);
    return fail_with(std::move(later));
  }
  uint64_t pause_ms = 500;
  for (unsigned i = 1; i < polls_ && pause_ms < limits::acme_poll_max_ms; ++i) pause_ms += pause_ms / 2;
  wait(std::min<uint64_t>(pause_ms, limits::acme_poll_max_ms));
}

void Order::on_polled(const Answer& answer) {
  if (!answer.fine()) return refused(answer, the_order);
  const auto order = parse_order(answer.body, directory_->https);
  if (!order) {
    const auto again_in = patience_.after_silence();
    return again_in ? wait(*again_in) : fail_with_protocol(the_order, order.error());
  }
  patience_.reset();
  follow(*order, answer.retry_after_s);
}

// --- authorizations

bool Order::has_failed(const std::string& host, ChallengeType type) const {
  return std::ranges::find(failed_types_, std::pair(host, type)) != failed_types_.end();
}

bool Order::usable(const Authorization& authorization, const ChallengeView& challenge) const {
  const AuthorizationView& view = authorization.view;
  return challenge.status != "invalid" && !has_failed(view.host, challenge.type) &&
         settings_.can_solve(challenge.type, view.host, view.wildcard);
}

bool Order::choose(Authorization& authorization) {
  for (const ChallengeType type : settings_.types) {
    for (const ChallengeView& challenge : authorization.view.challenges) {
      if (challenge.type != type || !usable(authorization, challenge)) continue;
      authorization.chosen = challenge;
      authorization.responded = challenge.status == "processing";
      return true;
    }
  }
  return false;
}

Challenge Order::challenge_of(const Authorization& authorization) const {
  Challenge made{authorization.chosen.type,
                 authorization.view.host,
                 authorization.view.wildcard,
                 authorization.chosen.token,
                 key_authorization(authorization.chosen.token, account_key_.get()),
                 {}};
  made.dns_value = dns_txt_value(made.key_authorization);
  return made;
}

void Order::on_authorization(const Answer& answer) {
  const std::string_view what = "an authorization";
  if (!answer.fine()) return refused(answer, what);
  auto view = parse_authorization(answer.body, directory_->https);
  if (!view) return fail_with_protocol(what, view.error());
  // A name that was not ordered is none that this machine proves anything for: the hook may write a whole zone.
  const auto ordered = [&](const std::string& name) {
    return std::ranges::find(settings_.names, name) != settings_.names.end();
  };
  if (!ordered(view->host) && !ordered("*." + view->host))
    return fail_with_protocol(what, fmt::format("it is for {}, which was not ordered", log::escape(view->host)));
  patience_.reset();
  Authorization& authorization = authorizations_[at_];
  authorization.view = std::move(*view);
  authorization.valid = authorization.view.status == "valid";
  if (!authorization.valid && authorization.view.status != "pending") {
    note_failure(authorization.view);
    return begin_again(challenge_problem_);
  }
  if (!authorization.valid && !choose(authorization)) {
    Problem none = challenge_problem_;
    if (none.message.empty() || none.host != authorization.view.host) {
      std::string offered;
      for (const ChallengeView& one : authorization.view.challenges)
        offered += fmt::format("{}{}", offered.empty() ? "" : ", ", text_of(one.type));
      none.message = fmt::format("{}: none of the challenges that the issuer offers ({}) can be used here",
                                 log::escape(authorization.view.host), offered.empty() ? "none" : offered);
    }
    none.code = ErrorCode::acme_challenge_failed;
    none.host = authorization.view.host;
    return fail_with(std::move(none));
  }
  if (++at_ < authorizations_.size()) return;
  present_or_respond();
}

void Order::present_or_respond() {
  const bool all_ready = std::ranges::all_of(authorizations_, [](const auto& one) { return one.valid || one.ready; });
  if (all_ready) return respond_or_poll();
  enter(State::presenting);
}

void Order::on_presented(const std::vector<std::string>& failures) {
  size_t i = 0;
  for (Authorization& one : authorizations_) {
    if (one.valid || one.ready) continue;
    const std::string failure = i < failures.size() ? failures[i] : std::string("it was not made ready");
    ++i;
    one.ready = failure.empty();
    if (one.ready) continue;
    failed_types_.emplace_back(one.view.host, one.chosen.type);
    challenge_problem_ = {
        ErrorCode::acme_challenge_failed,
        fmt::format("{}: {} cannot be prepared: {}", log::escape(one.view.host), text_of(one.chosen.type), failure),
        {},
        one.view.host,
        -1,
        false};
    if (!choose(one)) return fail_with(challenge_problem_);
    notes_.push_back(challenge_problem_.message + "; trying " + std::string(text_of(one.chosen.type)));
  }
  present_or_respond();
}

void Order::respond_or_poll() {
  enter(State::responding);
  while (at_ < authorizations_.size() && (authorizations_[at_].valid || authorizations_[at_].responded)) ++at_;
  if (at_ == authorizations_.size()) poll_again(-1);
}

void Order::on_response(const Answer& answer) {
  const bool later = answer.status == 429 || answer.status >= 500;
  if (later) return refused(answer, "a challenge");
  // A 4xx is what an issuer says that has begun or ended the validation meanwhile; the order tells which.
  authorizations_[at_].responded = true;
  respond_or_poll();
}

// --- when an authorization has failed

void Order::note_failure(const AuthorizationView& view) {
  const ChallengeView* failed = nullptr;
  for (const ChallengeView& one : view.challenges)
    if (one.status == "invalid" || one.error) failed = &one;
  std::string reason = fmt::format("the authorization is {}", view.status);
  if (failed != nullptr) {
    failed_types_.emplace_back(view.host, failed->type);
    reason = fmt::format("{} failed: {}", text_of(failed->type),
                         failed->error ? failed->error->text : std::string("the issuer says no reason"));
  }
  challenge_problem_ = {ErrorCode::acme_challenge_failed,
                        fmt::format("{}: {}", log::escape(view.host), reason),
                        failed != nullptr && failed->error ? failed->error->type : std::string(),
                        view.host,
                        -1,
                        false};
}

// Looks for the authorization that failed, and why.
void Order::explain() {
  enter(State::explaining);
  skip_valid();
  if (at_ == authorizations_.size()) fall_back();
}

void Order::skip_valid() {
  while (at_ < authorizations_.size() && authorizations_[at_].valid) ++at_;
}

void Order::on_explained(const Answer& answer) {
  if (!answer.fine()) return refused(answer, "an authorization");
  const auto view = parse_authorization(answer.body, directory_->https);
  patience_.reset();
  if (view && view->status == "invalid") {
    note_failure(*view);
    return fall_back();
  }
  ++at_;
  skip_valid();
  if (at_ == authorizations_.size()) fall_back();
}

void Order::fall_back() {
  if (challenge_problem_.message.empty()) return fail_with_protocol(the_order, "it is invalid and says no reason");
  const auto failed = std::ranges::find_if(
      authorizations_, [this](const Authorization& one) { return one.view.host == challenge_problem_.host; });
  if (failed == authorizations_.end() || hits_every_type(challenge_problem_.acme_type) || !choose(*failed))
    return fail_with(challenge_problem_);
  notes_.push_back(challenge_problem_.message + "; trying " + std::string(text_of(failed->chosen.type)));
  begin_again(challenge_problem_);
}

// --- the certificate

void Order::on_finalized(const Answer& answer) {
  if (answer.fine()) {
    const auto order = parse_order(answer.body, directory_->https);
    patience_.reset();
    if (!order) return poll_again(answer.retry_after_s);  // rubbish: the order itself says more
    if (order->status == "ready" || order->status == "pending") return poll_again(answer.retry_after_s);
    return follow(*order, answer.retry_after_s);
  }
  const bool not_ready = answer.problem && answer.problem->type == "orderNotReady";
  if (not_ready && ++not_ready_ <= limits::acme_retries_count) return poll_again(answer.retry_after_s);
  if (answer.status >= 500 && answer.retry_after_s < 0) {
    // As with no answer at all, it may have begun.
    const auto again_in = patience_.after_silence();
    if (!again_in) return fail_with(problem_of(answer, the_order));
    wait(*again_in);
    state_ = State::polling;
    return;
  }
  refused(answer, the_order);
}

void Order::on_downloaded(const Answer& answer, int64_t now_unix_s) {
  if (!answer.fine()) return refused(answer, the_certificate);
  const std::string why = chain_problem(answer.body, key_.get(), settings_.names, now_unix_s);
  if (why.empty()) {
    issued_.chain_pem = certificates_only(answer.body);
    issued_.key_pem = key_to_pem(key_.get());
    return enter(State::done);
  }
  const Problem problem = protocol_problem(the_certificate, why);
  notes_.push_back(problem.message + "; asking again");
  // First the same certificate again: something on the way may have broken it. Then another one.
  ++garbage_;
  if (garbage_ == 1 || garbage_ == 3) return wait(1000);
  if (garbage_ > 3) return fail_with(problem);
  begin_again(problem);
}

}  // namespace lintel::acme
