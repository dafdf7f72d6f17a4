/* Status codes and error details: the one way a Tresor function reports failure.
 *
 * Every function that can fail returns a tr_status. Its last parameter is a tr_error *, which may be NULL; on
 * failure it says what went wrong and where. Neither text ever holds personal data, tokens, keys or
 * passwords: texts are written for logs and for problem documents (RFC 9457) alike.
 */
#ifndef TR_BASE_STATUS_H
#define TR_BASE_STATUS_H

/* X(name, slug): the slug is the stable name in logs and the last part of a problem document's `type`. */
#define TR_STATUS_TABLE(X)                                                                                   \
    X(TR_OK, "ok")                                                                                           \
    X(TR_STOP, "stop") /* a callback has seen enough: ends a list, is no failure */                          \
    /* the request is wrong */                                                                               \
    X(TR_E_MALFORMED, "malformed-body")         /* not JSON, not UTF-8, duplicate key, too deep */           \
    X(TR_E_BAD_REQUEST, "bad-request")          /* header, query or path parameter */                        \
    X(TR_E_VALIDATION, "validation-failed")     /* well-formed, but against the schema */                    \
    X(TR_E_NO_TOKEN, "authentication-required") /* no credentials at all */                                  \
    X(TR_E_TOKEN_INVALID, "token-invalid")      /* unknown, expired, revoked */                              \
    X(TR_E_TOKEN_SUPERSEDED, "token-superseded")                                                             \
    X(TR_E_TOKEN_REUSED, "token-reused") /* the session has been revoked */                                  \
    X(TR_E_CREDENTIALS, "invalid-credentials")                                                               \
    X(TR_E_FORBIDDEN, "forbidden")      /* the role may not do this at all */                                \
    X(TR_E_NO_GRANT, "no-grant")        /* a service without a live grant for it */                          \
    X(TR_E_PURPOSE, "purpose-required") /* Access-Purpose missing or not a live activity */                  \
    X(TR_E_PASSWORD_INITIAL, "password-change-required")                                                     \
    X(TR_E_NOT_FOUND, "not-found")                                                                           \
    X(TR_E_METHOD, "method-not-allowed")                                                                     \
    X(TR_E_NOT_ACCEPTABLE, "not-acceptable")                                                                 \
    X(TR_E_CONFLICT, "conflict")                                                                             \
    X(TR_E_IN_PROGRESS, "request-in-progress") /* same Idempotency-Key is running */                         \
    X(TR_E_RESTRICTED, "subject-restricted")                                                                 \
    X(TR_E_HOLD, "legal-hold") /* one stands, and is named */                                                \
    X(TR_E_PRECONDITION, "precondition-failed")                                                              \
    X(TR_E_TOO_LARGE, "content-too-large")                                                                   \
    X(TR_E_MEDIA_TYPE, "unsupported-media-type")                                                             \
    X(TR_E_IDEMPOTENCY, "idempotency-key-reused")                                                            \
    X(TR_E_RATE, "rate-limited")                                                                             \
    X(TR_E_HEADERS, "headers-too-large")                                                                     \
    X(TR_E_TIMEOUT, "request-timeout")                                                                       \
    /* the vault is in trouble */                                                                            \
    X(TR_E_BUSY, "overloaded")                                                                               \
    X(TR_E_DRAINING, "shutting-down")                                                                        \
    X(TR_E_DISK_FULL, "storage-full")                                                                        \
    X(TR_E_IO, "storage-error")                                                                              \
    X(TR_E_CORRUPT, "storage-corrupt") /* a page, a seal or a chain does not verify */                       \
    X(TR_E_WRONG_KEY, "wrong-key")     /* passphrase or key does not open it */                              \
    X(TR_E_CONFIG, "configuration")                                                                          \
    X(TR_E_EXISTS, "already-exists")                                                                         \
    X(TR_E_LOCKED, "locked")         /* another process holds the data folder */                             \
    X(TR_E_HSM, "hsm-unavailable")   /* the module or token that keeps the keys is missing or fails */       \
    X(TR_E_SHARES, "too-few-shares") /* of a keyring that several people open together */                    \
    X(TR_E_NOMEM, "out-of-memory")                                                                           \
    X(TR_E_INTERNAL, "internal-error")

typedef enum tr_status {
#define TR_STATUS_ENUM(name, slug) name,
    TR_STATUS_TABLE(TR_STATUS_ENUM)
#undef TR_STATUS_ENUM
        TR_STATUS_COUNT
} tr_status;

typedef struct tr_error {
    tr_status status;
    char what[240];  /* an English sentence without personal data */
    char where[160]; /* a JSON Pointer (RFC 6901), a header's name, a file's name; may be empty */
} tr_error;

/* The stable slug of a status; "internal-error" for a value outside the table. */
const char *tr_status_slug(tr_status status);

/* Fill *err (if not NULL) and return `status`, so that a caller writes `return tr_fail(...)`. `where` may be
 * NULL. */
tr_status tr_fail(tr_error *err, tr_status status, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* As tr_fail for a failed system call: names `what_failed` and errno's text; ENOSPC and EDQUOT give
 * TR_E_DISK_FULL, ENOMEM gives TR_E_NOMEM, all else TR_E_IO. */
tr_status tr_fail_errno(tr_error *err, const char *where, const char *what_failed);

/* Run `expr`; on failure keep its status in the local `st` and go to `out`. */
#define TR_TRY(expr)                                                                                         \
    do {                                                                                                     \
        st = (expr);                                                                                         \
        if (st != TR_OK)                                                                                     \
            goto out;                                                                                        \
    } while (0)

#endif
