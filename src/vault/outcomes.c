#include "vault/outcomes.h"

#include <string.h>

#include "vault/datakeys.h"
#include "vault/vault_internal.h"

#define BINDING_PARTS 5

static void bind(const tr_outcome *row, tr_bytes parts[BINDING_PARTS]) {
    parts[0] = (tr_bytes){"tresor outcome", 14};
    parts[1] = (tr_bytes){row->principal.bytes, 16};
    parts[2] = (tr_bytes){row->key, 32};
    parts[3] = (tr_bytes){row->request, 32};
    parts[4] = (tr_bytes){row->has_subject ? row->subject.bytes : NULL, row->has_subject ? 16 : 0};
}

/* The subject's key is copied to *room. */
static tr_status choose_key(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_secret *room,
                            const tr_secret **key, tr_error *err) {
    *key = row->has_subject ? room : &vault->outcome_key;
    return row->has_subject ? tr_datakey_get(vault, db, &row->subject, room, err) : TR_OK;
}

tr_status tr_outcome_seal(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_bytes plain, tr_buf *sealed,
                          tr_error *err) {
    tr_secret room = TR_SECRET_INIT;
    const tr_secret *key;
    tr_bytes parts[BINDING_PARTS];
    bind(row, parts);
    tr_status st = choose_key(vault, db, row, &room, &key, err);
    if (st == TR_OK)
        st = tr_aead_seal(key, parts, BINDING_PARTS, plain, sealed, err);
    tr_secret_clear(&room);
    return st;
}

tr_status tr_outcome_open(tr_vault *vault, tr_db *db, const tr_outcome *row, tr_buf *plain, tr_error *err) {
    tr_secret room = TR_SECRET_INIT;
    const tr_secret *key;
    tr_bytes parts[BINDING_PARTS];
    bind(row, parts);
    tr_status st = choose_key(vault, db, row, &room, &key, err);
    if (st == TR_OK)
        st = tr_aead_open(key, parts, BINDING_PARTS, row->sealed, plain, err);
    tr_secret_clear(&room);
    return st;
}

/* ---- cursors ---- */

static void bind_cursor(const tr_uuid *principal, tr_bytes parts[2]) {
    parts[0] = (tr_bytes){"tresor cursor", 13};
    parts[1] = (tr_bytes){principal->bytes, 16};
}

tr_status tr_cursor_seal(tr_vault *vault, const tr_uuid *principal, const tr_uuid *id,
                         uint8_t out[TR_SEALED_CURSOR_LEN], tr_error *err) {
    tr_bytes parts[2];
    tr_buf sealed = TR_BUF_INIT;
    bind_cursor(principal, parts);
    tr_status st = tr_aead_seal(&vault->outcome_key, parts, 2, (tr_bytes){id->bytes, 16}, &sealed, err);
    if (st == TR_OK)
        memcpy(out, sealed.data, TR_SEALED_CURSOR_LEN);
    tr_buf_clear(&sealed);
    return st;
}

tr_status tr_cursor_open(tr_vault *vault, const tr_uuid *principal,
                         const uint8_t sealed[TR_SEALED_CURSOR_LEN], tr_uuid *id, tr_error *err) {
    tr_bytes parts[2];
    tr_buf plain = TR_BUF_INIT;
    bind_cursor(principal, parts);
    tr_status st =
        tr_aead_open(&vault->outcome_key, parts, 2, (tr_bytes){sealed, TR_SEALED_CURSOR_LEN}, &plain, err);
    if (st == TR_OK)
        memcpy(id->bytes, plain.data, 16);
    tr_buf_clear(&plain);
    return st;
}
