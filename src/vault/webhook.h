/* A notice as a webhook: Standard Webhooks 1.0.0 (standardwebhooks.com), symmetric signatures.
 *
 *   webhook-id         the notice's id: the same at every try, so that a receiver can remove duplicates by it
 *   webhook-timestamp  unix seconds of the try
 *   webhook-signature  "v1," and the base64 of HMAC-SHA-256(secret, id "." timestamp "." body)
 */
#ifndef TR_VAULT_WEBHOOK_H
#define TR_VAULT_WEBHOOK_H

#include "store/store.h"

#define TR_WEBHOOK_SECRET_LEN 32 /* the standard asks for 24 to 64 */
#define TR_WEBHOOK_SIGNATURE  48 /* "v1,", 44 characters, NUL */

tr_status tr_webhook_sign(const tr_secret *secret, const char *id, int64_t timestamp, tr_bytes body,
                          char out[TR_WEBHOOK_SIGNATURE], tr_error *err);
/* "whsec_" and the secret's base64. The caller wipes it. */
void tr_webhook_secret_text(const tr_secret *secret, tr_buf *out);
/* {"type":"tresor.KIND","timestamp","data":{"notice","subject","request","details"}}, appended: ids, and
 * the row's doc. */
tr_status tr_webhook_body(const tr_notice *notice, tr_buf *out, tr_error *err);

#endif
