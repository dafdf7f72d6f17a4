/* Data keys: one a subject, wrapped by a master key in keys.db, in the clear only in locked memory. Lose the
 * key and every payload of the subject is unreadable (SP 800-88 calls it cryptographic erase).
 */
#ifndef TR_VAULT_DATAKEYS_H
#define TR_VAULT_DATAKEYS_H

#include "vault/vault.h"

/* The subject's data key. TR_E_NOT_FOUND when there is none. */
tr_status tr_datakey_get(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_secret *key, tr_error *err);
/* A fresh key and its wrapped form, for tr_key_insert inside the job that registers the subject. */
tr_status tr_datakey_make(tr_vault *vault, tr_secret *key, tr_buf *wrapped, uint32_t *master, tr_error *err);
/* Was the master key rotated since? */
bool tr_datakey_stale(tr_vault *vault, uint32_t master);
/* In that job: keep it for the subject. TR_E_PRECONDITION when it was wrapped by a version of the master key
 * that is no longer current (make another one): such a version gets no new keys, so that it can be retired.
 */
tr_status tr_datakey_insert(tr_vault *vault, tr_db *tx, const tr_uuid *subject, uint32_t master,
                            tr_bytes wrapped, tr_error *err);
/* After the commit that deleted a subject. */
void tr_datakey_forget(tr_vault *vault, const tr_uuid *subject);

#endif
