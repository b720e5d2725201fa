// A diagnosis for people and for programs.
#pragma once

#include <string>

#include "doctor/database.h"
#include "doctor/finding.h"

namespace lintel::doctor {

struct RenderOptions {
  bool color = false;
  const Platform* platform = nullptr;
};
// Text for a terminal; nothing from the app reaches it unescaped.
std::string as_text(const Diagnosis& diagnosis, const RenderOptions& options);
// One JSON object and a line end; docs/doctor.md describes it.
std::string as_json(const Diagnosis& diagnosis, const Platform* platform);

}  // namespace lintel::doctor
