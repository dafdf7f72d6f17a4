#include "vault/rekey.h"

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/databases.h"
#include "vault/ring_files.h"

static tr_status rekey_one(const tr_config *config, tr_keyring *ring, const char *name, tr_error *err) {
    tr_secret old_key = TR_SECRET_INIT, new_key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    /* A rekeying that was cut off before may have left either key as the one that opens it. */
    TR_TRY(tr_database_settle(config, ring, name, err));
    TR_TRY(tr_keyring_named_key(ring, name, false, &old_key, err));
    TR_TRY(tr_keyring_named_next(ring, name, &new_key, err));
    TR_TRY(tr_store_rekey(config->data, name, &old_key, &new_key, err));
    st = tr_keyring_named_promote(ring, name, err);
out:
    tr_secret_clear(&old_key);
    tr_secret_clear(&new_key);
    return st;
}

/* It opens: migrations, checks, and the entry in the log. */
static tr_status open_and_log(const tr_config *config, tr_keyring *ring, tr_error *err) {
    tr_store *store = NULL;
    tr_event event = {.at = tr_now_ms(), .action = "keys.rekey", .outcome = TR_OK};
    tr_status st = tr_databases_open(config, ring, &store, err);
    if (st == TR_OK)
        st = tr_event_write(store, &event, err);
    tr_store_close(store);
    return st;
}

tr_status tr_vault_rekey(const tr_config *config, const tr_secret *passphrase,
                         void (*done)(void *context, const char *database), void *context, tr_error *err) {
    int lock = -1;
    tr_keyring *ring = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_vault_lock(config, &lock, err));
    TR_TRY(tr_vault_ring(config, passphrase, &ring, err));
    for (int i = 0; i < TR_DATABASES; i++) {
        TR_TRY(rekey_one(config, ring, tr_database_names[i], err));
        if (done)
            done(context, tr_database_names[i]);
    }
    st = open_and_log(config, ring, err);
out:
    tr_keyring_close(ring);
    tr_vault_unlock(lock);
    return st;
}
