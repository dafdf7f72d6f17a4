/* One line of an import: a new subject with a record, or a record of an existing subject. */
#include <string.h>

#include "api/import.h"
#include "base/clock.h"
#include "vault/datakeys.h"
#include "vault/restriction.h"

/* Does this failure say something about the line, not about the vault? */
static bool is_lines_own(tr_status status) {
    return tr_problem_status(status) < 500;
}

static tr_status unknown_member(const cJSON *item, tr_error *err) {
    static const char *const known[] = {"type", "data", "subject"};
    const cJSON *member;
    if (!cJSON_IsObject(item))
        return tr_fail(err, TR_E_VALIDATION, NULL, "must be an object with type and data");
    cJSON_ArrayForEach(member, item) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found = found || strcmp(member->string, known[i]) == 0;
        if (!found)
            return tr_fail(err, TR_E_VALIDATION, NULL, "has a member other than type, data and subject");
    }
    return TR_OK;
}

static tr_status prepare_new(tr_import *import, tr_import_line *line, tr_rectype *type, const cJSON *data,
                             tr_error *err) {
    tr_registration *r = &line->registration;
    line->registers = true;
    if (!import->call->who->may_register)
        return tr_fail(err, TR_E_FORBIDDEN, NULL, "this service may not register subjects");
    tr_status st = tr_registration_make(import->call, r, err);
    if (st == TR_OK)
        st = tr_registration_add(import->call, r, type, data, err);
    if (st == TR_OK) {
        line->subject = r->subject.id;
        line->record = r->drafts[0].row.id;
    }
    return st;
}

static tr_status may_write(tr_import *import, const tr_uuid *subject, const char *type, tr_error *err) {
    tr_call *call = import->call;
    if (!call->has_purpose)
        return tr_fail(err, TR_E_PURPOSE, "Access-Purpose", "must name the processing activity this is for");
    tr_access *access = &call->access;
    tr_access_clear(access);
    tr_status st = tr_access_load(call->db, subject, &call->who->principal, &call->purpose, access, err);
    if (st == TR_OK)
        st = tr_access_write(access, type, err);
    return st == TR_OK ? tr_restriction_check(call->db, subject, err) : st;
}

static tr_status prepare_existing(tr_import *import, tr_import_line *line, tr_rectype *type,
                                  const cJSON *data, tr_error *err) {
    tr_call *call = import->call;
    tr_record *row = &line->draft.row;
    tr_secret key = TR_SECRET_INIT;
    tr_status st = may_write(import, &line->subject, tr_rectype_name(type), err);
    if (st == TR_OK)
        st = tr_datakey_get(call->vault, call->db, &line->subject, &key, err);
    if (st == TR_OK) {
        row->id = line->record = tr_uuid_new();
        row->subject = line->subject;
        row->version = 1;
        row->created_at = row->updated_at = tr_now_ms();
        row->updated_by = call->who->principal;
        st = tr_draft_make(call->vault, &key, type, data, &line->draft, NULL, err);
    }
    tr_secret_clear(&key);
    return st;
}

/* A line with members type, data and perhaps subject. */
static tr_status prepare_item(tr_import *import, tr_import_line *line, const cJSON *item, tr_error *err) {
    const cJSON *data = tr_json_member(item, "data"), *subject = tr_json_member(item, "subject");
    const char *name = tr_json_string(item, "type");
    tr_rectype *type = NULL;
    tr_status st = unknown_member(item, err);
    if (st == TR_OK && (!name || !tr_type_name_valid(name)))
        st = tr_fail(err, TR_E_VALIDATION, "/type", "must name a record type");
    if (st == TR_OK && !data)
        st = tr_fail(err, TR_E_VALIDATION, NULL, "must have a member data");
    if (st == TR_OK && subject &&
        (!cJSON_IsString(subject) ||
         !tr_uuid_parse(subject->valuestring, strlen(subject->valuestring), &line->subject)))
        st = tr_fail(err, TR_E_VALIDATION, "/subject", "must be a subject's id");
    if (st == TR_OK)
        st = tr_known_type(import->call, name, "/type", &type, err);
    if (st == TR_OK) {
        strncpy(line->type, name, sizeof line->type - 1);
        st = subject ? prepare_existing(import, line, type, data, err)
                     : prepare_new(import, line, type, data, err);
        st = tr_within(st, "/data", err);
    }
    tr_rectype_unref(type);
    return st;
}

tr_status tr_import_prepare_line(tr_import *import, tr_import_line *line, tr_error *err) {
    cJSON *item = NULL;
    tr_status st;
    if (line->too_long)
        st = tr_fail(&line->err, TR_E_TOO_LARGE, NULL, "the line has more than %lld bytes",
                     (long long)import->call->config->max_body_bytes);
    else
        st = tr_json_parse(import->text.data + line->start, line->len, &item, &line->err);
    if (st == TR_OK && import->type) {
        strncpy(line->type, tr_rectype_name(import->type), sizeof line->type - 1);
        st = prepare_new(import, line, import->type, item, &line->err);
    } else if (st == TR_OK) {
        st = prepare_item(import, line, item, &line->err);
    }
    cJSON_Delete(item);
    line->status = st;
    if (st != TR_OK && !is_lines_own(st)) {
        if (err)
            *err = line->err;
        return st;
    }
    return TR_OK;
}

struct insert {
    tr_import *import;
    tr_import_line *line;
};

/* Restricted since the line was checked? */
static tr_status insert_existing(tr_import_line *line, tr_db *tx, tr_error *err) {
    tr_status st = tr_restriction_check(tx, &line->subject, err);
    return st == TR_OK ? tr_draft_insert(tx, &line->draft, err) : st;
}

static tr_status insert(void *context, tr_db *tx, tr_error *err) {
    struct insert *i = context;
    tr_event event = i->import->call->event;
    event.subject = &i->line->subject;
    event.type = i->line->type;
    event.records = &i->line->record;
    event.record_count = 1;
    event.outcome = TR_OK;
    tr_status st = i->line->registers ? tr_registration_insert(&i->line->registration, tx, err)
                                      : insert_existing(i->line, tx, err);
    return st == TR_OK ? tr_event_append(tx, &event, err) : st;
}

tr_status tr_import_insert_line(tr_import *import, tr_import_line *line, tr_db *tx, tr_error *err) {
    struct insert i = {import, line};
    tr_status st = tr_nested(tx, insert, &i, &line->err);
    if (st == TR_E_PRECONDITION && line->registers && tr_registration_stale(&line->registration)) {
        import->stale = true;
        return tr_fail(err, st, NULL, "the master key was rotated meanwhile");
    }
    if (st == TR_E_PRECONDITION)
        st = tr_fail(&line->err, TR_E_CONFLICT, NULL, "the record type was changed meanwhile");
    line->status = st;
    if (st != TR_OK && !is_lines_own(st)) {
        if (err)
            *err = line->err;
        return st;
    }
    return TR_OK;
}

void tr_import_clear_line(tr_import_line *line) {
    tr_registration_clear(&line->registration);
    tr_draft_clear(&line->draft);
    line->prepared = false;
}
