/* Shared by the snapshot_*.c files of the format only, and its tests. */
#ifndef TR_VAULT_SNAPSHOT_INTERNAL_H
#define TR_VAULT_SNAPSHOT_INTERNAL_H

#include "crypto/hpke.h"
#include "vault/snapshot_format.h"

#define TR_SNAPSHOT_MAGIC     "TRESOR\x1a\n"
#define TR_SNAPSHOT_MAGIC_LEN 8
#define TR_SNAPSHOT_JSON_MAX  ((size_t)16 * 1024)
#define TR_SNAPSHOT_INFO      "tresor-snapshot-1" /* HPKE's info */

/* The first byte of a block. */
#define TR_SNAPSHOT_PAGE 0x01
#define TR_SNAPSHOT_FILE 0x02
#define TR_SNAPSHOT_END  0xff

#define TR_SNAPSHOT_PAGE_HEAD 5  /* after the first byte: database, number */
#define TR_SNAPSHOT_END_LEN   12 /* after the first byte: pages, files */

/* All that stands before the sealed stream. Zero-initialise it; free with tr_snapshot_envelope_clear. */
typedef struct tr_snapshot_envelope {
    tr_snapshot_head head;
    tr_buf wrapped; /* the file's key, wrapped by the master key head.master */
    uint8_t
        sealed[TR_HPKE_OVERHEAD + TR_STREAM_KEY_LEN]; /* and encrypted to head.recovery, when there is one */
    uint8_t prefix[TR_STREAM_PREFIX_LEN];
    uint8_t sum[TR_SHA256_LEN];
} tr_snapshot_envelope;

/* NULL, or what is wrong with it, as a sentence. */
const char *tr_snapshot_head_fault(const tr_snapshot_head *head);
bool tr_snapshot_name_good(const char *name, size_t len);

/* What HPKE binds the key to: the head's JSON without its member `keys`. */
tr_status tr_snapshot_bound(const tr_snapshot_head *head, tr_buf *out, tr_error *err);
/* Append the bytes; `sum` is made. */
tr_status tr_snapshot_envelope_print(tr_snapshot_envelope *envelope, tr_buf *out, tr_error *err);
/* Errors as of tr_snapshot_peek. */
tr_status tr_snapshot_envelope_read(tr_stream_source_fn source, void *context, tr_snapshot_envelope *envelope,
                                    tr_error *err);
void tr_snapshot_envelope_clear(tr_snapshot_envelope *envelope);

/* The last page that passed; zero-initialise it. Writer and reader ask the same questions. */
typedef struct tr_snapshot_cursor {
    size_t database;
    uint32_t number;
} tr_snapshot_cursor;

/* May this page come now? Then the cursor is on it. */
bool tr_snapshot_cursor_step(tr_snapshot_cursor *cursor, const tr_snapshot_head *head, size_t database,
                             uint32_t number);
/* Has every page come that must? */
bool tr_snapshot_cursor_done(const tr_snapshot_cursor *cursor, const tr_snapshot_head *head);

/* Big endian. */
static inline void tr_snapshot_put(uint8_t *out, size_t bytes, uint64_t value) {
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static inline uint64_t tr_snapshot_get(const uint8_t *in, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

#endif
