/* The receipt of a fulfilled request: what was asked for, when, and what was done, signed (vault/proof.h), so
 * that the person and the controller can show it years later to anybody who has the public key. No personal
 * data but the subject's id, which after an erasure leads nowhere.
 *
 * {"receipt":{"vault","request","subject","kind","received_at","verified_at","extended_until","fulfilled_at",
 *  "result":{...},"articles":[...],"issued_at"},"jws":"..."}: the JWS is of exactly the bytes of the
 * receipt's object as they stand in this text.
 */
#ifndef TR_VAULT_RECEIPT_H
#define TR_VAULT_RECEIPT_H

#include "vault/proof.h"

typedef struct tr_receipt_facts {
    tr_uuid request, subject;
    tr_dsr_kind kind;
    int64_t received_at, verified_at, fulfilled_at; /* ms */
    int64_t extended_until;                         /* 0: was not extended */
    /* Counts; -1: does not apply, and is left out. */
    int64_t records, versions; /* disclosed or deleted */
    int64_t grants;            /* withdrawn */
    int64_t recipients;        /* notified (Art. 19 GDPR) */
} tr_receipt_facts;

/* Facts with nothing counted. */
#define TR_RECEIPT_FACTS_INIT                                                                                \
    ((tr_receipt_facts){.records = -1, .versions = -1, .grants = -1, .recipients = -1})

/* Append the JSON text, for tr_dsr.receipt. Quick, and may be called inside a job. The same facts give other
 * bytes each time (issued_at). */
tr_status tr_receipt_make(tr_vault *vault, const tr_receipt_facts *facts, tr_buf *out, tr_error *err);

/* Check a receipt's text with a JWK set (as tr_proof_verify): its signature, and that the object beside it
 * says the same. Other members than "receipt" and "jws" are passed over. *receipt is what was signed
 * (cJSON_Delete). TR_E_MALFORMED: no receipt; TR_E_NOT_FOUND: no such key; TR_E_CORRUPT: altered. Needs no
 * vault. */
tr_status tr_receipt_verify(const cJSON *jwks, const char *text, size_t len, cJSON **receipt, tr_error *err);

#endif
