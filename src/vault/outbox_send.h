/* One try to deliver a notice, by libcurl. Not for other modules than vault/outbox.c. */
#ifndef TR_VAULT_OUTBOX_SEND_H
#define TR_VAULT_OUTBOX_SEND_H

#include <curl/curl.h>

#include "vault/contacts.h"

#define TR_PROBLEM_MAX 32

/* What all tries share. */
typedef struct tr_sender {
    const tr_config *config;
    const tr_targets *targets;
    tr_secret smtp_password; /* ends with NUL; none: empty */
} tr_sender;

typedef struct tr_attempt {
    tr_uuid id, recipient, subject, request;
    bool has_subject, has_request;
    char kind[48];
    int64_t created_at, attempts; /* before this one */
    bool by_mail;
    bool allowed; /* its host is named in outbox_allow */
    bool refused; /* where it leads may not be connected to */
    bool too_long;
    const tr_targets *targets;
    CURL *easy;
    struct curl_slist *list; /* headers, or the recipient */
    tr_buf body;
    size_t offset;   /* of what was uploaded */
    size_t received; /* bytes of the answer */
} tr_attempt;

typedef enum tr_delivery {
    TR_DELIVERED,
    TR_FAILED,      /* to be tried again */
    TR_UNREACHABLE, /* likewise, and nobody answers there */
    TR_GONE         /* no use trying again */
} tr_delivery;

/* Make ready for curl_multi_add_handle; the attempt's address is kept. */
tr_status tr_attempt_make(const tr_sender *sender, const tr_notice *notice, const tr_contact *contact,
                          bool to_person, int64_t now, tr_attempt **out, tr_error *err);
/* What came of it; *wait_ms: how long the receiver asks to be left alone, 0: it does not say. */
tr_delivery tr_attempt_result(const tr_attempt *a, CURLcode code, char problem[TR_PROBLEM_MAX],
                              int64_t *wait_ms);
void tr_attempt_free(tr_attempt *a); /* NULL is fine */

#endif
