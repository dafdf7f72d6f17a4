/* audit.db: entries with their hash chain; and the anchor of its head in the vault. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

#define COLUMNS "seq, at, subject, entry, hash"

static const char sql_insert[] = "INSERT INTO entries (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5)";
static const char sql_last[] = "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1";
static const char sql_hash[] = "SELECT hash FROM entries WHERE seq = ?1";
static const char sql_up[] = "SELECT " COLUMNS " FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
static const char sql_down[] = "SELECT " COLUMNS " FROM entries WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
static const char sql_at[] = "SELECT " COLUMNS " FROM entries WHERE seq = ?1";
static const char sql_anchor_get[] = "SELECT value FROM meta WHERE name = 'audit.anchor'";
static const char sql_anchor_put[] = "UPDATE meta SET value = ?1 WHERE name = 'audit.anchor'";

static void put64(uint8_t out[8], int64_t value) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
}

static int64_t get64(const uint8_t in[8]) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return (int64_t)value;
}

tr_status tr_audit_hash(const uint8_t before[TR_HASH_LEN], const tr_audit_row *row, uint8_t out[TR_HASH_LEN],
                        tr_error *err) {
    static const uint8_t leaf = 0x01;
    static const tr_uuid none;
    uint8_t seq[8], at[8];
    put64(seq, row->seq);
    put64(at, row->at);
    const tr_bytes parts[] = {{&leaf, 1},
                              {before, TR_HASH_LEN},
                              {seq, sizeof seq},
                              {at, sizeof at},
                              {row->has_subject ? row->subject.bytes : none.bytes, sizeof none.bytes},
                              row->entry};
    return tr_sha256(parts, sizeof parts / sizeof *parts, out, err);
}

tr_status tr_audit_store(tr_db *tx, const tr_audit_row *row, tr_head *head, tr_error *err) {
    tr_query q;
    uint8_t hash[TR_HASH_LEN];
    tr_status st = tr_audit_hash(head->hash, row, hash, err);
    if (st == TR_OK)
        st = tr_query_write(tx, TR_DB_AUDIT, sql_insert, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, row->seq);
    tr_bind_int(&q, 2, row->at);
    tr_bind_uuid(&q, 3, row->has_subject ? &row->subject : NULL);
    tr_bind_text_len(&q, 4, row->entry);
    tr_bind_blob(&q, 5, hash, sizeof hash);
    st = tr_query_run(&q, NULL, err);
    /* A number that is taken means that the log is not what the writer knows. */
    if (st == TR_E_CONFLICT)
        st = tr_fail(err, TR_E_CORRUPT, tr_db_name(TR_DB_AUDIT),
                     "entry %lld of the audit log is there already", (long long)row->seq);
    if (st == TR_OK) {
        head->seq = row->seq;
        memcpy(head->hash, hash, sizeof hash);
    }
    return st;
}

/* ---- head and anchor ---- */

static tr_status take_head(tr_query *q, void *context, tr_error *err) {
    tr_head *head = context;
    head->seq = tr_col_int(q, 0);
    tr_col_fixed(q, 1, head->hash, sizeof head->hash);
    return tr_cols_ok(q, err);
}

tr_status tr_audit_last(tr_db *db, tr_head *head, tr_error *err) {
    tr_query q;
    *head = (tr_head){0};
    tr_status st = tr_query_begin(db, TR_DB_AUDIT, sql_last, &q, err);
    return st == TR_OK ? tr_query_each(&q, take_head, head, err) : st;
}

static tr_status take_hash(tr_query *q, void *hash, tr_error *err) {
    tr_col_fixed(q, 0, hash, TR_HASH_LEN);
    return tr_cols_ok(q, err);
}

tr_status tr_audit_hash_at(tr_db *db, int64_t seq, uint8_t hash[TR_HASH_LEN], tr_error *err) {
    tr_query q;
    memset(hash, 0, TR_HASH_LEN);
    if (seq == 0)
        return TR_OK;
    tr_status st = tr_query_begin(db, TR_DB_AUDIT, sql_hash, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, seq);
    return tr_query_one(&q, take_hash, hash, "no such entry", err);
}

static tr_status take_anchor(tr_query *q, void *context, tr_error *err) {
    tr_head *anchor = context;
    uint8_t bytes[8 + TR_HASH_LEN];
    tr_col_fixed(q, 0, bytes, sizeof bytes);
    anchor->seq = get64(bytes);
    memcpy(anchor->hash, bytes + 8, TR_HASH_LEN);
    return tr_cols_ok(q, err);
}

tr_status tr_anchor_get(tr_db *db, tr_head *anchor, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_anchor_get, &q, err);
    if (st == TR_OK)
        st = tr_query_one(&q, take_anchor, anchor, "no anchor", err);
    return st == TR_E_NOT_FOUND
               ? tr_fail(err, TR_E_CORRUPT, tr_db_name(TR_DB_VAULT), "the anchor of the audit log is missing")
               : st;
}

tr_status tr_anchor_put(tr_db *tx, const tr_head *head, tr_error *err) {
    tr_query q;
    uint8_t bytes[8 + TR_HASH_LEN];
    put64(bytes, head->seq);
    memcpy(bytes + 8, head->hash, TR_HASH_LEN);
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_anchor_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_blob(&q, 1, bytes, sizeof bytes);
    return tr_query_run_one(&q, TR_E_CORRUPT, "the anchor of the audit log is missing", err);
}

/* ---- lists ---- */

struct sink {
    tr_audit_fn fn;
    void *context;
};

static tr_status emit(tr_query *q, void *context, tr_error *err) {
    struct sink *sink = context;
    tr_audit_row row = {.seq = tr_col_int(q, 0),
                        .at = tr_col_int(q, 1),
                        .has_subject = !tr_col_null(q, 2),
                        .subject = tr_col_uuid(q, 2),
                        .entry = tr_col_blob(q, 3)};
    tr_col_fixed(q, 4, row.hash, sizeof row.hash);
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

static tr_status list_of(tr_db *db, const tr_uuid *subject, int64_t after, bool down, int limit,
                         struct sink *sink, tr_error *err) {
    int64_t *seqs = NULL;
    size_t count = 0;
    tr_status st = tr_audit_places(db, subject, after, down, limit, &seqs, &count, err);
    for (size_t i = 0; i < count && st == TR_OK; i++) {
        tr_query q;
        st = tr_query_begin(db, TR_DB_AUDIT, sql_at, &q, err);
        if (st != TR_OK)
            break;
        tr_bind_int(&q, 1, seqs[i]);
        st = tr_query_each(&q, emit, sink, err);
    }
    free(seqs);
    return st;
}

tr_status tr_audit_list(tr_db *db, const tr_uuid *subject, int64_t after, bool newest_first, int limit,
                        tr_audit_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct sink sink = {fn, context};
    int64_t from = newest_first && after == 0 ? INT64_MAX : after;
    if (subject)
        return list_of(db, subject, from, newest_first, limit, &sink, err);
    tr_status st = tr_query_begin(db, TR_DB_AUDIT, newest_first ? sql_down : sql_up, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, from);
    tr_bind_int(&q, 2, limit);
    return tr_query_each(&q, emit, &sink, err);
}
