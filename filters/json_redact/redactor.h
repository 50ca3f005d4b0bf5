/* Replaces the values of named members in JSON text that comes in pieces, cut anywhere.
 *
 * It holds nothing back and remembers some bytes: a string is the name of a member if a colon follows it, and the
 * colon comes before the value that has to go. Text that is not JSON goes through unchanged or loses too much, never
 * too little.
 */
#ifndef REDACTOR_H
#define REDACTOR_H

#include "proxy_wasm.h"

enum { MAX_NAMES = 32, MAX_NAME = 64 };

typedef struct { Text names[MAX_NAMES]; u32 count; Text replacement; } RedactRules;

typedef enum { PLAIN, STRING, BEFORE_VALUE, SKIP_STRING, SKIP_WORD, SKIP_NESTED, SKIP_NESTED_STRING } State;

typedef struct {
  State state;
  u32 depth;       /* of brackets in the value that is skipped */
  u8 escape;       /* in a string: 0, or 1 behind a backslash, or 2 to 5 at the digits of \u */
  u8 matches;      /* the last thing was a string with one of the names */
  u8 name_size;    /* MAX_NAME + 1: too long for any name */
  u32 unit, high;  /* the \u being read, and the first half of a surrogate pair */
  char name[MAX_NAME];
} Redactor;

/* Where the output goes: nowhere when only its size is asked for. */
typedef struct { char *bytes; u32 size; } Output;

static inline void emit(Output *output, char c) {
  if (output->bytes) output->bytes[output->size] = c;
  output->size++;
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static inline void name_add(Redactor *redactor, u32 byte) {
  if (redactor->name_size < MAX_NAME) redactor->name[redactor->name_size++] = (char)byte;
  else redactor->name_size = MAX_NAME + 1;
}

/* A character as UTF-8. */
static inline void name_add_character(Redactor *redactor, u32 c) {
  if (c < 0x80) name_add(redactor, c);
  else if (c < 0x800) name_add(redactor, 0xc0 | c >> 6);
  else if (c < 0x10000) name_add(redactor, 0xe0 | c >> 12);
  else name_add(redactor, 0xf0 | c >> 18), name_add(redactor, 0x80 | (c >> 12 & 63));
  if (c >= 0x800) name_add(redactor, 0x80 | (c >> 6 & 63));
  if (c >= 0x80) name_add(redactor, 0x80 | (c & 63));
}

/* One UTF-16 unit of a \u; two of them can make one character. */
static inline void name_add_unit(Redactor *redactor, u32 unit) {
  int second = unit >= 0xdc00 && unit < 0xe000 && redactor->high;
  if (unit >= 0xd800 && unit < 0xdc00) {
    redactor->high = unit;
    return;
  }
  name_add_character(redactor, second ? 0x10000 + ((redactor->high - 0xd800) << 10) + (unit - 0xdc00) : unit);
  redactor->high = 0;
}

static inline int name_matches(const Redactor *redactor, const RedactRules *rules) {
  for (u32 i = 0; i < rules->count; i++)
    if (text_equal_nocase((Text){redactor->name, redactor->name_size}, rules->names[i])) return 1;
  return 0;
}

/* ---- strings -------------------------------------------------------------------------------------------------- */

static inline u32 hex_digit(char c) {
  return is_digit(c) ? (u32)(c - '0') : lower(c) >= 'a' && lower(c) <= 'f' ? (u32)(lower(c) - 'a' + 10) : 0;
}

/* The character that a backslash and `c` stand for. */
static inline char unescaped(char c) {
  return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c == 'f' ? '\f' : c;
}

/* One byte of a string that may be a name. Returns whether the string ends here. */
static inline int string_byte(Redactor *redactor, char c) {
  if (redactor->escape > 1) {
    redactor->unit = redactor->unit << 4 | hex_digit(c);
    redactor->escape++;
    if (redactor->escape == 6) redactor->escape = 0, name_add_unit(redactor, redactor->unit);
  } else if (redactor->escape == 1) {
    redactor->escape = c == 'u' ? 2 : 0, redactor->unit = 0;
    if (c != 'u') name_add(redactor, (u8)unescaped(c));
  } else if (c == '\\') {
    redactor->escape = 1;
  } else if (c == '"') {
    return 1;
  } else {
    name_add(redactor, (u8)c);
  }
  return 0;
}

/* One byte of a string that is skipped. Returns whether the string ends here. */
static inline int skipped_string_byte(Redactor *redactor, char c) {
  if (redactor->escape) redactor->escape = 0;
  else if (c == '\\') redactor->escape = 1;
  else return c == '"';
  return 0;
}

/* ---- values --------------------------------------------------------------------------------------------------- */

static inline int is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static inline void plain_byte(Redactor *redactor, char c, Output *output) {
  emit(output, c);
  if (c == '"') redactor->state = STRING, redactor->name_size = 0, redactor->escape = 0, redactor->high = 0;
  else if (c == ':' && redactor->matches) redactor->state = BEFORE_VALUE;
  if (!is_space(c)) redactor->matches = 0;
}

/* The first byte of a value that has to go; blanks before it stay. */
static inline void value_byte(Redactor *redactor, const RedactRules *rules, char c, Output *output) {
  if (is_space(c)) {
    emit(output, c);
    return;
  }
  if (c == ',' || c == '}' || c == ']') { /* there is no value */
    redactor->state = PLAIN;
    plain_byte(redactor, c, output);
    return;
  }
  for (u32 i = 0; i < rules->replacement.size; i++) emit(output, rules->replacement.data[i]);
  redactor->escape = 0, redactor->depth = 1;
  redactor->state = c == '"' ? SKIP_STRING : c == '{' || c == '[' ? SKIP_NESTED : SKIP_WORD;
}

static inline void nested_byte(Redactor *redactor, char c) {
  if (c == '"') redactor->state = SKIP_NESTED_STRING, redactor->escape = 0;
  else if (c == '{' || c == '[') redactor->depth++;
  else if ((c == '}' || c == ']') && --redactor->depth == 0) redactor->state = PLAIN;
}

/* Take one more piece of the text; what is left of it goes to `output`. Returns whether anything was left out. */
static inline int redact(Redactor *redactor, const RedactRules *rules, Text piece, Output *output) {
  int changed = redactor->state > BEFORE_VALUE;
  for (u32 i = 0; i < piece.size; i++) {
    char c = piece.data[i];
    switch (redactor->state) {
    case PLAIN: plain_byte(redactor, c, output); break;
    case STRING:
      emit(output, c);
      if (string_byte(redactor, c)) redactor->state = PLAIN, redactor->matches = (u8)name_matches(redactor, rules);
      break;
    case BEFORE_VALUE: value_byte(redactor, rules, c, output); break;
    case SKIP_STRING: if (skipped_string_byte(redactor, c)) redactor->state = PLAIN; break;
    case SKIP_NESTED: nested_byte(redactor, c); break;
    case SKIP_NESTED_STRING: if (skipped_string_byte(redactor, c)) redactor->state = SKIP_NESTED; break;
    case SKIP_WORD:
      if (!is_space(c) && c != ',' && c != '}' && c != ']') break;
      redactor->state = PLAIN;
      plain_byte(redactor, c, output);
    }
    changed |= redactor->state > BEFORE_VALUE;
  }
  return changed;
}

#endif
