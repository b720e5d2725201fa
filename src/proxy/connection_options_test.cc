#include "proxy/connection_options.h"

#include <gtest/gtest.h>

namespace lintel::proxy {
namespace {

std::string_view nominated(std::initializer_list<std::string_view> lines, Arena& arena) {
  auto* fields = arena.make<http::FieldList>();
  fields->push(arena, {"Host", "app.test", http::FieldId::host});
  for (std::string_view line : lines) fields->push(arena, {"Connection", line, http::FieldId::connection});
  return nominated_fields(*fields, arena);
}

TEST(NominatedFields, WhatIsDroppedAnywayCostsNothing) {
  Arena arena;
  EXPECT_EQ(nominated({}, arena), "");
  EXPECT_EQ(nominated({"close"}, arena), "");
  EXPECT_EQ(nominated({"Keep-Alive, Upgrade", "TE"}, arena), "");
}

// A field that is nominated in the second line would otherwise travel on as end-to-end.
TEST(NominatedFields, EveryLineCounts) {
  Arena arena;
  const std::string_view list = nominated({"close", "X-One", "keep-alive", "x-two, X-Three"}, arena);
  for (std::string_view name : {"x-one", "X-Two", "x-three"}) EXPECT_TRUE(http::list_has_token(list, name)) << name;
  EXPECT_FALSE(http::list_has_token(list, "host"));
}

}  // namespace
}  // namespace lintel::proxy
