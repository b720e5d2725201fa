// Recorded probes and their answers: what the doctor's judgement is made from. No sockets here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip.h"

namespace lintel::doctor {

// What is sent besides the target. To an app behind Lintel that is what Lintel would send; to a public site it is an
// ordinary request, except for the two forgeries.
enum class Variant : uint8_t {
  https,         // as from a client on https (public site: an ordinary request)
  http,          // as from a client on plain http (public site: X-Forwarded-Proto: http is forged)
  bare,          // the same Host without any forwarded header
  own_address,   // Host is the address that the app listens on, no forwarded header
  foreign_host,  // as https, with X-Forwarded-Host: doctor.invalid
  with_cookies,  // as https, with the cookies of an answer before
  refused,       // as https, under a made-up name that the app does not answer
};

inline constexpr std::string_view foreign_host_name = "doctor.invalid";
// Where an OpenID provider describes itself (OpenID Connect Discovery 1.0 §4).
inline constexpr std::string_view openid_document = "/.well-known/openid-configuration";

// Over which of the app's addresses.
enum class Route : uint8_t { usual, v6_loopback, network };

struct Probe {
  Variant variant = Variant::https;
  std::string target = "/";
  Route route = Route::usual;
  std::string cookies;  // with_cookies only: a Cookie value
};

struct AnswerField {
  std::string name, value;
};

struct Answer {
  uint16_t status = 0;  // 0: no answer, and `failure` says why
  std::vector<AnswerField> fields;
  std::string body;  // at most limits::doctor_body_bytes
  std::string failure;
  // The first field of that name (any case), or empty. Valid as long as the answer.
  std::string_view field(std::string_view name) const;
  bool is_redirect() const { return status >= 300 && status < 400 && status != 304; }
};

struct Exchange {
  Probe probe;
  Answer answer;
};

// Who is examined, and as whom.
struct Site {
  std::string target;       // as given
  bool is_public = false;   // https somewhere else: nothing but the two forgeries is forged
  bool tls = false;         // the app itself speaks TLS
  std::string host;         // the public name, lower case, without port
  std::string authority;    // with its port when that is not the scheme's default
  bool host_given = false;  // false: `host` was made up
  std::string app_address;  // "127.0.0.1:5000", for Host of Variant::own_address
  uint16_t app_port = 0;    // where the app listens
};

// All that a judgement is made from.
struct Record {
  Site site;
  std::vector<std::string> asked;  // paths of --path
  std::vector<Exchange> exchanges;
  std::vector<SocketAddress> beyond_loopback;  // addresses beyond loopback on which the app's port is open
  std::string certificate_failure;             // public sites
  std::string refused_host;                    // the made-up name, when the app does not answer it
  bool cut_short = false;                      // the budget of requests or time was used up

  // The first exchange of that kind with an answer, or null. Valid until exchanges changes.
  const Exchange* find(Variant variant, std::string_view target, Route route = Route::usual) const;
};

// "GET /login with X-Forwarded-Proto: https": how a probe is named in evidence.
std::string describe(const Site& site, const Probe& probe);

// The request's field lines in order, Host first.
std::vector<AnswerField> request_fields(const Site& site, const Probe& probe);

}  // namespace lintel::doctor
