// What a header says about the scheme: "https" in most, on/off in the legacy ones. Internal to the trust engine.
#pragma once

#include <optional>
#include <string_view>

namespace lintel::forwarded {

// Does `value` of header `name` say https? nullopt: it says neither that nor http. In any case; ws and wss are http and
// https (RFC 6455 §3). Front-End-Https, X-Forwarded-Ssl, Fly-Forwarded-Ssl: on|off; Fastly-SSL: 1|0;
// X-Forwarded-Protocol: also "ssl"; CF-Visitor: {"scheme":"https"}.
std::optional<bool> says_https(std::string_view name, std::string_view value) noexcept;

}  // namespace lintel::forwarded
