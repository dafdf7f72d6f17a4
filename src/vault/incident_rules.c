#include "vault/incident_rules.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"

#define SAME_CAUSE_MS INT64_C(86400000) /* a day */

const tr_incident_rule tr_incident_rules[] = {
    {.action = "auth.token_reuse",
     .kind = TR_INCIDENT_ACCESS,
     .title = "A used token was presented again: a session may have been stolen",
     .by_session = true},
    {.action = "security.sign_in_storm",
     .kind = TR_INCIDENT_ACCESS,
     .title = "Very many sign-ins failed: passwords may be being guessed",
     .by_address = true},
    {.action = "security.audit_broken",
     .kind = TR_INCIDENT_ALTERATION,
     .title = "The audit log is not intact"},
    {.action = "security.drill_failed",
     .kind = TR_INCIDENT_LOSS,
     .title = "A restore drill failed: the snapshots may be of no use"},
    {.action = "storage.wrong_key",
     .kind = TR_INCIDENT_ALTERATION,
     .title = "A database does not open with its key: it may have been replaced"},
};
const size_t tr_incident_rules_count = sizeof tr_incident_rules / sizeof *tr_incident_rules;

const tr_incident_rule *tr_incident_rule_of(const char *action) {
    for (size_t i = 0; action && i < tr_incident_rules_count; i++) {
        if (strcmp(action, tr_incident_rules[i].action) == 0)
            return &tr_incident_rules[i];
    }
    return NULL;
}

/* ---- telling the officers ---- */

struct telling {
    tr_db *tx;
    tr_notice notice;
};

static tr_status tell_officer(void *context, const tr_uuid *id, tr_error *err) {
    struct telling *t = context;
    t->notice.id = tr_uuid_new();
    t->notice.recipient = *id;
    return tr_notice_insert(t->tx, &t->notice, err);
}

static tr_status tell_officers(tr_db *tx, const tr_incident *row, const char *title, tr_error *err) {
    char due[TR_TIME_TEXT], text[200];
    tr_buf doc = TR_BUF_INIT;
    struct telling t = {
        tx, {.kind = "incident-opened", .created_at = row->created_at, .next_at = row->created_at}};
    tr_time_format(row->due_at, due);
    snprintf(
        text, sizeof text,
        "An incident was opened by rule. If it is likely to be a risk for people, the authority is to be "
        "told by %s.",
        due);
    tr_jw_open(&doc, NULL, '{');
    tr_jw_text(&doc, "title", title);
    tr_jw_text(&doc, "text", text);
    tr_jw_uuid(&doc, "incident", &row->id);
    tr_jw_close(&doc, '}');
    tr_status st = tr_buf_ok(&doc, err);
    t.notice.doc = doc.data;
    if (st == TR_OK)
        st = tr_principal_enabled(tx, TR_OFFICER, tell_officer, &t, err);
    tr_buf_clear(&doc);
    return st;
}

/* ---- opening ---- */

static tr_status open_one(tr_db *tx, const tr_incident_rule *rule, int64_t at, tr_uuid *id, tr_error *err) {
    tr_incident row = {.id = tr_uuid_new(),
                       .kind = rule->kind,
                       .cause = rule->action,
                       .aware_at = at,
                       .due_at = at + TR_INCIDENT_NOTIFY_MS,
                       .created_at = at,
                       .updated_at = at,
                       .version = 1};
    tr_event event = {.at = at, .action = "incident.open", .purpose = &row.id, .detail = rule->title};
    tr_status st = tr_incident_insert(tx, &row, err);
    if (st == TR_OK)
        st = tell_officers(tx, &row, rule->title, err);
    *id = row.id;
    return st == TR_OK ? tr_event_append(tx, &event, err) : st;
}

/* A lane's evidence names the sign-in that it comes from: all its lanes are in question. */
static const char *session_of(const tr_event *event) {
    const tr_caller *who = event->who;
    if (event->session)
        return event->session;
    return who && who->origin[0] ? who->origin : who && who->session[0] ? who->session : NULL;
}

tr_status tr_incident_judge(tr_db *tx, const tr_event *event, int64_t seq, tr_error *err) {
    const tr_incident_rule *rule = tr_incident_rule_of(event->action);
    tr_uuid id;
    if (!rule)
        return TR_OK;
    tr_evidence evidence = {.seq = seq,
                            .at = event->at,
                            .principal = event->who ? &event->who->principal : NULL,
                            .request = event->request,
                            .session = session_of(event),
                            .address = event->address,
                            .detail = event->detail};
    tr_status st = tr_incident_of_cause(tx, rule->action, event->at - SAME_CAUSE_MS, &id, err);
    if (st == TR_E_NOT_FOUND)
        st = open_one(tx, rule, event->at, &id, err);
    return st == TR_OK ? tr_evidence_add(tx, &id, &evidence, err) : st;
}
