/* Principals: who may sign in. A copy of a row that outlives its callback, and the making of new ones. */
#ifndef TR_VAULT_PRINCIPALS_H
#define TR_VAULT_PRINCIPALS_H

#include "vault/vault.h"

#define TR_UID_MAX  254
#define TR_NAME_MAX 200

/* A principal's row with texts of its own; the pointers in `row` point into the arrays. Do not copy by
 * assignment. */
typedef struct tr_principal_copy {
    tr_principal row;
    char uid[TR_UID_MAX + 1];
    char name[TR_NAME_MAX * 4 + 1];
    char password[160];
} tr_principal_copy;

/* Takes a copy; also a tr_principal_fn (context: the tr_principal_copy). */
tr_status tr_principal_keep(void *copy, const tr_principal *row, tr_error *err);

const char *tr_role_name(tr_role role);
bool tr_role_parse(const char *text, tr_role *role);

/* Fill *copy for a new principal with a fresh id: `password` NULL makes a one-time password, written to
 * one_time[32]; else the given one is taken (TR_E_VALIDATION when it is too short or too long) and one_time
 * is "". Hashes: takes about 80 ms. Nothing is stored yet. */
tr_status tr_principal_prepare(tr_role role, const char *uid, const char *name, const char *password,
                               tr_principal_copy *copy, char one_time[32], tr_error *err);
/* Hash a password that a person chose, or (NULL) a generated one, into copy->password. */
tr_status tr_principal_set_password(tr_principal_copy *copy, const char *password, char one_time[32],
                                    tr_error *err);

#endif
