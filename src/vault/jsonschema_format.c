/* The formats that assert: each by its own specification. */
#include <arpa/inet.h>
#include <string.h>

#include "base/duration.h"
#include "base/uuid.h"
#include "vault/jsonschema_internal.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool one_of(char c, const char *set) {
    return c != '\0' && strchr(set, c) != NULL;
}

static bool is_hex(char c) {
    return one_of(c, "0123456789abcdefABCDEF");
}

/* ---- RFC 3339 section 5.6 ---- */

static bool two_digits(const char *text, int max, int *value) {
    if (!is_digit(text[0]) || !is_digit(text[1]))
        return false;
    *value = (text[0] - '0') * 10 + (text[1] - '0');
    return *value <= max;
}

static bool is_date(const char *text, size_t len) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century, year, month, day;
    if (len != 10 || text[4] != '-' || text[7] != '-' || !two_digits(text, 99, &century) ||
        !two_digits(text + 2, 99, &year) || !two_digits(text + 5, 12, &month) ||
        !two_digits(text + 8, 31, &day))
        return false;
    year += century * 100;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month >= 1 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

static bool is_time(const char *text, size_t len) {
    int hour, minute, second, offset_hour = 0, offset_minute = 0;
    size_t i = 8;
    if (len < 9 || text[2] != ':' || text[5] != ':' || !two_digits(text, 23, &hour) ||
        !two_digits(text + 3, 59, &minute) || !two_digits(text + 6, 60, &second))
        return false;
    if (text[i] == '.') {
        size_t digits = strspn(text + i + 1, "0123456789");
        if (digits == 0)
            return false;
        i += digits + 1;
    }
    bool east = text[i] == '+';
    if (text[i] == 'Z' || text[i] == 'z') {
        i++;
    } else if (east || text[i] == '-') {
        if (len - i < 6 || text[i + 3] != ':' || !two_digits(text + i + 1, 23, &offset_hour) ||
            !two_digits(text + i + 4, 59, &offset_minute))
            return false;
        i += 6;
    } else {
        return false;
    }
    /* A leap second is the last one of a day in UTC. */
    int offset = (offset_hour * 60 + offset_minute) * (east ? 1 : -1);
    int utc_minute = (hour * 60 + minute - offset + 2 * 1440) % 1440;
    return i == len && (second < 60 || utc_minute == 1439);
}

static bool is_date_time(const char *text, size_t len) {
    return len > 11 && (text[10] == 'T' || text[10] == 't') && is_date(text, 10) &&
           is_time(text + 11, len - 11);
}

/* ---- RFC 3339 appendix A ---- */

static bool is_duration(const char *text, size_t len) {
    tr_duration duration;
    return tr_duration_parse(text, len, &duration);
}

/* ---- addresses: RFC 1123 section 2.1, RFC 3986 section 3.2.2, RFC 4291 section 2.2 ---- */

static bool is_hostname(const char *text, size_t len) {
    size_t label = 0;
    if (len == 0 || len > 253)
        return false;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || text[i] == '.') {
            if (label == 0 || label > 63 || text[i - 1] == '-')
                return false;
            label = 0;
        } else if (is_alnum(text[i]) || (text[i] == '-' && label > 0)) {
            label++;
        } else {
            return false;
        }
    }
    return true;
}

static bool is_address(int family, const char *text, size_t len) {
    char copy[INET6_ADDRSTRLEN];
    unsigned char bytes[sizeof(struct in6_addr)];
    if (len >= sizeof copy)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, bytes) == 1;
}

static bool is_ipv4(const char *text, size_t len) {
    return is_address(AF_INET, text, len);
}

static bool is_ipv6(const char *text, size_t len) {
    return is_address(AF_INET6, text, len);
}

static bool is_uuid(const char *text, size_t len) {
    tr_uuid id;
    return tr_uuid_parse(text, len, &id);
}

/* ---- RFC 5321 section 4.1.2 ---- */

static size_t quoted_local(const char *text, size_t len) {
    size_t i = 1;
    while (i < len && text[i] != '"') {
        if (text[i] == '\\')
            i++;
        if (i >= len || text[i] < 0x20 || text[i] > 0x7e)
            return 0;
        i++;
    }
    return i < len ? i + 1 : 0;
}

static size_t dot_local(const char *text, size_t len) {
    size_t i = 0;
    while (i < len && text[i] != '@') {
        bool dot = text[i] == '.';
        if (dot && (i == 0 || i + 1 == len || text[i + 1] == '.' || text[i + 1] == '@'))
            return 0;
        if (!dot && !is_alnum(text[i]) && !one_of(text[i], "!#$%&'*+-/=?^_`{|}~"))
            return 0;
        i++;
    }
    return i;
}

static bool is_email(const char *text, size_t len) {
    size_t local = *text == '"' ? quoted_local(text, len) : dot_local(text, len);
    if (local == 0 || local > 64 || local >= len || text[local] != '@')
        return false;
    const char *domain = text + local + 1;
    size_t n = len - local - 1;
    if (n < 2 || domain[0] != '[')
        return is_hostname(domain, n);
    if (domain[n - 1] != ']')
        return false;
    if (n > 7 && strncmp(domain + 1, "IPv6:", 5) == 0)
        return is_ipv6(domain + 6, n - 7);
    return is_ipv4(domain + 1, n - 2);
}

/* ---- RFC 3986 ---- */

#define UNRESERVED_MARKS "-._~"
#define SUB_DELIMS       "!$&'()*+,;="

/* All of the text are unreserved characters, sub-delims, percent-encoded bytes or of `more`. */
static bool uri_characters(const char *text, size_t len, const char *more) {
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '%') {
            if (len - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2]))
                return false;
            i += 2;
        } else if (!is_alnum(text[i]) && !one_of(text[i], UNRESERVED_MARKS SUB_DELIMS) &&
                   !one_of(text[i], more)) {
            return false;
        }
    }
    return true;
}

static bool is_ip_literal(const char *text, size_t len) {
    if (len > 0 && (text[0] == 'v' || text[0] == 'V')) { /* IPvFuture */
        size_t digits = 1;
        while (digits < len && is_hex(text[digits]))
            digits++;
        return digits > 1 && digits + 1 < len && text[digits] == '.' && !memchr(text, '%', len) &&
               uri_characters(text + digits + 1, len - digits - 1, ":");
    }
    return is_ipv6(text, len);
}

static bool is_authority(const char *text, size_t len) {
    const char *at = memchr(text, '@', len);
    if (at) {
        if (!uri_characters(text, (size_t)(at - text), ":"))
            return false;
        len -= (size_t)(at - text) + 1;
        text = at + 1;
    }
    size_t host = 0;
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (!end || !is_ip_literal(text + 1, (size_t)(end - text) - 1))
            return false;
        host = (size_t)(end - text) + 1;
    } else {
        while (host < len && text[host] != ':')
            host++;
        if (!uri_characters(text, host, ""))
            return false;
    }
    if (host == len)
        return true;
    return text[host] == ':' && strspn(text + host + 1, "0123456789") >= len - host - 1;
}

static bool is_uri(const char *text, size_t len) {
    size_t scheme = strcspn(text, ":/?#");
    if (scheme == 0 || scheme >= len || text[scheme] != ':' || is_digit(text[0]) || one_of(text[0], "+-."))
        return false;
    for (size_t i = 0; i < scheme; i++)
        if (!is_alnum(text[i]) && !one_of(text[i], "+-."))
            return false;
    text += scheme + 1;
    if (strncmp(text, "//", 2) == 0) {
        size_t n = strcspn(text + 2, "/?#");
        if (!is_authority(text + 2, n))
            return false;
        text += 2 + n;
    }
    size_t path = strcspn(text, "?#");
    if (!uri_characters(text, path, "/:@"))
        return false;
    text += path;
    if (*text == '?') {
        size_t query = strcspn(text + 1, "#");
        if (!uri_characters(text + 1, query, "/?:@"))
            return false;
        text += 1 + query;
    }
    return *text == '\0' || uri_characters(text + 1, strlen(text + 1), "/?:@");
}

/* ---- the table ---- */

/* Those without `asserted` are known to JSON Schema or OpenAPI, and are notes here. */
static const tr_js_format formats[] = {
    {"date", true, is_date},
    {"date-time", true, is_date_time},
    {"time", true, is_time},
    {"duration", true, is_duration},
    {"email", true, is_email},
    {"uuid", true, is_uuid},
    {"uri", true, is_uri},
    {"ipv4", true, is_ipv4},
    {"ipv6", true, is_ipv6},
    {"hostname", true, is_hostname},
    {"regex", true, NULL},
    {"idn-email", false, NULL},
    {"idn-hostname", false, NULL},
    {"uri-reference", false, NULL},
    {"iri", false, NULL},
    {"iri-reference", false, NULL},
    {"uri-template", false, NULL},
    {"json-pointer", false, NULL},
    {"relative-json-pointer", false, NULL},
    {"int32", false, NULL},
    {"int64", false, NULL},
    {"float", false, NULL},
    {"double", false, NULL},
    {"password", false, NULL},
};

const tr_js_format *tr_js_format_find(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}
