/* The session file of `tresor token` and `tresor call`: where the chain of single-use tokens is kept between
 * two calls.
 *
 * One JSON object, 0600: "url", "ca" (absent: the system's authorities), "uid", "client", "access-token",
 * "expiry", and "pending" while a call's answer is not seen. It is replaced whole and synced before a token
 * is used and before an answer is shown, so that neither a killed process nor a power cut breaks the chain. A
 * lock file beside it lets one call run at a time; the others wait.
 */
#ifndef TR_CLI_SESSION_H
#define TR_CLI_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tr_cli_session tr_cli_session;

/* The members. A session without TR_SESSION_TOKEN is signed out. */
#define TR_SESSION_URL    "url"
#define TR_SESSION_CA     "ca"
#define TR_SESSION_UID    "uid"
#define TR_SESSION_CLIENT "client"
#define TR_SESSION_TOKEN  "access-token"
#define TR_SESSION_EXPIRY "expiry"

/* A call that was sent and whose answer was not seen. */
typedef struct tr_cli_pending {
    bool open;           /* it was sent with the token that the file still has: that one may be dead */
    const char *key;     /* its Idempotency-Key */
    const char *request; /* SHA-256, hex, of all that makes it this request */
    const char *method;
    const char *path;
    const char *purpose; /* NULL: none */
    int64_t at;          /* ms */
} tr_cli_pending;

/* The file's name: `given`, else TRESOR_SESSION, else .tresor-session in the home folder. */
tr_status tr_cli_session_path(const char *given, char *path, size_t size, tr_error *err);
/* Wait for the lock and read the file; a missing one gives an empty session. TR_E_CONFIG: others may read it,
 * or it is not a session. */
tr_status tr_cli_session_open(const char *path, tr_cli_session **out, tr_error *err);
/* Wipe, and let the next one in. NULL is fine. Saves nothing. */
void tr_cli_session_close(tr_cli_session *session);

/* NULL when absent; valid until the member is set. */
const char *tr_cli_session_get(const tr_cli_session *session, const char *name);
/* NULL takes it out. */
tr_status tr_cli_session_set(tr_cli_session *session, const char *name, const char *value, tr_error *err);
/* False when there is none; texts valid until it is set. */
bool tr_cli_session_pending(const tr_cli_session *session, tr_cli_pending *pending);
tr_status tr_cli_session_set_pending(tr_cli_session *session, const tr_cli_pending *pending, tr_error *err);

tr_status tr_cli_session_save(const tr_cli_session *session, tr_error *err);
/* Remove the file and forget all. */
tr_status tr_cli_session_remove(tr_cli_session *session, tr_error *err);

#endif
