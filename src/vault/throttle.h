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
void tr_throttle_success(tr_vault *vault, const char *uid, const char *address);

#endif
