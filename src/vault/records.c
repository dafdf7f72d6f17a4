#include "vault/records.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "crypto/aead.h"
#include "vault/holds.h"
#include "vault/vault_internal.h"

/* ---- sealing ---- */

struct binding { /* what a payload is bound to */
    uint8_t version[8];
    tr_bytes parts[5];
};

static void bind(const tr_record *row, struct binding *b) {
    for (int i = 0; i < 8; i++)
        b->version[i] = (uint8_t)((uint64_t)row->version >> (56 - 8 * i));
    b->parts[0] = (tr_bytes){"tresor record", 13};
    b->parts[1] = (tr_bytes){row->subject.bytes, 16};
    b->parts[2] = (tr_bytes){row->id.bytes, 16};
    b->parts[3] = (tr_bytes){row->type, strlen(row->type)};
    b->parts[4] = (tr_bytes){b->version, 8};
}

static tr_status seal(const tr_secret *key, tr_bytes text, tr_draft *draft, tr_error *err) {
    struct binding b;
    bind(&draft->row, &b);
    tr_status st = tr_aead_seal(key, b.parts, 5, text, &draft->sealed, err);
    if (st == TR_OK)
        draft->row.sealed = (tr_bytes){draft->sealed.data, draft->sealed.len};
    return st;
}

tr_status tr_record_open_text(const tr_secret *key, const tr_record *row, tr_buf *text, tr_error *err) {
    struct binding b;
    bind(row, &b);
    return tr_aead_open(key, b.parts, 5, row->sealed, text, err);
}

tr_status tr_record_open(const tr_secret *key, const tr_record *row, cJSON **data, tr_error *err) {
    tr_buf plain = TR_BUF_INIT;
    *data = NULL;
    tr_status st = tr_record_open_text(key, row, &plain, err);
    if (st == TR_OK) {
        st = tr_json_parse(plain.data, plain.len, data, err);
        if (st == TR_E_MALFORMED)
            st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored payload is no JSON");
    }
    tr_buf_clear(&plain);
    return st;
}

/* ---- blind index ---- */

tr_status tr_index_mac(tr_vault *vault, const char *type, const char *field, tr_bytes value, uint8_t mac[16],
                       tr_error *err) {
    uint8_t full[TR_SHA256_LEN];
    /* Names hold no NUL, so their NULs part them. */
    const tr_bytes parts[3] = {{type, strlen(type) + 1}, {field, strlen(field) + 1}, value};
    tr_status st = tr_hmac_sha256(&vault->index_key, parts, 3, full, err);
    if (st == TR_OK)
        memcpy(mac, full, 16);
    return st;
}

struct collect {
    tr_vault *vault;
    tr_draft *draft;
    size_t room;
};

static tr_status collect_value(void *context, const char *field, const void *value, size_t len,
                               tr_error *err) {
    struct collect *c = context;
    tr_draft *d = c->draft;
    if (d->index_count == c->room) {
        size_t room = c->room ? 2 * c->room : 8;
        tr_index_entry *grown = realloc(d->index, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        d->index = grown;
        c->room = room;
    }
    tr_index_entry *e = &d->index[d->index_count];
    e->field = field;
    tr_status st = tr_index_mac(c->vault, d->row.type, field, (tr_bytes){value, len}, e->mac, err);
    if (st == TR_OK)
        d->index_count++;
    return st;
}

/* ---- drafts ---- */

tr_status tr_draft_make(tr_vault *vault, const tr_secret *key, tr_rectype *type, const cJSON *data,
                        tr_draft *draft, tr_buf *text, tr_error *err) {
    struct collect c = {vault, draft, 0};
    tr_buf plain = TR_BUF_INIT;
    tr_status st = TR_OK;
    draft->type = tr_rectype_ref(type);
    draft->row.type = tr_rectype_name(type);
    TR_TRY(tr_rectype_validate(type, data, err));
    TR_TRY(tr_json_print(data, &plain, err));
    TR_TRY(seal(key, (tr_bytes){plain.data, plain.len}, draft, err));
    TR_TRY(tr_rectype_index_values(type, data, collect_value, &c, err));
    if (text) {
        *text = plain;
        plain = TR_BUF_INIT;
    }
out:
    tr_buf_clear(&plain);
    return st;
}

void tr_draft_clear(tr_draft *draft) {
    tr_buf_clear(&draft->sealed);
    free(draft->index);
    if (draft->type)
        tr_rectype_unref(draft->type);
    memset(draft, 0, sizeof *draft);
}

tr_status tr_draft_insert(tr_db *tx, const tr_draft *draft, tr_error *err) {
    tr_status st = tr_types_unchanged(tx, draft->type, err);
    return st == TR_OK ? tr_record_insert(tx, &draft->row, draft->index, draft->index_count, err) : st;
}

tr_status tr_draft_update(tr_db *tx, const tr_draft *draft, tr_error *err) {
    bool held = false;
    tr_status st = tr_types_unchanged(tx, draft->type, err);
    if (st == TR_OK)
        st = tr_hold_stands(tx, &draft->row.subject, draft->row.updated_at, &held, err);
    int64_t keep = held ? INT64_MAX : tr_rectype_history(draft->type);
    return st == TR_OK ? tr_record_update(tx, &draft->row, keep, draft->index, draft->index_count, err) : st;
}
