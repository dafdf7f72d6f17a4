/* What the handlers of /v1/incidents share. Not for other files. */
#ifndef TR_API_INCIDENTS_H
#define TR_API_INCIDENTS_H

#include "api/resources.h"
#include "vault/incidents.h"

/* The incident in the path, until the end of the request; the audit entry names it as its purpose. */
tr_status tr_incident_of_path(tr_call *call, tr_incident_case **out, tr_error *err);

#endif
