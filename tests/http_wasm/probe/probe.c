/* A guest of the http-wasm ABI that does what the request's path says; see test_guest.py. */

#include <stddef.h>
#include <stdint.h>

#define IMPORT(name) __attribute__((import_module("http_handler"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("enable_features") uint32_t enable_features(uint32_t features);
IMPORT("get_config") uint32_t get_config(char *at, uint32_t limit);
IMPORT("log_enabled") uint32_t log_enabled(int32_t level);
IMPORT("log") void log_line(int32_t level, const char *at, uint32_t size);
IMPORT("get_method") uint32_t get_method(char *at, uint32_t limit);
IMPORT("set_method") void set_method(const char *at, uint32_t size);
IMPORT("get_uri") uint32_t get_uri(char *at, uint32_t limit);
IMPORT("set_uri") void set_uri(const char *at, uint32_t size);
IMPORT("get_protocol_version") uint32_t get_protocol_version(char *at, uint32_t limit);
IMPORT("get_source_addr") uint32_t get_source_addr(char *at, uint32_t limit);
IMPORT("get_header_names") uint64_t get_header_names(uint32_t kind, char *at, uint32_t limit);
IMPORT("get_header_values")
uint64_t get_header_values(uint32_t kind, const char *name, uint32_t size, char *at, uint32_t limit);
IMPORT("set_header_value")
void set_header_value(uint32_t kind, const char *name, uint32_t size, const char *at, uint32_t len);
IMPORT("add_header_value")
void add_header_value(uint32_t kind, const char *name, uint32_t size, const char *at, uint32_t len);
IMPORT("remove_header") void remove_header(uint32_t kind, const char *name, uint32_t size);
IMPORT("read_body") uint64_t read_body(uint32_t kind, char *at, uint32_t limit);
IMPORT("write_body") void write_body(uint32_t kind, const char *at, uint32_t size);
IMPORT("get_status_code") uint32_t get_status_code(void);
IMPORT("set_status_code") void set_status_code(uint32_t status);

enum { REQUEST = 0, RESPONSE = 1, NEXT = 1, BUFFER_RESPONSE = 2 };

static char text[4096];
static uint32_t requests;

static uint32_t length(const char *s) {
  uint32_t n = 0;
  while (s[n]) n++;
  return n;
}

static int begins(const char *s, const char *with) {
  while (*with)
    if (*s++ != *with++) return 0;
  return 1;
}

#define TEXT(s) (s), length(s)

static void show(const char *name, const char *value, uint32_t size) {
  add_header_value(RESPONSE, TEXT(name), value, size);
}

static void echo(void) {
  char buffer[1024];
  show("x-method", buffer, get_method(buffer, sizeof buffer));
  show("x-protocol", buffer, get_protocol_version(buffer, sizeof buffer));
  show("x-source", buffer, get_source_addr(buffer, sizeof buffer));
  show("x-config", buffer, get_config(buffer, sizeof buffer));
  uint64_t names = get_header_names(REQUEST, buffer, sizeof buffer);
  for (uint32_t i = 0; i < (uint32_t)names; i++)
    if (!buffer[i]) buffer[i] = ',';
  show("x-names", buffer, (uint32_t)names);
  uint64_t values = get_header_values(REQUEST, TEXT("x-many"), buffer, sizeof buffer);
  char count = '0' + (char)(values >> 32);
  show("x-count", &count, 1);
  char kept = 'k';
  uint32_t size = get_uri(&kept, 1); /* longer than the buffer: nothing is written */
  if (size > 1 && kept == 'k') show("x-short", "kept", 4);
  uint64_t eof;
  do {
    eof = read_body(REQUEST, buffer, 4);
    write_body(RESPONSE, buffer, (uint32_t)eof);
  } while (!(eof >> 32));
  set_status_code(201);
}

EXPORT("handle_request") uint64_t handle_request(void) {
  uint32_t size = get_uri(text, sizeof text - 1);
  text[size] = 0;
  requests++;
  if (begins(text, "/echo")) {
    echo();
    return 0;
  }
  if (begins(text, "/rewrite")) {
    set_uri(TEXT("/other?x=1"));
    set_method(TEXT("PUT"));
    set_header_value(REQUEST, TEXT("X-Set"), TEXT("1"));
    remove_header(REQUEST, TEXT("x-gone"));
    write_body(REQUEST, TEXT("new "));
    write_body(REQUEST, TEXT("body"));
  }
  if (begins(text, "/change")) enable_features(BUFFER_RESPONSE);
  if (begins(text, "/trap")) __builtin_trap();
  if (begins(text, "/spin"))
    for (volatile int i = 0;;) i++;
  if (begins(text, "/crlf")) set_header_value(REQUEST, TEXT("x-a"), TEXT("a\r\nb: c"));
  if (begins(text, "/outside")) log_line(2, (const char *)0x7fffffff, 10);
  if (begins(text, "/log")) {
    log_line(0, TEXT("hello"));
    log_line(-1, TEXT("quiet"));
  }
  return (uint64_t)requests << 32 | NEXT;
}

EXPORT("handle_response") void handle_response(uint32_t context, uint32_t is_error) {
  if (begins(text, "/late")) set_status_code(418); /* without the feature: not allowed */
  if (!begins(text, "/change")) return;
  (void)is_error;
  char digit = '0' + (char)context;
  set_header_value(RESPONSE, TEXT("x-context"), &digit, 1);
  if (get_status_code() == 200) set_status_code(203);
  char buffer[64];
  uint64_t eof = read_body(RESPONSE, buffer, sizeof buffer);
  write_body(RESPONSE, TEXT("<"));
  write_body(RESPONSE, buffer, (uint32_t)eof);
  write_body(RESPONSE, TEXT(">"));
}
