/* What Art. 25(2) FADP and Art. 15(1) GDPR ask for beside the data: who is responsible, for what, how long,
 * from where, to whom, to which states, what is decided by machines. One JSON object, for information.json
 * and the page. */
#include <stdlib.h>
#include <string.h>

#include "vault/contacts.h"
#include "vault/package_internal.h"
#include "vault/principals.h"

#define ACTIVITY_BATCH 100
#define GRANT_BATCH    100
#define GRANTS_MAX     1000 /* shown */

typedef struct inform {
    tr_package *p;
    tr_buf out;         /* the information */
    tr_recipients used; /* activities that grants or accesses name: a set of ids, whatever its name */
    cJSON *activities;  /* those that concern the subject, as objects */
    tr_uuid last;
    int rows, grants;
} inform;

/* ---- which activities concern the subject ---- */

static tr_status note_purpose(void *context, tr_package *p, const cJSON *entry, int64_t seq, tr_error *err) {
    const char *text = tr_json_string(entry, "purpose");
    inform *f = context;
    tr_uuid id;
    (void)p;
    (void)seq;
    return text && tr_uuid_parse(text, strlen(text), &id) ? tr_recipients_add(&f->used, &id, err) : TR_OK;
}

static bool uses(const inform *f, const tr_uuid *id) {
    for (size_t i = 0; i < f->used.room; i++) {
        if (tr_uuid_equal(&f->used.ids[i], id))
            return true;
    }
    return false;
}

static bool lists_a_type(const inform *f, const cJSON *doc) {
    const cJSON *name;
    cJSON_ArrayForEach(name, tr_json_member(doc, "record_types")) {
        for (size_t i = 0; cJSON_IsString(name) && i < f->p->type_count; i++) {
            if (strcmp(f->p->types[i].name, name->valuestring) == 0)
                return true;
        }
    }
    return false;
}

static tr_status add_activity(inform *f, const tr_activity *row, cJSON *doc, tr_error *err) {
    char id[TR_UUID_TEXT], at[TR_TIME_TEXT];
    tr_uuid_format(&row->id, id);
    tr_time_format(row->ended_at, at);
    bool ok = cJSON_AddStringToObject(doc, "id", id) &&
              (row->ended_at ? cJSON_AddStringToObject(doc, "ended_at", at)
                             : cJSON_AddNullToObject(doc, "ended_at")) &&
              cJSON_AddItemToArray(f->activities, doc);
    if (ok)
        return TR_OK;
    cJSON_Delete(doc);
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static tr_status take_activity(void *context, const tr_activity *row, tr_error *err) {
    inform *f = context;
    cJSON *doc = NULL;
    f->last = row->id;
    f->rows++;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    if (st != TR_OK || !cJSON_IsObject(doc)) {
        cJSON_Delete(doc);
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored activity is damaged");
    }
    if (uses(f, &row->id) || lists_a_type(f, doc))
        return add_activity(f, row, doc, err);
    cJSON_Delete(doc);
    return TR_OK;
}

static tr_status find_activities(inform *f, tr_error *err) {
    tr_status st = tr_package_accesses(f->p, 0, note_purpose, f, err);
    f->rows = ACTIVITY_BATCH;
    for (bool first = true; st == TR_OK && f->rows == ACTIVITY_BATCH; first = false) {
        f->rows = 0;
        st = tr_activity_list(f->p->db, first ? NULL : &f->last, ACTIVITY_BATCH, take_activity, f, err);
    }
    return st;
}

/* ---- controllers ---- */

static bool among(const cJSON *list, const cJSON *value) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (tr_json_equal(item, value))
            return true;
    }
    return false;
}

/* The vault's own, and those of the activities, each once: a text, or an object with name, address, contact.
 */
static tr_status put_controllers(inform *f, tr_error *err) {
    static const char *const members[] = {"controller", "joint_controllers", "representative",
                                          "data_protection_officer"};
    const char *own = tr_vault_config(f->p->vault)->controller;
    const cJSON *activity;
    tr_status st = TR_OK;
    if (own[0])
        tr_jw_text(&f->out, "controller", own);
    for (size_t i = 0; i < sizeof members / sizeof *members && st == TR_OK; i++) {
        cJSON *list = cJSON_CreateArray();
        cJSON_ArrayForEach(activity, f->activities) {
            const cJSON *value = tr_json_member(activity, members[i]);
            if (value && !among(list, value))
                cJSON_AddItemToArray(list, cJSON_Duplicate(value, true));
        }
        st = list ? tr_jw_tree(&f->out, i == 0 ? "controllers" : members[i], list, err)
                  : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        cJSON_Delete(list);
    }
    return st;
}

/* ---- data ---- */

static tr_status put_type(inform *f, const tr_package_type *type, tr_error *err) {
    cJSON *schema = NULL, *sensitive = cJSON_CreateArray();
    tr_status st = tr_package_schema(f->p, type->name, NULL, &schema, err);
    if (st == TR_OK && (!sensitive || !tr_schema_sensitive(schema, sensitive)))
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_jw_open(&f->out, NULL, '{');
    tr_jw_text(&f->out, "type", type->name);
    tr_jw_text(&f->out, "title", tr_json_string(schema, "title"));
    tr_jw_text(&f->out, "description", tr_json_string(schema, "description"));
    tr_jw_number(&f->out, "records", type->records);
    tr_jw_text(&f->out, "retention", tr_json_string(schema, "x-retention"));
    if (st == TR_OK)
        st = tr_jw_tree(&f->out, "sensitive", sensitive, err);
    tr_jw_bool(&f->out, "csv", type->flat);
    tr_jw_close(&f->out, '}');
    cJSON_Delete(sensitive);
    cJSON_Delete(schema);
    return st;
}

static tr_status put_types(inform *f, tr_error *err) {
    tr_status st = TR_OK;
    tr_jw_open(&f->out, "data", '[');
    for (size_t i = 0; i < f->p->type_count && st == TR_OK; i++)
        st = put_type(f, &f->p->types[i], err);
    tr_jw_close(&f->out, ']');
    return st;
}

/* ---- how the person signs in, and where notices go ---- */

static tr_status put_account(void *context, const tr_uuid *id, tr_error *err) {
    inform *f = context;
    tr_principal_copy copy = {.uid = ""};
    tr_contact contact = TR_CONTACT_INIT;
    bool to_person;
    tr_status st = tr_principal_load(f->p->vault, f->p->db, id, &copy, err);
    if (st == TR_OK) {
        st = tr_contact_load(f->p->vault, f->p->db, id, &contact, &to_person, err);
        st = st == TR_E_NOT_FOUND ? TR_OK : st; /* it has set none */
    }
    if (st == TR_OK) {
        tr_jw_open(&f->out, NULL, '{');
        tr_jw_uuid(&f->out, "id", id);
        tr_jw_text(&f->out, "uid", copy.uid);
        tr_jw_text(&f->out, "name", copy.name[0] ? copy.name : NULL);
        tr_jw_time(&f->out, "created_at", copy.row.created_at);
        tr_jw_text(&f->out, "email", contact.email[0] ? contact.email : NULL);
        tr_jw_time(&f->out, "email_at", contact.updated_at);
        tr_jw_close(&f->out, '}');
    }
    tr_contact_clear(&contact);
    tr_wipe(&copy, sizeof copy);
    return st;
}

static tr_status put_accounts(inform *f, tr_error *err) {
    tr_jw_open(&f->out, "accounts", '[');
    tr_status st = tr_principal_of_subject(f->p->db, &f->p->options->subject, put_account, f, err);
    tr_jw_close(&f->out, ']');
    return st;
}

/* ---- origin and recipients ---- */

static tr_status put_principal(inform *f, const char *name, const tr_uuid *id, tr_error *err) {
    const tr_package_name *n;
    tr_status st = tr_package_principal(f->p, id, &n, err);
    tr_jw_open(&f->out, name, '{');
    tr_jw_uuid(&f->out, "id", id);
    tr_jw_text(&f->out, "name", n->found ? n->text : NULL);
    tr_jw_text(&f->out, "role", n->found ? n->role : NULL);
    tr_jw_close(&f->out, '}');
    return st;
}

static tr_status put_principals(inform *f, const char *name, const tr_recipients *set, tr_error *err) {
    tr_status st = TR_OK;
    tr_jw_open(&f->out, name, '[');
    for (size_t i = 0; i < set->room && st == TR_OK; i++) {
        if (!tr_uuid_is_nil(&set->ids[i]))
            st = put_principal(f, NULL, &set->ids[i], err);
    }
    tr_jw_close(&f->out, ']');
    return st;
}

static tr_status put_origin(inform *f, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(f->p->db, &f->p->options->subject, &row, err);
    if (st != TR_OK)
        return st;
    tr_jw_time(&f->out, "restricted_at", row.restricted_at);
    tr_jw_open(&f->out, "origin", '{');
    tr_jw_time(&f->out, "registered_at", row.created_at);
    st = put_principal(f, "registered_by", &row.created_by, err);
    if (st == TR_OK)
        st = put_principals(f, "written_by", &f->p->writers, err);
    tr_jw_close(&f->out, '}');
    return st;
}

static tr_status put_recipients(inform *f, tr_error *err) {
    tr_recipients set = TR_RECIPIENTS_INIT;
    tr_status st = tr_recipients_load(f->p->vault, f->p->db, &f->p->options->subject, &set, err);
    if (st == TR_OK)
        st = put_principals(f, "recipients", &set, err);
    tr_recipients_clear(&set);
    return st;
}

static void put_actions(tr_buf *out, int actions) {
    tr_jw_open(out, "actions", '[');
    if (actions & TR_ACT_READ)
        tr_jw_text(out, NULL, "read");
    if (actions & TR_ACT_WRITE)
        tr_jw_text(out, NULL, "write");
    if (actions & TR_ACT_EXPORT)
        tr_jw_text(out, NULL, "export");
    tr_jw_close(out, ']');
}

static tr_status put_grant(void *context, const tr_grant *row, tr_error *err) {
    inform *f = context;
    tr_buf *out = &f->out;
    const tr_package_name *activity = NULL;
    f->last = row->id;
    f->rows++;
    f->grants++;
    tr_status st = tr_recipients_add(&f->used, &row->activity, err);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    if (st == TR_OK)
        st = put_principal(f, "grantee", &row->grantee, err);
    if (st == TR_OK)
        st = tr_package_activity(f->p, &row->activity, &activity, err);
    tr_jw_uuid(out, "activity", &row->activity);
    tr_jw_text(out, "purpose", activity && activity->found ? activity->text : NULL);
    tr_jw_raw(out, "types", row->types, strlen(row->types));
    const char *fields = row->fields[0] ? row->fields : "null";
    tr_jw_raw(out, "fields", fields, strlen(fields));
    tr_jw_bool(out, "masked", row->masked);
    put_actions(out, row->actions);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "expires_at", row->expires_at);
    tr_jw_time(out, "withdrawn_at", row->withdrawn_at);
    tr_jw_close(out, '}');
    return st;
}

static tr_status put_grants(inform *f, tr_error *err) {
    tr_status st = TR_OK;
    f->rows = GRANT_BATCH;
    tr_jw_open(&f->out, "grants", '[');
    for (bool first = true; st == TR_OK && f->rows == GRANT_BATCH && f->grants < GRANTS_MAX; first = false) {
        f->rows = 0;
        st = tr_grant_list(f->p->db, &f->p->options->subject, first ? NULL : &f->last, GRANT_BATCH, put_grant,
                           f, err);
    }
    tr_jw_close(&f->out, ']');
    tr_jw_bool(&f->out, "more_grants", f->rows == GRANT_BATCH && f->grants >= GRANTS_MAX);
    return st;
}

/* ---- rights ---- */

static void put_rights(inform *f) {
    tr_jw_open(&f->out, "rights", '[');
    for (int t = TR_T_RIGHT_RECTIFY; t <= TR_T_RIGHT_COMPLAIN; t++)
        tr_jw_text(&f->out, NULL, tr_text_in(f->p->options->language, (tr_text)t));
    tr_jw_close(&f->out, ']');
}

static tr_status write_information(inform *f, tr_error *err) {
    bool own = f->p->options->access->own;
    tr_status st = TR_OK;
    tr_jw_open(&f->out, NULL, '{');
    tr_jw_uuid(&f->out, "subject", &f->p->options->subject);
    tr_jw_time(&f->out, "made_at", f->p->started_at);
    tr_jw_text(&f->out, "language", tr_language_name(f->p->options->language));
    TR_TRY(put_types(f, err));
    if (own) {
        TR_TRY(put_accounts(f, err));
        TR_TRY(put_origin(f, err));
        TR_TRY(put_recipients(f, err));
        TR_TRY(put_grants(f, err));
        TR_TRY(find_activities(f, err));
        TR_TRY(put_controllers(f, err));
        TR_TRY(tr_jw_tree(&f->out, "activities", f->activities, err));
        put_rights(f);
    }
    tr_jw_close(&f->out, '}');
    st = tr_buf_ok(&f->out, err);
out:
    return st;
}

tr_status tr_package_inform(tr_package *p, tr_error *err) {
    inform f = {.p = p, .activities = cJSON_CreateArray()};
    tr_status st =
        f.activities ? write_information(&f, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK)
        st = tr_json_parse(f.out.data, f.out.len, &p->information, err);
    cJSON_Delete(f.activities);
    tr_recipients_clear(&f.used);
    tr_buf_clear(&f.out);
    return st;
}
