#include "base/percent.h"

#include <gtest/gtest.h>

namespace lintel {
namespace {

// A name with '&' or '%' that went into a query as it is would be another name, or two.
TEST(Percent, WhatIsEncodedComesBack) {
  for (const std::string& text :
       {std::string("*.a.test"), std::string("::1"), std::string("a b&c=%41+#"), std::string("\0\xff", 2)}) {
    const std::string encoded = percent_encoded(text);
    EXPECT_EQ(encoded.find_first_of(" &=+#*:"), std::string::npos) << encoded;
    EXPECT_EQ(percent_decoded(encoded), text);
  }
}

TEST(Percent, BrokenEscapesStayAsTheyAre) {
  for (const char* text : {"%", "%4", "%zz", "a%4", "%g1"}) EXPECT_EQ(percent_decoded(text), text);
  EXPECT_EQ(percent_decoded("%41%4"), "A%4");
}

}  // namespace
}  // namespace lintel
