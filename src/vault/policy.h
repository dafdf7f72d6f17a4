/* Who may do what: the one table of roles and actions (DESIGN.md section 3). What is not in it is refused.
 *
 * A rule other than YES and NO depends on the request: the api layer resolves it in one place
 * (api/authorise.c), before any handler runs.
 */
#ifndef TR_VAULT_POLICY_H
#define TR_VAULT_POLICY_H

#include "store/store.h"

typedef enum tr_rule {
    TR_RULE_NO,        /* this role may never */
    TR_RULE_PUBLIC,    /* needs no credentials */
    TR_RULE_YES,       /* this role may always */
    TR_RULE_OWN,       /* when the subject is the caller's own */
    TR_RULE_READ,      /* with a live grant to read for the purpose named */
    TR_RULE_WRITE,     /* with a live grant to write for the purpose named */
    TR_RULE_EXPORT,    /* with a live grant to export for the purpose named */
    TR_RULE_ANY_GRANT, /* with a live grant of any kind for the purpose named */
    TR_RULE_REGISTER,  /* when the principal may register subjects */
    TR_RULE_GRANTEE,   /* the handler shows only what was granted to the caller */
    TR_RULE_FILTER,    /* the handler shows only what the caller may see; a service names its purpose */
    TR_RULE_LINES,     /* import: decided for each line */
    TR_RULE_REQUEST,   /* an officer, within a verified, open request of that subject assigned to it */
    TR_RULE_RECTIFY,   /* the same, and it is a rectification */
    TR_RULE_RESTRICT,  /* the same, and it is a restriction */
} tr_rule;

/* X(action, name in the audit log, subject, service, officer, operator, auditor) */
#define TR_ACTION_TABLE(X)                                                                                   \
    X(TR_DO_SYSTEM_ABOUT, "system.about", PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC)                            \
    X(TR_DO_SYSTEM_HEALTH, "system.health", PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC)                          \
    X(TR_DO_SYSTEM_READY, "system.ready", PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC)                            \
    X(TR_DO_SYSTEM_OPENAPI, "system.openapi", PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC)                        \
    X(TR_DO_AUTH_SIGN_IN, "auth.sign_in", PUBLIC, PUBLIC, PUBLIC, PUBLIC, PUBLIC)                            \
    X(TR_DO_AUTH_VALIDATE, "auth.validate", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_AUTH_SIGN_OUT, "auth.sign_out", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_AUTH_SESSIONS, "auth.sessions", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_AUTH_SESSION_END, "auth.session_end", YES, YES, YES, YES, YES)                                   \
    X(TR_DO_AUTH_LANES, "auth.lanes", YES, YES, YES, YES, YES)                                               \
    X(TR_DO_AUTH_PASSWORD, "auth.password", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_PRINCIPAL_LIST, "principal.list", NO, NO, NO, YES, NO)                                           \
    X(TR_DO_PRINCIPAL_CREATE, "principal.create", NO, NO, NO, YES, NO)                                       \
    X(TR_DO_PRINCIPAL_READ, "principal.read", NO, NO, NO, YES, NO)                                           \
    X(TR_DO_PRINCIPAL_UPDATE, "principal.update", NO, NO, NO, YES, NO)                                       \
    X(TR_DO_PRINCIPAL_DELETE, "principal.delete", NO, NO, NO, YES, NO)                                       \
    X(TR_DO_CONTACT_READ, "contact.read", FILTER, NO, NO, YES, NO)                                           \
    X(TR_DO_CONTACT_PUT, "contact.put", FILTER, NO, NO, YES, NO)                                             \
    X(TR_DO_CONTACT_DELETE, "contact.delete", FILTER, NO, NO, YES, NO)                                       \
    X(TR_DO_TYPE_LIST, "type.list", YES, YES, YES, YES, YES)                                                 \
    X(TR_DO_TYPE_READ, "type.read", YES, YES, YES, YES, YES)                                                 \
    X(TR_DO_TYPE_PUT, "type.put", NO, NO, YES, NO, NO)                                                       \
    X(TR_DO_TYPE_DELETE, "type.delete", NO, NO, YES, NO, NO)                                                 \
    X(TR_DO_ACTIVITY_LIST, "activity.list", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_ACTIVITY_READ, "activity.read", YES, YES, YES, YES, YES)                                         \
    X(TR_DO_ACTIVITY_CREATE, "activity.create", NO, NO, YES, NO, NO)                                         \
    X(TR_DO_ACTIVITY_REPLACE, "activity.replace", NO, NO, YES, NO, NO)                                       \
    X(TR_DO_ACTIVITY_END, "activity.end", NO, NO, YES, NO, NO)                                               \
    X(TR_DO_SUBJECT_CREATE, "subject.create", NO, REGISTER, NO, NO, NO)                                      \
    X(TR_DO_SUBJECT_READ, "subject.read", OWN, ANY_GRANT, REQUEST, NO, NO)                                   \
    X(TR_DO_SUBJECT_DELETE, "subject.delete", OWN, NO, NO, NO, NO)                                           \
    X(TR_DO_SUBJECT_EXPORT, "subject.export", OWN, EXPORT, REQUEST, NO, NO)                                  \
    X(TR_DO_RECORD_LIST, "record.list", OWN, READ, REQUEST, NO, NO)                                          \
    X(TR_DO_RECORD_CREATE, "record.create", OWN, WRITE, RECTIFY, NO, NO)                                     \
    X(TR_DO_RECORD_READ, "record.read", OWN, READ, REQUEST, NO, NO)                                          \
    X(TR_DO_RECORD_REPLACE, "record.replace", OWN, WRITE, RECTIFY, NO, NO)                                   \
    X(TR_DO_RECORD_PATCH, "record.patch", OWN, WRITE, RECTIFY, NO, NO)                                       \
    X(TR_DO_RECORD_DELETE, "record.delete", OWN, WRITE, RECTIFY, NO, NO)                                     \
    X(TR_DO_RECORD_VERSIONS, "record.versions", OWN, READ, REQUEST, NO, NO)                                  \
    X(TR_DO_RECORD_LOOKUP, "record.lookup", FILTER, FILTER, FILTER, NO, NO)                                  \
    X(TR_DO_RECORD_IMPORT, "record.import", NO, LINES, NO, NO, NO)                                           \
    X(TR_DO_GRANT_LIST, "grant.list", OWN, GRANTEE, REQUEST, NO, NO)                                         \
    X(TR_DO_GRANT_CREATE, "grant.create", OWN, NO, NO, NO, NO)                                               \
    X(TR_DO_GRANT_READ, "grant.read", OWN, GRANTEE, REQUEST, NO, NO)                                         \
    X(TR_DO_GRANT_WITHDRAW, "grant.withdraw", OWN, NO, NO, NO, NO)                                           \
    X(TR_DO_ACCESS_LIST, "access.list", OWN, NO, REQUEST, NO, NO)                                            \
    X(TR_DO_REQUEST_LIST, "request.list", FILTER, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_CREATE, "request.create", FILTER, NO, YES, NO, NO)                                       \
    X(TR_DO_REQUEST_READ, "request.read", FILTER, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_RECEIPT, "request.receipt", FILTER, NO, YES, NO, NO)                                     \
    X(TR_DO_REQUEST_PACKAGE, "request.package", FILTER, NO, YES, NO, NO)                                     \
    X(TR_DO_REQUEST_VERIFY, "request.verify", NO, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_ASSIGN, "request.assign", NO, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_EXTEND, "request.extend", NO, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_REFUSE, "request.refuse", NO, NO, YES, NO, NO)                                           \
    X(TR_DO_REQUEST_FULFIL, "request.fulfil", NO, NO, YES, NO, NO)                                           \
    X(TR_DO_HOLD_LIST, "hold.list", OWN, NO, YES, NO, NO)                                                    \
    X(TR_DO_HOLD_CREATE, "hold.create", NO, NO, YES, NO, NO)                                                 \
    X(TR_DO_HOLD_LIFT, "hold.lift", NO, NO, YES, NO, NO)                                                     \
    X(TR_DO_SUBJECT_RESTRICT, "subject.restrict", OWN, NO, RESTRICT, NO, NO)                                 \
    X(TR_DO_SUBJECT_UNRESTRICT, "subject.unrestrict", OWN, NO, RESTRICT, NO, NO)                             \
    X(TR_DO_NOTICE_LIST, "notice.list", NO, NO, YES, YES, NO)                                                \
    X(TR_DO_NOTICE_RETRY, "notice.retry", NO, NO, NO, YES, NO)                                               \
    X(TR_DO_INCIDENT_LIST, "incident.list", NO, NO, YES, NO, YES)                                            \
    X(TR_DO_INCIDENT_CREATE, "incident.create", NO, NO, YES, NO, NO)                                         \
    X(TR_DO_INCIDENT_READ, "incident.read", NO, NO, YES, NO, YES)                                            \
    X(TR_DO_INCIDENT_UPDATE, "incident.update", NO, NO, YES, NO, NO)                                         \
    X(TR_DO_INCIDENT_AFFECTED, "incident.affected", NO, NO, YES, NO, NO)                                     \
    X(TR_DO_INCIDENT_NOTIFY, "incident.notify", NO, NO, YES, NO, NO)                                         \
    X(TR_DO_AUDIT_READ, "audit.read", NO, NO, NO, NO, YES)                                                   \
    X(TR_DO_KEYS_LIST, "keys.list", NO, NO, NO, YES, NO)                                                     \
    X(TR_DO_KEYS_ROTATE, "keys.rotate", NO, NO, NO, YES, NO)                                                 \
    X(TR_DO_KEYS_RETIRE, "keys.retire", NO, NO, NO, YES, NO)                                                 \
    X(TR_DO_SNAPSHOT_LIST, "snapshot.list", NO, NO, NO, YES, NO)                                             \
    X(TR_DO_SNAPSHOT_CREATE, "snapshot.create", NO, NO, NO, YES, NO)                                         \
    X(TR_DO_SNAPSHOT_READ, "snapshot.read", NO, NO, NO, YES, NO)                                             \
    X(TR_DO_SNAPSHOT_DELETE, "snapshot.delete", NO, NO, NO, YES, NO)                                         \
    X(TR_DO_SNAPSHOT_VERIFY, "snapshot.verify", NO, NO, NO, YES, NO)                                         \
    X(TR_DO_SNAPSHOT_ASK_DRILL, "snapshot.ask_drill", NO, NO, NO, YES, NO)

typedef enum tr_action {
    TR_DO_NOTHING, /* a request that no route takes */
#define TR_ACTION_ENUM(action, name, ...) action,
    TR_ACTION_TABLE(TR_ACTION_ENUM)
#undef TR_ACTION_ENUM
        TR_ACTION_COUNT
} tr_action;

bool tr_policy_is_public(tr_action action);
/* Default deny: NO for whatever is not in the table. */
tr_rule tr_policy_rule(tr_action action, tr_role role);
const char *tr_action_name(tr_action action);

#endif
