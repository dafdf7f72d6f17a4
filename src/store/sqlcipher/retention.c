/* Records by their age: which are the oldest of a type, and what a subject has of each. */
#include "store/sqlcipher/engine.h"

/* The index by type and age ends with the row number. A version's payload of 16 KiB counts as one row more.
 */
static const char sql_by_age[] =
    "SELECT r.id, r.subject, r.created_at, r.row, 1 + length(r.sealed) / 16384 +"
    " (SELECT coalesce(sum(1 + length(v.sealed) / 16384), 0) FROM record_versions v WHERE v.record = r.row)"
    " FROM records r INDEXED BY records_type WHERE r.type = ?1 AND (r.created_at, r.row) > (?2, ?3)"
    " ORDER BY r.created_at, r.row LIMIT ?4";
static const char sql_ages[] = "SELECT type, count(*), min(created_at), max(created_at) FROM records"
                               " INDEXED BY records_subject WHERE subject = ?1 GROUP BY type ORDER BY type";
static const char sql_count[] = "SELECT count(*) FROM records INDEXED BY records_subject"
                                " WHERE subject = ?1 AND type = ?2 AND created_at <= ?3";

struct aged_sink {
    tr_aged_record_fn fn;
    void *context;
};

static tr_status emit_aged(tr_query *q, void *context, tr_error *err) {
    const struct aged_sink *sink = context;
    tr_aged_record row = {.id = tr_col_uuid(q, 0),
                          .subject = tr_col_uuid(q, 1),
                          .mark = {tr_col_int(q, 2), tr_col_int(q, 3)},
                          .weight = tr_col_int(q, 4)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_record_by_age(tr_db *db, const char *type, const tr_age_mark *after, int limit,
                           tr_aged_record_fn fn, void *context, tr_error *err) {
    tr_query q;
    struct aged_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_by_age, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_text(&q, 1, type);
    tr_bind_int(&q, 2, after->created_at);
    tr_bind_int(&q, 3, after->number);
    tr_bind_int(&q, 4, limit);
    return tr_query_each(&q, emit_aged, &sink, err);
}

struct ages_sink {
    tr_record_ages_fn fn;
    void *context;
};

static tr_status emit_ages(tr_query *q, void *context, tr_error *err) {
    const struct ages_sink *sink = context;
    tr_record_ages row = {.type = tr_col_text(q, 0),
                          .count = tr_col_int(q, 1),
                          .oldest = tr_col_int(q, 2),
                          .newest = tr_col_int(q, 3)};
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? sink->fn(sink->context, &row, err) : st;
}

tr_status tr_record_ages_list(tr_db *db, const tr_uuid *subject, tr_record_ages_fn fn, void *context,
                              tr_error *err) {
    tr_query q;
    struct ages_sink sink = {fn, context};
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_ages, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    return tr_query_each(&q, emit_ages, &sink, err);
}

tr_status tr_record_count_until(tr_db *db, const tr_uuid *subject, const char *type, int64_t until,
                                int64_t *count, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_count, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, subject);
    tr_bind_text(&q, 2, type);
    tr_bind_int(&q, 3, until);
    return tr_query_int(&q, count, err);
}
