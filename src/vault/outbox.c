#include "vault/outbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "vault/audit.h"
#include "vault/outbox_send.h"
#include "vault/vault_internal.h"

#define RUNNING_MAX    16   /* tries at once */
#define PAGE           64   /* rows looked at in one statement, besides those under way */
#define LOOK_MS        500  /* how often it is looked whether something is due */
#define GRACE_MS       5000 /* what is under way has to end when the vault is to stop */
#define UNWRITTEN_MS   2000 /* after results could not be written */
#define LOOK_AGAIN_MS  2000 /* for a contact that was put while it was found missing */
#define NO_SERVER_MS   (10 * INT64_C(60000))
#define LIFE_MS        (30 * INT64_C(86400000)) /* then it is dead, however often it was tried */
#define RESULTS_MAX    (PAGE + RUNNING_MAX)
#define JITTER_PERCENT 10

static const char no_mail_server[] = "no-mail-server";

/* What came of a notice, to be written. */
typedef struct result {
    tr_uuid id, recipient, subject, request;
    bool has_subject, has_request;
    char kind[48];
    char problem[TR_PROBLEM_MAX];
    int64_t attempts, next_at, sent_at;
    bool put_off; /* the recipient's others too */
} result;

struct tr_outbox {
    tr_targets *targets;
    tr_sender sender;
    pthread_t thread;
    bool started;
    CURLM *multi;
    atomic_bool stop;
    atomic_llong sent;
    /* the thread's own */
    tr_attempt *running[RUNNING_MAX];
    size_t running_count;
    result results[RESULTS_MAX];
    size_t result_count;
    int64_t look_at, write_at; /* monotonic */
};

tr_status tr_outbox_new(const tr_config *config, tr_outbox **out, tr_error *err) {
    tr_outbox *o = calloc(1, sizeof *o);
    tr_status st = o ? tr_targets_new(config->outbox_allow, &o->targets, err)
                     : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st != TR_OK) {
        free(o);
        o = NULL;
    }
    *out = o;
    return st;
}

void tr_outbox_free(tr_outbox *outbox) {
    if (!outbox)
        return;
    tr_secret_clear(&outbox->sender.smtp_password);
    tr_targets_free(outbox->targets);
    free(outbox);
}

const tr_targets *tr_outbox_targets(const tr_vault *vault) {
    return vault->outbox->targets;
}

int64_t tr_outbox_sent(const tr_vault *vault) {
    return atomic_load(&vault->outbox->sent);
}

/* ---- when to try again ---- */

int64_t tr_outbox_delay(int64_t attempts) {
    static const int64_t seconds[] = {5, 60, 300, 1800, 7200, 18000, 36000, 36000};
    const int64_t count = sizeof seconds / sizeof *seconds;
    return attempts >= 1 && attempts <= count ? seconds[attempts - 1] * 1000 : 0;
}

/* So that those that failed together do not all come back together. */
static int64_t jittered(int64_t delay) {
    uint8_t byte = 128;
    (void)tr_random(&byte, 1, NULL);
    return delay + delay * JITTER_PERCENT / 100 * (byte - 128) / 128;
}

static void decide(result *r, tr_delivery delivery, int64_t created_at, int64_t tries, int64_t wait_ms) {
    const int64_t now = tr_now_ms();
    int64_t delay = tr_outbox_delay(++r->attempts);
    if (delivery == TR_DELIVERED) {
        r->sent_at = now;
        return;
    }
    if (delivery == TR_GONE || r->attempts >= tries || delay == 0 || now - created_at > LIFE_MS)
        return; /* next_at 0: dead */
    delay = jittered(delay);
    r->next_at = now + (delay > wait_ms ? delay : wait_ms);
    r->put_off = delivery == TR_UNREACHABLE;
}

/* ---- results ---- */

static tr_status append_entry(tr_db *tx, const result *r, tr_error *err) {
    const tr_event event = {.at = r->sent_at ? r->sent_at : tr_now_ms(),
                            .action = r->sent_at ? "notice.sent" : "notice.dead",
                            .subject = r->has_subject ? &r->subject : NULL,
                            .purpose = r->has_request ? &r->request : NULL,
                            .records = &r->id,
                            .record_count = 1,
                            .outcome = TR_OK,
                            .detail = r->kind};
    return tr_event_append(tx, &event, err);
}

static tr_status write_one(tr_db *tx, const result *r, tr_error *err) {
    const tr_notice row = {.id = r->id,
                           .attempts = r->attempts,
                           .next_at = r->next_at,
                           .sent_at = r->sent_at,
                           .problem = r->problem};
    const bool held = r->next_at && strcmp(r->problem, TR_NOTICE_NO_CONTACT) == 0;
    tr_status st =
        held ? tr_notice_hold(tx, &row, tr_now_ms() + LOOK_AGAIN_MS, err) : tr_notice_mark(tx, &row, err);
    if (st == TR_E_NOT_FOUND) /* gone with the person whom it was for */
        return TR_OK;
    if (st == TR_OK && r->next_at == 0)
        st = append_entry(tx, r, err);
    return st == TR_OK && r->put_off ? tr_notice_put_off(tx, &r->recipient, r->next_at, err) : st;
}

static tr_status write_results(void *context, tr_db *tx, tr_error *err) {
    const tr_outbox *o = context;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < o->result_count; i++)
        st = write_one(tx, &o->results[i], err);
    return st;
}

static void say_dead(const result *r) {
    char id[TR_UUID_TEXT], recipient[TR_UUID_TEXT];
    tr_uuid_format(&r->id, id);
    tr_uuid_format(&r->recipient, recipient);
    tr_log(TR_LOG_WARN, "notice.dead", TR_F_TEXT("notice", id), TR_F_TEXT("recipient", recipient),
           TR_F_TEXT("kind", r->kind), TR_F_TEXT("problem", r->problem));
}

/* All in one commit. What cannot be written stays, and nothing else is begun until it is. */
static void settle(tr_vault *vault) {
    tr_outbox *o = vault->outbox;
    tr_error err = {0};
    if (o->result_count == 0 || tr_monotonic_ms() < o->write_at)
        return;
    if (tr_store_write(vault->store, write_results, o, &err) != TR_OK) {
        tr_log(TR_LOG_WARN, "outbox.failed", TR_F_TEXT("status", tr_status_slug(err.status)),
               TR_F_TEXT("reason", err.what));
        o->write_at = tr_monotonic_ms() + UNWRITTEN_MS;
        return;
    }
    for (size_t i = 0; i < o->result_count; i++) {
        if (o->results[i].sent_at)
            atomic_fetch_add(&o->sent, 1);
        else if (o->results[i].next_at == 0)
            say_dead(&o->results[i]);
    }
    o->result_count = 0;
    o->look_at = 0;
}

/* ---- what is due ---- */

static bool is_running(const tr_outbox *o, const tr_uuid *id) {
    for (size_t i = 0; i < o->running_count; i++) {
        if (tr_uuid_equal(&o->running[i]->id, id))
            return true;
    }
    return false;
}

static result *new_result(tr_outbox *o, const tr_notice *row) {
    result *r = &o->results[o->result_count++];
    *r = (result){.id = row->id,
                  .recipient = row->recipient,
                  .has_subject = row->has_subject,
                  .has_request = row->has_request,
                  .attempts = row->attempts};
    if (r->has_subject)
        r->subject = row->subject;
    if (r->has_request)
        r->request = row->request;
    (void)snprintf(r->kind, sizeof r->kind, "%s", row->kind);
    return r;
}

/* It waits for something to be set up, which is no try. */
static void hold_back(tr_outbox *o, const tr_notice *row, const char *problem, int64_t next_at) {
    const int64_t end = row->created_at + LIFE_MS;
    result *r = new_result(o, row);
    (void)snprintf(r->problem, sizeof r->problem, "%s", problem);
    r->next_at = end <= tr_now_ms() ? 0 : next_at < end ? next_at : end;
}

struct look {
    tr_vault *vault;
    tr_db *db;
    bool found;
};

static tr_status begin(struct look *look, const tr_notice *row, const tr_contact *contact, bool to_person,
                       tr_error *err) {
    tr_outbox *o = look->vault->outbox;
    tr_attempt *a = NULL;
    tr_status st = tr_attempt_make(&o->sender, row, contact, to_person, tr_now_ms(), &a, err);
    if (st == TR_OK && curl_multi_add_handle(o->multi, a->easy) != CURLM_OK) {
        tr_attempt_free(a);
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    if (st == TR_OK)
        o->running[o->running_count++] = a;
    return st;
}

static tr_status take_due(void *context, const tr_notice *row, tr_error *err) {
    struct look *look = context;
    tr_vault *vault = look->vault;
    tr_outbox *o = vault->outbox;
    tr_contact contact = TR_CONTACT_INIT;
    tr_error why = {0};
    bool to_person = false;
    if (is_running(o, &row->id))
        return TR_OK;
    if (o->running_count == RUNNING_MAX || o->result_count == PAGE)
        return TR_STOP;
    look->found = true;
    tr_status st = tr_contact_load(vault, look->db, &row->recipient, &contact, &to_person, &why);
    if (st == TR_E_NOT_FOUND) {
        hold_back(o, row, TR_NOTICE_NO_CONTACT, INT64_MAX);
        st = TR_OK;
    } else if (st == TR_OK && contact.email[0] && !vault->config->smtp_url[0]) {
        hold_back(o, row, no_mail_server, tr_now_ms() + NO_SERVER_MS);
    } else if (st == TR_OK) {
        st = begin(look, row, &contact, to_person, &why);
    }
    tr_contact_clear(&contact);
    if (st == TR_E_CORRUPT) { /* this one: it keeps no other waiting */
        result *r = new_result(o, row);
        (void)snprintf(r->problem, sizeof r->problem, "damaged");
        decide(r, TR_FAILED, row->created_at, vault->config->outbox_tries, 0);
        st = TR_OK;
    }
    if (st != TR_OK && err)
        *err = why;
    return st;
}

static void look_for_due(tr_vault *vault) {
    tr_outbox *o = vault->outbox;
    struct look look = {.vault = vault};
    tr_error err = {0};
    if (o->result_count > 0 || o->running_count == RUNNING_MAX || tr_monotonic_ms() < o->look_at)
        return;
    tr_status st = tr_store_reader(vault->store, &look.db, &err);
    if (st == TR_OK)
        st = tr_notice_due(look.db, tr_now_ms(), PAGE + (int)o->running_count, take_due, &look, &err);
    tr_store_rest(vault->store);
    if (st != TR_OK && st != TR_STOP)
        tr_log(TR_LOG_WARN, "outbox.failed", TR_F_TEXT("status", tr_status_slug(err.status)),
               TR_F_TEXT("reason", err.what));
    o->look_at = tr_monotonic_ms() + (look.found && st == TR_OK ? 0 : LOOK_MS);
}

/* ---- what is under way ---- */

static void take_result(tr_vault *vault, const tr_attempt *a, CURLcode code) {
    const tr_notice row = {.id = a->id,
                           .recipient = a->recipient,
                           .has_subject = a->has_subject,
                           .has_request = a->has_request,
                           .subject = a->subject,
                           .request = a->request,
                           .kind = a->kind,
                           .attempts = a->attempts};
    result *r = new_result(vault->outbox, &row);
    int64_t wait_ms = 0;
    const tr_delivery delivery = tr_attempt_result(a, code, r->problem, &wait_ms);
    decide(r, delivery, a->created_at, vault->config->outbox_tries, wait_ms);
}

static void drop(tr_outbox *o, size_t at) {
    tr_attempt *a = o->running[at];
    (void)curl_multi_remove_handle(o->multi, a->easy);
    tr_attempt_free(a);
    o->running[at] = o->running[--o->running_count];
}

static void perform(tr_vault *vault) {
    tr_outbox *o = vault->outbox;
    int running = 0, left = 0;
    const CURLMsg *message;
    (void)curl_multi_perform(o->multi, &running);
    while ((message = curl_multi_info_read(o->multi, &left))) {
        const CURLcode code = message->data.result;
        size_t at = 0;
        while (at < o->running_count && o->running[at]->easy != message->easy_handle)
            at++;
        if (message->msg != CURLMSG_DONE || at == o->running_count)
            continue;
        take_result(vault, o->running[at], code);
        drop(o, at);
        o->look_at = 0;
    }
}

/* ---- the thread ---- */

static int time_to_wait(const tr_outbox *o) {
    const bool may_look = o->result_count == 0 && o->running_count < RUNNING_MAX && !atomic_load(&o->stop);
    const int64_t left = o->look_at - tr_monotonic_ms();
    return !may_look || left > LOOK_MS ? LOOK_MS : left > 0 ? (int)left : 0;
}

static void *send_all(void *context) {
    tr_vault *vault = context;
    tr_outbox *o = vault->outbox;
    int64_t until = 0;
    for (;;) {
        const bool stop = atomic_load(&o->stop);
        if (stop && until == 0)
            until = tr_monotonic_ms() + GRACE_MS;
        if (!stop)
            look_for_due(vault);
        perform(vault);
        settle(vault);
        if (stop && (o->running_count == 0 || tr_monotonic_ms() >= until))
            break;
        (void)curl_multi_poll(o->multi, NULL, 0, time_to_wait(o), NULL);
    }
    while (o->running_count > 0) /* they are sent again at the next start, under the same id */
        drop(o, o->running_count - 1);
    return NULL;
}

void tr_outbox_end(tr_vault *vault) {
    tr_outbox *o = vault->outbox;
    atomic_store(&o->stop, true);
    if (o->started)
        (void)curl_multi_wakeup(o->multi);
}

/* ---- settings, start and end ---- */

tr_status tr_outbox_check(const tr_config *config, tr_error *err) {
    tr_targets *targets = NULL;
    tr_status st = tr_targets_new(config->outbox_allow, &targets, err);
    tr_targets_free(targets);
    if (st != TR_OK || !config->smtp_url[0])
        return st;
    if (strncmp(config->smtp_url, "smtp://", 7) != 0 && strncmp(config->smtp_url, "smtps://", 8) != 0)
        return tr_fail(err, TR_E_CONFIG, "smtp_url", "must begin with smtp:// or smtps://");
    if (!tr_email_valid(config->smtp_from))
        return tr_fail(err, TR_E_CONFIG, "smtp_from", "must be an e-mail address, with smtp_url");
    return TR_OK;
}

/* libcurl wants it with a NUL. */
static tr_status load_password(tr_outbox *o, const tr_config *config, tr_error *err) {
    tr_secret password = TR_SECRET_INIT;
    if (!config->smtp_user[0])
        return TR_OK;
    tr_status st = tr_config_smtp_password(config, &password, err);
    if (st == TR_OK)
        st = tr_secret_alloc(&o->sender.smtp_password, password.len + 1, err);
    if (st == TR_OK)
        memcpy(o->sender.smtp_password.data, password.data, password.len);
    tr_secret_clear(&password);
    return st;
}

tr_status tr_outbox_start(tr_vault *vault, tr_error *err) {
    tr_outbox *o = vault->outbox;
    tr_status st = tr_outbox_check(vault->config, err);
    if (st == TR_OK)
        st = load_password(o, vault->config, err);
    if (st != TR_OK)
        return st;
    o->sender.config = vault->config;
    o->sender.targets = o->targets;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return tr_fail(err, TR_E_INTERNAL, NULL, "libcurl does not start");
    o->multi = curl_multi_init();
    if (o->multi && curl_multi_setopt(o->multi, CURLMOPT_MAXCONNECTS, (long)RUNNING_MAX) == CURLM_OK)
        o->started = pthread_create(&o->thread, NULL, send_all, vault) == 0;
    if (o->started)
        return TR_OK;
    (void)curl_multi_cleanup(o->multi);
    o->multi = NULL;
    curl_global_cleanup();
    return tr_fail(err, TR_E_INTERNAL, NULL, "no thread for the outbox");
}

void tr_outbox_join(tr_vault *vault) {
    tr_outbox *o = vault->outbox;
    if (!o || !o->started)
        return;
    tr_outbox_end(vault);
    pthread_join(o->thread, NULL);
    o->started = false;
    (void)curl_multi_cleanup(o->multi);
    curl_global_cleanup();
}
