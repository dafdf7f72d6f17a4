/* The turns of tokens: a used token's end and its successor's hash, durable beside the audit entry of the
 * request (audit.db, table turns), so that a request that only reads does not touch the vault. The newest
 * turn of each session is kept in memory too, and folded into the sessions' rows many at once: one flush of
 * the vault for hundreds of groups. What a crash leaves unfolded is replayed at the opening.
 *
 * A row of the ring is written over only when the vault knows its turns: `turns.folded` in meta is the number
 * of the newest group whose turns are in the sessions' rows, and is put there in the same commit as they are.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

#define RING       1024 /* rows */
#define WAITING    960  /* of them that may wait for a fold: after it the readers' page caches are empty */
#define CLIENTS    256  /* sessions, after which one is due: a group must not write too many rows */
#define FOLD_MS    1000
#define TURN_LEN   (TR_CLIENT_LEN + 3 * 32 + 2 * 8)
#define ROW_TURNS  29 /* fill a page: whatever is written over, no other page changes */
#define ROW_LEN    (ROW_TURNS * TURN_LEN)
#define NUMBER_LEN 8
#define NO_PLACE   UINT32_MAX
#define FIRST_ROOM 64

static const char sql_put[] = "INSERT INTO turns (slot, number, first, last, effects, count, turns)"
                              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (slot) DO UPDATE SET"
                              " number = ?2, first = ?3, last = ?4, effects = ?5, count = ?6, turns = ?7";
static const char sql_list[] = "SELECT number, first, last, effects, turns, count FROM turns ORDER BY number";
static const char sql_folded_get[] = "SELECT value FROM meta WHERE name = 'turns.folded'";
static const char sql_folded_put[] = "INSERT INTO meta (name, value) VALUES ('turns.folded', ?1)"
                                     " ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/* ---- a turn's bytes ---- */

static uint8_t *put(uint8_t *at, const void *bytes, size_t len) {
    memcpy(at, bytes, len);
    return at + len;
}

static uint8_t *put_int(uint8_t *at, int64_t value) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
    return at + 8;
}

static const uint8_t *take(const uint8_t *at, void *bytes, size_t len) {
    memcpy(bytes, at, len);
    return at + len;
}

static const uint8_t *take_int(const uint8_t *at, int64_t *value) {
    uint64_t got = 0;
    for (int i = 0; i < 8; i++)
        got = got << 8 | at[i];
    *value = (int64_t)got;
    return at + 8;
}

static void pack(const tr_session *row, uint8_t out[TURN_LEN]) {
    uint8_t *at = put(out, row->client, TR_CLIENT_LEN);
    at = put(at, row->current, 32);
    at = put(at, row->previous, 32);
    at = put(at, row->request, 32);
    at = put_int(at, row->previous_at);
    put_int(at, row->used_at);
}

/* The members that a turn changes. */
static void unpack(const uint8_t in[TURN_LEN], tr_session *row) {
    const uint8_t *at = take(in, row->client, TR_CLIENT_LEN);
    row->client[TR_CLIENT_LEN] = '\0';
    at = take(at, row->current, 32);
    at = take(at, row->previous, 32);
    at = take(at, row->request, 32);
    at = take_int(at, &row->previous_at);
    take_int(at, &row->used_at);
}

/* ---- the newest turn of each session, until it is folded ---- */

/* A row of the ring. Groups one after the other that change nothing in the vault fill one together. */
typedef struct ring_row {
    int64_t number, first, last; /* its groups' entries */
    bool effects;
    size_t len;
    uint8_t turns[ROW_LEN]; /* zeros behind `len` */
} ring_row;

struct tr_turns {
    pthread_mutex_t mutex; /* the writer changes what is kept, others look at it */
    uint8_t (*kept)[TURN_LEN];
    uint32_t count, room;
    uint32_t *places; /* a table of 2 * room: where in `kept` */
    int64_t number;   /* of the newest group; this and what follows is the writer's */
    int64_t folded;
    ring_row newest, next;  /* committed since the opening (number 0: none), and the present group's */
    _Atomic int64_t due_us; /* 0: nothing waits to be folded; tests commit on a thread of their own */
    int64_t due_after_us;
};

/* Clients are random; a few of their characters spread them. */
static uint32_t place_of(const tr_turns *t, const char *client) {
    uint64_t h;
    memcpy(&h, client, sizeof h);
    uint32_t mask = 2 * t->room - 1, at = (uint32_t)((h * 0x9e3779b97f4a7c15u) >> 32) & mask;
    while (t->places[at] != NO_PLACE && memcmp(t->kept[t->places[at]], client, TR_CLIENT_LEN) != 0)
        at = (at + 1) & mask;
    return at;
}

static void forget_all(tr_turns *t) {
    t->count = 0;
    memset(t->places, 0xff, 2 * (size_t)t->room * sizeof *t->places);
}

/* With the mutex. */
static tr_status grow(tr_turns *t, size_t more, tr_error *err) {
    uint32_t room = t->room ? t->room : FIRST_ROOM;
    while (room < t->count + more)
        room *= 2;
    if (room == t->room)
        return TR_OK;
    uint8_t(*kept)[TURN_LEN] = malloc((size_t)room * TURN_LEN);
    uint32_t *places = malloc(2 * (size_t)room * sizeof *places);
    if (!kept || !places) {
        free(kept);
        free(places);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    uint8_t(*old_kept)[TURN_LEN] = t->kept;
    uint32_t *old_places = t->places, count = t->count;
    if (count > 0)
        memcpy(kept, old_kept, (size_t)count * TURN_LEN);
    t->kept = kept;
    t->places = places;
    t->room = room;
    forget_all(t);
    for (; t->count < count; t->count++)
        t->places[place_of(t, (const char *)t->kept[t->count])] = t->count;
    free(old_kept);
    free(old_places);
    return TR_OK;
}

static tr_status make_room(tr_turns *t, size_t more, tr_error *err) {
    pthread_mutex_lock(&t->mutex);
    tr_status st = grow(t, more, err);
    pthread_mutex_unlock(&t->mutex);
    return st;
}

/* There is room. */
static void keep(tr_turns *t, const uint8_t *turn) {
    uint32_t at = place_of(t, (const char *)turn);
    if (t->places[at] == NO_PLACE)
        t->places[at] = t->count++;
    memcpy(t->kept[t->places[at]], turn, TURN_LEN);
}

tr_status tr_turns_new(int fold_ms, tr_turns **out, tr_error *err) {
    tr_turns *t = calloc(1, sizeof *t);
    *out = t;
    if (!t)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&t->mutex, NULL);
    t->due_after_us = (fold_ms > 0 ? fold_ms : FOLD_MS) * (int64_t)1000;
    return make_room(t, 1, err);
}

void tr_turns_free(tr_turns *t) {
    if (!t)
        return;
    pthread_mutex_destroy(&t->mutex);
    free(t->kept);
    free(t->places);
    free(t);
}

/* ---- in a job, and looking ---- */

tr_status tr_turns_add(tr_db *tx, const tr_session *row, tr_error *err) {
    uint8_t turn[TURN_LEN];
    pack(row, turn);
    tr_buf_append(&tx->group->turned, turn, sizeof turn);
    tr_status st = tr_buf_ok(&tx->group->turned, err);
    if (st != TR_OK)
        tx->group->turned.failed = false; /* what was there is intact */
    return st;
}

void tr_turns_look(tr_db *db, const char *client, tr_turn *turn) {
    tr_turns *t = db->group ? db->group->turns : db->store ? db->store->group.turns : NULL;
    turn->found = false;
    if (strlen(client) != TR_CLIENT_LEN)
        return;
    if (db->group) {
        const tr_buf *turned = &db->group->turned;
        for (size_t at = turned->len; at > 0 && !turn->found; at -= TURN_LEN) {
            const char *one = turned->data + at - TURN_LEN;
            turn->found = memcmp(one, client, TR_CLIENT_LEN) == 0;
            if (turn->found)
                unpack((const uint8_t *)one, &turn->session);
        }
    }
    if (!t || turn->found)
        return;
    pthread_mutex_lock(&t->mutex);
    uint32_t place = t->places[place_of(t, client)];
    turn->found = place != NO_PLACE;
    if (turn->found)
        unpack(t->kept[place], &turn->session);
    pthread_mutex_unlock(&t->mutex);
}

void tr_turn_apply(const tr_turn *turn, tr_session *row) {
    if (!turn->found)
        return;
    memcpy(row->current, turn->session.current, sizeof row->current);
    memcpy(row->previous, turn->session.previous, sizeof row->previous);
    memcpy(row->request, turn->session.request, sizeof row->request);
    row->previous_at = turn->session.previous_at;
    row->used_at = turn->session.used_at;
}

/* ---- folding ---- */

static tr_status put_folded(tr_db *tx, int64_t number, tr_error *err) {
    tr_query q;
    uint8_t bytes[NUMBER_LEN];
    put_int(bytes, number);
    tr_status st = tr_query_write(tx, TR_DB_VAULT, sql_folded_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_blob(&q, 1, bytes, sizeof bytes);
    return tr_query_run(&q, NULL, err);
}

/* A session that has ended meanwhile has no row. */
static tr_status write_rows(tr_db *tx, const uint8_t *turns, size_t count, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < count && st == TR_OK; i++) {
        tr_session row;
        unpack(turns + i * TURN_LEN, &row);
        st = tr_session_fold(tx, &row, err);
        if (st == TR_E_NOT_FOUND)
            st = TR_OK;
    }
    return st;
}

tr_status tr_turns_write_rows(tr_db *tx, tr_error *err) {
    const tr_turns *t = tx->group->turns;
    tr_status st = write_rows(tx, t->kept[0], t->count, err);
    return st == TR_OK ? write_rows(tx, (const uint8_t *)tx->group->turned.data,
                                    tx->group->turned.len / TURN_LEN, err)
                       : st;
}

bool tr_turns_due(const tr_turns *t, int64_t now_us) {
    return t->due_us && (now_us >= t->due_us || t->count >= CLIENTS || t->number - t->folded >= WAITING);
}

int64_t tr_turns_due_us(const tr_turns *t) {
    return t->due_us;
}

tr_status tr_turns_fold(tr_db *tx, int64_t number, tr_error *err) {
    tr_status st = tr_turns_write_rows(tx, err);
    return st == TR_OK ? put_folded(tx, number, err) : st;
}

int64_t tr_turns_number(const tr_turns *t) {
    return t->number;
}

bool tr_turns_waiting(const tr_turns *t) {
    return t->count > 0;
}

static tr_status put_row(tr_db *tx, const ring_row *row, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_write(tx, TR_DB_AUDIT, sql_put, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, row->number % RING);
    tr_bind_int(&q, 2, row->number);
    tr_bind_int(&q, 3, row->first);
    tr_bind_int(&q, 4, row->last);
    tr_bind_int(&q, 5, row->effects);
    tr_bind_int(&q, 6, (int64_t)(row->len / TURN_LEN));
    tr_bind_blob(&q, 7, row->turns, sizeof row->turns);
    return tr_query_run(&q, NULL, err);
}

/* Is there room for all of the group in the newest row? Half of it there would be one page more to write. */
static bool joins(const tr_turns *t, bool effects, size_t len) {
    const ring_row *newest = &t->newest;
    return !effects && !newest->effects && newest->number > t->folded && newest->number == t->number &&
           newest->len + len <= sizeof newest->turns;
}

tr_status tr_turns_store(tr_db *tx, int64_t first, int64_t last, bool effects, int64_t *number,
                         tr_error *err) {
    tr_turns *t = tx->group->turns;
    const tr_buf *turned = &tx->group->turned;
    ring_row *row = &t->next;
    tr_status st = make_room(t, turned->len / TURN_LEN, err);
    size_t at = 0;
    if (joins(t, effects, turned->len))
        *row = t->newest;
    else
        *row = (ring_row){.number = ++*number, .first = first, .effects = effects};
    row->last = last;
    while (st == TR_OK) {
        size_t room = sizeof row->turns - row->len, len = turned->len - at < room ? turned->len - at : room;
        if (len > 0)
            memcpy(row->turns + row->len, turned->data + at, len);
        row->len += len;
        at += len;
        st = put_row(tx, row, err);
        if (at == turned->len)
            break;
        *row = (ring_row){.number = ++*number, .first = first, .last = last, .effects = effects};
    }
    return st;
}

void tr_turns_committed(tr_group *group, int64_t number, bool folded, bool behind) {
    tr_turns *t = group->turns;
    if (group->pending_count || group->turned.len) /* tr_turns_store was called */
        t->newest = t->next;
    t->number = number;
    pthread_mutex_lock(&t->mutex);
    if (folded)
        forget_all(t);
    for (size_t at = 0; at < group->turned.len && !folded; at += TURN_LEN)
        keep(t, (const uint8_t *)group->turned.data + at);
    pthread_mutex_unlock(&t->mutex);
    if (folded)
        t->folded = number;
    if (t->count == 0 && !behind)
        t->due_us = 0;
    else if (!t->due_us)
        t->due_us = tr_monotonic_us() + t->due_after_us;
}

/* ---- opening ---- */

typedef struct replay {
    tr_turns *turns;
    int64_t anchor; /* the newest entry that the vault knows */
    tr_lost *lost;
    int64_t oldest; /* entry that a row of the ring tells of */
} replay;

static tr_status take_folded(tr_query *q, void *number, tr_error *err) {
    uint8_t bytes[NUMBER_LEN];
    tr_col_fixed(q, 0, bytes, sizeof bytes);
    take_int(bytes, number);
    return tr_cols_ok(q, err);
}

/* The turns of a group whose other half is missing did not happen either: no answer has left. */
static tr_status replay_row(tr_query *q, void *context, tr_error *err) {
    replay *r = context;
    int64_t number = tr_col_int(q, 0), first = tr_col_int(q, 1), last = tr_col_int(q, 2);
    bool lost = tr_col_int(q, 3) != 0 && last > r->anchor;
    tr_bytes turns = tr_col_blob(q, 4);
    turns.len = (size_t)tr_col_int(q, 5) * TURN_LEN;
    q->bad |= turns.len > tr_col_blob(q, 4).len;
    tr_status st = tr_cols_ok(q, err);
    if (st == TR_OK)
        st = grow(r->turns, turns.len / TURN_LEN, err);
    if (st != TR_OK)
        return st;
    r->oldest = first < r->oldest ? first : r->oldest;
    r->turns->number = number;
    if (lost) {
        r->lost->first = r->lost->last && r->lost->first < first ? r->lost->first : first;
        r->lost->last = last;
    }
    for (size_t at = 0; at < turns.len && !lost && number > r->turns->folded; at += TURN_LEN)
        keep(r->turns, (const uint8_t *)turns.data + at);
    return TR_OK;
}

tr_status tr_turns_load(tr_db *tx, int64_t anchor, tr_lost *lost, tr_error *err) {
    tr_turns *t = tx->group->turns;
    replay r = {t, anchor, lost, INT64_MAX};
    tr_query q;
    *lost = (tr_lost){0};
    pthread_mutex_lock(&t->mutex); /* nobody looks at half of it */
    t->number = t->folded = t->newest.number = t->next.number = 0;
    t->due_us = 0;
    forget_all(t);
    tr_status st = tr_query_begin(tx, TR_DB_VAULT, sql_folded_get, &q, err);
    if (st == TR_OK)
        st = tr_query_each(&q, take_folded, &t->folded, err);
    if (st == TR_OK)
        st = tr_query_begin(tx, TR_DB_AUDIT, sql_list, &q, err);
    if (st == TR_OK)
        st = tr_query_each(&q, replay_row, &r, err);
    if (t->number < t->folded)
        t->number = t->folded;
    if (st == TR_OK && lost->last && (lost->first <= anchor || anchor + 1 < r.oldest))
        lost->first = anchor + 1;
    pthread_mutex_unlock(&t->mutex);
    return st;
}
