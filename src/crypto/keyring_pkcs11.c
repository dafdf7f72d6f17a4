/* The PKCS#11 provider: master keys are made inside an HSM and never leave it; the HSM wraps and unwraps.
 *
 * In the document: "pkcs11":{"module":PATH,"token":LABEL,"ring":HEX} and, in a master key's entry, "id":HEX.
 * `ring` is 16 random bytes, the CKA_ID of the key that seals; a master key's CKA_ID is `ring`, its version
 * (4 bytes) and 8 random bytes: a ring that was put back from an older copy makes new keys and leaves those
 * of the newer one alone.
 *
 * The seal is the HSM's HMAC-SHA-256 over the document's SHA-256. Its key is in the HSM as the master keys
 * are: else it would be the one secret by which somebody could change the document without the HSM.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keyring_pkcs11.h"

#define RING_LEN   16
#define RANDOM_LEN 8
#define ID_LEN     (RING_LEN + 4 + RANDOM_LEN)
#define MODULE_MAX (sizeof((tr_keyring_need){0}.pkcs11_module) - 1)

typedef struct master {
    uint32_t version;
    tr_p11_key key;
} master;

typedef struct hsm {
    char module[MODULE_MAX + 1];
    char label[TR_P11_LABEL_MAX + 1];
    tr_p11_token *token;
    CK_MECHANISM_TYPE wrap;
    tr_p11_key seal;
    master masters[TR_MASTERS_MAX];
    size_t count;
} hsm;

static tr_status damaged(tr_error *err) {
    return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged");
}

/* ---- opening ---- */

static void close_hsm(void *self) {
    hsm *state = self;
    if (state->token)
        tr_p11_token_close(state->token);
    free(state);
}

static bool take_names(hsm *state, const char *module, const char *label) {
    size_t len = label ? strlen(label) : 0;
    if (!module || module[0] != '/' || strlen(module) > MODULE_MAX || len == 0 || len > TR_P11_LABEL_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)label[i] < ' ' || label[i] == 0x7f)
            return false;
    }
    memcpy(state->module, module, strlen(module) + 1);
    memcpy(state->label, label, len + 1);
    return true;
}

static tr_status connect_hsm(hsm *state, const tr_secret *pin, tr_error *err) {
    if (!pin || pin->len == 0)
        return tr_fail(err, TR_E_CONFIG, state->label, "the token's PIN is missing");
    tr_status st = tr_p11_token_open(state->module, state->label, pin, &state->token, err);
    return st == TR_OK ? tr_p11_choose(state->token, &state->wrap, err) : st;
}

static void ring_label(const hsm *state, const char *suffix, char *out, size_t room) {
    char hex[2 * RING_LEN + 1];
    tr_hex_encode(state->seal.id, RING_LEN, hex);
    (void)snprintf(out, room, "tresor-%s-%s", hex, suffix);
}

static tr_status create(const tr_keyring_spec *spec, void **self, tr_error *err) {
    char label[96];
    hsm *state = calloc(1, sizeof *state);
    tr_status st = TR_OK;
    *self = NULL;
    if (!state)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (!take_names(state, spec->pkcs11_module, spec->pkcs11_token))
        TR_TRY(tr_fail(
            err, TR_E_CONFIG, NULL,
            "an HSM needs its PKCS#11 module's path, from / on, and its token's label, up to %d bytes",
            TR_P11_LABEL_MAX));
    TR_TRY(connect_hsm(state, spec->passphrase, err));
    state->seal.id_len = RING_LEN;
    TR_TRY(tr_random(state->seal.id, RING_LEN, err));
    ring_label(state, "seal", label, sizeof label);
    TR_TRY(tr_p11_generate(state->token, &state->seal, true, label, err));
    *self = state;
    state = NULL;
out:
    if (state)
        close_hsm(state);
    return st;
}

/* The ring was never saved. What the token cannot destroy now stays there, and nobody will need it. */
static void discard(void *self) {
    hsm *state = self;
    for (size_t i = 0; i < state->count; i++)
        (void)tr_p11_destroy(state->token, &state->masters[i].key, NULL);
    (void)tr_p11_destroy(state->token, &state->seal, NULL);
    close_hsm(state);
}

static bool read_id(const cJSON *object, const char *name, size_t len, tr_p11_key *key) {
    const char *hex = tr_json_string(object, name);
    key->id_len = len;
    return hex && strlen(hex) == 2 * len && tr_hex_decode(hex, 2 * len, key->id, len);
}

static tr_status open_hsm(const cJSON *document, const tr_secret *pin, void **self, tr_error *err) {
    const cJSON *own = tr_json_member(document, "pkcs11");
    hsm *state = calloc(1, sizeof *state);
    tr_status st = TR_OK;
    *self = NULL;
    if (!state)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (!own || !take_names(state, tr_json_string(own, "module"), tr_json_string(own, "token")) ||
        !read_id(own, "ring", RING_LEN, &state->seal))
        TR_TRY(damaged(err));
    TR_TRY(connect_hsm(state, pin, err));
    *self = state;
    state = NULL;
out:
    if (state)
        close_hsm(state);
    return st;
}

static tr_status need(const cJSON *document, tr_keyring_need *out, tr_error *err) {
    const cJSON *own = tr_json_member(document, "pkcs11");
    hsm *state = calloc(1, sizeof *state);
    tr_status st = TR_OK;
    if (!state)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (!own || !take_names(state, tr_json_string(own, "module"), tr_json_string(own, "token"))) {
        st = damaged(err);
    } else {
        memcpy(out->pkcs11_module, state->module, sizeof state->module);
        memcpy(out->pkcs11_token, state->label, sizeof state->label);
    }
    free(state);
    return st;
}

/* ---- master keys ---- */

static tr_status full(tr_error *err) {
    return tr_fail(err, TR_E_INTERNAL, NULL, "the keyring has too many master keys");
}

static tr_status gone(tr_status st, CK_RV rv, const hsm *state, uint32_t version, tr_error *err) {
    if (rv != TR_P11_NO_KEY)
        return st;
    return tr_fail(err, TR_E_HSM, state->label, "the token has no master key of version %u of this keyring",
                   (unsigned)version);
}

/* A key that the token cannot wrap with must not become anybody's master. */
static tr_status prove(const hsm *state, tr_p11_key *key, tr_error *err) {
    tr_secret sample = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_buf wrapped = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_secret_random(&sample, TR_MASTER_LEN, err));
    TR_TRY(tr_p11_wrap(state->token, state->wrap, key, &sample, &wrapped, NULL, err));
    TR_TRY(tr_p11_unwrap(state->token, state->wrap, key, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL,
                         err));
    if (back.len != sample.len || !tr_equal_ct(back.data, sample.data, sample.len))
        st = TR_E_CORRUPT;
out:
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, TR_E_HSM, state->label, "the token does not unwrap what it wrapped");
    tr_secret_clear(&sample);
    tr_secret_clear(&back);
    tr_buf_clear(&wrapped);
    return st;
}

static tr_status new_master(void *self, uint32_t version, tr_error *err) {
    hsm *state = self;
    char suffix[16], label[96];
    if (state->count == TR_MASTERS_MAX)
        return full(err);
    master *fresh = &state->masters[state->count];
    uint8_t *id = fresh->key.id;
    memset(fresh, 0, sizeof *fresh);
    fresh->version = version;
    fresh->key.id_len = ID_LEN;
    memcpy(id, state->seal.id, RING_LEN);
    for (size_t i = 0; i < 4; i++)
        id[RING_LEN + i] = (uint8_t)(version >> (24 - 8 * i));
    tr_status st = tr_random(id + RING_LEN + 4, RANDOM_LEN, err);
    (void)snprintf(suffix, sizeof suffix, "v%u", (unsigned)version);
    ring_label(state, suffix, label, sizeof label);
    if (st == TR_OK)
        st = tr_p11_generate(state->token, &fresh->key, false, label, err);
    if (st != TR_OK)
        return st;
    st = prove(state, &fresh->key, err);
    if (st == TR_OK)
        state->count++;
    else
        (void)tr_p11_destroy(state->token, &fresh->key, NULL);
    return st;
}

static tr_status load_master(void *self, uint32_t version, const cJSON *entry, tr_error *err) {
    hsm *state = self;
    CK_RV rv = CKR_OK;
    if (state->count == TR_MASTERS_MAX)
        return full(err);
    master *found = &state->masters[state->count];
    found->version = version;
    if (!read_id(entry, "id", ID_LEN, &found->key))
        return damaged(err);
    tr_status st = tr_p11_find(state->token, &found->key, &rv, err);
    if (st == TR_OK)
        state->count++;
    return gone(st, rv, state, version, err);
}

/* The newest is what is asked for most. */
static master *find(hsm *state, uint32_t version, tr_error *err) {
    for (size_t i = state->count; i-- > 0;) {
        if (state->masters[i].version == version)
            return &state->masters[i];
    }
    (void)tr_fail(err, TR_E_NOT_FOUND, NULL, "the keyring has no master key of version %u",
                  (unsigned)version);
    return NULL;
}

static tr_status destroy_master(void *self, uint32_t version, tr_error *err) {
    hsm *state = self;
    master *old = find(state, version, NULL);
    if (!old)
        return TR_OK;
    tr_status st = tr_p11_destroy(state->token, &old->key, err);
    if (st == TR_OK) {
        size_t after = state->count - (size_t)(old - state->masters) - 1;
        memmove(old, old + 1, after * sizeof *old);
        state->count--;
    }
    return st;
}

/* ---- the document ---- */

static tr_status describe(void *self, cJSON *document, tr_error *err) {
    const hsm *state = self;
    char ring[2 * RING_LEN + 1];
    cJSON *own = cJSON_AddObjectToObject(document, "pkcs11");
    tr_hex_encode(state->seal.id, RING_LEN, ring);
    if (!own || !cJSON_AddStringToObject(own, "module", state->module) ||
        !cJSON_AddStringToObject(own, "token", state->label) || !cJSON_AddStringToObject(own, "ring", ring))
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    return TR_OK;
}

static tr_status describe_master(void *self, uint32_t version, cJSON *entry, tr_error *err) {
    const master *known = find(self, version, err);
    char id[2 * ID_LEN + 1];
    if (!known)
        return TR_E_NOT_FOUND;
    tr_hex_encode(known->key.id, ID_LEN, id);
    if (!cJSON_AddStringToObject(entry, "id", id))
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    return TR_OK;
}

/* ---- use ---- */

static tr_status wrap(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped, tr_error *err) {
    hsm *state = self;
    master *known = find(state, version, err);
    CK_RV rv = CKR_OK;
    if (!known)
        return TR_E_NOT_FOUND;
    tr_status st = tr_p11_wrap(state->token, state->wrap, &known->key, key, wrapped, &rv, err);
    return gone(st, rv, state, version, err);
}

static tr_status unwrap(void *self, uint32_t version, tr_bytes wrapped, tr_secret *key, tr_error *err) {
    hsm *state = self;
    master *known = find(state, version, err);
    CK_RV rv = CKR_OK;
    if (!known)
        return TR_E_NOT_FOUND;
    tr_status st = tr_p11_unwrap(state->token, state->wrap, &known->key, wrapped, key, &rv, err);
    return gone(st, rv, state, version, err);
}

static tr_status seal(void *self, tr_bytes text, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    hsm *state = self;
    uint8_t hash[TR_SHA256_LEN];
    CK_RV rv = CKR_OK;
    tr_status st = tr_sha256(&text, 1, hash, err);
    if (st == TR_OK)
        st = tr_p11_mac(state->token, &state->seal, hash, out, &rv, err);
    if (rv == TR_P11_NO_KEY)
        st = tr_fail(err, TR_E_HSM, state->label, "the token has no key for this keyring's seal");
    return st;
}

const tr_keyring_provider tr_keyring_pkcs11_provider = {
    .name = "pkcs11",
    .unlocker = "PIN",
    .external = true,
    .create = create,
    .open = open_hsm,
    .close = close_hsm,
    .discard = discard,
    .need = need,
    .new_master = new_master,
    .load_master = load_master,
    .destroy_master = destroy_master,
    .describe = describe,
    .describe_master = describe_master,
    .wrap = wrap,
    .unwrap = unwrap,
    .seal = seal,
};
