#include "crypto/keyring_share.h"

#include <string.h>

#define ALPHABET   "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#define CHECK_LEN  5
#define BODY_LEN   (TR_SHARE_ID_LEN + TR_SHARE_VALUE_LEN + CHECK_LEN)
#define HEAD_CHARS 6 /* S02K03 */
#define BODY_CHARS (BODY_LEN * 8 / 5)
#define GROUP      4
#define TEXT_MOST  1024 /* characters, with what separates them */

_Static_assert(BODY_LEN * 8 % 5 == 0, "whole characters");
_Static_assert(TR_SHARE_TEXT_LEN == HEAD_CHARS + BODY_CHARS + BODY_CHARS / GROUP, "whole groups");

/* ---- characters: no branch and no address depends on one ---- */

/* 1 if equal, else 0; both below 256. */
static unsigned same(unsigned a, unsigned b) {
    return ((a ^ b) - 1U) >> 31;
}

static char to_char(unsigned value) {
    unsigned c = 0;
    for (unsigned i = 0; i < 32; i++)
        c |= (unsigned char)ALPHABET[i] & (0U - same(i, value));
    return (char)c;
}

/* What people write for what they read: small letters, O for 0, I and L for 1. */
static unsigned unify(unsigned char c) {
    unsigned lower = same(c >> 5, 3); /* 0x60 to 0x7f */
    unsigned upper = c - (lower << 5);
    upper ^= ('O' ^ '0') & (0U - same(upper, 'O'));
    upper ^= ('I' ^ '1') & (0U - same(upper, 'I'));
    upper ^= ('L' ^ '1') & (0U - same(upper, 'L'));
    return upper;
}

/* *bad is set to 1 when it is none. */
static unsigned from_char(unsigned char c, unsigned *bad) {
    unsigned value = 0, found = 0, seen = unify(c);
    for (unsigned i = 0; i < 32; i++) {
        unsigned hit = same((unsigned char)ALPHABET[i], seen);
        value |= i & (0U - hit);
        found |= hit;
    }
    *bad |= found ^ 1U;
    return value;
}

/* ---- what a share's MACs cover ---- */

static tr_status mac(const char *purpose, const tr_share *share, uint8_t out[TR_SHA256_LEN], tr_error *err) {
    uint8_t numbers[2] = {(uint8_t)share->number, (uint8_t)share->threshold};
    tr_bytes parts[] = {
        {purpose, strlen(purpose) + 1}, {numbers, sizeof numbers}, {share->ring, TR_SHARE_ID_LEN}};
    return tr_hmac_sha256(&share->value, parts, 3, out, err);
}

tr_status tr_share_mark(const tr_share *share, uint8_t mark[TR_SHA256_LEN], tr_error *err) {
    return mac("tresor-keyring-1 share mark", share, mark, err);
}

static tr_status make_check(const tr_share *share, uint8_t check[TR_SHA256_LEN], tr_error *err) {
    return mac("tresor-keyring-1 share check", share, check, err);
}

/* ---- writing ---- */

static void encode(const uint8_t body[BODY_LEN], char *out) {
    unsigned bits = 0, held = 0, done = 0;
    for (size_t i = 0; i < BODY_LEN; i++) {
        bits = (bits << 8 | body[i]) & 0xfffU;
        for (held += 8; held >= 5; held -= 5) {
            if (done++ % GROUP == 0)
                *out++ = '-';
            *out++ = to_char(bits >> (held - 5) & 31U);
        }
    }
}

tr_status tr_share_print(const tr_share *share, tr_secret *text, tr_error *err) {
    uint8_t check[TR_SHA256_LEN];
    tr_secret body = TR_SECRET_INIT;
    tr_status st = TR_OK;
    TR_TRY(make_check(share, check, err));
    TR_TRY(tr_secret_alloc(&body, BODY_LEN, err));
    memcpy(body.data, share->ring, TR_SHARE_ID_LEN);
    memcpy(body.data + TR_SHARE_ID_LEN, share->value.data, TR_SHARE_VALUE_LEN);
    memcpy(body.data + TR_SHARE_ID_LEN + TR_SHARE_VALUE_LEN, check, CHECK_LEN);
    TR_TRY(tr_secret_alloc(text, TR_SHARE_TEXT_LEN, err));
    uint8_t *at = text->data;
    *at++ = 'S';
    *at++ = (uint8_t)('0' + share->number / 10);
    *at++ = (uint8_t)('0' + share->number % 10);
    *at++ = 'K';
    *at++ = (uint8_t)('0' + share->threshold / 10);
    *at++ = (uint8_t)('0' + share->threshold % 10);
    encode(body.data, (char *)at);
out:
    tr_wipe(check, sizeof check);
    tr_secret_clear(&body);
    return st;
}

/* ---- reading ---- */

static tr_status not_a_share(tr_error *err) {
    return tr_fail(err, TR_E_CONFIG, NULL,
                   "this is not a whole share: S, two digits, K, two digits, then %d characters", BODY_CHARS);
}

/* Leave out what separates. *count is how many characters there are. */
static tr_status squeeze(const tr_secret *text, tr_secret *out, size_t *count, tr_error *err) {
    *count = 0;
    if (text->len > TEXT_MOST)
        return not_a_share(err);
    tr_status st = tr_secret_alloc(out, HEAD_CHARS + BODY_CHARS, err);
    for (size_t i = 0; st == TR_OK && i < text->len; i++) {
        uint8_t c = text->data[i];
        if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        if (*count == out->len)
            return not_a_share(err);
        out->data[(*count)++] = c;
    }
    return st;
}

/* Two digits from 1 to TR_SHARES_MAX. */
static bool read_number(const uint8_t *text, int *number) {
    unsigned tens = unify(text[0]) - '0', ones = unify(text[1]) - '0';
    *number = (int)(tens * 10 + ones);
    return tens <= 9 && ones <= 9 && *number >= 1 && *number <= TR_SHARES_MAX;
}

static bool decode(const uint8_t *text, uint8_t body[BODY_LEN]) {
    unsigned bits = 0, held = 0, bad = 0;
    for (size_t i = 0; i < BODY_CHARS; i++) {
        bits = (bits << 5 | from_char(text[i], &bad)) & 0xfffU;
        held += 5;
        if (held >= 8) {
            held -= 8;
            *body++ = (uint8_t)(bits >> held);
        }
    }
    return !bad;
}

tr_status tr_share_parse(const tr_secret *text, tr_share *share, tr_error *err) {
    tr_secret plain = TR_SECRET_INIT, body = TR_SECRET_INIT;
    uint8_t check[TR_SHA256_LEN];
    size_t count;
    tr_status st = TR_OK;
    TR_TRY(squeeze(text, &plain, &count, err));
    if (count != HEAD_CHARS + BODY_CHARS || unify(plain.data[0]) != 'S' || unify(plain.data[3]) != 'K' ||
        !read_number(plain.data + 1, &share->number) || !read_number(plain.data + 4, &share->threshold))
        TR_TRY(not_a_share(err));
    TR_TRY(tr_secret_alloc(&body, BODY_LEN, err));
    if (!decode(plain.data + HEAD_CHARS, body.data))
        TR_TRY(tr_fail(err, TR_E_CONFIG, NULL, "share %d is mistyped: a character that no share has",
                       share->number));
    memcpy(share->ring, body.data, TR_SHARE_ID_LEN);
    TR_TRY(tr_secret_copy(&share->value, body.data + TR_SHARE_ID_LEN, TR_SHARE_VALUE_LEN, err));
    TR_TRY(make_check(share, check, err));
    if (!tr_equal_ct(check, body.data + TR_SHARE_ID_LEN + TR_SHARE_VALUE_LEN, CHECK_LEN))
        st = tr_fail(err, TR_E_CONFIG, NULL, "share %d is mistyped: its check does not fit", share->number);
out:
    tr_wipe(check, sizeof check);
    tr_secret_clear(&plain);
    tr_secret_clear(&body);
    return st;
}
