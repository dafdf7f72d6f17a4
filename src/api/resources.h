/* The handlers of the route table, and what resources share. Not for other layers. */
#ifndef TR_API_RESOURCES_H
#define TR_API_RESOURCES_H

#include "api/call.h"
#include "vault/principals.h"
#include "vault/records.h"

/* system.c */
tr_status tr_about(tr_call *call, tr_error *err);
tr_status tr_health(tr_call *call, tr_error *err);
tr_status tr_ready(tr_call *call, tr_error *err);
tr_status tr_openapi(tr_call *call, tr_error *err);
/* signin.c */
tr_status tr_sign_in(tr_call *call, tr_error *err);
/* auth.c */
tr_status tr_validate(tr_call *call, tr_error *err);
tr_status tr_sign_out(tr_call *call, tr_error *err);
tr_status tr_sessions(tr_call *call, tr_error *err);
tr_status tr_session_end(tr_call *call, tr_error *err);
tr_status tr_lanes(tr_call *call, tr_error *err);
tr_status tr_password_change(tr_call *call, tr_error *err);
/* principals.c */
tr_status tr_principals_list(tr_call *call, tr_error *err);
tr_status tr_principals_create(tr_call *call, tr_error *err);
tr_status tr_principals_read(tr_call *call, tr_error *err);
tr_status tr_principals_update(tr_call *call, tr_error *err);
tr_status tr_principals_delete(tr_call *call, tr_error *err);
/* contacts.c */
tr_status tr_contacts_read(tr_call *call, tr_error *err);
tr_status tr_contacts_put(tr_call *call, tr_error *err);
tr_status tr_contacts_delete(tr_call *call, tr_error *err);
/* types.c */
tr_status tr_types_list(tr_call *call, tr_error *err);
tr_status tr_types_read(tr_call *call, tr_error *err);
tr_status tr_types_put(tr_call *call, tr_error *err);
tr_status tr_types_delete(tr_call *call, tr_error *err);
/* activities.c */
tr_status tr_activities_list(tr_call *call, tr_error *err);
tr_status tr_activities_create(tr_call *call, tr_error *err);
tr_status tr_activities_read(tr_call *call, tr_error *err);
tr_status tr_activities_replace(tr_call *call, tr_error *err);
tr_status tr_activities_end(tr_call *call, tr_error *err);
/* subjects.c */
tr_status tr_subjects_create(tr_call *call, tr_error *err);
tr_status tr_subjects_read(tr_call *call, tr_error *err);
tr_status tr_subjects_delete(tr_call *call, tr_error *err);
/* records.c, record_writes.c */
tr_status tr_records_list(tr_call *call, tr_error *err);
tr_status tr_records_read(tr_call *call, tr_error *err);
tr_status tr_records_versions(tr_call *call, tr_error *err);
tr_status tr_records_create(tr_call *call, tr_error *err);
tr_status tr_records_replace(tr_call *call, tr_error *err);
tr_status tr_records_patch(tr_call *call, tr_error *err);
tr_status tr_records_delete(tr_call *call, tr_error *err);
/* lookup.c, import.c */
tr_status tr_lookup(tr_call *call, tr_error *err);
tr_status tr_import_post(tr_call *call, tr_error *err);
/* grants.c */
tr_status tr_grants_list(tr_call *call, tr_error *err);
tr_status tr_grants_create(tr_call *call, tr_error *err);
tr_status tr_grants_read(tr_call *call, tr_error *err);
tr_status tr_grants_withdraw(tr_call *call, tr_error *err);
/* requests.c, request_steps.c, fulfil.c */
tr_status tr_requests_list(tr_call *call, tr_error *err);
tr_status tr_requests_create(tr_call *call, tr_error *err);
tr_status tr_requests_read(tr_call *call, tr_error *err);
tr_status tr_requests_receipt(tr_call *call, tr_error *err);
tr_status tr_requests_verify(tr_call *call, tr_error *err);
tr_status tr_requests_assign(tr_call *call, tr_error *err);
tr_status tr_requests_extend(tr_call *call, tr_error *err);
tr_status tr_requests_refuse(tr_call *call, tr_error *err);
tr_status tr_requests_fulfil(tr_call *call, tr_error *err);
/* export.c */
tr_status tr_export_subject(tr_call *call, tr_error *err);
tr_status tr_export_request(tr_call *call, tr_error *err);
/* holds.c, restriction.c */
tr_status tr_holds_list(tr_call *call, tr_error *err);
tr_status tr_holds_create(tr_call *call, tr_error *err);
tr_status tr_holds_lift(tr_call *call, tr_error *err);
tr_status tr_restriction_post(tr_call *call, tr_error *err);
tr_status tr_restriction_delete(tr_call *call, tr_error *err);
/* notices.c */
tr_status tr_notices_list(tr_call *call, tr_error *err);
tr_status tr_notices_retry(tr_call *call, tr_error *err);
/* incidents.c, incident_affected.c */
tr_status tr_incidents_list(tr_call *call, tr_error *err);
tr_status tr_incidents_create(tr_call *call, tr_error *err);
tr_status tr_incidents_read(tr_call *call, tr_error *err);
tr_status tr_incidents_update(tr_call *call, tr_error *err);
tr_status tr_incidents_affected(tr_call *call, tr_error *err);
tr_status tr_incidents_notify(tr_call *call, tr_error *err);
/* audit.c */
tr_status tr_accesses(tr_call *call, tr_error *err);
tr_status tr_audit_read(tr_call *call, tr_error *err);

/* keys.c */
tr_status tr_keys_get(tr_call *call, tr_error *err);
tr_status tr_keys_post_rotate(tr_call *call, tr_error *err);
tr_status tr_keys_delete(tr_call *call, tr_error *err);
/* snapshots.c */
tr_status tr_snapshots_show(tr_call *call, tr_error *err);
tr_status tr_snapshots_show_one(tr_call *call, tr_error *err);
tr_status tr_snapshots_post(tr_call *call, tr_error *err);
tr_status tr_snapshots_post_verify(tr_call *call, tr_error *err);
tr_status tr_snapshots_post_drill(tr_call *call, tr_error *err);
tr_status tr_snapshots_delete(tr_call *call, tr_error *err);

/* ---- shared ---- */
/* PRINCIPAL_SELF as member `name`. */
void tr_self_json(tr_buf *out, const char *name, const tr_caller *who);
/* A registration: subject, data key and records, prepared; the job is tr_registration_insert. */
typedef struct tr_registration {
    tr_vault *vault;
    tr_subject_row subject;
    tr_secret key;
    tr_buf wrapped;
    uint32_t master;
    tr_draft *drafts;
    size_t count;
} tr_registration;
tr_status tr_registration_make(tr_call *call, tr_registration *r, tr_error *err);
/* Add a record; err->where is the pointer into `data`. `type` is loaded by the caller. */
tr_status tr_registration_add(tr_call *call, tr_registration *r, tr_rectype *type, const cJSON *data,
                              tr_error *err);
void tr_registration_clear(void *registration);
/* Was the master key rotated since it was made? Then the job answers TR_E_PRECONDITION: make it anew. */
bool tr_registration_stale(const tr_registration *r);
tr_status tr_registration_insert(void *registration, tr_db *tx, tr_error *err);
/* The type, with TR_E_VALIDATION at `pointer` when there is none. The caller unrefs. */
tr_status tr_known_type(tr_call *call, const char *name, const char *pointer, tr_rectype **out,
                        tr_error *err);
/* Put `prefix` before the pointer in *err: a fault in a part of the body. */
tr_status tr_within(tr_status status, const char *prefix, tr_error *err);

#endif
