/* What a crash, or a failed commit, may leave: keys and audit are committed before the vault, so they may be
 * ahead. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

static const char sql_erasing[] = "SELECT subject, request FROM erasing ORDER BY subject";
static const char sql_erasing_add[] = "INSERT OR IGNORE INTO erasing (subject, request) VALUES (?1, ?2)";

static tr_status append(tr_db *tx, const tr_uuid *subject, const char *detail, tr_error *err) {
    char time[TR_TIME_TEXT], id[TR_UUID_TEXT];
    int64_t now = tr_now_ms();
    tr_buf entry = TR_BUF_INIT;
    tr_time_format(now, time);
    tr_buf_printf(&entry, "{\"time\":\"%s\",\"action\":\"storage.recovered\"", time);
    if (subject) {
        tr_uuid_format(subject, id);
        tr_buf_printf(&entry, ",\"subject\":\"%s\"", id);
    }
    tr_buf_printf(&entry, ",\"outcome\":\"ok\",\"detail\":\"%s\"}", detail);
    tr_status st = tr_buf_ok(&entry, err);
    if (st == TR_OK)
        st = tr_audit_append(tx, now, subject, (tr_bytes){entry.data, entry.len}, err);
    tr_buf_clear(&entry);
    return st;
}

/* ---- the log and its anchor ---- */

static tr_status accept_tail(tr_db *tx, const tr_head *anchor, const tr_lost *lost, tr_error *err) {
    tr_audit_verdict verdict = {0};
    char detail[120];
    tr_status st = tr_audit_walk(tx, anchor, anchor, &verdict, err);
    if (st == TR_OK && !verdict.ok)
        st = tr_fail(err, TR_E_CORRUPT, tr_db_name(TR_DB_AUDIT), "the audit log is not intact: %s",
                     verdict.reason);
    if (st != TR_OK || lost->last < lost->first || lost->last == 0)
        return st;
    (void)snprintf(detail, sizeof detail,
                   "entries %lld to %lld were written, but their effects may be missing",
                   (long long)lost->first, (long long)lost->last);
    return append(tx, NULL, detail, err);
}

/* A log that is longer than the anchor is no fault: the vault learns of reads once in a while. */
static tr_status check_log(tr_db *tx, tr_head *head, int64_t *anchored, tr_error *err) {
    const char *name = tr_db_name(TR_DB_AUDIT);
    tr_head anchor, last;
    tr_lost lost;
    uint8_t hash[TR_HASH_LEN];
    tr_status st = tr_anchor_get(tx, &anchor, err);
    if (st == TR_OK)
        st = tr_audit_last(tx, &last, err);
    if (st != TR_OK)
        return st;
    if (last.seq < anchor.seq)
        return tr_fail(err, TR_E_CORRUPT, name, "the audit log ends at %lld, the vault knows %lld",
                       (long long)last.seq, (long long)anchor.seq);
    st = tr_audit_hash_at(tx, anchor.seq, hash, err);
    if (st == TR_E_NOT_FOUND)
        return tr_fail(err, TR_E_CORRUPT, name, "entry %lld of the audit log is missing",
                       (long long)anchor.seq);
    if (st == TR_OK && memcmp(hash, anchor.hash, sizeof hash) != 0)
        st =
            tr_fail(err, TR_E_CORRUPT, name,
                    "entry %lld of the audit log is not the one that the vault knows", (long long)anchor.seq);
    if (st == TR_OK)
        st = tr_turns_load(tx, anchor.seq, &lost, err);
    if (st == TR_OK)
        st = tr_tail_load(tx, err);
    if (st == TR_OK && last.seq > anchor.seq)
        st = accept_tail(tx, &anchor, &lost, err);
    *head = last;
    *anchored = anchor.seq;
    return st;
}

/* ---- deletions whose first half is done ---- */

tr_status tr_erasing_add(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_KEYS, sql_erasing_add, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_uuid(&q, 2, request);
    return tr_query_run(&q, NULL, err);
}

/* The key is gone, so the rest must go too: nobody could read it. An erasure goes on in steps
 * (vault/erasure.h); what had no request goes at once. The row in `erasing` stays until the next group, since
 * this one may be cut off in the same place. */
static tr_status complete_deletion(tr_query *q, void *context, tr_error *err) {
    tr_db *tx = context;
    tr_uuid subject = tr_col_uuid(q, 0), request = tr_col_uuid(q, 1);
    bool is_erasure = !tr_col_null(q, 1);
    tr_status st = tr_cols_ok(q, err);
    if (st == TR_OK)
        st = is_erasure ? tr_erasure_begin_again(tx, &subject, &request, err)
                        : tr_subject_delete_rows(tx, &subject, err);
    if (st == TR_E_NOT_FOUND)
        return TR_OK;
    return st == TR_OK ? append(tx, &subject, "a deletion that was cut off is completed", err) : st;
}

static tr_status reconcile(void *context, tr_db *tx, tr_error *err) {
    tr_query q;
    tr_group *group = context;
    tr_status st = check_log(tx, &group->head, &group->anchor, err);
    if (st == TR_OK)
        st = tr_query_begin(tx, TR_DB_KEYS, sql_erasing, &q, err);
    return st == TR_OK ? tr_query_each(&q, complete_deletion, tx, err) : st;
}

tr_status tr_group_reconcile(tr_group *group, tr_error *err) {
    group->reconciling = true;
    tr_status st = tr_group_run(group, reconcile, group, err);
    if (st == TR_OK)
        st = tr_group_commit(group, group->head.seq != group->anchor || tr_turns_waiting(group->turns), err);
    if (st != TR_OK)
        tr_group_abort(group);
    group->reconciling = false;
    return st;
}
