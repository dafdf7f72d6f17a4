#include "vault/token_form.h"

#include <string.h>

#include "base/encode.h"
#include "crypto/hash.h"

#define RANDOM_LEN 32
#define MAC_LEN    16

bool tr_token_client_form(const char *client) {
    uint8_t bytes[16];
    size_t n = sizeof bytes;
    return strlen(client) == TR_CLIENT_LEN && tr_base64url_decode(client, TR_CLIENT_LEN, bytes, &n);
}

tr_status tr_token_hash(const char *token, uint8_t hash[32], tr_error *err) {
    const tr_bytes part = {token, strlen(token)};
    return tr_sha256(&part, 1, hash, err);
}

static tr_status token_mac(const tr_secret *key, const char *client, const uint8_t random[RANDOM_LEN],
                           uint8_t mac[32], tr_error *err) {
    const tr_bytes parts[2] = {{client, TR_CLIENT_LEN}, {random, RANDOM_LEN}};
    return tr_hmac_sha256(key, parts, 2, mac, err);
}

tr_status tr_token_make(const tr_secret *key, const char *client, char token[TR_TOKEN_LEN + 1],
                        uint8_t hash[32], tr_error *err) {
    uint8_t bytes[RANDOM_LEN + MAC_LEN], mac[32];
    tr_status st = tr_random(bytes, RANDOM_LEN, err);
    if (st == TR_OK)
        st = token_mac(key, client, bytes, mac, err);
    if (st == TR_OK) {
        memcpy(bytes + RANDOM_LEN, mac, MAC_LEN);
        tr_base64url_encode(bytes, sizeof bytes, token);
        st = tr_token_hash(token, hash, err);
    }
    tr_wipe(bytes, sizeof bytes);
    return st;
}

bool tr_token_is_ours(const tr_secret *key, const char *client, const char *token) {
    uint8_t bytes[RANDOM_LEN + MAC_LEN], mac[32];
    size_t n = sizeof bytes;
    return tr_base64url_decode(token, strlen(token), bytes, &n) && n == sizeof bytes &&
           token_mac(key, client, bytes, mac, NULL) == TR_OK && tr_equal_ct(mac, bytes + RANDOM_LEN, MAC_LEN);
}
