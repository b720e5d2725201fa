// What is known about certificates, as JSON for the admin socket and `lintel cert list --json`.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "acme/manager.h"
#include "acme/storage.h"

namespace lintel::serve {

nlohmann::json to_json(const std::vector<acme::CertificateStatus>& all);
// The same from the state folder alone, when no server runs. Blocks.
std::vector<acme::CertificateStatus> stored_status(acme::Storage& storage, int64_t now_unix_s);

}  // namespace lintel::serve
