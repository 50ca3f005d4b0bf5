/* Reads members of a small JSON object (RFC 8259) that is in memory as a whole: the claims of a JWT. */
#ifndef JSON_H
#define JSON_H

#include "proxy_wasm.h"

enum { JSON_MAX_DEPTH = 32 };

/* What is left to read. `broken` stays set once something was not JSON. */
typedef struct { Text rest; int broken; } Json;
typedef enum { JSON_NONE, JSON_STRING, JSON_NUMBER, JSON_OBJECT, JSON_ARRAY, JSON_WORD } JsonType;
/* A value as it is written; a string without its quotation marks, its escapes as they are. */
typedef struct { JsonType type; Text text; } JsonValue;

static inline char json_peek(Json *json) {
  while (json->rest.size && (*json->rest.data == ' ' || *json->rest.data == '\t' || *json->rest.data == '\n' ||
                             *json->rest.data == '\r'))
    json->rest.data++, json->rest.size--;
  return json->rest.size ? *json->rest.data : 0;
}

static inline void json_skip(Json *json, u32 n) { json->rest.data += n, json->rest.size -= n; }

/* Take `c`, or break. */
static inline void json_expect(Json *json, char c) {
  if (json_peek(json) == c) json_skip(json, 1);
  else json->broken = 1;
}

static inline Text json_string(Json *json) {
  json_expect(json, '"');
  Text text = {json->rest.data, 0};
  while (!json->broken && text.size < json->rest.size && text.data[text.size] != '"')
    text.size += text.data[text.size] == '\\' ? 2 : 1;
  if (json->broken || text.size >= json->rest.size) {
    json->broken = 1;
    return (Text){0, 0};
  }
  json_skip(json, text.size + 1);
  return text;
}

/* Digits, signs, letters and the point: a number or one of true, false and null. */
static inline Text json_word(Json *json) {
  Text text = {json->rest.data, 0};
  while (text.size < json->rest.size) {
    char c = text.data[text.size];
    if (!is_digit(c) && !(lower(c) >= 'a' && lower(c) <= 'z') && c != '-' && c != '+' && c != '.') break;
    text.size++;
  }
  if (!text.size) json->broken = 1;
  json_skip(json, text.size);
  return text;
}

/* Skip an object or an array, whose brackets must pair; what stands between them is not looked at more closely. */
static inline Text json_nested(Json *json) {
  Text text = {json->rest.data, 0};
  char closing[JSON_MAX_DEPTH];
  u32 depth = 0;
  do {
    char c = json_peek(json);
    if (c == '"') {
      json_string(json);
      continue;
    }
    if (!c || ((c == '{' || c == '[') && depth == JSON_MAX_DEPTH)) json->broken = 1;
    else if (c == '{') closing[depth++] = '}';
    else if (c == '[') closing[depth++] = ']';
    else if ((c == '}' || c == ']') && closing[--depth] != c) json->broken = 1;
    if (!json->broken) json_skip(json, 1);
  } while (depth && !json->broken);
  text.size = (u32)(json->rest.data - text.data);
  return text;
}

static inline JsonValue json_value(Json *json) {
  char c = json_peek(json);
  if (c == '"') return (JsonValue){JSON_STRING, json_string(json)};
  if (c == '{') return (JsonValue){JSON_OBJECT, json_nested(json)};
  if (c == '[') return (JsonValue){JSON_ARRAY, json_nested(json)};
  return (JsonValue){is_digit(c) || c == '-' ? JSON_NUMBER : JSON_WORD, json_word(json)};
}

/* Find `name` in the object that `text` is, the last one where it stands twice. 0 where `text` is no object. */
static inline int json_member(Text text, Text name, JsonValue *found) {
  Json json = {text, 0};
  *found = (JsonValue){JSON_NONE, {0, 0}};
  json_expect(&json, '{');
  int more = json_peek(&json) != '}';
  while (more && !json.broken) {
    json_peek(&json);
    Text key = json_string(&json);
    json_expect(&json, ':');
    JsonValue value = json_value(&json);
    if (text_equal(key, name)) *found = value;
    more = json_peek(&json) == ',';
    if (more) json_skip(&json, 1);
  }
  json_expect(&json, '}');
  return !json.broken && !json_peek(&json) && !json.rest.size;
}

/* Whether an array holds this string. */
static inline int json_array_holds(Text array, Text wanted) {
  Json json = {array, 0};
  json_expect(&json, '[');
  while (!json.broken && json_peek(&json) != ']') {
    JsonValue value = json_value(&json);
    if (!json.broken && value.type == JSON_STRING && text_equal(value.text, wanted)) return 1;
    if (json_peek(&json) == ',') json_skip(&json, 1);
  }
  return 0;
}

#endif
