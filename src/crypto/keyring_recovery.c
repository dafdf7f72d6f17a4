/* The recovery file: what the ring knows, with its master keys encrypted (HPKE, RFC 9180) to a public key
 * whose private key lies offline.
 *   {"format":"tresor-recovery-1", "current", "masters", "keys", "recovery": as in the keyring,
 *    "sealed":"<enc | ciphertext: the master keys, 32 bytes each, in the order of `masters`>",
 *    "checksum":"<as in the keyring>"}
 * The associated data is the sorted JSON without `sealed` and `checksum`. Whoever has the public key can make
 * such a file, but not one that holds a key of this vault: a forged one opens nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keyring_internal.h"

#define FORMAT "tresor-recovery-1"
#define SUFFIX ".recovery"

static const tr_bytes info = {FORMAT, sizeof FORMAT - 1};

/* ---- writing ---- */

static tr_status export_masters(const tr_keyring *ring, const tr_ring_state *state, tr_secret *plain,
                                tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = tr_secret_alloc(plain, state->master_count * TR_MASTER_LEN, err);
    for (size_t i = 0; st == TR_OK && i < state->master_count; i++) {
        st = ring->provider->export_master(ring->self, state->masters[i].version, &key, err);
        if (st == TR_OK && key.len != TR_MASTER_LEN)
            st = tr_fail(err, TR_E_INTERNAL, NULL, "a master key has another length");
        if (st == TR_OK)
            memcpy(plain->data + i * TR_MASTER_LEN, key.data, TR_MASTER_LEN);
    }
    tr_secret_clear(&key);
    return st;
}

static tr_status add_sealed(cJSON *document, tr_bytes sealed, tr_error *err) {
    char *text = malloc(TR_BASE64URL_LEN(sealed.len) + 1);
    if (!text)
        return tr_ring_no_memory(err);
    tr_base64url_encode(sealed.data, sealed.len, text);
    const cJSON *added = cJSON_AddStringToObject(document, "sealed", text);
    free(text);
    return added ? TR_OK : tr_ring_no_memory(err);
}

static tr_status print_recovery(const tr_keyring *ring, const tr_ring_state *state, tr_buf *text,
                                tr_error *err) {
    tr_secret plain = TR_SECRET_INIT;
    tr_buf ad = TR_BUF_INIT, sealed = TR_BUF_INIT;
    tr_status st = TR_OK;
    cJSON *document = cJSON_CreateObject();
    if (!document || !cJSON_AddStringToObject(document, "format", FORMAT))
        TR_TRY(tr_ring_no_memory(err));
    TR_TRY(tr_document_add_state(document, state, NULL, err));
    TR_TRY(tr_json_print_sorted(document, &ad, err));
    TR_TRY(export_masters(ring, state, &plain, err));
    TR_TRY(tr_hpke_seal(state->recovery, info, (tr_bytes){ad.data, ad.len}, (tr_bytes){plain.data, plain.len},
                        &sealed, err));
    TR_TRY(add_sealed(document, (tr_bytes){sealed.data, sealed.len}, err));
    st = tr_document_print(document, text, err);
out:
    cJSON_Delete(document);
    tr_secret_clear(&plain);
    tr_buf_clear(&ad);
    tr_buf_clear(&sealed);
    return st;
}

tr_status tr_ring_save_recovery(const tr_keyring *ring, const tr_ring_state *state, tr_error *err) {
    tr_buf path = TR_BUF_INIT, text = TR_BUF_INIT;
    bool published;
    tr_status st = TR_OK;
    if (!state->has_recovery)
        return TR_OK;
    tr_buf_puts(&path, ring->path);
    tr_buf_puts(&path, SUFFIX);
    TR_TRY(tr_buf_ok(&path, err));
    TR_TRY(print_recovery(ring, state, &text, err));
    st = tr_private_write(path.data, (tr_bytes){text.data, text.len}, true, &published, err);
out:
    tr_buf_clear(&path);
    tr_buf_clear(&text);
    return st;
}

/* ---- reading ---- */

static tr_status damaged(const char *path, tr_error *err) {
    return tr_fail(err, TR_E_CORRUPT, path, "the recovery file is damaged");
}

/* Take "sealed" out of the document: the rest is the associated data. */
static tr_status take_sealed(cJSON *document, tr_buf *sealed, tr_error *err) {
    cJSON *member = cJSON_DetachItemFromObjectCaseSensitive(document, "sealed");
    bool good = cJSON_IsString(member) &&
                tr_base64_decode_any(member->valuestring, strlen(member->valuestring), sealed);
    cJSON_Delete(member);
    return good ? tr_buf_ok(sealed, err) : damaged(NULL, err);
}

/* Does the private key belong to what the file is encrypted to? Else a key that does not open it would be
 * taken for damage. */
static tr_status check_key(const tr_secret *private_key, const tr_ring_state *state, tr_error *err) {
    uint8_t public_key[TR_HPKE_KEY_LEN];
    tr_status st = tr_hpke_public(private_key, public_key, err);
    if (st == TR_OK && memcmp(public_key, state->recovery, TR_HPKE_KEY_LEN) != 0)
        st = tr_fail(err, TR_E_WRONG_KEY, NULL, "the recovery file is for another recovery key");
    return st;
}

/* The state and, one after the other, the master keys. */
static tr_status read_recovery(const char *path, const tr_secret *private_key, tr_ring_state *state,
                               tr_secret *plain, tr_error *err) {
    cJSON *document = NULL;
    tr_buf text = TR_BUF_INIT, ad = TR_BUF_INIT, sealed = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_private_read(path, TR_KEYRING_MAX, &text, err));
    TR_TRY(tr_document_read((tr_bytes){text.data, text.len}, FORMAT, &document, err));
    TR_TRY(take_sealed(document, &sealed, err));
    TR_TRY(tr_json_print_sorted(document, &ad, err));
    TR_TRY(tr_document_load_state(state, document, err));
    TR_TRY(check_key(private_key, state, err));
    st = tr_hpke_open(private_key, info, (tr_bytes){ad.data, ad.len}, (tr_bytes){sealed.data, sealed.len},
                      plain, err);
    if (st == TR_E_WRONG_KEY || (st == TR_OK && plain->len != state->master_count * TR_MASTER_LEN))
        st = TR_E_CORRUPT;
out:
    if (st == TR_E_CORRUPT)
        st = damaged(path, err);
    cJSON_Delete(document);
    tr_buf_clear(&text);
    tr_buf_clear(&ad);
    tr_buf_clear(&sealed);
    return st;
}

/* ---- recovering ---- */

static tr_status import_masters(tr_keyring *ring, const tr_secret *plain, tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < ring->state->master_count; i++) {
        st = tr_secret_copy(&key, plain->data + i * TR_MASTER_LEN, TR_MASTER_LEN, err);
        if (st == TR_OK)
            st = ring->provider->import_master(ring->self, ring->state->masters[i].version, &key, err);
    }
    tr_secret_clear(&key);
    return st;
}

/* The new ring keeps the recovery key where its provider can. */
static tr_status rebuild(const char *path, const tr_keyring_provider *provider, const tr_keyring_spec *spec,
                         const tr_ring_state *state, const tr_secret *plain, tr_keyring **out,
                         tr_error *err) {
    tr_keyring *ring = NULL;
    void *self;
    tr_status st = provider->create(spec, &self, err);
    if (st != TR_OK)
        return st;
    TR_TRY(tr_ring_new(path, provider, self, &ring, err));
    *ring->state = *state;
    ring->state->has_recovery = provider->export_master != NULL;
    TR_TRY(import_masters(ring, plain, err));
    TR_TRY(tr_ring_save_new(ring, err));
    *out = ring;
    ring = NULL;
out:
    for (int i = 0; st != TR_OK && spec->share_texts && i < spec->shares; i++)
        tr_secret_clear(&spec->share_texts[i]);
    tr_ring_discard(ring);
    return st;
}

tr_status tr_keyring_recover(const char *recovery_path, const tr_secret *private_key, const char *path,
                             const tr_keyring_spec *spec, tr_keyring **out, tr_error *err) {
    const tr_keyring_provider *provider;
    tr_ring_state *state = calloc(1, sizeof *state);
    tr_secret plain = TR_SECRET_INIT;
    tr_status st = TR_OK;
    *out = NULL;
    if (!state)
        return tr_ring_no_memory(err);
    TR_TRY(tr_ring_find_provider(spec->provider, spec->provider, &provider, err));
    if (!provider->import_master)
        TR_TRY(tr_fail(err, TR_E_CONFIG, spec->provider,
                       "this key provider takes no keys from outside: recover to another one, then migrate"));
    TR_TRY(tr_ring_check_free(path, err));
    TR_TRY(read_recovery(recovery_path, private_key, state, &plain, err));
    TR_TRY(rebuild(path, provider, spec, state, &plain, out, err));
out:
    tr_secret_clear(&plain);
    free(state);
    return st;
}
