#include "vault/audit.h"

#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/incident_rules.h"
#include "vault/principals.h"

#define ENTRY_BYTES 600 /* of most entries, with one record */

tr_status tr_session_ref(const char *client, char ref[TR_SESSION_REF + 1], tr_error *err) {
    const tr_bytes part = {client, strlen(client)};
    uint8_t hash[32];
    tr_status st = tr_sha256(&part, 1, hash, err);
    if (st == TR_OK)
        tr_hex_encode(hash, TR_SESSION_REF / 2, ref);
    return st;
}

static void add_text(tr_buf *b, const char *name, const char *text) {
    if (!text)
        return;
    tr_buf_puts(b, b->len > 1 ? ",\"" : "\"");
    tr_buf_puts(b, name);
    tr_buf_puts(b, "\":");
    tr_buf_json_string(b, text, strlen(text));
}

static void add_uuid(tr_buf *b, const char *name, const tr_uuid *id) {
    char text[TR_UUID_TEXT];
    if (!id)
        return;
    tr_uuid_format(id, text);
    add_text(b, name, text);
}

static void add_session(tr_buf *b, const tr_event *event) {
    const tr_caller *who = event->who;
    if (event->session)
        add_text(b, "session", event->session);
    else if (who && who->session[0])
        add_text(b, "session", who->session);
    if (who && who->origin[0])
        add_text(b, "origin", who->origin);
}

static void add_records(tr_buf *b, const tr_event *event) {
    char text[TR_UUID_TEXT];
    if (event->record_count == 0)
        return;
    tr_buf_puts(b, ",\"records\":[");
    for (size_t i = 0; i < event->record_count; i++) {
        tr_uuid_format(&event->records[i], text);
        tr_buf_puts(b, i ? ",\"" : "\"");
        tr_buf_puts(b, text);
        tr_buf_putc(b, '"');
    }
    tr_buf_putc(b, ']');
}

tr_status tr_event_append(tr_db *tx, const tr_event *event, tr_error *err) {
    char time[TR_TIME_TEXT];
    tr_buf entry = TR_BUF_INIT;
    tr_time_format(event->at, time);
    (void)tr_buf_reserve(&entry, ENTRY_BYTES);
    tr_buf_putc(&entry, '{');
    add_text(&entry, "time", time);
    add_text(&entry, "action", event->action);
    if (event->who) {
        add_uuid(&entry, "principal", &event->who->principal);
        add_text(&entry, "role", tr_role_name(event->who->role));
    }
    add_session(&entry, event);
    add_uuid(&entry, "purpose", event->purpose);
    add_uuid(&entry, "subject", event->subject);
    add_text(&entry, "type", event->type);
    add_records(&entry, event);
    add_text(&entry, "outcome", tr_status_slug(event->outcome));
    add_uuid(&entry, "request", event->request);
    add_text(&entry, "address", event->address);
    add_text(&entry, "detail", event->detail);
    tr_buf_putc(&entry, '}');
    int64_t seq = tr_audit_next(tx);
    tr_status st = tr_buf_ok(&entry, err);
    if (st == TR_OK)
        st = tr_audit_append(tx, event->at, event->subject, (tr_bytes){entry.data, entry.len}, err);
    tr_buf_clear(&entry);
    return st == TR_OK ? tr_incident_judge(tx, event, seq, err) : st;
}

static tr_status append_job(void *context, tr_db *tx, tr_error *err) {
    return tr_event_append(tx, context, err);
}

tr_status tr_event_write(tr_store *store, const tr_event *event, tr_error *err) {
    tr_event copy = *event;
    return tr_store_write(store, append_job, &copy, err);
}

void tr_access_members(tr_buf *out, int64_t seq, const cJSON *entry, const char *name,
                       const char *purpose_name) {
    tr_jw_number(out, "seq", seq);
    tr_jw_text(out, "time", tr_json_string(entry, "time"));
    tr_jw_text(out, "principal", tr_json_string(entry, "principal"));
    tr_jw_text(out, "role", tr_json_string(entry, "role"));
    tr_jw_text(out, "name", name);
    tr_jw_text(out, "purpose", tr_json_string(entry, "purpose"));
    tr_jw_text(out, "purpose_name", purpose_name);
    tr_jw_text(out, "action", tr_json_string(entry, "action"));
    tr_jw_text(out, "type", tr_json_string(entry, "type"));
    tr_jw_texts(out, "records", tr_json_member(entry, "records"));
    tr_jw_text(out, "outcome", tr_json_string(entry, "outcome"));
}
