#include "vault/migrate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/databases.h"
#include "vault/keys.h"
#include "vault/ring_files.h"

#define BATCH        500
#define WRAPPED_MAX  128
#define NAME_MAX_LEN 64

typedef struct migration {
    const tr_config *config;
    const tr_migration *wish;
    tr_keyring *from, *to;
    tr_store *store;
    uint32_t version; /* of the new ring's master key */
    int64_t moved;
} migration;

/* ---- the new ring ---- */

/* Is there a key that the old ring is too old for? It was moved already. */
struct seen {
    uint32_t newest;
    bool newer;
};

static tr_status look(void *context, uint32_t master, int64_t count, tr_error *err) {
    struct seen *seen = context;
    (void)count;
    (void)err;
    seen->newer |= master > seen->newest;
    return TR_OK;
}

static tr_status something_moved(migration *m, bool *moved, tr_error *err) {
    struct seen seen = {.newest = tr_keyring_current(m->from)};
    tr_db *db = NULL;
    tr_status st = tr_store_reader(m->store, &db, err);
    if (st == TR_OK)
        st = tr_key_count(db, look, &seen, err);
    *moved = seen.newer;
    return st;
}

static tr_status make_ring(migration *m, const char *path, tr_error *err) {
    uint32_t first = tr_keyring_current(m->from) + 1;
    tr_status st = tr_keyring_create(path, m->wish->spec, first, &m->to, err);
    return st == TR_OK && m->wish->made ? m->wish->made(m->wish->context, err) : st;
}

/* The ring that an earlier run made, and that keys were moved to. */
static tr_status open_ring(migration *m, const char *path, const tr_keyring_need *need, tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st;
    if (strcmp(need->provider, m->wish->spec->provider) != 0)
        return tr_fail(err, TR_E_CONFIG, TR_RING_NEW, "a move to %s was begun: complete that one first",
                       need->provider);
    if (!m->wish->new_passphrase)
        return tr_keyring_open_file(path, m->wish->spec->passphrase, &m->to, err);
    st = m->wish->new_passphrase(m->wish->context, path, &passphrase, err);
    if (st == TR_OK)
        st = tr_keyring_open_file(path, &passphrase, &m->to, err);
    tr_secret_clear(&passphrase);
    return st;
}

static tr_status new_ring(migration *m, tr_error *err) {
    char path[600];
    bool moved = false;
    tr_keyring_need need = {.provider = ""};
    tr_status st = TR_OK;
    TR_TRY(tr_config_path(m->config, TR_RING_NEW, path, sizeof path, err));
    if (access(path, F_OK) != 0) {
        TR_TRY(tr_ring_remove(m->config, TR_RING_NEW, err));
        TR_TRY(make_ring(m, path, err));
    } else {
        TR_TRY(something_moved(m, &moved, err));
        TR_TRY(tr_keyring_peek(path, &need, err));
        /* A token's keys would be left behind in it, so its ring is kept too. Shares that were not handed out
         * are lost. */
        bool keep =
            moved || (strcmp(need.provider, "pkcs11") == 0 && strcmp(m->wish->spec->provider, "pkcs11") == 0);
        if (keep) {
            TR_TRY(open_ring(m, path, &need, err));
        } else {
            TR_TRY(tr_ring_remove(m->config, TR_RING_NEW, err));
            TR_TRY(make_ring(m, path, err));
        }
    }
    m->version = tr_keyring_current(m->to);
    st = tr_keyring_copy_named(m->from, m->to, err);
out:
    return st;
}

/* ---- moving ---- */

typedef struct moved_key {
    tr_uuid subject;
    char name[NAME_MAX_LEN + 1]; /* of the vault's own; "" : a subject's */
    uint32_t old_master, master;
    uint8_t wrapped[WRAPPED_MAX];
    size_t len;
} moved_key;

typedef struct batch {
    migration *m;
    moved_key keys[BATCH];
    size_t count;
} batch;

static tr_status wrap_again(batch *b, uint32_t master, tr_bytes wrapped, moved_key **out, tr_error *err) {
    moved_key *key = &b->keys[b->count];
    tr_secret plain = TR_SECRET_INIT;
    tr_buf again = TR_BUF_INIT;
    tr_status st = TR_OK;
    if (b->count == BATCH)
        return tr_fail(err, TR_E_INTERNAL, "keys.db", "more keys than a batch takes");
    TR_TRY(tr_keyring_unwrap(b->m->from, master, wrapped, &plain, err));
    TR_TRY(tr_keyring_wrap(b->m->to, &plain, &again, &key->master, err));
    if (again.failed || again.len > sizeof key->wrapped)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, "keys.db", "a wrapped key of %zu bytes", again.len));
    memcpy(key->wrapped, again.data, again.len);
    key->len = again.len;
    key->old_master = master;
    key->name[0] = '\0';
    b->count++;
    *out = key;
out:
    tr_secret_clear(&plain);
    tr_buf_clear(&again);
    if (st == TR_E_NOT_FOUND)
        st = tr_fail(err, TR_E_CORRUPT, "keys.db", "a key needs master key %u, which no keyring has", master);
    return st;
}

static tr_status take_key(void *context, const tr_uuid *subject, uint32_t master, tr_bytes wrapped,
                          tr_error *err) {
    moved_key *key = NULL;
    tr_status st = wrap_again(context, master, wrapped, &key, err);
    if (st == TR_OK)
        key->subject = *subject;
    return st;
}

static tr_status take_named(void *context, const char *name, uint32_t master, tr_bytes wrapped,
                            tr_error *err) {
    batch *b = context;
    moved_key *key = NULL;
    if (master == b->m->version)
        return TR_OK;
    tr_status st = wrap_again(b, master, wrapped, &key, err);
    if (st == TR_OK && (size_t)snprintf(key->name, sizeof key->name, "%s", name) >= sizeof key->name)
        st = tr_fail(err, TR_E_INTERNAL, "keys.db", "a key's name is too long");
    return st;
}

static tr_status store_batch(void *context, tr_db *tx, tr_error *err) {
    const batch *b = context;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < b->count; i++) {
        const moved_key *key = &b->keys[i];
        tr_bytes wrapped = {key->wrapped, key->len};
        st = key->name[0] ? tr_named_key_rewrap(tx, key->name, key->old_master, key->master, wrapped, err)
                          : tr_key_rewrap(tx, &key->subject, key->old_master, key->master, wrapped, err);
    }
    return st;
}

static tr_status move_keys(migration *m, tr_error *err) {
    tr_uuid after;
    tr_db *db = NULL;
    batch *b = calloc(1, sizeof *b);
    tr_status st = b ? tr_store_reader(m->store, &db, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st != TR_OK)
        goto out;
    b->m = m;
    TR_TRY(tr_named_key_list(db, take_named, b, err));
    for (bool first = true; first || b->count; first = false) {
        const tr_uuid *from = NULL;
        if (b->count) {
            TR_TRY(tr_store_write(m->store, store_batch, b, err));
            m->moved += (int64_t)b->count;
        }
        if (!first) {
            after = b->keys[b->count - 1].subject;
            from = &after;
        }
        b->count = 0;
        TR_TRY(tr_key_list_stale(db, m->version, from, BATCH, take_key, b, err));
    }
out:
    free(b);
    return st;
}

/* ---- the end ---- */

static tr_status is_moved(void *context, uint32_t master, int64_t count, tr_error *err) {
    const migration *m = context;
    (void)count;
    return master == m->version
               ? TR_OK
               : tr_fail(err, TR_E_CORRUPT, "keys.db", "a key stayed under master key %u", master);
}

static tr_status log_it(void *context, tr_db *tx, tr_error *err) {
    const migration *m = context;
    tr_event event = {.at = tr_now_ms(), .action = "keys.migrate", .outcome = TR_OK};
    tr_status st = tr_event_append(tx, &event, err);
    return st == TR_OK ? tr_keys_note(tx, m->version, err) : st;
}

static tr_status finish_store(migration *m, tr_error *err) {
    tr_db *db = NULL;
    tr_status st = tr_store_reader(m->store, &db, err);
    if (st == TR_OK)
        st = tr_key_count(db, is_moved, m, err);
    if (st == TR_OK)
        st = tr_store_write(m->store, log_it, m, err);
    if (st == TR_OK) /* so that no key wrapped by the old ring stays in a WAL */
        st = tr_store_checkpoint(m->store, err);
    return st;
}

static tr_status check_spec(const tr_config *config, const tr_keyring_spec *spec, tr_error *err) {
    tr_keyring_need need;
    tr_status st = tr_vault_ring_need(config, &need, err);
    if (st == TR_OK && strcmp(need.provider, "pkcs11") == 0 && strcmp(spec->provider, "pkcs11") == 0 &&
        strcmp(need.pkcs11_token, spec->pkcs11_token) == 0 &&
        strcmp(need.pkcs11_module, spec->pkcs11_module) == 0)
        st = tr_fail(err, TR_E_CONFIG, TR_RING, "the keys are in this token already");
    return st;
}

tr_status tr_vault_migrate(const tr_config *config, const tr_migration *wish, uint32_t *version,
                           int64_t *moved, tr_error *err) {
    migration m = {.config = config, .wish = wish};
    int lock = -1;
    tr_status st = TR_OK;
    TR_TRY(tr_vault_lock(config, &lock, err));
    TR_TRY(check_spec(config, wish->spec, err));
    TR_TRY(tr_vault_ring(config, wish->old_passphrase, &m.from, err));
    TR_TRY(tr_databases_open(config, m.from, &m.store, err));
    TR_TRY(new_ring(&m, err));
    TR_TRY(move_keys(&m, err));
    TR_TRY(finish_store(&m, err));
    tr_store_close(m.store);
    m.store = NULL;
    TR_TRY(tr_ring_replace(config, TR_RING_NEW, err));
    *version = m.version;
    *moved = m.moved;
out:
    tr_store_close(m.store);
    tr_keyring_close(m.to);
    tr_keyring_close(m.from);
    tr_vault_unlock(lock);
    return st;
}
