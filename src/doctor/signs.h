// What single answers show about the app's idea of its scheme and name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "doctor/database.h"
#include "doctor/exchange.h"
#include "doctor/finding.h"

namespace lintel::doctor {

struct Sign {
  FindingId id;
  std::string symptom;
  Probe probe;
  std::string saw;
  std::string request{};  // instead of the probe's description, when there was none
};
struct Signs {
  std::vector<Sign> wrong;
  std::vector<std::string> right;  // "GET /login: Location https://…"
};

// Adds what `exchange`, one of record.exchanges, shows by itself and beside its counterparts.
void read_signs(const Record& record, const Exchange& exchange, const Recognised& app, Signs& signs);

struct FormFacts {
  bool has_form = false;
  bool has_password = false;
  bool has_csrf = false;  // a field of the form, or a cookie
  bool has_csrf_cookie = false;
};
FormFacts form_facts(const Answer& answer);

bool is_html(const Answer& answer);
// Is it likely a session's, or a token's? By its name or by HttpOnly.
bool is_session_cookie(std::string_view set_cookie);

}  // namespace lintel::doctor
