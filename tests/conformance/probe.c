/* A filter that calls any hostcall in any phase on command, and logs what it answered.
 *
 * A program is text: `phase=command;command^phase=command`. A command is `hostcall|argument|...`:
 * only what goes in is an argument (a number, or bytes as text), and where a hostcall writes to is
 * the probe's own business. Bytes may be written %XX. `$` is the number that the last call gave
 * out, `@` the newest stream's context. `!hostcall|word|...` gives every word as it stands; `&N` is
 * there the address of N bytes into a scratch area. `return|N` is what the callback returns.
 *
 * A stream's program is its header `x-probe`; the root's stands in the configurations of VM and
 * plugin, and for what comes before them in the environment variable PROBE.
 *
 * The hostcalls and their kinds of parameters come from calls.h, which is made from abi.py.
 */

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

#include "calls.h"

enum { ARENA = 1 << 18, PROGRAM = 1 << 14, LINE = 1 << 13, SCRATCH = 1 << 12, SHOWN = 6000, NAMED = 48 };

static u8 arena[ARENA], scratch[SCRATCH], line[LINE];
static u8 stream_program[PROGRAM], root_program[PROGRAM];
static u32 arena_used, line_size, stream_size, root_size;
static u32 last_number, last_stream, answer, depth;

void *memcpy(void *to, const void *from, unsigned long size) {
  for (u32 i = 0; i < size; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
  return to;
}

void *memset(void *to, int byte, unsigned long size) {
  for (u32 i = 0; i < size; i++) ((u8 *)to)[i] = (u8)byte;
  return to;
}

static void *take(u32 size) {
  u32 at = (arena_used + 7) & ~7u;
  if (size > ARENA || at > ARENA - size) return 0;
  arena_used = at + size;
  return arena + at;
}

EXPORT(proxy_on_memory_allocate) void *allocate(u32 size) { return take(size); }
__attribute__((export_name(MARKER))) void marker(void) {}

/* -- the log ----------------------------------------------------------------------------------- */

static void put(u8 byte) {
  if (line_size < LINE) line[line_size++] = byte;
}

static void put_text(const char *text) {
  while (*text) put((u8)*text++);
}

static void put_number(u64 value) {
  u8 digits[20];
  u32 n = 0;
  do digits[n++] = (u8)('0' + value % 10), value /= 10; while (value);
  while (n) put(digits[--n]);
}

static void put_bytes(const u8 *data, u32 size) {
  static const char hex[] = "0123456789ABCDEF";
  put('\'');
  for (u32 i = 0; i < size && i < SHOWN; i++) {
    if (data[i] > 32 && data[i] < 127 && data[i] != '%' && data[i] != '\'') put(data[i]);
    else put('%'), put((u8)hex[data[i] >> 4]), put((u8)hex[data[i] & 15]);
  }
  put('\'');
  if (size > SHOWN) put_text(" of "), put_number(size);
}

static void flush(void) {
  proxy_log(2, (u32)line, line_size);
  line_size = 0;
}

/* -- programs ---------------------------------------------------------------------------------- */

typedef struct { const u8 *at, *end; } Text;

static u32 is_text(Text text, const char *word) {
  const u8 *at = text.at;
  while (*word && at < text.end && *at == (u8)*word) at++, word++;
  return !*word && at == text.end;
}

/* What stands before the next separator, which is skipped as well. */
static Text before(Text *rest, u8 separator) {
  Text part = {rest->at, rest->at};
  while (part.end < rest->end && *part.end != separator) part.end++;
  rest->at = part.end < rest->end ? part.end + 1 : part.end;
  return part;
}

static u32 nibble(u8 c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static Text decoded(Text text) {
  u8 *out = take((u32)(text.end - text.at)), *to = out;
  for (const u8 *at = text.at; at < text.end; at++) {
    if (*at == '%' && text.end - at > 2) *to++ = (u8)(nibble(at[1]) << 4 | nibble(at[2])), at += 2;
    else *to++ = *at;
  }
  return (Text){out, to};
}

static u64 number(Text text) {
  if (is_text(text, "$")) return last_number;
  if (is_text(text, "@")) return last_stream;
  u64 value = 0;
  u32 minus = text.at < text.end && *text.at == '-', local = text.at < text.end && *text.at == '&';
  for (const u8 *at = text.at + (minus || local); at < text.end; at++) value = value * 10 + (*at - '0');
  return minus ? (u64)-(long long)value : value + (local ? (u32)scratch : 0);
}

static void show_results(const char *kinds, u64 *words) {
  u32 *pair;
  for (u32 k = 0, w = 0; kinds[k]; k++, w++) switch (kinds[k]) {
    case 'o': put(' '), put_number(last_number = *(u32 *)(u32)words[w]); break;
    case 'O': put(' '), put_number(*(u64 *)(u32)words[w]); break;
    case 'p':
      pair = (u32 *)(u32)words[w++];
      put(' '), put_bytes((u8 *)pair[0], pair[1]);
      break;
    case 's': w++; break;
  }
}

static void fill(const char *kinds, Text rest, u64 *words) {
  Text text;
  u32 w = 0;
  for (; *kinds; kinds++) switch (*kinds) {
    case 's':
      text = decoded(before(&rest, '|'));
      words[w++] = (u32)text.at, words[w++] = (u32)(text.end - text.at);
      break;
    case 'o': case 'O': case 'p':
      words[w] = (u32)take(8);
      *(u64 *)(u32)words[w] = 0;
      if (*kinds == 'p') words[w + 1] = words[w] + 4, w++;
      w++;
      break;
    default: words[w++] = number(before(&rest, '|'));
  }
}

static void run(Text command, const char *phase) {
  Text rest = command, name = before(&rest, '|');
  u64 words[16] = {0};
  u32 raw = name.at < name.end && *name.at == '!', w = 0;
  Text shown = rest;
  name.at += raw;
  if (is_text(name, "return")) { answer = (u32)number(rest); return; }
  for (u32 index = 0; index < CALLS; index++) {
    if (!is_text(name, calls[index].name)) continue;
    if (raw) while (rest.at < rest.end) words[w++] = number(before(&rest, '|'));
    else fill(calls[index].kinds, rest, words);
    u32 status = invoke(index, words);
    put_text("probe "), put_text(phase), put(' '), put_text(calls[index].name), put('(');
    for (const u8 *at = shown.at; at < shown.end && at < shown.at + NAMED; at++) put(*at);
    put_text(") "), put_number(status);
    if (!raw && !status) show_results(calls[index].kinds, words);
    flush();
    return;
  }
  put_text("probe: unknown command "), put_bytes(command.at, (u32)(command.end - command.at)), flush();
}

static void run_phase(Text program, const char *phase) {
  while (program.at < program.end) {
    Text part = before(&program, '^'), name = before(&part, '=');
    if (!is_text(name, phase)) continue;
    while (part.at < part.end) run(before(&part, ';'), phase);
  }
}

static Text of_stream(void) { return (Text){stream_program, stream_program + stream_size}; }
static Text of_root(void) { return (Text){root_program, root_program + root_size}; }

static u32 keep(u8 *program, const u8 *data, u32 size) {
  if (size > PROGRAM) size = 0;
  for (u32 i = 0; i < size; i++) program[i] = data[i];
  return size;
}

/* -- callbacks --------------------------------------------------------------------------------- */

static void begin(const char *phase, u32 count, const u32 *arguments, u32 usual) {
  if (!depth++) arena_used = 0;
  answer = usual;
  put_text("probe "), put_text(phase);
  for (u32 i = 0; i < count; i++) put(' '), put_number(arguments[i]);
  flush();
}

static u32 end(void) {
  depth--;
  return answer;
}

static u32 phase(const char *name, Text program, u32 count, const u32 *arguments, u32 usual) {
  begin(name, count, arguments, usual);
  run_phase(program, name);
  return end();
}

#define ARGUMENTS(...) sizeof((u32[]){__VA_ARGS__}) / 4, (u32[]){__VA_ARGS__}
#define STREAM_PHASE(name, usual, ...) phase(#name, of_stream(), ARGUMENTS(__VA_ARGS__), usual)
#define ROOT_PHASE(name, usual, ...) phase(#name, of_root(), ARGUMENTS(__VA_ARGS__), usual)

static void read_environment(void) {
  u32 count = 0, size = 0;
  if (environ_sizes_get((u32)&count, (u32)&size) || !count || count > 16 || size > PROGRAM) return;
  u32 *pointers = take(4 * count);
  u8 *buffer = take(size);
  if (!pointers || !buffer || environ_get((u32)pointers, (u32)buffer)) return;
  for (u32 i = 0; i < count; i++) {
    u8 *entry = (u8 *)pointers[i];
    Text rest = {entry, entry};
    while (*rest.end) rest.end++;
    Text name = before(&rest, '=');
    if (is_text(name, "PROBE")) root_size = keep(root_program, rest.at, (u32)(rest.end - rest.at));
  }
}

EXPORT(_initialize) void initialize(void) {
  read_environment();
  run_phase(of_root(), "start");
}

EXPORT(proxy_on_context_create) void on_context_create(u32 context, u32 parent) {
  if (parent) last_stream = context, stream_size = 0, ROOT_PHASE(context_create, 0, context, parent);
  else ROOT_PHASE(root_create, 0, context, parent);
}

static void read_program(u32 buffer, u32 size) {
  u32 data = 0, got = 0;
  if (size && !proxy_get_buffer_bytes(buffer, 0, size, (u32)&data, (u32)&got) && got)
    root_size = keep(root_program, (u8 *)data, got);
}

EXPORT(proxy_on_vm_start) u32 on_vm_start(u32 root, u32 size) {
  arena_used = 0;
  read_program(6, size);
  return ROOT_PHASE(vm_start, 1, root, size);
}

EXPORT(proxy_on_configure) u32 on_configure(u32 root, u32 size) {
  arena_used = 0;
  read_program(7, size);
  return ROOT_PHASE(configure, 1, root, size);
}

/* The stream's program may have something to say to what its calls bring about. */
static u32 both(const char *name, u32 count, const u32 *arguments, u32 usual) {
  begin(name, count, arguments, usual);
  run_phase(of_root(), name);
  run_phase(of_stream(), name);
  return end();
}
#define BOTH(name, usual, ...) both(#name, ARGUMENTS(__VA_ARGS__), usual)

EXPORT(proxy_on_tick) void on_tick(u32 root) {
  proxy_set_tick_period_milliseconds(0);
  BOTH(tick, 0, root);
}

static void read_header(void) {
  static const char name[] = "x-probe";
  u32 data = 0, size = 0;
  stream_size = 0;
  if (!proxy_get_header_map_value(0, (u32)name, 7, (u32)&data, (u32)&size) && size)
    stream_size = keep(stream_program, (u8 *)data, size);
}

#ifdef SHORT_HEADERS
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 context, u32 count) {
  arena_used = 0;
  read_header();
  return STREAM_PHASE(request_headers, 0, context, count);
}
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 context, u32 count) {
  return STREAM_PHASE(response_headers, 0, context, count);
}
#else
EXPORT(proxy_on_request_headers) u32 on_request_headers(u32 context, u32 count, u32 end_of_stream) {
  arena_used = 0;
  read_header();
  return STREAM_PHASE(request_headers, 0, context, count, end_of_stream);
}
EXPORT(proxy_on_response_headers) u32 on_response_headers(u32 context, u32 count, u32 end_of_stream) {
  return STREAM_PHASE(response_headers, 0, context, count, end_of_stream);
}
#endif

/* `request_body` runs for every piece, `request_body_end` after it for the last one. */
static u32 body(const char *name, const char *last, u32 context, u32 size, u32 end_of_stream) {
  begin(name, ARGUMENTS(context, size, end_of_stream), 0);
  run_phase(of_stream(), name);
  if (end_of_stream) run_phase(of_stream(), last);
  return end();
}

EXPORT(proxy_on_request_body) u32 on_request_body(u32 context, u32 size, u32 end_of_stream) {
  return body("request_body", "request_body_end", context, size, end_of_stream);
}
EXPORT(proxy_on_response_body) u32 on_response_body(u32 context, u32 size, u32 end_of_stream) {
  return body("response_body", "response_body_end", context, size, end_of_stream);
}
EXPORT(proxy_on_request_metadata) u32 on_request_metadata(u32 context, u32 count) {
  return STREAM_PHASE(request_metadata, 0, context, count);
}
EXPORT(proxy_on_response_metadata) u32 on_response_metadata(u32 context, u32 count) {
  return STREAM_PHASE(response_metadata, 0, context, count);
}
EXPORT(proxy_on_request_trailers) u32 on_request_trailers(u32 context, u32 count) {
  return STREAM_PHASE(request_trailers, 0, context, count);
}
EXPORT(proxy_on_response_trailers) u32 on_response_trailers(u32 context, u32 count) {
  return STREAM_PHASE(response_trailers, 0, context, count);
}
EXPORT(proxy_on_http_call_response)
void on_http_call_response(u32 root, u32 token, u32 headers, u32 size, u32 trailers) {
  BOTH(http_call_response, 0, root, token, headers, size, trailers);
}
EXPORT(proxy_on_grpc_receive_initial_metadata) void on_grpc_initial(u32 root, u32 token, u32 count) {
  BOTH(grpc_receive_initial_metadata, 0, root, token, count);
}
EXPORT(proxy_on_grpc_receive) void on_grpc_receive(u32 root, u32 token, u32 size) {
  BOTH(grpc_receive, 0, root, token, size);
}
EXPORT(proxy_on_grpc_receive_trailing_metadata) void on_grpc_trailing(u32 root, u32 token, u32 count) {
  BOTH(grpc_receive_trailing_metadata, 0, root, token, count);
}
EXPORT(proxy_on_grpc_close) void on_grpc_close(u32 root, u32 token, u32 status) {
  BOTH(grpc_close, 0, root, token, status);
}
EXPORT(proxy_on_queue_ready) void on_queue_ready(u32 root, u32 token) { BOTH(queue_ready, 0, root, token); }
EXPORT(proxy_on_done) u32 on_done(u32 context) {
  return context == 1 ? ROOT_PHASE(root_done, 1, context) : STREAM_PHASE(done, 1, context);
}
EXPORT(proxy_on_log) void on_log(u32 context) { STREAM_PHASE(log, 0, context); }
EXPORT(proxy_on_delete) void on_delete(u32 context) {
  if (context == 1) ROOT_PHASE(root_delete, 0, context);
  else STREAM_PHASE(delete, 0, context);
}
EXPORT(proxy_on_new_connection) u32 on_new_connection(u32 context) { return ROOT_PHASE(new_connection, 0, context); }
EXPORT(proxy_on_downstream_data) u32 on_downstream_data(u32 context, u32 size, u32 last) {
  return ROOT_PHASE(downstream_data, 0, context, size, last);
}
EXPORT(proxy_on_upstream_data) u32 on_upstream_data(u32 context, u32 size, u32 last) {
  return ROOT_PHASE(upstream_data, 0, context, size, last);
}
EXPORT(proxy_on_downstream_connection_close) void on_downstream_close(u32 context, u32 peer) {
  ROOT_PHASE(downstream_connection_close, 0, context, peer);
}
EXPORT(proxy_on_upstream_connection_close) void on_upstream_close(u32 context, u32 peer) {
  ROOT_PHASE(upstream_connection_close, 0, context, peer);
}
