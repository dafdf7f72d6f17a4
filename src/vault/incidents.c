#include "vault/incidents.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "crypto/aead.h"
#include "vault/audit.h"
#include "vault/datakeys.h"
#include "vault/incident_rules.h"
#include "vault/vault_internal.h"

#define KEEP_MS (INT64_C(731) * 86400000) /* two years, one of them a leap year */

static const char *const kinds[TR_INCIDENT_KIND_COUNT] = {[TR_INCIDENT_LOSS] = "loss",
                                                          [TR_INCIDENT_DESTRUCTION] = "destruction",
                                                          [TR_INCIDENT_ALTERATION] = "alteration",
                                                          [TR_INCIDENT_DISCLOSURE] = "disclosure",
                                                          [TR_INCIDENT_ACCESS] = "access",
                                                          [TR_INCIDENT_OTHER] = "other"};
static const char *const risks[TR_RISK_COUNT] = {
    [TR_RISK_UNKNOWN] = "unknown", [TR_RISK_NONE] = "none", [TR_RISK_SOME] = "risk", [TR_RISK_HIGH] = "high"};

const char *tr_incident_kind_name(tr_incident_kind kind) {
    return (unsigned)kind < TR_INCIDENT_KIND_COUNT ? kinds[kind] : "other";
}

const char *tr_incident_risk_name(tr_incident_risk risk) {
    return (unsigned)risk < TR_RISK_COUNT ? risks[risk] : "unknown";
}

static int find(const char *const *names, int count, const char *text, int otherwise) {
    for (int i = 0; text && i < count; i++) {
        if (strcmp(text, names[i]) == 0)
            return i;
    }
    return otherwise;
}

static tr_status no_memory(tr_error *err) {
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

/* ---- the key; a vault from before there were incidents gets it ---- */

struct missing {
    tr_buf wrapped;
    uint32_t master;
};

static tr_status unwrap(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    tr_vault *vault = context;
    tr_status st = tr_keyring_unwrap(vault->ring, master, wrapped, &vault->incident_key, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, TR_E_CORRUPT, "keys.db",
                                          "the keyring lacks the master key of the incidents' key")
                                : st;
}

static tr_status supply(void *context, tr_db *tx, tr_error *err) {
    const struct missing *m = context;
    return tr_named_key_insert(tx, TR_INCIDENT_KEY_NAME, m->master,
                               (tr_bytes){m->wrapped.data, m->wrapped.len}, err);
}

tr_status tr_incidents_open(tr_vault *vault, tr_error *err) {
    struct missing m = {.master = 0};
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = tr_named_key_get(db, TR_INCIDENT_KEY_NAME, unwrap, vault, err);
    if (st != TR_E_NOT_FOUND)
        return st;
    st = tr_datakey_make(vault, &vault->incident_key, &m.wrapped, &m.master, err);
    if (st == TR_OK)
        st = tr_store_write(vault->store, supply, &m, err);
    tr_buf_clear(&m.wrapped);
    return st;
}

/* ---- sealing ---- */

enum { BINDING_PARTS = 3 };

static void bind(const tr_incident *row, uint8_t version[8], tr_bytes parts[BINDING_PARTS]) {
    for (int i = 0; i < 8; i++)
        version[i] = (uint8_t)((uint64_t)row->version >> (56 - 8 * i));
    parts[0] = (tr_bytes){"tresor incident", 15};
    parts[1] = (tr_bytes){row->id.bytes, 16};
    parts[2] = (tr_bytes){version, 8};
}

tr_status tr_incident_seal(tr_vault *vault, tr_incident_case *c, tr_error *err) {
    uint8_t version[8];
    tr_bytes parts[BINDING_PARTS];
    tr_buf plain = TR_BUF_INIT;
    bind(&c->row, version, parts);
    tr_buf_reset(&c->sealed);
    tr_status st = tr_json_print(c->doc, &plain, err);
    if (st == TR_OK)
        st = tr_aead_seal(&vault->incident_key, parts, BINDING_PARTS, (tr_bytes){plain.data, plain.len},
                          &c->sealed, err);
    c->row.sealed = (tr_bytes){c->sealed.data, c->sealed.len};
    tr_buf_clear(&plain);
    return st;
}

static tr_status unseal(tr_vault *vault, tr_incident_case *c, tr_error *err) {
    uint8_t version[8];
    tr_bytes parts[BINDING_PARTS];
    tr_buf plain = TR_BUF_INIT;
    bind(&c->row, version, parts);
    tr_status st = tr_aead_open(&vault->incident_key, parts, BINDING_PARTS,
                                (tr_bytes){c->sealed.data, c->sealed.len}, &plain, err);
    if (st == TR_OK)
        st = tr_json_parse(plain.data, plain.len, &c->doc, err);
    if (st == TR_E_MALFORMED || (st == TR_OK && !cJSON_IsObject(c->doc)))
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored incident is no JSON object");
    tr_buf_clear(&plain);
    return st;
}

/* What a rule opened says what its rule says. */
static tr_status begin_doc(tr_incident_case *c, tr_error *err) {
    const tr_incident_rule *rule = tr_incident_rule_of(c->row.cause);
    char aware[TR_TIME_TEXT];
    tr_time_format(c->row.aware_at, aware);
    c->doc = cJSON_CreateObject();
    if (c->doc && cJSON_AddStringToObject(c->doc, "title", rule ? rule->title : "Incident") &&
        cJSON_AddStringToObject(c->doc, "kind", tr_incident_kind_name(c->row.kind)) &&
        cJSON_AddStringToObject(c->doc, "aware_at", aware))
        return TR_OK;
    return no_memory(err);
}

/* ---- a case ---- */

static tr_status keep_row(void *context, const tr_incident *row, tr_error *err) {
    tr_incident_case *c = context;
    const tr_incident_rule *rule = tr_incident_rule_of(row->cause);
    *c = (tr_incident_case){.row = *row};
    if (row->cause)
        c->row.cause = rule ? rule->action : "unknown"; /* of a later Tresor */
    tr_buf_append(&c->sealed, row->sealed.data, row->sealed.len);
    c->row.sealed = (tr_bytes){c->sealed.data, c->sealed.len};
    return tr_buf_ok(&c->sealed, err);
}

static tr_status open_case(tr_vault *vault, tr_incident_case *c, tr_error *err) {
    tr_status st = c->sealed.len ? unseal(vault, c, err) : begin_doc(c, err);
    if (st != TR_OK)
        tr_incident_clear(c);
    return st;
}

tr_status tr_incident_open(tr_vault *vault, const tr_incident *row, tr_incident_case *out, tr_error *err) {
    tr_status st = keep_row(out, row, err);
    return st == TR_OK ? open_case(vault, out, err) : st;
}

tr_status tr_incident_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_incident_case *out,
                           tr_error *err) {
    *out = (tr_incident_case){.doc = NULL};
    tr_status st = tr_incident_get(db, id, keep_row, out, err);
    return st == TR_OK ? open_case(vault, out, err) : st;
}

void tr_incident_clear(tr_incident_case *c) {
    cJSON_Delete(c->doc);
    tr_buf_clear(&c->sealed);
    *c = (tr_incident_case){.doc = NULL};
}

tr_status tr_incident_new(const cJSON *doc, const tr_uuid *by, int64_t now, tr_incident_case *out,
                          tr_error *err) {
    *out = (tr_incident_case){.row = {.id = tr_uuid_new(),
                                      .has_opened_by = true,
                                      .opened_by = *by,
                                      .aware_at = now,
                                      .created_at = now}};
    out->doc = cJSON_Duplicate(doc, true);
    return out->doc ? tr_incident_take(out, now, err) : no_memory(err);
}

/* ---- the columns ---- */

static tr_status past(const cJSON *doc, const char *member, int64_t now, int64_t *ms, tr_error *err) {
    const char *text = tr_json_string(doc, member);
    char where[40];
    if (!text)
        return TR_OK;
    if (tr_time_parse(text, strlen(text), ms) && *ms > 0 && *ms <= now)
        return TR_OK;
    snprintf(where, sizeof where, "/%s", member);
    return tr_fail(err, TR_E_VALIDATION, where, "must be a time that is past");
}

static tr_status set_time(cJSON *doc, const char *member, int64_t ms, tr_error *err) {
    char text[TR_TIME_TEXT];
    tr_time_format(ms, text);
    return tr_json_string(doc, member) || cJSON_AddStringToObject(doc, member, text) ? TR_OK : no_memory(err);
}

tr_status tr_incident_take(tr_incident_case *c, int64_t now, tr_error *err) {
    tr_incident *row = &c->row;
    const char *state = tr_json_string(c->doc, "state");
    int64_t began = 0, ended = 0, notified = 0;
    tr_scope scope;
    tr_status st = TR_OK;
    TR_TRY(past(c->doc, "aware_at", now, &row->aware_at, err));
    TR_TRY(past(c->doc, "began_at", now, &began, err));
    TR_TRY(past(c->doc, "ended_at", now, &ended, err));
    TR_TRY(past(c->doc, "notified_at", now, &notified, err));
    if (began && ended && ended < began)
        TR_TRY(tr_fail(err, TR_E_VALIDATION, "/ended_at", "must not be before began_at"));
    TR_TRY(tr_scope_read(tr_json_member(c->doc, "scope"), "/scope", &scope, err));
    TR_TRY(set_time(c->doc, "aware_at", row->aware_at, err));
    row->kind = (tr_incident_kind)find(kinds, TR_INCIDENT_KIND_COUNT, tr_json_string(c->doc, "kind"),
                                       TR_INCIDENT_OTHER);
    row->risk = (tr_incident_risk)find(risks, TR_RISK_COUNT, tr_json_string(c->doc, "risk"), TR_RISK_UNKNOWN);
    row->due_at = row->aware_at + TR_INCIDENT_NOTIFY_MS;
    row->notified_at = notified;
    if (!state || strcmp(state, "closed") != 0)
        row->closed_at = 0;
    else if (row->closed_at == 0)
        row->closed_at = now;
    row->updated_at = now;
    row->version++;
out:
    return st;
}

int64_t tr_incident_keep_until(const tr_incident *row) {
    if (row->closed_at == 0)
        return 0;
    return (row->closed_at > row->notified_at ? row->closed_at : row->notified_at) + KEEP_MS;
}

/* ---- the scope ---- */

struct derived {
    const tr_incident_rule *rule;
    tr_scope *scope;
};

static tr_status derive(void *context, const tr_evidence *row, tr_error *err) {
    const struct derived *d = context;
    (void)err;
    if (d->rule->by_session && row->session)
        (void)tr_scope_add_session(d->scope, row->session);
    if (d->rule->by_address && row->address)
        (void)tr_scope_add_address(d->scope, row->address);
    return TR_OK;
}

tr_status tr_incident_scope(tr_db *db, const tr_incident_case *c, tr_scope *out, tr_error *err) {
    struct derived d = {tr_incident_rule_of(c->row.cause), out};
    tr_status st = tr_scope_read(tr_json_member(c->doc, "scope"), "/scope", out, err);
    if (st != TR_OK || !d.rule || !tr_scope_is_empty(out))
        return st;
    return tr_evidence_list(db, &c->row.id, derive, &d, err);
}
