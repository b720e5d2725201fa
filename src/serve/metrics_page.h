// GET /metrics for Prometheus, on the control reactor.
#pragma once

#include "serve/small_server.h"

namespace lintel::serve {

class Service;

// May a request with this Host field read the metrics? Only IP literals and "localhost": a web page whose name was made
// to point here (DNS rebinding) sends a name. `unix_socket`: file modes decide, whatever the Host.
bool is_metrics_host(std::string_view host, bool unix_socket);
SmallAnswer answer_metrics(Service& service, const SmallRequest& request, bool unix_socket);
// Adds what the data plane does not count itself: reloads, the log, the process.
void add_service_metrics(Service& service);

}  // namespace lintel::serve
