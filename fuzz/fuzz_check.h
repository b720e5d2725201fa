// What fuzz targets check beyond "does not crash".
#pragma once

#include <cstdio>
#include <cstdlib>

// Not assert(): a release build must check too.
#define FUZZ_CHECK(condition)                                                      \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)
