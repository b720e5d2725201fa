// One run of `lintel doctor`: finds the app, sends the probes, judges.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "doctor/finding.h"

namespace lintel::doctor {

struct Options {
  std::string target;                                                   // PORT or URL
  std::vector<std::string> paths;                                       // of --path
  std::string host;                                                     // public name to ask for; empty: one is made up
  std::string platform;                                                 // empty: the app stands behind Lintel
  std::function<void(size_t sent, const std::string& probe)> progress;  // before each probe; may be empty
};

// Errors: usage; upstream_refused, upstream_unreachable, upstream_timeout, not_found when there is nobody to examine.
Outcome<Diagnosis> examine(const Options& options);

}  // namespace lintel::doctor
