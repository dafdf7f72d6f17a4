/* Shared by snapshots.c, snapshot_make.c and snapshot_keys.c only. */
#ifndef TR_VAULT_SNAPSHOTS_INTERNAL_H
#define TR_VAULT_SNAPSHOTS_INTERNAL_H

#include <pthread.h>

#include "vault/page_marks.h"
#include "vault/snapshot_chain.h"
#include "vault/snapshot_spool.h"
#include "vault/snapshot_target.h"
#include "vault/snapshots.h"
#include "vault/vault_internal.h"

#define TR_SNAPSHOT_SCRATCH "snapshot.scratch" /* in the data folder, while one is verified */
#define TR_DRILL_SCRATCH    "drill.scratch"    /* likewise, while a restore is tried */
#define TR_VERIFIED_MAX     64                 /* verifications that are remembered */

struct tr_snapshots {
    _Atomic bool stop;
    tr_s3 *store;           /* with its spool, where the target is one; else NULL */
    tr_spool *spool;        /* snapshot_spool.c */
    pthread_t uploader;     /* of the spool */
    bool uploading;         /* the thread was started */
    pthread_mutex_t mutex;  /* what follows */
    pthread_cond_t changed; /* a task or a copy of the keys ended */

    /* the task */
    pthread_t thread;
    bool joinable; /* the thread was started and not joined */
    bool running;
    bool has[TR_SNAPSHOT_TASKS];
    tr_snapshot_work last[TR_SNAPSHOT_TASKS];
    tr_snapshot_work verified[TR_VERIFIED_MAX];
    size_t verified_next, verified_count;
    int64_t try_after; /* monotonic: no scheduled snapshot before */
    int64_t begun_at;  /* monotonic: since when the vault is open */

    /* what is in the target, as far as is known */
    bool looked;
    size_t count;
    tr_snapshot_item newest; /* when count > 0 */

    /* the copy of the keys: whoever comes while one is written shares the next */
    uint64_t keys_wanted, keys_done, keys_failed;
    bool keys_busy;
    tr_error keys_err; /* why keys_failed did */
    int64_t keys_at;   /* the newest copy's moment; never before a snapshot's */
    uint32_t keys_master;
    /* Only of whoever is at the keys: the copy in the target, and what changed in keys.db since. */
    tr_uuid keys_id;
    tr_changed keys_changed;
    bool keys_behind; /* some of that is not in the target yet */
    bool place_noted; /* vault.db knows that this target has a copy */

    /* the log: snapshot_log.c */
    pthread_t shipper;
    _Atomic bool shipping;              /* the thread was started */
    pthread_mutex_t log_mutex;          /* what follows; held while a segment is cut and put in place */
    bool log_on;                        /* the log goes on from its snapshot; else it needs a new one */
    tr_uuid log;                        /* the snapshot's id */
    int64_t log_number, log_at;         /* the newest segment's */
    int64_t reached_number, reached_at; /* the newest that is in the target with all before it */
    int64_t log_behind_at;              /* monotonic: since when something is not shipped; 0: all is */
    uint8_t log_previous[TR_SHA256_LEN];
    uint32_t log_pages[3];  /* how many the databases had then, as in a moment's info */
    tr_changed log_changed; /* since then */
};

/* ---- snapshot_keys.c ---- */
/* Write the copy of the keys now. One thread at a time. */
tr_status tr_snapshot_write_keys(tr_vault *vault, tr_error *err);
/* TR_E_CONFLICT when the target holds another vault's snapshots. TR_E_IO when the copy of the keys that was
 * written to it is not there: an empty folder in the place of a disk that is not mounted, on which the keys
 * of the erased would stay. *keys_at: the moment of the keys that are there; 0: of none. */
tr_status tr_snapshot_guard(tr_vault *vault, tr_target *target, int64_t *keys_at, tr_error *err);
/* Fill in what all heads have in common. */
void tr_snapshot_describe(const tr_vault *vault, const tr_moment_info *about, tr_snapshot_kind kind,
                          const tr_uuid *id, tr_snapshot_head *head);
/* Write a moment's pages as a file of the target; with `marks`, they are made beside, and a partial snapshot
 * holds only the pages that differ. `head` is completed. */
tr_status tr_snapshot_write(tr_vault *vault, tr_target *target, const char *name, tr_moment *moment,
                            tr_page_marks *marks, tr_snapshot_head *head, tr_target_file **file,
                            tr_error *err);

/* Bring the copy of the keys in the target up to now, by what changed in it where that is less. *at: its
 * moment. */
tr_status tr_snapshot_ship_keys(tr_vault *vault, tr_target *target, int64_t *at, tr_error *err);

/* ---- snapshot_log.c ---- */
/* A moment for a snapshot, with its place in the log: `head` gets it. Where no log goes on, one begins here,
 * if the log is shipped at all. */
tr_status tr_log_moment(tr_vault *vault, const tr_uuid *id, tr_moment **moment, tr_snapshot_head *head,
                        tr_error *err);
/* The snapshot at which the log was to begin has failed. */
void tr_log_forget(tr_vault *vault, const tr_uuid *id);
/* Which segment was cut last. False: no log goes on. */
bool tr_log_cut(tr_vault *vault, tr_log_state *cut);
/* All up to that one are in the target. */
void tr_log_reached(tr_vault *vault, const tr_log_state *cut);
/* Remove the segments that no snapshot needs. */
tr_status tr_log_drop(tr_vault *vault, tr_target *target, const tr_snapshot_item *items, size_t count,
                      tr_error *err);
/* TR_E_CONFLICT: a segment is opened by this version of the master key. */
tr_status tr_log_needs_master(tr_target *target, uint32_t version, tr_error *err);
/* The shipper comes to its end: after tr_snapshots_end, and what was written is shipped. */
void tr_log_join(tr_vault *vault);

/* ---- snapshot_make.c ---- */
tr_status tr_snapshot_name(const tr_uuid *id, char name[64], tr_error *err);
/* Make one; what it came to is put into `work`. */
tr_status tr_snapshot_make(tr_vault *vault, tr_snapshot_work *work, tr_error *err);
tr_status tr_snapshot_check(tr_vault *vault, tr_snapshot_work *work, tr_error *err);
/* Those in the target; see tr_snapshots_list. */
tr_status tr_snapshot_items(tr_vault *vault, tr_target *target, tr_snapshot_item **items, size_t *count,
                            tr_error *err);
/* Keep in mind what was listed. */
void tr_snapshot_remember(tr_vault *vault, const tr_snapshot_item *items, size_t count);
/* TR_E_CONFLICT: no target is set. */
tr_status tr_snapshot_has_target(const tr_vault *vault, tr_error *err);
/* Where it is: the folder, or the store's URL. */
const char *tr_snapshot_place(const tr_vault *vault);
/* The store is away, and the spool can take what was to go there. */
bool tr_snapshot_can_wait(const tr_vault *vault, tr_status st);
tr_status tr_snapshot_open_target(tr_vault *vault, bool write, tr_target **out, tr_error *err);

#endif
