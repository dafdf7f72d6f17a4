/* What a caller may do with one subject's records: everything, when they are its own; else what the live
 * grants for the purpose it names allow, together.
 */
#ifndef TR_VAULT_ACCESS_H
#define TR_VAULT_ACCESS_H

#include <cjson/cJSON.h>

#include "vault/rectype.h"
#include "vault/vault.h"

#define TR_PERMITS_MAX 64

typedef struct tr_permit { /* one grant that counts */
    cJSON *types;          /* array of names */
    cJSON *field_list;     /* array of JSON Pointers, or NULL for all; owns the texts of `fields` */
    const char **fields;
    size_t field_count;
    bool masked;
    int actions; /* TR_ACT_* */
} tr_permit;

typedef struct tr_access {
    bool own; /* everything: its own, or an officer's within a request of that subject */
    size_t count;
    tr_permit permits[TR_PERMITS_MAX];
} tr_access;

/* Is this a live activity? TR_E_PURPOSE when not. */
tr_status tr_purpose_check(tr_db *db, const tr_uuid *activity, tr_error *err);
/* The grants of `subject` for `grantee` that count for `purpose` now. */
tr_status tr_access_load(tr_db *db, const tr_uuid *subject, const tr_uuid *grantee, const tr_uuid *purpose,
                         tr_access *access, tr_error *err);
void tr_access_clear(tr_access *access);
/* Keep of it what is granted for export, as something to read: what an export may show. */
void tr_access_for_export(tr_access *access);

/* SHA-256 over what it allows: equal for equal rights. */
tr_status tr_access_digest(const tr_access *access, uint8_t digest[TR_SHA256_LEN], tr_error *err);
/* Is there a grant of one of these actions, for this type (NULL: for any)? */
bool tr_access_may(const tr_access *access, const char *type, int actions);
/* May records of this type be read whole, with nothing left out or masked? */
bool tr_access_sees_all(const tr_access *access, const char *type);
/* Replace *data by what may be seen of it; *partial says that something was left out or masked. */
tr_status tr_access_view(const tr_access *access, const tr_rectype *type, cJSON **data, bool *partial,
                         tr_error *err);
/* May this field (JSON Pointer) be seen unmasked? */
bool tr_access_sees(const tr_access *access, const char *type, const char *field);
/* May whole records be written; may this merge patch be applied to `data`? TR_E_NO_GRANT when not. */
tr_status tr_access_write(const tr_access *access, const char *type, tr_error *err);
tr_status tr_access_patch(const tr_access *access, const char *type, const cJSON *patch, const cJSON *data,
                          tr_error *err);

#endif
