// From recorded exchanges to a diagnosis. Pure: the same record gives the same findings.
#pragma once

#include "doctor/database.h"
#include "doctor/exchange.h"
#include "doctor/finding.h"

namespace lintel::doctor {

// `platform` may be null: the app stands behind Lintel.
Diagnosis analyse(const Record& record, const Database& database, const Platform* platform);

}  // namespace lintel::doctor
