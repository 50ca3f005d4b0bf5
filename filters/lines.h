/* A plugin's configuration as lines of words: blank lines and lines that begin with # do not count. */
#ifndef LINES_H
#define LINES_H

#include "proxy_wasm.h"

typedef struct { Text rest, line; u32 number; } Lines;

/* Go on to the next line that counts; 0 at the end. */
static inline int lines_next(Lines *lines) {
  while (lines->rest.size) {
    lines->line = text_trim(text_cut(&lines->rest, '\n'));
    lines->number++;
    if (lines->line.size && lines->line.data[0] != '#') return 1;
  }
  return 0;
}

/* Say in the log why the present line cannot be read: `line 3: WRONG 'the line'`. Returns 0, the plugin's refusal. */
static inline int lines_refuse(const Lines *lines, Text wrong) {
  Text place = text_join(TEXT("line "), text_number(lines->number), TEXT(": "), wrong);
  log_text(ERROR, text_join(place, TEXT(" '"), lines->line, TEXT("'")));
  return 0;
}

/* Say in the log what the configuration as a whole lacks. Returns 0. */
static inline int configuration_refuse(Text wrong) {
  log_text(ERROR, text_join(TEXT("configuration: "), wrong, TEXT(""), TEXT("")));
  return 0;
}

#endif
