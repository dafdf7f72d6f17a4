#include "vault/mail.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/json.h"

#define LINE_BYTES 54 /* 72 characters of base64 */

static const struct text {
    const char *kind, *title, *body;
} texts[] = {
    {"rectification", "Data were corrected",
     "Personal data that you received from this vault were corrected. Fetch them again, and correct the "
     "copies that you keep (Art. 19 GDPR)."},
    {"erasure", "Data were erased",
     "Personal data that you received from this vault were erased at the person's request. Erase the copies "
     "that you keep (Art. 19 GDPR)."},
    {"restriction", "Data were restricted",
     "The processing of personal data that you received from this vault was restricted. Do not use the "
     "copies that you keep until the restriction is lifted (Art. 18 and 19 GDPR)."},
    {"restriction-lifted", "A restriction was lifted",
     "The restriction of personal data that you received from this vault was lifted."},
    {"objection", "A person objects",
     "A person objected to a processing of its data; what you were granted for it was withdrawn (Art. 21 "
     "GDPR)."},
    {"request-due", "A request is due soon", "A data subject's request has to be answered within a week."},
    {"request-overdue", "A request is overdue", "A data subject's request was not answered in time."},
    {"incident-opened", "An incident was opened", "A security incident was recorded. Sign in to handle it."},
    {"incident", "A security incident concerns your data",
     "A security incident concerned personal data about you."},
    {NULL, "A notice", "There is a notice for you in the vault."},
};

static const struct text *text_of(const char *kind) {
    const struct text *t = texts;
    while (t->kind && strcmp(t->kind, kind) != 0)
        t++;
    return t;
}

/* RFC 5322 section 3.3, in UTC and without a locale. */
static void add_date(tr_buf *out, int64_t now) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t seconds = (time_t)(now / 1000);
    struct tm t = {0};
    (void)gmtime_r(&seconds, &t);
    tr_buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[t.tm_wday], t.tm_mday,
                  months[t.tm_mon], t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static void add_id(tr_buf *out, const char *name, const tr_uuid *id) {
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    tr_buf_printf(out, "%s: %s\n", name, text);
}

static void add_text(tr_buf *out, const char *before, const char *text) {
    if (text && *text)
        tr_buf_printf(out, "%s%s\n", before, text);
}

static void add_body(const tr_mail *mail, const tr_notice *notice, const cJSON *doc, tr_buf *out) {
    const char *request = tr_json_string(doc, "request"), *incident = tr_json_string(doc, "incident");
    tr_buf_printf(out, "%s\n", text_of(notice->kind)->body);
    add_text(out, "\n", tr_json_string(doc, "title"));
    add_text(out, "\n", tr_json_string(doc, "text"));
    tr_buf_putc(out, '\n');
    if (notice->has_subject && !mail->to_person)
        add_id(out, "Subject", &notice->subject);
    if (notice->has_request)
        add_id(out, "Request", &notice->request);
    add_text(out, "Request: ", request);
    add_text(out, "Incident: ", incident);
    add_text(out, "Due: ", tr_json_string(doc, "due_at"));
    add_id(out, "Notice", &notice->id);
    tr_buf_puts(out, "\nMore is in the vault, when you sign in. Answers to this address are not read.\n");
    add_text(out, "\n", mail->controller);
}

/* Base64 keeps lines short whatever the text is. */
static void add_base64(tr_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len; i += LINE_BYTES) {
        tr_base64_append(out, text + i, len - i < LINE_BYTES ? len - i : LINE_BYTES);
        tr_buf_puts(out, "\r\n");
    }
}

tr_status tr_mail_message(const tr_mail *mail, const tr_notice *notice, tr_buf *out, tr_error *err) {
    char id[TR_UUID_TEXT];
    const char *at = strchr(mail->from, '@');
    tr_buf body = TR_BUF_INIT;
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(notice->doc, strlen(notice->doc), &doc, err);
    if (st != TR_OK)
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a notice's document is no JSON");
    tr_uuid_format(&notice->id, id);
    tr_buf_printf(out, "From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n", mail->from, mail->to,
                  text_of(notice->kind)->title);
    add_date(out, mail->now);
    tr_buf_printf(out, "Message-ID: <%s@%s>\r\n", id, at ? at + 1 : "localhost");
    tr_buf_puts(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n");
    add_body(mail, notice, doc, &body);
    st = tr_buf_ok(&body, err);
    if (st == TR_OK)
        add_base64(out, body.data, body.len);
    cJSON_Delete(doc);
    tr_buf_clear(&body);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}
