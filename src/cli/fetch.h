/* One GET without a session: what a server says to anybody. */
#ifndef TR_CLI_FETCH_H
#define TR_CLI_FETCH_H

#include "cli/client.h"

/* Append the answer's body; TR_E_TOO_LARGE when it has more than `most` bytes. *status is the answer's. */
tr_status tr_fetch(const tr_client_options *server, const char *path, size_t most, tr_buf *text, long *status,
                   tr_error *err);

#endif
