#include "base/encode.h"

#include <string.h>

static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char std_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Write the characters of n bytes without padding; returns how many. */
static size_t encode(const char *alphabet, const uint8_t *in, size_t n, char *out) {
    char *start = out;
    size_t i = 0;
    for (; i + 3 <= n; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        *out++ = alphabet[v >> 6 & 63];
        *out++ = alphabet[v & 63];
    }
    if (i < n) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0);
        *out++ = alphabet[v >> 18];
        *out++ = alphabet[v >> 12 & 63];
        if (i + 1 < n)
            *out++ = alphabet[v >> 6 & 63];
    }
    return (size_t)(out - start);
}

void tr_base64url_encode(const void *bytes, size_t n, char *out) {
    out[encode(url_alphabet, bytes, n, out)] = '\0';
}

enum { CHARS_URL = 1, CHARS_STD = 2 };

static int sextet(char c, int chars) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (chars & CHARS_URL && (c == '-' || c == '_'))
        return c == '-' ? 62 : 63;
    if (chars & CHARS_STD && (c == '+' || c == '/'))
        return c == '+' ? 62 : 63;
    return -1;
}

/* Decode without padding; *n is the room and becomes the length. Unused bits must be zero. */
static bool decode(const char *text, size_t len, int chars, uint8_t *out, size_t *n) {
    uint32_t bits = 0;
    int have = 0;
    size_t used = 0;
    if (len % 4 == 1 || len / 4 * 3 + len % 4 * 3 / 4 > *n)
        return false;
    for (size_t i = 0; i < len; i++) {
        int v = sextet(text[i], chars);
        if (v < 0)
            return false;
        bits = (bits << 6 | (uint32_t)v) & 0xfff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[used++] = (uint8_t)(bits >> have);
        }
    }
    *n = used;
    return (bits & ((1u << have) - 1)) == 0;
}

bool tr_base64url_decode(const char *text, size_t len, void *out, size_t *n) {
    return decode(text, len, CHARS_URL, out, n);
}

void tr_base64_append(tr_buf *out, const void *bytes, size_t n) {
    char *room = tr_buf_reserve(out, (n + 2) / 3 * 4);
    if (!room)
        return;
    size_t used = encode(std_alphabet, bytes, n, room);
    while (used % 4)
        room[used++] = '=';
    room[used] = '\0';
    out->len += used;
}

bool tr_base64_decode_any(const char *text, size_t len, tr_buf *out) {
    const size_t whole = len;
    for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++)
        len--;
    if (len != whole && whole % 4 != 0)
        return false;
    size_t n = len / 4 * 3 + 3;
    char *room = tr_buf_reserve(out, n);
    bool good = room && decode(text, len, CHARS_URL | CHARS_STD, (uint8_t *)room, &n);
    if (good)
        out->len += n;
    if (room)
        out->data[out->len] = '\0';
    return good;
}

void tr_hex_encode(const void *bytes, size_t n, char *out) {
    static const char hex[] = "0123456789abcdef";
    const uint8_t *in = bytes;
    for (size_t i = 0; i < n; i++) {
        *out++ = hex[in[i] >> 4];
        *out++ = hex[in[i] & 15];
    }
    *out = '\0';
}

static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool tr_hex_decode(const char *text, size_t len, void *out, size_t n) {
    uint8_t *bytes = out;
    if (len != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int a = nibble(text[2 * i]), b = nibble(text[2 * i + 1]);
        if (a < 0 || b < 0)
            return false;
        bytes[i] = (uint8_t)(a << 4 | b);
    }
    return true;
}

/* The table of RFC 3629 section 4. */
size_t tr_utf8_sequence(const char *text, size_t left) {
    const uint8_t *p = (const uint8_t *)text;
    uint8_t c = p[0], low = 0x80, high = 0xbf;
    size_t more;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf) {
        more = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        more = 2;
        low = c == 0xe0 ? 0xa0 : 0x80;
        high = c == 0xed ? 0x9f : 0xbf;
    } else if (c >= 0xf0 && c <= 0xf4) {
        more = 3;
        low = c == 0xf0 ? 0x90 : 0x80;
        high = c == 0xf4 ? 0x8f : 0xbf;
    } else {
        return 0;
    }
    if (left <= more || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return more + 1;
}

bool tr_utf8_valid(const char *text, size_t len) {
    for (size_t i = 0, n; i < len; i += n) {
        n = tr_utf8_sequence(text + i, len - i);
        if (n == 0)
            return false;
    }
    return true;
}

size_t tr_utf8_count(const char *text, size_t len) {
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += ((uint8_t)text[i] & 0xc0) != 0x80;
    return count;
}
