#include "import/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace lintel::import {

void Report::add(Kind kind, const Directive& of, std::string message) {
  known_.insert(&of);
  const std::string key =
      fmt::format("{}:{}:{}:{}:{}", static_cast<int>(kind), of.at.file, of.at.line, of.name, message);
  if (!seen_.insert(key).second) return;
  findings_.push_back({.kind = kind, .at = of.at, .line = of.text(), .message = std::move(message)});
}

void Report::used_with_block(const Directive& of) {
  used(of);
  for (const Directive& inner : of.block) used_with_block(inner);
}

std::vector<Finding> Report::sorted() const {
  std::vector<Finding> all = findings_;
  std::ranges::sort(all, [](const Finding& a, const Finding& b) {
    return std::tie(a.kind, a.at, a.line, a.message) < std::tie(b.kind, b.at, b.line, b.message);
  });
  return all;
}

size_t Report::count(Kind kind) const {
  return static_cast<size_t>(std::ranges::count(findings_, kind, &Finding::kind));
}

}  // namespace lintel::import
