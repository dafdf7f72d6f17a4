/* Unsealing a server whose keyring several people open together: each sends a share over a Unix socket in the
 * data folder.
 *
 * DIR/unseal.sock, mode 0600. One connection brings one share, as text, and gets one line of JSON:
 * {"accepted":true,"number":2,"given":1,"missing":1} or
 * {"accepted":false,"status":"wrong-key","reason":"...","given":1, "missing":1}. A share that is refused
 * changes nothing.
 */
#ifndef TR_CLI_UNSEAL_H
#define TR_CLI_UNSEAL_H

#include <signal.h>
#include <sys/un.h>

#include "base/config.h"
#include "base/secret.h"
#include "crypto/keyring.h"

#define TR_UNSEAL_SOCKET    "unseal.sock"
#define TR_UNSEAL_BY        96  /* room for the numbers of all shares */
#define TR_UNSEAL_SHARE_MAX 512 /* bytes of a share's text */

/* The socket's address. The folder's name may be longer than an address takes, so the address goes through
 * `*folder`, a descriptor to be closed when the address is not needed any more (-1: none). */
tr_status tr_unseal_address(const tr_config *config, struct sockaddr_un *address, int *folder, tr_error *err);

/* Wait, as long as it takes, for the shares that open the keyring; *opened_by is then which they were
 * ("shares 1, 3"). `signals` are blocked; SIGTERM and SIGINT end the wait, and *stopped is which. The caller
 * holds the folder's lock. */
tr_status tr_unseal_wait(const tr_config *config, const tr_keyring_need *need, const sigset_t *signals,
                         tr_secret *passphrase, char opened_by[TR_UNSEAL_BY], int *stopped, tr_error *err);

#endif
