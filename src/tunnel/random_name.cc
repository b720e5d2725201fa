#include <fmt/format.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tunnel/hello.h"

namespace lintel::tunnel {
namespace {

// Short, easily told apart when read aloud, and harmless in any order.
constexpr std::array<std::string_view, 128> qualities = {
    "agile",  "airy",    "amber",  "ample",   "apt",    "arctic", "autumn", "azure",  "basic",  "blue",   "bold",
    "brave",  "breezy",  "brief",  "bright",  "brisk",  "bronze", "busy",   "calm",   "candid", "casual", "cheery",
    "chief",  "civil",   "clean",  "clear",   "clever", "cloudy", "cobalt", "cool",   "copper", "coral",  "cosmic",
    "cosy",   "crisp",   "daily",  "dapper",  "deep",   "deft",   "direct", "dusty",  "eager",  "early",  "earthy",
    "easy",   "even",    "exact",  "fair",    "famous", "fancy",  "fast",   "fine",   "firm",   "fleet",  "fluent",
    "fond",   "frank",   "fresh",  "frosty",  "full",   "gentle", "giant",  "glad",   "golden", "grand",  "green",
    "happy",  "hardy",   "hazel",  "honest",  "humble", "ideal",  "indigo", "ivory",  "jade",   "jolly",  "keen",
    "kind",   "large",   "late",   "level",   "light",  "lilac",  "lively", "loyal",  "lucid",  "lucky",  "lunar",
    "mellow", "merry",   "mild",   "modern",  "modest", "neat",   "nimble", "noble",  "novel",  "olive",  "open",
    "orange", "patient", "plain",  "polite",  "proud",  "quick",  "quiet",  "rapid",  "rare",   "ready",  "rosy",
    "round",  "rustic",  "sandy",  "scarlet", "serene", "sharp",  "silent", "silver", "simple", "sleek",  "smooth",
    "snowy",  "solar",   "steady", "stellar", "sunny",  "swift",  "tidy"};
constexpr std::array<std::string_view, 128> things = {
    "acorn",   "alder",  "anchor",  "apple",  "apron",   "arch",    "ash",    "aspen",  "badger", "bamboo",  "banjo",
    "barley",  "basin",  "bay",     "beacon", "beaver",  "bell",    "birch",  "bison",  "boat",   "book",    "bridge",
    "brook",   "button", "cabin",   "camel",  "canal",   "canoe",   "canyon", "carrot", "cedar",  "cello",   "cherry",
    "clover",  "coast",  "comet",   "condor", "corn",    "crane",   "creek",  "daisy",  "delta",  "dolphin", "dove",
    "dune",    "eagle",  "elm",     "falcon", "fern",    "ferry",   "field",  "finch",  "fjord",  "flute",   "forest",
    "fox",     "garden", "gecko",   "ginger", "glacier", "grove",   "gull",   "harbor", "hare",   "harp",    "hazelnut",
    "heron",   "hill",   "island",  "ivy",    "jasmine", "kayak",   "kettle", "kite",   "koala",  "lagoon",  "lake",
    "lantern", "larch",  "lark",    "lemon",  "lily",    "llama",   "lotus",  "lynx",   "magnet", "mango",   "maple",
    "marble",  "meadow", "melon",   "mill",   "mint",    "moose",   "moss",   "oak",    "ocean",  "onyx",    "orchid",
    "osprey",  "otter",  "owl",     "panda",  "pebble",  "pelican", "pepper", "piano",  "pine",   "planet",  "plum",
    "pond",    "poplar", "puffin",  "quartz", "rabbit",  "raven",   "reef",   "river",  "robin",  "rowan",   "saddle",
    "sail",    "salmon", "sparrow", "spruce", "thistle", "tulip",   "willow"};
// 32 letters and digits, without those that are taken for each other (0 o, 1 l).
constexpr std::string_view marks = "abcdefghijkmnpqrstuvwxyz23456789";

}  // namespace

std::string random_share_name() {
  std::array<unsigned char, 7> octets{};
  if (RAND_bytes(octets.data(), octets.size()) != 1) std::abort();
  std::string name = fmt::format("{}-{}-", qualities[octets[0] & 127], things[octets[1] & 127]);
  for (size_t i = 2; i < octets.size(); ++i) name += marks[octets[i] & 31];
  return name;
}

}  // namespace lintel::tunnel
