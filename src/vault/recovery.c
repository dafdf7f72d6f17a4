#include "vault/recovery.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/databases.h"
#include "vault/ring_files.h"

/* ---- setting it ---- */

static tr_status log_event(tr_store *store, const char *action, tr_error *err) {
    tr_event event = {.at = tr_now_ms(), .action = action, .outcome = TR_OK};
    return tr_event_write(store, &event, err);
}

tr_status tr_vault_set_recovery(const tr_config *config, const tr_secret *passphrase,
                                const uint8_t public_key[32], tr_error *err) {
    int lock = -1;
    tr_keyring *ring = NULL;
    tr_store *store = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_vault_lock(config, &lock, err));
    TR_TRY(tr_vault_ring(config, passphrase, &ring, err));
    TR_TRY(tr_databases_open(config, ring, &store, err));
    TR_TRY(tr_keyring_set_recovery(ring, public_key, err));
    st = log_event(store, "keys.recovery", err);
out:
    tr_store_close(store);
    tr_keyring_close(ring);
    tr_vault_unlock(lock);
    return st;
}

/* ---- using it ---- */

struct masters {
    tr_master_info *items;
    size_t count;
};

static tr_status is_known(void *context, uint32_t version, int64_t count, tr_error *err) {
    const struct masters *masters = context;
    (void)count;
    for (size_t i = 0; i < masters->count; i++) {
        if (masters->items[i].version == version)
            return TR_OK;
    }
    return tr_fail(err, TR_E_CORRUPT, TR_RING TR_RING_RECOVERY,
                   "it is too old: keys of the vault need master key %u, which it does not have", version);
}

/* Does the ring know every version that keys.db needs? In the middle of a migration the other ring has the
 * newest. */
static tr_status check_masters(const tr_config *config, tr_keyring *ring, tr_store *store, tr_error *err) {
    char path[600];
    struct masters masters = {0};
    size_t room;
    tr_db *db = NULL;
    tr_status st = tr_config_path(config, TR_RING_NEW, path, sizeof path, err);
    if (st != TR_OK || access(path, F_OK) == 0)
        return st;
    tr_keyring_list(ring, NULL, 0, &room);
    masters.items = calloc(room, sizeof *masters.items);
    if (!masters.items)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_keyring_list(ring, masters.items, room, &masters.count);
    TR_TRY(tr_store_reader(store, &db, err));
    st = tr_key_count(db, is_known, &masters, err);
out:
    free(masters.items);
    return st;
}

static tr_status recover_ring(const tr_config *config, const tr_recovery *recovery, tr_keyring **ring,
                              tr_error *err) {
    char path[600], from[600];
    tr_status st = TR_OK;
    TR_TRY(tr_config_path(config, TR_RING_RESTORED, path, sizeof path, err));
    TR_TRY(tr_config_path(config, TR_RING TR_RING_RECOVERY, from, sizeof from, err));
    TR_TRY(tr_ring_remove(config, TR_RING_RESTORED, err));
    st = tr_keyring_recover(from, recovery->private_key, path, recovery->spec, ring, err);
out:
    return st;
}

tr_status tr_vault_recover(const tr_config *config, const tr_recovery *recovery, uint32_t *master,
                           tr_error *err) {
    int lock = -1;
    tr_keyring *ring = NULL;
    tr_store *store = NULL;
    bool begun = false;
    tr_status st = TR_OK;
    TR_TRY(tr_vault_lock(config, &lock, err));
    begun = true;
    TR_TRY(recover_ring(config, recovery, &ring, err));
    TR_TRY(tr_databases_open(config, ring, &store, err));
    TR_TRY(check_masters(config, ring, store, err));
    if (recovery->made)
        TR_TRY(recovery->made(recovery->context, err));
    TR_TRY(log_event(store, "keys.restore", err));
    *master = tr_keyring_current(ring);
    tr_store_close(store);
    store = NULL;
    st = tr_ring_replace(config, TR_RING_RESTORED, err);
out:
    tr_store_close(store);
    tr_keyring_close(ring);
    if (begun && st != TR_OK)
        (void)tr_ring_remove(config, TR_RING_RESTORED, NULL);
    tr_vault_unlock(lock);
    return st;
}
