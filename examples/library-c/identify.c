/* The C interface: who is the client of one request? Usage: identify PEER HOST [NAME VALUE]...
 * Prints client, scheme and authority; or the error's code, and exits with 1. */
#include <lintel_forwarded.h>
#include <stdio.h>
#include <string.h>

static lintel_forwarded_text text(const char* string) {
  lintel_forwarded_text result = {string, strlen(string)};
  return result;
}

int main(int argc, char** argv) {
  static const char* const pairs[][2] = {{"rule", ""},          {"peers", "127.0.0.1"}, {"source", "x-forwarded"},
                                         {"accept", "for"},     {"accept", "proto"},    {"accept", "host"},
                                         {"served", "app.example"}};
  lintel_forwarded_options* options = lintel_forwarded_options_new();
  lintel_forwarded_engine* engine = NULL;
  lintel_forwarded_result* result;
  lintel_forwarded_field fields[16];
  lintel_forwarded_request request;
  size_t i;
  int at, status;

  if (options == NULL || argc < 3) return 2;
  for (i = 0; i < sizeof pairs / sizeof pairs[0]; ++i) {
    if (lintel_forwarded_options_add(options, pairs[i][0], pairs[i][1]) != 0) break;
  }
  if (i == sizeof pairs / sizeof pairs[0]) engine = lintel_forwarded_engine_new(options);
  if (engine == NULL) {
    fprintf(stderr, "identify: %s\n", lintel_forwarded_options_error(options));
    lintel_forwarded_options_free(options);
    return 2;
  }
  lintel_forwarded_options_free(options);

  memset(&request, 0, sizeof request);
  request.peer = text(argv[1]);
  request.local_port = 80;
  request.host = text(argv[2]);
  request.fields = fields;
  for (at = 3; at + 1 < argc && request.field_count < 16; at += 2) {
    fields[request.field_count].name = text(argv[at]);
    fields[request.field_count++].value = text(argv[at + 1]);
  }
  result = lintel_forwarded_identify(engine, &request);
  status = lintel_forwarded_result_status(result);
  if (status == 200) {
    printf("client=%s scheme=%s authority=%s\n", lintel_forwarded_result_text(result, LINTEL_FORWARDED_CLIENT).data,
           lintel_forwarded_result_text(result, LINTEL_FORWARDED_SCHEME).data,
           lintel_forwarded_result_text(result, LINTEL_FORWARDED_AUTHORITY).data);
  } else {
    printf("%d %s\n", status, lintel_forwarded_result_text(result, LINTEL_FORWARDED_ERROR).data);
  }
  lintel_forwarded_result_free(result);
  lintel_forwarded_engine_free(engine);
  return status == 200 ? 0 : 1;
}
