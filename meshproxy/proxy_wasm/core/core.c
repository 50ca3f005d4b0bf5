/* The ABI core: the hostcalls on one header map, answered inside Wasm.
 *
 * It owns one map at a time, in the ABI's own encoding (u32 count, count x (u32 key size, u32 value
 * size), count x (key NUL value NUL)), which Python puts into `block` before a headers callback,
 * without the sizes, and takes back after it if it was changed. Whatever it does not know it hands to the Python hostcall of
 * the same name: another map, a name or value that needs care, a map that grows too large, a pointer
 * outside of the guest's memory. Nothing is changed before it is clear that nothing can go wrong.
 *
 * The guest's memory and allocator are behind the functions of the glue (`link.py`), because C knows
 * one memory only. Twins in Python: `hostcalls.py` and `context.py`. */

typedef unsigned int u32;
typedef unsigned char u8;
typedef unsigned long long u64;

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

enum {
  OK = 0,
  NOT_FOUND = 1,
  INVALID_MEMORY_ACCESS = 6,
  NONE = 0xffffffff,
  CAPACITY = 1 << 17,
  ROOM = 1 << 13, /* behind the map, for a name or a value before it is accepted */
  MAX_PAIRS = 1024,
  MAX_NAME = 256,
  MAX_VALUE = ROOM,
};

/* The glue: copies between the two memories; 0 where the guest's range is not in its memory. */
u32 IMPORT(read) glue_read(void *to, u32 guest, u32 size);
u32 IMPORT(write) glue_write(u32 guest, const void *from, u32 size);
u32 IMPORT(allocate) glue_allocate(u32 size);
/* Two words of the guest: where something is, and its size. */
u32 IMPORT(point) glue_point(u32 data_at, u32 data, u32 size_at, u32 size);

/* The Python hostcalls. */
u32 IMPORT(proxy_get_header_map_value) slow_get(u32, u32, u32, u32, u32);
u32 IMPORT(proxy_add_header_map_value) slow_add(u32, u32, u32, u32, u32);
u32 IMPORT(proxy_replace_header_map_value) slow_replace(u32, u32, u32, u32, u32);
u32 IMPORT(proxy_remove_header_map_value) slow_remove(u32, u32, u32);
u32 IMPORT(proxy_get_header_map_pairs) slow_pairs(u32, u32, u32);
u32 IMPORT(proxy_get_header_map_size) slow_size(u32, u32);

/* What Python reads and writes: see `abi_core.py`. `changed`: 1 + index of the first changed pair;
 * `unchanged`: the size of the pairs before it; `unsized`: how many pairs a map has whose sizes are
 * not in its table yet, else NONE. */
static struct {
  u32 map, changed, size, missing_is_slow, unchanged, unsized;
} state = {NONE, 0, 0, 0, 0, NONE};
static u8 block[CAPACITY + ROOM];
static u8 name[MAX_NAME];
/* Names whose second value is joined with the first, from Python: u8 size, name, ..., 0. */
static u8 joined[4096];

void *EXPORT(state) state_address(void) { return &state; }
void *EXPORT(block) block_address(void) { return block; }
void *EXPORT(joined) joined_address(void) { return joined; }

static u32 *words(void) { return (u32 *)block; }
static u32 key_size(u32 index) { return words()[1 + 2 * index]; }
static u32 value_size(u32 index) { return words()[2 + 2 * index]; }
static u32 pair_size(u32 index) { return key_size(index) + value_size(index) + 2; }

static void move(void *to, const void *from, u32 size) { __builtin_memmove(to, from, size); }

static int same(const u8 *a, const u8 *b, u32 size) {
  while (size--)
    if (*a++ != *b++) return 0;
  return 1;
}

/* The next NUL from `at` on, at most `end`. */
static u32 next_nul(u32 at, u32 end) {
  static const u64 ones = 0x0101010101010101, tops = 0x8080808080808080;
  while (at < end) { /* reads up to seven bytes behind `end`, which are in the block */
    u64 eight;
    __builtin_memcpy(&eight, block + at, 8);
    u64 zeros = (eight - ones) & ~eight & tops;
    if (zeros) {
      at += (u32)__builtin_ctzll(zeros) / 8;
      return at < end ? at : end;
    }
    at += 8;
  }
  return end;
}

/* The map's table, from where the NULs are. Where they are not as many as they should be, some text
 * has one inside: then there is no map here. */
static int measure(void) {
  u32 count = state.unsized, at = 4 + 8 * count;
  words()[0] = count;
  for (u32 i = 1; i <= 2 * count; i++) {
    u32 nul = next_nul(at, state.size);
    words()[i] = nul - at;
    at = nul + 1;
  }
  if (at != state.size) {
    state.map = NONE;
    return 0;
  }
  state.unsized = NONE;
  return 1;
}

/* Whether this is the map that is here. */
static int is_here(u32 map) { return map == state.map && (state.unsized == NONE || measure()); }

/* RFC 9110, 5.6.2: what a field name is made of, in lower case; 0 for anything else. */
static u8 token(u8 c) {
  if (c >= 'a' && c <= 'z') return c;
  if (c >= 'A' && c <= 'Z') return c | 0x20;
  if (c >= '0' && c <= '9') return c;
  switch (c) {
    case '!': case '#': case '$': case '%': case '&': case '\'': case '*': case '+':
    case '-': case '.': case '^': case '_': case '`': case '|': case '~':
      return c;
  }
  return 0;
}

/* The guest's name into `name`, as it stands in a map. 0: Python has to look at it. A pseudo header
 * may be read here, but not written: it has rules of its own. */
static u32 read_name(u32 guest, u32 size, int reading) {
  static const u8 host[] = "host", authority[] = ":authority";
  if (!size || size > MAX_NAME || !glue_read(name, guest, size)) return 0;
  u32 start = reading && name[0] == ':';
  if (start && size == 1) return 0;
  for (u32 i = start; i < size; i++)
    if (!(name[i] = token(name[i]))) return 0;
  if (size != 4 || !same(name, host, 4)) return size;
  if (!reading) return 0;
  move(name, authority, sizeof authority - 1);
  return sizeof authority - 1;
}

/* The first pair from `from` on with this name, NONE if there is none; `*at` is its offset. */
static u32 find(u32 size, u32 from, u32 *at) {
  u32 count = words()[0];
  for (u32 i = from; i < count; *at += pair_size(i++))
    if (key_size(i) == size && same(block + *at, name, size)) return i;
  return NONE;
}

static int is_joined(u32 size) {
  for (const u8 *at = joined; *at; at += *at + 1)
    if (*at == size && same(at + 1, name, size)) return 1;
  return 0;
}

static u32 data_start(void) { return 4 + 8 * words()[0]; }

static void changed_from(u32 index, u32 before) {
  if (state.changed && index + 1 >= state.changed) return;
  state.changed = index + 1;
  state.unchanged = before;
}

/* Bytes into the guest's memory, by its own allocator; their address and size to where it wants. */
static u32 give(const u8 *data, u32 size, u32 data_at, u32 size_at) {
  u32 guest = 0;
  if (size) {
    guest = glue_allocate(size);
    if (!guest || !glue_write(guest, data, size)) return INVALID_MEMORY_ACCESS;
  }
  return glue_point(data_at, guest, size_at, size) ? OK : INVALID_MEMORY_ACCESS;
}

/* The guest's value to behind the map. 0: Python has to look at it. */
static int read_value(u32 guest, u32 size) {
  u8 *value = block + state.size;
  if (size > MAX_VALUE || state.size > CAPACITY || !glue_read(value, guest, size)) return 0;
  for (u32 i = 0; i < size; i++)
    if (value[i] == '\r' || value[i] == '\n' || value[i] == 0) return 0;
  return 1;
}

/* A new last pair: `name`, and the value that stands behind the map. 0: there is no room. */
static int append(u32 size, u32 value) {
  u32 count = words()[0], start = data_start(), end = state.size;
  if (count >= MAX_PAIRS || end + size + value + 10 > CAPACITY) return 0;
  move(block + end + 8 + size + 1, block + end, value);
  move(block + start + 8, block + start, end - start);
  u8 *at = block + end + 8;
  move(at, name, size);
  at[size] = 0;
  at[size + 1 + value] = 0;
  words()[1 + 2 * count] = size;
  words()[2 + 2 * count] = value;
  words()[0] = count + 1;
  state.size = end + size + value + 10;
  changed_from(count, end - start);
  return 1;
}

/* Another value, the one behind the map, for the pair at `at`. 0: there is no room. */
static int exchange(u32 index, u32 at, u32 value) {
  u32 from = at + key_size(index) + 1, old = value_size(index), end = state.size;
  if (end - old + value > CAPACITY) return 0;
  /* First the rest moves, with the new value behind it, then that takes its place. */
  move(block + from + value, block + from + old, end + value - from - old);
  move(block + from, block + end - old + value, value);
  words()[2 + 2 * index] = value;
  state.size = end - old + value;
  changed_from(index, at - data_start());
  return 1;
}

static void drop(u32 index, u32 at) {
  u32 count = words()[0], size = pair_size(index), start = data_start();
  move(block + at, block + at + size, state.size - at - size);
  move(words() + 1 + 2 * index, words() + 3 + 2 * index, (count - index - 1) * 8);
  move(block + start - 8, block + start, state.size - size - start);
  words()[0] = count - 1;
  state.size -= size + 8;
  changed_from(index, at - start);
}

u32 EXPORT(proxy_get_header_map_value)
    get_value(u32 map, u32 key, u32 size, u32 data_at, u32 size_at) {
  u32 length = is_here(map) ? read_name(key, size, 1) : 0, at = data_start();
  if (!length) return slow_get(map, key, size, data_at, size_at);
  u32 index = find(length, 0, &at);
  if (index != NONE) return give(block + at + length + 1, value_size(index), data_at, size_at);
  return state.missing_is_slow ? slow_get(map, key, size, data_at, size_at) : NOT_FOUND;
}

u32 EXPORT(proxy_add_header_map_value)
    add_value(u32 map, u32 key, u32 size, u32 value, u32 value_size) {
  u32 length = is_here(map) ? read_name(key, size, 0) : 0, at = data_start();
  if (length && (find(length, 0, &at) == NONE || !is_joined(length)) &&
      read_value(value, value_size) && append(length, value_size))
    return OK;
  return slow_add(map, key, size, value, value_size);
}

u32 EXPORT(proxy_replace_header_map_value)
    replace_value(u32 map, u32 key, u32 size, u32 value, u32 value_size) {
  u32 length = is_here(map) ? read_name(key, size, 0) : 0, at = data_start();
  if (length && read_value(value, value_size)) {
    u32 index = find(length, 0, &at);
    if (index == NONE) {
      if (append(length, value_size)) return OK;
    } else {
      u32 next = at + pair_size(index);
      if (find(length, index + 1, &next) == NONE && exchange(index, at, value_size)) return OK;
    }
  }
  return slow_replace(map, key, size, value, value_size);
}

u32 EXPORT(proxy_remove_header_map_value) remove_value(u32 map, u32 key, u32 size) {
  u32 length = is_here(map) ? read_name(key, size, 0) : 0, at = data_start(), index = 0;
  if (!length) return slow_remove(map, key, size);
  while ((index = find(length, index, &at)) != NONE) {
    drop(index, at);
    at -= 8; /* the table before the data has become shorter */
  }
  return OK;
}

u32 EXPORT(proxy_get_header_map_pairs) get_pairs(u32 map, u32 data_at, u32 size_at) {
  if (!is_here(map) || !words()[0]) return slow_pairs(map, data_at, size_at);
  return give(block, state.size, data_at, size_at);
}

u32 EXPORT(proxy_get_header_map_size) get_size(u32 map, u32 at) {
  if (!is_here(map)) return slow_size(map, at);
  u32 total = state.size - data_start() - 2 * words()[0];
  return glue_write(at, &total, 4) ? OK : INVALID_MEMORY_ACCESS;
}
