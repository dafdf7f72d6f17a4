#include "vault/vault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/principals.h"
#include "vault/vault_internal.h"

#define SWEEP_BATCH 500

/* The files that init makes; the -wal and -shm beside a database too. */
static const char *const vault_files[] = {"keyring",      "vault.db",     "vault.db-wal", "vault.db-shm",
                                          "keys.db",      "keys.db-wal",  "keys.db-shm",  "audit.db",
                                          "audit.db-wal", "audit.db-shm", "lock"};

typedef struct database_keys {
    tr_secret vault, keys, audit;
} database_keys;

static void database_keys_clear(database_keys *keys) {
    tr_secret_clear(&keys->vault);
    tr_secret_clear(&keys->keys);
    tr_secret_clear(&keys->audit);
}

static tr_status database_keys_get(tr_keyring *ring, bool create, database_keys *keys, tr_error *err) {
    tr_status st = tr_keyring_named_key(ring, "vault.db", create, &keys->vault, err);
    if (st == TR_OK)
        st = tr_keyring_named_key(ring, "keys.db", create, &keys->keys, err);
    if (st == TR_OK)
        st = tr_keyring_named_key(ring, "audit.db", create, &keys->audit, err);
    return st;
}

static tr_status store_open(const tr_config *config, tr_keyring *ring, bool create, tr_store **store,
                            tr_error *err) {
    database_keys keys = {0};
    tr_status st = database_keys_get(ring, create, &keys, err);
    if (st == TR_OK) {
        tr_store_options options = {.data_dir = config->data,
                                    .vault_key = &keys.vault,
                                    .keys_key = &keys.keys,
                                    .audit_key = &keys.audit,
                                    .create = create};
        st = tr_store_open(&options, store, err);
    }
    database_keys_clear(&keys);
    return st;
}

/* ---- init ---- */

struct first_rows {
    tr_principal_copy principals[3];
    tr_buf wrapped[3];
    uint32_t master[3];
};

static const char *const named_keys[3] = {"index", "outcome", "token"};

static tr_status insert_first(void *context, tr_db *tx, tr_error *err) {
    struct first_rows *rows = context;
    tr_status st = TR_OK;
    for (int i = 0; i < 3; i++) {
        TR_TRY(tr_principal_insert(tx, &rows->principals[i].row, err));
        TR_TRY(tr_named_key_insert(tx, named_keys[i], rows->master[i],
                                   (tr_bytes){rows->wrapped[i].data, rows->wrapped[i].len}, err));
    }
    tr_event event = {.at = tr_now_ms(), .action = "vault.init", .outcome = TR_OK};
    st = tr_event_append(tx, &event, err);
out:
    return st;
}

static tr_status prepare_first(tr_keyring *ring, struct first_rows *rows, tr_first_credentials *first,
                               tr_error *err) {
    static const tr_role roles[3] = {TR_OPERATOR, TR_OFFICER, TR_AUDITOR};
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    for (int i = 0; i < 3; i++) {
        first->items[i].role = tr_role_name(roles[i]);
        snprintf(first->items[i].uid, sizeof first->items[i].uid, "%s", tr_role_name(roles[i]));
        TR_TRY(tr_principal_prepare(roles[i], first->items[i].uid, "", NULL, &rows->principals[i],
                                    first->items[i].password, err));
        TR_TRY(tr_secret_random(&key, 32, err));
        TR_TRY(tr_keyring_wrap(ring, &key, &rows->wrapped[i], &rows->master[i], err));
    }
out:
    tr_secret_clear(&key);
    return st;
}

static void remove_what_init_made(const tr_config *config) {
    char path[600];
    for (size_t i = 0; i < sizeof vault_files / sizeof vault_files[0]; i++) {
        if (tr_config_path(config, vault_files[i], path, sizeof path, NULL) == TR_OK)
            (void)unlink(path);
    }
}

/* The folder must be ours alone and hold no vault. */
static tr_status check_folder(const tr_config *config, tr_error *err) {
    char path[600];
    struct stat info;
    if (mkdir(config->data, 0700) != 0 && errno != EEXIST)
        return tr_fail_errno(err, config->data, "cannot make the data folder");
    if (chmod(config->data, 0700) != 0)
        return tr_fail_errno(err, config->data, "cannot make the data folder private");
    for (size_t i = 0; i < sizeof vault_files / sizeof vault_files[0]; i++) {
        tr_status st = tr_config_path(config, vault_files[i], path, sizeof path, err);
        if (st != TR_OK)
            return st;
        if (strcmp(vault_files[i], "lock") != 0 && lstat(path, &info) == 0)
            return tr_fail(err, TR_E_EXISTS, vault_files[i], "the data folder holds a vault already");
    }
    return TR_OK;
}

tr_status tr_vault_init(const tr_config *config, const tr_secret *passphrase, tr_first_credentials *first,
                        tr_error *err) {
    char path[600];
    tr_keyring *ring = NULL;
    tr_store *store = NULL;
    bool made = false;
    struct first_rows *rows = calloc(1, sizeof *rows);
    tr_status st = rows ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st != TR_OK)
        goto out;
    TR_TRY(check_folder(config, err));
    TR_TRY(tr_config_path(config, "keyring", path, sizeof path, err));
    made = true;
    TR_TRY(tr_keyring_create_file(path, passphrase, &ring, err));
    TR_TRY(prepare_first(ring, rows, first, err));
    TR_TRY(store_open(config, ring, true, &store, err));
    TR_TRY(tr_store_write(store, insert_first, rows, err));
out:
    tr_store_close(store);
    tr_keyring_close(ring);
    if (st != TR_OK && made)
        remove_what_init_made(config);
    for (int i = 0; rows && i < 3; i++)
        tr_buf_clear(&rows->wrapped[i]);
    if (rows)
        tr_wipe(rows, sizeof *rows);
    free(rows);
    return st;
}

/* ---- open ---- */

struct unwrap {
    tr_keyring *ring;
    tr_secret *key;
};

static tr_status unwrap_named(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    struct unwrap *u = context;
    return tr_keyring_unwrap(u->ring, master, wrapped, u->key, err);
}

static tr_status load_named_keys(tr_vault *vault, tr_error *err) {
    tr_secret *const keys[3] = {&vault->index_key, &vault->outcome_key, &vault->token_key};
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    for (int i = 0; st == TR_OK && i < 3; i++) {
        struct unwrap u = {vault->ring, keys[i]};
        st = tr_named_key_get(db, named_keys[i], unwrap_named, &u, err);
        if (st == TR_E_NOT_FOUND)
            st =
                tr_fail(err, TR_E_CORRUPT, "keys.db", "the vault's own key \"%s\" is missing", named_keys[i]);
    }
    return st;
}

tr_status tr_vault_open(const tr_config *config, const tr_secret *passphrase, tr_vault **out, tr_error *err) {
    char path[600];
    tr_status st = TR_OK;
    tr_vault *vault = calloc(1, sizeof *vault);
    *out = NULL;
    if (!vault)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    vault->config = config;
    TR_TRY(tr_config_path(config, "keyring", path, sizeof path, err));
    TR_TRY(tr_keyring_open_file(path, passphrase, &vault->ring, err));
    TR_TRY(store_open(config, vault->ring, false, &vault->store, err));
    TR_TRY(load_named_keys(vault, err));
    TR_TRY(tr_session_table_new(&vault->sessions, err));
    TR_TRY(tr_throttle_new(config->sign_in_free_tries, &vault->throttle, err));
    TR_TRY(tr_datakey_cache_new(&vault->datakeys, err));
    TR_TRY(tr_type_cache_new(&vault->types, err));
    *out = vault;
    vault = NULL;
out:
    tr_vault_close(vault);
    return st;
}

void tr_vault_close(tr_vault *vault) {
    if (!vault)
        return;
    tr_store_close(vault->store);
    tr_session_table_free(vault->sessions);
    tr_throttle_free(vault->throttle);
    tr_datakey_cache_free(vault->datakeys);
    tr_type_cache_free(vault->types);
    tr_secret_clear(&vault->index_key);
    tr_secret_clear(&vault->outcome_key);
    tr_secret_clear(&vault->token_key);
    tr_keyring_close(vault->ring);
    free(vault);
}

tr_store *tr_vault_store(tr_vault *vault) {
    return vault->store;
}

const tr_config *tr_vault_config(const tr_vault *vault) {
    return vault->config;
}

/* ---- sweep ---- */

struct sweep {
    const tr_config *config;
    int64_t now;
    int64_t most; /* the largest count that one of the tables gave */
};

static tr_status sweep_once(void *context, tr_db *tx, tr_error *err) {
    struct sweep *s = context;
    const tr_config *c = s->config;
    int64_t counts[3] = {0};
    int64_t outcomes_before = s->now - c->idempotency_s * 1000;
    tr_status st = tr_session_sweep(tx, s->now - c->session_idle_s * 1000,
                                    s->now - c->session_absolute_s * 1000, SWEEP_BATCH, &counts[0], err);
    if (st == TR_OK)
        st = tr_outcome_sweep(tx, outcomes_before, SWEEP_BATCH, &counts[1], err);
    if (st == TR_OK)
        st = tr_import_batch_sweep(tx, outcomes_before, SWEEP_BATCH, &counts[2], err);
    s->most = 0;
    for (int i = 0; i < 3; i++)
        s->most = counts[i] > s->most ? counts[i] : s->most;
    return st;
}

tr_status tr_vault_sweep(tr_vault *vault, tr_error *err) {
    struct sweep s = {.config = vault->config, .now = tr_now_ms()};
    tr_status st;
    do
        st = tr_store_write(vault->store, sweep_once, &s, err);
    while (st == TR_OK && s.most >= SWEEP_BATCH);
    return st;
}

tr_status tr_vault_verify_audit(const tr_config *config, const tr_secret *passphrase,
                                tr_audit_verdict *verdict, tr_error *err) {
    char path[600];
    tr_keyring *ring = NULL;
    database_keys keys = {0};
    tr_status st = tr_config_path(config, "keyring", path, sizeof path, err);
    if (st == TR_OK)
        st = tr_keyring_open_file(path, passphrase, &ring, err);
    if (st == TR_OK)
        st = database_keys_get(ring, false, &keys, err);
    if (st == TR_OK)
        st = tr_store_verify_offline(config->data, &keys.vault, &keys.audit, verdict, err);
    database_keys_clear(&keys);
    tr_keyring_close(ring);
    return st;
}
