/* tresor-quick is tresor with this table of costs: starting and signing in take no time, and hundreds of
 * tests do it. */
#include "crypto/kdf_cost.h"

const tr_kdf_costs tr_kdf_cost = {.keyring_ln = 8, .password_ln = 8};
