// Finds in a page what the doctor looks at: links, forms, and URLs that the page loads or posts to. A scanner, not a
// parser: bounded, one pass, any octets. Views into the page.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lintel::doctor {

struct PageUrl {
  enum class Use : uint8_t {
    link,   // <a href>
    load,   // src, srcset, data, poster, <link href>: blocked or upgraded as mixed content
    form,   // <form action>, formaction
    canon,  // <link rel="canonical">, <meta property="og:url">
  } use = Use::link;
  std::string url;  // white space around it removed, the usual character references decoded
};

struct PageFacts {
  std::vector<PageUrl> urls;  // at most limits::doctor_page_urls_count
  std::string refresh;        // of <meta http-equiv="refresh">
  bool has_form_post = false;
  bool has_password = false;  // an <input type="password">
  bool has_csrf_field = false;
};

PageFacts scan_page(std::string_view html);

}  // namespace lintel::doctor
