/* Slows guessing down. Failed sign-ins are counted for each pair of uid and network address, known uids and
 * unknown ones alike; for each address alone (20 times the tries, for whoever tries many uids); and for each
 * uid alone (20 times, with short delays, for whoever comes from many addresses). In memory, of bounded size:
 * the oldest entries make room.
 */
#ifndef TR_VAULT_THROTTLE_H
#define TR_VAULT_THROTTLE_H

#include "vault/vault.h"

/* May this sign-in be tried now? TR_E_RATE, with *wait_s the seconds to wait. The try counts as failed until
 * tr_throttle_success() takes it back, so that n tries at once are n tries. */
tr_status tr_throttle_try(tr_vault *vault, const char *uid, const char *address, int64_t *wait_s,
                          tr_error *err);
/* A sign-in failed, or was not even tried for TR_E_RATE. *storm: it is the `storm`-th in ten minutes from
 * this network (TR_STORM_NETWORK) or for this uid (TR_STORM_NAME), bits of both; told once in ten minutes. */
enum { TR_STORM_NETWORK = 1, TR_STORM_NAME = 2 };
void tr_throttle_failed(tr_vault *vault, const char *uid, const char *address, int *storm);
void tr_throttle_success(tr_vault *vault, const char *uid, const char *address);

#endif
