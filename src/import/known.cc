// What is to be said of the directives that no other part has dealt with.
#include <algorithm>
#include <array>
#include <span>

#include "import/convert_parts.h"

namespace lintel::import {
namespace {

struct Known {
  std::string_view name;  // ends in '*': every name that begins so
  Kind kind;
  std::string_view message;
};

constexpr std::string_view tuning = "it tunes nginx; Lintel needs nothing for it";
constexpr std::string_view own_tls = "Lintel's TLS settings are Mozilla's intermediate ones by themselves";
constexpr std::string_view no_files = "Lintel serves no files";
constexpr std::string_view no_cache = "Lintel has no cache";
constexpr std::string_view no_compression = "Lintel does not compress: let the app do it, or leave it out";
constexpr std::string_view no_variables = "Lintel has no variables, conditions and rewriting; do it in the app";
constexpr std::string_view streams = "Lintel streams both ways at constant memory; nothing is buffered in files";
constexpr std::string_view other_protocol =
    "Lintel speaks HTTP to apps: give the app an HTTP server (gunicorn, uvicorn, "
    "puma, php behind Apache, …)";
constexpr std::string_view failures =
    "Lintel tries another upstream by itself when nothing has reached the first, and "
    "leaves failing ones out";
constexpr std::string_view logging = "Lintel's access log is JSON lines on stdout or in server.access_log";
constexpr std::string_view scripting = "Lintel runs no scripts; do it in the app";

// The first that fits counts.
constexpr Known known[] = {
    // the process
    {"user", Kind::not_needed, "Lintel becomes the user lintel by itself, see server.user"},
    {"worker_processes", Kind::not_needed, "Lintel has a worker per core by itself"},
    {"worker_*", Kind::not_needed, tuning},
    {"pid", Kind::not_needed, tuning},
    {"daemon", Kind::not_needed, tuning},
    {"events", Kind::not_needed, tuning},
    {"pcre_jit", Kind::not_needed, tuning},
    {"timer_resolution", Kind::not_needed, tuning},
    {"thread_pool", Kind::not_needed, tuning},
    {"load_module", Kind::not_needed, "what its directives do is judged where they stand"},
    {"env", Kind::not_needed, tuning},
    {"error_log", Kind::not_needed, "Lintel's own messages go to stderr, which systemd keeps"},
    {"access_log", Kind::not_needed, logging},
    {"log_format", Kind::not_needed, logging},
    {"log_not_found", Kind::not_needed, logging},
    {"log_subrequest", Kind::not_needed, logging},
    {"open_log_file_cache", Kind::not_needed, logging},
    {"rewrite_log", Kind::not_needed, logging},
    {"limit_req_log_level", Kind::not_needed, logging},
    {"limit_conn_log_level", Kind::not_needed, logging},
    {"limit_req_status", Kind::not_needed, "a client above its rate gets 429"},
    {"limit_conn_status", Kind::not_needed, "a client with too many connections is turned away"},
    {"limit_rate*", Kind::not_understood, "Lintel does not slow answers down"},
    {"limit_*", Kind::not_understood, "see limits in docs/configuration.md"},
    // connections
    {"sendfile*", Kind::not_needed, tuning},
    {"tcp_no*", Kind::not_needed, tuning},
    {"aio*", Kind::not_needed, tuning},
    {"directio*", Kind::not_needed, tuning},
    {"output_buffers", Kind::not_needed, tuning},
    {"postpone_output", Kind::not_needed, tuning},
    {"reset_timedout_connection", Kind::not_needed, tuning},
    {"send_timeout", Kind::not_needed, "a client that reads nothing for a minute is given up"},
    {"lingering_*", Kind::not_needed, tuning},
    {"keepalive*", Kind::not_needed, "Lintel keeps connections by itself"},
    {"connection_pool_size", Kind::not_needed, tuning},
    {"request_pool_size", Kind::not_needed, tuning},
    {"large_client_header_buffers", Kind::not_needed, "a request's head may have 32 KiB"},
    {"client_header_buffer_size", Kind::not_needed, "a request's head may have 32 KiB"},
    {"client_body_*", Kind::not_needed, streams},
    {"types_hash_*", Kind::not_needed, tuning},
    {"server_names_hash_*", Kind::not_needed, tuning},
    {"variables_hash_*", Kind::not_needed, tuning},
    {"map_hash_*", Kind::not_needed, tuning},
    {"proxy_headers_hash_*", Kind::not_needed, tuning},
    {"resolver*", Kind::not_needed, "Lintel uses the system's resolver"},
    {"http2*", Kind::not_needed, "HTTP/2 is always on over TLS"},
    {"http3*", Kind::not_understood, "Lintel has no HTTP/3; browsers use HTTP/2 on the same port"},
    {"quic_*", Kind::not_understood, "Lintel has no HTTP/3; browsers use HTTP/2 on the same port"},
    {"server_tokens", Kind::not_needed, "Lintel sends no Server header of its own"},
    {"server_name_in_redirect", Kind::not_needed, "Lintel redirects to the checked name"},
    {"port_in_redirect", Kind::not_needed, "Lintel redirects to the right port"},
    {"absolute_redirect", Kind::not_needed, "Lintel redirects to the checked name"},
    {"merge_slashes", Kind::not_needed, "Lintel always merges them before it compares"},
    {"underscores_in_headers", Kind::not_needed, "Lintel removes such spellings of the names that it writes"},
    {"ignore_invalid_headers", Kind::not_needed, "Lintel answers 400 to them"},
    {"msie_*", Kind::not_needed, tuning},
    {"chunked_transfer_encoding", Kind::not_needed, tuning},
    {"recursive_error_pages", Kind::not_needed, "Lintel has its own pages for its own errors"},
    {"default_type", Kind::not_needed, no_files},
    {"types", Kind::not_needed, no_files},
    {"charset*", Kind::not_needed, "the app says its charset"},
    {"source_charset", Kind::not_needed, "the app says its charset"},
    // TLS
    {"ssl_stapling*", Kind::not_needed, "Lintel staples where the certificate names a responder"},
    {"ssl_reject_handshake", Kind::not_needed, "names that Lintel does not serve get no certificate"},
    {"ssl_certificate*", Kind::not_needed, "the server only redirects or is left out"},
    {"ssl_password_file", Kind::not_understood, "Lintel's private keys are without a password, readable by root only"},
    {"ssl_crl", Kind::not_understood, "Lintel reads no revocation lists; use short-lived client certificates"},
    {"ssl_verify_depth", Kind::not_needed, own_tls},
    {"ssl_alpn", Kind::not_needed, own_tls},
    {"ssl_*", Kind::not_needed, own_tls},
    {"acme_*", Kind::not_needed, "Lintel gets certificates by itself"},
    {"proxy_ssl_server_name", Kind::not_needed, "the name is always sent"},
    {"proxy_ssl_session_reuse", Kind::not_needed, own_tls},
    {"proxy_ssl_protocols", Kind::not_needed, own_tls},
    {"proxy_ssl_ciphers", Kind::not_needed, own_tls},
    {"proxy_ssl_verify_depth", Kind::not_needed, own_tls},
    {"proxy_ssl_*", Kind::not_needed, "no https upstream that is translated uses it"},
    // to the app
    {"proxy_http_version", Kind::not_needed, "Lintel speaks HTTP/1.1 or HTTP/2 to the app"},
    {"proxy_cache*", Kind::not_understood, no_cache},
    {"proxy_no_cache", Kind::not_understood, no_cache},
    {"proxy_store*", Kind::not_understood, no_cache},
    {"proxy_buffer*", Kind::not_needed, streams},
    {"proxy_busy_buffers_size", Kind::not_needed, streams},
    {"proxy_request_buffering", Kind::not_needed, streams},
    {"proxy_max_temp_file_size", Kind::not_needed, streams},
    {"proxy_temp_*", Kind::not_needed, streams},
    {"proxy_next_upstream*", Kind::not_needed, failures},
    {"proxy_send_timeout", Kind::not_needed, "an app that takes nothing is given up by itself"},
    {"proxy_socket_keepalive", Kind::not_needed, tuning},
    {"proxy_ignore_client_abort", Kind::not_understood, "when the client goes, the request to the app ends"},
    {"proxy_pass_header", Kind::not_needed, "the app's headers pass"},
    {"proxy_pass_request_headers", Kind::not_understood, "headers and body always pass"},
    {"proxy_pass_request_body", Kind::not_understood, "headers and body always pass"},
    {"proxy_ignore_headers", Kind::not_needed, "Lintel acts on none of the app's X-Accel headers"},
    {"proxy_intercept_errors", Kind::not_understood, "the app's own error pages pass"},
    {"proxy_cookie_domain", Kind::not_understood, "the app must set cookies for its public name"},
    {"proxy_cookie_path", Kind::not_understood,
     "Secure is added by itself; HttpOnly and SameSite are in cookies; paths stay"},
    {"proxy_method", Kind::not_understood, no_variables},
    {"proxy_set_body", Kind::not_understood, no_variables},
    {"proxy_bind", Kind::not_understood, "Lintel connects from the address that the system chooses"},
    {"proxy_limit_rate", Kind::not_understood, "Lintel does not slow answers down"},
    {"proxy_set_header", Kind::not_needed, "no translated location used it: an inner level has lines of its own"},
    {"add_header", Kind::not_needed, "no translated location used it: an inner level has lines of its own"},
    {"proxy_*", Kind::not_understood, "Lintel has nothing like it"},
    {"grpc_*", Kind::not_understood, "Lintel has nothing like it"},
    {"auth_request_set", Kind::not_understood,
     "auth_request copies headers of its answer by name, see docs/configuration.md"},
    {"auth_basic*", Kind::not_needed, "no translated location used it"},
    {"upstream", Kind::not_needed, "nothing that is translated uses it"},
    {"zone", Kind::not_needed, "Lintel's workers share what they know by themselves"},
    {"least_conn", Kind::not_needed, "one upstream needs no balancing"},
    // what Lintel does not do
    {"gzip", Kind::not_understood, no_compression},
    {"gzip_*", Kind::not_needed, "it belongs to gzip"},
    {"gunzip", Kind::not_understood, no_compression},
    {"brotli*", Kind::not_understood, no_compression},
    {"zstd*", Kind::not_understood, no_compression},
    {"root", Kind::not_understood, no_files},
    {"alias", Kind::not_understood, no_files},
    {"index", Kind::not_needed, no_files},
    {"try_files", Kind::not_understood, no_files},
    {"expires", Kind::not_understood, "the app says how long its answers may be kept"},
    {"etag", Kind::not_needed, no_files},
    {"if_modified_since", Kind::not_needed, no_files},
    {"autoindex*", Kind::not_understood, no_files},
    {"disable_symlinks", Kind::not_needed, no_files},
    {"open_file_cache*", Kind::not_needed, no_files},
    {"dav_*", Kind::not_understood, no_files},
    {"fastcgi_*", Kind::not_understood, other_protocol},
    {"uwsgi_*", Kind::not_understood, other_protocol},
    {"scgi_*", Kind::not_understood, other_protocol},
    {"memcached_*", Kind::not_understood, no_cache},
    {"error_page", Kind::not_understood, "the app's own error pages pass; Lintel has a page for its own errors"},
    {"return", Kind::not_understood, "Lintel has no answers of its own; redirects of single paths belong in the app"},
    {"rewrite", Kind::not_understood, no_variables},
    {"if", Kind::not_understood, no_variables},
    {"set", Kind::not_understood, no_variables},
    {"map", Kind::not_understood, no_variables},
    {"geo", Kind::not_understood, no_variables},
    {"geoip*", Kind::not_understood, no_variables},
    {"split_clients", Kind::not_understood, no_variables},
    {"break", Kind::not_understood, no_variables},
    {"valid_referers", Kind::not_understood, "Lintel does not look at Referer, which clients can leave out or forge"},
    {"sub_filter*", Kind::not_understood, "Lintel does not change bodies"},
    {"mirror*", Kind::not_understood, "Lintel does not copy requests"},
    {"stub_status", Kind::not_understood, "see metrics in docs/configuration.md"},
    {"stream", Kind::not_understood, "Lintel is for HTTP; leave TCP forwarding to nginx or HAProxy"},
    {"mail", Kind::not_understood, "Lintel is for HTTP"},
    {"lua_*", Kind::not_understood, scripting},
    {"js_*", Kind::not_understood, scripting},
    {"perl*", Kind::not_understood, scripting},
    {"modsecurity*", Kind::not_understood, "Lintel has no application firewall"},
    {"more_*", Kind::not_understood, "see headers in docs/configuration.md"},
    {"include", Kind::not_understood, "the file could not be read"},
    {"satisfy", Kind::not_needed, "one condition alone needs no word about several"},
};

bool fits(std::string_view pattern, std::string_view name) {
  return pattern.ends_with('*') ? name.starts_with(pattern.substr(0, pattern.size() - 1)) : name == pattern;
}

bool is_structure(std::string_view name) {
  constexpr std::array<std::string_view, 4> names = {"http", "server", "location", "if"};
  return std::ranges::find(names, name) != names.end();
}

// Values that ask for nothing.
bool is_off(const Directive& line) {
  return line.args.size() == 1 && line.args[0] == "off" && line.name != "proxy_buffering";
}

void judge(Work& work, const Directive& line) {
  if (line.name.find("_by_lua") != std::string::npos) return work.report.not_understood(line, std::string(scripting));
  const auto* found = std::ranges::find_if(known, [&](const Known& one) { return fits(one.name, line.name); });
  if (found == std::end(known)) {
    return work.report.not_understood(line, "Lintel's import does not know this directive");
  }
  if (is_off(line)) return work.report.not_needed(line, "it is off");
  work.report.add(found->kind, line, std::string(found->message));
}

}  // namespace

void sweep(Work& work, const Directives& all) {
  for (const Directive& line : all) {
    const bool is_new = !work.report.is_known(line);
    if (is_structure(line.name) && line.name != "if") {
      sweep(work, line.block);
      continue;
    }
    if (is_new) {
      judge(work, line);
      // What stands inside is covered by the word about the whole.
      work.report.used_with_block(line);
    } else {
      sweep(work, line.block);
    }
  }
}

}  // namespace lintel::import
