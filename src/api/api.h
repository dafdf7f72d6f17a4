/* The API: the route table and the life of a request. JSON in, vault call, JSON out. */
#ifndef TR_API_API_H
#define TR_API_API_H

#include "api/message.h"
#include "vault/vault.h"

typedef struct tr_api tr_api;

/* Compiles the request schemas of the embedded OpenAPI document. */
tr_status tr_api_new(tr_vault *vault, tr_api **out, tr_error *err);
void tr_api_free(tr_api *api);

/* The main listener's handler; context is the tr_api. */
void tr_api_handle(void *context, tr_request *request, tr_response *response);
/* The metrics listener's handler (/metrics, /healthz, /readyz); context is the tr_api. */
void tr_api_handle_metrics(void *context, tr_request *request, tr_response *response);
/* From now on /readyz answers 503. */
void tr_api_set_draining(tr_api *api);

/* The route table as JSON, for `tresor serve --routes` and the tests. */
tr_status tr_api_routes_json(tr_buf *out, tr_error *err);

#endif
