#include "share/qr.h"

#include <qrencode.h>

#include <memory>

namespace lintel::share {
namespace {

constexpr int quiet_zone = 2;

struct Freed {
  void operator()(QRcode* code) const noexcept { QRcode_free(code); }
};

}  // namespace

std::string qr_lines(const std::string& text, unsigned columns, bool color) {
  const std::unique_ptr<QRcode, Freed> code(QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L));
  if (code == nullptr || static_cast<unsigned>(code->width + 2 * quiet_zone) > columns) return {};
  const auto is_light = [&](int x, int y) {
    if (x < 0 || y < 0 || x >= code->width || y >= code->width) return true;
    return (code->data[static_cast<size_t>(y) * static_cast<size_t>(code->width) + static_cast<size_t>(x)] & 1) == 0;
  };
  std::string lines;
  for (int y = -quiet_zone; y < code->width + quiet_zone; y += 2) {
    if (color) lines += "\x1b[97;40m";
    for (int x = -quiet_zone; x < code->width + quiet_zone; ++x) {
      const bool above = is_light(x, y), below = is_light(x, y + 1);
      lines += above ? (below ? "█" : "▀") : (below ? "▄" : " ");
    }
    lines += color ? "\x1b[0m\n" : "\n";
  }
  return lines;
}

}  // namespace lintel::share
