/* Single-use tokens: one chain of tokens a session, where each accepted token is dead and its answer carries
 * the next.
 *
 * The table in memory decides which of n requests with one token runs (at once, without a flush); the
 * databases decide what stays true: a token's end is in the commit of its request's audit entry, and counts
 * only together with the request's effects (store/sqlcipher/turns.c). No answer leaves before. So a token
 * that was answered is dead after kill -9 and power loss, and a token whose request left no effect is not
 * lost.
 *
 * The life of an authenticated request:
 *   tr_token_accept ─ TR_OK ──────────────► tr_token_persist inside the job that commits it ─►
 * tr_token_done(committed) └ recoverable ► tr_token_recover once the body is known ─┘
 */
#ifndef TR_VAULT_TOKENS_H
#define TR_VAULT_TOKENS_H

#include "store/store.h"
#include "vault/principals.h"

#define TR_TOKEN_LEN 64 /* base64url of 32 random bytes and a 16-byte MAC */

#define TR_SESSION_REF 16

typedef struct tr_caller { /* who asks */
    tr_uuid principal;
    tr_role role;
    bool has_subject;
    tr_uuid subject;
    bool may_register;
    bool password_initial;
    char uid[TR_UID_MAX + 1];
    char name[TR_NAME_MAX * 4 + 1];
    char session[TR_SESSION_REF + 1]; /* by which session; "": none */
    char origin[TR_SESSION_REF + 1];  /* of a lane: by which session it was made; else "" */
} tr_caller;

/* `copy` is opened (vault/principals.h), or else only uid and name say nothing. */
void tr_caller_of(const tr_principal_copy *copy, tr_caller *who);

typedef struct tr_ticket { /* an accepted token, until tr_token_done */
    tr_session next;       /* the session as it will be */
    tr_caller caller;
    char token[TR_TOKEN_LEN + 1]; /* the successor, for the answer */
    int64_t expires_at;           /* ms */
    bool recovered;               /* a lost response's request again */
    bool persisted;               /* a job with tr_token_persist has been committed */
    uint64_t edition;             /* of the vault, when it was accepted or before */
    struct tr_session_entry *entry;
} tr_ticket;

/* Begin a request. `has_key`: the request has an Idempotency-Key. Otherwise than TR_OK:
 *   TR_E_TOKEN_INVALID     no such session, expired, or not a token of this session
 *   TR_E_TOKEN_SUPERSEDED  the token used just before; the session goes on
 *   TR_E_IN_PROGRESS       the same, while its request still runs and this one has a key
 *   TR_E_TOKEN_REUSED      an older token: the caller must end the session (tr_session_revoke)
 *   TR_E_PRECONDITION      the token used just before, and a lost response may be recovered: try
 * tr_token_recover The wipe of `token` is the caller's. */
tr_status tr_token_accept(tr_vault *vault, const char *client, const char *uid, const char *token,
                          bool has_key, tr_ticket *ticket, tr_error *err);
/* `request` names the request (SHA-256, see tr_session.request). TR_OK as from tr_token_accept;
 * TR_E_TOKEN_SUPERSEDED when it is another request, or too late, or the successor has been used. */
tr_status tr_token_recover(tr_vault *vault, const char *client, const char *token, const uint8_t request[32],
                           tr_ticket *ticket, tr_error *err);
/* Remember which request this is, so that it can be recovered. Before tr_token_persist. */
void tr_token_name_request(tr_ticket *ticket, const uint8_t request[32]);
/* Inside the request's job. TR_E_TOKEN_INVALID when the session ended meanwhile. May run more than once. */
tr_status tr_token_persist(tr_db *tx, const tr_ticket *ticket, tr_error *err);
/* Inside a later job of a request whose token is used up: TR_E_TOKEN_INVALID when the session has ended
 * since. */
tr_status tr_token_check(tr_db *tx, const tr_ticket *ticket, tr_error *err);
/* The request is over. `committed`: a job with tr_token_persist is durable; else the token stays good. */
void tr_token_done(tr_vault *vault, tr_ticket *ticket, bool committed);

/* A new session: fill *row and the first token. Store it with tr_session_insert. */
tr_status tr_session_prepare(tr_vault *vault, const tr_uuid *principal, tr_session *row,
                             char token[TR_TOKEN_LEN + 1], int64_t *expires_at, tr_error *err);
/* When a session with these times ends, ms. */
int64_t tr_session_expires(const tr_config *config, int64_t created_at, int64_t used_at);
/* Forget what the table knows of a principal, or of all principals of a subject with this id (client NULL),
 * or of one session; after the commit that changed it. */
void tr_session_forget(tr_vault *vault, const tr_uuid *principal, const char *client);
/* End a session and the lanes that come from the same sign-in, with an audit entry
 * {"action":"auth.token_reuse"}: for TR_E_TOKEN_REUSED. */
tr_status tr_session_revoke(tr_vault *vault, const char *client, const tr_uuid *request, const char *address,
                            tr_error *err);

#endif
