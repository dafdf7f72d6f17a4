#include "vault/databases.h"

const char *const tr_database_names[TR_DATABASES] = {"vault.db", "keys.db", "audit.db"};

/* Is it the successor that opens the database? When neither does, the error is that of the key. */
static tr_status is_next(const tr_config *config, tr_keyring *ring, const char *name, bool *next,
                         tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    bool has = false;
    tr_status st = tr_keyring_named_has_next(ring, name, &has);
    *next = false;
    if (st != TR_OK || !has)
        return st == TR_OK ? st : tr_fail(err, st, name, "the keyring has no key for it");
    TR_TRY(tr_keyring_named_key(ring, name, false, &key, err));
    st = tr_store_try_key(config->data, name, &key, err);
    if (st != TR_E_WRONG_KEY)
        goto out;
    TR_TRY(tr_keyring_named_next(ring, name, &key, err));
    if (tr_store_try_key(config->data, name, &key, NULL) == TR_OK) {
        *next = true;
        st = TR_OK;
    } else {
        st = err ? err->status : TR_E_WRONG_KEY;
    }
out:
    tr_secret_clear(&key);
    return st;
}

tr_status tr_database_settle(const tr_config *config, tr_keyring *ring, const char *name, tr_error *err) {
    bool next = false;
    tr_status st = is_next(config, ring, name, &next, err);
    return st == TR_OK && next ? tr_keyring_named_promote(ring, name, err) : st;
}

tr_status tr_database_key(const tr_config *config, tr_keyring *ring, const char *name, tr_secret *key,
                          tr_error *err) {
    bool next = false;
    tr_status st = is_next(config, ring, name, &next, err);
    if (st != TR_OK)
        return st;
    return next ? tr_keyring_named_next(ring, name, key, err)
                : tr_keyring_named_key(ring, name, false, key, err);
}

static tr_status open_store(const tr_config *config, tr_keyring *ring, bool create, tr_store **out,
                            tr_error *err) {
    tr_secret keys[TR_DATABASES] = {TR_SECRET_INIT, TR_SECRET_INIT, TR_SECRET_INIT};
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && i < TR_DATABASES; i++)
        st = tr_keyring_named_key(ring, tr_database_names[i], create, &keys[i], err);
    if (st == TR_OK) {
        tr_store_options options = {.data_dir = config->data,
                                    .vault_key = &keys[0],
                                    .keys_key = &keys[1],
                                    .audit_key = &keys[2],
                                    .create = create,
                                    .locked = true};
        st = tr_store_open(&options, out, err);
    }
    for (int i = 0; i < TR_DATABASES; i++)
        tr_secret_clear(&keys[i]);
    return st;
}

tr_status tr_databases_create(const tr_config *config, tr_keyring *ring, tr_store **out, tr_error *err) {
    return open_store(config, ring, true, out, err);
}

tr_status tr_databases_open(const tr_config *config, tr_keyring *ring, tr_store **out, tr_error *err) {
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && i < TR_DATABASES; i++)
        st = tr_database_settle(config, ring, tr_database_names[i], err);
    return st == TR_OK ? open_store(config, ring, false, out, err) : st;
}
