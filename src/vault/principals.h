/* Principals: who may sign in. A copy of a row that outlives its callback, the making of new ones, and how
 * those of data subjects are stored.
 *
 * The uid and the name of a principal with role subject are personal data: once its data key is destroyed, no
 * copy of vault.db, however old, may tell them. So its row holds as uid "s:" and the base64url of
 * HMAC-SHA-256 (index key, "principal-uid" | the uid in ASCII lower case), by which sign-in finds it, and as
 * name the base64 of
 * {"uid","name"} sealed by the subject's data key. The rows of other roles are in the clear.
 */
#ifndef TR_VAULT_PRINCIPALS_H
#define TR_VAULT_PRINCIPALS_H

#include "vault/vault.h"

#define TR_UID_MAX  254
#define TR_NAME_MAX 200
/* Bytes of a name as it is stored: base64 of both texts, in JSON with its escapes, sealed. */
#define TR_NAME_STORED_MAX 4096

/* A principal's row with texts of its own; the pointers in `row` point into the arrays. Do not copy by
 * assignment. */
typedef struct tr_principal_copy {
    tr_principal row;
    char uid[TR_UID_MAX + 1];
    char name[TR_NAME_STORED_MAX + 1]; /* opened: at most 4 * TR_NAME_MAX bytes */
    char password[160];
} tr_principal_copy;

/* Takes a copy as it is stored; also a tr_principal_fn (context: the tr_principal_copy). */
tr_status tr_principal_keep(void *copy, const tr_principal *row, tr_error *err);

/* Turn what is stored into what the person gave. TR_E_NOT_FOUND: the data key is gone, and the person with
 * it.
 */
tr_status tr_principal_open(tr_vault *vault, tr_db *db, tr_principal_copy *copy, tr_error *err);
/* By id, opened. TR_E_NOT_FOUND. Wipe the copy. */
tr_status tr_principal_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_principal_copy *copy,
                            tr_error *err);
/* By uid, as it is stored: looks for both forms, whatever it finds, and opens nothing, so that a known uid
 * takes no longer than an unknown one. */
tr_status tr_principal_find(tr_vault *vault, tr_db *db, const char *uid, tr_principal_copy *copy,
                            tr_error *err);
/* How *plain is to be stored: for tr_principal_add and tr_principal_update. TR_E_NOT_FOUND: no such subject.
 */
tr_status tr_principal_seal(tr_vault *vault, tr_db *db, const tr_principal_copy *plain,
                            tr_principal_copy *stored, tr_error *err);
/* In a job: insert *stored. TR_E_CONFLICT when a principal of any role has the uid; TR_E_NOT_FOUND: no such
 * subject. */
tr_status tr_principal_add(tr_vault *vault, tr_db *tx, const tr_principal_copy *plain,
                           const tr_principal_copy *stored, tr_error *err);

/* May what this subject is given call the principal by its name? Another data subject is nobody's to name. */
bool tr_principal_named_to(const tr_principal *row, const tr_uuid *subject);

const char *tr_role_name(tr_role role);
bool tr_role_parse(const char *text, tr_role *role);

/* Fill *copy for a new principal with a fresh id: TR_E_VALIDATION when the uid has the form of a stored one.
 * `password` NULL makes a one-time password, written to one_time[32]; else the given one is taken
 * (TR_E_VALIDATION when it is too short or too long) and one_time is "". Hashes: takes about 80 ms. Nothing
 * is stored yet. */
tr_status tr_principal_prepare(tr_role role, const char *uid, const char *name, const char *password,
                               tr_principal_copy *copy, char one_time[32], tr_error *err);
/* Hash a password that a person chose, or (NULL) a generated one, into copy->password. */
tr_status tr_principal_set_password(tr_principal_copy *copy, const char *password, char one_time[32],
                                    tr_error *err);

#endif
