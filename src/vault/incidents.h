/* Incidents: breaches of the security of personal data (Art. 24 FADP, Art. 15 DPO, Art. 33 and 34 GDPR).
 *
 * What an officer writes is one JSON object (openapi.yaml, IncidentCreate), sealed under the vault's own key
 * "incident", bound to the incident's id and version; the register's columns are taken from it. An incident
 * that a rule opened (vault/incident_rules.h) has none until somebody writes something. None is ever deleted:
 * Art. 15(4) DPO asks for two years from the notification at least.
 *
 * A change is made on a tr_incident_case outside of jobs: load, patch, tr_incident_take, tr_incident_seal;
 * then tr_incident_update (or _insert) of `row` in a job, which answers TR_E_PRECONDITION when somebody was
 * faster.
 */
#ifndef TR_VAULT_INCIDENTS_H
#define TR_VAULT_INCIDENTS_H

#include <cjson/cJSON.h>

#include "vault/incident_scope.h"
#include "vault/vault.h"

#define TR_INCIDENT_MAILINGS_MAX 100 /* shown with an incident */

typedef struct tr_incident_case {
    tr_incident row; /* its pointers point into this, or at static text */
    cJSON *doc;      /* an object, never NULL */
    tr_buf sealed;
} tr_incident_case;

const char *tr_incident_kind_name(tr_incident_kind kind); /* "access", ... */
const char *tr_incident_risk_name(tr_incident_risk risk); /* "unknown", ... */

/* TR_E_NOT_FOUND: there is no such incident. */
tr_status tr_incident_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_incident_case *out,
                           tr_error *err);
/* The same of a row at hand, for lists. */
tr_status tr_incident_open(tr_vault *vault, const tr_incident *row, tr_incident_case *out, tr_error *err);
void tr_incident_clear(tr_incident_case *c);

/* A new one with a fresh id, version 1 and this document, which is copied. */
tr_status tr_incident_new(const cJSON *doc, const tr_uuid *by, int64_t now, tr_incident_case *out,
                          tr_error *err);
/* Version + 1; the row's columns from the document, which its schema allows. TR_E_VALIDATION names the place.
 */
tr_status tr_incident_take(tr_incident_case *c, int64_t now, tr_error *err);
tr_status tr_incident_seal(tr_vault *vault, tr_incident_case *c, tr_error *err);

/* Which accesses are in question: as an officer wrote, or else as the evidence says. */
tr_status tr_incident_scope(tr_db *db, const tr_incident_case *c, tr_scope *out, tr_error *err);
/* When it may be let go: two years after the authority was told, and after it was closed; 0: it is open. */
int64_t tr_incident_keep_until(const tr_incident *row);

/* The INCIDENT object of the API (openapi.yaml), with evidence and mailings. */
tr_status tr_incident_json(tr_db *db, const tr_incident_case *c, int64_t now, tr_buf *out, tr_error *err);
/* The notice to the authority: one page without external parts. What is not known yet says so. */
extern const char tr_incident_style[]; /* the page's */
tr_status tr_incident_html(tr_db *db, const tr_incident_case *c, int64_t now, tr_buf *out, tr_error *err);

#endif
