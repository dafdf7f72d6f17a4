/* The record of processing activities (Art. 12 FADP, Art. 30 GDPR): when an entry is live, what of its
 * document the vault acts on, and the register as a whole, to be printed or handed to the authority.
 *
 * An activity ends when an officer ends it, or by itself at its "expires". From that moment on no grant and
 * no request may name it. What is kept of the types in its "record_types" afterwards: vault/retention.h.
 */
#ifndef TR_VAULT_REGISTER_H
#define TR_VAULT_REGISTER_H

#include <cjson/cJSON.h>

#include "vault/vault.h"

/* When it ended; 0: it is live. */
int64_t tr_activity_ended(const tr_activity *row, int64_t now);

/* Set row->expires_at and row->retains from a document that its schema allows. TR_E_VALIDATION at /expires
 * when that is no time to come, at /retention_after_end when it is no duration. */
tr_status tr_activity_take(const cJSON *doc, int64_t now, tr_activity *row, tr_error *err);

/* Mark those that have expired as ended (`ended_at` is when they expired), each with an audit entry
 * "activity.expire"; a bounded number, *more says whether there may be others. */
tr_status tr_activities_expire(tr_vault *vault, bool *more, tr_error *err);

/* The register: its head, an entry each, its foot. Every field that the law lists has its place, in HTML also
 * when the entry does not state it. CSV as of RFC 4180 with a header line, no cell of which is a formula;
 * HTML is one page without external parts, for the screen and for printing. `now`: what is live at that
 * moment. */
typedef struct tr_register_form {
    void (*head)(tr_buf *out, int64_t now);
    tr_status (*entry)(tr_buf *out, const tr_activity *row, int64_t now, tr_error *err);
    void (*foot)(tr_buf *out);
} tr_register_form;
extern const tr_register_form tr_register_csv, tr_register_html;
/* All that is between <style> and </style> of the HTML: its hash is what a Content-Security-Policy may allow.
 */
extern const char tr_register_style[];

#endif
