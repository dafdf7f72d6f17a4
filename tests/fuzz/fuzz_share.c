/* A share's text as somebody typed it. What is taken is written in one form, that is the input's own but for
 * what separates, and for small letters, O, I and L. */
#include <string.h>

#include "crypto/keyring_share.h"
#include "fuzz_must.h"

static uint8_t usual(uint8_t c) {
    c = c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
    return c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
}

/* The characters that count, in their usual form. */
static size_t squeeze(const uint8_t *text, size_t size, uint8_t *out, size_t room) {
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (memchr("- \t\r\n", text[i], 5))
            continue;
        MUST(n < room);
        out[n++] = usual(text[i]);
    }
    return n;
}

static void try_text(const uint8_t *data, size_t size) {
    uint8_t given[TR_SHARE_TEXT_LEN], printed[TR_SHARE_TEXT_LEN];
    tr_secret text = TR_SECRET_INIT, again = TR_SECRET_INIT;
    tr_share share = {.value = TR_SECRET_INIT};
    tr_error err = {0};
    MUST(tr_secret_copy(&text, data, size, &err) == TR_OK);
    tr_status st = tr_share_parse(&text, &share, &err);
    MUST(st == TR_OK || st == TR_E_CONFIG);
    if (st == TR_OK) {
        MUST(tr_share_print(&share, &again, &err) == TR_OK && again.len == TR_SHARE_TEXT_LEN);
        size_t n = squeeze(data, size, given, sizeof given);
        MUST(squeeze(again.data, again.len, printed, sizeof printed) == n && memcmp(given, printed, n) == 0);
    }
    tr_secret_clear(&text);
    tr_secret_clear(&again);
    tr_secret_clear(&share.value);
}

/* The bytes as a share's number, threshold, ring and value: its check fits. */
static void try_share(const uint8_t *data, size_t size) {
    uint8_t bytes[2 + TR_SHARE_ID_LEN + TR_SHARE_VALUE_LEN] = {0};
    tr_secret text = TR_SECRET_INIT;
    tr_share share = {.value = TR_SECRET_INIT}, again = {.value = TR_SECRET_INIT};
    tr_error err = {0};
    memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
    share.number = 1 + bytes[0] % TR_SHARES_MAX;
    share.threshold = 1 + bytes[1] % TR_SHARES_MAX;
    memcpy(share.ring, bytes + 2, TR_SHARE_ID_LEN);
    MUST(tr_secret_copy(&share.value, bytes + 2 + TR_SHARE_ID_LEN, TR_SHARE_VALUE_LEN, &err) == TR_OK);
    MUST(tr_share_print(&share, &text, &err) == TR_OK && tr_share_parse(&text, &again, &err) == TR_OK);
    MUST(again.number == share.number && again.threshold == share.threshold &&
         memcmp(again.ring, share.ring, TR_SHARE_ID_LEN) == 0 &&
         memcmp(again.value.data, share.value.data, TR_SHARE_VALUE_LEN) == 0);
    /* With one character changed it is none any more. */
    const size_t at = size > sizeof bytes ? data[sizeof bytes] % text.len : 0;
    const uint8_t other = size > sizeof bytes + 1 ? data[sizeof bytes + 1] : 'U';
    tr_secret_clear(&again.value);
    if (usual(text.data[at]) != usual(other) && !memchr("-", text.data[at], 1)) {
        text.data[at] = other;
        MUST(tr_share_parse(&text, &again, &err) == TR_E_CONFIG);
    }
    tr_secret_clear(&share.value);
    tr_secret_clear(&again.value);
    tr_secret_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    (data[0] & 1 ? try_share : try_text)(data + 1, size - 1);
    return 0;
}
