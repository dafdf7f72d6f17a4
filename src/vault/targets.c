#include "vault/targets.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ALLOW_MAX 64

/* An IPv4 address is kept as ::ffff:a.b.c.d. */
typedef struct block {
    uint8_t net[16];
    int bits;
} block;

/* IPv4: what is not global in IANA's special-purpose registry, multicast, and a metadata address that is. */
static const char *const refused[] = {
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    /* of the unicast IPv6 addresses: protocol assignments with Teredo, documentation, 6to4 */
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
};
#define REFUSED (sizeof refused / sizeof *refused)

struct tr_targets {
    block refused[REFUSED];
    block allowed[ALLOW_MAX];
    size_t allowed_count;
    char hosts[ALLOW_MAX][TR_HOST_MAX + 1];
    size_t host_count;
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

static bool read_address(const char *text, uint8_t out[16], bool *v4) {
    *v4 = inet_pton(AF_INET, text, out + 12) == 1;
    if (*v4)
        memcpy(out, mapped, sizeof mapped);
    return *v4 || inet_pton(AF_INET6, text, out) == 1;
}

/* "10.0.0.0/8", or an address alone. */
static bool read_block(const char *text, block *out) {
    char address[INET6_ADDRSTRLEN + 1], *end = NULL;
    size_t n = strcspn(text, "/");
    bool v4 = false;
    if (n >= sizeof address)
        return false;
    memcpy(address, text, n);
    address[n] = '\0';
    if (!read_address(address, out->net, &v4))
        return false;
    const long most = v4 ? 32 : 128;
    long bits = most;
    if (text[n] == '/') {
        const char *digits = text + n + 1;
        bits = strtol(digits, &end, 10);
        if (*digits < '0' || *digits > '9' || *end || bits > most)
            return false;
    }
    out->bits = (int)bits + (v4 ? 96 : 0);
    return true;
}

static bool is_in(const block *b, const uint8_t address[16]) {
    const int whole = b->bits / 8, rest = b->bits % 8;
    return memcmp(b->net, address, (size_t)whole) == 0 &&
           (rest == 0 || ((b->net[whole] ^ address[whole]) & (0xff << (8 - rest)) & 0xff) == 0);
}

static bool is_in_any(const block *blocks, size_t count, const uint8_t address[16]) {
    for (size_t i = 0; i < count; i++) {
        if (is_in(&blocks[i], address))
            return true;
    }
    return false;
}

/* ---- the list ---- */

static bool is_host(const char *text) {
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == strlen(text);
}

static tr_status take_item(tr_targets *t, const char *item, tr_error *err) {
    if (t->allowed_count == ALLOW_MAX || t->host_count == ALLOW_MAX)
        return tr_fail(err, TR_E_CONFIG, "outbox_allow", "has more than %d entries", ALLOW_MAX);
    if (read_block(item, &t->allowed[t->allowed_count])) {
        t->allowed_count++;
        return TR_OK;
    }
    if (!is_host(item) || strlen(item) > TR_HOST_MAX)
        return tr_fail(err, TR_E_CONFIG, "outbox_allow",
                       "has an entry that is no address, no CIDR block and no host name");
    memcpy(t->hosts[t->host_count++], item, strlen(item) + 1);
    return TR_OK;
}

tr_status tr_targets_new(const char *allow, tr_targets **out, tr_error *err) {
    tr_targets *t = calloc(1, sizeof *t);
    char *list = strdup(allow), *left = list, *rest = NULL;
    tr_status st = t && list ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *out = NULL;
    for (size_t i = 0; st == TR_OK && i < REFUSED; i++) {
        if (!read_block(refused[i], &t->refused[i]))
            st = tr_fail(err, TR_E_INTERNAL, NULL, "a refused block is none");
    }
    for (char *item; st == TR_OK && (item = strtok_r(left, ", \t", &rest)); left = NULL)
        st = take_item(t, item, err);
    free(list);
    if (st == TR_OK)
        *out = t;
    else
        free(t);
    return st;
}

void tr_targets_free(tr_targets *targets) {
    free(targets);
}

bool tr_targets_names(const tr_targets *targets, const char *host) {
    for (size_t i = 0; i < targets->host_count; i++) {
        if (strcasecmp(targets->hosts[i], host) == 0)
            return true;
    }
    return false;
}

/* ---- addresses ---- */

static bool may_reach(const tr_targets *t, uint8_t address[16]) {
    if (is_in_any(t->allowed, t->allowed_count, address))
        return true;
    if (memcmp(address, nat64, sizeof nat64) == 0) { /* RFC 6052: an IPv4 address behind a translator */
        memcpy(address, mapped, sizeof mapped);
        if (is_in_any(t->allowed, t->allowed_count, address))
            return true;
    }
    const bool v4 = memcmp(address, mapped, sizeof mapped) == 0;
    const bool unicast = (address[0] & 0xe0) == 0x20; /* 2000::/3: all global unicast there is */
    return (v4 || unicast) && !is_in_any(t->refused, REFUSED, address);
}

bool tr_targets_may_connect(const tr_targets *targets, const struct sockaddr *address) {
    uint8_t bytes[16];
    if (address->sa_family == AF_INET) {
        memcpy(bytes, mapped, sizeof mapped);
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    } else {
        return false;
    }
    return may_reach(targets, bytes);
}

/* ---- URLs ---- */

static bool part_is(CURLU *url, CURLUPart part, const char *value) {
    char *text = NULL;
    bool is = curl_url_get(url, part, &text, 0) == CURLUE_OK ? value && strcmp(text, value) == 0 : !value;
    curl_free(text);
    return is;
}

/* Without the brackets of an IPv6 address. */
static bool take_host(CURLU *url, char host[TR_HOST_MAX + 1]) {
    char *text = NULL;
    bool taken = false;
    if (curl_url_get(url, CURLUPART_HOST, &text, 0) == CURLUE_OK) {
        size_t n = strlen(text);
        const bool bracketed = n > 2 && text[0] == '[';
        n -= bracketed ? 2 : 0;
        taken = n > 0 && n <= TR_HOST_MAX;
        if (taken) {
            memcpy(host, text + bracketed, n);
            host[n] = '\0';
        }
    }
    curl_free(text);
    return taken;
}

static bool is_visible(const char *text) {
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

tr_status tr_targets_check_url(const tr_targets *targets, const char *url, const char *where,
                               char host[TR_HOST_MAX + 1], tr_error *err) {
    uint8_t address[16];
    bool v4;
    tr_status st = TR_OK;
    /* libcurl takes more slashes, too. */
    const bool plain = strlen(url) <= TR_WEBHOOK_URL_MAX && is_visible(url) && !strstr(url, ":///");
    CURLU *parts = plain ? curl_url() : NULL;
    if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK || !take_host(parts, host))
        st = tr_fail(err, TR_E_VALIDATION, where, "is no URL");
    else if (!part_is(parts, CURLUPART_SCHEME, "https"))
        st = tr_fail(err, TR_E_VALIDATION, where, "must be an https URL");
    else if (!part_is(parts, CURLUPART_USER, NULL) || !part_is(parts, CURLUPART_PASSWORD, NULL) ||
             !part_is(parts, CURLUPART_FRAGMENT, NULL))
        st = tr_fail(err, TR_E_VALIDATION, where, "must have no user, password and fragment");
    else if (read_address(host, address, &v4) && !tr_targets_names(targets, host) &&
             !may_reach(targets, address))
        st = tr_fail(err, TR_E_VALIDATION, where,
                     "names an address that is not of the public Internet (outbox_allow has exceptions)");
    curl_url_cleanup(parts);
    return st;
}
