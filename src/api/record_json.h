/* What reading and writing records share. Not for other layers. */
#ifndef TR_API_RECORD_JSON_H
#define TR_API_RECORD_JSON_H

#include "api/call.h"
#include "vault/records.h"

/* The data key of the subject in the path; TR_E_NOT_FOUND when there is no such subject. */
tr_status tr_subject_key(tr_call *call, tr_secret *key, tr_error *err);
/* Open the payload and append what the caller may see of it to *text, as JSON. */
tr_status tr_record_view(tr_call *call, const tr_secret *key, const tr_record *row, tr_buf *text,
                         bool *partial, tr_error *err);
/* Append a RECORD; `data` is JSON, or NULL: "data":null, for whoever may write but not read. */
tr_status tr_record_json(tr_buf *out, const tr_record *row, const tr_buf *data, bool partial, tr_error *err);

#endif
