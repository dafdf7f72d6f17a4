/* What scrypt (RFC 7914, r = 8, p = 1) costs where a passphrase or a password is taken for the first time: N
 * as a power of two. What is stored carries its own cost, so these can rise. A table of its own, so that
 * tests/quick can link another one: no setting and no variable lowers it in what is shipped. */
#ifndef TR_CRYPTO_KDF_COST_H
#define TR_CRYPTO_KDF_COST_H

typedef struct {
    unsigned keyring_ln;  /* the file provider's passphrase */
    unsigned password_ln; /* a principal's password */
} tr_kdf_costs;

extern const tr_kdf_costs tr_kdf_cost;

#endif
