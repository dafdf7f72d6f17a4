/* Which files of a target make up a moment: a snapshot with those that it is put upon, and the segments of
 * the log behind it. Not for other layers.
 *
 * In the target: snapshots/ID.tresor, log/LOG/NUMBER.tresor. A log is what one run of the server shipped: its
 * segments are counted from 1 without a gap, and each but the first names the SHA-256 of the one before it. A
 * snapshot says behind which segment its moment lies.
 */
#ifndef TR_VAULT_SNAPSHOT_CHAIN_H
#define TR_VAULT_SNAPSHOT_CHAIN_H

#include "vault/snapshot_format.h"
#include "vault/snapshot_target.h"

#define TR_TARGET_LOG         "log"
#define TR_TARGET_KEY_CHANGES "keys-changes.tresor"
#define TR_CHAIN_NAME         96 /* room for a name in the target */

/* log/LOG/NUMBER.tresor */
void tr_segment_name(const tr_uuid *log, int64_t number, char name[TR_CHAIN_NAME]);
/* The number of a segment's file by its name, 0: it is none. */
int64_t tr_segment_number(const char *name);

typedef struct tr_chain_item {
    char name[TR_CHAIN_NAME];
    tr_snapshot_head head;
} tr_chain_item;

typedef struct tr_chain {
    tr_chain_item *items; /* a full snapshot, then incremental ones */
    size_t count, room;
    tr_uuid log; /* and these segments, when last is not 0 */
    int64_t first, last;
} tr_chain;
void tr_chain_free(tr_chain *chain);
/* How many files it has, and their names, in order. */
size_t tr_chain_length(const tr_chain *chain);
void tr_chain_name(const tr_chain *chain, size_t i, char name[TR_CHAIN_NAME]);

/* The snapshot of this id with those that it needs. TR_E_NOT_FOUND: it is not there; TR_E_CORRUPT: one that
 * it needs is not. Heads only: what they say is not verified yet. */
tr_status tr_chain_of(tr_target *target, const tr_uuid *vault, const tr_uuid *snapshot, tr_chain *out,
                      tr_error *err);
/* The newest snapshot whose moment is not after `until`. TR_E_NOT_FOUND. */
tr_status tr_chain_newest(tr_target *target, const tr_uuid *vault, int64_t until, tr_chain *out,
                          tr_error *err);
/* Add the segments behind its last snapshot, up to `until`. TR_E_CORRUPT: one is missing among them. */
tr_status tr_chain_log(tr_target *target, int64_t until, tr_chain *chain, tr_error *err);

/* Does each follow the one before it? Of the heads that were opened with a key, in order; `sum` is the
 * SHA-256 of the file before. TR_E_CORRUPT. */
tr_status tr_chain_follows(const tr_snapshot_head *before, const tr_snapshot_head *head,
                           const uint8_t sum[TR_SHA256_LEN], tr_error *err);

#endif
