#include "cli/fetch.h"

struct answer {
    tr_buf *text;
    size_t most;
};

static tr_status keep(void *context, const tr_client_response *response, const char *bytes, size_t n,
                      tr_error *err) {
    struct answer *a = context;
    (void)response;
    tr_buf_append(a->text, bytes, n);
    if (a->text->len > a->most)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "the answer is not one of a Tresor server");
    return tr_buf_ok(a->text, err);
}

tr_status tr_fetch(const tr_client_options *server, const char *path, size_t most, tr_buf *text, long *status,
                   tr_error *err) {
    bool sent;
    tr_client *client = NULL;
    struct answer a = {text, most};
    tr_client_response response = {0};
    tr_status st = TR_OK;
    TR_TRY(tr_client_new(server, &client, err));
    tr_client_request request = {.method = "GET", .path = path};
    tr_client_handler handler = {.body = keep, .context = &a};
    TR_TRY(tr_client_send(client, &request, &response, &handler, &sent, err));
    *status = response.status;
out:
    tr_client_response_clear(&response);
    tr_client_free(client);
    return st;
}
