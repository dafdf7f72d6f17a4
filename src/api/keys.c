/* The master key's versions, for operators. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "vault/keys.h"

static void item_json(tr_call *call, const tr_master_use *item) {
    tr_buf *out = &call->response->body;
    const char *database;
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "version", item->version);
    tr_jw_time(out, "created_at", item->created_ms);
    tr_jw_bool(out, "current", item->current);
    tr_jw_number(out, "data_keys", item->data_keys);
    tr_jw_open(out, "databases", '[');
    for (size_t i = 0; (database = tr_keys_database(call->vault, item->version, i)) != NULL; i++)
        tr_jw_text(out, NULL, database);
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
}

tr_status tr_keys_get(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    tr_master_use *items = NULL;
    size_t count = 0;
    bool rewrapping = tr_keys_rewrapping(call->vault);
    tr_status st = tr_keys_list(call->vault, call->db, &items, &count, err);
    if (st != TR_OK)
        return st;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "provider", tr_keys_provider(call->vault));
    tr_jw_number(out, "rotation_days", call->config->key_rotation);
    tr_jw_bool(out, "rewrapping", rewrapping);
    tr_jw_open(out, "items", '[');
    for (size_t i = 0; i < count; i++)
        item_json(call, &items[i]);
    tr_jw_close(out, ']');
    tr_call_next(out, NULL, 0);
    tr_jw_close(out, '}');
    free(items);
    return TR_OK;
}

/* ---- rotate, retire: what they do to the keyring is not undone with a commit ---- */

typedef struct change {
    tr_vault *vault;
    bool locked;
    uint32_t version;
    char detail[32]; /* of the audit entry */
} change;

static void end_change(void *context) {
    change *c = context;
    if (c->locked)
        tr_keys_unlock(c->vault);
    c->locked = false;
}

/* From here to the end of the request no other change runs. One that had the same Idempotency-Key may have
 * run just before: then *out is NULL, and the response is its outcome. */
static tr_status begin_change(tr_call *call, change **out, tr_error *err) {
    change *c = tr_call_alloc(call, sizeof *c, end_change, err);
    *out = NULL;
    if (!c)
        return TR_E_NOMEM;
    c->vault = call->vault;
    tr_keys_lock(call->vault);
    c->locked = true;
    tr_status st = tr_replay(call, err);
    if (call->replayed)
        call->event.detail = "a stored outcome was answered";
    else if (st == TR_OK)
        *out = c;
    return st;
}

static tr_status answer_version(tr_call *call, uint32_t version, tr_error *err) {
    tr_master_use *items = NULL;
    size_t count = 0;
    tr_status st = tr_keys_list(call->vault, call->db, &items, &count, err);
    tr_call_json(call, 201);
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (items[i].version == version)
            item_json(call, &items[i]);
    }
    free(items);
    return st;
}

static tr_status note_rotation(void *context, tr_db *tx, tr_error *err) {
    return tr_keys_note(tx, ((change *)context)->version, err);
}

static void begin_rewrap(tr_call *call) {
    tr_keys_begin_rewrap(call->vault);
}

tr_status tr_keys_post_rotate(tr_call *call, tr_error *err) {
    change *c = NULL;
    tr_status st = begin_change(call, &c, err);
    if (st != TR_OK || !c)
        return st;
    st = tr_keys_rotate(call->vault, &c->version, err);
    if (st == TR_OK)
        st = answer_version(call, c->version, err);
    if (st != TR_OK)
        return st;
    snprintf(c->detail, sizeof c->detail, "version %u", c->version);
    call->event.detail = c->detail;
    call->effect = note_rotation;
    call->effect_context = c;
    call->after_commit = begin_rewrap;
    return TR_OK;
}

static tr_status version_param(const tr_call *call, uint32_t *version, tr_error *err) {
    const char *text = call->params[0];
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 10 || text[0] == '0' || !*text || *end ||
        value > UINT32_MAX)
        return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such version of the master key");
    *version = (uint32_t)value;
    return TR_OK;
}

/* Its audit entry is durable before the key is destroyed; so the commit of the request has none. */
tr_status tr_keys_delete(tr_call *call, tr_error *err) {
    change *c = NULL;
    tr_status st = begin_change(call, &c, err);
    if (st != TR_OK || !c)
        return st;
    st = version_param(call, &c->version, err);
    if (st != TR_OK)
        return st;
    snprintf(c->detail, sizeof c->detail, "version %u", c->version);
    call->event.detail = c->detail;
    call->event.outcome = TR_OK;
    st = tr_keys_retire(call->vault, c->version, &call->event, err);
    call->own_entries = st == TR_OK;
    call->response->status = 204;
    return st;
}
