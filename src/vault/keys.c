/* The versions of the master key: listed, rotated, retired. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/keys_internal.h"
#include "vault/snapshots.h"

/* In vault.db: the newest version whose rotation is in the audit log. Absent: the first one. */
static const char noted_name[] = "keys.rotated";

/* The keyring's names for the keys of the databases. */
static const char *const databases[] = {"vault.db", "keys.db", "audit.db"};
enum { DATABASES = sizeof databases / sizeof *databases };

/* ---- the state ---- */

tr_status tr_key_work_new(tr_key_work **out, tr_error *err) {
    tr_key_work *work = calloc(1, sizeof *work);
    tr_status st =
        work ? tr_monotonic_cond(&work->stopped, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *out = NULL;
    if (st != TR_OK) {
        free(work);
        return st;
    }
    pthread_mutex_init(&work->mutex, NULL);
    pthread_mutex_init(&work->changing, NULL);
    *out = work;
    return TR_OK;
}

void tr_key_work_free(tr_key_work *work) {
    if (!work)
        return;
    pthread_cond_destroy(&work->stopped);
    pthread_mutex_destroy(&work->mutex);
    pthread_mutex_destroy(&work->changing);
    free(work);
}

void tr_keys_lock(tr_vault *vault) {
    pthread_mutex_lock(&vault->key_work->changing);
}

void tr_keys_unlock(tr_vault *vault) {
    pthread_mutex_unlock(&vault->key_work->changing);
}

bool tr_keys_rewrapping(tr_vault *vault) {
    return vault->key_work->clean != tr_keyring_current(vault->ring);
}

void tr_keys_begin_rewrap(tr_vault *vault) {
    tr_vault_wake(vault);
}

/* ---- list ---- */

tr_status tr_masters_get(tr_keyring *ring, tr_master_info **out, size_t *count, tr_error *err) {
    size_t room = 0;
    *out = NULL;
    tr_keyring_list(ring, NULL, 0, count);
    do { /* one more may come in between */
        room = *count + 1;
        tr_master_info *grown = realloc(*out, room * sizeof *grown);
        if (!grown) {
            free(*out);
            *out = NULL;
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        }
        *out = grown;
        tr_keyring_list(ring, grown, room, count);
    } while (*count > room);
    return TR_OK;
}

struct uses {
    tr_master_use *items;
    size_t count;
};

static tr_status take_count(void *context, uint32_t master, int64_t count, tr_error *err) {
    struct uses *u = context;
    (void)err;
    for (size_t i = 0; i < u->count; i++) {
        if (u->items[i].version == master)
            u->items[i].data_keys = count;
    }
    return TR_OK;
}

tr_status tr_keys_list(tr_vault *vault, tr_db *db, tr_master_use **items, size_t *count, tr_error *err) {
    tr_master_info *masters = NULL;
    struct uses u = {0};
    tr_status st = TR_OK;
    *items = NULL;
    TR_TRY(tr_masters_get(vault->ring, &masters, &u.count, err));
    u.items = calloc(u.count ? u.count : 1, sizeof *u.items);
    if (!u.items)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    for (size_t i = 0; i < u.count; i++)
        u.items[i] = (tr_master_use){masters[i].version, masters[i].created_ms, masters[i].current, 0};
    if (db)
        TR_TRY(tr_key_count(db, take_count, &u, err));
    *items = u.items;
    *count = u.count;
    u.items = NULL;
out:
    free(u.items);
    free(masters);
    return st;
}

const char *tr_keys_database(tr_vault *vault, uint32_t version, size_t index) {
    for (size_t i = 0; i < DATABASES; i++) {
        uint32_t master = 0;
        if (tr_keyring_named_master(vault->ring, databases[i], &master, NULL) == TR_OK && master == version &&
            index-- == 0)
            return databases[i];
    }
    return NULL;
}

const char *tr_keys_provider(tr_vault *vault) {
    return tr_keyring_provider_name(vault->ring);
}

/* ---- rotate ---- */

tr_status tr_version_get(tr_db *db, const char *name, uint32_t *version, tr_error *err) {
    tr_buf value = TR_BUF_INIT;
    *version = 1;
    tr_status st = tr_meta_get(db, name, &value, err);
    if (st == TR_OK)
        *version = (uint32_t)strtoul(value.data ? value.data : "", NULL, 10);
    tr_buf_clear(&value);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_version_put(tr_db *tx, const char *name, uint32_t version, tr_error *err) {
    char text[16];
    int n = snprintf(text, sizeof text, "%u", version);
    return tr_meta_put(tx, name, (tr_bytes){text, (size_t)n}, err);
}

tr_status tr_keys_note(tr_db *tx, uint32_t version, tr_error *err) {
    return tr_version_put(tx, noted_name, version, err);
}

tr_status tr_keys_unlogged(tr_vault *vault, uint32_t *version, bool *is, tr_error *err) {
    tr_db *db = NULL;
    uint32_t noted = 0;
    *version = tr_keyring_current(vault->ring);
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = tr_version_get(db, noted_name, &noted, err);
    *is = st == TR_OK && *version > noted;
    return st;
}

tr_status tr_keys_rotate(tr_vault *vault, uint32_t *version, tr_error *err) {
    bool unlogged = false;
    tr_status st = tr_keys_unlogged(vault, version, &unlogged, err);
    return st == TR_OK && !unlogged ? tr_keyring_rotate(vault->ring, version, err) : st;
}

/* ---- retire ---- */

static tr_status check_version(tr_vault *vault, uint32_t version, tr_error *err) {
    tr_master_info *masters = NULL;
    size_t count = 0;
    bool found = false;
    tr_status st = tr_masters_get(vault->ring, &masters, &count, err);
    for (size_t i = 0; st == TR_OK && i < count; i++)
        found = found || masters[i].version == version;
    free(masters);
    if (st == TR_OK && !found)
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such version of the master key");
    if (st == TR_OK && version == tr_keyring_current(vault->ring))
        st = tr_fail(err, TR_E_CONFLICT, NULL, "this version is the current one: rotate first");
    if (st == TR_OK && tr_keys_database(vault, version, 0))
        st = tr_fail(err, TR_E_CONFLICT, NULL, "this version wraps the key of a database");
    return st;
}

/* What no data key needs may be needed by a snapshot. */
static tr_status check_snapshots(tr_vault *vault, uint32_t version, tr_error *err) {
    tr_db *db = NULL;
    bool in_use = false;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = tr_key_in_use(db, version, &in_use, err);
    return st == TR_OK && !in_use ? tr_snapshots_need_master(vault, version, err) : st;
}

struct retirement {
    uint32_t version;
    const tr_event *event;
};

static tr_status retire_job(void *context, tr_db *tx, tr_error *err) {
    struct retirement *r = context;
    bool in_use = false;
    tr_status st = tr_key_in_use(tx, r->version, &in_use, err);
    if (st == TR_OK && in_use)
        st = tr_fail(err, TR_E_CONFLICT, NULL, "data keys are wrapped by this version");
    return st == TR_OK ? tr_event_append(tx, r->event, err) : st;
}

tr_status tr_keys_retire(tr_vault *vault, uint32_t version, const tr_event *event, tr_error *err) {
    struct retirement r = {version, event};
    tr_status st = check_version(vault, version, err);
    if (st == TR_OK)
        st = check_snapshots(vault, version, err);
    if (st == TR_OK)
        st = tr_store_write(vault->store, retire_job, &r, err);
    return st == TR_OK ? tr_keyring_retire(vault->ring, version, err) : st;
}
