/* Limits requests per caller with token buckets in shared data. See README.md. */
#include "bucket.h"
#include "contexts.h"
#include "lines.h"
#include "pairs.h"
#include "proxy_wasm.h"

#define MAX_REFILL 315360000ull /* seconds: no time overflows in nanoseconds then */

typedef enum { ALL, ADDRESS, HEADER } KeyKind;

typedef struct {
  Context context;
  Text configuration; /* what all texts point into */
  KeyKind kind;
  Text header, scope;
  Limit limit;
} Plugin;

typedef struct { Context context; Plugin *plugin; Verdict verdict; u32 counted; } Stream;

/* ---- configuration ------------------------------------------------------------------------------------------- */

static Text parse_key(Plugin *plugin, Text rest) {
  Text kind = text_word(&rest);
  plugin->kind = ALL, plugin->header = rest;
  if (text_equal(kind, TEXT("header")) && rest.size) plugin->kind = HEADER;
  else if (text_equal(kind, TEXT("address")) && !rest.size) plugin->kind = ADDRESS;
  else if (!text_equal(kind, TEXT("all")) || rest.size) return TEXT("expected: key header NAME|address|all, got");
  return TEXT("");
}

/* One line. The reason why it is refused, or an empty text. */
static Text parse_line(Plugin *plugin, Text rest) {
  Text kind = text_word(&rest);
  u64 number;
  if (text_equal(kind, TEXT("key"))) return parse_key(plugin, rest);
  if (text_equal(kind, TEXT("scope"))) {
    plugin->scope = rest;
    return rest.size ? TEXT("") : TEXT("the value is missing in");
  }
  int fits = parse_number(rest, &number) && number && number <= 1000000;
  if (text_equal(kind, TEXT("requests"))) plugin->limit.requests = number;
  else if (text_equal(kind, TEXT("per"))) plugin->limit.period = number * SECOND;
  else if (text_equal(kind, TEXT("burst"))) plugin->limit.burst = number;
  else return TEXT("unknown first word in");
  return fits ? TEXT("") : TEXT("expected a number from 1 to 1000000 in");
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  keep_free((void *)plugin->configuration.data);
  *plugin = (Plugin){.context = plugin->context, .kind = ADDRESS, .scope = TEXT("default"),
                     .limit = {.period = SECOND}};
  plugin->configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {plugin->configuration, {0, 0}, 0};
  while (lines_next(&lines)) {
    Text wrong = parse_line(plugin, lines.line);
    if (wrong.size) return (u32)lines_refuse(&lines, wrong);
  }
  if (!plugin->limit.requests) return (u32)configuration_refuse(TEXT("the line `requests NUMBER` is missing"));
  if (!plugin->limit.burst) plugin->limit.burst = plugin->limit.requests;
  if (plugin->limit.burst * (plugin->limit.period / SECOND) / plugin->limit.requests <= MAX_REFILL) return 1;
  return (u32)configuration_refuse(TEXT("the bucket would take more than ten years to be full again"));
}

/* ---- contexts ------------------------------------------------------------------------------------------------ */

void EXPORT(proxy_on_context_create)(u32 id, u32 parent) {
  if (!parent) {
    context_create(id, parent, sizeof(Plugin));
    return;
  }
  Stream *stream = context_create(id, parent, sizeof(Stream));
  stream->plugin = context_find(parent);
}

void EXPORT(proxy_on_delete)(u32 id) {
  Context *context = context_find(id);
  if (context && !context->parent) keep_free((void *)((Plugin *)context)->configuration.data);
  context_delete(id);
}

/* ---- requests ------------------------------------------------------------------------------------------------ */

/* The address without its port: `10.0.0.1` of `10.0.0.1:8080`, `[::1]` of `[::1]:8080`. */
static Text client_address(void) {
  static const char path[] = "source\0address";
  char *value = 0;
  u32 size = 0;
  if (proxy_get_property(path, sizeof path - 1, &value, &size) != OK) return (Text){0, 0};
  while (size && value[size - 1] != ':') size--;
  return (Text){value, size ? size - 1 : 0};
}

/* Who is asking; data is 0 where that is not known, and such a request is not limited. */
static Text caller(const Plugin *plugin) {
  if (plugin->kind == HEADER) return get_header(REQUEST_HEADERS, plugin->header);
  return plugin->kind == ADDRESS ? client_address() : TEXT("all");
}

static u64 seconds_up(u64 nanoseconds) { return (nanoseconds + SECOND - 1) / SECOND; }

static u32 refuse(const Verdict *verdict) {
  Pairs headers = {0};
  pairs_add(&headers, TEXT("retry-after"), text_number(seconds_up(verdict->wait)));
  send_response(429, TEXT("rate_limited"), &headers, TEXT("too many requests\n"));
  return PAUSE;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  Stream *stream = context_find(context);
  const Plugin *plugin = stream->plugin;
  Text key = caller(plugin);
  if (!key.data) return CONTINUE;
  stream->counted = 1;
  stream->verdict = count_request(&plugin->limit, plugin->scope, hash_key(key), now_nanoseconds());
  return stream->verdict.allowed ? CONTINUE : refuse(&stream->verdict);
}

/* Answers made here pass through as well, so the 429 has the same headers. */
u32 EXPORT(proxy_on_response_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  const Stream *stream = context_find(context);
  if (!stream->counted) return CONTINUE;
  set_header(RESPONSE_HEADERS, TEXT("x-ratelimit-limit"), text_number(stream->plugin->limit.burst));
  set_header(RESPONSE_HEADERS, TEXT("x-ratelimit-remaining"), text_number(stream->verdict.remaining));
  set_header(RESPONSE_HEADERS, TEXT("x-ratelimit-reset"), text_number(seconds_up(stream->verdict.reset)));
  return CONTINUE;
}
