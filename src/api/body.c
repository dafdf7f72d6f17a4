/* The body: read within the limit, parsed strictly, held against the route's schema in openapi.yaml. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/openapi_json.h"

#define READ_CHUNK ((size_t)16 * 1024)

tr_status tr_broken_body(long n, tr_error *err) {
    return n == -2 ? tr_fail(err, TR_E_BAD_REQUEST, "Transfer-Encoding", "the chunked coding is broken")
                   : tr_fail(err, TR_E_TIMEOUT, NULL, "the body did not arrive whole and in time");
}

/* What is reserved is wiped in the end: no more than is announced, and one byte to find that it was all. */
static size_t next_chunk(const tr_call *call) {
    const int64_t announced = call->request->content_length;
    if (announced < 0 || announced - (int64_t)call->raw.len >= (int64_t)READ_CHUNK)
        return READ_CHUNK;
    return announced > (int64_t)call->raw.len ? (size_t)announced - call->raw.len + 1 : 1;
}

static tr_status read_all(tr_call *call, tr_error *err) {
    tr_request *request = call->request;
    const size_t limit = (size_t)call->config->max_body_bytes;
    long n = 0;
    if (request->content_length > call->config->max_body_bytes)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "the body has more than %zu bytes", limit);
    do {
        const size_t chunk = next_chunk(call);
        char *room = tr_buf_reserve(&call->raw, chunk);
        if (!room)
            return tr_buf_ok(&call->raw, err);
        n = request->read(request, room, chunk);
        if (n > 0)
            call->raw.len += (size_t)n;
        if (call->raw.len > limit)
            return tr_fail(err, TR_E_TOO_LARGE, NULL, "the body has more than %zu bytes", limit);
    } while (n > 0);
    if (n < 0)
        return tr_broken_body(n, err);
    call->raw.data[call->raw.len] = '\0';
    return TR_OK;
}

tr_status tr_read_raw_body(tr_call *call) {
    if (!call->raw_read && call->request->has_body && !(call->route->flags & TR_ROUTE_STREAM)) {
        call->raw_error.status = TR_OK;
        tr_status st = read_all(call, &call->raw_error);
        if (st != TR_OK)
            call->response->close = true;
        call->raw_error.status = st;
    }
    call->raw_read = true;
    return call->raw_error.status;
}

tr_status tr_read_body(tr_call *call, tr_error *err) {
    if (call->route->body == TR_BODY_NONE || (call->route->flags & TR_ROUTE_STREAM) ||
        ((call->route->flags & TR_ROUTE_BODY_OPTIONAL) && !call->request->has_body))
        return TR_OK;
    tr_status st = tr_read_raw_body(call);
    if (st != TR_OK) {
        if (err)
            *err = call->raw_error;
        return st;
    }
    const char *text = call->raw.data ? call->raw.data : "";
    st = tr_is_form(call) ? tr_read_form(text, call->raw.len, &call->body, err)
                          : tr_json_parse(text, call->raw.len, &call->body, err);
    if (st == TR_OK) {
        const tr_schema *schema = call->api->bodies[call->route - tr_routes];
        st = schema ? tr_schema_validate(schema, call->body, err) : TR_OK;
    }
    return st;
}

/* What the request is, for Idempotency-Key (request_hash) and for the recovery of its lost response (name:
 * with the key). A streamed body is not in it: an import's batches are compared one by one. */
tr_status tr_name_request(tr_call *call, uint8_t name[32], tr_error *err) {
    const tr_request *r = call->request;
    tr_status st = TR_OK;
    if (!(call->route->flags & TR_ROUTE_STREAM) && (st = tr_read_raw_body(call)) != TR_OK) {
        if (err)
            *err = call->raw_error;
        return st;
    }
    const char *purpose = r->header(r, "Access-Purpose", NULL);
    const char *texts[4] = {r->method, r->path, r->query, purpose ? purpose : ""};
    tr_bytes parts[5];
    for (int i = 0; i < 4; i++)
        parts[i] = (tr_bytes){texts[i], strlen(texts[i]) + 1};
    parts[4] = (tr_bytes){call->raw.data, call->raw.len};
    st = tr_sha256(parts, 5, call->request_hash, err);
    if (st != TR_OK)
        return st;
    const tr_bytes both[2] = {{call->request_hash, 32}, {call->key_hash, 32}};
    return tr_sha256(both, 2, name, err);
}

/* ---- request schemas ---- */

static tr_status compile_body(const cJSON *document, const tr_route *route, tr_schema **out, tr_error *err) {
    static const char *const types[] = {
        [TR_BODY_JSON] = "application/json", [TR_BODY_PATCH] = "application/merge-patch+json"};
    const tr_schema_options options = {.assert_format = true};
    tr_buf pointer = TR_BUF_INIT;
    char method[12];
    if (route->body != TR_BODY_JSON && route->body != TR_BODY_PATCH)
        return TR_OK;
    snprintf(method, sizeof method, "%s", route->method);
    for (char *c = method; *c; c++)
        *c = (char)(*c | 0x20);
    tr_buf_puts(&pointer, "/paths");
    tr_json_pointer_push(&pointer, route->path);
    tr_json_pointer_push(&pointer, method);
    tr_buf_puts(&pointer, "/requestBody/content");
    tr_json_pointer_push(&pointer, types[route->body]);
    tr_buf_puts(&pointer, "/schema");
    tr_status st = tr_buf_ok(&pointer, err);
    if (st == TR_OK)
        st = tr_schema_compile(document, pointer.data, &options, out, err);
    tr_buf_clear(&pointer);
    return st;
}

tr_status tr_compile_bodies(tr_api *api, tr_error *err) {
    cJSON *document = NULL;
    tr_status st = TR_OK;
    api->bodies = calloc(tr_routes_count, sizeof *api->bodies);
    if (!api->bodies)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    TR_TRY(tr_json_parse(tr_openapi_json, tr_openapi_json_len, &document, err));
    for (size_t i = 0; i < tr_routes_count; i++)
        TR_TRY(compile_body(document, &tr_routes[i], &api->bodies[i], err));
out:
    cJSON_Delete(document);
    return st;
}
