/* What the vault says, in a form that anybody can check without it: a compact JWS (RFC 7515) signed with
 * Ed25519 (RFC 8037), by a key whose public half GET /v1/about gives as a JWK set (RFC 7517).
 *
 * The header is {"alg":"EdDSA","kid":...,"typ":...}: kid is the key's thumbprint (RFC 7638), and typ says
 * what kind of statement it is, so that one kind is never taken for another (RFC 8725 section 3.11). The key
 * is one of the vault's own in keys.db; it is not changed by a rotation of the master key, and comes back
 * with a restore.
 */
#ifndef TR_VAULT_PROOF_H
#define TR_VAULT_PROOF_H

#include "base/json.h"
#include "crypto/hash.h"
#include "vault/vault.h"

#define TR_TYP_RECEIPT "tresor-receipt+jws"
/* Of a package: an object whose member "files" is [{"name","size","sha256"}] (lower-case hexadecimal) of
 * every file beside manifest.json, whose bytes are signed, and manifest.jws. `tresor request verify` holds
 * the ZIP against it. */
#define TR_TYP_MANIFEST "tresor-manifest+jws"

#define TR_KID_LEN 43 /* base64url of a SHA-256 */

/* Append the JWS of exactly these bytes. `typ` is a static text without characters that JSON escapes. */
tr_status tr_proof_sign(tr_vault *vault, tr_bytes payload, const char *typ, tr_buf *jws, tr_error *err);
/* Append {"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":...,"x":...}]}. */
tr_status tr_proof_jwks(tr_vault *vault, tr_buf *out, tr_error *err);
/* The vault's id: it names the vault in what it signs, and stays the same for its life and in its restores.
 */
const tr_uuid *tr_proof_vault_id(const tr_vault *vault);

/* Append the payload of a JWS that a key of the set signed. `jwks` is a JWK set, or an object whose member
 * "signing_keys" is one; keys of other kinds in it are passed over. TR_E_MALFORMED: the text is no such JWS,
 * or is not of this typ; TR_E_NOT_FOUND: the set has no key with its kid; TR_E_CORRUPT: the signature is not
 * that key's over this text. Nothing is appended then. Needs no vault. */
tr_status tr_proof_verify(const cJSON *jwks, const char *jws, const char *typ, tr_buf *payload,
                          tr_error *err);
/* The kid that a JWS names, without a check of anything else. TR_E_MALFORMED. */
tr_status tr_proof_kid(const char *jws, char kid[TR_KID_LEN + 1], tr_error *err);

#endif
