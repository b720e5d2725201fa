// Every limit of Lintel, in one table, with the unit in the name.
// A number that bounds memory, time or work and that stands elsewhere is a defect.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lintel::limits {

// --- HTTP heads
inline constexpr size_t request_head_bytes = 32 * 1024;
inline constexpr size_t request_target_bytes = 16 * 1024;
inline constexpr size_t request_fields_count = 128;
inline constexpr size_t connection_options_bytes = 1024;  // of a request's Connection fields that nominate others
inline constexpr size_t response_head_bytes = 64 * 1024;
inline constexpr size_t response_fields_count = 256;
inline constexpr size_t trailer_bytes = 8 * 1024;
inline constexpr size_t trailer_fields_count = 32;
inline constexpr size_t method_bytes = 32;
inline constexpr size_t host_bytes = 255;
inline constexpr size_t chunk_line_bytes = 256;                // size and extensions of one chunk
inline constexpr size_t chunk_extension_total_bytes = 4096;    // of one body
inline constexpr unsigned leading_empty_lines_count = 1;       // RFC 9112 §2.2: SHOULD ignore at least one
inline constexpr unsigned informational_responses_count = 16;  // 1xx before the final answer

// --- who the client is
inline constexpr size_t forwarded_entries_count = 32;
inline constexpr size_t forwarded_bytes = 8 * 1024;       // of one source, its lines joined
inline constexpr size_t forwarded_lines_count = 32;       // lines of one header that are joined
inline constexpr size_t proxy_protocol_v1_bytes = 107;    // with CRLF
inline constexpr size_t proxy_protocol_bytes = 4 * 1024;  // version 2, with its extensions
inline constexpr size_t proxy_protocol_unique_id_bytes = 128;
inline constexpr size_t request_id_bytes = 128;             // of one that a trusted proxy sends
inline constexpr size_t proxy_protocol_peers_count = 1024;  // of one listener, looked through for each connection
inline constexpr size_t trust_rules_count = 64;
inline constexpr size_t trust_peers_count = 100'000;
inline constexpr size_t library_fields_count = 1024;     // of one request that the library is asked about
inline constexpr size_t library_text_bytes = 64 * 1024;  // one name, value or option that the library is given
inline constexpr size_t library_served_count = 10'000;   // names and ports of one engine

// --- buffers
inline constexpr size_t head_block_bytes = 8 * 1024;       // first read of a head
inline constexpr size_t scratch_bytes = 256 * 1024;        // worker-shared read buffer
inline constexpr size_t scratch_shrunk_bytes = 64 * 1024;  // reads for a receiver that came up short
inline constexpr size_t first_bytes = 16 * 1024;           // collected until the ClientHello is complete
inline constexpr size_t arena_chunk_bytes = 4 * 1024;
inline constexpr size_t pool_cached_bytes_per_class = 4 * 1024 * 1024;  // free blocks kept per worker

// --- turns (fairness)
inline constexpr size_t turn_bytes = 256 * 1024;
inline constexpr unsigned turn_requests_count = 16;

// --- HTTP/2, per connection
inline constexpr uint32_t h2_concurrent_streams_count = 128;
inline constexpr uint32_t h2_stream_window_bytes = 64 * 1024;
inline constexpr uint32_t h2_connection_window_bytes = 256 * 1024;
inline constexpr uint32_t h2_stream_window_max_bytes = 1024 * 1024;
inline constexpr uint32_t h2_connection_window_max_bytes = 4 * 1024 * 1024;
inline constexpr size_t h2_stream_buffer_bytes = 64 * 1024;  // answer octets held for one stream
inline constexpr unsigned h2_continuations_count = 8;
inline constexpr size_t h2_closed_streams_count = 32;    // whose end is remembered
inline constexpr size_t h2_outbound_items_count = 1024;  // control frames that wait because the peer does not read
inline constexpr uint32_t h2_sample_interval_ms = 10;    // between measurements of the bandwidth-delay product
inline constexpr size_t h2_stream_buffer_min_bytes = 8 * 1024;  // of each, when many streams hold answer octets
// Token buckets: burst, then refill per second.
inline constexpr unsigned h2_reset_burst = 100, h2_reset_per_second = 20;
inline constexpr unsigned h2_ping_burst = 50, h2_ping_per_second = 10;
inline constexpr unsigned h2_settings_burst = 20, h2_settings_per_second = 2;
inline constexpr unsigned h2_empty_data_burst = 100, h2_empty_data_per_second = 20;
inline constexpr unsigned h2_window_update_burst = 4000, h2_window_update_per_second = 4000;
inline constexpr unsigned h2_priority_burst = 200, h2_priority_per_second = 50;
inline constexpr uint32_t h2_zero_window_stall_ms = 30'000;  // no progress for a stream with data

// --- connections
inline constexpr size_t connections_per_worker_count = 60'000;
inline constexpr size_t connection_memory_bytes = 1024 * 1024;
inline constexpr size_t pooled_upstream_connections_count = 128;  // idle, per endpoint and worker
inline constexpr size_t upstream_connections_count = 4096;        // per endpoint and worker
inline constexpr uint32_t pooled_upstream_idle_ms = 60'000;
inline constexpr size_t upstream_places_count = 3;          // that a request is given before one takes it
inline constexpr size_t upstream_group_count = 256;         // endpoints of one `to`
inline constexpr size_t upstream_attempts_count = 8;        // of one request, when no connection comes about
inline constexpr uint32_t upstream_out_ms = 1'000;          // after failures in a row; doubles each time it fails again
inline constexpr uint32_t upstream_out_max_ms = 30'000;     // up to here
inline constexpr uint32_t upstream_slow_start_ms = 10'000;  // until one that came back has its whole share
inline constexpr uint32_t upstream_slow_start_percent = 10;  // of its share, that it begins with
inline constexpr uint32_t upstream_weight_max = 1'000;
inline constexpr uint32_t retry_window_ms = 10'000;
inline constexpr uint32_t retry_percent = 20;               // of the requests of two windows may be sent again
inline constexpr uint32_t retry_floor_count = 32;           // and so many more, per group and worker
inline constexpr uint32_t dns_candidate_min_ms = 250;       // of the time to connect, for each address of a name
inline constexpr uint32_t dns_candidate_avoid_ms = 10'000;  // an address that did not answer is asked last
inline constexpr size_t health_reason_bytes = 200;
inline constexpr uint32_t h2_silence_ms = 5'000;  // of an app's HTTP/2 connection that requests wait on
inline constexpr uint32_t dns_cache_ms = 10'000;
inline constexpr uint32_t stream_idle_ms = 300'000;  // an answer that began and then says nothing
inline constexpr uint32_t continue_wait_ms = 300;    // for the app's own 100 before Lintel sends one
inline constexpr int listen_backlog = 4096;
inline constexpr unsigned accepts_per_turn_count = 64;
inline constexpr uint32_t accept_pause_ms = 100;     // after EMFILE
inline constexpr size_t discard_bytes = 256 * 1024;  // after an early answer
inline constexpr uint32_t discard_ms = 2'000;
inline constexpr uint32_t early_answer_ms = 100;  // HTTP/2: for the request to end by itself, before a reset
inline constexpr uint32_t shutdown_grace_ms = 30'000;
inline constexpr uint32_t upgrade_grace_ms = 24 * 3'600'000;  // of the old process, for what has left HTTP
inline constexpr uint32_t upgrade_start_ms = 30'000;          // for the new process to be ready

// --- defaults of [server] timeouts (configuration can change them)
inline constexpr uint32_t handshake_ms = 10'000;
inline constexpr uint32_t header_ms = 10'000;
inline constexpr uint32_t body_idle_ms = 30'000;
inline constexpr uint32_t keep_alive_ms = 75'000;
inline constexpr uint32_t connect_ms = 5'000;
inline constexpr uint32_t response_ms = 60'000;
inline constexpr uint32_t send_idle_ms = 60'000;       // a client that reads nothing
inline constexpr uint32_t tunnel_idle_ms = 3'600'000;  // an upgraded connection with no traffic

// --- certificates
inline constexpr size_t minted_certificates_count = 256;
inline constexpr size_t tls_sessions_ticket_keys_count = 3;
inline constexpr uint32_t ticket_key_rotation_ms = 12 * 3600 * 1000;
inline constexpr uint32_t tls_session_lifetime_s = 2 * 3600;  // a ticket older than that does a full handshake
inline constexpr unsigned local_authority_days = 3650;        // its root key is gone, so nothing can renew it
inline constexpr unsigned local_leaf_days = 90;
inline constexpr uint32_t backdate_s = 3600;           // for clocks that run late
inline constexpr uint32_t minted_renew_s = 24 * 3600;  // a minted leaf is replaced that long before its end
inline constexpr size_t certificate_names_count = 100;
inline constexpr unsigned tls_idle_records_count = 32;  // in a row without data: empty ones, key updates
inline constexpr uint64_t tls_records_per_key_count = uint64_t{1} << 24;  // RFC 8446 §5.5 allows 2^24.5
inline constexpr size_t pem_file_bytes = 1024 * 1024;
inline constexpr size_t ca_bundle_bytes = 8 * 1024 * 1024;

// --- certificates by themselves
inline constexpr size_t acme_loaded_certificates_count = 10'000;  // in memory; the others are loaded when asked for
inline constexpr uint32_t acme_absent_ms = 10'000;  // before a certificate that was not there is looked for again
inline constexpr size_t acme_shared_intermediates_count = 1'000;
inline constexpr size_t acme_names_count = 100'000;           // that one process looks after
inline constexpr size_t acme_on_demand_names_count = 10'000;  // of them, those that were asked for on demand
inline constexpr size_t acme_refused_names_count = 10'000;    // remembered, so that nobody is asked again
inline constexpr uint32_t acme_refused_ms = 600'000;
inline constexpr unsigned acme_parallel_orders_count = 8;
inline constexpr uint32_t acme_order_ms = 300'000;     // one order from begin to end, without the DNS wait
inline constexpr uint32_t acme_call_ms = 30'000;       // renewal information, OCSP, an `ask` URL
inline constexpr uint32_t acme_look_ms = 30'000;       // at most until the clock is compared with what is due
inline constexpr uint32_t acme_lock_retry_ms = 3'000;  // while another process orders the same certificate
inline constexpr unsigned acme_blocking_threads_count = 4;
inline constexpr unsigned acme_quick_tries_count = 12;     // after a fault of the issuer, before it gets rest
inline constexpr unsigned acme_orders_per_3h_count = 280;  // Let's Encrypt: 300
inline constexpr unsigned acme_failed_validations_per_hour_count = 4;  // of a name; Let's Encrypt: 5
inline constexpr unsigned acme_same_certificate_per_week_count = 4;    // Let's Encrypt: 5
inline constexpr int64_t acme_alert_every_s = 12 * 3600;
inline constexpr size_t acme_last_error_bytes = 4096;
inline constexpr int64_t acme_challenge_kept_s = 86'400;  // before what a process that died left is removed
inline constexpr uint32_t dns_hook_ms = 60'000;
inline constexpr size_t dns_hook_output_bytes = 4096;
inline constexpr uint32_t dns_query_ms = 2'000;
inline constexpr uint32_t dns_poll_ms = 2'000;
inline constexpr size_t dns_servers_count = 16;
inline constexpr size_t ocsp_response_bytes = 64 * 1024;

// --- Lintel's own messages
inline constexpr unsigned log_lines_count = 100;  // of a kind that clients can cause, per worker and window
inline constexpr uint32_t log_window_ms = 60'000;

// --- configuration files
inline constexpr size_t config_file_bytes = 1024 * 1024;
inline constexpr size_t config_files_count = 1024;  // the main file and everything it includes
inline constexpr unsigned config_include_depth = 8;
inline constexpr unsigned config_key_parts_count = 32;   // of one dotted key: a.b.c has 3
inline constexpr size_t config_string_bytes = 8 * 1024;  // one string value, after ${…} is expanded
inline constexpr size_t config_diagnostics_count = 100;
inline constexpr unsigned config_workers_count = 256;
inline constexpr uint64_t config_timeout_max_ms = 3'600'000;
inline constexpr size_t unix_path_bytes = 107;  // sun_path, without its NUL

// --- protection
inline constexpr size_t rate_buckets_count = 262'144;  // of clients, 16 octets each
inline constexpr size_t login_buckets_count = 65'536;  // of clients and users with failed logins
inline constexpr uint64_t rate_count = 1'000'000;      // requests of one rate, and of one burst
inline constexpr size_t connection_places_count = 16;  // sites whose connections one connection counts among
inline constexpr size_t users_count = 10'000;          // of one users file
inline constexpr size_t users_file_bytes = 1024 * 1024;
inline constexpr size_t user_name_bytes = 128;
inline constexpr size_t password_bytes = 511;       // what libcrypt takes
inline constexpr size_t password_hash_bytes = 383;  // the same
inline constexpr unsigned bcrypt_cost = 15;         // 2^15 rounds take two seconds
inline constexpr uint64_t sha512_rounds = 2'000'000;
inline constexpr unsigned password_threads_count = 2;  // of the blocking pool, so that others have theirs
inline constexpr size_t password_jobs_count = 32;      // that run or wait
inline constexpr size_t password_jobs_per_client_count = 4;
inline constexpr size_t logins_remembered_count = 4'096;  // of successes, 40 octets each
inline constexpr uint32_t login_remembered_ms = 60'000;
inline constexpr uint32_t login_known_client_ms = 24 * 3'600'000;  // a client that knew a user's password
// Failed logins: so many at once, then one each.
inline constexpr unsigned login_client_failures = 10, login_client_refill_ms = 30'000;
inline constexpr unsigned login_user_failures = 50, login_user_refill_ms = 30'000;
inline constexpr uint32_t auth_request_ms = 10'000;     // for the service's whole answer
inline constexpr size_t auth_answer_bytes = 64 * 1024;  // of a refusal that the client gets
inline constexpr size_t auth_copied_count = 32;         // fields of its answer for the app

// --- thread pool, queues
inline constexpr size_t blocking_jobs_count = 1024;
inline constexpr unsigned blocking_threads_count = 4;
inline constexpr size_t mailbox_messages_count = 65'536;
inline constexpr size_t access_log_ring_bytes = 1024 * 1024;  // per worker
inline constexpr int access_log_batch_ms = 50;                // so long may a line wait for others
inline constexpr int access_log_stuck_poll_ms = 100;          // how often a stuck destination is looked at again
inline constexpr int access_log_stop_patience_ms = 1'000;  // at the end, one that takes nothing for so long is given up
inline constexpr uint64_t access_log_drop_report_ms = 10'000;  // at most one message about lost lines in this time

// --- the control thread: admin socket, metrics' address, own calls
inline constexpr size_t admin_connections_count = 32;
inline constexpr unsigned control_threads_count = 2;
inline constexpr size_t announced_sites_count = 20;
inline constexpr size_t admin_request_bytes = 64 * 1024;
inline constexpr uint32_t admin_request_ms = 10'000;
inline constexpr uint32_t control_patience_ms = 60'000;  // of the commands that ask a running server
inline constexpr uint32_t broker_request_ms = 5'000;
inline constexpr size_t broker_files_count = 100'000;
inline constexpr size_t metrics_upstreams_count = 10'000, metrics_certificates_count = 10'000;
inline constexpr size_t inherited_sockets_count = 1'024;

// --- what sites ask of TLS, and what is counted
inline constexpr size_t client_authorities_count = 256;  // that may sign client certificates, of one site
inline constexpr int client_chain_depth = 4;             // intermediates of a client's chain
inline constexpr size_t client_chain_bytes = 16 * 1024;  // of what a client shows
inline constexpr uint32_t hsts_auto_age_s = 24 * 3600;   // that a trusted certificate has served, before hsts = "auto"
inline constexpr size_t hsts_names_count = 50'000;
inline constexpr size_t hsts_file_bytes = 16 * 1024 * 1024;
inline constexpr size_t hsts_checks_count = 64;      // certificates that wait to be verified
inline constexpr uint32_t hsts_check_ms = 5'000;     // between looks at them
inline constexpr size_t metrics_sites_count = 1000;  // with a label of their own: some 40 series each

// --- OCSP
inline constexpr size_t ocsp_requests_count = 4;  // at once
inline constexpr int64_t ocsp_retry_min_s = 60, ocsp_retry_max_s = 3600;
inline constexpr int64_t ocsp_half_life_max_s = 4 * 86'400;  // a revocation is to be noticed, however long answers hold
inline constexpr int64_t ocsp_clock_skew_s = 300;

// --- other programs' configurations
inline constexpr size_t import_file_bytes = 1024 * 1024;
inline constexpr size_t import_total_bytes = 16 * 1024 * 1024;  // of all files together
inline constexpr size_t import_files_count = 1024;
inline constexpr unsigned import_include_depth = 8;
inline constexpr unsigned import_depth_count = 32;          // blocks in blocks
inline constexpr size_t import_directives_count = 100'000;  // of one file
inline constexpr size_t import_words_count = 4096;          // of one directive
inline constexpr size_t import_word_bytes = 8 * 1024;
inline constexpr size_t import_shown_bytes = 160;    // of a directive in the report
inline constexpr size_t import_routes_count = 1000;  // of one site

// --- dev
inline constexpr uint32_t app_start_ms = 60'000;
inline constexpr uint32_t app_starting_page_ms = 3'000;  // for a browser, which gets a page that reloads itself
inline constexpr size_t waiting_requests_count = 256;
inline constexpr size_t app_attempts_count = 3;         // of a request whose app restarts under it
inline constexpr uint32_t app_poll_ms = 25;             // how often a starting app's sockets are looked at
inline constexpr uint32_t app_watch_ms = 200;           // how often a running one's are
inline constexpr uint32_t app_settle_ms = 250;          // before a port other than the offered one is taken for the app
inline constexpr uint32_t app_probe_ms = 3'000;         // one look at whether a port speaks TLS
inline constexpr uint32_t app_probe_silence_ms = 150;   // after which a server that has read the probe is a plain one
inline constexpr uint32_t app_patience_ms = 3'600'000;  // for an answer: somebody may sit at a breakpoint
inline constexpr uint32_t app_stop_ms = 10'000;         // from a forwarded SIGTERM to SIGKILL
inline constexpr uint32_t app_leftover_stop_ms = 2'000;  // the same for processes that the app left behind
inline constexpr uint32_t dev_stop_ms = 500;             // for what is under way when the app or the user has ended
inline constexpr size_t certificate_bundle_bytes = 16 * 1024 * 1024;
inline constexpr size_t remembered_projects_count = 1'000;
inline constexpr size_t findings_count = 64;              // causes remembered, so that each is printed once
inline constexpr size_t observed_body_bytes = 16 * 1024;  // of an answer's body, where a finding looks for a reason
inline constexpr unsigned port_tries_count = 100;         // beyond 8443

// --- Lintel's own requests (fetch) and ACME
inline constexpr size_t fetch_url_bytes = 4096;
inline constexpr size_t fetch_body_bytes = 1024 * 1024;
inline constexpr uint32_t acme_request_ms = 30'000;       // one request to the issuer
inline constexpr unsigned acme_nonce_retries_count = 10;  // of one request whose nonce was refused
inline constexpr size_t acme_nonces_count = 16;           // kept for later
inline constexpr size_t acme_nonce_bytes = 1024;
inline constexpr uint32_t acme_nonce_age_ms = 600'000;
inline constexpr uint32_t acme_directory_age_ms = 3'600'000;
inline constexpr size_t acme_json_bytes = 256 * 1024;  // of one answer that is no certificate
inline constexpr size_t acme_json_depth = 16;
inline constexpr size_t acme_text_bytes = 4 * 1024;  // of a problem document, shown
inline constexpr size_t acme_token_bytes = 512;
inline constexpr size_t acme_challenges_count = 32;      // of one authorization
inline constexpr size_t acme_problems_count = 32;        // subproblems shown
inline constexpr unsigned acme_polls_count = 60;         // of one state of one order
inline constexpr unsigned acme_retries_count = 4;        // of one request that got no usable answer
inline constexpr unsigned acme_told_to_wait_count = 10;  // Retry-After in one order that is waited for
inline constexpr unsigned acme_orders_count = 5;         // one obtain() makes at most, with other challenges or keys
inline constexpr uint32_t acme_inline_wait_ms = 60'000;  // a Retry-After that an order waits for; longer ends it
inline constexpr uint32_t acme_poll_max_ms = 10'000;     // between polls when the issuer says nothing
inline constexpr int64_t acme_retry_after_max_s = 30 * 86'400;
inline constexpr int64_t acme_renewal_poll_s = 6 * 3600;  // for an issuer that does not say when to ask again
inline constexpr size_t acme_chain_certificates_count = 10;

// --- doctor
inline constexpr size_t doctor_requests_count = 60;
inline constexpr uint32_t doctor_request_ms = 5'000;
inline constexpr uint32_t doctor_total_ms = 45'000;
inline constexpr size_t doctor_body_bytes = 512 * 1024;
inline constexpr size_t doctor_links_count = 20;          // pages that are looked at because another one names them
inline constexpr size_t doctor_slash_probes_count = 6;    // paths tried with and without their last slash
inline constexpr size_t doctor_telling_pages_count = 3;   // that are asked again over other addresses
inline constexpr size_t doctor_kept_requests_count = 16;  // of the requests, for what comes after the links
inline constexpr size_t doctor_page_urls_count = 512;
inline constexpr size_t doctor_url_bytes = 2048;
inline constexpr size_t doctor_paths_count = 16;    // of --path
inline constexpr size_t doctor_evidence_count = 5;  // of one finding
inline constexpr size_t doctor_shown_bytes = 240;   // of an answer, in evidence
inline constexpr size_t doctor_cookies_bytes = 4096;

// --- tunnels: agents, shares, the edge
inline constexpr size_t tunnel_hello_bytes = 8 * 1024;  // a Hello, Welcome or refusal, as it is sent
inline constexpr size_t share_name_bytes = 63;          // one label of a host name
inline constexpr size_t share_hosts_count = 32;         // that lead to one share
inline constexpr unsigned share_legs_count = 8;         // connections of one agent
inline constexpr unsigned share_legs_default_count = 2;
inline constexpr uint32_t share_hold_ms = 10'000;  // that a request waits for an agent that has gone
inline constexpr uint32_t share_hold_max_ms = 60'000;
inline constexpr size_t share_waiting_count = 64;     // requests that wait, of one share
inline constexpr size_t edge_waiting_count = 1024;    // of all shares of an edge
inline constexpr int64_t share_rest_s = 30 * 86'400;  // that a released name is kept for its token
inline constexpr size_t edge_names_count = 100'000;   // that an edge remembers
inline constexpr size_t edge_tokens_count = 10'000;
inline constexpr size_t edge_tokens_file_bytes = 8 * 1024 * 1024;
inline constexpr size_t token_patterns_count = 64;   // of --allow
inline constexpr size_t token_names_count = 1'000;   // that rest, of one token
inline constexpr size_t edge_domains_count = 1'000;  // own domains of [edge] names
inline constexpr size_t edge_state_bytes = 32 * 1024 * 1024;
inline constexpr size_t metrics_shares_count = 200;
inline constexpr unsigned token_shares_count = 32;           // of one token, at once
inline constexpr unsigned token_agents_count = 64;           // sessions of one token, at once
inline constexpr uint32_t token_requests_count = 1'000;      // of one token's visitors, at once
inline constexpr size_t agent_addresses_count = 16'384;      // whose refused agents are counted
inline constexpr unsigned agent_failures_burst = 10;         // refused agents of one address, then
inline constexpr uint32_t agent_failures_refill_ms = 6'000;  // one each
inline constexpr uint32_t tunnel_ping_ms = 10'000;           // between PINGs, both ways
inline constexpr uint32_t tunnel_silence_ms = 15'000;        // without an octet: the other side is gone
inline constexpr uint32_t tunnel_doubt_ms = 3'000;           // for the answer to a PING after the machine slept
inline constexpr uint32_t tunnel_clock_gap_ms = 5'000;       // between two looks at the clock: the machine slept
inline constexpr uint32_t tunnel_dial_ms = 15'000;           // name, connect, TLS and upgrade
inline constexpr uint32_t tunnel_backoff_first_ms = 500;
inline constexpr uint32_t tunnel_backoff_max_ms = 30'000;
inline constexpr uint32_t tunnel_steady_ms = 10'000;      // a connection that lasted so long begins the backoff anew
inline constexpr size_t tunnel_bulk_bytes = 1024 * 1024;  // within two periods: others take another connection
inline constexpr uint32_t tunnel_bulk_ms = 100;
inline constexpr uint32_t tunnel_streams_count = 1'000;
inline constexpr uint32_t tunnel_stream_window_max_bytes = 16 * 1024 * 1024;
inline constexpr uint32_t tunnel_connection_window_max_bytes = 32 * 1024 * 1024;
inline constexpr uint32_t sealed_poll_ms = 500;          // while a certificate is waited for
inline constexpr uint32_t sealed_check_ms = 3'600'000;   // between looks at a sealed share from outside
inline constexpr size_t share_request_lines_count = 20;  // a second, on a terminal
inline constexpr size_t share_file_shares_count = 64;    // of one share.toml
inline constexpr size_t share_password_bytes = 1024;
inline constexpr size_t share_form_bytes = 8 * 1024;    // a login form
inline constexpr size_t share_sessions_count = 10'000;  // visitors that are logged in
inline constexpr int64_t share_session_s = 12 * 3600;   // of a visitor who has logged in
inline constexpr uint32_t oidc_request_ms = 10'000;     // discovery, keys, token
inline constexpr uint32_t oidc_login_ms = 600'000;      // from the redirect to the answer
inline constexpr size_t oidc_addresses_count = 1'000;   // of an allow list
inline constexpr size_t share_return_bytes = 2 * 1024;  // of the path that a visitor comes back to after a login
inline constexpr int64_t share_expires_max_s = 366 * 86'400;
inline constexpr size_t oidc_answer_bytes = 256 * 1024;
inline constexpr size_t oidc_keys_count = 64;        // of one issuer
inline constexpr unsigned oidc_exchanges_count = 8;  // codes that are redeemed at once
inline constexpr uint32_t oidc_keys_age_ms = 3'600'000;
inline constexpr uint32_t oidc_retry_ms = 10'000;  // between looks at an issuer's documents, whoever asks for them
inline constexpr size_t id_token_bytes = 16 * 1024;
inline constexpr int64_t id_token_skew_s = 60;
inline constexpr uint32_t debugger_probe_ms = 3'000;  // for the app to say whether it is a debugger
inline constexpr uint32_t debugger_known_ms = 5'000;  // that its answer holds

}  // namespace lintel::limits
