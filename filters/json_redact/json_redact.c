/* Replaces the values of named fields in JSON bodies of requests and responses. See README.md. */
#include "contexts.h"
#include "lines.h"
#include "pairs.h"
#include "proxy_wasm.h"
#include "redactor.h"

typedef enum { REQUEST, RESPONSE, DIRECTIONS } Direction;
static const MapType HEADERS_OF[DIRECTIONS] = {REQUEST_HEADERS, RESPONSE_HEADERS};
static const BufferType BODY_OF[DIRECTIONS] = {REQUEST_BODY, RESPONSE_BODY};

typedef struct {
  Context context;
  Text configuration; /* what all texts point into */
  RedactRules rules[DIRECTIONS];
} Plugin;

typedef struct {
  Context context;
  Plugin *plugin;
  u32 active[DIRECTIONS];
  Redactor redactors[DIRECTIONS];
} Stream;

/* ---- configuration ------------------------------------------------------------------------------------------- */

/* Whether `text` is a JSON string without escapes, or null. */
static int is_replacement(Text text) {
  if (text_equal(text, TEXT("null"))) return 1;
  if (text.size < 2 || text.data[0] != '"' || text.data[text.size - 1] != '"') return 0;
  for (u32 i = 1; i + 1 < text.size; i++)
    if (text.data[i] == '"' || text.data[i] == '\\' || (u8)text.data[i] < ' ') return 0;
  return 1;
}

/* `request|response field NAME` or `request|response replacement JSON`. The reason to refuse it, or an empty text. */
static Text parse_line(Plugin *plugin, Text rest) {
  Text direction = text_word(&rest), kind = text_word(&rest);
  int response = text_equal(direction, TEXT("response"));
  if (!response && !text_equal(direction, TEXT("request"))) return TEXT("expected request or response, got");
  RedactRules *rules = &plugin->rules[response ? RESPONSE : REQUEST];
  if (text_equal(kind, TEXT("replacement"))) {
    rules->replacement = rest;
    return is_replacement(rest) ? TEXT("") : TEXT("expected null or a string without escapes in");
  }
  if (!text_equal(kind, TEXT("field"))) return TEXT("expected field or replacement after the first word of");
  if (!rest.size || rest.size > MAX_NAME) return TEXT("expected a name of 1 to 64 bytes in");
  if (rules->count == MAX_NAMES) return TEXT("more than 32 fields:");
  rules->names[rules->count++] = rest;
  return TEXT("");
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  keep_free((void *)plugin->configuration.data);
  *plugin = (Plugin){.context = plugin->context};
  for (u32 i = 0; i < DIRECTIONS; i++) plugin->rules[i].replacement = TEXT("\"[redacted]\"");
  plugin->configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {plugin->configuration, {0, 0}, 0};
  while (lines_next(&lines)) {
    Text wrong = parse_line(plugin, lines.line);
    if (wrong.size) return (u32)lines_refuse(&lines, wrong);
  }
  if (plugin->rules[REQUEST].count || plugin->rules[RESPONSE].count) return 1;
  return (u32)configuration_refuse(TEXT("there is no field"));
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

/* ---- headers ------------------------------------------------------------------------------------------------- */

static int ends_with_nocase(Text text, Text end) {
  return text.size >= end.size && text_equal_nocase((Text){text.data + text.size - end.size, end.size}, end);
}

/* application/json, application/anything+json and the two names for JSON in lines. */
static int is_json(Text type) {
  return ends_with_nocase(type, TEXT("/json")) || ends_with_nocase(type, TEXT("+json")) ||
         ends_with_nocase(type, TEXT("/x-ndjson")) || ends_with_nocase(type, TEXT("/jsonl"));
}

/* Whether the bytes of the body are the UTF-8 text itself: not compressed, no other charset. */
static int is_readable(MapType map, Text parameters) {
  Text encoding = get_header(map, TEXT("content-encoding"));
  if (encoding.size && !text_equal_nocase(encoding, TEXT("identity"))) return 0;
  while (parameters.size) {
    Text value = text_trim(text_cut(&parameters, ';')), name = text_trim(text_cut(&value, '='));
    value = text_trim(value);
    if (text_equal_nocase(name, TEXT("charset")) && !text_equal_nocase(value, TEXT("utf-8")) &&
        !text_equal_nocase(value, TEXT("\"utf-8\"")))
      return 0;
  }
  return 1;
}

/* What describes the body as it was does not fit what becomes of it. */
static void forget_size(MapType map) {
  const Text names[] = {TEXT("content-length"), TEXT("content-md5"), TEXT("content-digest"), TEXT("repr-digest"),
                        TEXT("digest")};
  for (u32 i = 0; i < LENGTH(names); i++) remove_header(map, names[i]);
}

static u32 begin(Stream *stream, Direction direction, u32 end_of_stream) {
  MapType map = HEADERS_OF[direction];
  if (!stream->plugin->rules[direction].count || end_of_stream) return CONTINUE;
  Text parameters = get_header(map, TEXT("content-type")), type = text_trim(text_cut(&parameters, ';'));
  if (!is_json(type)) return CONTINUE;
  if (!is_readable(map, parameters)) {
    Pairs none = {0};
    send_response(direction == REQUEST ? 415 : 502, TEXT("json_redact_unreadable"), &none,
                  TEXT("the body is encoded in a way that cannot be redacted\n"));
    return PAUSE;
  }
  forget_size(map);
  stream->active[direction] = 1;
  return CONTINUE;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count;
  scratch_reset();
  Stream *stream = context_find(context);
  if (stream->plugin->rules[RESPONSE].count) { /* the answer has to come whole and as it is */
    set_header(REQUEST_HEADERS, TEXT("accept-encoding"), TEXT("identity"));
    remove_header(REQUEST_HEADERS, TEXT("range"));
  }
  return begin(stream, REQUEST, end_of_stream);
}

u32 EXPORT(proxy_on_response_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count;
  scratch_reset();
  return begin(context_find(context), RESPONSE, end_of_stream);
}

/* ---- bodies -------------------------------------------------------------------------------------------------- */

/* Redact one piece of a body in place. Without memory it traps: nothing may pass as it is. */
static u32 rewrite(Stream *stream, Direction direction, u32 size) {
  if (!stream->active[direction] || !size) return CONTINUE;
  const RedactRules *rules = &stream->plugin->rules[direction];
  char *data = 0;
  u32 read = 0;
  if (proxy_get_buffer_bytes(BODY_OF[direction], 0, size, &data, &read) != OK) __builtin_trap();
  Text piece = {data, read};
  Redactor after = stream->redactors[direction];
  Output measured = {0, 0};
  int changed = redact(&after, rules, piece, &measured);
  if (changed) {
    Output output = {scratch_alloc(measured.size + 1), 0};
    if (!output.bytes) __builtin_trap();
    redact(&stream->redactors[direction], rules, piece, &output);
    if (proxy_set_buffer_bytes(BODY_OF[direction], 0, read, output.bytes, output.size) != OK) __builtin_trap();
  }
  stream->redactors[direction] = after;
  return CONTINUE;
}

u32 EXPORT(proxy_on_request_body)(u32 context, u32 size, u32 end_of_stream) {
  (void)end_of_stream;
  scratch_reset();
  return rewrite(context_find(context), REQUEST, size);
}

u32 EXPORT(proxy_on_response_body)(u32 context, u32 size, u32 end_of_stream) {
  (void)end_of_stream;
  scratch_reset();
  return rewrite(context_find(context), RESPONSE, size);
}
