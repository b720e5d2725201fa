// Which probes are sent: one after the other, GET only, bounded. The sending itself is a function of the caller's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "doctor/database.h"
#include "doctor/exchange.h"

namespace lintel::doctor {

struct SurveyOptions {
  std::vector<std::string> paths;  // of --path
  bool v6_loopback = false;        // the app can be reached over ::1 besides
  bool network = false;            // and over an address of this machine that others can use
};

// Sends one probe. Answer::status 0: it failed.
using Send = std::function<Answer(const Probe&)>;
// Is there time for another one? Told how many have been sent.
using MayGoOn = std::function<bool(size_t sent)>;

// Fills `record.exchanges`; record.site must be set, and may get another host when the app refuses a made-up one.
void survey(Record& record, const SurveyOptions& options, const Database& database, const Send& send,
            const MayGoOn& may_go_on);

}  // namespace lintel::doctor
