/* A request of a data subject as the API shows it. */
#include "base/json.h"
#include "base/json_write.h"
#include "vault/dsr.h"

/* A step of doc's with the text that belongs to it; null when it has not been taken. */
static void step_json(tr_buf *out, const tr_dsr_case *c, const char *name, const char *own, const char *text,
                      const char *text_name) {
    const cJSON *step = tr_json_member(c->doc, name);
    if (!step) {
        tr_jw_text(out, name, NULL);
        return;
    }
    tr_jw_open(out, name, '{');
    tr_jw_text(out, "at", tr_json_string(step, "at"));
    tr_jw_text(out, "by", tr_json_string(step, "by"));
    tr_jw_text(out, own, tr_json_string(step, own));
    tr_jw_text(out, text_name, tr_json_string(c->texts, text));
    tr_jw_close(out, '}');
}

static tr_status result_json(tr_buf *out, const cJSON *doc, tr_error *err) {
    const cJSON *result = tr_json_member(doc, "result");
    if (result)
        return tr_jw_tree(out, "result", result, err);
    tr_jw_text(out, "result", NULL);
    return TR_OK;
}

static tr_status notice_json(void *context, const tr_notice *row, tr_error *err) {
    tr_buf *out = context;
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "kind", row->kind);
    tr_jw_uuid(out, "recipient", &row->recipient);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "sent_at", row->sent_at);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_dsr_json(tr_db *db, const tr_dsr_case *c, int64_t now, tr_buf *out, tr_error *err) {
    const tr_dsr *row = &c->row;
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_uuid(out, "subject", &row->subject);
    tr_jw_text(out, "kind", tr_dsr_kind_name(row->kind));
    tr_jw_text(out, "state", tr_dsr_state_name(row->state));
    tr_jw_text(out, "details", tr_json_string(c->texts, "details"));
    tr_jw_texts(out, "activities", tr_json_member(c->doc, "activities"));
    tr_jw_text(out, "filed_by", tr_json_string(c->doc, "filed_by"));
    tr_jw_time(out, "received_at", row->received_at);
    tr_jw_time(out, "due_at", row->due_at);
    tr_jw_bool(out, "overdue", row->closed_at == 0 && row->due_at < now);
    step_json(out, c, "verification", "method", "note", "note");
    step_json(out, c, "extension", "until", "extension_reason", "reason");
    tr_jw_uuid(out, "assignee", row->has_assignee ? &row->assignee : NULL);
    tr_jw_time(out, "closed_at", row->closed_at);
    step_json(out, c, "refusal", "legal_basis", "refusal_reason", "reason");
    tr_status st = result_json(out, c->doc, err);
    tr_jw_open(out, "notices", '[');
    if (st == TR_OK)
        st = tr_notice_list(db, &row->id, NULL, TR_DSR_NOTICES_MAX, notice_json, out, err);
    tr_jw_close(out, ']');
    tr_jw_number(out, "version", row->version);
    tr_jw_time(out, "updated_at", row->updated_at);
    tr_jw_close(out, '}');
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}
