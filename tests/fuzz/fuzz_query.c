/* A query on a list, and a cursor. What was read, written anew and read again is the same; every value is
 * whole UTF-8 without control characters; a page has 1 to TR_LIST_MAX rows; a cursor that is taken is the one
 * that is given out for its bytes. */
#include <string.h>

#include "api/call.h"
#include "base/encode.h"
#include "fuzz_must.h"

static const tr_route route = {.method = "GET",
                               .path = "/v1/things",
                               .flags = TR_ROUTE_LIST,
                               .query = "type,from,until,subject,format,language,state"};

static tr_status read_query(const char *query, tr_call *call, tr_error *err) {
    tr_request request = {.method = "GET", .path = route.path, .query = query};
    memset(call, 0, sizeof *call);
    call->route = &route;
    call->request = &request;
    tr_status st = tr_read_query(call, err);
    call->request = NULL;
    return st;
}

static void put(tr_buf *out, const char *text) {
    for (; *text; text++) {
        char hex[4];
        (void)snprintf(hex, sizeof hex, "%%%02X", (unsigned char)*text);
        tr_buf_puts(out, hex);
    }
}

static void read_again(const tr_call *call) {
    static tr_call again;
    tr_buf query = TR_BUF_INIT;
    tr_error err = {0};
    tr_buf_putc(&query, '&');
    for (int i = 0; i < call->query_count; i++) {
        put(&query, call->query[i].name);
        tr_buf_putc(&query, '=');
        put(&query, call->query[i].value);
        tr_buf_puts(&query, "&&");
    }
    MUST(tr_buf_ok(&query, &err) == TR_OK && read_query(query.data, &again, &err) == TR_OK);
    MUST(again.query_count == call->query_count);
    for (int i = 0; i < call->query_count; i++)
        MUST(strcmp(again.query[i].name, call->query[i].name) == 0 &&
             strcmp(again.query[i].value, call->query[i].value) == 0);
    tr_buf_clear(&query);
}

static void check_values(const tr_call *call) {
    for (int i = 0; i < call->query_count; i++) {
        const char *value = call->query[i].value;
        MUST(tr_call_query(call, call->query[i].name) == value); /* each name once */
        MUST(tr_utf8_valid(value, strlen(value)));
        for (const char *c = value; *c; c++)
            MUST((unsigned char)*c >= 0x20 && *c != 0x7f);
    }
}

static void check_page(const tr_call *call) {
    int limit = 0;
    tr_uuid room;
    const tr_uuid *after = NULL;
    tr_error err = {0};
    tr_status st = tr_call_page(call, &limit, &room, &after, &err);
    MUST(st == TR_OK || (st == TR_E_BAD_REQUEST && err.where[0]));
    if (st != TR_OK)
        return;
    MUST(limit >= 1 && limit <= TR_LIST_MAX && !after == !tr_call_query(call, "after"));
    tr_buf out = TR_BUF_INIT;
    tr_call_next(&out, after ? after->bytes : NULL, sizeof room.bytes);
    const char *text = tr_call_query(call, "after");
    char expected[TR_PARAM_TEXT + 16];
    (void)snprintf(expected, sizeof expected, text ? "\"next\":\"%s\"" : "\"next\":null", text);
    MUST(out.data && strcmp(out.data, expected) == 0);
    tr_buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tr_call call;
    char text[4000];
    tr_error err = {0};
    if (size >= sizeof text || memchr(data, 0, size))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    tr_status st = read_query(text, &call, &err);
    MUST(st == TR_OK || (st == TR_E_BAD_REQUEST && err.where[0]));
    check_values(&call);
    if (st != TR_OK)
        return 0;
    read_again(&call);
    check_page(&call);
    return 0;
}
