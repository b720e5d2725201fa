// Tells the service manager how the service is (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET names.
#pragma once

#include <cstdint>
#include <string_view>

namespace lintel::serve {

// "READY=1\nSTATUS=…". Does nothing where nobody asked to be told.
void notify_manager(std::string_view state);
// How often the manager wants to hear WATCHDOG=1, in milliseconds: half of its patience; 0 = it does not.
uint32_t watchdog_interval_ms();

}  // namespace lintel::serve
