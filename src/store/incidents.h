/* Incidents (personal-data breaches): the register, what each rests on, and who is told of it
 * (schema/vault-004-incidents.sql). A part of store.h, which includes it.
 */
#ifndef TR_STORE_INCIDENTS_H
#define TR_STORE_INCIDENTS_H

#include "store/store.h"

/* ---- the register: no row is ever deleted ---- */
typedef enum tr_incident_kind { /* Art. 5 let. h FADP, Art. 4(12) GDPR */
                                TR_INCIDENT_LOSS,
                                TR_INCIDENT_DESTRUCTION,
                                TR_INCIDENT_ALTERATION,
                                TR_INCIDENT_DISCLOSURE,
                                TR_INCIDENT_ACCESS,
                                TR_INCIDENT_OTHER,
                                TR_INCIDENT_KIND_COUNT
} tr_incident_kind;
typedef enum tr_incident_risk { /* for the data subjects */
                                TR_RISK_UNKNOWN,
                                TR_RISK_NONE,
                                TR_RISK_SOME,
                                TR_RISK_HIGH,
                                TR_RISK_COUNT
} tr_incident_risk;

typedef struct tr_incident {
    tr_uuid id;
    tr_incident_kind kind;
    tr_incident_risk risk;
    const char *cause; /* the action in the audit log that opened it; NULL: an officer did */
    bool has_opened_by;
    tr_uuid opened_by;
    int64_t aware_at, due_at;
    int64_t notified_at; /* the authority; 0: not yet */
    int64_t closed_at;   /* 0: open */
    int64_t created_at, updated_at;
    int64_t evidence, evidence_at; /* events, and the newest one's time; 0: none */
    tr_bytes sealed;               /* with no data: nobody has written anything yet */
    int64_t version;
} tr_incident;
typedef tr_status (*tr_incident_fn)(void *context, const tr_incident *row, tr_error *err);
tr_status tr_incident_insert(tr_db *tx, const tr_incident *row, tr_error *err);
tr_status tr_incident_get(tr_db *db, const tr_uuid *id, tr_incident_fn fn, void *context,
                          tr_error *err); /* NOT_FOUND */
/* kind, risk, the times but created_at, sealed; the evidence stays. row->version must be the stored version +
 * 1, else TR_E_PRECONDITION. */
tr_status tr_incident_update(tr_db *tx, const tr_incident *row, tr_error *err);
/* overdue_at 0: whenever due; else those the authority should have been told of before it. */
typedef struct tr_incident_filter {
    bool open, closed; /* neither: both */
    int64_t overdue_at;
} tr_incident_filter;
/* Is it open, is the authority to be told and has it not been, and was that due before now? */
bool tr_incident_overdue(const tr_incident *row, int64_t now);
tr_status tr_incident_list(tr_db *db, const tr_incident_filter *filter, const tr_uuid *after, int limit,
                           tr_incident_fn fn, void *context, tr_error *err);
tr_status tr_incident_count(tr_db *db, int64_t now, int64_t *open, int64_t *overdue, tr_error *err);

/* ---- evidence ---- */
#define TR_EVIDENCE_FIRST 50 /* of an incident's events the first are kept, */
#define TR_EVIDENCE_LAST  50 /* and the newest */
typedef struct tr_evidence {
    int64_t number; /* 1, 2, ... */
    int64_t seq;    /* of the audit entry */
    int64_t at;
    const tr_uuid *principal, *request;     /* or NULL */
    const char *session, *address, *detail; /* or NULL */
} tr_evidence;
typedef tr_status (*tr_evidence_fn)(void *context, const tr_evidence *row, tr_error *err);
/* The newest open incident of this cause whose newest event is no older than `since`. TR_E_NOT_FOUND. */
tr_status tr_incident_of_cause(tr_db *db, const char *cause, int64_t since, tr_uuid *id, tr_error *err);
/* Add to an incident's events; row->number is set here. Its version stays. */
tr_status tr_evidence_add(tr_db *tx, const tr_uuid *incident, const tr_evidence *row, tr_error *err);
/* All that are kept, in order. */
tr_status tr_evidence_list(tr_db *db, const tr_uuid *incident, tr_evidence_fn fn, void *context,
                           tr_error *err);

/* ---- telling data subjects ---- */
typedef struct tr_mailing {
    tr_uuid id, incident;
    uint8_t digest[32]; /* of the text */
    const char *doc;    /* the notices' */
    const char *scope;  /* JSON; NULL: those in `subjects` */
    tr_bytes subjects;  /* ids, ascending */
    int64_t upto;       /* the newest audit entry that counts */
    bool has_after;
    tr_uuid after; /* worked off up to this subject */
    tr_uuid created_by;
    int64_t created_at;
    int64_t done_at; /* 0: under way */
    int64_t told, before, unreachable;
} tr_mailing;
typedef tr_status (*tr_mailing_fn)(void *context, const tr_mailing *row, tr_error *err);
tr_status tr_mailing_insert(tr_db *tx, const tr_mailing *row, tr_error *err);
/* after, done_at and the counts. TR_E_PRECONDITION when `before_after` (NULL: none) is not where it is now.
 */
tr_status tr_mailing_update(tr_db *tx, const tr_mailing *row, const tr_uuid *before_after, tr_error *err);
tr_status tr_mailing_list(tr_db *db, const tr_uuid *incident, int limit, tr_mailing_fn fn, void *context,
                          tr_error *err);
/* The oldest that is under way. TR_E_NOT_FOUND. */
tr_status tr_mailing_waiting(tr_db *db, tr_mailing_fn fn, void *context, tr_error *err);
/* *fresh: the subject had not been told this text, and from now on counts as told. */
tr_status tr_told_add(tr_db *tx, const tr_uuid *incident, const uint8_t digest[32], const tr_uuid *subject,
                      bool *fresh, tr_error *err);

#endif
