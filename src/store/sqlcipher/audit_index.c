/* Which entries of the log are about whom. One entry at a time, each would change a page of the index of its
 * own, since neighbours in time are seldom about the same subject: more pages than everything else that a
 * read writes. So the newest entries' places are kept in memory, and once there are many they go into the
 * table in the subjects' order, a few a group. Up to where they are all in the table is written there too;
 * what is beyond is read again at the opening.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

#define MANY 32768 /* pairs that go into the table together */
#define STEP                                                                                                 \
    16 /* a group puts in as many, and AHEAD for each that it adds: it is done before there are many again   \
        */
#define AHEAD 4

static const char sql_load[] = "SELECT subject, seq FROM entries WHERE subject IS NOT NULL AND seq >"
                               " (SELECT done FROM indexed) ORDER BY seq";
static const char sql_put[] = "INSERT OR IGNORE INTO entries_of (subject, seq) VALUES (?1, ?2)";
static const char sql_done[] = "UPDATE indexed SET done = ?1";
static const char sql_up[] =
    "SELECT seq FROM entries_of WHERE subject = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
static const char sql_down[] =
    "SELECT seq FROM entries_of WHERE subject = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";

typedef struct pair {
    tr_uuid subject;
    int64_t seq;
} pair;

typedef struct pairs {
    pair *list;
    size_t count, room;
} pairs;

struct tr_tail {
    pthread_mutex_t mutex; /* the writer changes them, others look */
    pairs young;           /* by seq */
    pairs old;             /* by subject and seq: on its way into the table */
    int64_t old_last;      /* the newest seq in it; this and what follows is the writer's */
    size_t put, putting;   /* of `old`: in the table, and after this group's commit */
};

tr_status tr_tail_new(tr_tail **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&(*out)->mutex, NULL);
    return TR_OK;
}

void tr_tail_free(tr_tail *t) {
    if (!t)
        return;
    pthread_mutex_destroy(&t->mutex);
    free(t->young.list);
    free(t->old.list);
    free(t);
}

/* With the mutex. */
static tr_status make_room(pairs *p, size_t more, tr_error *err) {
    size_t room = p->room ? p->room : 64;
    while (room < p->count + more)
        room *= 2;
    if (room == p->room)
        return TR_OK;
    pair *grown = realloc(p->list, room * sizeof *grown);
    if (!grown)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    p->list = grown;
    p->room = room;
    return TR_OK;
}

/* ---- the writer's ---- */

static int by_subject(const void *a, const void *b) {
    const pair *x = a, *y = b;
    int order = memcmp(x->subject.bytes, y->subject.bytes, sizeof x->subject.bytes);
    return order ? order : (x->seq > y->seq) - (x->seq < y->seq);
}

static void ripen(tr_tail *t) {
    pthread_mutex_lock(&t->mutex);
    pairs empty = t->old;
    t->old = t->young;
    t->young = empty;
    t->young.count = 0;
    t->old_last = t->old.list[t->old.count - 1].seq;
    qsort(t->old.list, t->old.count, sizeof(pair), by_subject);
    t->put = 0;
    pthread_mutex_unlock(&t->mutex);
}

static tr_status put_pair(tr_db *tx, const pair *p, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_AUDIT, sql_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_uuid(&q, 1, &p->subject);
    tr_bind_int(&q, 2, p->seq);
    return tr_query_run(&q, NULL, err);
}

static tr_status put_done(tr_db *tx, int64_t seq, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_AUDIT, sql_done, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, seq);
    return tr_query_run_one(&q, TR_E_CORRUPT, "the index of the audit log is damaged", err);
}

tr_status tr_tail_store(tr_db *tx, size_t added, tr_error *err) {
    tr_tail *t = tx->group->tail;
    if (t->old.count == 0 && t->young.count >= MANY)
        ripen(t);
    pthread_mutex_lock(&t->mutex);
    tr_status st = make_room(&t->young, added, err);
    pthread_mutex_unlock(&t->mutex);
    t->putting = t->put;
    for (size_t n = STEP + AHEAD * added; st == TR_OK && n > 0 && t->putting < t->old.count; n--)
        st = put_pair(tx, &t->old.list[t->putting++], err);
    if (st == TR_OK && t->old.count > 0 && t->putting == t->old.count)
        st = put_done(tx, t->old_last, err);
    return st;
}

void tr_tail_add(tr_tail *t, const tr_uuid *subject, int64_t seq) {
    pthread_mutex_lock(&t->mutex);
    t->young.list[t->young.count++] = (pair){*subject, seq};
    pthread_mutex_unlock(&t->mutex);
}

void tr_tail_committed(tr_tail *t) {
    t->put = t->putting;
    if (t->old.count == 0 || t->put < t->old.count)
        return;
    pthread_mutex_lock(&t->mutex);
    t->old.count = 0;
    pthread_mutex_unlock(&t->mutex);
    t->put = t->putting = 0;
}

static tr_status load_pair(tr_query *q, void *context, tr_error *err) {
    tr_tail *t = context;
    tr_status st = make_room(&t->young, 1, err);
    if (st == TR_OK)
        t->young.list[t->young.count++] = (pair){tr_col_uuid(q, 0), tr_col_int(q, 1)};
    return st == TR_OK ? tr_cols_ok(q, err) : st;
}

tr_status tr_tail_load(tr_db *tx, tr_error *err) {
    tr_tail *t = tx->group->tail;
    tr_query q;
    tr_status st = tr_query_begin(tx, TR_DB_AUDIT, sql_load, &q, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_lock(&t->mutex); /* nobody looks at half of it */
    t->young.count = t->old.count = 0;
    t->put = t->putting = 0;
    st = tr_query_each(&q, load_pair, t, err);
    pthread_mutex_unlock(&t->mutex);
    return st;
}

/* ---- looking ---- */

typedef struct found {
    int64_t *seqs; /* in the order that is asked for */
    size_t count, room;
    int64_t after;
    bool down;
    size_t limit;
} found;

static bool is_beyond(const found *f, int64_t seq) {
    return f->down ? seq < f->after : seq > f->after;
}

static tr_status add(found *f, int64_t seq, tr_error *err) {
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 64;
        int64_t *grown = realloc(f->seqs, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        f->seqs = grown;
        f->room = room;
    }
    f->seqs[f->count++] = seq;
    return TR_OK;
}

/* Each list in its own order gives what was asked for in the right one. */
static tr_status look_in(found *f, const pairs *p, const tr_uuid *subject, tr_error *err) {
    tr_status st = TR_OK;
    size_t before = f->count;
    for (size_t i = 0; i < p->count && st == TR_OK && f->count - before < f->limit; i++) {
        const pair *one = &p->list[f->down ? p->count - 1 - i : i];
        if (is_beyond(f, one->seq) && tr_uuid_equal(&one->subject, subject))
            st = add(f, one->seq, err);
    }
    return st;
}

static tr_status take_seq(tr_query *q, void *context, tr_error *err) {
    tr_status st = tr_cols_ok(q, err);
    return st == TR_OK ? add(context, tr_col_int(q, 0), err) : st;
}

static int rising(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int falling(const void *a, const void *b) {
    return rising(b, a);
}

/* A pair on its way may be in memory and in the table. */
static void settle(found *f) {
    size_t kept = 0;
    if (f->count > 1)
        qsort(f->seqs, f->count, sizeof *f->seqs, f->down ? falling : rising);
    for (size_t i = 0; i < f->count; i++) {
        if (kept == 0 || f->seqs[kept - 1] != f->seqs[i])
            f->seqs[kept++] = f->seqs[i];
    }
    f->count = kept < f->limit ? kept : f->limit;
}

/* The memory first: what leaves it meanwhile is in the table by then. */
tr_status tr_audit_places(tr_db *db, const tr_uuid *subject, int64_t after, bool down, int limit,
                          int64_t **seqs, size_t *count, tr_error *err) {
    tr_tail *t = db->group ? db->group->tail : db->store ? db->store->group.tail : NULL;
    found f = {.after = after, .down = down, .limit = (size_t)limit};
    tr_query q;
    tr_status st = TR_OK;
    if (t) {
        pthread_mutex_lock(&t->mutex);
        st = look_in(&f, &t->young, subject, err);
        if (st == TR_OK)
            st = look_in(&f, &t->old, subject, err);
        pthread_mutex_unlock(&t->mutex);
    }
    if (st == TR_OK)
        st = tr_query_begin(db, TR_DB_AUDIT, down ? sql_down : sql_up, &q, err);
    if (st == TR_OK) {
        tr_bind_uuid(&q, 1, subject);
        tr_bind_int(&q, 2, after);
        tr_bind_int(&q, 3, limit);
        st = tr_query_each(&q, take_seq, &f, err);
    }
    settle(&f);
    *seqs = f.seqs;
    *count = f.count;
    return st;
}
