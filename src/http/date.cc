#include "http/date.h"

#include <cstring>

namespace lintel::http {
namespace {

void write_digits(char* to, unsigned value, unsigned count) noexcept {
  for (unsigned i = count; i-- > 0; value /= 10) to[i] = static_cast<char>('0' + value % 10);
}

}  // namespace

void write_imf_fixdate(int64_t unix_seconds, char* to) noexcept {
  int64_t days = unix_seconds / 86'400;
  int64_t second_of_day = unix_seconds % 86'400;
  if (second_of_day < 0) {
    second_of_day += 86'400;
    --days;
  }
  // Days to year, month, day in the proleptic Gregorian calendar, counted from 1 March of year 0 in eras of 400 years
  // (Hinnant, "chrono-Compatible Low-Level Date Algorithms"); gmtime_r would take a lock and the time zone's data.
  const int64_t shifted = days + 719'468;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146'096) / 146'097;
  const auto day_of_era = static_cast<unsigned>(shifted - era * 146'097);
  const unsigned year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned month_from_march = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  const int64_t year = static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0);
  const auto weekday = static_cast<unsigned>(((days % 7) + 11) % 7);  // 1970-01-01 was a Thursday (4)

  std::memcpy(to, "Sun, 06 Nov 1994 08:49:37 GMT", 29);
  std::memcpy(to, &"SunMonTueWedThuFriSat"[weekday * 3], 3);
  write_digits(to + 5, day, 2);
  std::memcpy(to + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[(month - 1) * 3], 3);
  write_digits(to + 12, static_cast<unsigned>(year), 4);
  write_digits(to + 17, static_cast<unsigned>(second_of_day / 3'600), 2);
  write_digits(to + 20, static_cast<unsigned>(second_of_day / 60 % 60), 2);
  write_digits(to + 23, static_cast<unsigned>(second_of_day % 60), 2);
}

}  // namespace lintel::http
