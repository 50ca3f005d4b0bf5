/* The Proxy-Wasm ABI 0.2.1 for filters in plain C: the hostcalls that HTTP filters use, text and memory.
 *
 * Beside it lie, each for one subject: contexts.h (what a filter remembers of plugins and streams), lines.h
 * (configuration), pairs.h (header maps as bytes, local responses), sha256.h.
 *
 * No SDK, no libc: clang --target=wasm32-freestanding -nostdlib. Include it in ONE file of a filter; it defines the
 * ABI marker and the allocator that the host calls. Hostcalls have the names and the order of arguments of the
 * specification (https://github.com/proxy-wasm/spec, abi-versions/v0.2.1). Every hostcall returns a Status.
 *
 * Memory. What the host hands over (proxy_get_*) lies in the scratch arena and is valid until the next callback: a
 * filter calls scratch_reset() first thing in each callback that it exports, and never frees. What must outlive a
 * callback goes to keep_alloc(), and back with keep_free().
 */
#ifndef PROXY_WASM_H
#define PROXY_WASM_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define EXPORT(name) __attribute__((export_name(#name))) name
#define HOSTCALL(name) __attribute__((import_module("env"), import_name(#name))) name
#define PAGE_SIZE 65536u
#define LENGTH(array) ((u32)(sizeof(array) / sizeof((array)[0])))

typedef enum {
  OK = 0, NOT_FOUND = 1, BAD_ARGUMENT = 2, SERIALIZATION_FAILURE = 3, PARSE_FAILURE = 4,
  INVALID_MEMORY_ACCESS = 6, EMPTY = 7, CAS_MISMATCH = 8, INTERNAL_FAILURE = 10, UNIMPLEMENTED = 12
} Status;
enum { CONTINUE = 0, PAUSE = 1 };
typedef enum { TRACE, DEBUG, INFO, WARN, ERROR, CRITICAL } LogLevel;
typedef enum {
  REQUEST_HEADERS = 0, REQUEST_TRAILERS = 1, RESPONSE_HEADERS = 2, RESPONSE_TRAILERS = 3,
  HTTP_CALL_RESPONSE_HEADERS = 6
} MapType;
typedef enum {
  REQUEST_BODY = 0, RESPONSE_BODY = 1, HTTP_CALL_RESPONSE_BODY = 4, VM_CONFIGURATION = 6, PLUGIN_CONFIGURATION = 7
} BufferType;
typedef enum { REQUEST_STREAM = 0, RESPONSE_STREAM = 1 } StreamType;
typedef enum { COUNTER, GAUGE, HISTOGRAM } MetricType;

/* ---- hostcalls ---------------------------------------------------------------------------------------------- */

Status HOSTCALL(proxy_log)(LogLevel level, const char *message, u32 size);
Status HOSTCALL(proxy_get_property)(const char *path, u32 path_size, char **value, u32 *value_size);
Status HOSTCALL(proxy_get_buffer_bytes)(BufferType type, u32 start, u32 max, char **data, u32 *size);
Status HOSTCALL(proxy_get_header_map_value)(MapType map, const char *key, u32 key_size, char **value, u32 *value_size);
Status HOSTCALL(proxy_add_header_map_value)(MapType map, const char *key, u32 key_size, const char *value, u32 size);
Status HOSTCALL(proxy_replace_header_map_value)(MapType map, const char *key, u32 key_size, const char *value, u32 size);
Status HOSTCALL(proxy_remove_header_map_value)(MapType map, const char *key, u32 key_size);
Status HOSTCALL(proxy_get_header_map_pairs)(MapType map, char **pairs, u32 *size);
Status HOSTCALL(proxy_set_buffer_bytes)(BufferType type, u32 start, u32 size, const char *data, u32 data_size);
Status HOSTCALL(proxy_send_local_response)(u32 status, const char *details, u32 details_size, const char *body,
                                           u32 body_size, const char *headers, u32 headers_size, u32 grpc_status);
Status HOSTCALL(proxy_continue_stream)(StreamType stream);
Status HOSTCALL(proxy_set_effective_context)(u32 context);
Status HOSTCALL(proxy_get_current_time_nanoseconds)(u64 *time);
Status HOSTCALL(proxy_get_shared_data)(const char *key, u32 key_size, char **value, u32 *value_size, u32 *cas);
Status HOSTCALL(proxy_set_shared_data)(const char *key, u32 key_size, const char *value, u32 value_size, u32 cas);
Status HOSTCALL(proxy_http_call)(const char *upstream, u32 upstream_size, const char *headers, u32 headers_size,
                                 const char *body, u32 body_size, const char *trailers, u32 trailers_size,
                                 u32 timeout_ms, u32 *token);
Status HOSTCALL(proxy_define_metric)(MetricType type, const char *name, u32 name_size, u32 *id);
Status HOSTCALL(proxy_increment_metric)(u32 id, i64 delta);

/* Only its existence counts: the host never calls it. */
void EXPORT(proxy_abi_version_0_2_1)(void) {}

/* ---- text --------------------------------------------------------------------------------------------------- */

/* Bytes with a length; nothing in this ABI ends with a NUL. */
typedef struct { const char *data; u32 size; } Text;
#define TEXT(literal) ((Text){literal, sizeof(literal) - 1})

/* The compiler may call these for copies of structs and for loops that it recognises. */
void *memcpy(void *to, const void *from, __SIZE_TYPE__ n) {
  for (__SIZE_TYPE__ i = 0; i < n; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}
void *memset(void *to, int value, __SIZE_TYPE__ n) {
  for (__SIZE_TYPE__ i = 0; i < n; i++) ((u8 *)to)[i] = (u8)value;
  return to;
}

static inline int text_equal(Text a, Text b) {
  if (a.size != b.size) return 0;
  for (u32 i = 0; i < a.size; i++) if (a.data[i] != b.data[i]) return 0;
  return 1;
}

static inline int text_starts_with(Text text, Text prefix) {
  return text.size >= prefix.size && text_equal((Text){text.data, prefix.size}, prefix);
}

static inline int is_digit(char c) { return c >= '0' && c <= '9'; }
static inline char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* Equal but for the case of ASCII letters. */
static inline int text_equal_nocase(Text a, Text b) {
  if (a.size != b.size) return 0;
  for (u32 i = 0; i < a.size; i++) if (lower(a.data[i]) != lower(b.data[i])) return 0;
  return 1;
}

/* A decimal number without sign; 0 where it is none or does not fit. */
static inline int parse_number(Text text, u64 *number) {
  u64 value = 0;
  if (!text.size || text.size > 18) return 0;
  for (u32 i = 0; i < text.size; i++) {
    if (!is_digit(text.data[i])) return 0;
    value = value * 10 + (u64)(text.data[i] - '0');
  }
  *number = value;
  return 1;
}

/* Cut and return what stands before the first `separator` (all of it where there is none). */
static inline Text text_cut(Text *rest, char separator) {
  u32 n = 0;
  while (n < rest->size && rest->data[n] != separator) n++;
  Text head = {rest->data, n};
  u32 skip = n < rest->size ? n + 1 : n;
  rest->data += skip, rest->size -= skip;
  return head;
}

static inline Text text_trim(Text text) {
  while (text.size && (u8)text.data[0] <= ' ') text.data++, text.size--;
  while (text.size && (u8)text.data[text.size - 1] <= ' ') text.size--;
  return text;
}

/* Cut and return the first word; `rest` becomes what follows it, trimmed. */
static inline Text text_word(Text *rest) {
  *rest = text_trim(*rest);
  Text word = text_cut(rest, ' ');
  *rest = text_trim(*rest);
  return text_trim(word);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

typedef struct { char *base; u32 size, used; } Arena;
static char scratch_first[16384] __attribute__((aligned(16)));
static Arena scratch = {scratch_first, sizeof scratch_first, 0};

/* `size` bytes of new pages from the host; 0 where it refuses. */
static inline char *pages_alloc(u32 size) {
  u32 before = __builtin_wasm_memory_grow(0, (size + PAGE_SIZE - 1) / PAGE_SIZE);
  return before == 0xffffffffu ? 0 : (char *)(before * PAGE_SIZE);
}

static inline void scratch_reset(void) { scratch.used = 0; }

/* Bytes until the next callback; 0 where memory is at its limit. A callback that does not fit moves on to an arena of
 * at least twice the size, which all later ones use: what is left behind is never more than what is in use. */
static inline char *scratch_alloc(u32 size) {
  if (size > 0x7fffffffu) return 0;
  size = (size + 7) & ~7u;
  if (size > scratch.size - scratch.used) {
    u32 wanted = scratch.size * 2 > size ? scratch.size * 2 : size;
    wanted = (wanted + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    char *base = pages_alloc(wanted);
    if (!base) return 0;
    scratch = (Arena){base, wanted, 0};
  }
  char *bytes = scratch.base + scratch.used;
  scratch.used += size;
  return bytes;
}

/* The host asks for room here while it answers a hostcall. */
void *EXPORT(proxy_on_memory_allocate)(u32 size) { return scratch_alloc(size); }

/* A block of kept memory, in use or on the free list. */
typedef struct Block { u32 size; struct Block *next; } Block;
static Block *keep_free_list;

static inline void keep_free(void *bytes) {
  if (!bytes) return;
  Block *block = (Block *)bytes - 1;
  block->next = keep_free_list, keep_free_list = block;
}

/* First fit, split when the remainder is worth it. 0 where memory is at its limit. For configuration, not for requests. */
static inline void *keep_alloc(u32 size) {
  if (size > 0x7fffffffu) return 0;
  size = (size + 7) & ~7u;
  Block **link = &keep_free_list;
  while (*link && (*link)->size < size) link = &(*link)->next;
  if (!*link) {
    u32 bytes = (size + (u32)sizeof(Block) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
    Block *fresh = (Block *)pages_alloc(bytes);
    if (!fresh) return 0;
    *fresh = (Block){bytes - (u32)sizeof(Block), keep_free_list};
    keep_free_list = fresh, link = &keep_free_list;
  }
  Block *block = *link;
  *link = block->next;
  if (block->size >= size + sizeof(Block) + 64) {
    Block *rest = (Block *)((char *)(block + 1) + size);
    *rest = (Block){block->size - size - (u32)sizeof(Block), keep_free_list};
    keep_free_list = rest, block->size = size;
  }
  return block + 1;
}

static inline Text keep_text(Text text) {
  char *copy = keep_alloc(text.size ? text.size : 1);
  if (!copy) return (Text){0, 0};
  memcpy(copy, text.data, text.size);
  return (Text){copy, text.size};
}

/* ---- the calls that nearly every filter makes ---------------------------------------------------------------- */

static inline void log_text(LogLevel level, Text text) { proxy_log(level, text.data, text.size); }

/* Join up to four texts in scratch memory. */
static inline Text text_join(Text a, Text b, Text c, Text d) {
  char *to = scratch_alloc(a.size + b.size + c.size + d.size + 1);
  if (!to) return (Text){0, 0};
  memcpy(to, a.data, a.size);
  memcpy(to + a.size, b.data, b.size);
  memcpy(to + a.size + b.size, c.data, c.size);
  memcpy(to + a.size + b.size + c.size, d.data, d.size);
  return (Text){to, a.size + b.size + c.size + d.size};
}

static inline Text text_number(u64 number) {
  enum { DIGITS = 24 };
  char *start = scratch_alloc(DIGITS), *at = start + DIGITS;
  if (!start) return (Text){0, 0};
  do *--at = (char)('0' + number % 10), number /= 10; while (number);
  return (Text){at, (u32)(start + DIGITS - at)};
}

/* The first value of a header, in scratch memory; data is 0 where there is no such header. */
static inline Text get_header(MapType map, Text name) {
  char *value = 0;
  u32 size = 0;
  if (proxy_get_header_map_value(map, name.data, name.size, &value, &size) != OK) return (Text){0, 0};
  return (Text){value ? value : "", size};
}

static inline void set_header(MapType map, Text name, Text value) {
  proxy_replace_header_map_value(map, name.data, name.size, value.data, value.size);
}
static inline void add_header(MapType map, Text name, Text value) {
  proxy_add_header_map_value(map, name.data, name.size, value.data, value.size);
}
static inline void remove_header(MapType map, Text name) { proxy_remove_header_map_value(map, name.data, name.size); }

/* Unix time. */
static inline u64 now_nanoseconds(void) {
  u64 now = 0;
  proxy_get_current_time_nanoseconds(&now);
  return now;
}

/* The plugin's configuration, in scratch memory. Only proxy_on_configure can read it. */
static inline Text get_plugin_configuration(u32 size) {
  char *data = 0;
  u32 read = 0;
  if (!size || proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, &data, &read) != OK) return (Text){0, 0};
  return (Text){data, read};
}

#endif
