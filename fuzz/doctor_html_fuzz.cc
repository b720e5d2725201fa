// What the doctor reads of an app's answer: the page scanner, URLs, and the whole judgement on one page and one header.
// The first octet chooses the page's type and where it was asked; up to the first line feed a Location; the rest a
// body.
#include <cstdint>
#include <string>

#include "base/limits.h"
#include "doctor/analyse.h"
#include "doctor/html.h"
#include "doctor/render.h"
#include "doctor/url.h"
#include "fuzz_check.h"
#include "http/authority.h"

using namespace lintel;
using namespace lintel::doctor;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const PageFacts page = scan_page(text);
  FUZZ_CHECK(page.urls.size() <= limits::doctor_page_urls_count);

  Record record;
  record.site.target = "5000";
  record.site.host = record.site.authority = "doctor.localhost";
  record.site.app_address = "127.0.0.1:5000";
  record.site.app_port = 5000;
  for (const PageUrl& url : page.urls) {
    FUZZ_CHECK(!url.url.empty() && url.url.size() <= limits::doctor_url_bytes);
    // Whatever is asked for next is a valid target: nothing of a page can end the request line.
    if (const auto target = same_site_target(url.url, "/a/b?c", record.site))
      FUZZ_CHECK(target->starts_with('/') && http::is_valid_target(*target));
    naming(url.url, record.site);
    come_back(url.url);
  }

  const size_t line = std::min(text.find('\n'), text.size());
  const char* types[] = {"text/html", "application/json", "text/plain", ""};
  Answer answer;
  answer.status = (data[0] & 4) != 0 ? 302 : 200;
  answer.fields = {
      {"Location", text.substr(0, line)}, {"Content-Type", types[data[0] & 3]}, {"Set-Cookie", text.substr(0, line)}};
  answer.body = line < text.size() ? text.substr(line + 1) : "";
  const char* target = (data[0] & 8) != 0 ? "/.well-known/openid-configuration" : "/";
  record.exchanges.push_back({{Variant::https, target, Route::usual, {}}, answer});
  record.exchanges.push_back({{Variant::foreign_host, target, Route::network, {}}, answer});
  const Diagnosis diagnosis = analyse(record, Database::embedded(), nullptr);
  for (const Finding& finding : diagnosis.findings) FUZZ_CHECK(!finding.fix.lines.empty() && !finding.evidence.empty());
  const std::string shown = as_text(diagnosis, {});
  for (char c : shown) FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t');
  as_json(diagnosis, nullptr);
  return 0;
}
