#include "crypto/kdf_cost.h"

const tr_kdf_costs tr_kdf_cost = {
    .keyring_ln = 17,  /* 128 MiB, about 0.4 s */
    .password_ln = 15, /* 32 MiB, about 0.1 s */
};
