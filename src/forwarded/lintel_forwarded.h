/* The C interface of Lintel's trust engine (liblintel_forwarded.so): who is the client of a request?
 *
 * Every text is a pointer and a size in octets; it need not end in NUL. What the library hands out ends in NUL too.
 * No function throws, allocates without bound, or keeps a pointer that it was given. Engines and fixes are immutable:
 * any number of threads may use one at once. Options and results belong to one thread at a time. docs/library.md is
 * the guide. */
#ifndef LINTEL_FORWARDED_H
#define LINTEL_FORWARDED_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LINTEL_FORWARDED_API __attribute__((visibility("default")))
#else
#define LINTEL_FORWARDED_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Of this interface. A change that breaks callers raises it. */
#define LINTEL_FORWARDED_ABI 1

typedef struct lintel_forwarded_options lintel_forwarded_options;
typedef struct lintel_forwarded_engine lintel_forwarded_engine;
typedef struct lintel_forwarded_fix lintel_forwarded_fix;
typedef struct lintel_forwarded_result lintel_forwarded_result;

typedef struct lintel_forwarded_text {
  const char* data;
  size_t size;
} lintel_forwarded_text;

typedef struct lintel_forwarded_field {
  lintel_forwarded_text name, value;
} lintel_forwarded_field;

LINTEL_FORWARDED_API const char* lintel_forwarded_version(void); /* "0.1.0" */
LINTEL_FORWARDED_API int lintel_forwarded_abi(void);             /* LINTEL_FORWARDED_ABI of the library */

/* --- options: pairs of key and value, both ending in NUL. A list is given by repeating the key.
 *
 * For an engine: "rule" (any value) begins a further trust rule, of which the following keys speak: "peers", "source",
 * "accept", "hops", "client_header", "scheme_header", "scheme", "preset", "pass", "i_know" ("true"); of the whole
 * engine: "served", "public_port", "emit".
 * For a fix: "trusted", "x_for", "x_proto", "x_host", "x_port", "x_prefix", "i_know". */
LINTEL_FORWARDED_API lintel_forwarded_options* lintel_forwarded_options_new(void);
LINTEL_FORWARDED_API void lintel_forwarded_options_free(lintel_forwarded_options* options);
/* 0, or -1 for a key or value that cannot be; lintel_forwarded_options_error() then has the sentence. */
LINTEL_FORWARDED_API int lintel_forwarded_options_add(lintel_forwarded_options* options, const char* key,
                                                      const char* value);
/* What was wrong with the last call that failed; valid until the next call with these options. */
LINTEL_FORWARDED_API const char* lintel_forwarded_options_error(const lintel_forwarded_options* options);

/* --- the trust engine. NULL: the options are wrong, lintel_forwarded_options_error() says how. The options may be
 * freed at once. */
LINTEL_FORWARDED_API lintel_forwarded_engine* lintel_forwarded_engine_new(lintel_forwarded_options* options);
LINTEL_FORWARDED_API void lintel_forwarded_engine_free(lintel_forwarded_engine* engine);

typedef struct lintel_forwarded_request {
  lintel_forwarded_text peer; /* an address, or "" or "unix" for a unix socket */
  uint16_t peer_port;         /* 0 = not known */
  uint16_t local_port;        /* that the listener is bound to */
  int https;                  /* of this connection */
  lintel_forwarded_text host; /* Host or :authority as received; size 0 = missing */
  const lintel_forwarded_field* fields;
  size_t field_count;
} lintel_forwarded_request;

/* Always a result, to be freed; NULL only when memory is out. */
LINTEL_FORWARDED_API lintel_forwarded_result* lintel_forwarded_identify(const lintel_forwarded_engine* engine,
                                                                        const lintel_forwarded_request* request);
/* 1 when a line of this name must be removed before an app reads the request (a name that apps believe about the
 * client, in any spelling, that the peer's rule does not pass), else 0. */
LINTEL_FORWARDED_API int lintel_forwarded_removes(const lintel_forwarded_engine* engine, lintel_forwarded_text peer,
                                                  lintel_forwarded_text name);
/* The same without an engine: is the name one that only a trusted proxy may set? */
LINTEL_FORWARDED_API int lintel_forwarded_is_managed(lintel_forwarded_text name);

/* --- Werkzeug's ProxyFix with a peer check and validation */
LINTEL_FORWARDED_API lintel_forwarded_fix* lintel_forwarded_fix_new(lintel_forwarded_options* options);
LINTEL_FORWARDED_API void lintel_forwarded_fix_free(lintel_forwarded_fix* fix);

/* By their WSGI names; size 0 = not set. */
typedef struct lintel_forwarded_variables {
  lintel_forwarded_text remote_addr; /* the peer: an address, or "" or "unix" for a unix socket */
  lintel_forwarded_text remote_port, url_scheme, http_host, server_name, server_port, script_name;
} lintel_forwarded_variables;

LINTEL_FORWARDED_API lintel_forwarded_result* lintel_forwarded_fix_apply(const lintel_forwarded_fix* fix,
                                                                         const lintel_forwarded_variables* variables,
                                                                         const lintel_forwarded_field* fields,
                                                                         size_t field_count);
LINTEL_FORWARDED_API int lintel_forwarded_fix_trusts(const lintel_forwarded_fix* fix, lintel_forwarded_text peer);

/* Many recorded requests in one call. `text` holds the columns of all rows without separators; `ends[i]` is the end of
 * cell i in it. A row has 12 cells: the seven variables in the order of the struct, then the values of
 * X-Forwarded-For, -Proto, -Host, -Port and -Prefix ("" = missing). An answer has 9: the seven variables, the error's
 * code ("" = none) and the field that it concerns. Returns how many rows were answered: less than `rows` when `out` is
 * full. Cells of a row that is answered with an error are the variables as given. */
#define LINTEL_FORWARDED_ROW_CELLS 12
#define LINTEL_FORWARDED_ANSWER_CELLS 9
LINTEL_FORWARDED_API size_t lintel_forwarded_fix_rows(const lintel_forwarded_fix* fix, const char* text,
                                                      const uint32_t* ends, size_t rows, char* out, size_t out_size,
                                                      uint32_t* out_ends);

/* --- results */
LINTEL_FORWARDED_API void lintel_forwarded_result_free(lintel_forwarded_result* result);
/* 200, or the status to answer with: 400, 421, … */
LINTEL_FORWARDED_API int lintel_forwarded_result_status(const lintel_forwarded_result* result);

enum {
  /* when the status is not 200 */
  LINTEL_FORWARDED_ERROR = 0,   /* stable code, e.g. "forwarded-garbage" */
  LINTEL_FORWARDED_FIELD = 1,   /* the header that it concerns */
  LINTEL_FORWARDED_MESSAGE = 2, /* a sentence */
  /* of lintel_forwarded_identify() */
  LINTEL_FORWARDED_CLIENT = 3, /* 127.0.0.1 for a unix peer that nobody spoke for */
  LINTEL_FORWARDED_SCHEME = 4,
  LINTEL_FORWARDED_HOST = 5,
  LINTEL_FORWARDED_AUTHORITY = 6,
  LINTEL_FORWARDED_PREFIX = 7,
  /* of lintel_forwarded_fix_apply() */
  LINTEL_FORWARDED_REMOTE_ADDR = 8,
  LINTEL_FORWARDED_REMOTE_PORT = 9,
  LINTEL_FORWARDED_URL_SCHEME = 10,
  LINTEL_FORWARDED_HTTP_HOST = 11,
  LINTEL_FORWARDED_SERVER_NAME = 12,
  LINTEL_FORWARDED_SERVER_PORT = 13,
  LINTEL_FORWARDED_SCRIPT_NAME = 14,
  LINTEL_FORWARDED_TEXTS = 15
};
/* "" for what the result does not have. Valid until the result is freed. */
LINTEL_FORWARDED_API lintel_forwarded_text lintel_forwarded_result_text(const lintel_forwarded_result* result,
                                                                        int which);
enum {
  LINTEL_FORWARDED_TRUSTED = 0,       /* the peer was one of those trusted */
  LINTEL_FORWARDED_CLIENT_HIDDEN = 1, /* "unknown" or an obfuscated node: the client is the last trusted hop */
  LINTEL_FORWARDED_CLIENT_PORT = 2,   /* 0 = not known */
  LINTEL_FORWARDED_PORT = 3           /* that the client used */
};
LINTEL_FORWARDED_API int lintel_forwarded_result_number(const lintel_forwarded_result* result, int which);
/* The lines that an app behind is to get in place of those that are removed (lintel_forwarded_identify() only). */
LINTEL_FORWARDED_API size_t lintel_forwarded_result_headers(const lintel_forwarded_result* result);
LINTEL_FORWARDED_API lintel_forwarded_field lintel_forwarded_result_header(const lintel_forwarded_result* result,
                                                                           size_t index);

#ifdef __cplusplus
}
#endif

#endif
