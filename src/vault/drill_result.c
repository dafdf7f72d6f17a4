/* A drill's result: kept as the JSON that callers get. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "vault/drill_internal.h"
#include "vault/vault_internal.h"

static const char meta_name[] = "backup.drill";

/* ---- JSON ---- */

static void counts_json(tr_buf *out, const tr_drill *drill) {
    const tr_store_counts *c = &drill->counts;
    if (!drill->counted) {
        tr_jw_raw(out, "counts", "null", 4);
        return;
    }
    tr_jw_open(out, "counts", '{');
    tr_jw_number(out, "subjects", c->subjects);
    tr_jw_number(out, "records", c->records);
    tr_jw_number(out, "principals", c->principals);
    tr_jw_number(out, "grants", c->grants);
    tr_jw_number(out, "audit_entries", c->audit_entries);
    tr_jw_close(out, '}');
}

static const char *or_null(const char *text) {
    return text[0] ? text : NULL;
}

void tr_drill_json(tr_buf *out, const char *name, const tr_drill *drill) {
    tr_jw_open(out, name, '{');
    tr_jw_text(out, "state", drill->ended_at == 0 ? "running" : drill->ok ? "good" : "failed");
    tr_jw_uuid(out, "snapshot", tr_uuid_is_nil(&drill->snapshot) ? NULL : &drill->snapshot);
    tr_jw_time(out, "begun_at", drill->begun_at);
    tr_jw_time(out, "ended_at", drill->ended_at);
    tr_jw_number(out, "segments", drill->segments);
    tr_jw_time(out, "reached_at", drill->reached_at);
    tr_jw_time(out, "keys_at", drill->keys_at);
    counts_json(out, drill);
    tr_jw_number(out, "erased", drill->erased);
    tr_jw_number(out, "opened", drill->opened);
    tr_jw_text(out, "step", or_null(drill->step));
    tr_jw_text(out, "problem", or_null(drill->problem));
    tr_jw_text(out, "reason", or_null(drill->reason));
    tr_jw_text(out, "where", or_null(drill->where));
    tr_jw_close(out, '}');
}

static int64_t time_of(const cJSON *tree, const char *name) {
    const char *text = tr_json_string(tree, name);
    int64_t ms = 0;
    return text && tr_time_parse(text, strlen(text), &ms) ? ms : 0;
}

static void text_of(const cJSON *tree, const char *name, char *out, size_t size) {
    const char *text = tr_json_string(tree, name);
    (void)snprintf(out, size, "%s", text ? text : "");
}

static int64_t number_of(const cJSON *tree, const char *name) {
    int64_t value = 0;
    return tr_json_int(tree, name, &value) ? value : 0;
}

static void take(const cJSON *tree, tr_drill *out) {
    const char *id = tr_json_string(tree, "snapshot"), *state = tr_json_string(tree, "state");
    const cJSON *counts = tr_json_member(tree, "counts");
    *out = (tr_drill){.ok = state && strcmp(state, "good") == 0,
                      .begun_at = time_of(tree, "begun_at"),
                      .ended_at = time_of(tree, "ended_at"),
                      .segments = number_of(tree, "segments"),
                      .reached_at = time_of(tree, "reached_at"),
                      .keys_at = time_of(tree, "keys_at"),
                      .counted = cJSON_IsObject(counts),
                      .counts = {.subjects = number_of(counts, "subjects"),
                                 .records = number_of(counts, "records"),
                                 .principals = number_of(counts, "principals"),
                                 .grants = number_of(counts, "grants"),
                                 .audit_entries = number_of(counts, "audit_entries")},
                      .erased = number_of(tree, "erased"),
                      .opened = number_of(tree, "opened")};
    if (id)
        (void)tr_uuid_parse(id, strlen(id), &out->snapshot);
    text_of(tree, "step", out->step, sizeof out->step);
    text_of(tree, "problem", out->problem, sizeof out->problem);
    text_of(tree, "reason", out->reason, sizeof out->reason);
    text_of(tree, "where", out->where, sizeof out->where);
}

bool tr_drill_last(tr_vault *vault, tr_drill *out) {
    tr_buf text = TR_BUF_INIT;
    cJSON *tree = NULL;
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, NULL);
    if (st == TR_OK)
        st = tr_meta_get(db, meta_name, &text, NULL);
    if (st == TR_OK)
        st = tr_json_parse(text.data, text.len, &tree, NULL);
    if (st == TR_OK)
        take(tree, out);
    cJSON_Delete(tree);
    tr_buf_clear(&text);
    return st == TR_OK;
}

/* ---- keeping it ---- */

struct keeping {
    const tr_drill *drill;
    tr_status outcome;
    tr_buf text;
    char id[TR_UUID_TEXT], detail[440];
};

/* The result and its entries are one commit: none is without the others. */
static tr_status keep(void *context, tr_db *tx, tr_error *err) {
    const struct keeping *k = context;
    tr_event event = {.at = k->drill->ended_at, .action = "snapshot.drill", .outcome = k->outcome};
    tr_status st = TR_OK;
    event.detail = tr_uuid_is_nil(&k->drill->snapshot) ? NULL : k->id;
    TR_TRY(tr_meta_put(tx, meta_name, (tr_bytes){k->text.data, k->text.len}, err));
    TR_TRY(tr_event_append(tx, &event, err));
    if (k->outcome != TR_OK) {
        event.action = "security.drill_failed";
        event.detail = k->detail;
        st = tr_event_append(tx, &event, err);
    }
out:
    return st;
}

tr_status tr_drill_keep(tr_vault *vault, const tr_drill *drill, tr_status outcome, tr_error *err) {
    struct keeping k = {.drill = drill, .outcome = outcome, .text = TR_BUF_INIT};
    tr_uuid_format(&drill->snapshot, k.id);
    (void)snprintf(k.detail, sizeof k.detail, "%s: %s%s%s", drill->step, drill->where,
                   drill->where[0] ? ": " : "", drill->reason);
    tr_drill_json(&k.text, NULL, drill);
    tr_status st = tr_buf_ok(&k.text, err);
    if (st == TR_OK)
        st = tr_store_write(vault->store, keep, &k, err);
    tr_buf_clear(&k.text);
    return st;
}
