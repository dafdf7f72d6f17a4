#include "vault/restore_replay.h"

#include <stdint.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/erasure.h"

#define BATCH      200
#define ROUNDS_MAX 1000 /* of some seconds each */

typedef struct batch {
    tr_uuid subjects[BATCH], requests[BATCH];
    size_t count;
    int64_t last_seq;
    int64_t done;
    tr_db *db;
    int64_t alive;
} batch;

/* ---- the ledger ---- */

static tr_status take_entry(void *context, int64_t seq, const tr_uuid *subject, const tr_uuid *request,
                            int64_t at, tr_error *err) {
    batch *b = context;
    (void)at, (void)err;
    b->last_seq = seq;
    b->subjects[b->count] = *subject;
    b->requests[b->count++] = *request;
    return TR_OK;
}

static tr_status erase_again(void *context, tr_db *tx, tr_error *err) {
    const batch *b = context;
    tr_status st = TR_OK;
    for (size_t i = 0; i < b->count && (st == TR_OK || st == TR_E_NOT_FOUND); i++)
        st = tr_erasure_begin_again(tx, &b->subjects[i], &b->requests[i], err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status count_one(void *context, const tr_erasure *row, tr_error *err) {
    (void)row, (void)err;
    ++*(int64_t *)context;
    return TR_OK;
}

/* The newest erasures were begun again when the store was opened, and some were under way in the snapshot. */
static tr_status apply_ledger(tr_store *store, tr_db *db, tr_restore_result *result, tr_error *err) {
    batch b = {.count = BATCH};
    tr_status st = TR_OK;
    while (st == TR_OK && b.count == BATCH) {
        b.count = 0;
        st = tr_ledger_list(db, b.last_seq, BATCH, take_entry, &b, err);
        if (st == TR_OK && b.count > 0)
            st = tr_store_write(store, erase_again, &b, err);
    }
    return st == TR_OK ? tr_erasure_list(db, NULL, INT32_MAX, count_one, &result->erased_by_ledger, err) : st;
}

/* ---- persons without a key ---- */

static tr_status key_is_there(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    (void)context, (void)master, (void)wrapped, (void)err;
    return TR_OK;
}

static tr_status look_at(void *context, const tr_uuid *id, tr_error *err) {
    batch *b = context;
    tr_subject_row row;
    b->requests[0] = *id; /* the last that was looked at */
    b->done++;
    tr_status st = tr_subject_get(b->db, id, &row, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? TR_OK : st; /* it is being erased */
    st = tr_key_get(b->db, id, key_is_there, NULL, err);
    b->alive += st == TR_OK;
    if (st == TR_E_NOT_FOUND) {
        b->subjects[b->count++] = *id;
        st = TR_OK;
    }
    return st;
}

static tr_status delete_all(void *context, tr_db *tx, tr_error *err) {
    const batch *b = context;
    tr_status st = TR_OK;
    for (size_t i = 0; i < b->count && st == TR_OK; i++)
        st = tr_subject_delete(tx, &b->subjects[i], err);
    return st;
}

static tr_status delete_keyless(tr_store *store, tr_db *db, tr_restore_result *result, tr_error *err) {
    batch b = {.db = db, .done = BATCH};
    bool first = true;
    tr_status st = TR_OK;
    while (st == TR_OK && b.done == BATCH) {
        tr_uuid after = b.requests[0];
        b.count = 0;
        b.done = 0;
        st = tr_subject_ids(db, first ? NULL : &after, BATCH, look_at, &b, err);
        first = false;
        if (st == TR_OK && b.count > 0)
            st = tr_store_write(store, delete_all, &b, err);
        if (st == TR_OK)
            result->erased_without_key += (int64_t)b.count;
    }
    result->subjects = b.alive;
    return st;
}

/* ---- sessions ---- */

static tr_status end_sessions(void *context, tr_db *tx, tr_error *err) {
    return tr_session_sweep(tx, INT64_MAX, INT64_MAX, BATCH, context, err);
}

static tr_status end_all_sessions(tr_store *store, tr_restore_result *result, tr_error *err) {
    int64_t count = 0;
    tr_status st = TR_OK;
    do {
        st = tr_store_write(store, end_sessions, &count, err);
        result->sessions_ended += st == TR_OK ? count : 0;
    } while (st == TR_OK && count > 0);
    return st;
}

/* ---- all ---- */

static tr_status note(tr_store *store, const tr_restore_result *result, tr_error *err) {
    char id[TR_UUID_TEXT];
    tr_uuid_format(&result->head.id, id);
    const tr_event event = {.at = tr_now_ms(), .action = "vault.restore", .outcome = TR_OK, .detail = id};
    return tr_event_write(store, &event, err);
}

tr_status tr_restore_replay(tr_store *store, tr_restore_result *result, tr_error *err) {
    tr_db *db = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_store_reader(store, &db, err));
    TR_TRY(note(store, result, err));
    TR_TRY(apply_ledger(store, db, result, err));
    TR_TRY(delete_keyless(store, db, result, err));
    TR_TRY(end_all_sessions(store, result, err));
    st = tr_store_checkpoint(store, err);
out:
    return st;
}

tr_status tr_restore_finish(tr_vault *vault, tr_restore_result *result, tr_error *err) {
    tr_db *db = NULL;
    bool more = true;
    tr_status st = tr_store_reader(tr_vault_store(vault), &db, err);
    for (int i = 0; st == TR_OK && more && i < ROUNDS_MAX; i++)
        st = tr_erasures_resume(vault, &more, err);
    if (st == TR_OK)
        st = tr_erasure_list(db, NULL, INT32_MAX, count_one, &result->erasures_left, err);
    return st;
}
