/* Token buckets of many keys in a bounded part of the shared data: a set-associative table.
 *
 * A key belongs to one of SETS records by its hash; a record holds the buckets of WAYS keys. One request reads and
 * writes one record, with compare-and-swap, so workers that share the data count together. Where a record is full,
 * the bucket with most tokens makes room: its key loses the least.
 */
#ifndef BUCKET_H
#define BUCKET_H

#include "proxy_wasm.h"

enum { SETS = 4096, WAYS = 4, ATTEMPTS = 16 };
#define SECOND 1000000000ull

/* `burst` tokens at most, `requests` new ones in `period` nanoseconds. */
typedef struct { u64 burst, requests, period; } Limit;

/* `missing`: how far the bucket is from full at `updated`, as the time that it takes to refill. Times make the
 * arithmetic exact where tokens would be fractions. A bucket of zeros belongs to nobody. */
typedef struct { u64 key, updated, missing; } Bucket;
typedef struct { Bucket ways[WAYS]; } Record;

/* What became of one request. `wait` and `reset` in nanoseconds: until there is a token, until all are there. */
typedef struct { u32 allowed; u64 remaining, wait, reset; } Verdict;

/* The time in which one token comes. */
static inline u64 token_time(const Limit *limit) { return limit->period / limit->requests; }

static inline u64 hash_key(Text text) {
  u64 value = 14695981039346656037u;
  for (u32 i = 0; i < text.size; i++) value = (value ^ (u8)text.data[i]) * 1099511628211u;
  value = (value ^ value >> 33) * 0xff51afd7ed558ccdu;
  value ^= value >> 33;
  return value ? value : 1; /* 0 belongs to nobody */
}

/* How long the bucket still takes to be full. A clock that was set back refills nothing and takes nothing. */
static inline u64 missing_at(const Bucket *bucket, u64 now) {
  u64 elapsed = now > bucket->updated ? now - bucket->updated : 0;
  return bucket->missing > elapsed ? bucket->missing - elapsed : 0;
}

/* The key's bucket, or the one that makes room for it. */
static inline Bucket *find_bucket(Record *record, u64 key, u64 now) {
  Bucket *fullest = record->ways;
  for (u32 i = 0; i < WAYS; i++) {
    Bucket *bucket = &record->ways[i];
    if (bucket->key == key) return bucket;
    if (missing_at(bucket, now) < missing_at(fullest, now)) fullest = bucket;
  }
  *fullest = (Bucket){key, now, 0};
  return fullest;
}

/* Take a token where there is one. */
static inline Verdict take_token(const Limit *limit, Bucket *bucket, u64 now) {
  u64 one = token_time(limit), most = one * limit->burst, missing = missing_at(bucket, now);
  if (missing > most) missing = most; /* the limit was another one when this was stored */
  u32 allowed = missing + one <= most;
  if (allowed) missing += one;
  bucket->missing = missing, bucket->updated = now;
  return (Verdict){allowed, (most - missing) / one, allowed ? 0 : missing + one - most, missing};
}

/* The name of the record in the shared data, `rate_limit.SCOPE.` and four hexadecimal digits. */
static inline Text record_name(Text scope, u64 key) {
  char digits[4];
  for (u32 i = 0; i < 4; i++) digits[i] = "0123456789abcdef"[key % SETS >> (12 - 4 * i) & 15];
  return text_join(TEXT("rate_limit."), scope, TEXT("."), (Text){digits, sizeof digits});
}

/* Count one request of `key`. Where other workers were faster ATTEMPTS times in a row it is let through. */
static inline Verdict count_request(const Limit *limit, Text scope, u64 key, u64 now) {
  Text name = record_name(scope, key);
  for (u32 attempt = 0; attempt < ATTEMPTS; attempt++) {
    Record record = {0};
    char *stored = 0;
    u32 size = 0, cas = 0;
    if (proxy_get_shared_data(name.data, name.size, &stored, &size, &cas) == OK && size == sizeof record)
      memcpy(&record, stored, sizeof record);
    Verdict verdict = take_token(limit, find_bucket(&record, key, now), now);
    Status status = proxy_set_shared_data(name.data, name.size, (const char *)&record, sizeof record, cas);
    if (status != CAS_MISMATCH) return verdict;
  }
  log_text(WARN, TEXT("a request was not counted: the shared data changed at every attempt"));
  return (Verdict){1, 0, 0, 0};
}

#endif
