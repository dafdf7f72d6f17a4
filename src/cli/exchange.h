/* One request with a session's single-use token, so that no answer is lost without a word and nothing happens
 * twice.
 *
 * Before a token is used, the session file names the request and its Idempotency-Key; once an answer's head
 * is there, the next token is saved, and only then the body is handed on. When the connection breaks in
 * between, the same request is sent again with the same token and key, which the server answers once for up
 * to 30 s (its setting token_recovery_ms).
 */
#ifndef TR_CLI_EXCHANGE_H
#define TR_CLI_EXCHANGE_H

#include "cli/client.h"
#include "cli/session.h"

typedef struct tr_exchange {
    tr_cli_session *session; /* without a token: the request goes out without one */
    tr_client *client;
    const char *method, *path;
    const char *content_type;   /* NULL: no body */
    const char *purpose;        /* NULL: none */
    const char *key;            /* the Idempotency-Key to send; NULL: one is made */
    const char *const *headers; /* further ones, "Name: value" */
    size_t header_count;
    const tr_cli_body *body; /* NULL: none */
    /* Called with the head once, when the next token is safe and no more tries come, and then with the body
     * of a response of 2xx as it comes, of another when all is there. Both may be NULL. */
    tr_client_handler sink;
} tr_exchange;

typedef struct tr_exchange_answer {
    tr_client_response response;
    tr_buf
        text; /* the body of a response other than 2xx, and with no sink of any, as far as it fits 256 KiB */
    bool recovered;   /* it took more than one try, or an earlier call's request was taken up */
    char advice[240]; /* what to do next, for a person; "" when there is nothing to say */
} tr_exchange_answer;
#define TR_EXCHANGE_ANSWER_INIT ((tr_exchange_answer){0})

/* TR_OK: there is an answer, of whatever status. TR_E_TIMEOUT: there is none; err says what to do.
 * TR_E_IN_PROGRESS: an earlier call's answer is not seen yet, and this is another request. */
tr_status tr_exchange_run(const tr_exchange *exchange, tr_exchange_answer *answer, tr_error *err);
void tr_exchange_answer_clear(tr_exchange_answer *answer);

/* Take the next token and its expiry from a response of this session (after sign-in: of any) and save the
 * session. */
tr_status tr_exchange_keep_token(tr_cli_session *session, const tr_client_response *response, bool *kept,
                                 tr_error *err);

#endif
