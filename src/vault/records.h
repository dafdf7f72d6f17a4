/* Records: payloads sealed under their subject's data key, with blind-index entries for look-up.
 *
 * A payload's associated data is subject, record, type and version, so that no ciphertext can stand in
 * another's place. A blind-index entry is the first 16 bytes of HMAC-SHA-256 over type, field and value under
 * a key of the vault's own (the truncation of SP 800-107): equal values give equal entries, and nothing else
 * can be told from them.
 */
#ifndef TR_VAULT_RECORDS_H
#define TR_VAULT_RECORDS_H

#include <cjson/cJSON.h>

#include "vault/types.h"

typedef struct tr_draft { /* a record version, ready to be stored */
    tr_record row;        /* its pointers point into this draft and `type` */
    tr_rectype *type;     /* a reference of the draft's own */
    tr_buf sealed;
    tr_index_entry *index;
    size_t index_count;
} tr_draft;

/* Validate `data` against the type (TR_E_VALIDATION, err->where is the pointer into data), seal it and
 * compute its index entries. row->id, subject, version, created_at, updated_at and updated_by are set by the
 * caller before. *text (empty; or NULL, when it is not wanted) becomes what was sealed. */
tr_status tr_draft_make(tr_vault *vault, const tr_secret *key, tr_rectype *type, const cJSON *data,
                        tr_draft *draft, tr_buf *text, tr_error *err);
void tr_draft_clear(tr_draft *draft);
/* Inside a job. Both check that the type is still the one the draft was made with (TR_E_PRECONDITION). While
 * a legal hold stands, an update keeps the whole history. */
tr_status tr_draft_insert(tr_db *tx, const tr_draft *draft, tr_error *err);
tr_status tr_draft_update(tr_db *tx, const tr_draft *draft, tr_error *err);

/* Open a stored payload. TR_E_CORRUPT when it does not verify. Its text, as tr_json_print wrote it, is
 * appended; it is wiped by tr_buf_clear. */
tr_status tr_record_open_text(const tr_secret *key, const tr_record *row, tr_buf *text, tr_error *err);
tr_status tr_record_open(const tr_secret *key, const tr_record *row, cJSON **data, tr_error *err);

/* The blind-index entry of a value in the form of rectype.h. */
tr_status tr_index_mac(tr_vault *vault, const char *type, const char *field, tr_bytes value, uint8_t mac[16],
                       tr_error *err);

#endif
