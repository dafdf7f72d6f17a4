#include "vault/drill.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/drill_internal.h"
#include "vault/records.h"
#include "vault/restore_replay.h"
#include "vault/snapshot_unpack.h"
#include "vault/snapshots_internal.h"

#define RING_MAX   ((size_t)1024 * 1024)
#define BATCH      200
#define SAMPLE     200 /* persons whose payloads are opened, twice */
#define PER_PERSON 4
#define ERASE_ROWS 500
#define KEYS_TRIES 5

typedef struct trial {
    tr_vault *vault;
    tr_drill *result;
    char folder[600];
    tr_target *target;
    tr_chain chain;
    tr_target_source *keys, *key_changes; /* the second may be NULL */
    tr_snapshot_head head;                /* of the newest file that was restored */
    uint32_t master;                      /* the newest version that a file needs */
    tr_secret secrets[3];                 /* of the databases, by their place in `names` */
    tr_store *store;
    tr_db *db;
} trial;

static const char *const names[3] = {"vault.db", "keys.db", "audit.db"};

/* ---- what is in the backup ---- */

static tr_status find_snapshot(trial *t, tr_error *err) {
    tr_status st = TR_OK;
    TR_TRY(tr_snapshot_open_target(t->vault, false, &t->target, err));
    TR_TRY(tr_chain_newest(t->target, &t->vault->id, INT64_MAX, &t->chain, err));
    t->result->snapshot = t->chain.items[t->chain.count - 1].head.id;
    TR_TRY(tr_chain_log(t->target, INT64_MAX, &t->chain, err));
    t->result->segments = (int64_t)(tr_chain_length(&t->chain) - t->chain.count);
    for (size_t i = 0; i < t->chain.count; i++) {
        if (t->chain.items[i].head.master > t->master)
            t->master = t->chain.items[i].head.master;
    }
out:
    return st;
}

/* What is put upon another copy is of no use. */
static tr_status open_key_changes(trial *t, const tr_snapshot_head *keys, bool *fit, tr_error *err) {
    tr_snapshot_head head;
    tr_status st = tr_target_read(t->target, TR_TARGET_KEY_CHANGES, &t->key_changes, err);
    *fit = true;
    if (st == TR_E_NOT_FOUND)
        return TR_OK;
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, t->key_changes, &head, err);
    if (st == TR_OK)
        st = tr_target_rewind(t->key_changes, err);
    *fit = st == TR_OK && tr_uuid_equal(&head.base, &keys->id);
    if (!*fit) {
        tr_target_source_close(t->key_changes);
        t->key_changes = NULL;
    }
    return st;
}

/* The copy is renewed at any time: both files must be of the same one. */
static tr_status open_keys(trial *t, tr_error *err) {
    tr_snapshot_head head;
    bool fit = false;
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && !fit && i < KEYS_TRIES; i++) {
        tr_target_source_close(t->keys);
        t->keys = NULL;
        st = tr_target_read(t->target, TR_TARGET_KEYS, &t->keys, err);
        if (st == TR_E_NOT_FOUND)
            return tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS, "the copy of the keys is missing");
        if (st == TR_OK)
            st = tr_snapshot_peek(tr_target_source_read, t->keys, &head, err);
        if (st == TR_OK)
            st = tr_target_rewind(t->keys, err);
        if (st == TR_OK)
            st = open_key_changes(t, &head, &fit, err);
    }
    if (st == TR_OK && head.master > t->master)
        t->master = head.master;
    return st;
}

/* It is sealed: only whether it is whole, and new enough, can be told without what opens it. */
static tr_status check_ring(trial *t, tr_error *err) {
    char path[640];
    tr_buf text = TR_BUF_INIT;
    tr_keyring_need need;
    tr_status st = tr_target_get(t->target, TR_RING, RING_MAX, &text, err);
    if (st == TR_E_NOT_FOUND)
        st = tr_fail(err, TR_E_CORRUPT, TR_RING, "the copy of the keyring is missing");
    (void)snprintf(path, sizeof path, "%s/" TR_RING, t->folder);
    int fd = st == TR_OK ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (st == TR_OK && (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len))
        st = tr_fail_errno(err, TR_DRILL_SCRATCH, "cannot write to the scratch folder");
    if (fd >= 0)
        close(fd);
    tr_buf_clear(&text);
    if (st != TR_OK)
        return st;
    st = tr_keyring_peek(path, &need, NULL);
    (void)unlink(path);
    if (st != TR_OK)
        return tr_fail(err, TR_E_CORRUPT, TR_RING, "the copy of the keyring is damaged");
    return need.current >= t->master
               ? TR_OK
               : tr_fail(
                     err, TR_E_CORRUPT, TR_RING,
                     "the copy of the keyring ends with version %u of the master key, version %u is needed",
                     (unsigned)need.current, (unsigned)t->master);
}

/* ---- restoring ---- */

static tr_status trial_key(void *context, const char *database, tr_secret *key, tr_error *err) {
    trial *t = context;
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(database, names[i]) == 0)
            return tr_secret_copy(key, t->secrets[i].data, t->secrets[i].len, err);
    }
    return tr_fail(err, TR_E_CORRUPT, database, "there is no such database");
}

static tr_status in_keys(tr_status st, tr_error *err) {
    if (st != TR_OK && err && !err->where[0])
        (void)snprintf(err->where, sizeof err->where, TR_TARGET_KEYS);
    return st;
}

static tr_status restore(trial *t, tr_error *err) {
    const tr_unpack how = {
        .folder = t->folder, .key = trial_key, .context = t, .stop = &t->vault->snapshots->stop};
    tr_snapshot_head keys;
    tr_status st = TR_OK;
    for (size_t i = 0; i < 3; i++)
        TR_TRY(tr_secret_random(&t->secrets[i], 32, err));
    TR_TRY(tr_chain_unpack(t->vault->ring, t->target, &t->chain, &how, &t->head, err));
    t->result->reached_at = t->head.created_ms;
    TR_TRY(in_keys(tr_snapshot_unpack(t->vault->ring, t->keys, t->key_changes, &how, &keys, NULL, err), err));
    t->result->keys_at = keys.created_ms;
    if ((keys.kind != TR_SNAPSHOT_KEYS && keys.kind != TR_SNAPSHOT_KEY_CHANGES) ||
        !tr_uuid_equal(&keys.vault, &t->vault->id))
        st = tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS, "it is not the copy of this vault's keys");
    else if (keys.created_ms < t->chain.items[t->chain.count - 1].head.created_ms ||
             keys.created_ms < t->head.log_keys_ms)
        st = tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS,
                     "the copy of the keys is older than the snapshot: keys would be missing");
out:
    return st;
}

static tr_status check_audit(trial *t, tr_error *err) {
    return tr_unpacked_check_log(t->folder, &t->secrets[0], &t->secrets[2], &t->head, err);
}

/* Before the ledger is applied: as the moment had them. */
static tr_status count(trial *t, tr_error *err) {
    tr_store_counts *counts = &t->result->counts;
    tr_status st = tr_store_count_offline(t->folder, &t->secrets[0], &t->secrets[2], counts, err);
    t->result->counted = st == TR_OK;
    return st == TR_OK && counts->audit_entries != t->head.audit_seq
               ? tr_fail(err, TR_E_CORRUPT, "audit.db", "it has %lld entries, the snapshot names %lld",
                         (long long)counts->audit_entries, (long long)t->head.audit_seq)
               : st;
}

static tr_status check_databases(trial *t, tr_error *err) {
    const tr_store_options options = {.data_dir = t->folder,
                                      .vault_key = &t->secrets[0],
                                      .keys_key = &t->secrets[1],
                                      .audit_key = &t->secrets[2]};
    tr_status st = TR_OK;
    TR_TRY(tr_store_open(&options, &t->store, err));
    TR_TRY(tr_store_reader(t->store, &t->db, err));
    st = tr_store_check(t->store, err);
out:
    return st;
}

/* ---- the ledger ---- */

struct ledger {
    trial *t;
    int64_t last;
    int count;
};

static tr_status has_key(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    (void)context, (void)master, (void)wrapped, (void)err;
    return TR_OK;
}

/* No data that anybody could read, and no key to read it with. */
static tr_status is_gone(void *context, int64_t seq, const tr_uuid *subject, const tr_uuid *request,
                         int64_t at, tr_error *err) {
    struct ledger *l = context;
    tr_subject_row row;
    (void)request, (void)at;
    l->last = seq;
    l->count++;
    tr_status st = tr_subject_get(l->t->db, subject, &row, err);
    if (st == TR_E_NOT_FOUND)
        st = tr_key_get(l->t->db, subject, has_key, NULL, err);
    return st == TR_OK
               ? tr_fail(err, TR_E_CORRUPT, "keys.db",
                         "entry %lld of the erasure ledger names a person who came back", (long long)seq)
           : st == TR_E_NOT_FOUND ? TR_OK
                                  : st;
}

static tr_status first_erasure(void *context, const tr_erasure *row, tr_error *err) {
    (void)err;
    *(tr_uuid *)context = row->subject;
    return TR_STOP;
}

struct erasing {
    tr_uuid subject;
    bool left;
};

static tr_status erase_some(void *context, tr_db *tx, tr_error *err) {
    struct erasing *e = context;
    tr_status st = tr_erasure_step(tx, &e->subject, ERASE_ROWS, &e->left, err);
    return st == TR_OK && !e->left ? tr_erasure_end(tx, &e->subject, err) : st;
}

/* Their rows go too, as `tresor serve` would see to after a restore. */
static tr_status complete_erasures(trial *t, tr_error *err) {
    struct erasing e = {.left = false};
    tr_status st = TR_OK;
    for (;;) {
        st = tr_erasure_list(t->db, NULL, 1, first_erasure, &e.subject, err);
        if (st != TR_STOP)
            return st; /* there is none any more */
        do
            st = tr_store_write(t->store, erase_some, &e, err);
        while (st == TR_OK && e.left && !t->vault->snapshots->stop);
        if (st != TR_OK || e.left)
            return st == TR_OK ? tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down") : st;
    }
}

static tr_status replay_ledger(trial *t, tr_error *err) {
    struct ledger l = {.t = t, .count = BATCH};
    tr_restore_result done = {.head = t->head};
    tr_status st = TR_OK;
    TR_TRY(tr_restore_replay(t->store, &done, err));
    t->result->erased = done.erased_by_ledger;
    if (done.erased_without_key > 0)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, TR_TARGET_KEYS,
                       "%lld persons have no data key, and were not erased",
                       (long long)done.erased_without_key));
    TR_TRY(complete_erasures(t, err));
    while (st == TR_OK && l.count == BATCH) {
        l.count = 0;
        st = tr_ledger_list(t->db, l.last, BATCH, is_gone, &l, err);
    }
out:
    return st;
}

/* ---- payloads ---- */

struct opening {
    trial *t;
    tr_secret key;
    const tr_uuid *subject;
    int64_t persons;
    tr_uuid first;
};

static tr_status unwrap(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    struct opening *o = context;
    return tr_keyring_unwrap(o->t->vault->ring, master, wrapped, &o->key, err);
}

static tr_status open_payload(void *context, const tr_record *row, tr_error *err) {
    struct opening *o = context;
    cJSON *data = NULL;
    tr_status st = tr_record_open(&o->key, row, &data, err);
    cJSON_Delete(data);
    o->t->result->opened += st == TR_OK;
    return st == TR_E_CORRUPT
               ? tr_fail(err, st, "vault.db", "a record does not open with its person's data key")
               : st;
}

static tr_status open_person(void *context, const tr_uuid *id, tr_error *err) {
    struct opening *o = context;
    tr_status st = TR_OK;
    if (o->persons++ == 0)
        o->first = *id;
    TR_TRY(tr_key_get(o->t->db, id, unwrap, o, err));
    st = tr_record_list(o->t->db, id, NULL, NULL, PER_PERSON, open_payload, o, err);
out:
    if (st == TR_E_NOT_FOUND) /* of a version of the master key that is gone */
        st = tr_fail(err, TR_E_CORRUPT, "keys.db", "a person's data key cannot be opened");
    return st;
}

/* Ids begin with the time: a random one between the oldest person's and now. */
static tr_uuid random_place(const tr_uuid *first) {
    tr_uuid place = tr_uuid_new();
    uint64_t from = 0, to = 0, random = 0;
    for (int i = 0; i < 6; i++) {
        from = from << 8 | first->bytes[i];
        to = to << 8 | place.bytes[i];
        random = random << 8 | place.bytes[10 + i];
    }
    uint64_t at = to > from ? from + random % (to - from) : from;
    for (int i = 5; i >= 0; i--, at >>= 8)
        place.bytes[i] = (uint8_t)at;
    return place;
}

/* The oldest, which went through most, and others from anywhere. */
static tr_status open_payloads(trial *t, tr_error *err) {
    struct opening o = {.t = t, .key = TR_SECRET_INIT};
    tr_status st = tr_subject_ids(t->db, NULL, SAMPLE, open_person, &o, err);
    if (st == TR_OK && o.persons == SAMPLE) {
        const tr_uuid place = random_place(&o.first);
        st = tr_subject_ids(t->db, &place, SAMPLE, open_person, &o, err);
    }
    tr_secret_clear(&o.key);
    return st;
}

/* ---- all ---- */

static const struct {
    const char *name;
    tr_status (*run)(trial *t, tr_error *err);
} steps[] = {
    {"snapshot", find_snapshot},    {"keys", open_keys},       {"keyring", check_ring},
    {"restore", restore},           {"audit", check_audit},    {"counts", count},
    {"integrity", check_databases}, {"ledger", replay_ledger}, {"payloads", open_payloads},
};

static tr_status try_restore(trial *t, const char **step, tr_error *err) {
    tr_status st = TR_OK;
    *step = "scratch";
    TR_TRY(tr_config_path(t->vault->config, TR_DRILL_SCRATCH, t->folder, sizeof t->folder, err));
    TR_TRY(tr_scratch_make(t->folder, err));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (t->vault->snapshots->stop)
            TR_TRY(tr_fail(err, TR_E_DRAINING, NULL, "the vault is shutting down"));
        *step = steps[i].name;
        TR_TRY(steps[i].run(t, err));
    }
out:
    tr_store_close(t->store);
    tr_target_source_close(t->keys);
    tr_target_source_close(t->key_changes);
    tr_chain_free(&t->chain);
    tr_target_close(t->target);
    for (size_t i = 0; i < 3; i++)
        tr_secret_clear(&t->secrets[i]);
    if (t->folder[0] && tr_scratch_remove(t->folder, st == TR_OK ? err : NULL) != TR_OK && st == TR_OK) {
        *step = "scratch";
        st = TR_E_IO;
    }
    return st;
}

tr_status tr_drill_run(tr_vault *vault, tr_snapshot_work *work, tr_error *err) {
    tr_drill result = {.begun_at = work->begun_at};
    trial t = {.vault = vault, .result = &result};
    const char *step = "";
    tr_error why = {0};
    tr_status st = try_restore(&t, &step, &why);
    result.ok = st == TR_OK;
    result.ended_at = tr_now_ms();
    if (st != TR_OK) {
        (void)snprintf(result.step, sizeof result.step, "%s", step);
        (void)snprintf(result.problem, sizeof result.problem, "%s", tr_status_slug(st));
        (void)snprintf(result.reason, sizeof result.reason, "%s", why.what);
        (void)snprintf(result.where, sizeof result.where, "%s", why.where);
        if (err)
            *err = why;
    }
    if (st == TR_E_DRAINING) /* it says nothing of the backup */
        return st;
    tr_status kept = tr_drill_keep(vault, &result, st, st == TR_OK ? err : NULL);
    return st == TR_OK ? kept : st;
}
