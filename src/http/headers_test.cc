#include "http/headers.h"

#include <gmock/gmock.h>

#include <cctype>
#include <string>
#include <vector>

#include "http/message.h"
#include "http/scan.h"

namespace lintel::http {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Known {
  FieldId id;
  std::string_view name;
};
constexpr Known known[] = {
#define LINTEL_X(id, name) {FieldId::id, name},
    LINTEL_FIELD_NAMES(LINTEL_X)
#undef LINTEL_X
};

TEST(FieldId, FindsEveryNameInAnyCase) {
  for (const Known& field : known) {
    std::string upper(field.name);
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    EXPECT_EQ(field_id(field.name), field.id) << field.name;
    EXPECT_EQ(field_id(upper), field.id) << upper;
  }
}

// A name that differs in one octet must not be taken for the known one: the octets that only differ in bit 0x20 are
// those that a careless case folding mixes up ("\r" and '-', "@" and '`').
TEST(FieldId, OneWrongOctetIsAnotherName) {
  for (const Known& field : known) {
    for (size_t i = 0; i < field.name.size(); ++i) {
      for (int octet = 0; octet < 256; ++octet) {
        std::string name(field.name);
        name[i] = static_cast<char>(octet);
        const bool same = equal_ignoring_case(name, field.name);
        EXPECT_EQ(field_id(name) == field.id, same) << field.name << " with " << octet << " at " << i;
      }
    }
    EXPECT_EQ(field_id(std::string(field.name) + "x"), FieldId::other);
    EXPECT_EQ(field_id(field.name.substr(1)), FieldId::other);
  }
  EXPECT_EQ(field_id(""), FieldId::other);
  EXPECT_EQ(field_id(std::string(300, 'a')), FieldId::other);
}

TEST(EqualIgnoringCase, FoldsLettersOnly) {
  EXPECT_TRUE(equal_ignoring_case("", ""));
  EXPECT_TRUE(equal_ignoring_case("Transfer-Encoding", "tRANSFER-eNCODING"));
  EXPECT_FALSE(equal_ignoring_case("a", "ab"));
  EXPECT_FALSE(equal_ignoring_case("[", "{"));
  EXPECT_FALSE(equal_ignoring_case("@", "`"));
  EXPECT_FALSE(equal_ignoring_case("-", "\r"));
  EXPECT_FALSE(equal_ignoring_case("\xC4", "\xE4"));
}

// The scanners take 16 octets at once: every octet is tried at every place of a block and in the tail.
TEST(Scanners, EveryOctetAtEveryPlace) {
  constexpr std::string_view token_extras = "!#$%&'*+-.^_`|~";
  for (int octet = 0; octet < 256; ++octet) {
    const char c = static_cast<char>(octet);
    const bool token = (octet < 128 && std::isalnum(octet) != 0) || (octet != 0 && token_extras.contains(c));
    const bool value = c == '\t' || (octet >= 0x20 && octet != 0x7F);
    for (size_t size : {1U, 5U, 16U, 17U, 32U, 40U}) {
      for (size_t place = 0; place < size; ++place) {
        std::string text(size, 'a');
        text[place] = c;
        EXPECT_EQ(is_token(text), token) << octet << " at " << place << " of " << size;
        const char* end = text.data() + size;
        EXPECT_EQ(scan::find_control(text.data(), end), value ? end : text.data() + place) << octet << " at " << place;
      }
    }
  }
  EXPECT_FALSE(is_token(""));
}

TEST(FieldValue, NoControlsAndNoWhiteSpaceAround) {
  EXPECT_TRUE(is_field_value(""));
  EXPECT_TRUE(is_field_value("a b\tc \xE4\xFF"));
  EXPECT_FALSE(is_field_value(" a"));
  EXPECT_FALSE(is_field_value("a\t"));
  EXPECT_FALSE(is_field_value("a\r\nX: y"));
  EXPECT_FALSE(is_field_value(std::string_view("a\0b", 3)));
  EXPECT_FALSE(is_field_value("a\x7F"));
}

std::vector<std::string> elements(std::string_view list) {
  std::vector<std::string> found;
  for_each_element(list, [&](std::string_view element) { found.emplace_back(element); });
  return found;
}

TEST(ListElements, QuotedStringsHoldCommas) {
  EXPECT_THAT(elements(" a ,\tb,,c"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(elements(R"(a="1,2", b="\",", c)"), ElementsAre(R"(a="1,2")", R"(b="\",")", "c"));
  EXPECT_THAT(elements(" , ,"), IsEmpty());
  EXPECT_TRUE(list_has_token("keep-alive, Upgrade", "upgrade"));
  EXPECT_FALSE(list_has_token("keep-alive-upgrade", "upgrade"));
}

TEST(FieldList, KeepsOrderWhileItGrows) {
  Arena arena;
  FieldList fields;
  std::vector<std::string> names;
  for (int i = 0; i < 200; ++i) names.push_back("n" + std::to_string(i));
  for (const std::string& name : names) fields.push(arena, {name, "v", FieldId::other});
  fields.push(arena, {"Host", "a", FieldId::host});
  ASSERT_EQ(fields.size(), 201U);
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(fields[i].name, names[i]);
  ASSERT_NE(fields.find(FieldId::host), nullptr);
  EXPECT_EQ(fields.find(FieldId::host)->value, "a");
  EXPECT_EQ(fields.find(FieldId::cookie), nullptr);
  EXPECT_EQ(fields.count(FieldId::host), 1U);
}

TEST(Method, NamesAreCaseSensitive) {
  const std::pair<std::string_view, Method> methods[] = {
      {"GET", Method::get},         {"HEAD", Method::head},   {"POST", Method::post},
      {"PUT", Method::put},         {"PATCH", Method::patch}, {"DELETE", Method::delete_},
      {"OPTIONS", Method::options}, {"TRACE", Method::trace}, {"CONNECT", Method::connect},
  };
  for (const auto& [name, method] : methods) EXPECT_EQ(method_of(name), method) << name;
  EXPECT_EQ(method_of("get"), Method::other);
  EXPECT_EQ(method_of("GETS"), Method::other);
  EXPECT_EQ(method_of("PURGE"), Method::other);
  EXPECT_EQ(method_of(""), Method::other);
}

}  // namespace
}  // namespace lintel::http
