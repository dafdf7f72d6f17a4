/* What a token looks like: base64url of 32 random bytes and a MAC of the client and of them (HMAC-SHA256, RFC
 * 2104, its first 16 bytes). By the MAC a vault recognises its own older tokens without a list of them. Only
 * a token's SHA-256 is stored. */
#ifndef TR_VAULT_TOKEN_FORM_H
#define TR_VAULT_TOKEN_FORM_H

#include "vault/tokens.h"

/* A client's name as this vault makes them: TR_CLIENT_LEN characters of base64url. */
bool tr_token_client_form(const char *client);
tr_status tr_token_hash(const char *token, uint8_t hash[32], tr_error *err);
/* A fresh one, and its hash. The wipe of `token` is the caller's. */
tr_status tr_token_make(const tr_secret *key, const char *client, char token[TR_TOKEN_LEN + 1],
                        uint8_t hash[32], tr_error *err);
/* Was it once made with this key for this client? */
bool tr_token_is_ours(const tr_secret *key, const char *client, const char *token);

#endif
