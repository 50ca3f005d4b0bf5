/* Lets requests in that carry an API key or a JWT, and tells the app who they are from. See README.md. */
#include "contexts.h"
#include "jwt.h"
#include "lines.h"
#include "pairs.h"
#include "proxy_wasm.h"
#include "sha256.h"

enum { MAX_KEYS = 64, MAX_OPEN = 16, MAX_NAME = 256 };

/* Only the digest of a key is kept, so comparing takes the same time for all of them. */
typedef struct { Text name; Digest digest; } ApiKey;

typedef struct {
  Context context;
  Text configuration;      /* what all texts point into */
  Text key_header, forward; /* where the key comes in, and where the caller's name goes on */
  ApiKey keys[MAX_KEYS];
  Text open[MAX_OPEN]; /* paths that need no credentials */
  u32 key_count, open_count;
  JwtRules jwt;
} Plugin;

typedef struct { Context context; Plugin *plugin; } Stream;

/* ---- configuration ------------------------------------------------------------------------------------------- */

static int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  return lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1;
}

static int parse_digest(Text hex, Digest *digest) {
  if (hex.size != 2 * SHA256_SIZE) return 0;
  for (u32 i = 0; i < SHA256_SIZE; i++) {
    int high = hex_value(hex.data[2 * i]), low = hex_value(hex.data[2 * i + 1]);
    if (high < 0 || low < 0) return 0;
    digest->bytes[i] = (u8)(high << 4 | low);
  }
  return 1;
}

/* `key NAME VALUE` and `key-sha256 NAME HEX`. */
static Text parse_key(Plugin *plugin, int hashed, Text rest) {
  Text name = text_word(&rest);
  if (!name.size || !rest.size) return TEXT("expected a name and a value after the first word of");
  if (plugin->key_count == MAX_KEYS) return TEXT("more than 64 keys:");
  ApiKey *key = &plugin->keys[plugin->key_count++];
  key->name = name;
  if (!hashed) key->digest = sha256(rest);
  else if (!parse_digest(rest, &key->digest)) return TEXT("expected 64 hexadecimal digits at the end of");
  return TEXT("");
}

/* `jwt-secret KID SECRET`; a KID of * fits every token. */
static Text parse_secret(JwtRules *jwt, Text rest) {
  Text id = text_word(&rest);
  if (!id.size || !rest.size) return TEXT("expected: jwt-secret KID|* SECRET, got");
  if (rest.size < SHA256_SIZE) return TEXT("a secret for HS256 has at least 32 bytes (RFC 7518, 3.2):");
  if (jwt->key_count == JWT_MAX_KEYS) return TEXT("more than 8 secrets:");
  jwt->keys[jwt->key_count++] = (JwtKey){text_equal(id, TEXT("*")) ? TEXT("") : id, rest};
  return TEXT("");
}

static Text parse_open(Plugin *plugin, Text path) {
  if (!path.size || path.data[0] != '/') return TEXT("expected: open /PATH, got");
  if (plugin->open_count == MAX_OPEN) return TEXT("more than 16 open paths:");
  plugin->open[plugin->open_count++] = path;
  return TEXT("");
}

/* One line. The reason why it is refused, or an empty text. */
static Text parse_line(Plugin *plugin, Text rest) {
  Text kind = text_word(&rest);
  if (text_equal(kind, TEXT("key"))) return parse_key(plugin, 0, rest);
  if (text_equal(kind, TEXT("key-sha256"))) return parse_key(plugin, 1, rest);
  if (text_equal(kind, TEXT("jwt-secret"))) return parse_secret(&plugin->jwt, rest);
  if (text_equal(kind, TEXT("open"))) return parse_open(plugin, rest);
  if (!rest.size) return TEXT("the value is missing in");
  if (text_equal(kind, TEXT("key-header"))) plugin->key_header = rest;
  else if (text_equal(kind, TEXT("forward"))) plugin->forward = rest;
  else if (text_equal(kind, TEXT("jwt-issuer"))) plugin->jwt.issuer = rest;
  else if (text_equal(kind, TEXT("jwt-audience"))) plugin->jwt.audience = rest;
  else if (!text_equal(kind, TEXT("jwt-leeway"))) return TEXT("unknown first word in");
  else if (!parse_number(rest, &plugin->jwt.leeway)) return TEXT("expected a number of seconds in");
  return TEXT("");
}

/* The line as it may be shown in a log: of one with a secret only the first word. */
static Text presentable(Text line) {
  Text rest = line, kind = text_word(&rest);
  int secret = text_equal(kind, TEXT("key")) || text_equal(kind, TEXT("key-sha256")) ||
               text_equal(kind, TEXT("jwt-secret"));
  return secret ? text_join(kind, TEXT(" ..."), TEXT(""), TEXT("")) : line;
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  keep_free((void *)plugin->configuration.data);
  *plugin = (Plugin){.context = plugin->context, .key_header = TEXT("x-api-key"), .forward = TEXT("x-auth-name")};
  plugin->configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {plugin->configuration, {0, 0}, 0};
  while (lines_next(&lines)) {
    Text wrong = parse_line(plugin, lines.line);
    if (!wrong.size) continue;
    lines.line = presentable(lines.line);
    return (u32)lines_refuse(&lines, wrong);
  }
  if (plugin->key_count || plugin->jwt.key_count) return 1;
  return (u32)configuration_refuse(TEXT("there is neither a key nor a jwt-secret, so nobody could come in"));
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

/* 401, with what RFC 6750 (3) says to tell the client. */
static u32 refuse(Text error, Text reason) {
  Pairs headers = {0};
  Text challenge = TEXT("Bearer");
  if (error.size) {
    challenge = text_join(TEXT("Bearer error=\""), error, TEXT("\", error_description=\""), reason);
    challenge = text_join(challenge, TEXT("\""), TEXT(""), TEXT(""));
  }
  pairs_add(&headers, TEXT("www-authenticate"), challenge);
  Text body = text_join(reason, TEXT("\n"), TEXT(""), TEXT(""));
  send_response(401, TEXT("api_auth_refused"), &headers, body);
  return PAUSE;
}

/* The key's owner; data is 0 where nobody has it. All keys are compared, whichever fits. */
static Text owner_of(const Plugin *plugin, Text key) {
  Digest given = sha256(key);
  Text owner = {0, 0};
  for (u32 i = 0; i < plugin->key_count; i++)
    if (digest_equal(&plugin->keys[i].digest, &given)) owner = plugin->keys[i].name;
  return owner;
}

static u32 let_in(const Plugin *plugin, Text name) {
  if (name.size && name.size <= MAX_NAME) set_header(REQUEST_HEADERS, plugin->forward, name);
  return CONTINUE;
}

/* The token of `authorization: Bearer TOKEN`; empty where it is another scheme. */
static Text bearer_token(Text authorization) {
  Text scheme = text_word(&authorization);
  return text_equal_nocase(scheme, TEXT("Bearer")) ? authorization : TEXT("");
}

/* Whether an app could not read this path as another one: no dot segments, escapes or empty segments. */
static int is_plain(Text path) {
  for (u32 i = 0; i < path.size; i++) {
    char c = path.data[i], before = i ? path.data[i - 1] : 0;
    if (c == '%' || c == '\\' || c == ';' || (before == '/' && (c == '.' || c == '/'))) return 0;
  }
  return 1;
}

static int is_open(const Plugin *plugin, Text path) {
  path = text_cut(&path, '?');
  if (!is_plain(path)) return 0;
  for (u32 i = 0; i < plugin->open_count; i++) {
    Text open = plugin->open[i];
    if (text_equal(path, open)) return 1;
    if (open.data[open.size - 1] == '/' && text_starts_with(path, open)) return 1;
  }
  return 0;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 count, u32 end_of_stream) {
  (void)count, (void)end_of_stream;
  scratch_reset();
  const Stream *stream = context_find(context);
  const Plugin *plugin = stream->plugin;
  remove_header(REQUEST_HEADERS, plugin->forward); /* only this filter may say who it is */
  if (is_open(plugin, get_header(REQUEST_HEADERS, TEXT(":path")))) return CONTINUE;
  Text key = get_header(REQUEST_HEADERS, plugin->key_header);
  if (key.size && plugin->key_count) {
    Text owner = owner_of(plugin, key);
    if (!owner.data) return refuse(TEXT(""), TEXT("the API key is not known"));
    remove_header(REQUEST_HEADERS, plugin->key_header); /* the app does not need the secret */
    return let_in(plugin, owner);
  }
  Text token = bearer_token(get_header(REQUEST_HEADERS, TEXT("authorization"))), subject;
  if (!token.size || !plugin->jwt.key_count) return refuse(TEXT(""), TEXT("credentials are missing"));
  Text wrong = jwt_check(&plugin->jwt, token, now_nanoseconds() / 1000000000u, &subject);
  return wrong.size ? refuse(TEXT("invalid_token"), wrong) : let_in(plugin, subject);
}
