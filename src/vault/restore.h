/* A vault from its snapshots: into a folder of its own, with the erasures since then applied.
 *
 * Nothing is overwritten: the folder must be empty or absent, and gets its name when all is done; until then
 * everything lies in a folder beside it (its name and ".restoring"), and what comes from a store in another
 * (".fetched"). Before anything is written the snapshot
 * and the copy of the keys are verified whole. The databases get fresh keys.
 *
 * What is in the data but not to come back: persons whom the ledger beside the keys names (their erasure is
 * completed), persons without a data key, and all sessions (a token that was used since would be good again).
 */
#ifndef TR_VAULT_RESTORE_H
#define TR_VAULT_RESTORE_H

#include "vault/snapshot_format.h"
#include "vault/vault.h"

#define TR_RESTORE_REPORT "restore-report.json" /* in the new folder */

typedef struct tr_restore {
    const tr_config *config; /* its `data` is the new folder */
    const char *from;        /* the backup folder; NULL: the store that the settings name */
    const tr_uuid *snapshot; /* NULL: the newest, or the newest before `at` */
    int64_t at;              /* replay the log up to this moment; INT64_MAX: all of it; 0: none of it */
    /* Make sure of a keyring in the folder of `at`, and open it; *passphrase is what opens it again. `ring`
     * and `recovery` are paths of the backup's copies, of which the second may be absent. */
    tr_status (*open_ring)(void *context, const tr_config *at, const char *ring, const char *recovery,
                           tr_secret *passphrase, tr_keyring **out, tr_error *err);
    void *context;
} tr_restore;

typedef struct tr_restore_result {
    tr_snapshot_head head; /* of the snapshot */
    int64_t segments;      /* of the log behind it */
    int64_t reached_at;    /* the moment that is restored */
    int64_t keys_at;       /* the moment of the copy of the keys: erasures until then are known */
    uint64_t pages;
    int64_t audit_entries;      /* found good */
    int64_t subjects;           /* that are there now */
    int64_t erased_by_ledger;   /* that were in the snapshot */
    int64_t erased_without_key; /* likewise */
    int64_t erasures_left;      /* `tresor serve` completes them */
    int64_t sessions_ended;
} tr_restore_result;

/* TR_E_EXISTS: the folder is not empty; TR_E_NOT_FOUND: there is no such snapshot; TR_E_WRONG_KEY: the
 * keyring is another vault's; TR_E_CORRUPT: a file does not verify; TR_E_DISK_FULL; TR_E_LOCKED: another
 * restore works there. After a failure the folder is as it was. */
tr_status tr_vault_restore(const tr_restore *how, tr_restore_result *result, tr_error *err);

/* One JSON object without an end of line. */
void tr_restore_report(const tr_restore_result *result, tr_buf *out);

#endif
