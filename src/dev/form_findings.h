// What the answer to a posted form says about an app behind https that does not know it. Pure functions.
#pragma once

#include <string_view>

#include "proxy/gate.h"

namespace lintel::dev {

// A form that by its path is a sign-in, sent without a session's cookie, and answered with a redirect elsewhere and no
// cookie: whoever signed in will not be known on the next page.
bool is_sign_in_without_cookie(const proxy::AnswerSeen& seen);

// A form of one of our own pages was refused; the body tells whether for its Origin.
bool may_be_refused_origin(const proxy::AnswerSeen& seen);

// How a framework says that Origin is not the address it believes to have. All static.
struct OriginRefusal {
  std::string_view phrase;  // in the body
  std::string_view reason;
};
// Null when `body` (its beginning) says nothing of the kind.
const OriginRefusal* find_origin_refusal(std::string_view body);

}  // namespace lintel::dev
