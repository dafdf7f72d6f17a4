/* The split provider: master keys wrapped (RFC 5649) by a key that comes, through HKDF (RFC 5869), from 32
 * random bytes which n people share (shamir.h), so that k of them open the keyring together and fewer learn
 * nothing.
 *
 * Members: "kdf":{"name":"shamir","id":"<8 bytes, hex>","threshold":k,"marks":["<of share 1>", ...]}.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "crypto/keyring_internal.h"
#include "crypto/keyring_masters.h"
#include "crypto/keyring_share.h"
#include "crypto/shamir.h"

#define KEK_INFO "tresor-keyring-1 split"

/* What is known of the sharing without any share. */
typedef struct sharing {
    uint8_t id[TR_SHARE_ID_LEN];
    int threshold, count;
    uint8_t marks[TR_SHARES_MAX][TR_SHA256_LEN];
} sharing;

typedef struct split_keys {
    tr_masters masters; /* their kek is from the shared secret */
    sharing sharing;
} split_keys;

static void close_split(void *self) {
    split_keys *split = self;
    tr_masters_clear(&split->masters);
    free(split);
}

static tr_status derive(split_keys *split, const tr_secret *secret, tr_error *err) {
    tr_status st =
        tr_hkdf_sha256(secret, (tr_bytes){split->sharing.id, TR_SHARE_ID_LEN},
                       (tr_bytes){KEK_INFO, sizeof KEK_INFO - 1}, TR_MASTER_LEN, &split->masters.kek, err);
    return st == TR_OK ? tr_masters_derive_seal(&split->masters, err) : st;
}

/* ---- making ---- */

static void clear_all(tr_secret *list, int count) {
    for (int i = 0; i < count; i++)
        tr_secret_clear(&list[i]);
}

/* Split the secret; keep the marks, hand out the texts. */
static tr_status make_shares(sharing *s, const tr_secret *secret, tr_secret *texts, tr_error *err) {
    tr_secret values[TR_SHARES_MAX] = {0};
    tr_status st = TR_OK;
    TR_TRY(tr_shamir_split(secret, (size_t)s->threshold, (size_t)s->count, values, err));
    for (int i = 0; i < s->count; i++) {
        tr_share share = {.number = i + 1, .threshold = s->threshold, .value = values[i]};
        memcpy(share.ring, s->id, TR_SHARE_ID_LEN);
        TR_TRY(tr_share_mark(&share, s->marks[i], err));
        TR_TRY(tr_share_print(&share, &texts[i], err));
    }
out:
    clear_all(values, s->count);
    return st;
}

static tr_status create_split(const tr_keyring_spec *spec, void **self, tr_error *err) {
    split_keys *split = NULL;
    tr_secret secret = TR_SECRET_INIT;
    tr_status st = TR_OK;
    *self = NULL;
    if (!spec->share_texts || spec->threshold < 2 || spec->threshold > spec->shares ||
        spec->shares > TR_SHARES_MAX)
        return tr_fail(err, TR_E_CONFIG, NULL,
                       "a keyring is split into at most %d shares, of which at least 2 are needed",
                       TR_SHARES_MAX);
    split = calloc(1, sizeof *split);
    if (!split)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    split->sharing.threshold = spec->threshold;
    split->sharing.count = spec->shares;
    TR_TRY(tr_random(split->sharing.id, TR_SHARE_ID_LEN, err));
    TR_TRY(tr_secret_random(&secret, TR_SHARE_VALUE_LEN, err));
    TR_TRY(derive(split, &secret, err));
    TR_TRY(make_shares(&split->sharing, &secret, spec->share_texts, err));
    *self = split;
    split = NULL;
out:
    if (st != TR_OK)
        clear_all(spec->share_texts, spec->shares);
    if (split)
        close_split(split);
    tr_secret_clear(&secret);
    return st;
}

/* ---- the document ---- */

static tr_status describe(void *self, cJSON *document, tr_error *err) {
    const sharing *s = &((const split_keys *)self)->sharing;
    char text[2 * TR_SHA256_LEN + 1];
    cJSON *kdf = cJSON_AddObjectToObject(document, "kdf");
    tr_hex_encode(s->id, TR_SHARE_ID_LEN, text);
    if (!kdf || !cJSON_AddStringToObject(kdf, "name", "shamir") ||
        !cJSON_AddStringToObject(kdf, "id", text) || !cJSON_AddNumberToObject(kdf, "threshold", s->threshold))
        return tr_ring_no_memory(err);
    cJSON *marks = cJSON_AddArrayToObject(kdf, "marks");
    for (int i = 0; marks && i < s->count; i++) {
        tr_hex_encode(s->marks[i], TR_SHA256_LEN, text);
        cJSON *mark = cJSON_CreateString(text);
        if (!cJSON_AddItemToArray(marks, mark)) {
            cJSON_Delete(mark);
            return tr_ring_no_memory(err);
        }
    }
    return marks ? TR_OK : tr_ring_no_memory(err);
}

static bool read_marks(const cJSON *marks, sharing *s) {
    const cJSON *mark;
    cJSON_ArrayForEach(mark, marks) {
        if (s->count == TR_SHARES_MAX || !cJSON_IsString(mark) ||
            !tr_hex_decode(mark->valuestring, strlen(mark->valuestring), s->marks[s->count], TR_SHA256_LEN))
            return false;
        s->count++;
    }
    return true;
}

static tr_status read_sharing(const cJSON *document, sharing *s, tr_error *err) {
    const cJSON *kdf = tr_json_member(document, "kdf");
    const char *name = tr_json_string(kdf, "name"), *id = tr_json_string(kdf, "id");
    int64_t threshold = 0;
    *s = (sharing){0};
    if (!name || strcmp(name, "shamir") != 0 || !id ||
        !tr_hex_decode(id, strlen(id), s->id, TR_SHARE_ID_LEN) ||
        !tr_json_int(kdf, "threshold", &threshold) || !read_marks(tr_json_member(kdf, "marks"), s) ||
        threshold < 2 || threshold > s->count)
        return tr_fail(err, TR_E_CORRUPT, NULL, "the keyring is damaged");
    s->threshold = (int)threshold;
    return TR_OK;
}

static tr_status need(const cJSON *document, tr_keyring_need *out, tr_error *err) {
    sharing s;
    tr_status st = read_sharing(document, &s, err);
    if (st == TR_OK) {
        out->shares = s.count;
        out->threshold = s.threshold;
    }
    return st;
}

static tr_status open_split(const cJSON *document, const tr_secret *secret, void **self, tr_error *err) {
    split_keys *split = NULL;
    tr_status st = TR_OK;
    *self = NULL;
    if (!secret || secret->len == 0)
        return tr_fail(err, TR_E_CONFIG, NULL, "the keyring's shares are missing");
    split = calloc(1, sizeof *split);
    if (!split)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    TR_TRY(read_sharing(document, &split->sharing, err));
    TR_TRY(derive(split, secret, err));
    *self = split;
    split = NULL;
out:
    if (split)
        close_split(split);
    return st;
}

/* ---- shares that people bring ---- */

static tr_status read_file(const char *path, sharing *s, tr_error *err) {
    cJSON *document = NULL;
    const tr_keyring_provider *provider;
    tr_status st = tr_ring_read_file(path, &document, &provider, err);
    if (st == TR_OK && provider != &tr_keyring_split_provider)
        st = tr_fail(err, TR_E_CONFIG, path, "the keyring is not split into shares");
    if (st == TR_OK)
        st = read_sharing(document, s, err);
    if (st == TR_E_CORRUPT)
        st = tr_fail(err, st, path, "the keyring is damaged");
    cJSON_Delete(document);
    return st;
}

static tr_status read_share(const sharing *s, const tr_secret *text, tr_share *share, tr_error *err) {
    uint8_t mark[TR_SHA256_LEN];
    tr_status st = tr_share_parse(text, share, err);
    if (st != TR_OK)
        return st;
    if (memcmp(share->ring, s->id, TR_SHARE_ID_LEN) != 0)
        return tr_fail(err, TR_E_CONFIG, NULL, "share %d belongs to another keyring", share->number);
    st = tr_share_mark(share, mark, err);
    if (st == TR_OK && (share->number > s->count || share->threshold != s->threshold ||
                        !tr_equal_ct(mark, s->marks[share->number - 1], TR_SHA256_LEN)))
        st = tr_fail(err, TR_E_CONFIG, NULL, "share %d was never given out", share->number);
    tr_wipe(mark, sizeof mark);
    return st;
}

tr_status tr_keyring_check_share(const char *path, const tr_secret *share_text, int *number, tr_error *err) {
    sharing s;
    tr_share share = {0};
    tr_status st = read_file(path, &s, err);
    if (st == TR_OK)
        st = read_share(&s, share_text, &share, err);
    if (st == TR_OK)
        *number = share.number;
    tr_secret_clear(&share.value);
    return st;
}

/* Every text into its value; all must be good, also those beyond the threshold. */
static tr_status read_shares(const sharing *s, const tr_secret *texts, size_t count,
                             uint8_t numbers[TR_SHARES_MAX], tr_secret values[TR_SHARES_MAX], tr_error *err) {
    for (size_t i = 0; i < count; i++) {
        tr_share share = {0};
        tr_status st = read_share(s, &texts[i], &share, err);
        values[i] = share.value;
        if (st != TR_OK)
            return st;
        numbers[i] = (uint8_t)share.number;
        if (memchr(numbers, share.number, i))
            return tr_fail(err, TR_E_CONFIG, NULL, "share %d was given twice", share.number);
    }
    return TR_OK;
}

tr_status tr_keyring_combine(const char *path, const tr_secret *share_texts, size_t count,
                             tr_secret *passphrase, tr_error *err) {
    sharing s;
    uint8_t numbers[TR_SHARES_MAX];
    tr_secret values[TR_SHARES_MAX] = {0};
    tr_status st = TR_OK;
    TR_TRY(read_file(path, &s, err));
    if (count > (size_t)s.count)
        TR_TRY(tr_fail(err, TR_E_CONFIG, path, "the keyring has only %d shares", s.count));
    TR_TRY(read_shares(&s, share_texts, count, numbers, values, err));
    if (count < (size_t)s.threshold)
        TR_TRY(tr_fail(err, TR_E_CONFIG, path, "the keyring needs %d shares, and here are %zu", s.threshold,
                       count));
    TR_TRY(tr_shamir_value(numbers, values, (size_t)s.threshold, 0, passphrase, err));
out:
    clear_all(values, TR_SHARES_MAX);
    return st;
}

const tr_keyring_provider tr_keyring_split_provider = {
    .name = "split",
    .unlocker = "shares",
    .create = create_split,
    .open = open_split,
    .close = close_split,
    .need = need,
    .new_master = tr_masters_new,
    .load_master = tr_masters_load,
    .destroy_master = tr_masters_destroy,
    .export_master = tr_masters_export,
    .import_master = tr_masters_import,
    .describe = describe,
    .describe_master = tr_masters_describe,
    .wrap = tr_masters_wrap,
    .unwrap = tr_masters_unwrap,
    .seal = tr_masters_seal,
};
