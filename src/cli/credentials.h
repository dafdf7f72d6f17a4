/* A credentials file: the JSON that `tresor init` prints ({"operator":{"uid","password"},...}), or one object
 * with "uid" and "password" (what POST /v1/principals answers). Other members stay as they are, but for
 * "password_initial", which becomes false.
 *
 * A new password is written beside the old one ("new_password") before the server is asked to take it, and
 * takes its place after: whatever breaks in between, one of the two in the file is the valid one.
 */
#ifndef TR_CLI_CREDENTIALS_H
#define TR_CLI_CREDENTIALS_H

#include "base/status.h"

typedef struct tr_credentials tr_credentials;

/* `uid` NULL: the only one in the file. Holds a lock on the file's folder until it is closed. */
tr_status tr_credentials_open(const char *path, const char *uid, tr_credentials **out, tr_error *err);
/* Wipes. NULL is fine. */
void tr_credentials_close(tr_credentials *credentials);

const char *tr_credentials_uid(const tr_credentials *credentials);
const char *tr_credentials_password(const tr_credentials *credentials);
/* The one that a change which was not finished may have set, or NULL. */
const char *tr_credentials_new_password(const tr_credentials *credentials);
/* Write it into the file beside the valid one. */
tr_status tr_credentials_propose(tr_credentials *credentials, const char *new_password, tr_error *err);
/* The new one is the valid one. */
tr_status tr_credentials_settle(tr_credentials *credentials, tr_error *err);

#endif
