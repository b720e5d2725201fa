#include "doctor/html.h"

#include <gmock/gmock.h>

#include "base/limits.h"

namespace lintel::doctor {
namespace {

using testing::ElementsAre;

std::vector<std::string> urls(std::string_view html) {
  std::vector<std::string> list;
  for (const PageUrl& url : scan_page(html).urls) list.push_back(url.url);
  return list;
}

TEST(ScanPage, finds_urls_however_the_attribute_is_written) {
  EXPECT_THAT(urls("<a href=\"/a\"><A HREF='/b'><a class=x href=/c><a\nhref = \" /d \" >"),
              ElementsAre("/a", "/b", "/c", "/d"));
  EXPECT_THAT(urls("<a href='/a?x=1&amp;y=2&#x2F;'>"), ElementsAre("/a?x=1&y=2/"));
  EXPECT_THAT(urls("<img srcset='/1.png 1x, /2.png 2x' src=/0.png>"), ElementsAre("/0.png", "/1.png", "/2.png"));
}

TEST(ScanPage, ignores_what_is_no_markup) {
  EXPECT_THAT(urls("<!-- <a href=/a> --><script>'<a href=/b>'</script><a href=/c>"), ElementsAre("/c"));
}

TEST(ScanPage, knows_forms) {
  const PageFacts page = scan_page("<form method=POST action=/x><input name=csrfmiddlewaretoken><input type=password>");
  EXPECT_TRUE(page.has_form_post && page.has_csrf_field && page.has_password);
  EXPECT_FALSE(scan_page("<form action=/search><input name=q></form>").has_form_post);
}

TEST(ScanPage, is_bounded_whatever_comes) {
  std::string many;
  for (size_t i = 0; i < limits::doctor_page_urls_count * 2; ++i) many += "<a href=/x>";
  EXPECT_EQ(scan_page(many).urls.size(), limits::doctor_page_urls_count);
  for (const char* broken : {"<", "<a", "<a href", "<a href=", "<a href='", "<!--", "<script", "<a =x>", "<a/href=/b"})
    scan_page(broken);
}

}  // namespace
}  // namespace lintel::doctor
