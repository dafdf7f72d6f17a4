/* When an activity ends, which version a type has: nearly every request asks for it, and it hardly ever
 * changes. What readers found is kept with the edition of these rules that they saw, and holds until another
 * edition is committed; so it is asked for anew once a change, not after every commit of anything.
 */
#include <stdlib.h>
#include <string.h>

#include "store/sqlcipher/engine.h"

#define PAIRS   64
#define KEY_MAX 64 /* what has a longer one is not kept */

typedef struct slot {
    uint64_t edition; /* 0: free */
    uint8_t kind, len;
    char key[KEY_MAX];
    int64_t values[2];
} slot;

struct tr_stamps {
    pthread_mutex_t mutex;
    slot pairs[PAIRS][2];
};

tr_status tr_stamps_new(tr_stamps **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&(*out)->mutex, NULL);
    return TR_OK;
}

void tr_stamps_free(tr_stamps *stamps) {
    if (!stamps)
        return;
    pthread_mutex_destroy(&stamps->mutex);
    free(stamps);
}

static bool is_of(const slot *s, const tr_stamp *stamp) {
    return s->edition == stamp->edition && s->kind == stamp->kind && s->len == stamp->key.len &&
           memcmp(s->key, stamp->key.data, s->len) == 0;
}

/* FNV-1a. Where the stamp is, or is to be: of three keys with one pair the first stays, the others take turns
 * in the second place. */
static slot *slot_of(tr_stamps *stamps, const tr_stamp *stamp) {
    uint32_t h = 2166136261u ^ (uint32_t)stamp->kind;
    for (size_t i = 0; i < stamp->key.len; i++)
        h = (h ^ ((const uint8_t *)stamp->key.data)[i]) * 16777619u;
    slot *pair = stamps->pairs[h % PAIRS];
    return pair[0].edition != stamp->edition || is_of(&pair[0], stamp) ? &pair[0] : &pair[1];
}

/* A job sees what the jobs before it have changed, and its caches are warm: it looks for itself. */
static tr_stamps *stamps_of(const tr_db *db, const tr_stamp *stamp) {
    return db->group || !db->store || stamp->key.len > KEY_MAX ? NULL : db->store->stamps;
}

static bool find(const tr_db *db, tr_stamps *stamps, tr_stamp *stamp) {
    stamp->edition = db->reading ? db->rules_edition : db->store->group.rules_edition;
    pthread_mutex_lock(&stamps->mutex);
    const slot *s = slot_of(stamps, stamp);
    bool found = is_of(s, stamp);
    if (found)
        memcpy(stamp->values, s->values, sizeof stamp->values);
    pthread_mutex_unlock(&stamps->mutex);
    return found;
}

static void keep(tr_stamps *stamps, const tr_stamp *stamp) {
    pthread_mutex_lock(&stamps->mutex);
    slot *s = slot_of(stamps, stamp);
    s->edition = stamp->edition;
    s->kind = (uint8_t)stamp->kind;
    s->len = (uint8_t)stamp->key.len;
    memcpy(s->key, stamp->key.data, stamp->key.len);
    memcpy(s->values, stamp->values, sizeof s->values);
    pthread_mutex_unlock(&stamps->mutex);
}

static tr_status take(tr_query *q, void *context, tr_error *err) {
    tr_stamp *stamp = context;
    for (int i = 0; i < 2; i++)
        stamp->values[i] = tr_col_int(q, i);
    return tr_cols_ok(q, err);
}

static tr_status ask(tr_db *db, tr_stamp *stamp, const char *sql, const char *none, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql, &q, err);
    if (st != TR_OK)
        return st;
    if (stamp->kind == TR_STAMP_TYPE)
        tr_bind_text_len(&q, 1, stamp->key);
    else
        tr_bind_blob(&q, 1, stamp->key.data, stamp->key.len);
    return tr_query_one(&q, take, stamp, none, err);
}

tr_status tr_stamp_get(tr_db *db, tr_stamp *stamp, const char *sql, const char *none, tr_error *err) {
    tr_stamps *stamps = stamps_of(db, stamp);
    if (stamps && find(db, stamps, stamp))
        return TR_OK;
    tr_status st = ask(db, stamp, sql, none, err);
    if (st == TR_OK && stamps)
        keep(stamps, stamp);
    return st;
}
