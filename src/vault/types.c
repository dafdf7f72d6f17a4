#include "vault/types.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "vault/vault_internal.h"

#define CACHED_TYPES 256

struct tr_type_cache {
    pthread_rwlock_t lock;
    uint64_t
        forgotten; /* how often something was forgotten: what was read before that is not put in after it */
    size_t count;
    tr_rectype *types[CACHED_TYPES];
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
        tr_rectype_unref(cache->types[i]);
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
    while (i < cache->count && strcmp(tr_rectype_name(cache->types[i]), name) != 0)
        i++;
    return i;
}

static tr_status compile_row(void *context, const tr_type *row, tr_error *err) {
    tr_rectype **out = context;
    cJSON *schema = NULL;
    tr_status st = tr_json_parse(row->schema, strlen(row->schema), &schema, err);
    if (st == TR_OK)
        st = tr_rectype_compile(row->name, row->version, schema, out, err);
    cJSON_Delete(schema);
    if (st == TR_E_VALIDATION || st == TR_E_MALFORMED)
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored record type does not compile");
    return st;
}

static void remember(tr_type_cache *cache, tr_rectype *type, uint64_t forgotten) {
    pthread_rwlock_wrlock(&cache->lock);
    size_t i = index_of(cache, tr_rectype_name(type));
    if (cache->forgotten == forgotten && i == cache->count && i < CACHED_TYPES)
        cache->types[cache->count++] = tr_rectype_ref(type);
    pthread_rwlock_unlock(&cache->lock);
}

tr_status tr_types_load(tr_vault *vault, tr_db *db, const char *name, tr_rectype **out, tr_error *err) {
    tr_type_cache *cache = vault->types;
    *out = NULL;
    pthread_rwlock_rdlock(&cache->lock);
    size_t i = index_of(cache, name);
    if (i < cache->count)
        *out = tr_rectype_ref(cache->types[i]);
    uint64_t forgotten = cache->forgotten;
    pthread_rwlock_unlock(&cache->lock);
    if (*out)
        return TR_OK;
    tr_status st = tr_type_get(db, name, compile_row, out, err);
    if (st == TR_OK)
        remember(cache, *out, forgotten);
    return st;
}

void tr_types_forget(tr_vault *vault, const char *name) {
    tr_type_cache *cache = vault->types;
    pthread_rwlock_wrlock(&cache->lock);
    cache->forgotten++;
    size_t i = index_of(cache, name);
    if (i < cache->count) {
        tr_rectype_unref(cache->types[i]);
        cache->types[i] = cache->types[--cache->count];
    }
    pthread_rwlock_unlock(&cache->lock);
}

static tr_status keep_version(void *context, const tr_type *row, tr_error *err) {
    (void)err;
    *(int64_t *)context = row->version;
    return TR_OK;
}

tr_status tr_types_unchanged(tr_db *tx, const tr_rectype *type, tr_error *err) {
    int64_t version = 0;
    tr_status st = tr_type_get(tx, tr_rectype_name(type), keep_version, &version, err);
    if (st == TR_OK && version == tr_rectype_version(type))
        return TR_OK;
    return st == TR_OK || st == TR_E_NOT_FOUND
               ? tr_fail(err, TR_E_PRECONDITION, NULL, "the record's type was changed")
               : st;
}
