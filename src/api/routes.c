/* The route table: the API at a glance. openapi/openapi.yaml describes each; a test holds the two together.
 */
#include "api/resources.h"

#define L TR_ROUTE_LIST
#define M TR_ROUTE_IF_MATCH
#define I TR_ROUTE_INITIAL

const tr_route tr_routes[] = {
    {"POST", "/auth/sign_in", TR_DO_AUTH_SIGN_IN, TR_BODY_JSON, I | TR_ROUTE_FORM, NULL, tr_sign_in},
    {"GET", "/auth/validate_token", TR_DO_AUTH_VALIDATE, TR_BODY_NONE, I, NULL, tr_validate},
    {"DELETE", "/auth/sign_out", TR_DO_AUTH_SIGN_OUT, TR_BODY_NONE, I, NULL, tr_sign_out},
    {"POST", "/v1/auth/sign_in", TR_DO_AUTH_SIGN_IN, TR_BODY_JSON, I | TR_ROUTE_FORM, NULL, tr_sign_in},
    {"GET", "/v1/auth/validate_token", TR_DO_AUTH_VALIDATE, TR_BODY_NONE, I, NULL, tr_validate},
    {"DELETE", "/v1/auth/sign_out", TR_DO_AUTH_SIGN_OUT, TR_BODY_NONE, I, NULL, tr_sign_out},
    {"GET", "/v1/auth/sessions", TR_DO_AUTH_SESSIONS, TR_BODY_NONE, I, NULL, tr_sessions},
    {"DELETE", "/v1/auth/sessions/{client}", TR_DO_AUTH_SESSION_END, TR_BODY_NONE, I, NULL, tr_session_end},
    {"POST", "/v1/auth/lanes", TR_DO_AUTH_LANES, TR_BODY_JSON, I, NULL, tr_lanes},
    {"PUT", "/v1/auth/password", TR_DO_AUTH_PASSWORD, TR_BODY_JSON, I, NULL, tr_password_change},

    {"GET", "/v1/principals", TR_DO_PRINCIPAL_LIST, TR_BODY_NONE, L, NULL, tr_principals_list},
    {"POST", "/v1/principals", TR_DO_PRINCIPAL_CREATE, TR_BODY_JSON, 0, NULL, tr_principals_create},
    {"GET", "/v1/principals/{id}", TR_DO_PRINCIPAL_READ, TR_BODY_NONE, 0, NULL, tr_principals_read},
    {"PATCH", "/v1/principals/{id}", TR_DO_PRINCIPAL_UPDATE, TR_BODY_PATCH, M, NULL, tr_principals_update},
    {"DELETE", "/v1/principals/{id}", TR_DO_PRINCIPAL_DELETE, TR_BODY_NONE, M, NULL, tr_principals_delete},
    {"GET", "/v1/principals/{id}/contact", TR_DO_CONTACT_READ, TR_BODY_NONE, 0, NULL, tr_contacts_read},
    {"PUT", "/v1/principals/{id}/contact", TR_DO_CONTACT_PUT, TR_BODY_JSON, 0, NULL, tr_contacts_put},
    {"DELETE", "/v1/principals/{id}/contact", TR_DO_CONTACT_DELETE, TR_BODY_NONE, 0, NULL,
     tr_contacts_delete},

    {"GET", "/v1/types", TR_DO_TYPE_LIST, TR_BODY_NONE, L, NULL, tr_types_list},
    {"GET", "/v1/types/{name}", TR_DO_TYPE_READ, TR_BODY_NONE, 0, NULL, tr_types_read},
    {"PUT", "/v1/types/{name}", TR_DO_TYPE_PUT, TR_BODY_JSON, M, NULL, tr_types_put},
    {"DELETE", "/v1/types/{name}", TR_DO_TYPE_DELETE, TR_BODY_NONE, M, NULL, tr_types_delete},

    {"GET", "/v1/activities", TR_DO_ACTIVITY_LIST, TR_BODY_NONE, L | TR_ROUTE_MEDIA, "format",
     tr_activities_list},
    {"POST", "/v1/activities", TR_DO_ACTIVITY_CREATE, TR_BODY_JSON, 0, NULL, tr_activities_create},
    {"GET", "/v1/activities/{id}", TR_DO_ACTIVITY_READ, TR_BODY_NONE, 0, NULL, tr_activities_read},
    {"PUT", "/v1/activities/{id}", TR_DO_ACTIVITY_REPLACE, TR_BODY_JSON, M, NULL, tr_activities_replace},
    {"DELETE", "/v1/activities/{id}", TR_DO_ACTIVITY_END, TR_BODY_NONE, M, NULL, tr_activities_end},

    {"POST", "/v1/subjects", TR_DO_SUBJECT_CREATE, TR_BODY_JSON, 0, NULL, tr_subjects_create},
    {"GET", "/v1/subjects/{id}", TR_DO_SUBJECT_READ, TR_BODY_NONE, 0, NULL, tr_subjects_read},
    {"DELETE", "/v1/subjects/{id}", TR_DO_SUBJECT_DELETE, TR_BODY_NONE, 0, NULL, tr_subjects_delete},
    {"GET", "/v1/subjects/{id}/export", TR_DO_SUBJECT_EXPORT, TR_BODY_NONE, TR_ROUTE_MEDIA, "language",
     tr_export_subject},
    {"GET", "/v1/subjects/{id}/accesses", TR_DO_ACCESS_LIST, TR_BODY_NONE, L, NULL, tr_accesses},

    {"GET", "/v1/subjects/{id}/records", TR_DO_RECORD_LIST, TR_BODY_NONE, L, "type", tr_records_list},
    {"POST", "/v1/subjects/{id}/records", TR_DO_RECORD_CREATE, TR_BODY_JSON, 0, NULL, tr_records_create},
    {"GET", "/v1/subjects/{id}/records/{rid}", TR_DO_RECORD_READ, TR_BODY_NONE, 0, NULL, tr_records_read},
    {"PUT", "/v1/subjects/{id}/records/{rid}", TR_DO_RECORD_REPLACE, TR_BODY_JSON, M, NULL,
     tr_records_replace},
    {"PATCH", "/v1/subjects/{id}/records/{rid}", TR_DO_RECORD_PATCH, TR_BODY_PATCH, M, NULL,
     tr_records_patch},
    {"DELETE", "/v1/subjects/{id}/records/{rid}", TR_DO_RECORD_DELETE, TR_BODY_NONE, M, NULL,
     tr_records_delete},
    {"GET", "/v1/subjects/{id}/records/{rid}/versions", TR_DO_RECORD_VERSIONS, TR_BODY_NONE, 0, NULL,
     tr_records_versions},
    {"POST", "/v1/lookup", TR_DO_RECORD_LOOKUP, TR_BODY_JSON, TR_ROUTE_SAFE, NULL, tr_lookup},
    {"POST", "/v1/import", TR_DO_RECORD_IMPORT, TR_BODY_NDJSON, TR_ROUTE_STREAM, "type", tr_import_post},

    {"GET", "/v1/subjects/{id}/grants", TR_DO_GRANT_LIST, TR_BODY_NONE, L, NULL, tr_grants_list},
    {"POST", "/v1/subjects/{id}/grants", TR_DO_GRANT_CREATE, TR_BODY_JSON, 0, NULL, tr_grants_create},
    {"GET", "/v1/subjects/{id}/grants/{gid}", TR_DO_GRANT_READ, TR_BODY_NONE, 0, NULL, tr_grants_read},
    {"DELETE", "/v1/subjects/{id}/grants/{gid}", TR_DO_GRANT_WITHDRAW, TR_BODY_NONE, 0, NULL,
     tr_grants_withdraw},

    {"GET", "/v1/requests", TR_DO_REQUEST_LIST, TR_BODY_NONE, L, "subject,open,overdue", tr_requests_list},
    {"POST", "/v1/requests", TR_DO_REQUEST_CREATE, TR_BODY_JSON, 0, NULL, tr_requests_create},
    {"GET", "/v1/requests/{id}", TR_DO_REQUEST_READ, TR_BODY_NONE, 0, NULL, tr_requests_read},
    {"GET", "/v1/requests/{id}/receipt", TR_DO_REQUEST_RECEIPT, TR_BODY_NONE, 0, NULL, tr_requests_receipt},
    {"GET", "/v1/requests/{id}/package", TR_DO_REQUEST_PACKAGE, TR_BODY_NONE, TR_ROUTE_MEDIA, "language",
     tr_export_request},
    {"POST", "/v1/requests/{id}/verify", TR_DO_REQUEST_VERIFY, TR_BODY_JSON, M, NULL, tr_requests_verify},
    {"POST", "/v1/requests/{id}/assign", TR_DO_REQUEST_ASSIGN, TR_BODY_JSON, M, NULL, tr_requests_assign},
    {"POST", "/v1/requests/{id}/extend", TR_DO_REQUEST_EXTEND, TR_BODY_JSON, M, NULL, tr_requests_extend},
    {"POST", "/v1/requests/{id}/refuse", TR_DO_REQUEST_REFUSE, TR_BODY_JSON, M, NULL, tr_requests_refuse},
    {"POST", "/v1/requests/{id}/fulfil", TR_DO_REQUEST_FULFIL, TR_BODY_JSON, M | TR_ROUTE_REREAD, NULL,
     tr_requests_fulfil},

    {"GET", "/v1/subjects/{id}/holds", TR_DO_HOLD_LIST, TR_BODY_NONE, L, NULL, tr_holds_list},
    {"POST", "/v1/subjects/{id}/holds", TR_DO_HOLD_CREATE, TR_BODY_JSON, 0, NULL, tr_holds_create},
    {"DELETE", "/v1/subjects/{id}/holds/{hid}", TR_DO_HOLD_LIFT, TR_BODY_NONE, 0, NULL, tr_holds_lift},
    {"POST", "/v1/subjects/{id}/restriction", TR_DO_SUBJECT_RESTRICT, TR_BODY_NONE, 0, NULL,
     tr_restriction_post},
    {"DELETE", "/v1/subjects/{id}/restriction", TR_DO_SUBJECT_UNRESTRICT, TR_BODY_NONE, 0, NULL,
     tr_restriction_delete},

    {"GET", "/v1/notices", TR_DO_NOTICE_LIST, TR_BODY_NONE, L, "state", tr_notices_list},
    {"POST", "/v1/notices/{id}/retry", TR_DO_NOTICE_RETRY, TR_BODY_NONE, 0, NULL, tr_notices_retry},
    {"GET", "/v1/incidents", TR_DO_INCIDENT_LIST, TR_BODY_NONE, L, "open,overdue", tr_incidents_list},
    {"POST", "/v1/incidents", TR_DO_INCIDENT_CREATE, TR_BODY_JSON, 0, NULL, tr_incidents_create},
    {"GET", "/v1/incidents/{id}", TR_DO_INCIDENT_READ, TR_BODY_NONE, TR_ROUTE_MEDIA, "format",
     tr_incidents_read},
    {"PATCH", "/v1/incidents/{id}", TR_DO_INCIDENT_UPDATE, TR_BODY_PATCH, M, NULL, tr_incidents_update},
    {"GET", "/v1/incidents/{id}/affected", TR_DO_INCIDENT_AFFECTED, TR_BODY_NONE, L,
     "principal,session,address,from,to", tr_incidents_affected},
    {"POST", "/v1/incidents/{id}/notify", TR_DO_INCIDENT_NOTIFY, TR_BODY_JSON, 0, NULL, tr_incidents_notify},

    {"GET", "/v1/audit", TR_DO_AUDIT_READ, TR_BODY_NONE, L, "order,subject", tr_audit_read},

    {"GET", "/v1/keys", TR_DO_KEYS_LIST, TR_BODY_NONE, 0, NULL, tr_keys_get},
    {"POST", "/v1/keys/rotate", TR_DO_KEYS_ROTATE, TR_BODY_NONE, 0, NULL, tr_keys_post_rotate},
    {"DELETE", "/v1/keys/{version}", TR_DO_KEYS_RETIRE, TR_BODY_NONE, 0, NULL, tr_keys_delete},

    {"GET", "/v1/snapshots", TR_DO_SNAPSHOT_LIST, TR_BODY_NONE, 0, NULL, tr_snapshots_show},
    {"POST", "/v1/snapshots", TR_DO_SNAPSHOT_CREATE, TR_BODY_JSON, TR_ROUTE_BODY_OPTIONAL, NULL,
     tr_snapshots_post},
    {"POST", "/v1/snapshots/drill", TR_DO_SNAPSHOT_ASK_DRILL, TR_BODY_NONE, 0, NULL, tr_snapshots_post_drill},
    {"GET", "/v1/snapshots/{id}", TR_DO_SNAPSHOT_READ, TR_BODY_NONE, 0, NULL, tr_snapshots_show_one},
    {"DELETE", "/v1/snapshots/{id}", TR_DO_SNAPSHOT_DELETE, TR_BODY_NONE, 0, NULL, tr_snapshots_delete},
    {"POST", "/v1/snapshots/{id}/verify", TR_DO_SNAPSHOT_VERIFY, TR_BODY_NONE, 0, NULL,
     tr_snapshots_post_verify},

    {"GET", "/v1/about", TR_DO_SYSTEM_ABOUT, TR_BODY_NONE, 0, NULL, tr_about},
    {"GET", "/healthz", TR_DO_SYSTEM_HEALTH, TR_BODY_NONE, 0, NULL, tr_health},
    {"GET", "/readyz", TR_DO_SYSTEM_READY, TR_BODY_NONE, 0, NULL, tr_ready},
    {"GET", "/openapi.json", TR_DO_SYSTEM_OPENAPI, TR_BODY_NONE, 0, NULL, tr_openapi},
};

const size_t tr_routes_count = sizeof tr_routes / sizeof *tr_routes;
