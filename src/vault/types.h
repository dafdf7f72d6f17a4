/* Stored record types, compiled once for all threads. */
#ifndef TR_VAULT_TYPES_H
#define TR_VAULT_TYPES_H

#include "vault/rectype.h"
#include "vault/vault.h"

#define TR_TYPE_NAME_MAX 64

/* A lower case letter, then up to 63 of a-z 0-9 _ - */
bool tr_type_name_valid(const char *name);
/* The type as stored now. TR_E_NOT_FOUND. The caller unrefs *out. */
tr_status tr_types_load(tr_vault *vault, tr_db *db, const char *name, tr_rectype **out, tr_error *err);
/* Inside a job: is the stored version still `type`'s? TR_E_PRECONDITION when not: the request is to be
 * prepared anew. */
tr_status tr_types_unchanged(tr_db *tx, const tr_rectype *type, tr_error *err);

#endif
