/* Base64 with the URL alphabet and without padding (RFC 4648, 5), as the parts of a JWT are written. */
#ifndef BASE64URL_H
#define BASE64URL_H

#include "proxy_wasm.h"

static inline int base64url_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (is_digit(c)) return c - '0' + 52;
  return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* The bytes in scratch memory; data is 0 where the text is not exactly what an encoder writes. */
static inline Text base64url_decode(Text text) {
  char *bytes = scratch_alloc(text.size / 4 * 3 + 3);
  u32 size = 0, bits = 0, held = 0;
  if (!bytes || text.size % 4 == 1) return (Text){0, 0};
  for (u32 i = 0; i < text.size; i++) {
    int value = base64url_value(text.data[i]);
    if (value < 0) return (Text){0, 0};
    held = held << 6 | (u32)value, bits += 6;
    if (bits >= 8) bits -= 8, bytes[size++] = (char)(held >> bits), held &= (1u << bits) - 1;
  }
  if (held) return (Text){0, 0}; /* two texts for the same bytes would be two tokens */
  return (Text){bytes, size};
}

#endif
