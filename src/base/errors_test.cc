#include "base/errors.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace lintel {
namespace {

std::vector<ErrorCode> all_codes() {
  std::vector<ErrorCode> codes;
  for (size_t i = 0; i < error_code_count(); ++i) codes.push_back(static_cast<ErrorCode>(i));
  return codes;
}

// Names are an interface: people grep logs and write alerts for them.
TEST(Errors, NamesAreUniqueKebabCase) {
  const std::regex kebab("[a-z0-9]+(-[a-z0-9]+)*");
  std::set<std::string_view> seen;
  for (ErrorCode code : all_codes()) {
    const std::string name(facts(code).name);
    EXPECT_TRUE(std::regex_match(name, kebab)) << name;
    EXPECT_TRUE(seen.insert(facts(code).name).second) << name;
  }
}

TEST(Errors, EveryErrorHasAnErrorStatusAndASentence) {
  for (ErrorCode code : all_codes()) {
    if (code == ErrorCode::none) continue;
    EXPECT_GE(facts(code).status, 400) << facts(code).name;
    EXPECT_LT(facts(code).status, 600) << facts(code).name;
    EXPECT_GT(explain(code).size(), 20u) << facts(code).name;
    EXPECT_EQ(explain(code).back(), '.') << facts(code).name;
  }
  EXPECT_EQ(facts(ErrorCode::host_not_served).name, "host-not-served");
  EXPECT_EQ(facts(ErrorCode::host_not_served).status, 421);
}

// Trying again after the app may have seen a request would run a payment twice: only failures before the app has read
// anything, or a pooled connection that was already closed, are retryable.
TEST(Errors, OnlyFailuresBeforeTheAppSawTheRequestAreRetryable) {
  std::set<std::string_view> retryable;
  for (ErrorCode code : all_codes()) {
    if (facts(code).retryable) retryable.insert(facts(code).name);
  }
  EXPECT_EQ(retryable, (std::set<std::string_view>{"upstream-refused", "upstream-unreachable", "upstream-name",
                                                   "upstream-connect-timeout", "upstream-closed"}));
}

// A person who meets a code looks it up: each has a section in docs/errors.md, and the page invents none.
TEST(Errors, DocumentationNamesExactlyTheTable) {
  std::ifstream file("docs/errors.md");
  ASSERT_TRUE(file) << "run from the repository's root";
  std::set<std::string> documented;
  std::string line, name;
  size_t words = 0;
  const std::regex heading(R"(### `([a-z0-9-]+)` \((\d{3})\))");
  const auto check_paragraph = [&] {
    if (!name.empty()) EXPECT_GE(words, 15u) << "the paragraph of " << name << " is too short to help";
  };
  while (std::getline(file, line)) {
    std::smatch match;
    if (std::regex_match(line, match, heading)) {
      check_paragraph();
      name = match[1];
      words = 0;
      EXPECT_TRUE(documented.insert(name).second) << name << " is documented twice";
      for (ErrorCode code : all_codes()) {
        if (facts(code).name == name) EXPECT_EQ(std::to_string(facts(code).status), match[2]) << name;
      }
      continue;
    }
    std::istringstream counted(line);
    for (std::string word; counted >> word;) ++words;
  }
  check_paragraph();
  std::set<std::string> known;
  for (ErrorCode code : all_codes()) {
    if (code != ErrorCode::none) known.insert(std::string(facts(code).name));
  }
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace lintel
