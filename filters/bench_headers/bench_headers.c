/* The filter of the benchmark: eight hostcalls a request, as a typical header filter makes them.
 *
 * Request: three headers read, all headers read, one added, one replaced. Response: all read, one added. */
#include "proxy_wasm.h"

static void read_all(MapType map) {
  char *pairs = 0;
  u32 size = 0;
  proxy_get_header_map_pairs(map, &pairs, &size);
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 headers, u32 end_of_stream) {
  (void)context, (void)headers, (void)end_of_stream;
  scratch_reset();
  get_header(REQUEST_HEADERS, TEXT(":path"));
  get_header(REQUEST_HEADERS, TEXT(":authority"));
  get_header(REQUEST_HEADERS, TEXT("user-agent"));
  read_all(REQUEST_HEADERS);
  proxy_add_header_map_value(REQUEST_HEADERS, "x-bench-added", 13, "1", 1);
  proxy_replace_header_map_value(REQUEST_HEADERS, "x-bench-replaced", 16, "meshproxy", 9);
  return CONTINUE;
}

u32 EXPORT(proxy_on_response_headers)(u32 context, u32 headers, u32 end_of_stream) {
  (void)context, (void)headers, (void)end_of_stream;
  scratch_reset();
  read_all(RESPONSE_HEADERS);
  proxy_add_header_map_value(RESPONSE_HEADERS, "x-bench-answered", 16, "1", 1);
  return CONTINUE;
}
