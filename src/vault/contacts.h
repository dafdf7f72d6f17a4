/* Where a principal gets its notices: an e-mail address or a webhook. Kept sealed: a data subject's under its
 * data key, with which it goes and which the operator has no way to; others' under a key of the vault's own.
 */
#ifndef TR_VAULT_CONTACTS_H
#define TR_VAULT_CONTACTS_H

#include "vault/targets.h"
#include "vault/vault.h"

#define TR_EMAIL_MAX 254

typedef struct tr_contact {
    char email[TR_EMAIL_MAX + 1];     /* "": a webhook */
    char url[TR_WEBHOOK_URL_MAX + 1]; /* "": mail */
    tr_secret secret;                 /* a webhook's */
    int64_t updated_at;
} tr_contact;
#define TR_CONTACT_INIT ((tr_contact){0})
void tr_contact_clear(tr_contact *contact);

/* An address of the plain kind: a dot-atom, "@", a domain name (RFC 5321 section 4.1.2, without quotes and
 * address literals), ASCII: no character in it means anything in a header or a command. */
bool tr_email_valid(const char *text);
/* A webhook with a fresh secret. TR_E_VALIDATION at `where`. */
tr_status tr_contact_set_webhook(tr_vault *vault, tr_contact *contact, const char *url, const char *where,
                                 tr_error *err);

/* For tr_contact_put: bound to its owner. TR_E_NOT_FOUND: the owner's data key is gone. */
tr_status tr_contact_seal(tr_vault *vault, tr_db *db, const tr_principal *owner, const tr_contact *contact,
                          tr_buf *sealed, tr_error *err);
/* TR_E_NOT_FOUND: there is no such principal, or it has none. */
tr_status tr_contact_load(tr_vault *vault, tr_db *db, const tr_uuid *principal, tr_contact *out,
                          bool *to_person, tr_error *err);

#endif
