#include "doctor/exchange.h"

#include <fmt/format.h>

#include "http/headers.h"

namespace lintel::doctor {
namespace {

// From the range for documentation (RFC 5737): nobody's address, and not a private one, which an app might treat
// differently.
constexpr std::string_view client_address = "203.0.113.9";

}  // namespace

std::string_view Answer::field(std::string_view name) const {
  for (const AnswerField& one : fields)
    if (http::equal_ignoring_case(one.name, name)) return one.value;
  return {};
}

const Exchange* Record::find(Variant variant, std::string_view target, Route route) const {
  for (const Exchange& one : exchanges)
    if (one.probe.variant == variant && one.probe.route == route && one.probe.target == target &&
        one.answer.status != 0)
      return &one;
  return nullptr;
}

std::string describe(const Site& site, const Probe& probe) {
  std::string_view with;
  switch (probe.variant) {
    case Variant::https:
    case Variant::refused:
      with = site.is_public ? "" : " with X-Forwarded-Proto: https";
      break;
    case Variant::http:
      with = " with X-Forwarded-Proto: http";
      break;
    case Variant::bare:
      with = " without forwarded headers";
      break;
    case Variant::own_address:
      with = " with its own address as Host";
      break;
    case Variant::foreign_host:
      with = " with X-Forwarded-Host: doctor.invalid";
      break;
    case Variant::with_cookies:
      with = " with X-Forwarded-Proto: https and the cookies it had set";
      break;
  }
  std::string_view over;
  if (probe.route == Route::v6_loopback) over = " over ::1";
  if (probe.route == Route::network) over = " over this machine's network address";
  return fmt::format("GET {}{}{}", probe.target, with, over);
}

std::vector<AnswerField> request_fields(const Site& site, const Probe& probe) {
  const bool own_address = probe.variant == Variant::own_address;
  std::vector<AnswerField> fields;
  fields.push_back({"Host", own_address ? site.app_address : site.authority});
  fields.push_back({"User-Agent", "lintel-doctor/" LINTEL_VERSION});
  fields.push_back({"Accept", "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"});
  if (!probe.cookies.empty()) fields.push_back({"Cookie", probe.cookies});
  const bool foreign = probe.variant == Variant::foreign_host;
  if (site.is_public) {
    if (foreign) fields.push_back({"X-Forwarded-Host", std::string(foreign_host_name)});
    if (probe.variant == Variant::http) fields.push_back({"X-Forwarded-Proto", "http"});
  } else if (probe.variant != Variant::bare && !own_address) {
    const bool http = probe.variant == Variant::http;
    const size_t colon = site.authority.size() > site.host.size() ? site.host.size() + 1 : std::string::npos;
    const std::string port = colon == std::string::npos ? (http ? "80" : "443") : site.authority.substr(colon);
    fields.push_back({"X-Forwarded-For", std::string(client_address)});
    fields.push_back({"X-Forwarded-Proto", http ? "http" : "https"});
    fields.push_back({"X-Forwarded-Host", foreign ? std::string(foreign_host_name) : site.authority});
    fields.push_back({"X-Forwarded-Port", port});
    fields.push_back({"X-Real-IP", std::string(client_address)});
  }
  fields.push_back({"Connection", "close"});
  return fields;
}

}  // namespace lintel::doctor
