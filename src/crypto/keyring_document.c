/* The keyring's JSON document: to text and back. */
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "crypto/keyring_internal.h"

static tr_status damaged(tr_error *err) {
    return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged");
}

/* ---- writing ---- */

static tr_status add_master(cJSON *list, const tr_ring_master *master, const tr_keyring *describe,
                            tr_error *err) {
    char created[TR_TIME_TEXT];
    cJSON *entry = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(list, entry)) {
        cJSON_Delete(entry);
        return tr_ring_no_memory(err);
    }
    tr_time_format(master->created_ms, created);
    if (!cJSON_AddNumberToObject(entry, "version", master->version) ||
        !cJSON_AddStringToObject(entry, "created", created) ||
        (master->retiring && !cJSON_AddTrueToObject(entry, "retiring")))
        return tr_ring_no_memory(err);
    return describe ? describe->provider->describe_master(describe->self, master->version, entry, err)
                    : TR_OK;
}

static tr_status add_key(cJSON *keys, const tr_ring_key *key, tr_error *err) {
    char text[TR_BASE64URL_LEN(TR_WRAPPED_MAX) + 1];
    cJSON *entry = cJSON_AddObjectToObject(keys, key->name);
    tr_base64url_encode(key->wrapped, key->wrapped_len, text);
    if (!entry || !cJSON_AddNumberToObject(entry, "master", key->master) ||
        !cJSON_AddStringToObject(entry, "wrapped", text))
        return tr_ring_no_memory(err);
    return TR_OK;
}

tr_status tr_document_add_state(cJSON *document, const tr_ring_state *state, const tr_keyring *describe,
                                tr_error *err) {
    char text[TR_BASE64URL_LEN(TR_HPKE_KEY_LEN) + 1];
    cJSON *masters = cJSON_AddArrayToObject(document, "masters");
    cJSON *keys = cJSON_AddObjectToObject(document, "keys");
    tr_status st = TR_OK;
    if (!masters || !keys || !cJSON_AddNumberToObject(document, "current", state->current))
        return tr_ring_no_memory(err);
    for (size_t i = 0; st == TR_OK && i < state->master_count; i++)
        st = add_master(masters, &state->masters[i], describe, err);
    for (size_t i = 0; st == TR_OK && i < state->key_count; i++)
        st = add_key(keys, &state->keys[i], err);
    tr_base64url_encode(state->recovery, TR_HPKE_KEY_LEN, text);
    if (st == TR_OK && state->has_recovery && !cJSON_AddStringToObject(document, "recovery", text))
        st = tr_ring_no_memory(err);
    return st;
}

/* Over the document as it is now: `seal` covers all but itself and the checksum. */
static tr_status make_seal(const tr_keyring *ring, const cJSON *document, char seal[2 * TR_SHA256_LEN + 1],
                           tr_error *err) {
    uint8_t mac[TR_SHA256_LEN];
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print_sorted(document, &text, err);
    if (st == TR_OK)
        st = ring->provider->seal(ring->self, (tr_bytes){text.data, text.len}, mac, err);
    if (st == TR_OK)
        tr_hex_encode(mac, sizeof mac, seal);
    tr_buf_clear(&text);
    return st;
}

/* Over the document as it is now: the checksum covers all but itself. */
static tr_status make_checksum(const cJSON *document, char checksum[2 * TR_SHA256_LEN + 1], tr_error *err) {
    uint8_t hash[TR_SHA256_LEN];
    tr_buf text = TR_BUF_INIT;
    tr_status st = tr_json_print_sorted(document, &text, err);
    if (st == TR_OK)
        st = tr_sha256(&(tr_bytes){text.data, text.len}, 1, hash, err);
    if (st == TR_OK)
        tr_hex_encode(hash, sizeof hash, checksum);
    tr_buf_clear(&text);
    return st;
}

tr_status tr_document_print(cJSON *document, tr_buf *text, tr_error *err) {
    char hex[2 * TR_SHA256_LEN + 1];
    tr_status st = make_checksum(document, hex, err);
    if (st != TR_OK)
        return st;
    if (!cJSON_AddStringToObject(document, "checksum", hex))
        return tr_ring_no_memory(err);
    st = tr_json_print_sorted(document, text, err);
    tr_buf_putc(text, '\n');
    return st == TR_OK ? tr_buf_ok(text, err) : st;
}

tr_status tr_ring_write(const tr_keyring *ring, const tr_ring_state *state, tr_buf *text, tr_error *err) {
    char hex[2 * TR_SHA256_LEN + 1];
    tr_status st = TR_OK;
    cJSON *document = cJSON_CreateObject();
    if (!document || !cJSON_AddStringToObject(document, "format", TR_KEYRING_FORMAT) ||
        !cJSON_AddStringToObject(document, "provider", ring->provider->name))
        TR_TRY(tr_ring_no_memory(err));
    TR_TRY(ring->provider->describe(ring->self, document, err));
    TR_TRY(tr_document_add_state(document, state, ring, err));
    TR_TRY(make_seal(ring, document, hex, err));
    if (!cJSON_AddStringToObject(document, "seal", hex))
        TR_TRY(tr_ring_no_memory(err));
    TR_TRY(tr_document_print(document, text, err));
out:
    cJSON_Delete(document);
    return st;
}

/* ---- reading ---- */

static tr_status check_bytes(tr_bytes text, const cJSON *document, tr_error *err) {
    tr_buf again = TR_BUF_INIT;
    tr_status st = tr_json_print_sorted(document, &again, err);
    tr_buf_putc(&again, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&again, err);
    if (st == TR_OK && (again.len != text.len || memcmp(again.data, text.data, text.len) != 0))
        st = damaged(err);
    tr_buf_clear(&again);
    return st;
}

static tr_status check_checksum(cJSON *document, tr_error *err) {
    char fresh[2 * TR_SHA256_LEN + 1];
    cJSON *checksum = cJSON_DetachItemFromObjectCaseSensitive(document, "checksum");
    tr_status st = cJSON_IsString(checksum) ? make_checksum(document, fresh, err) : damaged(err);
    if (st == TR_OK && strcmp(checksum->valuestring, fresh) != 0)
        st = damaged(err);
    cJSON_Delete(checksum);
    return st;
}

tr_status tr_document_read(tr_bytes text, const char *format, cJSON **out, tr_error *err) {
    cJSON *document = NULL;
    const char *found;
    tr_status st = TR_OK;
    *out = NULL;
    st = tr_json_parse(text.data, text.len, &document, err);
    if (st == TR_E_MALFORMED)
        st = damaged(err);
    if (st != TR_OK)
        goto out;
    TR_TRY(check_bytes(text, document, err));
    TR_TRY(check_checksum(document, err));
    found = tr_json_string(document, "format");
    if (!found || strcmp(found, format) != 0)
        TR_TRY(tr_fail(err, TR_E_CONFIG, NULL, "the keyring has a format that this program does not know"));
    *out = document;
    document = NULL;
out:
    cJSON_Delete(document);
    return st;
}

static bool read_version(const cJSON *object, const char *name, uint32_t *version) {
    int64_t value = 0;
    if (!tr_json_int(object, name, &value) || value < 1 || value > UINT32_MAX)
        return false;
    *version = (uint32_t)value;
    return true;
}

/* Is there this version, in use? */
static bool has_master(const tr_ring_state *state, uint32_t version) {
    for (size_t i = 0; i < state->master_count; i++) {
        if (state->masters[i].version == version)
            return !state->masters[i].retiring;
    }
    return false;
}

static bool load_master(tr_ring_state *state, const cJSON *entry) {
    tr_ring_master *master = &state->masters[state->master_count];
    const char *created = tr_json_string(entry, "created");
    if (state->master_count == TR_MASTERS_MAX || !read_version(entry, "version", &master->version) ||
        !created || !tr_time_parse(created, strlen(created), &master->created_ms))
        return false;
    if (state->master_count > 0 && master->version <= master[-1].version)
        return false;
    master->retiring = tr_json_bool(entry, "retiring", false);
    state->master_count++;
    return true;
}

static bool load_key(tr_ring_state *state, const cJSON *entry) {
    tr_ring_key *key = &state->keys[state->key_count];
    const char *wrapped = tr_json_string(entry, "wrapped");
    key->wrapped_len = sizeof key->wrapped;
    if (state->key_count == TR_NAMED_KEYS_MAX || strlen(entry->string) > TR_KEY_NAME_MAX ||
        !read_version(entry, "master", &key->master) || !has_master(state, key->master) || !wrapped ||
        !tr_base64url_decode(wrapped, strlen(wrapped), key->wrapped, &key->wrapped_len))
        return false;
    memcpy(key->name, entry->string, strlen(entry->string) + 1);
    state->key_count++;
    return true;
}

static bool load_recovery(tr_ring_state *state, const cJSON *member) {
    size_t n = sizeof state->recovery;
    if (!member)
        return true;
    state->has_recovery = true;
    return cJSON_IsString(member) &&
           tr_base64url_decode(member->valuestring, strlen(member->valuestring), state->recovery, &n) &&
           n == sizeof state->recovery;
}

tr_status tr_document_load_state(tr_ring_state *state, const cJSON *document, tr_error *err) {
    const cJSON *masters = tr_json_member(document, "masters"), *keys = tr_json_member(document, "keys"),
                *entry;
    if (!cJSON_IsArray(masters) || !cJSON_IsObject(keys) ||
        !load_recovery(state, tr_json_member(document, "recovery")))
        return damaged(err);
    cJSON_ArrayForEach(entry, masters) {
        if (!load_master(state, entry))
            return damaged(err);
    }
    if (!read_version(document, "current", &state->current) || !has_master(state, state->current))
        return damaged(err);
    cJSON_ArrayForEach(entry, keys) {
        if (!load_key(state, entry))
            return damaged(err);
    }
    return TR_OK;
}

tr_status tr_ring_check_seal(const tr_keyring *ring, const cJSON *document, bool *fits, tr_error *err) {
    char fresh[2 * TR_SHA256_LEN + 1];
    const char *seal;
    *fits = false;
    cJSON *copy = cJSON_Duplicate(document, true);
    if (!copy)
        return tr_ring_no_memory(err);
    cJSON_DeleteItemFromObjectCaseSensitive(copy, "seal");
    tr_status st = make_seal(ring, copy, fresh, err);
    seal = tr_json_string(document, "seal");
    if (st == TR_OK)
        *fits = seal && strlen(seal) == sizeof fresh - 1 && tr_equal_ct(seal, fresh, sizeof fresh - 1);
    cJSON_Delete(copy);
    return st;
}
