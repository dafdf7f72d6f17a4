/* Which events of the audit log open an incident by themselves. Whatever an event leads to is in the commit
 * of its audit entry.
 *
 * Events of one cause within 24 hours of each other are one incident: each is added to its evidence, of which
 * a bounded part is kept (store/incidents.h). Every enabled officer gets a notice "incident-opened".
 */
#ifndef TR_VAULT_INCIDENT_RULES_H
#define TR_VAULT_INCIDENT_RULES_H

#include "vault/audit.h"

#define TR_INCIDENT_NOTIFY_MS INT64_C(259200000) /* 72 hours: Art. 33(1) GDPR */

typedef struct tr_incident_rule {
    const char *action; /* of the event */
    tr_incident_kind kind;
    const char *title;
    bool by_session,
        by_address; /* the accesses in question are those of the evidence's sessions, addresses */
} tr_incident_rule;
extern const tr_incident_rule tr_incident_rules[];
extern const size_t tr_incident_rules_count;

/* The rule that this action falls under; NULL: none. */
const tr_incident_rule *tr_incident_rule_of(const char *action);
/* Inside a job, for tr_event_append: what follows from this event, whose entry has the number `seq`. */
tr_status tr_incident_judge(tr_db *tx, const tr_event *event, int64_t seq, tr_error *err);

#endif
