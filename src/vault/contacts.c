#include "vault/contacts.h"

#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/json_write.h"
#include "crypto/aead.h"
#include "vault/datakeys.h"
#include "vault/outbox.h"
#include "vault/vault_internal.h"
#include "vault/webhook.h"

#define BINDING_PARTS 3

void tr_contact_clear(tr_contact *contact) {
    tr_secret_clear(&contact->secret);
    tr_wipe(contact, sizeof *contact);
}

/* ---- addresses ---- */

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Parts of these characters, up to `most` of them, with single dots between. */
static bool is_dotted(const char *text, size_t len, const char *characters, size_t most) {
    size_t run = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' ? run == 0 : !strchr(characters, text[i]))
            return false;
        run = text[i] == '.' ? 0 : run + 1;
        if (run > most)
            return false;
    }
    return run > 0;
}

/* No label begins or ends with a hyphen; the last has a letter: else it may be an address. */
static bool is_domain(const char *text) {
    const size_t len = strlen(text);
    const char *last = strrchr(text, '.');
    if (len > 253 || !last || !is_dotted(text, len, ALPHANUMERIC "-", 63) || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-' && (text[i - 1] == '.' || text[i + 1] == '.' || text[i + 1] == '\0'))
            return false;
    }
    return strspn(last + 1, "0123456789") < strlen(last + 1);
}

bool tr_email_valid(const char *text) {
    const char *at = strchr(text, '@');
    return at && strlen(text) <= TR_EMAIL_MAX && at - text <= 64 &&
           is_dotted(text, (size_t)(at - text), ALPHANUMERIC "!#$%&'*+/=?^_`{|}~-", 64) && is_domain(at + 1);
}

tr_status tr_contact_set_webhook(tr_vault *vault, tr_contact *contact, const char *url, const char *where,
                                 tr_error *err) {
    char host[TR_HOST_MAX + 1];
    tr_status st = tr_targets_check_url(tr_outbox_targets(vault), url, where, host, err);
    if (st == TR_OK)
        st = tr_secret_random(&contact->secret, TR_WEBHOOK_SECRET_LEN, err);
    if (st == TR_OK)
        memcpy(contact->url, url, strlen(url) + 1);
    return st;
}

/* ---- sealed ---- */

static void bind_owner(const tr_principal *owner, tr_bytes parts[BINDING_PARTS]) {
    parts[0] = (tr_bytes){"tresor contact", 14};
    parts[1] = (tr_bytes){owner->id.bytes, 16};
    parts[2] = (tr_bytes){owner->has_subject ? owner->subject.bytes : NULL, owner->has_subject ? 16 : 0};
}

static tr_status choose_key(tr_vault *vault, tr_db *db, const tr_principal *owner, tr_secret *room,
                            const tr_secret **key, tr_error *err) {
    *key = owner->has_subject ? room : &vault->outcome_key;
    return owner->has_subject ? tr_datakey_get(vault, db, &owner->subject, room, err) : TR_OK;
}

tr_status tr_contact_seal(tr_vault *vault, tr_db *db, const tr_principal *owner, const tr_contact *contact,
                          tr_buf *sealed, tr_error *err) {
    tr_secret room = TR_SECRET_INIT;
    const tr_secret *key;
    tr_buf plain = TR_BUF_INIT, secret = TR_BUF_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_status st = TR_OK;
    bind_owner(owner, parts);
    tr_jw_open(&plain, NULL, '{');
    if (contact->email[0]) {
        tr_jw_text(&plain, "email", contact->email);
    } else {
        tr_base64_append(&secret, contact->secret.data, contact->secret.len);
        tr_jw_text(&plain, "url", contact->url);
        tr_jw_text(&plain, "secret", secret.data);
    }
    tr_jw_close(&plain, '}');
    TR_TRY(tr_buf_ok(&secret, err));
    TR_TRY(tr_buf_ok(&plain, err));
    TR_TRY(choose_key(vault, db, owner, &room, &key, err));
    st = tr_aead_seal(key, parts, BINDING_PARTS, (tr_bytes){plain.data, plain.len}, sealed, err);
out:
    tr_secret_clear(&room);
    tr_buf_clear(&plain);
    tr_buf_clear(&secret);
    return st;
}

static void wipe_text(const cJSON *tree, const char *name) {
    char *text = cJSON_GetStringValue(tr_json_member(tree, name));
    if (text)
        tr_wipe(text, strlen(text));
}

static tr_status take(tr_bytes plain, tr_contact *out, tr_error *err) {
    cJSON *tree = NULL;
    tr_buf secret = TR_BUF_INIT;
    tr_status st = tr_json_parse(plain.data, plain.len, &tree, err);
    const char *email = tr_json_string(tree, "email"), *url = tr_json_string(tree, "url"),
               *text = tr_json_string(tree, "secret");
    if (st == TR_OK && email && strlen(email) <= TR_EMAIL_MAX)
        memcpy(out->email, email, strlen(email) + 1);
    else if (st == TR_OK && url && strlen(url) <= TR_WEBHOOK_URL_MAX && text &&
             tr_base64_decode_any(text, strlen(text), &secret))
        memcpy(out->url, url, strlen(url) + 1);
    else
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a sealed contact is none");
    if (st == TR_OK && out->url[0])
        st = tr_secret_copy(&out->secret, secret.data, secret.len, err);
    wipe_text(tree, "email");
    wipe_text(tree, "secret");
    cJSON_Delete(tree);
    tr_buf_clear(&secret);
    return st;
}

struct loading {
    tr_principal owner; /* its texts are not there any more */
    tr_buf sealed;
    int64_t updated_at;
};

static tr_status keep_owner(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    ((struct loading *)context)->owner = (tr_principal){
        .id = row->id, .role = row->role, .has_subject = row->has_subject, .subject = row->subject};
    return TR_OK;
}

static tr_status keep_sealed(void *context, const tr_contact_row *row, tr_error *err) {
    struct loading *l = context;
    tr_buf_append(&l->sealed, row->sealed.data, row->sealed.len);
    l->updated_at = row->updated_at;
    return tr_buf_ok(&l->sealed, err);
}

tr_status tr_contact_load(tr_vault *vault, tr_db *db, const tr_uuid *principal, tr_contact *out,
                          bool *to_person, tr_error *err) {
    struct loading l = {.updated_at = 0};
    tr_secret room = TR_SECRET_INIT;
    const tr_secret *key;
    tr_buf plain = TR_BUF_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_status st = TR_OK;
    TR_TRY(tr_principal_get(db, principal, keep_owner, &l, err));
    TR_TRY(tr_contact_get(db, principal, keep_sealed, &l, err));
    bind_owner(&l.owner, parts);
    TR_TRY(choose_key(vault, db, &l.owner, &room, &key, err));
    TR_TRY(tr_aead_open(key, parts, BINDING_PARTS, (tr_bytes){l.sealed.data, l.sealed.len}, &plain, err));
    TR_TRY(take((tr_bytes){plain.data, plain.len}, out, err));
    out->updated_at = l.updated_at;
    *to_person = l.owner.role == TR_SUBJECT;
out:
    tr_secret_clear(&room);
    tr_buf_clear(&l.sealed);
    tr_buf_clear(&plain);
    return st;
}
