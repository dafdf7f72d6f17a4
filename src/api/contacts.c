/* Where a principal gets its notices: set by operators, for data subjects by themselves alone. */
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "vault/contacts.h"
#include "vault/webhook.h"

struct contact {
    tr_principal owner; /* its texts are not there */
    tr_contact contact;
    bool to_person;
    tr_buf sealed;
};

static void clear_contact(void *context) {
    struct contact *c = context;
    tr_contact_clear(&c->contact);
    tr_buf_clear(&c->sealed);
}

static tr_status keep_owner(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    *(tr_principal *)context = (tr_principal){
        .id = row->id, .role = row->role, .has_subject = row->has_subject, .subject = row->subject};
    return TR_OK;
}

/* A person's address is nobody else's to see or set, and whether there is such a principal neither. */
static tr_status find_owner(tr_call *call, struct contact **out, tr_error *err) {
    tr_uuid id;
    struct contact *c = tr_call_alloc(call, sizeof *c, clear_contact, err);
    tr_status st = c ? tr_call_param_id(call, 0, &id, err) : TR_E_NOMEM;
    if (st == TR_OK && call->who->role == TR_SUBJECT && !tr_uuid_equal(&id, &call->who->principal))
        return tr_fail(err, TR_E_FORBIDDEN, NULL, "this contact is not your own");
    if (st == TR_OK)
        st = tr_principal_get(call->db, &id, keep_owner, &c->owner, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such principal") : st;
    if (c->owner.role == TR_SUBJECT && call->who->role != TR_SUBJECT)
        return tr_fail(err, TR_E_FORBIDDEN, NULL, "a data subject's contact is its own");
    tr_call_concerns(call, c->owner.has_subject ? &c->owner.subject : NULL, NULL, &id);
    call->outcome_names_subject = c->owner.has_subject;
    *out = c;
    return TR_OK;
}

static void answer(tr_call *call, const tr_contact *contact, bool with_secret) {
    tr_buf *out = &call->response->body;
    tr_buf secret = TR_BUF_INIT;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    if (contact->email[0]) {
        tr_jw_text(out, "email", contact->email);
    } else {
        tr_jw_open(out, "webhook", '{');
        tr_jw_text(out, "url", contact->url);
        if (with_secret) {
            tr_webhook_secret_text(&contact->secret, &secret);
            tr_jw_text(out, "secret", secret.data);
        }
        tr_jw_close(out, '}');
    }
    tr_jw_time(out, "updated_at", contact->updated_at);
    tr_jw_close(out, '}');
    tr_buf_clear(&secret);
}

static tr_status no_contact(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "the principal has no contact");
}

tr_status tr_contacts_read(tr_call *call, tr_error *err) {
    struct contact *c = NULL;
    tr_status st = find_owner(call, &c, err);
    if (st != TR_OK)
        return st;
    st = tr_contact_load(call->vault, call->db, &c->owner.id, &c->contact, &c->to_person, err);
    if (st == TR_OK)
        answer(call, &c->contact, false);
    return st == TR_E_NOT_FOUND ? no_contact(err) : st;
}

/* ---- put, delete ---- */

static tr_status put(void *context, tr_db *tx, tr_error *err) {
    const struct contact *c = context;
    const tr_contact_row row = {.principal = c->owner.id,
                                .sealed = {c->sealed.data, c->sealed.len},
                                .updated_at = c->contact.updated_at};
    tr_status st = tr_contact_put(tx, &row, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such principal") : st;
}

static tr_status take_body(tr_call *call, struct contact *c, tr_error *err) {
    const char *email = tr_json_string(call->body, "email");
    const cJSON *webhook = tr_json_member(call->body, "webhook");
    if (!email && c->owner.role == TR_SUBJECT)
        return tr_fail(err, TR_E_VALIDATION, "/webhook", "a data subject is written to by e-mail");
    if (!email)
        return tr_contact_set_webhook(call->vault, &c->contact, tr_json_string(webhook, "url"),
                                      "/webhook/url", err);
    if (!tr_email_valid(email))
        return tr_fail(err, TR_E_VALIDATION, "/email", "is no e-mail address that the vault writes to");
    memcpy(c->contact.email, email, strlen(email) + 1);
    return TR_OK;
}

tr_status tr_contacts_put(tr_call *call, tr_error *err) {
    struct contact *c = NULL;
    tr_status st = find_owner(call, &c, err);
    if (st == TR_OK)
        st = take_body(call, c, err);
    if (st != TR_OK)
        return st;
    c->contact.updated_at = tr_now_ms();
    st = tr_contact_seal(call->vault, call->db, &c->owner, &c->contact, &c->sealed, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such principal") : st;
    call->effect = put;
    call->effect_context = c;
    answer(call, &c->contact, true);
    return TR_OK;
}

static tr_status remove_it(void *context, tr_db *tx, tr_error *err) {
    tr_status st = tr_contact_delete(tx, &((struct contact *)context)->owner.id, err);
    return st == TR_E_NOT_FOUND ? no_contact(err) : st;
}

tr_status tr_contacts_delete(tr_call *call, tr_error *err) {
    struct contact *c = NULL;
    tr_status st = find_owner(call, &c, err);
    if (st != TR_OK)
        return st;
    call->effect = remove_it;
    call->effect_context = c;
    call->response->status = 204;
    return TR_OK;
}
