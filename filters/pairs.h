/* Header maps as the bytes of the ABI: a count, the sizes, then names and values, each ended by a NUL. */
#ifndef PAIRS_H
#define PAIRS_H

#include "proxy_wasm.h"

typedef struct { Text name, value; } Pair;

/* A map under construction. Room is for MAX_PAIRS; what is more is left out and `truncated` says so. */
enum { MAX_PAIRS = 64 };
typedef struct { Pair pairs[MAX_PAIRS]; u32 count, truncated; } Pairs;

static inline void pairs_add(Pairs *pairs, Text name, Text value) {
  if (pairs->count == MAX_PAIRS) pairs->truncated = 1;
  else pairs->pairs[pairs->count++] = (Pair){name, value};
}

static inline char *put_bytes(char *at, Text text) {
  memcpy(at, text.data, text.size);
  at[text.size] = 0;
  return at + text.size + 1;
}

/* The map in scratch memory; data is 0 where there is no room. */
static inline Text pairs_encode(const Pairs *pairs) {
  u32 size = 4 + 8 * pairs->count;
  for (u32 i = 0; i < pairs->count; i++) size += pairs->pairs[i].name.size + pairs->pairs[i].value.size + 2;
  char *data = scratch_alloc(size);
  if (!data) return (Text){0, 0};
  u32 *words = (u32 *)data; /* scratch memory is aligned to 8 */
  *words++ = pairs->count;
  for (u32 i = 0; i < pairs->count; i++) *words++ = pairs->pairs[i].name.size, *words++ = pairs->pairs[i].value.size;
  char *at = (char *)words;
  for (u32 i = 0; i < pairs->count; i++)
    at = put_bytes(put_bytes(at, pairs->pairs[i].name), pairs->pairs[i].value);
  return (Text){data, size};
}

/* Walks over an encoded map: `for (Walk walk = pairs_walk(map); pairs_next(&walk);) use(walk.pair)`. */
typedef struct { Text map; Pair pair; u32 index, count, at; } Walk;

static inline u32 word_at(Text text, u32 at) {
  u32 word;
  memcpy(&word, text.data + at, 4);
  return word;
}

static inline Walk pairs_walk(Text map) {
  Walk walk = {map, {{0, 0}, {0, 0}}, 0, 0, 0};
  if (map.size < 4) return walk;
  u32 count = word_at(map, 0);
  if (count > (map.size - 4) / 8) return walk;
  walk.count = count, walk.at = 4 + 8 * count;
  return walk;
}

/* Whether there is one more pair. A map that is not whole ends where it is cut off. */
static inline int pairs_next(Walk *walk) {
  if (walk->index == walk->count) return 0;
  u32 name = word_at(walk->map, 4 + 8 * walk->index), value = word_at(walk->map, 8 + 8 * walk->index);
  u32 left = walk->map.size - walk->at;
  if (name >= left || value >= left || name + value + 2 > left) return 0;
  const char *data = walk->map.data + walk->at;
  walk->pair = (Pair){{data, name}, {data + name + 1, value}};
  walk->at += name + value + 2, walk->index++;
  return 1;
}

/* All headers of a map, in scratch memory. */
static inline Text get_pairs(MapType map) {
  char *data = 0;
  u32 size = 0;
  if (proxy_get_header_map_pairs(map, &data, &size) != OK) return (Text){0, 0};
  return (Text){data, size};
}

/* Answer the request here. `details` goes into the access log as the response code details. */
static inline void send_response(u32 status, Text details, const Pairs *headers, Text body) {
  Text encoded = pairs_encode(headers);
  proxy_send_local_response(status, details.data, details.size, body.data, body.size, encoded.data, encoded.size,
                            0xffffffffu);
}

#endif
