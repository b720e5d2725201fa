#include "cli/report.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/log.h"

namespace lintel::cli {

int report(const Error& error) {
  fmt::print(stderr, "lintel: {}\n", log::escape(error.message));
  switch (error.code) {
    case ErrorCode::usage:
    case ErrorCode::config_invalid:
    case ErrorCode::certificate_invalid:
      return 2;
    case ErrorCode::port_in_use:
    case ErrorCode::permission_denied:
    case ErrorCode::not_found:
    case ErrorCode::io_error:
    case ErrorCode::resource_exhausted:
      return 3;
    default:
      return 1;
  }
}

}  // namespace lintel::cli
