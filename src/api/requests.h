/* What the handlers of /v1/requests share. Not for other files. */
#ifndef TR_API_REQUESTS_H
#define TR_API_REQUESTS_H

#include "api/resources.h"
#include "vault/dsr.h"

/* A case that lives until the end of the request; NULL with *err filled. */
tr_dsr_case *tr_request_case(tr_call *call, tr_error *err);
/* The request in the path, if the caller may know of it; TR_E_NOT_FOUND in the same words when it may not and
 * when there is none. If-Match is heeded, and the audit entry names subject and request (as its purpose). */
tr_status tr_request_load(tr_call *call, tr_dsr_case **out, tr_error *err);
/* The audit entry names this request as what it is for. */
void tr_request_concerns(tr_call *call, const tr_dsr *row);
/* The REQUEST object with its entity tag. */
tr_status tr_request_answer(tr_call *call, int status, const tr_dsr_case *c, tr_error *err);
/* A member that is an id. */
bool tr_request_take_id(const cJSON *body, const char *name, tr_uuid *id);

#endif
