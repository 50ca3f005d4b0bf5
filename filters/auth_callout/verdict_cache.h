/* Verdicts of the auth service in a bounded part of the shared data: SLOTS records, found by the question's digest.
 *
 * Two questions that fall into one slot drive each other out; the digest in the record says whose it is.
 */
#ifndef VERDICT_CACHE_H
#define VERDICT_CACHE_H

#include "proxy_wasm.h"
#include "sha256.h"

enum { SLOTS = 2048, MAX_RECORD = 4096 };

/* What the service answered: `headers` encoded as a map, those that concern the app or the client. */
typedef struct { u32 status; Text headers, body; } Verdict;

typedef struct { Digest question; u64 expires; u32 status, headers_size; } RecordHead;

static inline Text slot_name(const Digest *question) {
  u32 slot = (question->bytes[0] | (u32)question->bytes[1] << 8) % SLOTS;
  return text_join(TEXT("auth_callout."), text_number(slot), TEXT(""), TEXT(""));
}

/* The verdict on this question, where one is known at `now`. */
static inline int verdict_find(const Digest *question, u64 now, Verdict *verdict) {
  Text name = slot_name(question), record = {0, 0};
  char *data = 0;
  u32 cas = 0;
  RecordHead head;
  if (proxy_get_shared_data(name.data, name.size, &data, &record.size, &cas) != OK) return 0;
  if (record.size < sizeof head) return 0;
  memcpy(&head, data, sizeof head);
  if (!digest_equal(&head.question, question) || now >= head.expires) return 0;
  if (head.headers_size > record.size - sizeof head) return 0;
  Text headers = {data + sizeof head, head.headers_size};
  Text body = {headers.data + headers.size, record.size - (u32)sizeof head - headers.size};
  *verdict = (Verdict){head.status, headers, body};
  return 1;
}

/* Remember a verdict until `expires`; one that is too large is asked for again instead. */
static inline void verdict_store(const Digest *question, u64 expires, const Verdict *verdict) {
  RecordHead head = {*question, expires, verdict->status, verdict->headers.size};
  Text name = slot_name(question), bytes = {(const char *)&head, sizeof head};
  Text record = text_join(bytes, verdict->headers, verdict->body, TEXT(""));
  if (record.data && record.size <= MAX_RECORD)
    proxy_set_shared_data(name.data, name.size, record.data, record.size, 0);
}

#endif
