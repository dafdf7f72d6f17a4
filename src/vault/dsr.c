#include "vault/dsr.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/aead.h"
#include "vault/datakeys.h"
#include "vault/deadline.h"

static const char *const kinds[TR_DSR_KIND_COUNT] = {[TR_DSR_ACCESS] = "access",
                                                     [TR_DSR_PORTABILITY] = "portability",
                                                     [TR_DSR_RECTIFICATION] = "rectification",
                                                     [TR_DSR_RESTRICTION] = "restriction",
                                                     [TR_DSR_ERASURE] = "erasure",
                                                     [TR_DSR_OBJECTION] = "objection"};

static const char *const states[TR_DSR_STATE_COUNT] = {
    [TR_DSR_RECEIVED] = "received",     [TR_DSR_VERIFIED] = "verified",   [TR_DSR_EXTENDED] = "extended",
    [TR_DSR_FULFILLING] = "fulfilling", [TR_DSR_FULFILLED] = "fulfilled", [TR_DSR_REFUSED] = "refused"};

const char *tr_dsr_kind_name(tr_dsr_kind kind) {
    return (unsigned)kind < TR_DSR_KIND_COUNT ? kinds[kind] : "unknown";
}

bool tr_dsr_kind_parse(const char *text, tr_dsr_kind *kind) {
    for (int i = 0; i < TR_DSR_KIND_COUNT; i++) {
        if (strcmp(text, kinds[i]) == 0) {
            *kind = (tr_dsr_kind)i;
            return true;
        }
    }
    return false;
}

const char *tr_dsr_state_name(tr_dsr_state state) {
    return (unsigned)state < TR_DSR_STATE_COUNT ? states[state] : "unknown";
}

static tr_status no_memory(tr_error *err) {
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

/* ---- sealed texts ---- */

enum { BINDING_PARTS = 3 };

static void bind(const tr_dsr *row, tr_bytes parts[BINDING_PARTS]) {
    parts[0] = (tr_bytes){"tresor request", 14};
    parts[1] = (tr_bytes){row->subject.bytes, 16};
    parts[2] = (tr_bytes){row->id.bytes, 16};
}

/* Both JSON texts are our own: what cannot be read was damaged. */
static tr_status parse(const char *text, size_t len, cJSON **out, tr_error *err) {
    tr_status st = tr_json_parse(text, len, out, err);
    if (st == TR_E_MALFORMED || (st == TR_OK && !cJSON_IsObject(*out)))
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored request is no JSON object");
    return st;
}

static tr_status open_texts(tr_vault *vault, tr_db *db, tr_dsr_case *c, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_buf plain = TR_BUF_INIT;
    if (c->row.sealed.len == 0)
        return TR_OK;
    bind(&c->row, parts);
    tr_status st = tr_datakey_get(vault, db, &c->row.subject, &key, err);
    if (st == TR_OK)
        st = tr_aead_open(&key, parts, BINDING_PARTS, c->row.sealed, &plain, err);
    if (st == TR_OK)
        st = parse(plain.data, plain.len, &c->texts, err);
    tr_buf_clear(&plain);
    tr_secret_clear(&key);
    return st == TR_E_NOT_FOUND ? TR_OK : st; /* no key: the texts are gone */
}

tr_status tr_dsr_print(tr_dsr_case *c, tr_error *err) {
    tr_buf_reset(&c->doc_text);
    tr_status st = tr_json_print(c->doc, &c->doc_text, err);
    c->row.doc = c->doc_text.data;
    return st;
}

tr_status tr_dsr_seal(tr_vault *vault, tr_db *db, tr_dsr_case *c, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_bytes parts[BINDING_PARTS];
    tr_buf plain = TR_BUF_INIT;
    tr_status st = TR_OK;
    tr_buf_reset(&c->sealed);
    TR_TRY(tr_dsr_print(c, err));
    c->row.sealed = (tr_bytes){NULL, 0};
    if (!c->texts)
        goto out;
    bind(&c->row, parts);
    TR_TRY(tr_json_print(c->texts, &plain, err));
    TR_TRY(tr_datakey_get(vault, db, &c->row.subject, &key, err));
    TR_TRY(tr_aead_seal(&key, parts, BINDING_PARTS, (tr_bytes){plain.data, plain.len}, &c->sealed, err));
    c->row.sealed = (tr_bytes){c->sealed.data, c->sealed.len};
out:
    tr_buf_clear(&plain);
    tr_secret_clear(&key);
    return st;
}

/* ---- a case ---- */

static tr_status keep_row(void *context, const tr_dsr *row, tr_error *err) {
    tr_dsr_case *c = context;
    tr_status st = TR_OK;
    memset(c, 0, sizeof *c);
    c->row = *row;
    c->row.receipt = NULL;
    tr_buf_puts(&c->doc_text, row->doc);
    tr_buf_append(&c->sealed, row->sealed.data, row->sealed.len);
    if (row->receipt)
        tr_buf_puts(&c->receipt, row->receipt);
    TR_TRY(tr_buf_ok(&c->doc_text, err));
    TR_TRY(tr_buf_ok(&c->sealed, err));
    TR_TRY(tr_buf_ok(&c->receipt, err));
    c->row.doc = c->doc_text.data;
    c->row.sealed = (tr_bytes){c->sealed.data, c->sealed.len};
    if (row->receipt)
        c->row.receipt = c->receipt.data;
out:
    return st;
}

static tr_status open_case(tr_vault *vault, tr_db *db, tr_dsr_case *c, tr_error *err) {
    tr_status st = parse(c->doc_text.data, c->doc_text.len, &c->doc, err);
    return st == TR_OK ? open_texts(vault, db, c, err) : st;
}

tr_status tr_dsr_open(tr_vault *vault, tr_db *db, const tr_dsr *row, tr_dsr_case *out, tr_error *err) {
    tr_status st = keep_row(out, row, err);
    if (st == TR_OK)
        st = open_case(vault, db, out, err);
    if (st != TR_OK)
        tr_dsr_clear(out);
    return st;
}

tr_status tr_dsr_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_dsr_case *out, tr_error *err) {
    memset(out, 0, sizeof *out);
    tr_status st = tr_dsr_get(db, id, keep_row, out, err);
    if (st == TR_OK)
        st = open_case(vault, db, out, err);
    if (st != TR_OK)
        tr_dsr_clear(out);
    return st;
}

void tr_dsr_clear(tr_dsr_case *c) {
    cJSON_Delete(c->doc);
    cJSON_Delete(c->texts);
    tr_buf_clear(&c->doc_text);
    tr_buf_clear(&c->sealed);
    tr_buf_clear(&c->receipt);
    memset(c, 0, sizeof *c);
}

tr_status tr_dsr_new(tr_vault *vault, const tr_uuid *subject, tr_dsr_kind kind, const tr_uuid *filed_by,
                     int64_t received_at, int64_t now, tr_dsr_case *out, tr_error *err) {
    tr_deadline_rule rule = TR_DEADLINE_FADP;
    char by[TR_UUID_TEXT];
    memset(out, 0, sizeof *out);
    if (!tr_deadline_rule_parse(tr_vault_config(vault)->deadline_rule, &rule))
        return tr_fail(err, TR_E_CONFIG, "deadline_rule", "must be fadp or gdpr");
    out->row = (tr_dsr){.id = tr_uuid_new(),
                        .subject = *subject,
                        .kind = kind,
                        .state = TR_DSR_RECEIVED,
                        .received_at = received_at,
                        .due_at = tr_deadline_due(rule, received_at),
                        .updated_at = now,
                        .version = 1};
    out->doc = cJSON_CreateObject();
    out->texts = cJSON_CreateObject();
    tr_uuid_format(filed_by, by);
    if (out->doc && out->texts && cJSON_AddStringToObject(out->doc, "filed_by", by))
        return TR_OK;
    tr_dsr_clear(out);
    return no_memory(err);
}

/* ---- members ---- */

/* Takes the value, also when it fails. */
static tr_status put(cJSON *object, const char *name, cJSON *value, tr_error *err) {
    cJSON_DeleteItemFromObjectCaseSensitive(object, name);
    if (value && cJSON_AddItemToObject(object, name, value))
        return TR_OK;
    cJSON_Delete(value);
    return no_memory(err);
}

tr_status tr_dsr_set_text(tr_dsr_case *c, const char *name, const char *text, tr_error *err) {
    if (!text)
        return TR_OK;
    if (!c->texts)
        return tr_fail(err, TR_E_CONFLICT, NULL, "the subject has been erased");
    return put(c->texts, name, cJSON_CreateString(text), err);
}

tr_status tr_dsr_set_step(tr_dsr_case *c, const char *member, int64_t at, const tr_uuid *by, const char *name,
                          const char *text, tr_error *err) {
    char time[TR_TIME_TEXT], id[TR_UUID_TEXT];
    cJSON *step = cJSON_CreateObject();
    tr_time_format(at, time);
    tr_uuid_format(by, id);
    if (step && cJSON_AddStringToObject(step, "at", time) && cJSON_AddStringToObject(step, "by", id) &&
        (!name || cJSON_AddStringToObject(step, name, text)))
        return put(c->doc, member, step, err);
    cJSON_Delete(step);
    return no_memory(err);
}

int64_t tr_dsr_step_time(const tr_dsr_case *c, const char *member, const char *name) {
    const char *text = tr_json_string(tr_json_member(c->doc, member), name);
    int64_t ms = 0;
    return text && tr_time_parse(text, strlen(text), &ms) ? ms : 0;
}

static tr_status set_result(tr_dsr_case *c, const char *name, cJSON *value, tr_error *err) {
    cJSON *result = cJSON_GetObjectItemCaseSensitive(c->doc, "result");
    if (!result)
        result = cJSON_AddObjectToObject(c->doc, "result");
    if (result)
        return put(result, name, value, err);
    cJSON_Delete(value);
    return no_memory(err);
}

tr_status tr_dsr_set_count(tr_dsr_case *c, const char *name, int64_t number, tr_error *err) {
    return set_result(c, name, cJSON_CreateNumber((double)number), err);
}

tr_status tr_dsr_set_result_id(tr_dsr_case *c, const char *name, const tr_uuid *id, tr_error *err) {
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    return set_result(c, name, cJSON_CreateString(text), err);
}

tr_status tr_dsr_set_verified(tr_dsr_case *c, int64_t at, const tr_uuid *by, const char *method,
                              tr_error *err) {
    tr_status st = tr_dsr_check_state(&c->row, TR_DSR_IS(TR_DSR_RECEIVED), err);
    if (st == TR_OK)
        st = tr_dsr_set_step(c, "verification", at, by, "method", method, err);
    if (st == TR_OK)
        c->row.state = TR_DSR_VERIFIED;
    return st;
}

/* ---- states ---- */

tr_status tr_dsr_check_state(const tr_dsr *row, unsigned allowed, tr_error *err) {
    const unsigned closed = TR_DSR_IS(TR_DSR_FULFILLED) | TR_DSR_IS(TR_DSR_REFUSED);
    if (row->closed_at != 0 && !(TR_DSR_IS(row->state) & closed)) /* in the state that it was in then */
        return tr_fail(err, TR_E_CONFLICT, NULL, "the request was closed when its subject was erased");
    return TR_DSR_IS(row->state) & allowed
               ? TR_OK
               : tr_fail(err, TR_E_CONFLICT, NULL, "the request is %s", tr_dsr_state_name(row->state));
}

static void touch(tr_dsr *row, tr_dsr_state state, int64_t now) {
    row->state = state;
    row->updated_at = now;
    row->closed_at = state == TR_DSR_FULFILLED || state == TR_DSR_REFUSED ? now : 0;
    row->version++;
}

void tr_dsr_touch(tr_dsr_case *c, tr_dsr_state state, int64_t now) {
    touch(&c->row, state, now);
}

tr_status tr_dsr_change_state(tr_db *tx, const tr_uuid *id, const tr_uuid *subject, const tr_dsr_kind *kind,
                              unsigned from, tr_dsr_state to, int64_t at, tr_error *err) {
    tr_dsr_case c = {.doc = NULL};
    tr_status st = tr_dsr_get(tx, id, keep_row, &c, err);
    if (st == TR_OK &&
        ((subject && !tr_uuid_equal(subject, &c.row.subject)) || (kind && *kind != c.row.kind)))
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such request");
    if (st == TR_OK)
        st = tr_dsr_check_state(&c.row, from, err);
    if (st == TR_OK) {
        touch(&c.row, to, at);
        st = tr_dsr_update(tx, &c.row, err);
    }
    tr_dsr_clear(&c);
    return st;
}

/* ---- in jobs: filing; who may see data now ---- */

static tr_status count_row(void *context, const tr_dsr *row, tr_error *err) {
    (void)row;
    (void)err;
    ++*(int *)context;
    return TR_OK;
}

tr_status tr_dsr_file(tr_db *tx, const tr_dsr *row, tr_error *err) {
    const tr_dsr_filter filter = {.subject = &row->subject, .open = true};
    tr_subject_row subject;
    int open = 0;
    tr_status st = tr_subject_get(tx, &row->subject, &subject, err);
    if (st == TR_OK)
        st = tr_dsr_list(tx, &filter, NULL, TR_DSR_OPEN_MAX, count_row, &open, err);
    if (st == TR_OK && open >= TR_DSR_OPEN_MAX)
        st = tr_fail(err, TR_E_CONFLICT, NULL, "this subject has %d open requests", TR_DSR_OPEN_MAX);
    return st == TR_OK ? tr_dsr_insert(tx, row, err) : st;
}

struct warrant {
    unsigned kinds;
    bool found;
    tr_uuid id;
};

static tr_status look_at(void *context, const tr_dsr *row, tr_error *err) {
    struct warrant *w = context;
    (void)err;
    if ((TR_DSR_IS(row->state) & TR_DSR_ARE_VERIFIED) && (1u << row->kind & w->kinds)) {
        w->found = true;
        w->id = row->id;
    }
    return TR_OK;
}

tr_status tr_dsr_warrant(tr_db *db, const tr_uuid *subject, const tr_uuid *officer, unsigned wanted,
                         tr_uuid *id, tr_error *err) {
    const tr_dsr_filter filter = {.subject = subject, .assignee = officer, .open = true};
    struct warrant w = {.kinds = wanted};
    tr_subject_row row;
    tr_status st = tr_subject_get(db, subject, &row, err); /* not of one that is being erased */
    if (st == TR_OK)
        st = tr_dsr_list(db, &filter, NULL, 2 * TR_DSR_OPEN_MAX, look_at, &w, err);
    if (st == TR_OK && !w.found)
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "no such request is open");
    if (st == TR_OK)
        *id = w.id;
    return st;
}
