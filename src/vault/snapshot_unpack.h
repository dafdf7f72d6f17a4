/* From a snapshot's file to databases in a folder. Not for other layers. */
#ifndef TR_VAULT_SNAPSHOT_UNPACK_H
#define TR_VAULT_SNAPSHOT_UNPACK_H

#include "vault/snapshot_chain.h"
#include "vault/snapshot_format.h"
#include "vault/snapshot_target.h"

/* Read the whole file and verify it. The source is then at its beginning again. Errors as of the format; what
 * they say begins with the name of what is wrong. */
tr_status tr_snapshot_verify(tr_keyring *ring, tr_target_source *source, tr_snapshot_head *head,
                             tr_snapshot_counts *counts, tr_error *err);

typedef struct tr_unpack {
    const char *folder; /* the databases must not be in it yet */
    /* The key that the database of this name is to have. */
    tr_status (*key)(void *context, const char *database, tr_secret *key, tr_error *err);
    void *context;
    const _Atomic bool *stop; /* may be NULL; set: TR_E_DRAINING */
} tr_unpack;

/* Read and verify every file of a chain, and that each follows the one before it. *head: the last one's, with
 * `log_keys_ms` the latest of all. */
tr_status tr_chain_verify(tr_keyring *ring, tr_target *target, const tr_chain *chain, tr_snapshot_head *head,
                          tr_snapshot_counts *counts, tr_error *err);
/* Write the databases as the chain's last file leaves them. As tr_snapshot_unpack. */
tr_status tr_chain_unpack(tr_keyring *ring, tr_target *target, const tr_chain *chain, const tr_unpack *how,
                          tr_snapshot_head *head, tr_error *err);
/* Write the databases of a snapshot that is whole in itself, and `changes` (may be NULL), which is put upon
 * it. They were checked page by page; what a failure
 * left in the folder is no database and is the caller's to remove. */
tr_status tr_snapshot_unpack(tr_keyring *ring, tr_target_source *source, tr_target_source *changes,
                             const tr_unpack *how, tr_snapshot_head *head, tr_snapshot_counts *counts,
                             tr_error *err);

/* The same of one file that is whole in itself. */
tr_status tr_snapshot_try(tr_keyring *ring, tr_target_source *source, const char *folder,
                          const _Atomic bool *stop, tr_snapshot_head *head, tr_snapshot_counts *counts,
                          tr_error *err);
/* What a chain proves: unpack it into the folder (made, and removed afterwards) under keys
 * that nobody knows, and walk the audit log's chain to the head that the snapshot names. TR_E_CORRUPT says
 * what is not right. */
tr_status tr_chain_try(tr_keyring *ring, tr_target *target, const tr_chain *chain, const char *folder,
                       const _Atomic bool *stop, tr_snapshot_head *head, tr_snapshot_counts *counts,
                       tr_error *err);

/* Walk the audit log of databases that were unpacked, to the head that the snapshot names. TR_E_CORRUPT. */
tr_status tr_unpacked_check_log(const char *folder, const tr_secret *vault_key, const tr_secret *audit_key,
                                const tr_snapshot_head *head, tr_error *err);

/* Remove a folder with its files, which is all that a scratch folder has. A missing one is fine. */
tr_status tr_scratch_remove(const char *folder, tr_error *err);
/* Make it anew, empty and private. */
tr_status tr_scratch_make(const char *folder, tr_error *err);

#endif
