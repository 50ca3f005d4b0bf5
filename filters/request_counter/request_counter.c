/* Counts requests by class of path and by value of a header, as metrics. See README.md. */
#include "lines.h"
#include "proxy_wasm.h"

enum { MAX_CLASSES = 32, MAX_VALUES = 64, STATUS_CLASSES = 5, MAX_VALUE_SIZE = 64 };

/* Requests whose path starts with `prefix`; the counters of 1xx to 5xx are defined when first needed. */
typedef struct { Text prefix, name; u32 counters[STATUS_CLASSES]; } PathClass;
typedef struct { Text value; u32 counter; } HeaderValue;

/* One configuration a VM, the last one given: plugins that shall count differently have their own vm_id. */
static Text configuration; /* what prefixes, names and header point into */
static PathClass classes[MAX_CLASSES];
static u32 class_count;
static Text header;
static HeaderValue values[MAX_VALUES];
static u32 value_count, others;

/* Ids start at 4, so 0 says: not defined yet. */
static u32 counter(Text name) {
  u32 id = 0;
  if (proxy_define_metric(COUNTER, name.data, name.size, &id) != OK)
    log_text(WARN, text_join(TEXT("cannot define "), name, TEXT(""), TEXT("")));
  return id;
}

/* ---- configuration ------------------------------------------------------------------------------------------- */

/* `path PREFIX CLASS` or `header NAME`. */
static int parse_line(const Lines *lines) {
  Text rest = lines->line, kind = text_word(&rest), first = text_word(&rest);
  if (text_equal(kind, TEXT("header"))) {
    if (!first.size || rest.size) return lines_refuse(lines, TEXT("expected: header NAME, got"));
    header = first;
    return 1;
  }
  if (!text_equal(kind, TEXT("path"))) return lines_refuse(lines, TEXT("expected path or header, got"));
  if (!first.size || !rest.size) return lines_refuse(lines, TEXT("expected: path PREFIX CLASS, got"));
  if (class_count == MAX_CLASSES) return lines_refuse(lines, TEXT("more than 32 classes:"));
  classes[class_count++] = (PathClass){first, rest, {0}};
  return 1;
}

static void forget_all(void) {
  while (value_count) keep_free((void *)values[--value_count].value.data);
  keep_free((void *)configuration.data);
  class_count = others = 0, header = (Text){0, 0};
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  (void)root;
  scratch_reset();
  forget_all();
  configuration = keep_text(get_plugin_configuration(size));
  Lines lines = {configuration, {0, 0}, 0};
  while (lines_next(&lines))
    if (!parse_line(&lines)) return 0;
  if (!class_count) classes[class_count++] = (PathClass){TEXT("/"), TEXT("all"), {0}};
  return 1;
}

/* ---- counting ------------------------------------------------------------------------------------------------ */

/* The class with the longest prefix that fits; 0 where none does. */
static PathClass *classify(Text path) {
  PathClass *best = 0;
  for (u32 i = 0; i < class_count; i++)
    if (text_starts_with(path, classes[i].prefix) && (!best || classes[i].prefix.size > best->prefix.size))
      best = &classes[i];
  return best;
}

static void count_class(PathClass *class, Text status) {
  if (status.size != 3 || status.data[0] < '1' || status.data[0] > '5') return;
  u32 *id = &class->counters[status.data[0] - '1'];
  if (!*id) {
    Text digit = {status.data, 1};
    Text name = text_join(TEXT("request_counter.path."), class->name, TEXT("."), digit);
    *id = counter(text_join(name, TEXT("xx"), TEXT(""), TEXT("")));
  }
  if (*id) proxy_increment_metric(*id, 1);
}

/* Values come from strangers, so their number is bounded: what is too long or too many counts as `other`. */
static u32 value_counter(Text value) {
  for (u32 i = 0; i < value_count; i++)
    if (text_equal(values[i].value, value)) return values[i].counter;
  if (value_count < MAX_VALUES && value.size <= MAX_VALUE_SIZE) {
    Text name = text_join(TEXT("request_counter.header."), header, TEXT("."), value);
    HeaderValue fresh = {keep_text(value), counter(name)};
    if (fresh.value.data) values[value_count++] = fresh;
    return fresh.counter;
  }
  if (!others) others = counter(text_join(TEXT("request_counter.header."), header, TEXT(".other"), TEXT("")));
  return others;
}

/* The end of a stream: the only moment when the request and the status are both known, local replies included. */
void EXPORT(proxy_on_log)(u32 context) {
  (void)context;
  scratch_reset();
  PathClass *class = classify(get_header(REQUEST_HEADERS, TEXT(":path")));
  if (class) count_class(class, get_header(RESPONSE_HEADERS, TEXT(":status")));
  if (!header.size) return;
  Text value = get_header(REQUEST_HEADERS, header);
  u32 id = value.size ? value_counter(value) : 0;
  if (id) proxy_increment_metric(id, 1);
}
