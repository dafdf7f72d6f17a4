/* A notice as an e-mail (RFC 5322): plain text. Its Message-ID is the notice's id: the same at every try. */
#ifndef TR_VAULT_MAIL_H
#define TR_VAULT_MAIL_H

#include "store/store.h"

typedef struct tr_mail {
    const char *from, *to;  /* tr_email_valid */
    bool to_person;         /* a data subject: it is told what happened and where to look, no more */
    const char *controller; /* who writes; may be "" */
    int64_t now;
} tr_mail;
/* The whole message with CRLF line ends, appended. What the doc has as "title", "text" and "due_at" is shown;
 * none of it reaches a header. TR_E_CORRUPT when the doc is no JSON. */
tr_status tr_mail_message(const tr_mail *mail, const tr_notice *notice, tr_buf *out, tr_error *err);

#endif
