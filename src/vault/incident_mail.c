#include "vault/incident_mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/audit.h"
#include "vault/incident_scope.h"
#include "vault/vault_internal.h"

#define SUBJECTS_A_SCAN 4000 /* looked up in one reading of the log */
#define SUBJECTS_A_JOB  200
#define TEND_MS         2000

tr_status tr_mailing_write(tr_mailing *row, const char *title, const char *body, tr_buf *text,
                           tr_error *err) {
    tr_jw_open(text, NULL, '{');
    tr_jw_text(text, "title", title);
    tr_jw_text(text, "text", body);
    tr_jw_uuid(text, "incident", &row->incident);
    tr_jw_close(text, '}');
    tr_status st = tr_buf_ok(text, err);
    const tr_bytes part = {text->data, text->len};
    row->doc = text->data;
    return st == TR_OK ? tr_sha256(&part, 1, row->digest, err) : st;
}

/* ---- a mailing, and the subjects that come next ---- */

struct mail {
    tr_mailing row;
    tr_buf doc, scope, listed;
    tr_uuid next[SUBJECTS_A_SCAN];
    size_t count;
    bool last; /* none is behind these */
};

static tr_status keep(void *context, const tr_mailing *row, tr_error *err) {
    struct mail *m = context;
    tr_status st = TR_OK;
    m->row = *row;
    tr_buf_puts(&m->doc, row->doc);
    TR_TRY(tr_buf_ok(&m->doc, err));
    m->row.doc = m->doc.data;
    if (row->scope) {
        tr_buf_puts(&m->scope, row->scope);
        TR_TRY(tr_buf_ok(&m->scope, err));
        m->row.scope = m->scope.data;
    }
    tr_buf_append(&m->listed, row->subjects.data, row->subjects.len);
    st = tr_buf_ok(&m->listed, err);
out:
    return st;
}

static void free_mail(struct mail *m) {
    if (!m)
        return;
    tr_buf_clear(&m->doc);
    tr_buf_clear(&m->scope);
    tr_buf_clear(&m->listed);
    free(m);
}

static tr_status next_affected(tr_db *db, struct mail *m, tr_error *err) {
    const tr_affected_part part = {.after = m->row.has_after ? &m->row.after : NULL,
                                   .first = 1,
                                   .upto = m->row.upto,
                                   .limit = SUBJECTS_A_SCAN};
    tr_affected found = {.rows = NULL};
    tr_scope scope;
    cJSON *json = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_json_parse(m->row.scope, strlen(m->row.scope), &json, err));
    TR_TRY(tr_scope_read(json, "", &scope, err));
    TR_TRY(tr_affected_find(db, &scope, &part, &found, err));
    m->count = found.count;
    m->last = !found.more;
    for (size_t i = 0; i < found.count; i++)
        m->next[i] = found.rows[i].subject;
out:
    tr_affected_clear(&found);
    cJSON_Delete(json);
    return st;
}

static void next_listed(struct mail *m) {
    size_t all = m->listed.len / sizeof m->next[0].bytes;
    const char *at = m->listed.data;
    m->count = 0;
    m->last = true;
    for (size_t i = 0; i < all; i++, at += sizeof m->next[0].bytes) {
        if (m->row.has_after && memcmp(at, m->row.after.bytes, sizeof m->row.after.bytes) <= 0)
            continue;
        if (m->count == SUBJECTS_A_SCAN) {
            m->last = false;
            return;
        }
        memcpy(m->next[m->count++].bytes, at, sizeof m->next[0].bytes);
    }
}

/* ---- one commit ---- */

struct batch {
    const struct mail *mail;
    const tr_uuid *subjects;
    size_t count;
    bool last;
    tr_mailing row; /* as it is afterwards */
};

struct telling {
    tr_db *tx;
    tr_notice notice;
    bool fresh;
    int principals;
};

static tr_status count_principal(void *context, const tr_uuid *id, tr_error *err) {
    (void)id;
    (void)err;
    ((struct telling *)context)->principals++;
    return TR_OK;
}

static tr_status add_notice(void *context, const tr_uuid *id, tr_error *err) {
    struct telling *t = context;
    t->notice.id = tr_uuid_new();
    t->notice.recipient = *id;
    return tr_notice_insert(t->tx, &t->notice, err);
}

/* A subject that cannot be reached does not count as told: a later mailing may find a principal. */
static tr_status tell(tr_db *tx, tr_mailing *row, const tr_uuid *subject, int64_t now, tr_error *err) {
    struct telling t = {.tx = tx,
                        .notice = {.has_subject = true,
                                   .subject = *subject,
                                   .kind = "incident",
                                   .doc = row->doc,
                                   .created_at = now,
                                   .next_at = now}};
    tr_status st = tr_principal_of_subject(tx, subject, count_principal, &t, err);
    if (st == TR_OK && t.principals == 0) {
        row->unreachable++;
        return TR_OK;
    }
    if (st == TR_OK)
        st = tr_told_add(tx, &row->incident, row->digest, subject, &t.fresh, err);
    if (st != TR_OK)
        return st;
    row->told += t.fresh;
    row->before += !t.fresh;
    return t.fresh ? tr_principal_of_subject(tx, subject, add_notice, &t, err) : TR_OK;
}

static tr_status log_end(tr_db *tx, const tr_mailing *row, tr_error *err) {
    char detail[120];
    tr_event event = {
        .at = row->done_at, .action = "incident.told", .purpose = &row->incident, .detail = detail};
    snprintf(detail, sizeof detail, "%lld told, %lld told before, %lld cannot be reached",
             (long long)row->told, (long long)row->before, (long long)row->unreachable);
    return tr_event_append(tx, &event, err);
}

/* May run more than once: it counts from what the mailing was before it. */
static tr_status tell_job(void *context, tr_db *tx, tr_error *err) {
    struct batch *b = context;
    const tr_mailing *before = &b->mail->row;
    int64_t now = tr_now_ms();
    tr_status st = TR_OK;
    b->row = *before;
    for (size_t i = 0; i < b->count && st == TR_OK; i++)
        st = tell(tx, &b->row, &b->subjects[i], now, err);
    if (b->count) {
        b->row.has_after = true;
        b->row.after = b->subjects[b->count - 1];
    }
    b->row.done_at = b->last ? now : 0;
    if (st == TR_OK)
        st = tr_mailing_update(tx, &b->row, before->has_after ? &before->after : NULL, err);
    return st == TR_OK && b->last ? log_end(tx, &b->row, err) : st;
}

/* ---- the sweep's part ---- */

static tr_status tell_all(tr_vault *vault, struct mail *m, int64_t until, tr_error *err) {
    tr_status st = TR_OK;
    size_t done = 0;
    do {
        size_t left = m->count - done, count = left < SUBJECTS_A_JOB ? left : SUBJECTS_A_JOB;
        struct batch b = {
            .mail = m, .subjects = m->next + done, .count = count, .last = m->last && count == left};
        st = tr_store_write(vault->store, tell_job, &b, err);
        m->row = b.row;
        done += count;
    } while (st == TR_OK && done < m->count && tr_monotonic_ms() < until);
    return st;
}

tr_status tr_mailings_tend(tr_vault *vault, bool *more, tr_error *err) {
    int64_t until = tr_monotonic_ms() + TEND_MS;
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    while (st == TR_OK && tr_monotonic_ms() < until) {
        struct mail *m = calloc(1, sizeof *m);
        st = m ? tr_mailing_waiting(db, keep, m, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        if (st == TR_OK && m->row.scope)
            st = next_affected(db, m, err);
        else if (st == TR_OK)
            next_listed(m);
        if (st == TR_OK)
            st = tell_all(vault, m, until, err);
        free_mail(m);
    }
    *more = st == TR_OK;
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}
