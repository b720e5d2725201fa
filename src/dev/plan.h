// What a run of `lintel dev` is going to serve and where, decided before anything is bound or started.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "config/config.h"
#include "dev/app_target.h"
#include "dev/port_finder.h"
#include "dev/project.h"
#include "dev/session.h"
#include "forwarded/rules.h"

namespace lintel::dev {

struct Plan {
  std::string project;             // the folder, without links
  std::string name;                // "shop.localhost"
  std::vector<std::string> names;  // every host that is served, lower case
  std::vector<IpAddress> hosts;    // addresses to listen on
  PortChoice port;
  AppTarget app;
  std::vector<forwarded::Rule> trust;
  const forwarded::Platform* simulate = nullptr;
  std::vector<std::string> notes;

  // "https://shop.localhost:8443", without a path.
  std::string origin(const std::string& host, bool https = true) const;
};

// Errors: usage, port_in_use, permission_denied.
Outcome<Plan> make_plan(const DevOptions& options, const RememberedPorts& remembered);

// The proxy's configuration for the plan.
std::shared_ptr<const config::Config> make_config(const Plan& plan, const DevOptions& options);

}  // namespace lintel::dev
