/* UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits; ids sort by creation. */
#ifndef TR_BASE_UUID_H
#define TR_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR_UUID_TEXT 37 /* 36 characters and NUL */

typedef struct tr_uuid {
    uint8_t bytes[16];
} tr_uuid;

/* A new id. Within one process ids are strictly increasing, also within one millisecond and when the clock
 * goes back. Aborts the process if the system has no randomness. Thread-safe. */
tr_uuid tr_uuid_new(void);
void tr_uuid_format(const tr_uuid *id, char out[TR_UUID_TEXT]);
/* Read the canonical 36-character form (either case; `len` must be 36). Any version is taken. */
bool tr_uuid_parse(const char *text, size_t len, tr_uuid *id);
bool tr_uuid_equal(const tr_uuid *a, const tr_uuid *b);
bool tr_uuid_is_nil(const tr_uuid *id);

#endif
