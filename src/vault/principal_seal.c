/* How the principals of data subjects are stored: see vault/principals.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/json_write.h"
#include "crypto/aead.h"
#include "vault/datakeys.h"
#include "vault/principals.h"
#include "vault/vault_internal.h"

#define PREFIX     "s:"
#define PREFIX_LEN 2
#define SEALED_LEN (PREFIX_LEN + TR_BASE64URL_LEN(TR_SHA256_LEN))

/* ---- the uid ---- */

bool tr_principal_uid_sealed(const char *uid) {
    uint8_t mac[TR_SHA256_LEN];
    size_t n = sizeof mac;
    return strncmp(uid, PREFIX, PREFIX_LEN) == 0 && strlen(uid) == SEALED_LEN &&
           tr_base64url_decode(uid + PREFIX_LEN, SEALED_LEN - PREFIX_LEN, mac, &n);
}

/* A uid has no NUL, the names of a record's index entry end with one: no entry has the MAC of a uid. */
static tr_status seal_uid(tr_vault *vault, const char *uid, char out[SEALED_LEN + 1], tr_error *err) {
    static const char label[] = "principal-uid";
    char folded[TR_UID_MAX + 1];
    uint8_t mac[TR_SHA256_LEN];
    size_t n = 0;
    for (; n < sizeof folded - 1 && uid[n]; n++)
        folded[n] = (char)(uid[n] >= 'A' && uid[n] <= 'Z' ? uid[n] + ('a' - 'A') : uid[n]);
    const tr_bytes parts[2] = {{label, sizeof label - 1}, {folded, n}};
    tr_status st = tr_hmac_sha256(&vault->index_key, parts, 2, mac, err);
    if (st == TR_OK) {
        memcpy(out, PREFIX, PREFIX_LEN + 1);
        tr_base64url_encode(mac, sizeof mac, out + PREFIX_LEN);
    }
    tr_wipe(folded, sizeof folded);
    return st;
}

static tr_status pass_over(void *context, const tr_principal *row, tr_error *err) {
    (void)context;
    (void)row;
    (void)err;
    return TR_OK;
}

tr_status tr_principal_find(tr_vault *vault, tr_db *db, const char *uid, tr_principal_copy *copy,
                            tr_error *err) {
    char sealed[SEALED_LEN + 1];
    tr_status st = strlen(uid) <= TR_UID_MAX ? seal_uid(vault, uid, sealed, err) : TR_E_NOT_FOUND;
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "no such principal") : st;
    tr_status a = tr_principal_by_uid(db, uid, tr_principal_keep, copy, err);
    /* What a row of a data subject holds is nobody's uid. */
    if (a == TR_OK && tr_principal_uid_sealed(uid))
        a = tr_fail(err, TR_E_NOT_FOUND, NULL, "no such principal");
    if (a != TR_OK && a != TR_E_NOT_FOUND)
        return a;
    st = tr_principal_by_uid(db, sealed, a == TR_OK ? pass_over : tr_principal_keep, copy, err);
    return st == TR_E_NOT_FOUND && a == TR_OK ? TR_OK : st;
}

/* ---- the texts ---- */

#define BINDING_PARTS 3

static void bind(const tr_principal *row, tr_bytes parts[BINDING_PARTS]) {
    parts[0] = (tr_bytes){"tresor principal", 16};
    parts[1] = (tr_bytes){row->id.bytes, 16};
    parts[2] = (tr_bytes){row->subject.bytes, 16};
}

static bool is_sealed_row(const tr_principal *row) {
    return row->role == TR_SUBJECT && row->has_subject && tr_principal_uid_sealed(row->uid);
}

static tr_status take_texts(tr_bytes plain, tr_principal_copy *copy, tr_error *err) {
    cJSON *tree = NULL;
    tr_status st = tr_json_parse(plain.data, plain.len, &tree, err);
    const char *uid = tr_json_string(tree, "uid"), *name = tr_json_string(tree, "name");
    if (st != TR_OK || !uid || !name || strlen(uid) > TR_UID_MAX || strlen(name) > TR_NAME_MAX * 4) {
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a principal's sealed texts are none");
    } else {
        memcpy(copy->uid, uid, strlen(uid) + 1);
        memcpy(copy->name, name, strlen(name) + 1);
    }
    if (uid)
        tr_wipe(cJSON_GetObjectItemCaseSensitive(tree, "uid")->valuestring, strlen(uid));
    if (name)
        tr_wipe(cJSON_GetObjectItemCaseSensitive(tree, "name")->valuestring, strlen(name));
    cJSON_Delete(tree);
    return st;
}

tr_status tr_principal_open(tr_vault *vault, tr_db *db, tr_principal_copy *copy, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_buf sealed = TR_BUF_INIT, plain = TR_BUF_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_status st = TR_OK;
    if (!is_sealed_row(&copy->row))
        return TR_OK;
    TR_TRY(tr_datakey_get(vault, db, &copy->row.subject, &key, err));
    if (!tr_base64_decode_any(copy->name, strlen(copy->name), &sealed))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, "vault.db", "a principal's sealed texts are none"));
    bind(&copy->row, parts);
    TR_TRY(tr_aead_open(&key, parts, BINDING_PARTS, (tr_bytes){sealed.data, sealed.len}, &plain, err));
    st = take_texts((tr_bytes){plain.data, plain.len}, copy, err);
out:
    tr_secret_clear(&key);
    tr_buf_clear(&sealed);
    tr_buf_clear(&plain);
    return st;
}

tr_status tr_principal_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_principal_copy *copy,
                            tr_error *err) {
    tr_status st = tr_principal_get(db, id, tr_principal_keep, copy, err);
    return st == TR_OK ? tr_principal_open(vault, db, copy, err) : st;
}

static tr_status seal_texts(tr_vault *vault, tr_db *db, const tr_principal *row, tr_buf *text,
                            tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_buf plain = TR_BUF_INIT, sealed = TR_BUF_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_status st = TR_OK;
    bind(row, parts);
    TR_TRY(tr_datakey_get(vault, db, &row->subject, &key, err));
    tr_jw_open(&plain, NULL, '{');
    tr_jw_text(&plain, "uid", row->uid);
    tr_jw_text(&plain, "name", row->name);
    tr_jw_close(&plain, '}');
    TR_TRY(tr_buf_ok(&plain, err));
    TR_TRY(tr_aead_seal(&key, parts, BINDING_PARTS, (tr_bytes){plain.data, plain.len}, &sealed, err));
    tr_base64_append(text, sealed.data, sealed.len);
    st = tr_buf_ok(text, err);
out:
    tr_secret_clear(&key);
    tr_buf_clear(&plain);
    tr_buf_clear(&sealed);
    return st;
}

tr_status tr_principal_seal(tr_vault *vault, tr_db *db, const tr_principal_copy *plain,
                            tr_principal_copy *stored, tr_error *err) {
    char uid[SEALED_LEN + 1];
    tr_buf text = TR_BUF_INIT;
    tr_principal row = plain->row;
    tr_status st = TR_OK;
    if (row.role == TR_SUBJECT && row.has_subject) {
        TR_TRY(seal_uid(vault, plain->uid, uid, err));
        TR_TRY(seal_texts(vault, db, &plain->row, &text, err));
        row.uid = uid;
        row.name = text.data;
    }
    st = tr_principal_keep(stored, &row, err);
out:
    tr_buf_clear(&text);
    return st;
}

tr_status tr_principal_add(tr_vault *vault, tr_db *tx, const tr_principal_copy *plain,
                           const tr_principal_copy *stored, tr_error *err) {
    char sealed[SEALED_LEN + 1];
    bool is_sealed = is_sealed_row(&stored->row);
    tr_status st = is_sealed ? TR_OK : seal_uid(vault, plain->uid, sealed, err);
    if (st == TR_OK)
        st = tr_principal_by_uid(tx, is_sealed ? plain->uid : sealed, pass_over, NULL, err);
    if (st == TR_OK)
        return tr_fail(err, TR_E_CONFLICT, "uid", "the uid is taken");
    return st == TR_E_NOT_FOUND ? tr_principal_insert(tx, &stored->row, err) : st;
}

/* ---- vaults from before ---- */

#define BATCH 200

static const char converted_name[] = "principals.sealed"; /* in vault.db's meta */

struct batch {
    tr_vault *vault;
    tr_db *db;
    tr_uuid last;
    int seen;
    size_t count;
    tr_principal_copy *plain;  /* one */
    tr_principal_copy *stored; /* BATCH */
};

tr_status tr_principals_converted(tr_db *tx, tr_error *err) {
    return tr_meta_put(tx, converted_name, (tr_bytes){"1", 1}, err);
}

static tr_status convert_row(void *context, const tr_principal *row, tr_error *err) {
    struct batch *b = context;
    b->last = row->id;
    b->seen++;
    if (row->role != TR_SUBJECT || !row->has_subject || is_sealed_row(row))
        return TR_OK;
    tr_principal_copy *stored = &b->stored[b->count];
    tr_status st = tr_principal_keep(b->plain, row, err);
    if (st == TR_OK)
        st = tr_principal_seal(b->vault, b->db, b->plain, stored, err);
    if (st == TR_E_NOT_FOUND)
        return TR_OK; /* a subject without a key: no key keeps its texts */
    stored->row.version++;
    b->count += st == TR_OK;
    return st;
}

static tr_status store_batch(void *context, tr_db *tx, tr_error *err) {
    const struct batch *b = context;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < b->count; i++)
        st = tr_principal_update(tx, &b->stored[i].row, err);
    return st;
}

static tr_status note_converted(void *context, tr_db *tx, tr_error *err) {
    (void)context;
    return tr_principals_converted(tx, err);
}

static tr_status is_converted(tr_db *db, bool *yes, tr_error *err) {
    tr_buf value = TR_BUF_INIT;
    tr_status st = tr_meta_get(db, converted_name, &value, err);
    *yes = st == TR_OK;
    tr_buf_clear(&value);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_principals_convert(tr_vault *vault, tr_error *err) {
    struct batch b = {.vault = vault};
    bool done = false;
    tr_status st = TR_OK;
    TR_TRY(tr_store_reader(vault->store, &b.db, err));
    TR_TRY(is_converted(b.db, &done, err));
    if (done)
        goto out;
    b.plain = calloc(1, sizeof *b.plain);
    b.stored = calloc(BATCH, sizeof *b.stored);
    if (!b.plain || !b.stored)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    const tr_uuid *after = NULL;
    tr_uuid room;
    do {
        b.seen = 0;
        b.count = 0;
        TR_TRY(tr_principal_list(b.db, after, BATCH, convert_row, &b, err));
        if (b.count > 0)
            TR_TRY(tr_store_write(vault->store, store_batch, &b, err));
        room = b.last;
        after = &room;
    } while (b.seen == BATCH);
    TR_TRY(tr_store_checkpoint(vault->store, err)); /* the old rows are in no log either */
    TR_TRY(tr_store_write(vault->store, note_converted, NULL, err));
out:
    if (b.plain)
        tr_wipe(b.plain, sizeof *b.plain);
    free(b.plain);
    free(b.stored);
    return st;
}
