/* A request's header fields as the API reads them; an input is lines of "name: value". A weight is one of a
 * thousandth; a list of tags that is taken means the same for If-Match and If-None-Match, but that a weak tag
 * never matches where something is to be changed; a key that is taken has visible characters only. */
#include <string.h>
#include <strings.h>

#include "api/call.h"
#include "fuzz_must.h"

#define HEADERS_MAX 12

static struct {
    const char *names[HEADERS_MAX], *values[HEADERS_MAX];
    int count;
} fields;

static const char *header(const tr_request *request, const char *name, bool *twice) {
    const char *found = NULL;
    (void)request;
    for (int i = 0; i < fields.count; i++) {
        if (strcasecmp(fields.names[i], name) != 0)
            continue;
        if (found && twice)
            *twice = true;
        found = found ? found : fields.values[i];
    }
    return found;
}

static void cut(char *text) {
    fields.count = 0;
    for (char *line = strtok(text, "\n"); line && fields.count < HEADERS_MAX; line = strtok(NULL, "\n")) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = '\0';
        fields.names[fields.count] = line;
        fields.values[fields.count++] = colon + 1 + strspn(colon + 1, " \t");
    }
}

static void check_tags(tr_call *call) {
    tr_error err = {0};
    const char *if_match = call->if_match;
    for (int64_t version = 1; version <= 2; version++) {
        tr_response response;
        tr_response_init(&response);
        call->response = &response;
        const bool same = !if_match || tr_call_if_match(call, version, &err) == TR_OK;
        call->if_none_match = if_match;
        const bool named = tr_call_not_modified(call, version);
        MUST(!if_match || !same || named);
        MUST(!named || (if_match && (same || strstr(if_match, "W/"))));
        MUST(!named || response.status == 304);
        tr_response_clear(&response);
    }
    call->response = NULL;
}

static void check_key(tr_call *call) {
    tr_error err = {0};
    const char *given = header(NULL, "Idempotency-Key", NULL);
    tr_status st = tr_read_idempotency_key(call, &err);
    MUST(st == TR_OK || st == TR_E_BAD_REQUEST);
    MUST(st != TR_OK || call->idempotency_key == given);
    for (const char *c = st == TR_OK && given ? given : ""; *c; c++)
        MUST(*c > 0x20 && *c < 0x7f);
}

/* A body is taken as what the route takes, or refused for its type. */
static void check_media(tr_call *call, tr_body_kind kind) {
    static const char *const types[] = {"application/json", "application/x-ndjson", "text/csv", "*/*",
                                        "text/html"};
    const tr_route route = {.method = "POST", .path = "/", .body = kind, .flags = TR_ROUTE_FORM};
    tr_error err = {0};
    call->route = &route;
    tr_status st = tr_check_media(call, &err);
    MUST(st == TR_OK || st == TR_E_BAD_REQUEST || st == TR_E_MEDIA_TYPE || st == TR_E_NOT_ACCEPTABLE);
    MUST(st != TR_OK || kind == TR_BODY_NONE || header(NULL, "Content-Type", NULL));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const int weight = tr_accept_weight(call, types[i]);
        MUST(weight >= 0 && weight <= 1000);
    }
    call->route = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char text[4000];
    tr_request request = {.method = "POST", .path = "/", .query = "", .has_body = true, .header = header};
    static tr_call call;
    tr_error err = {0};
    if (size >= sizeof text || memchr(data, 0, size))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    cut(text);
    memset(&call, 0, sizeof call);
    call.request = &request;
    tr_status st = tr_read_headers(&call, &err);
    MUST(st == TR_OK || (st == TR_E_BAD_REQUEST && err.where[0]));
    if (st == TR_OK)
        check_tags(&call);
    check_key(&call);
    for (int kind = TR_BODY_JSON; kind <= TR_BODY_NDJSON; kind++)
        check_media(&call, (tr_body_kind)kind);
    request.has_body = false;
    check_media(&call, TR_BODY_NONE);
    call.request = NULL;
    return 0;
}
