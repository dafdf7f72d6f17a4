/* Requests of data subjects ("dsr" in names: a tr_request is one of HTTP), from receipt to proof: Art. 25 to
 * 32 FADP, Art. 12 to 22 GDPR.
 *
 * A request outlives its subject, so that it can be shown years later. So what may name a person (details,
 * notes, reasons) is sealed by the subject's data key, bound to subject and request, and is gone with that
 * key; the rest is the row's `doc`, JSON without personal data:
 *   {"filed_by": principal, "activities"?: [ids], "verification"?: {"at","by","method"},
 *    "extension"?: {"at","by","until"}, "refusal"?: {"at","by","legal_basis"}, "result"?: {...}}
 * and the sealed texts are {"details"?, "note"?, "extension_reason"?, "refusal_reason"?}.
 *
 * A change is made on a tr_dsr_case outside of jobs: load, tr_dsr_set_*, tr_dsr_seal; then tr_dsr_update of
 * `row` in a job, which answers TR_E_PRECONDITION when somebody was faster. tr_dsr_state_change alone is made
 * for jobs: it touches no text.
 */
#ifndef TR_VAULT_DSR_H
#define TR_VAULT_DSR_H

#include <cjson/cJSON.h>

#include "vault/vault.h"

#define TR_DSR_OPEN_MAX    50   /* open requests of one subject */
#define TR_DSR_NOTICES_MAX 1000 /* shown with a request */

typedef struct tr_dsr_case {
    tr_dsr row;   /* its pointers point into this */
    cJSON *doc;   /* an object, never NULL */
    cJSON *texts; /* an object; NULL: gone with the subject's key */
    tr_buf doc_text, sealed, receipt;
} tr_dsr_case;

const char *tr_dsr_kind_name(tr_dsr_kind kind); /* "access", ... */
bool tr_dsr_kind_parse(const char *text, tr_dsr_kind *kind);
const char *tr_dsr_state_name(tr_dsr_state state); /* "received", ... */

/* TR_E_NOT_FOUND: there is no such request. */
tr_status tr_dsr_load(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_dsr_case *out, tr_error *err);
/* The same of a row at hand, for lists. */
tr_status tr_dsr_open(tr_vault *vault, tr_db *db, const tr_dsr *row, tr_dsr_case *out, tr_error *err);
void tr_dsr_clear(tr_dsr_case *c);

/* A new request with a fresh id, version 1, state received, due by the vault's deadline_rule. */
tr_status tr_dsr_new(tr_vault *vault, const tr_uuid *subject, tr_dsr_kind kind, const tr_uuid *filed_by,
                     int64_t received_at, int64_t now, tr_dsr_case *out, tr_error *err);

/* A text that may name a person (NULL: none). TR_E_CONFLICT when the texts are gone with the subject. */
tr_status tr_dsr_set_text(tr_dsr_case *c, const char *name, const char *text, tr_error *err);
/* doc[member] = {"at", "by", name: text}; name NULL: only the first two. */
tr_status tr_dsr_set_step(tr_dsr_case *c, const char *member, int64_t at, const tr_uuid *by, const char *name,
                          const char *text, tr_error *err);
/* A time in such a step; 0: it has not been taken. */
int64_t tr_dsr_step_time(const tr_dsr_case *c, const char *member, const char *name);
/* doc.result[name] = number, or id. */
tr_status tr_dsr_set_count(tr_dsr_case *c, const char *name, int64_t number, tr_error *err);
tr_status tr_dsr_set_result_id(tr_dsr_case *c, const char *name, const tr_uuid *id, tr_error *err);
/* state = verified, verification = {at, by, method}; only what is received can be: TR_E_CONFLICT. */
tr_status tr_dsr_set_verified(tr_dsr_case *c, int64_t at, const tr_uuid *by, const char *method,
                              tr_error *err);
/* Print doc and seal the texts into row.doc and row.sealed, with the subject's data key. After the last
 * change. Without texts (erased) it needs no key, and row.sealed is empty. */
tr_status tr_dsr_seal(tr_vault *vault, tr_db *db, tr_dsr_case *c, tr_error *err);

/* The first half alone, which needs no key and is quick: for jobs that change doc only. */
tr_status tr_dsr_print(tr_dsr_case *c, tr_error *err);

/* version + 1, updated_at = now; for what is closed also closed_at. */
void tr_dsr_touch(tr_dsr_case *c, tr_dsr_state state, int64_t now);
/* Inside a job, of a row as it is stored, texts or not: the state, and with it version, updated_at and
 * closed_at. `from`: bits (1 << state) of the states it may be in now, else TR_E_CONFLICT names the state.
 * *subject (may be NULL) and *kind (may be NULL) are checked: TR_E_NOT_FOUND. */
tr_status tr_dsr_change_state(tr_db *tx, const tr_uuid *id, const tr_uuid *subject, const tr_dsr_kind *kind,
                              unsigned from, tr_dsr_state to, int64_t at, tr_error *err);

/* TR_E_CONFLICT naming the state, unless it is one of `states` (bits 1 << state). What was closed by its
 * subject's erasure is in the state that it was in, and in none of these. */
tr_status tr_dsr_check_state(const tr_dsr *row, unsigned states, tr_error *err);
#define TR_DSR_IS(state)      (1u << (state))
#define TR_DSR_ARE_VERIFIED   (TR_DSR_IS(TR_DSR_VERIFIED) | TR_DSR_IS(TR_DSR_EXTENDED))
#define TR_DSR_ARE_UNANSWERED (TR_DSR_IS(TR_DSR_RECEIVED) | TR_DSR_ARE_VERIFIED)

/* Append the REQUEST object of the API (openapi.yaml), with its notices. */
tr_status tr_dsr_json(tr_db *db, const tr_dsr_case *c, int64_t now, tr_buf *out, tr_error *err);

/* The newest request of this subject that lets `officer` see its data now: verified, not closed, assigned to
 * that officer; kinds: bits (1 << kind) of those that will do. TR_E_NOT_FOUND: none, or the subject is being
 * erased. */
tr_status tr_dsr_warrant(tr_db *db, const tr_uuid *subject, const tr_uuid *officer, unsigned kinds,
                         tr_uuid *id, tr_error *err);
#define TR_DSR_KINDS_ALL ((1u << TR_DSR_KIND_COUNT) - 1)

/* Inside a job that makes a request: TR_E_NOT_FOUND: no such subject; TR_E_CONFLICT: it has
 * TR_DSR_OPEN_MAX open ones. */
tr_status tr_dsr_file(tr_db *tx, const tr_dsr *row, tr_error *err);

#endif
