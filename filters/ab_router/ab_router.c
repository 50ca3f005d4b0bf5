/* Splits traffic into variants that stick to a client by a cookie; routes match on a header. See README.md. */
#include "contexts.h"
#include "lines.h"
#include "proxy_wasm.h"

enum { MAX_VARIANTS = 16 };

/* 0 on success, an errno of WASI otherwise. */
u32 __attribute__((import_module("wasi_snapshot_preview1"), import_name("random_get"))) random_get(void *to, u32 size);

typedef struct { Text name; u32 weight; } Variant;

typedef struct {
  Context context;
  Text configuration; /* what all texts point into */
  Text cookie, header, assign_by, attributes;
  Variant variants[MAX_VARIANTS];
  u32 variant_count, total;
} Plugin;

/* `fresh`: the variant was chosen for this request, so the answer sets the cookie. */
typedef struct { Context context; Plugin *plugin; Variant *variant; u32 fresh; } Stream;

/* ---- configuration ------------------------------------------------------------------------------------------- */

/* Whether a text can be the name or the value of a cookie as it is (RFC 6265, 4.1.1). */
static int is_cookie_text(Text text) {
  for (u32 i = 0; i < text.size; i++) {
    char c = text.data[i];
    if (c <= ' ' || c == '"' || c == ',' || c == ';' || c == '\\' || c == '=' || c == 127) return 0;
  }
  return text.size != 0;
}

static Text parse_variant(Plugin *plugin, Text rest) {
  Text name = text_word(&rest);
  u64 weight;
  if (!is_cookie_text(name)) return TEXT("expected a name that a cookie can hold in");
  if (!parse_number(rest, &weight) || weight > 1000000) return TEXT("expected a weight from 0 to 1000000 in");
  if (plugin->variant_count == MAX_VARIANTS) return TEXT("more than 16 variants:");
  plugin->variants[plugin->variant_count++] = (Variant){name, (u32)weight};
  plugin->total += (u32)weight;
  return TEXT("");
}

/* One line. The reason why it is refused, or an empty text. */
static Text parse_line(Plugin *plugin, Text rest) {
  Text kind = text_word(&rest);
  if (text_equal(kind, TEXT("variant"))) return parse_variant(plugin, rest);
  if (!rest.size) return TEXT("the value is missing in");
  if (text_equal(kind, TEXT("header"))) plugin->header = rest;
  else if (text_equal(kind, TEXT("assign-by"))) plugin->assign_by = rest;
  else if (text_equal(kind, TEXT("attributes"))) plugin->attributes = rest;
  else if (!text_equal(kind, TEXT("cookie"))) return TEXT("unknown first word in");
  else if (!is_cookie_text(rest)) return TEXT("expected the name of a cookie in");
  else plugin->cookie = rest;
  return TEXT("");
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  keep_free((void *)plugin->configuration.data);
  *plugin = (Plugin){.context = plugin->context, .cookie = TEXT("ab-variant"), .header = TEXT("x-ab-variant"),
                     .attributes = TEXT("Path=/; HttpOnly; SameSite=Lax")};
  plugin->configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {plugin->configuration, {0, 0}, 0};
  while (lines_next(&lines)) {
    Text wrong = parse_line(plugin, lines.line);
    if (wrong.size) return (u32)lines_refuse(&lines, wrong);
  }
  return plugin->total ? 1 : (u32)configuration_refuse(TEXT("there is no variant with a weight"));
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

/* ---- choosing ------------------------------------------------------------------------------------------------ */

/* FNV-1a with the mixer of MurmurHash3 behind it: texts that differ in their last letter only are spread as well. */
static u64 hash(Text text) {
  u64 value = 14695981039346656037u;
  for (u32 i = 0; i < text.size; i++) value = (value ^ (u8)text.data[i]) * 1099511628211u;
  value = (value ^ value >> 33) * 0xff51afd7ed558ccdu;
  value = (value ^ value >> 33) * 0xc4ceb9fe1a85ec53u;
  return value ^ value >> 33;
}

/* The variant that the client's cookie names, where it still gets traffic; 0 otherwise. */
static Variant *remembered(Plugin *plugin) {
  Text cookies = get_header(REQUEST_HEADERS, TEXT("cookie"));
  while (cookies.size) {
    Text value = text_trim(text_cut(&cookies, ';')), name = text_cut(&value, '=');
    if (!text_equal(name, plugin->cookie)) continue;
    for (u32 i = 0; i < plugin->variant_count; i++)
      if (plugin->variants[i].weight && text_equal(plugin->variants[i].name, value)) return &plugin->variants[i];
  }
  return 0;
}

/* A variant by weight: the same one for the same caller where a header says who that is, any other time by chance. */
static Variant *choose(Plugin *plugin) {
  Text caller = plugin->assign_by.size ? get_header(REQUEST_HEADERS, plugin->assign_by) : TEXT("");
  u64 number = hash(caller);
  if (!caller.size && random_get(&number, sizeof number)) log_text(WARN, TEXT("no random numbers"));
  u32 place = (u32)(number % plugin->total);
  Variant *variant = plugin->variants;
  while (place >= variant->weight) place -= variant->weight, variant++;
  return variant;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  Stream *stream = context_find(context);
  stream->variant = remembered(stream->plugin);
  stream->fresh = !stream->variant;
  if (stream->fresh) stream->variant = choose(stream->plugin);
  /* The host matches the route again after a change of the request, so this is all that it takes. */
  set_header(REQUEST_HEADERS, stream->plugin->header, stream->variant->name);
  return CONTINUE;
}

u32 EXPORT(proxy_on_response_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  const Stream *stream = context_find(context);
  if (!stream->fresh) return CONTINUE;
  const Plugin *plugin = stream->plugin;
  Text cookie = text_join(plugin->cookie, TEXT("="), stream->variant->name, TEXT("; "));
  add_header(RESPONSE_HEADERS, TEXT("set-cookie"), text_join(cookie, plugin->attributes, TEXT(""), TEXT("")));
  return CONTINUE;
}
