/* One request on its way through the api layer. Not for other layers.
 *
 * The life of a request: match the route, take the token, check the role, read headers, query and body,
 * resolve own or grant, run the route's handler, commit, answer. A handler only reads, checks and prepares:
 * it fills the response and the audit entry and names an `effect`, a job. One commit then holds the token's
 * end, the effect, the outcome kept for an Idempotency-Key and the audit entry; only after it the answer
 * leaves.
 */
#ifndef TR_API_CALL_H
#define TR_API_CALL_H

#include "api/api.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/access.h"
#include "vault/audit.h"
#include "vault/jsonschema.h"
#include "vault/policy.h"
#include "vault/tokens.h"

#define TR_LIST_MAX     100
#define TR_LIST_DEFAULT 50
#define TR_CURSOR_MAX   64 /* bytes that a cursor stands for */

typedef struct tr_call tr_call;
typedef tr_status (*tr_handler_fn)(tr_call *call, tr_error *err);

enum tr_route_flags {
    TR_ROUTE_LIST = 2,     /* takes limit and after */
    TR_ROUTE_IF_MATCH = 4, /* takes If-Match */
    TR_ROUTE_STREAM = 8,   /* reads its body itself */
    TR_ROUTE_INITIAL = 16, /* open to a principal with a one-time password */
    TR_ROUTE_SAFE = 64,    /* changes nothing, whatever its method: no outcome is kept, it is run again */
    TR_ROUTE_FORM = 32,    /* takes a form too: some clients of /auth/sign_in send one */
    TR_ROUTE_MEDIA = 256,  /* has several media types: the handler asks tr_accept_weight */
    TR_ROUTE_BODY_OPTIONAL = 512, /* may come without one: call->body is NULL then */
    TR_ROUTE_REREAD =
        128, /* of a stored outcome the handler (which sees call->replayed) makes the answer anew */
};

typedef enum tr_body_kind { TR_BODY_NONE, TR_BODY_JSON, TR_BODY_PATCH, TR_BODY_NDJSON } tr_body_kind;

typedef struct tr_route {
    const char *method;
    const char *path; /* "/v1/subjects/{id}/records/{rid}": a segment in braces is a parameter */
    tr_action action;
    tr_body_kind body;
    int flags;
    const char *query; /* further query parameters, comma separated; or NULL */
    tr_handler_fn handler;
} tr_route;

extern const tr_route tr_routes[];
extern const size_t tr_routes_count;

#define TR_PARAMS_MAX 2
#define TR_PARAM_TEXT 129
#define TR_QUERY_MAX  8

struct tr_api {
    tr_vault *vault;
    tr_schema **bodies; /* a compiled request schema for each route, or NULL */
    struct tr_rate *rate;
    _Atomic bool draining;
    int64_t started_ms;
    _Atomic uint64_t answers[6]; /* by the status's first digit */
    _Atomic int exports;         /* packages that are being sent */
    _Atomic uint64_t sign_in_failures, tokens_reused;
};

struct tr_call {
    tr_api *api;
    tr_vault *vault;
    const tr_config *config;
    tr_request *request;
    tr_response *response;
    const tr_route *route;
    bool head;
    tr_status unmatched; /* why no route takes it, or TR_OK */

    /* the path's and the query's parameters, decoded */
    char params[TR_PARAMS_MAX][TR_PARAM_TEXT];
    int param_count;
    struct {
        char name[32];
        char value[TR_PARAM_TEXT];
    } query[TR_QUERY_MAX];
    int query_count;

    /* who asks; NULL on public routes */
    const tr_caller *who;
    tr_ticket ticket;
    bool has_ticket;
    char client[TR_CLIENT_LEN + 1];
    char token[TR_TOKEN_LEN + 1]; /* as presented */

    /* headers */
    const char *idempotency_key; /* or NULL */
    uint8_t request_hash[32];    /* method, target, purpose and body */
    uint8_t key_hash[32];        /* of the Idempotency-Key */
    bool has_purpose;
    tr_uuid purpose;
    const char *if_match, *if_none_match;

    /* body */
    tr_buf raw;
    bool raw_read;
    tr_error raw_error; /* why it could not be read */
    cJSON *body;

    /* the subject in the path, and what the caller may do with it */
    bool has_subject;
    tr_uuid subject;
    tr_access access;
    bool if_open;     /* a service acts: not while the subject's data are restricted, or when it is gone */
    bool has_warrant; /* an officer acts within a data subject's request: the entry's purpose */
    tr_uuid warrant;

    /* what the handler gives */
    tr_db *db;        /* this thread's reader, with one view (tr_call_look) until the commit */
    uint64_t edition; /* of the vault, when it was authorised or before */
    tr_job_fn effect;
    void *effect_context;
    void (*after_commit)(tr_call *call); /* caches to drop */
    bool session_ends;                   /* the effect ends the caller's session: no next token */
    bool
        own_entries; /* the effect appends its audit entries itself; the request adds none when it succeeds */
    tr_event event;
    tr_uuid event_subject;
    char event_type[TR_PARAM_TEXT];
    tr_uuid event_records[TR_LIST_MAX];
    int64_t retry_after_s;
    tr_bytes sealed_outcome;    /* with no data: none is kept */
    bool outcome_names_subject; /* the outcome concerns event_subject, and goes when that subject goes */
    bool replayed;              /* the response is a stored outcome */
    bool outcome_taken;         /* another request with this Idempotency-Key was faster */
    tr_status handler_status, effect_status;
    tr_error effect_error;

    /* memory until the end of the request */
    struct tr_block *blocks;
};

/* ---- memory (call.c) ---- */
/* Zeroed memory that lives until the end of the request; `clear` (may be NULL) is called on it then. */
void *tr_call_alloc(tr_call *call, size_t size, void (*clear)(void *), tr_error *err);
void tr_call_free(tr_call *call);
/* Read the vault as it is now, until tr_call_rest: what is authorised about a subject and what is answered
 * fit together. */
tr_status tr_call_look(tr_call *call, tr_error *err);
void tr_call_rest(tr_call *call);

/* ---- what handlers use (call.c) ---- */
/* The path's n-th parameter as an id. TR_E_NOT_FOUND when it is none. */
tr_status tr_call_param_id(const tr_call *call, int n, tr_uuid *id, tr_error *err);
const char *tr_call_query(const tr_call *call, const char *name); /* or NULL */
/* A parameter that is true or false; `given` (may be NULL) says whether it is there. */
tr_status tr_call_flag(const tr_call *call, const char *name, bool *given, bool *value, tr_error *err);
/* limit and after of a list by id; *after is NULL at the beginning and points to *room else. */
tr_status tr_call_page(const tr_call *call, int *limit, tr_uuid *room, const tr_uuid **after, tr_error *err);
/* A cursor's bytes: 16 of an id, or 8 of a number. */
tr_status tr_call_cursor(const char *text, const char *where, void *bytes, size_t len, tr_error *err);
void tr_call_next(tr_buf *out, const void *bytes, size_t len); /* "next":"..." or, with NULL, null */
void tr_call_etag(tr_call *call, int64_t version);
/* Does If-Match (when sent) allow this version? TR_E_PRECONDITION. */
tr_status tr_call_if_match(const tr_call *call, int64_t version, tr_error *err);
/* True when If-None-Match names this version: the response was made a 304. */
bool tr_call_not_modified(tr_call *call, int64_t version);
/* Begin a JSON answer. */
void tr_call_json(tr_call *call, int status);
/* Location: prefix and id, then, with `b`, middle and id. */
void tr_call_location(tr_call *call, const char *prefix, const tr_uuid *a, const char *middle,
                      const tr_uuid *b);
/* Name the subject, type and record in the audit entry. */
void tr_call_concerns(tr_call *call, const tr_uuid *subject, const char *type, const tr_uuid *record);

/* ---- the steps (one file each) ---- */
tr_status tr_match_route(tr_call *call, tr_error *err);        /* match.c */
void tr_allow_header(const char *path, tr_response *response); /* match.c */
tr_status tr_take_token(tr_call *call, tr_error *err);         /* credentials.c */
void tr_give_token(tr_call *call, bool committed);             /* credentials.c */
void tr_token_headers(tr_response *response, const char *token, const char *client, int64_t expires_at,
                      const char *uid);                          /* credentials.c */
tr_status tr_read_headers(tr_call *call, tr_error *err);         /* headers.c */
tr_status tr_check_media(tr_call *call, tr_error *err);          /* headers.c */
tr_status tr_read_idempotency_key(tr_call *call, tr_error *err); /* headers.c */
/* How welcome a media type is by Accept: 0 (not at all) to 1000. */
int tr_accept_weight(const tr_call *call, const char *type); /* headers.c */
tr_status tr_read_query(tr_call *call, tr_error *err);       /* query.c */
/* Percent-decode into out[size]: well-formed UTF-8 without control characters; else false. */
bool tr_percent_decode(const char *text, size_t len, bool plus_is_space, char *out,
                       size_t size); /* query.c */
/* What request->read's -1 or -2 means. */
tr_status tr_broken_body(long n, tr_error *err);      /* body.c */
tr_status tr_read_raw_body(tr_call *call);            /* body.c; keeps its error in raw_error */
tr_status tr_read_body(tr_call *call, tr_error *err); /* body.c */
tr_status tr_name_request(tr_call *call, uint8_t name[32], tr_error *err);        /* body.c */
bool tr_is_form(const tr_call *call);                                             /* form.c */
tr_status tr_read_form(const char *text, size_t len, cJSON **out, tr_error *err); /* form.c */
tr_status tr_compile_bodies(tr_api *api, tr_error *err);                          /* body.c */
tr_status tr_authorise_role(tr_call *call, tr_error *err);                        /* authorise.c */
tr_status tr_authorise_subject(tr_call *call, tr_error *err);                     /* authorise.c */
/* Inside the commit: is the request that lets an officer act still open, the subject still open to services?
 */
tr_status tr_authorise_again(const tr_call *call, tr_db *tx, tr_error *err); /* authorise.c */
/* Commit what the handler gave, or, when it failed, only the token's end and the entry. TR_OK: the effect is
 * durable, or there was none to have; *again: somebody was faster, and the handler is to run anew.
 * call->ticket.persisted says whether the token is used up. */
tr_status tr_commit(tr_call *call, tr_status handler_status, bool *again, tr_error *err); /* commit.c */
bool tr_keeps_outcome(const tr_call *call);                                               /* outcome.c */
/* Fill the response with the stored outcome, if there is one: call->replayed. */
tr_status tr_replay(tr_call *call, tr_error *err);                  /* outcome.c */
tr_status tr_keep_outcome(tr_call *call, tr_db *tx, tr_error *err); /* outcome.c */
tr_status tr_seal_outcome(tr_call *call, tr_error *err);            /* outcome.c */
void tr_call_problem(tr_call *call, const tr_error *err);           /* problem.c */
int tr_problem_status(tr_status status);                            /* problem.c */
const char *tr_problem_title(tr_status status);                     /* problem.c */

/* Requests of one principal in a minute (rate.c). */
tr_status tr_rate_new(struct tr_rate **out, tr_error *err);
void tr_rate_free(struct tr_rate *rate);
tr_status tr_rate_take(struct tr_rate *rate, const tr_uuid *principal, int64_t per_minute, int64_t *wait_s,
                       tr_error *err);

/* The answer is a page with this style sheet in it, and nothing else is to be loaded or run there
 * (Content-Security-Policy level 2, by the sheet's hash). */
tr_status tr_call_allow_style(tr_call *call, const char *style, tr_error *err);

#endif
