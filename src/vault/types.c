#include "vault/types.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "vault/vault_internal.h"

#define CACHED_TYPES 256

typedef struct cached {
    tr_rectype *type;
    int64_t updated_at;
} cached;

/* What is cached is used only when it is what the caller's own view of the database has: nothing has to be
 * forgotten. */
struct tr_type_cache {
    pthread_rwlock_t lock;
    size_t count;
    cached types[CACHED_TYPES];
};

tr_status tr_type_cache_new(tr_type_cache **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_rwlock_init(&(*out)->lock, NULL);
    return TR_OK;
}

void tr_type_cache_free(tr_type_cache *cache) {
    if (!cache)
        return;
    for (size_t i = 0; i < cache->count; i++)
        tr_rectype_unref(cache->types[i].type);
    pthread_rwlock_destroy(&cache->lock);
    free(cache);
}

bool tr_type_name_valid(const char *name) {
    size_t n = strlen(name);
    return n >= 1 && n <= TR_TYPE_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

static size_t index_of(const tr_type_cache *cache, const char *name) {
    size_t i = 0;
    while (i < cache->count && strcmp(tr_rectype_name(cache->types[i].type), name) != 0)
        i++;
    return i;
}

static tr_rectype *find(tr_type_cache *cache, const char *name, const tr_type_stamp *stamp) {
    tr_rectype *type = NULL;
    pthread_rwlock_rdlock(&cache->lock);
    size_t i = index_of(cache, name);
    if (i < cache->count && tr_rectype_version(cache->types[i].type) == stamp->version &&
        cache->types[i].updated_at == stamp->updated_at)
        type = tr_rectype_ref(cache->types[i].type);
    pthread_rwlock_unlock(&cache->lock);
    return type;
}

/* The newest stays; another one of that name makes room. */
static void keep(tr_type_cache *cache, tr_rectype *type, int64_t updated_at) {
    pthread_rwlock_wrlock(&cache->lock);
    size_t i = index_of(cache, tr_rectype_name(type));
    bool fresh = i == cache->count;
    if (fresh && cache->count < CACHED_TYPES)
        cache->count++;
    if (i < CACHED_TYPES && (fresh || cache->types[i].updated_at <= updated_at)) {
        if (!fresh)
            tr_rectype_unref(cache->types[i].type);
        cache->types[i] = (cached){tr_rectype_ref(type), updated_at};
    }
    pthread_rwlock_unlock(&cache->lock);
}

struct compile {
    tr_rectype *type;
    int64_t updated_at;
};

static tr_status compile_row(void *context, const tr_type *row, tr_error *err) {
    struct compile *c = context;
    cJSON *schema = NULL;
    tr_status st = tr_json_parse(row->schema, strlen(row->schema), &schema, err);
    c->updated_at = row->updated_at;
    if (st == TR_OK)
        st = tr_rectype_compile(row->name, row->version, schema, &c->type, err);
    cJSON_Delete(schema);
    if (st == TR_E_VALIDATION || st == TR_E_MALFORMED)
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored record type does not compile");
    return st;
}

tr_status tr_types_load(tr_vault *vault, tr_db *db, const char *name, tr_rectype **out, tr_error *err) {
    tr_type_stamp stamp;
    struct compile c = {0};
    *out = NULL;
    tr_status st = tr_type_stamp_get(db, name, &stamp, err);
    if (st != TR_OK)
        return st;
    *out = find(vault->types, name, &stamp);
    if (*out)
        return TR_OK;
    st = tr_type_get(db, name, compile_row, &c, err);
    if (st != TR_OK)
        return st;
    keep(vault->types, c.type, c.updated_at);
    *out = c.type;
    return TR_OK;
}

tr_status tr_types_unchanged(tr_db *tx, const tr_rectype *type, tr_error *err) {
    tr_type_stamp stamp;
    tr_status st = tr_type_stamp_get(tx, tr_rectype_name(type), &stamp, err);
    if (st == TR_OK && stamp.version == tr_rectype_version(type))
        return TR_OK;
    return st == TR_OK || st == TR_E_NOT_FOUND
               ? tr_fail(err, TR_E_PRECONDITION, NULL, "the record's type was changed")
               : st;
}
