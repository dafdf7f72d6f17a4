/* What a notice is turned into, where it may go, and when it is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "vault/contacts.h"
#include "vault/mail.h"
#include "vault/outbox.h"
#include "vault/webhook.h"

/* ---- webhooks ---- */

/* The vector of the reference implementations of Standard Webhooks. */
static void the_standards_vector(void **state) {
    static const char body[] = "{\"test\": 2432232314}";
    char signature[TR_WEBHOOK_SIGNATURE];
    tr_buf key = TR_BUF_INIT, text = TR_BUF_INIT;
    tr_secret secret = TR_SECRET_INIT;
    (void)state;
    assert_true(tr_base64_decode_any("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 32, &key));
    assert_int_equal(tr_secret_copy(&secret, key.data, key.len, NULL), TR_OK);
    assert_int_equal(tr_webhook_sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                                     (tr_bytes){body, sizeof body - 1}, signature, NULL),
                     TR_OK);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    tr_webhook_secret_text(&secret, &text);
    assert_string_equal(text.data, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    tr_secret_clear(&secret);
    tr_buf_clear(&key);
    tr_buf_clear(&text);
}

static tr_notice notice(const char *kind, const char *doc) {
    return (tr_notice){.id = tr_uuid_new(),
                       .recipient = tr_uuid_new(),
                       .has_subject = true,
                       .subject = tr_uuid_new(),
                       .kind = kind,
                       .doc = doc,
                       .created_at = 1767225600123};
}

static void a_body(void **state) {
    tr_notice row = notice("objection", "{\"activities\":[]}");
    tr_buf out = TR_BUF_INIT;
    cJSON *tree = NULL;
    (void)state;
    assert_int_equal(tr_webhook_body(&row, &out, NULL), TR_OK);
    assert_int_equal(tr_json_parse(out.data, out.len, &tree, NULL), TR_OK);
    assert_string_equal(tr_json_string(tree, "type"), "tresor.objection");
    assert_string_equal(tr_json_string(tree, "timestamp"), "2026-01-01T00:00:00.123Z");
    assert_non_null(tr_json_pointer(tree, "/data/details/activities"));
    assert_true(cJSON_IsNull(tr_json_pointer(tree, "/data/request")));
    cJSON_Delete(tree);
    tr_buf_clear(&out);
}

/* ---- mail ---- */

static void decoded(const char *message, tr_buf *out) {
    const char *body = strstr(message, "\r\n\r\n");
    char text[8192];
    size_t n = 0;
    assert_non_null(body);
    for (body += 4; *body; body++) {
        assert_true(n < sizeof text);
        if (*body != '\r' && *body != '\n')
            text[n++] = *body;
    }
    assert_true(tr_base64_decode_any(text, n, out));
}

static const char hostile[] = "{\"title\":\"Größe\\r\\n.\\r\\nBcc: x@y.example\",\"text\":\"\\u0001 "
                              "text\",\"due_at\":\"2026-02-01T00:00:00.000Z\"}";

static void a_message(void **state) {
    static const char head[] = "From: <vault@tresor.example>\r\nTo: <ada@quellenhof.example>\r\n"
                               "Subject: A security incident concerns your data\r\n"
                               "Date: Thu, 01 Jan 2026 00:00:01 +0000\r\nMessage-ID: <";
    tr_notice row = notice("incident", hostile);
    tr_mail mail = {"vault@tresor.example", "ada@quellenhof.example", true, "Klinik", 1767225601000};
    tr_buf out = TR_BUF_INIT, body = TR_BUF_INIT;
    char id[TR_UUID_TEXT], subject[TR_UUID_TEXT];
    (void)state;
    tr_uuid_format(&row.id, id);
    tr_uuid_format(&row.subject, subject);
    assert_int_equal(tr_mail_message(&mail, &row, &out, NULL), TR_OK);
    assert_memory_equal(out.data, head, sizeof head - 1);
    assert_memory_equal(out.data + sizeof head - 1, id, 36);
    /* Whatever a doc says, it is in the body, and that is base64. */
    assert_null(strstr(out.data, "Bcc"));
    for (const char *c = out.data; *c; c++)
        assert_true(*c == '\r' || *c == '\n' || (*c >= ' ' && *c <= '~'));
    decoded(out.data, &body);
    assert_non_null(strstr(body.data, "Größe"));
    assert_non_null(strstr(body.data, "Due: 2026-02-01"));
    assert_null(strstr(body.data, subject)); /* no need to tell it its own id */
    mail.to_person = false;
    tr_buf_reset(&out);
    tr_buf_reset(&body);
    assert_int_equal(tr_mail_message(&mail, &row, &out, NULL), TR_OK);
    decoded(out.data, &body);
    assert_non_null(strstr(body.data, subject));
    row.doc = "no JSON";
    assert_int_equal(tr_mail_message(&mail, &row, &out, NULL), TR_E_CORRUPT);
    tr_buf_clear(&out);
    tr_buf_clear(&body);
}

static void addresses(void **state) {
    static const char *const good[] = {"a@b.ch", "a.b+c@d-e.example", "x_y!#$%&'*=?^`{|}~-/@mail.example.org",
                                       "1@2.b3"};
    static const char *const bad[] = {
        "",           "@b.ch",    "a@",       "a@b",          "a@.ch",    "a@b..ch",
        "a@b.ch.",    "a@-b.ch",  "a@b-.ch",  "a@b.1",        ".a@b.ch",  "a.@b.ch",
        "a..b@c.ch",  "a@b.ch\n", "a\r@b.ch", "a b@c.ch",     "<a@b.ch>", "a@b.ch,c@d.ch",
        "\"a\"@b.ch", "a@[::1]",  "a@b@c.ch", "\xc3\xa4@b.ch"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!tr_email_valid(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (tr_email_valid(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

/* ---- where a webhook may go ---- */

static bool may(const tr_targets *targets, const char *text) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return tr_targets_may_connect(targets, (const struct sockaddr *)(const void *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return tr_targets_may_connect(targets, (const struct sockaddr *)(const void *)&v6);
}

static void public_addresses_only(void **state) {
    static const char *const open[] = {
        "1.1.1.1",         "9.255.255.255",   "11.0.0.0",       "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.1",      "172.15.255.255",
        "172.32.0.0",      "192.167.255.255", "192.169.0.0",    "223.255.255.255",
        "2606:4700::1111", "2a00:1450::1",    "::ffff:8.8.8.8", "64:ff9b::808:808"};
    static const char *const closed[] = {"0.0.0.0",
                                         "10.0.0.1",
                                         "100.64.0.1",
                                         "100.100.100.200",
                                         "127.0.0.1",
                                         "127.255.255.254",
                                         "168.63.129.16",
                                         "169.254.169.254",
                                         "172.16.0.1",
                                         "172.31.255.255",
                                         "192.0.0.192",
                                         "192.0.2.1",
                                         "192.168.255.255",
                                         "198.18.0.1",
                                         "198.51.100.7",
                                         "203.0.113.9",
                                         "224.0.0.1",
                                         "239.255.255.255",
                                         "240.0.0.1",
                                         "255.255.255.255",
                                         "::",
                                         "::1",
                                         "::ffff:127.0.0.1",
                                         "::ffff:10.0.0.1",
                                         "::127.0.0.1",
                                         "64:ff9b::7f00:1",
                                         "64:ff9b::a9fe:a9fe",
                                         "64:ff9b:1::1",
                                         "100::1",
                                         "2001::1",
                                         "2001:db8::1",
                                         "2002:7f00:1::",
                                         "3fff::1",
                                         "5f00::1",
                                         "fc00::1",
                                         "fd00:ec2::254",
                                         "fe80::1",
                                         "fec0::1",
                                         "ff02::1"};
    tr_targets *none = NULL, *some = NULL;
    (void)state;
    assert_int_equal(tr_targets_new("", &none, NULL), TR_OK);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (!may(none, open[i]))
            fail_msg("refused: %s", open[i]);
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        if (may(none, closed[i]))
            fail_msg("let through: %s", closed[i]);
    const struct sockaddr other = {.sa_family = AF_UNIX};
    assert_false(tr_targets_may_connect(none, &other));
    assert_int_equal(tr_targets_new("10.1.0.0/16, ::1 hooks.internal,192.168.3.4", &some, NULL), TR_OK);
    assert_true(may(some, "10.1.255.255") && may(some, "::1") && may(some, "192.168.3.4"));
    assert_true(may(some, "::ffff:10.1.2.3"));
    assert_false(may(some, "10.2.0.0") || may(some, "127.0.0.1") || may(some, "192.168.3.5") ||
                 may(some, "::2"));
    assert_true(tr_targets_names(some, "HOOKS.internal"));
    assert_false(tr_targets_names(some, "xhooks.internal"));
    tr_targets_free(none);
    tr_targets_free(some);
}

static void lists_that_are_none(void **state) {
    static const char *const bad[] = {"10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1",
                                      "10.0.0.0/8x", "a b!",   "ü"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tr_targets *targets = NULL;
        tr_error err = {0};
        assert_int_equal(tr_targets_new(bad[i], &targets, &err), TR_E_CONFIG);
        assert_string_equal(err.where, "outbox_allow");
        assert_null(targets);
    }
}

static void urls(void **state) {
    static const char *const good[] = {"https://a.example", "https://a.example:8443/x?y=z",
                                       "HTTPS://A.example/", "https://1.1.1.1/",
                                       "https://[2606:4700::1111]/"};
    static const char *const bad[] = {"",
                                      "http://a.example/",
                                      "a.example",
                                      "https://",
                                      "https:///a",
                                      "https://a:b@c.example/",
                                      "https://a.example/#b",
                                      "https://a.example/ b",
                                      "https://127.1/",
                                      "https://[::1]/",
                                      "https://0177.0.0.1/",
                                      "https://2130706433/",
                                      "smtp://a.example/"};
    char host[TR_HOST_MAX + 1];
    tr_targets *targets = NULL;
    (void)state;
    assert_int_equal(tr_targets_new("", &targets, NULL), TR_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (tr_targets_check_url(targets, good[i], NULL, host, NULL) != TR_OK)
            fail_msg("refused: %s", good[i]);
    assert_string_equal(host, "2606:4700::1111");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (tr_targets_check_url(targets, bad[i], NULL, host, NULL) != TR_E_VALIDATION)
            fail_msg("taken: %s", bad[i]);
    tr_targets_free(targets);
}

/* ---- when ---- */

static void when_to_try_again(void **state) {
    int64_t all = 0;
    (void)state;
    assert_int_equal(tr_outbox_delay(0), 0);
    assert_int_equal(tr_outbox_delay(1), 5000);
    for (int64_t attempts = 1; attempts <= 8; attempts++) {
        assert_true(attempts == 1 || tr_outbox_delay(attempts) >= tr_outbox_delay(attempts - 1));
        all += tr_outbox_delay(attempts);
    }
    assert_in_range(all / 3600000, 27, 28); /* hours */
    assert_int_equal(tr_outbox_delay(9), 0);
    assert_int_equal(tr_outbox_delay(INT64_MAX), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standards_vector),
        cmocka_unit_test(a_body),
        cmocka_unit_test(a_message),
        cmocka_unit_test(addresses),
        cmocka_unit_test(public_addresses_only),
        cmocka_unit_test(lists_that_are_none),
        cmocka_unit_test(urls),
        cmocka_unit_test(when_to_try_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
