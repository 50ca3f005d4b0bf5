/* Sets, adds and removes headers of requests and responses as its configuration says. See README.md. */
#include "contexts.h"
#include "lines.h"
#include "proxy_wasm.h"

typedef enum { SET, ADD, REMOVE } Verb;

typedef struct Rule {
  struct Rule *next;
  MapType map;
  Verb verb;
  Text name, value;
} Rule;

/* The rules of one plugin; several plugins may share this VM. */
typedef struct {
  Context context;
  Text configuration; /* what the rules point into */
  Rule *rules;
} Plugin;

typedef struct { Context context; Plugin *plugin; } Stream;

static void forget_rules(Plugin *plugin) {
  for (Rule *rule = plugin->rules, *next; rule; rule = next) next = rule->next, keep_free(rule);
  keep_free((void *)plugin->configuration.data);
  plugin->rules = 0, plugin->configuration = (Text){0, 0};
}

/* ---- configuration ------------------------------------------------------------------------------------------- */

/* One line: `request|response set|add|remove NAME [VALUE]`. The reason why it is refused, or an empty text. */
static Text parse_rule(Text line, Rule *rule) {
  Text map = text_word(&line), verb = text_word(&line);
  rule->name = text_word(&line), rule->value = line;
  if (text_equal(map, TEXT("request"))) rule->map = REQUEST_HEADERS;
  else if (text_equal(map, TEXT("response"))) rule->map = RESPONSE_HEADERS;
  else return TEXT("expected request or response, got");
  if (text_equal(verb, TEXT("set"))) rule->verb = SET;
  else if (text_equal(verb, TEXT("add"))) rule->verb = ADD;
  else if (text_equal(verb, TEXT("remove"))) rule->verb = REMOVE;
  else return TEXT("expected set, add or remove after the first word of");
  if (!rule->name.size) return TEXT("the name of the header is missing in");
  if (rule->verb == REMOVE && rule->value.size) return TEXT("remove takes no value:");
  if (rule->verb != REMOVE && !rule->value.size) return TEXT("the value is missing in");
  return TEXT("");
}

static int parse_configuration(Plugin *plugin) {
  Lines lines = {plugin->configuration, {0, 0}, 0};
  Rule **end = &plugin->rules;
  u32 count = 0;
  while (lines_next(&lines)) {
    Rule *rule = keep_alloc(sizeof(Rule));
    if (!rule) return 0;
    rule->next = 0, *end = rule, end = &rule->next, count++;
    Text wrong = parse_rule(lines.line, rule);
    if (wrong.size) return lines_refuse(&lines, wrong);
  }
  log_text(INFO, text_join(TEXT("rules: "), text_number(count), TEXT(""), TEXT("")));
  return 1;
}

u32 EXPORT(proxy_on_configure)(u32 root, u32 size) {
  scratch_reset();
  Plugin *plugin = context_find(root);
  if (!plugin) return 0;
  forget_rules(plugin);
  plugin->configuration = keep_text(get_plugin_configuration(size));
  return plugin->configuration.data && parse_configuration(plugin);
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
  if (context && !context->parent) forget_rules((Plugin *)context);
  context_delete(id);
}

/* ---- headers ------------------------------------------------------------------------------------------------- */

/* A property named in braces, `{xds.cluster_name}`, dots for the separator of the ABI. Data is 0 where it is not set. */
static Text read_property(Text name) {
  char *path = scratch_alloc(name.size), *value = 0;
  u32 size = 0;
  if (!path) return (Text){0, 0};
  for (u32 i = 0; i < name.size; i++) path[i] = name.data[i] == '.' ? 0 : name.data[i];
  if (proxy_get_property(path, name.size, &value, &size) != OK) return (Text){0, 0};
  return (Text){value, size};
}

/* The value with its properties put in. Data is 0 where one is not set: the header is then left as it is. */
static Text expand(Text value) {
  Text result = TEXT("");
  while (value.size) {
    Text literal = text_cut(&value, '{');
    int braced = literal.data + literal.size < value.data && literal.data[literal.size] == '{';
    Text property = TEXT("");
    if (braced) {
      property = read_property(text_cut(&value, '}'));
      if (!property.data) return property;
    }
    result = text_join(result, literal, property, TEXT(""));
  }
  return result;
}

static void apply(const Rule *rule) {
  if (rule->verb == REMOVE) {
    remove_header(rule->map, rule->name);
    return;
  }
  Text value = expand(rule->value);
  if (!value.data) return;
  if (rule->verb == SET) set_header(rule->map, rule->name, value);
  else add_header(rule->map, rule->name, value);
}

static u32 apply_all(u32 context, MapType map) {
  scratch_reset();
  const Stream *stream = context_find(context);
  for (const Rule *rule = stream ? stream->plugin->rules : 0; rule; rule = rule->next)
    if (rule->map == map) apply(rule);
  return CONTINUE;
}

u32 EXPORT(proxy_on_request_headers)(u32 context, u32 headers, u32 end_of_stream) {
  (void)headers, (void)end_of_stream;
  return apply_all(context, REQUEST_HEADERS);
}

u32 EXPORT(proxy_on_response_headers)(u32 context, u32 headers, u32 end_of_stream) {
  (void)headers, (void)end_of_stream;
  return apply_all(context, RESPONSE_HEADERS);
}
