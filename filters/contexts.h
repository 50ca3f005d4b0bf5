/* What a filter remembers of each context, a plugin (root) or a stream, by the id that the host gave it.
 *
 * A filter's own struct begins with a Context. Ids are unique in a VM, so one table holds both kinds.
 */
#ifndef CONTEXTS_H
#define CONTEXTS_H

#include "proxy_wasm.h"

/* `parent` is the plugin of a stream; a plugin has none, 0. */
typedef struct Context { struct Context *next; u32 id, parent, size; } Context;

enum { CONTEXT_BUCKETS = 256 };
static Context *contexts[CONTEXT_BUCKETS], *spare_contexts;

/* The context with this id; 0 where there is none. */
static inline void *context_find(u32 id) {
  Context *context = contexts[id % CONTEXT_BUCKETS];
  while (context && context->id != id) context = context->next;
  return context;
}

/* A new context of `size` bytes, zero but for its head. Without memory there is nothing to go on with: it traps. */
static inline void *context_create(u32 id, u32 parent, u32 size) {
  /* Streams are all of one size, so the first spare one fits nearly always. */
  Context **link = &spare_contexts;
  while (*link && (*link)->size != size) link = &(*link)->next;
  Context *context = *link;
  if (context) *link = context->next;
  else if (!(context = keep_alloc(size))) __builtin_trap();
  memset(context, 0, size);
  *context = (Context){contexts[id % CONTEXT_BUCKETS], id, parent, size};
  contexts[id % CONTEXT_BUCKETS] = context;
  return context;
}

static inline void context_delete(u32 id) {
  for (Context **link = &contexts[id % CONTEXT_BUCKETS]; *link; link = &(*link)->next) {
    Context *context = *link;
    if (context->id != id) continue;
    *link = context->next, context->next = spare_contexts, spare_contexts = context;
    return;
  }
}

#endif
