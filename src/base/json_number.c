/* JSON numbers by decimal arithmetic on their text.
 *
 * A number is normalised to sign, digits (no leading, no trailing zero) and a power of ten, so that value =
 * ±digits × 10^exponent. The exponent stays a number: 1e999999999 costs no more than 1e9.
 */
#include "base/json.h"

#include <math.h>
#include <openssl/bn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_internal.h"

/* An integer below this is written by "%.0f" without loss: 2^53. */
#define EXACT_DOUBLE 9007199254740992.0

static void shortest_double(double value, char *room, size_t size) {
    if (fabs(value) < EXACT_DOUBLE && value == floor(value)) {
        snprintf(room, size, "%.0f", value);
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(room, size, "%.*g", precision, value);
        if (strtod(room, NULL) == value)
            break;
    }
    /* A program may have set a locale whose decimal separator is not the point. */
    for (char *p = room; *p != '\0'; p++)
        if (strchr("0123456789+-eE", *p) == NULL)
            *p = '.';
}

const char *tr_json_number_text(const cJSON *number, char *room, size_t size) {
    if (number->valuestring != NULL)
        return number->valuestring;
    if (!isfinite(number->valuedouble))
        return "null"; /* JSON has no such number; cJSON writes the same */
    shortest_double(number->valuedouble, room, size);
    return room;
}

/* The exponent after 'e'. The reader takes at most 15 digits; a longer one from elsewhere saturates. */
static int64_t exponent_of(const char *text) {
    bool negative = *text == '-';
    int64_t value = 0;
    if (*text == '-' || *text == '+')
        text++;
    for (; *text >= '0' && *text <= '9'; text++)
        if (value < TR_DECIMAL_EXPONENT_MAX)
            value = value * 10 + (*text - '0');
    return negative ? -value : value;
}

void tr_decimal_read(const char *text, tr_decimal *d) {
    *d = (tr_decimal){.negative = *text == '-'};
    bool fraction = false;
    const char *p = text + (*text == '-' ? 1 : 0);
    for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        if (*p == '.') {
            fraction = true;
            continue;
        }
        d->exponent -= fraction ? 1 : 0;
        if (d->count == 0 && *p == '0')
            continue;
        if (d->count < sizeof d->digits - 1)
            d->digits[d->count++] = *p;
        else
            d->exponent++;
    }
    if (*p == 'e' || *p == 'E')
        d->exponent += exponent_of(p + 1);
    while (d->count > 0 && d->digits[d->count - 1] == '0') {
        d->count--;
        d->exponent++;
    }
    d->digits[d->count] = '\0';
    if (d->count == 0) {
        d->negative = false;
        d->exponent = 0;
    }
}

static void decimal_of(const cJSON *number, tr_decimal *d) {
    char room[TR_NUMBER_ROOM];
    tr_decimal_read(tr_json_number_text(number, room, sizeof room), d);
}

void tr_decimal_print(const tr_decimal *d, tr_buf *out) {
    if (d->count == 0)
        tr_buf_putc(out, '0');
    else
        tr_buf_printf(out, "%s%se%lld", d->negative ? "-" : "", d->digits, (long long)d->exponent);
}

static int compare_magnitude(const tr_decimal *a, const tr_decimal *b) {
    /* Where the first digit stands decides; only then the digits. */
    int64_t high_a = a->exponent + (int64_t)a->count;
    int64_t high_b = b->exponent + (int64_t)b->count;
    if (a->count == 0 || b->count == 0)
        return (a->count != 0) - (b->count != 0);
    if (high_a != high_b)
        return high_a < high_b ? -1 : 1;
    int order = strcmp(a->digits, b->digits);
    return (order > 0) - (order < 0);
}

int tr_json_number_compare(const cJSON *a, const cJSON *b) {
    /* Rounding to double keeps the order, so doubles that differ have decided. */
    if (a->valuedouble < b->valuedouble)
        return -1;
    if (a->valuedouble > b->valuedouble)
        return 1;
    if (a->valuestring != NULL && b->valuestring != NULL && strcmp(a->valuestring, b->valuestring) == 0)
        return 0;

    tr_decimal da, db;
    decimal_of(a, &da);
    decimal_of(b, &db);
    if (da.negative != db.negative)
        return da.negative ? -1 : 1;
    int order = compare_magnitude(&da, &db);
    return da.negative ? -order : order;
}

bool tr_json_is_integer(const cJSON *number, bool *fits, int64_t *value) {
    tr_decimal d;
    bool in_range = true;
    int64_t sum = 0; /* kept negative: INT64_MIN has no positive twin */

    if (!cJSON_IsNumber(number) || (number->valuestring == NULL && !isfinite(number->valuedouble)))
        return false;
    decimal_of(number, &d);
    if (d.exponent < 0)
        return false;
    if (d.count > 0 && d.exponent + (int64_t)d.count > 19)
        in_range = false;
    for (size_t i = 0; in_range && d.count > 0 && i < d.count + (size_t)d.exponent; i++) {
        int64_t digit = i < d.count ? d.digits[i] - '0' : 0;
        in_range = !__builtin_mul_overflow(sum, 10, &sum) && !__builtin_sub_overflow(sum, digit, &sum);
    }
    if (in_range && !d.negative)
        in_range = !__builtin_sub_overflow((int64_t)0, sum, &sum);
    if (fits != NULL)
        *fits = in_range;
    if (in_range && value != NULL)
        *value = sum;
    return true;
}

/* digits(a) × 10^shift divisible by digits(b)? */
static tr_status divides(const tr_decimal *a, const tr_decimal *b, int64_t shift, bool *yes, tr_error *err) {
    tr_status st = TR_E_NOMEM;
    BIGNUM *number = NULL, *divisor = NULL, *power = NULL, *exponent = NULL, *ten = BN_new();
    BN_CTX *scratch = BN_CTX_new();
    char text[24];

    snprintf(text, sizeof text, "%lld", (long long)shift);
    if (scratch == NULL || ten == NULL || (power = BN_new()) == NULL || !BN_set_word(ten, 10) ||
        BN_dec2bn(&number, a->digits) == 0 || BN_dec2bn(&divisor, b->digits) == 0 ||
        BN_dec2bn(&exponent, text) == 0)
        goto out;
    if (!BN_mod_exp(power, ten, exponent, divisor, scratch) ||
        !BN_mod_mul(power, power, number, divisor, scratch))
        goto out;
    *yes = BN_is_zero(power);
    st = TR_OK;
out:
    BN_free(number);
    BN_free(divisor);
    BN_free(power);
    BN_free(exponent);
    BN_free(ten);
    BN_CTX_free(scratch);
    return st == TR_OK ? TR_OK : tr_fail(err, st, NULL, "out of memory while dividing a number");
}

tr_status tr_json_is_multiple(const cJSON *number, const cJSON *divisor, bool *yes, tr_error *err) {
    tr_decimal a, b;
    decimal_of(number, &a);
    decimal_of(divisor, &b);
    int64_t shift = a.exponent - b.exponent;
    if (b.count == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a number cannot be a multiple of zero");
    /* `digits` has no factor ten left, so nothing makes up for a power that a lacks. */
    if (a.count == 0 || shift < 0) {
        *yes = a.count == 0;
        return TR_OK;
    }
    if (a.count + (size_t)(shift < 20 ? shift : 20) <= 18 && b.count <= 18) {
        unsigned long long value = strtoull(a.digits, NULL, 10);
        for (int64_t i = 0; i < shift; i++)
            value *= 10;
        *yes = value % strtoull(b.digits, NULL, 10) == 0;
        return TR_OK;
    }
    return divides(&a, &b, shift, yes, err);
}
