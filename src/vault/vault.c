#include "vault/vault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/audit.h"
#include "vault/databases.h"
#include "vault/erasure.h"
#include "vault/incident_mail.h"
#include "vault/incident_notes.h"
#include "vault/keys.h"
#include "vault/outbox.h"
#include "vault/principals.h"
#include "vault/retention.h"
#include "vault/ring_files.h"
#include "vault/snapshots.h"
#include "vault/vault_internal.h"

#define SWEEP_BATCH 500

/* The files that init makes; the -wal and -shm beside a database too. */
static const char *const vault_files[] = {"keyring",      "vault.db",     "vault.db-wal", "vault.db-shm",
                                          "keys.db",      "keys.db-wal",  "keys.db-shm",  "audit.db",
                                          "audit.db-wal", "audit.db-shm", "lock"};

/* ---- init ---- */

#define FIRST_PRINCIPALS 3

/* The vault's own keys in keys.db: 32 random bytes each. The last two are read by vault/incidents.c and
 * vault/proof.c. */
static const char *const named_keys[] = {"index", "outcome", "token", TR_INCIDENT_KEY_NAME, TR_SIGN_KEY_NAME};
enum { NAMED_KEYS = sizeof named_keys / sizeof *named_keys };

struct first_rows {
    tr_principal_copy principals[FIRST_PRINCIPALS];
    tr_buf wrapped[NAMED_KEYS];
    uint32_t master[NAMED_KEYS];
    tr_uuid vault_id;
};

static tr_status insert_first(void *context, tr_db *tx, tr_error *err) {
    struct first_rows *rows = context;
    tr_status st = TR_OK;
    for (int i = 0; i < FIRST_PRINCIPALS; i++)
        TR_TRY(tr_principal_insert(tx, &rows->principals[i].row, err));
    for (int i = 0; i < NAMED_KEYS; i++)
        TR_TRY(tr_named_key_insert(tx, named_keys[i], rows->master[i],
                                   (tr_bytes){rows->wrapped[i].data, rows->wrapped[i].len}, err));
    TR_TRY(tr_proof_name_vault(tx, &rows->vault_id, err));
    TR_TRY(tr_principals_converted(tx, err));
    tr_event event = {.at = tr_now_ms(), .action = "vault.init", .outcome = TR_OK};
    st = tr_event_append(tx, &event, err);
out:
    return st;
}

static tr_status prepare_first(tr_keyring *ring, struct first_rows *rows, tr_first_credentials *first,
                               tr_error *err) {
    static const tr_role roles[FIRST_PRINCIPALS] = {TR_OPERATOR, TR_OFFICER, TR_AUDITOR};
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    rows->vault_id = tr_uuid_new();
    for (int i = 0; i < FIRST_PRINCIPALS; i++) {
        first->items[i].role = tr_role_name(roles[i]);
        snprintf(first->items[i].uid, sizeof first->items[i].uid, "%s", tr_role_name(roles[i]));
        TR_TRY(tr_principal_prepare(roles[i], first->items[i].uid, "", NULL, &rows->principals[i],
                                    first->items[i].password, err));
    }
    for (int i = 0; i < NAMED_KEYS; i++) {
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

/* The folder must be ours alone. */
static tr_status check_folder(const tr_config *config, tr_error *err) {
    if (mkdir(config->data, 0700) != 0 && errno != EEXIST)
        return tr_fail_errno(err, config->data, "cannot make the data folder");
    if (chmod(config->data, 0700) != 0)
        return tr_fail_errno(err, config->data, "cannot make the data folder private");
    return TR_OK;
}

static tr_status check_empty(const tr_config *config, tr_error *err) {
    char path[600];
    struct stat info;
    for (size_t i = 0; i < sizeof vault_files / sizeof vault_files[0]; i++) {
        tr_status st = tr_config_path(config, vault_files[i], path, sizeof path, err);
        if (st != TR_OK)
            return st;
        if (strcmp(vault_files[i], "lock") != 0 && lstat(path, &info) == 0)
            return tr_fail(err, TR_E_EXISTS, vault_files[i], "the data folder holds a vault already");
    }
    return TR_OK;
}

tr_status tr_vault_init(const tr_config *config, const tr_keyring_spec *spec, tr_first_credentials *first,
                        tr_error *err) {
    char path[600];
    int lock = -1;
    tr_keyring *ring = NULL;
    tr_store *store = NULL;
    bool made = false;
    struct first_rows *rows = calloc(1, sizeof *rows);
    tr_status st = rows ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st != TR_OK)
        goto out;
    TR_TRY(check_folder(config, err));
    TR_TRY(check_empty(config, err)); /* before a lock is put into somebody's folder */
    TR_TRY(tr_vault_lock(config, &lock, err));
    TR_TRY(check_empty(config, err));
    TR_TRY(tr_config_path(config, "keyring", path, sizeof path, err));
    made = true;
    TR_TRY(tr_keyring_create(path, spec, 1, &ring, err));
    TR_TRY(prepare_first(ring, rows, first, err));
    TR_TRY(tr_databases_create(config, ring, &store, err));
    TR_TRY(tr_store_write(store, insert_first, rows, err));
out:
    tr_store_close(store);
    tr_keyring_close(ring);
    if (st != TR_OK && made)
        remove_what_init_made(config);
    tr_vault_unlock(lock);
    for (int i = 0; rows && i < NAMED_KEYS; i++)
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

tr_status tr_vault_lock(const tr_config *config, int *lock, tr_error *err) {
    return tr_store_lock(config->data, lock, err);
}

void tr_vault_unlock(int lock) {
    tr_store_unlock(lock);
}

tr_status tr_vault_check_moved(const tr_config *config, tr_error *err) {
    char path[600];
    tr_status st = tr_config_path(config, TR_RING_NEW, path, sizeof path, err);
    if (st == TR_OK && access(path, F_OK) == 0)
        st = tr_fail(err, TR_E_CONFIG, TR_RING_NEW,
                     "a move of the keys was begun and must be completed: run `tresor keys migrate` again");
    return st;
}

/* A fault that may be somebody's doing is kept for when the vault opens again. */
static tr_status open_databases(tr_vault *vault, tr_error *err) {
    tr_error why = {0};
    tr_status st = tr_databases_open(vault->config, vault->ring, &vault->store, &why);
    if (st != TR_OK) {
        tr_incident_note(vault->config, st, why.where);
        if (err)
            *err = why;
    }
    return st;
}

/* Should that fail, the sweep tries again. */
static void take_notes(tr_vault *vault) {
    bool more = false;
    tr_error err = {0};
    if (tr_incident_notes_take(vault, &more, &err) != TR_OK)
        tr_log(TR_LOG_WARN, "incident.notes_not_taken", TR_F_TEXT("reason", err.what));
}

tr_status tr_vault_open_locked(const tr_config *config, int lock, const tr_secret *passphrase, tr_vault **out,
                               tr_error *err) {
    tr_status st = TR_OK;
    tr_vault *vault = calloc(1, sizeof *vault);
    *out = NULL;
    if (!vault) {
        tr_vault_unlock(lock);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    vault->config = config;
    vault->lock = lock;
    TR_TRY(tr_vault_check_moved(config, err));
    TR_TRY(tr_ring_sweep(config, err));
    TR_TRY(tr_snapshots_sweep(config, err));
    TR_TRY(tr_vault_ring(config, passphrase, &vault->ring, err));
    TR_TRY(open_databases(vault, err));
    TR_TRY(load_named_keys(vault, err));
    TR_TRY(tr_incidents_open(vault, err));
    TR_TRY(tr_proof_open(vault, err));
    TR_TRY(tr_session_table_new(&vault->sessions, err));
    TR_TRY(tr_throttle_new(config->sign_in_free_tries, &vault->throttle, err));
    TR_TRY(tr_datakey_cache_new(&vault->datakeys, err));
    TR_TRY(tr_type_cache_new(&vault->types, err));
    TR_TRY(tr_key_work_new(&vault->key_work, err));
    TR_TRY(tr_retention_new(&vault->retention, err));
    TR_TRY(tr_principals_convert(vault, err));
    TR_TRY(tr_erasures_new(&vault->erasures, err));
    TR_TRY(tr_snapshots_new(config, &vault->snapshots, err));
    TR_TRY(tr_outbox_new(config, &vault->outbox, err));
    take_notes(vault);
    tr_store_rest(vault->store);
    *out = vault;
    vault = NULL;
out:
    tr_vault_close(vault);
    return st;
}

tr_status tr_vault_open(const tr_config *config, const tr_secret *passphrase, tr_vault **out, tr_error *err) {
    int lock = -1;
    tr_status st = tr_vault_lock(config, &lock, err);
    *out = NULL;
    return st == TR_OK ? tr_vault_open_locked(config, lock, passphrase, out, err) : st;
}

void tr_vault_close(tr_vault *vault) {
    if (!vault)
        return;
    tr_outbox_join(vault);
    tr_snapshots_join(vault);
    tr_store_close(vault->store);
    tr_session_table_free(vault->sessions);
    tr_throttle_free(vault->throttle);
    tr_datakey_cache_free(vault->datakeys);
    tr_type_cache_free(vault->types);
    tr_key_work_free(vault->key_work);
    tr_retention_free(vault->retention);
    tr_erasures_free(vault->erasures);
    tr_snapshots_free(vault->snapshots);
    tr_outbox_free(vault->outbox);
    tr_secret_clear(&vault->index_key);
    tr_secret_clear(&vault->outcome_key);
    tr_secret_clear(&vault->token_key);
    tr_secret_clear(&vault->incident_key);
    tr_secret_clear(&vault->sign_key);
    tr_keyring_close(vault->ring);
    tr_vault_unlock(vault->lock);
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

/* Each has its turn, whatever came of the others, and takes some seconds of it at most. */
static tr_status (*const tended[])(tr_vault *vault, bool *more, tr_error *err) = {
    tr_incident_notes_take, tr_erasures_resume, tr_mailings_tend,   tr_retention_sweep,
    tr_keys_tend,           tr_snapshots_tend,  tr_outbox_tell_due,
};

tr_status tr_vault_sweep(tr_vault *vault, bool *more, tr_error *err) {
    struct sweep s = {.config = vault->config, .now = tr_now_ms()};
    tr_status st;
    *more = false;
    do
        st = tr_store_write(vault->store, sweep_once, &s, err);
    while (st == TR_OK && s.most >= SWEEP_BATCH);
    for (size_t i = 0; i < sizeof tended / sizeof *tended; i++) {
        tr_error why = {0};
        bool again = false;
        tr_status part = tended[i](vault, &again, &why);
        *more |= again;
        if (part != TR_OK && st == TR_OK) {
            st = part;
            if (err)
                *err = why;
        }
    }
    tr_store_rest(vault->store);
    return st;
}

tr_status tr_vault_verify_audit(const tr_config *config, const tr_secret *passphrase,
                                tr_audit_verdict *verdict, tr_error *err) {
    tr_keyring *ring = NULL;
    tr_secret vault_key = TR_SECRET_INIT, audit_key = TR_SECRET_INIT;
    tr_error why = {0};
    tr_status st = TR_OK;
    TR_TRY(tr_vault_ring(config, passphrase, &ring, &why));
    TR_TRY(tr_database_key(config, ring, "vault.db", &vault_key, &why));
    TR_TRY(tr_database_key(config, ring, "audit.db", &audit_key, &why));
    st = tr_store_verify_offline(config->data, &vault_key, &audit_key, verdict, &why);
    if (st == TR_OK && !verdict->ok)
        tr_incident_note(config, TR_E_CORRUPT, "audit.db");
out:
    if (st != TR_OK) {
        tr_incident_note(config, st, why.where);
        if (err)
            *err = why;
    }
    tr_secret_clear(&vault_key);
    tr_secret_clear(&audit_key);
    tr_keyring_close(ring);
    return st;
}
