#include "vault/outbox_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vault/mail.h"
#include "vault/webhook.h"

#define ANSWER_MAX 65536 /* bytes of an answer, its head included */

/* ---- callbacks ---- */

/* Asked with the very address that is connected to: no later answer of the DNS gets round it. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    tr_attempt *a = context;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        (!a->allowed && !tr_targets_may_connect(a->targets, &address->addr))) {
        a->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* What is answered does not matter, but it must end. */
static size_t pass_over(char *bytes, size_t size, size_t count, void *context) {
    tr_attempt *a = context;
    (void)bytes;
    a->received += size * count;
    a->too_long = a->received > ANSWER_MAX;
    return a->too_long ? 0 : size * count;
}

static size_t upload(char *room, size_t size, size_t count, void *context) {
    tr_attempt *a = context;
    size_t n = a->body.len - a->offset;
    if (n > size * count)
        n = size * count;
    memcpy(room, a->body.data + a->offset, n);
    a->offset += n;
    return n;
}

/* ---- making one ---- */

/* Sets one option after the other; the first failure stays. */
#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (code == CURLE_OK)                                                                                \
            code = curl_easy_setopt(a->easy, (option), (value));                                             \
    } while (0)

static CURLcode set_common(const tr_sender *sender, tr_attempt *a, const char *ca) {
    CURLcode code = CURLE_OK;
    SET(CURLOPT_PRIVATE, a);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* a name server that hangs holds up this try only */
    SET(CURLOPT_TIMEOUT_MS, (long)sender->config->outbox_timeout_ms);
    SET(CURLOPT_PROXY, ""); /* whatever the environment says */
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (ca[0])
        SET(CURLOPT_CAINFO, ca);
    SET(CURLOPT_WRITEFUNCTION, pass_over);
    SET(CURLOPT_WRITEDATA, a);
    SET(CURLOPT_HEADERFUNCTION, pass_over);
    SET(CURLOPT_HEADERDATA, a);
    return code;
}

static bool add_line(tr_attempt *a, const char *line) {
    struct curl_slist *longer = curl_slist_append(a->list, line);
    a->list = longer ? longer : a->list;
    return longer != NULL;
}

static tr_status sign(tr_attempt *a, const tr_contact *contact, int64_t now, tr_error *err) {
    char id[TR_UUID_TEXT], signature[TR_WEBHOOK_SIGNATURE], lines[3][96];
    tr_uuid_format(&a->id, id);
    tr_status st = tr_webhook_sign(&contact->secret, id, now / 1000, (tr_bytes){a->body.data, a->body.len},
                                   signature, err);
    if (st != TR_OK)
        return st;
    (void)snprintf(lines[0], sizeof lines[0], "webhook-id: %s", id);
    (void)snprintf(lines[1], sizeof lines[1], "webhook-timestamp: %lld", (long long)(now / 1000));
    (void)snprintf(lines[2], sizeof lines[2], "webhook-signature: %s", signature);
    bool added = add_line(a, "Content-Type: application/json") && add_line(a, "Expect:");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        added = added && add_line(a, lines[i]);
    return added ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static tr_status make_webhook(const tr_sender *sender, tr_attempt *a, const tr_notice *notice,
                              const tr_contact *contact, int64_t now, tr_error *err) {
    char host[TR_HOST_MAX + 1] = "";
    tr_status st = TR_OK;
    CURLcode code = set_common(sender, a, sender->config->outbox_ca);
    TR_TRY(tr_webhook_body(notice, &a->body, err));
    TR_TRY(sign(a, contact, now, err));
    /* An address that was good when it was set may not be so any more: then the socket is refused. */
    if (tr_targets_check_url(a->targets, contact->url, NULL, host, err) == TR_OK)
        a->allowed = tr_targets_names(a->targets, host);
    SET(CURLOPT_URL, contact->url);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "Tresor/" TRESOR_VERSION);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, a);
    SET(CURLOPT_HTTPHEADER, a->list);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->body.len);
    SET(CURLOPT_POSTFIELDS, a->body.data);
    if (code != CURLE_OK)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "a webhook cannot be made");
out:
    return st;
}

static tr_status make_mail(const tr_sender *sender, tr_attempt *a, const tr_notice *notice,
                           const tr_contact *contact, bool to_person, int64_t now, tr_error *err) {
    const tr_config *config = sender->config;
    const tr_mail mail = {.from = config->smtp_from,
                          .to = contact->email,
                          .to_person = to_person,
                          .controller = config->controller,
                          .now = now};
    tr_status st = TR_OK;
    CURLcode code = set_common(sender, a, config->smtp_ca);
    TR_TRY(tr_mail_message(&mail, notice, &a->body, err));
    if (!add_line(a, contact->email))
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    SET(CURLOPT_URL, config->smtp_url);
    SET(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    SET(CURLOPT_USE_SSL, (long)CURLUSESSL_ALL); /* STARTTLS, or nothing is sent */
    /* Kept connections would be ended later with the library's own time-out, which is long. */
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)(config->outbox_timeout_ms + 999) / 1000);
    if (config->smtp_user[0]) {
        SET(CURLOPT_USERNAME, config->smtp_user);
        SET(CURLOPT_PASSWORD, sender->smtp_password.data ? (const char *)sender->smtp_password.data : "");
    }
    SET(CURLOPT_MAIL_FROM, config->smtp_from);
    SET(CURLOPT_MAIL_RCPT, a->list);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_READFUNCTION, upload);
    SET(CURLOPT_READDATA, a);
    if (code != CURLE_OK)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "a mail cannot be made");
out:
    return st;
}

tr_status tr_attempt_make(const tr_sender *sender, const tr_notice *notice, const tr_contact *contact,
                          bool to_person, int64_t now, tr_attempt **out, tr_error *err) {
    tr_attempt *a = calloc(1, sizeof *a);
    *out = NULL;
    if (a)
        a->easy = curl_easy_init();
    if (!a || !a->easy) {
        free(a);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    a->id = notice->id;
    a->recipient = notice->recipient;
    a->has_subject = notice->has_subject;
    a->has_request = notice->has_request;
    if (a->has_subject)
        a->subject = notice->subject;
    if (a->has_request)
        a->request = notice->request;
    (void)snprintf(a->kind, sizeof a->kind, "%s", notice->kind);
    a->created_at = notice->created_at;
    a->attempts = notice->attempts;
    a->targets = sender->targets;
    a->by_mail = contact->email[0] != '\0';
    tr_status st = a->by_mail ? make_mail(sender, a, notice, contact, to_person, now, err)
                              : make_webhook(sender, a, notice, contact, now, err);
    if (st == TR_OK)
        *out = a;
    else
        tr_attempt_free(a);
    return st;
}

void tr_attempt_free(tr_attempt *a) {
    if (!a)
        return;
    curl_easy_cleanup(a->easy);
    curl_slist_free_all(a->list);
    tr_buf_clear(&a->body);
    free(a);
}

/* ---- its result ---- */

static const struct {
    CURLcode code;
    const char *problem;
    tr_delivery delivery;
} failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, "unreachable", TR_UNREACHABLE},
    {CURLE_COULDNT_CONNECT, "unreachable", TR_UNREACHABLE},
    {CURLE_OPERATION_TIMEDOUT, "timeout", TR_UNREACHABLE},
    {CURLE_SSL_CONNECT_ERROR, "tls", TR_FAILED},
    {CURLE_PEER_FAILED_VERIFICATION, "tls", TR_FAILED},
    {CURLE_SSL_CACERT_BADFILE, "tls", TR_FAILED},
    {CURLE_USE_SSL_FAILED, "tls", TR_FAILED},
    {CURLE_LOGIN_DENIED, "login", TR_FAILED},
};

static tr_delivery name_failure(const tr_attempt *a, CURLcode code, char problem[TR_PROBLEM_MAX]) {
    const char *name = "failed";
    tr_delivery delivery = TR_FAILED;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        if (failures[i].code == code) {
            name = failures[i].problem;
            delivery = failures[i].delivery;
        }
    }
    (void)snprintf(problem, TR_PROBLEM_MAX, "%s", a->refused ? "address-refused" : name);
    return delivery;
}

/* RFC 5321 section 4.2.3: replies that say that there is no such mailbox. */
static bool no_mailbox(long status) {
    return status == 550 || status == 551 || status == 553;
}

static tr_delivery mail_result(const tr_attempt *a, CURLcode code, long status,
                               char problem[TR_PROBLEM_MAX]) {
    if (code == CURLE_OK)
        return TR_DELIVERED;
    if (status < 400 || code == CURLE_LOGIN_DENIED || code == CURLE_OPERATION_TIMEDOUT)
        return name_failure(a, code, problem);
    (void)snprintf(problem, TR_PROBLEM_MAX, "smtp-%ld", status);
    return no_mailbox(status) ? TR_GONE : TR_FAILED;
}

tr_delivery tr_attempt_result(const tr_attempt *a, CURLcode code, char problem[TR_PROBLEM_MAX],
                              int64_t *wait_ms) {
    long status = 0;
    curl_off_t wait_s = 0;
    (void)curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
    *wait_ms = 0;
    problem[0] = '\0';
    if (a->by_mail)
        return mail_result(a, code, status, problem);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && a->too_long))
        return name_failure(a, code, problem);
    if (status >= 200 && status < 300)
        return TR_DELIVERED;
    (void)snprintf(problem, TR_PROBLEM_MAX, "http-%ld", status);
    if (curl_easy_getinfo(a->easy, CURLINFO_RETRY_AFTER, &wait_s) == CURLE_OK && wait_s > 0)
        *wait_ms = (wait_s > 86400 ? 86400 : wait_s) * 1000;
    return status == 410 ? TR_GONE : TR_FAILED;
}
