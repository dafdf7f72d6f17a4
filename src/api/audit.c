/* The audit log, for auditors; and of it what concerns one subject, for that subject. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/encode.h"
#include "vault/dsr.h"

/* A cursor is the entry's number. */
static void put_seq(int64_t seq, uint8_t bytes[8]) {
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)seq >> (56 - 8 * i));
}

static tr_status take_seq(const tr_call *call, int64_t *seq, tr_error *err) {
    const char *text = tr_call_query(call, "after");
    uint8_t bytes[8];
    *seq = 0;
    tr_status st = text ? tr_call_cursor(text, "after", bytes, sizeof bytes, err) : TR_OK;
    for (int i = 0; text && st == TR_OK && i < 8; i++)
        *seq = (int64_t)((uint64_t)*seq << 8 | bytes[i]);
    return st == TR_OK && *seq < 0 ? tr_fail(err, TR_E_BAD_REQUEST, "after", "is no cursor of this list")
                                   : st;
}

struct entries {
    tr_page page;
    int64_t last;
};

static tr_status end_entries(struct entries *e, tr_status st) {
    uint8_t bytes[8];
    put_seq(e->last, bytes);
    tr_page_close(e->page.call, e->page.more ? bytes : NULL, sizeof bytes);
    return st;
}

/* ---- the auditor's view ---- */

static tr_status audit_row(void *context, const tr_audit_row *row, tr_error *err) {
    struct entries *e = context;
    tr_buf *out = &e->page.call->response->body;
    char hash[65];
    if (!tr_page_count(&e->page))
        return TR_OK;
    e->last = row->seq;
    tr_hex_encode(row->hash, 32, hash);
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "seq", row->seq);
    tr_jw_text(out, "hash", hash);
    const char *entry = row->entry.data;
    if (row->entry.len < 2 || entry[0] != '{')
        return tr_fail(err, TR_E_CORRUPT, "audit.db", "entry %lld is no JSON object", (long long)row->seq);
    if (row->entry.len > 2) { /* the entry's members follow: its text without the braces */
        tr_buf_putc(out, ',');
        tr_buf_append(out, entry + 1, row->entry.len - 2);
    }
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_audit_read(tr_call *call, tr_error *err) {
    struct entries e = {.page = {.call = call}};
    const char *order = tr_call_query(call, "order"), *subject_text = tr_call_query(call, "subject");
    const tr_uuid *none;
    tr_uuid subject;
    int64_t after = 0;
    tr_status st = tr_call_page(call, &e.page.left, NULL, &none, err);
    if (st == TR_OK)
        st = take_seq(call, &after, err);
    if (st == TR_OK && order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
        st = tr_fail(err, TR_E_BAD_REQUEST, "order", "must be asc or desc");
    if (st == TR_OK && subject_text && !tr_uuid_parse(subject_text, strlen(subject_text), &subject))
        st = tr_fail(err, TR_E_BAD_REQUEST, "subject", "must be an id");
    if (st != TR_OK)
        return st;
    tr_page_open(call);
    st = tr_audit_list(call->db, subject_text ? &subject : NULL, after, order && strcmp(order, "desc") == 0,
                       tr_page_rows(&e.page), audit_row, &e, err);
    return end_entries(&e, st);
}

/* ---- the subject's view: who, when, what, for which purpose ---- */

static tr_status principal_name(tr_call *call, const tr_uuid *id, tr_buf *name, tr_error *err) {
    tr_principal_copy copy;
    tr_status st = tr_principal_load(call->vault, call->db, id, &copy, err);
    if (st == TR_OK && tr_principal_named_to(&copy.row, &call->subject))
        tr_buf_puts(name, copy.name[0] ? copy.name : copy.uid);
    tr_wipe(&copy, sizeof copy);
    return st;
}

static tr_status keep_activity_name(void *context, const tr_activity *row, tr_error *err) {
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    const char *name = tr_json_string(doc, "name");
    if (name)
        tr_buf_puts(context, name);
    cJSON_Delete(doc);
    return st;
}

struct own_request {
    const tr_uuid *subject;
    tr_buf *name;
};

/* A service names what it likes: another person's request stays unnamed. */
static tr_status keep_kind(void *context, const tr_dsr *row, tr_error *err) {
    const struct own_request *own = context;
    if (tr_uuid_equal(&row->subject, own->subject))
        tr_buf_printf(own->name, "Request of the data subject: %s", tr_dsr_kind_name(row->kind));
    return tr_buf_ok(own->name, err);
}

/* An activity; or a request of the subject's own, within which an officer acted. */
static tr_status purpose_name(tr_call *call, const tr_uuid *id, tr_buf *name, tr_error *err) {
    struct own_request own = {&call->subject, name};
    tr_status st = tr_activity_get(call->db, id, keep_activity_name, name, err);
    return st == TR_E_NOT_FOUND ? tr_dsr_get(call->db, id, keep_kind, &own, err) : st;
}

/* The name that the id in this member of `entry` stands for; none when it is there no more. */
static tr_status name_of(tr_call *call, const cJSON *entry, const char *member,
                         tr_status (*find)(tr_call *, const tr_uuid *, tr_buf *, tr_error *), tr_buf *name,
                         tr_error *err) {
    const char *text = tr_json_string(entry, member);
    tr_uuid id;
    if (!text || !tr_uuid_parse(text, strlen(text), &id))
        return TR_OK;
    tr_status st = find(call, &id, name, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status access_json(tr_call *call, const tr_audit_row *row, const cJSON *entry, tr_error *err) {
    tr_buf *out = &call->response->body, name = TR_BUF_INIT, purpose = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(name_of(call, entry, "principal", principal_name, &name, err));
    TR_TRY(name_of(call, entry, "purpose", purpose_name, &purpose, err));
    tr_jw_open(out, NULL, '{');
    tr_access_members(out, row->seq, entry, name.data, purpose.data);
    tr_jw_close(out, '}');
    st = tr_buf_ok(out, err);
out:
    tr_buf_clear(&name);
    tr_buf_clear(&purpose);
    return st;
}

static tr_status access_row(void *context, const tr_audit_row *row, tr_error *err) {
    struct entries *e = context;
    cJSON *entry = NULL;
    if (!tr_page_count(&e->page))
        return TR_OK;
    e->last = row->seq;
    tr_status st = tr_json_parse(row->entry.data, row->entry.len, &entry, err);
    if (st == TR_E_MALFORMED)
        st = tr_fail(err, TR_E_CORRUPT, "audit.db", "entry %lld is no JSON", (long long)row->seq);
    if (st == TR_OK)
        st = access_json(e->page.call, row, entry, err);
    cJSON_Delete(entry);
    return st;
}

tr_status tr_accesses(tr_call *call, tr_error *err) {
    struct entries e = {.page = {.call = call}};
    const tr_uuid *none;
    int64_t before = 0;
    tr_status st = tr_call_page(call, &e.page.left, NULL, &none, err);
    if (st == TR_OK)
        st = take_seq(call, &before, err);
    if (st != TR_OK)
        return st;
    tr_page_open(call);
    st = tr_audit_list(call->db, &call->subject, before, true, tr_page_rows(&e.page), access_row, &e, err);
    return end_entries(&e, st);
}
