/* Asks an auth service about every request and does what it says. See README.md. */
#include "contexts.h"
#include "lines.h"
#include "pairs.h"
#include "proxy_wasm.h"
#include "sha256.h"
#include "verdict_cache.h"

enum { MAX_HEADERS = 16, WAITING_BUCKETS = 256, MAX_BODY = 16384 };
#define SECOND 1000000000ull

typedef struct { Text names[MAX_HEADERS]; u32 count; } Names;

typedef struct {
  Context context;
  Text configuration; /* what all texts point into */
  Text cluster, authority, path;
  Names send, forward;
  u64 timeout_ms, cache_s;
  u32 open_on_error;
} Plugin;

/* `token` is that of the call whose answer is awaited, 0 for none. */
typedef struct Stream {
  Context context;
  Plugin *plugin;
  struct Stream *next_waiting;
  u32 token;
  Digest question;
} Stream;

static Stream *waiting[WAITING_BUCKETS];
static u32 allowed, denied, failed, cached; /* counters */

/* ---- configuration ------------------------------------------------------------------------------------------- */

static Text add_name(Names *names, Text name) {
  if (names->count == MAX_HEADERS) return TEXT("more than 16 headers:");
  names->names[names->count++] = name;
  return TEXT("");
}

static Text parse_value(u64 *number, Text value, u64 most) {
  return parse_number(value, number) && *number <= most ? TEXT("") : TEXT("expected a smaller number in");
}

/* One line. The reason why it is refused, or an empty text. */
static Text parse_line(Plugin *plugin, Text rest) {
  Text kind = text_word(&rest);
  if (!rest.size) return TEXT("the value is missing in");
  if (text_equal(kind, TEXT("send"))) return add_name(&plugin->send, rest);
  if (text_equal(kind, TEXT("forward"))) return add_name(&plugin->forward, rest);
  if (text_equal(kind, TEXT("timeout-ms"))) return parse_value(&plugin->timeout_ms, rest, 60000);
  if (text_equal(kind, TEXT("cache"))) return parse_value(&plugin->cache_s, rest, 86400);
  if (text_equal(kind, TEXT("on-error"))) {
    plugin->open_on_error = (u32)text_equal(rest, TEXT("allow"));
    int known = plugin->open_on_error || text_equal(rest, TEXT("deny"));
    return known ? TEXT("") : TEXT("expected: on-error allow|deny, got");
  }
  if (text_equal(kind, TEXT("cluster"))) plugin->cluster = rest;
  else if (text_equal(kind, TEXT("authority"))) plugin->authority = rest;
  else if (!text_equal(kind, TEXT("path"))) return TEXT("unknown first word in");
  else if (rest.data[0] != '/') return TEXT("expected: path /PATH, got");
  else plugin->path = rest;
  return TEXT("");
}

static u32 counter(Text name) {
  u32 id = 0;
  proxy_define_metric(COUNTER, name.data, name.size, &id);
  return id;
}

u32 EXPORT(proxy_on_vm_start)(u32 root, u32 size) {
  (void)root, (void)size;
  allowed = counter(TEXT("auth_callout.allowed")), denied = counter(TEXT("auth_callout.denied"));
  failed = counter(TEXT("auth_callout.failed")), cached = counter(TEXT("auth_callout.cached"));
  return 1;
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  keep_free((void *)plugin->configuration.data);
  *plugin = (Plugin){.context = plugin->context, .path = TEXT("/"), .timeout_ms = 1000};
  plugin->configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {plugin->configuration, {0, 0}, 0};
  while (lines_next(&lines)) {
    Text wrong = parse_line(plugin, lines.line);
    if (wrong.size) return (u32)lines_refuse(&lines, wrong);
  }
  if (!plugin->authority.size) plugin->authority = plugin->cluster;
  return plugin->cluster.size ? 1 : (u32)configuration_refuse(TEXT("the line `cluster NAME` is missing"));
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

static void wait_for(Stream *stream, u32 token) {
  Stream **list = &waiting[token % WAITING_BUCKETS];
  stream->token = token, stream->next_waiting = *list, *list = stream;
}

/* The stream that waits for this call, which it does no longer; 0 where it has ended before. */
static Stream *take_waiting(u32 token) {
  for (Stream **link = &waiting[token % WAITING_BUCKETS]; *link; link = &(*link)->next_waiting) {
    Stream *stream = *link;
    if (stream->token != token) continue;
    *link = stream->next_waiting, stream->token = 0;
    return stream;
  }
  return 0;
}

void EXPORT(proxy_on_delete)(u32 id) {
  Context *context = context_find(id);
  if (!context) return;
  if (!context->parent) keep_free((void *)((Plugin *)context)->configuration.data);
  else if (((Stream *)context)->token) take_waiting(((Stream *)context)->token);
  context_delete(id);
}

/* ---- the question -------------------------------------------------------------------------------------------- */

static int has_name(const Names *names, Text name) {
  for (u32 i = 0; i < names->count; i++)
    if (text_equal_nocase(names->names[i], name)) return 1;
  return 0;
}

/* What the service is told: what is asked for, and all values of the headers to send. */
static Pairs question_of(const Plugin *plugin) {
  Pairs question = {0};
  pairs_add(&question, TEXT(":method"), TEXT("GET"));
  pairs_add(&question, TEXT(":path"), plugin->path);
  pairs_add(&question, TEXT(":authority"), plugin->authority);
  pairs_add(&question, TEXT("x-forwarded-method"), get_header(REQUEST_HEADERS, TEXT(":method")));
  pairs_add(&question, TEXT("x-forwarded-host"), get_header(REQUEST_HEADERS, TEXT(":authority")));
  pairs_add(&question, TEXT("x-forwarded-uri"), get_header(REQUEST_HEADERS, TEXT(":path")));
  Text headers = get_pairs(REQUEST_HEADERS);
  for (Walk walk = pairs_walk(headers); pairs_next(&walk);)
    if (has_name(&plugin->send, walk.pair.name)) pairs_add(&question, walk.pair.name, walk.pair.value);
  return question;
}

/* What a verdict is remembered by: plugins with other rules may share the data. */
static Digest digest_of(const Plugin *plugin, Text question) {
  Sha256 hash;
  sha256_start(&hash);
  sha256_add(&hash, plugin->configuration);
  sha256_add(&hash, question);
  return sha256_end(&hash);
}

/* ---- the verdict --------------------------------------------------------------------------------------------- */

static int is_success(u32 status) { return status >= 200 && status < 300; }

/* The service is not there or in trouble. Returns whether the request may go on all the same. */
static int on_error(const Plugin *plugin, Text reason) {
  proxy_increment_metric(failed, 1);
  log_text(WARN, text_join(TEXT("no verdict: "), reason, TEXT(""), TEXT("")));
  if (plugin->open_on_error) return 1;
  Pairs none = {0};
  send_response(503, TEXT("auth_callout_failed"), &none, TEXT("the auth service cannot be asked\n"));
  return 0;
}

/* Act on a verdict in the context of its stream. Returns whether the request may go on. */
static int apply(const Verdict *verdict) {
  proxy_increment_metric(is_success(verdict->status) ? allowed : denied, 1);
  Pairs headers = {0};
  for (Walk walk = pairs_walk(verdict->headers); pairs_next(&walk);) {
    if (is_success(verdict->status)) set_header(REQUEST_HEADERS, walk.pair.name, walk.pair.value);
    else pairs_add(&headers, walk.pair.name, walk.pair.value);
  }
  if (!is_success(verdict->status)) send_response(verdict->status, TEXT("auth_callout_denied"), &headers, verdict->body);
  return is_success(verdict->status);
}

/* The headers of a refusal that the client has to see. */
static int is_for_client(Text name) {
  return text_equal(name, TEXT("www-authenticate")) || text_equal(name, TEXT("location")) ||
         text_equal(name, TEXT("set-cookie")) || text_equal(name, TEXT("content-type"));
}

/* What the service has answered, from the maps and the buffer that are open now. Status 0: no answer. */
static Verdict read_verdict(const Plugin *plugin, u32 body_size) {
  u64 status = 0;
  Verdict verdict = {0, {0, 0}, {0, 0}};
  parse_number(get_header(HTTP_CALL_RESPONSE_HEADERS, TEXT(":status")), &status);
  verdict.status = (u32)status;
  Pairs kept = {0};
  Text headers = get_pairs(HTTP_CALL_RESPONSE_HEADERS);
  for (Walk walk = pairs_walk(headers); pairs_next(&walk);)
    if (is_success(verdict.status) ? has_name(&plugin->forward, walk.pair.name) : is_for_client(walk.pair.name))
      pairs_add(&kept, walk.pair.name, walk.pair.value);
  verdict.headers = pairs_encode(&kept);
  if (is_success(verdict.status) || !body_size) return verdict;
  char *data = 0;
  u32 most = body_size < MAX_BODY ? body_size : MAX_BODY;
  if (proxy_get_buffer_bytes(HTTP_CALL_RESPONSE_BODY, 0, most, &data, &verdict.body.size) == OK)
    verdict.body.data = data;
  return verdict;
}

/* ---- callbacks ----------------------------------------------------------------------------------------------- */

/* Start the call. 0 where the host refuses it. */
static u32 ask(const Plugin *plugin, Text question) {
  u32 token = 0;
  Status status = proxy_http_call(plugin->cluster.data, plugin->cluster.size, question.data, question.size, 0, 0, 0, 0,
                                  (u32)plugin->timeout_ms, &token);
  return status == OK ? token : 0;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  Stream *stream = context_find(context);
  Plugin *plugin = stream->plugin;
  for (u32 i = 0; i < plugin->forward.count; i++) /* only the service may say these */
    remove_header(REQUEST_HEADERS, plugin->forward.names[i]);
  Pairs pairs = question_of(plugin);
  Text question = pairs_encode(&pairs);
  if (!question.data || pairs.truncated) return on_error(plugin, TEXT("too many headers")) ? CONTINUE : PAUSE;
  stream->question = digest_of(plugin, question);
  Verdict verdict;
  if (plugin->cache_s && verdict_find(&stream->question, now_nanoseconds(), &verdict)) {
    proxy_increment_metric(cached, 1);
    return apply(&verdict) ? CONTINUE : PAUSE;
  }
  u32 token = ask(plugin, question);
  if (!token) return on_error(plugin, TEXT("the host refuses the call")) ? CONTINUE : PAUSE;
  wait_for(stream, token);
  return PAUSE;
}

void EXPORT(proxy_on_http_call_response)(u32 root, u32 token, u32 headers, u32 body_size, u32 trailers) {
  (void)root, (void)headers, (void)trailers;
  scratch_reset();
  Stream *stream = take_waiting(token);
  if (!stream) return;
  const Plugin *plugin = stream->plugin;
  Verdict verdict = read_verdict(plugin, body_size);
  if (proxy_set_effective_context(stream->context.id) != OK) return;
  int usable = verdict.status >= 200 && verdict.status < 500 && verdict.headers.data;
  if (usable && plugin->cache_s)
    verdict_store(&stream->question, now_nanoseconds() + plugin->cache_s * SECOND, &verdict);
  Text answer = text_join(TEXT("the service answers "), text_number(verdict.status), TEXT(""), TEXT(""));
  if (usable ? apply(&verdict) : on_error(plugin, answer)) proxy_continue_stream(REQUEST_STREAM);
}
