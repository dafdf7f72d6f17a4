/* One person's share of a split keyring, and its text. Shared by the keyring_*.c files only.
 *
 * The text is for paper and for reading aloud: "S02K03" (share 2, three are needed), then 18 groups of four
 * characters of Crockford's base32 (no I, L, O, U): the ring's id, the value, and a check of 40 bits over all
 * of them, so that a mistyped share is told from one of another ring. Reading takes small letters, O for 0, I
 * and L for 1, and any spaces, hyphens and line ends.
 */
#ifndef TR_CRYPTO_KEYRING_SHARE_H
#define TR_CRYPTO_KEYRING_SHARE_H

#include "base/secret.h"
#include "crypto/keyring.h"

#define TR_SHARE_ID_LEN    8
#define TR_SHARE_VALUE_LEN 32
#define TR_SHARE_TEXT_LEN  (6 + 18 * 5)

typedef struct tr_share {
    int number, threshold;
    uint8_t ring[TR_SHARE_ID_LEN];
    tr_secret value;
} tr_share;

tr_status tr_share_print(const tr_share *share, tr_secret *text, tr_error *err);
/* TR_E_CONFIG when it is no share, or mistyped. share->value is TR_SECRET_INIT before, and is to be cleared.
 */
tr_status tr_share_parse(const tr_secret *text, tr_share *share, tr_error *err);
/* What the ring keeps of a share, by which it knows a made-up one: a MAC with the value as its key, which
 * says nothing of use about a value of 256 random bits. */
tr_status tr_share_mark(const tr_share *share, uint8_t mark[TR_SHA256_LEN], tr_error *err);

#endif
