/* The strict reader: RFC 8259 text into a cJSON tree, in one pass. */
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json_internal.h"
#include "base/json_keyset.h"

/* Up to here, comparing with each sibling costs less than a set. */
#define LINEAR_KEYS 16

/* Where the reader stands in one container. */
typedef struct frame {
    const char *key; /* of the member being read, or NULL in an array */
    size_t index;    /* of the item being read */
} frame;

typedef struct reader {
    const char *text;
    size_t len;
    size_t pos;
    size_t nodes;
    size_t depth;
    frame frames[TR_JSON_MAX_DEPTH];
    tr_error *err;
} reader;

static tr_status read_value(reader *r, cJSON **out);

static void push_place(const reader *r, tr_buf *pointer) {
    for (size_t i = 0; i < r->depth; i++) {
        if (r->frames[i].key != NULL) {
            tr_json_pointer_push(pointer, r->frames[i].key);
        } else if (r->frames[i].index != SIZE_MAX) {
            tr_buf_printf(pointer, "/%zu", r->frames[i].index);
        }
    }
}

static tr_status fail(reader *r, tr_status status, size_t offset, const char *fault) {
    tr_buf pointer = TR_BUF_INIT;
    if (r->err != NULL)
        push_place(r, &pointer);
    tr_fail(r->err, status, tr_json_pointer_clip(&pointer), "%s at byte %zu", fault, offset);
    tr_buf_clear(&pointer);
    return status;
}

static tr_status malformed(reader *r, const char *fault) {
    return fail(r, TR_E_MALFORMED, r->pos, fault);
}

static tr_status no_memory(reader *r) {
    return fail(r, TR_E_NOMEM, r->pos, "out of memory while reading JSON");
}

/* The next byte, or -1 at the end. */
static int peek(const reader *r) {
    return r->pos < r->len ? (unsigned char)r->text[r->pos] : -1;
}

static void skip_space(reader *r) {
    while (r->pos < r->len && strchr(" \t\n\r", r->text[r->pos]) != NULL && r->text[r->pos] != '\0')
        r->pos++;
}

static tr_status unexpected(reader *r, const char *wanted) {
    char fault[80];
    snprintf(fault, sizeof fault, "%s, wanted %s", peek(r) < 0 ? "the text ends" : "unexpected character",
             wanted);
    return malformed(r, fault);
}

/* ---- strings ---- */

static size_t put_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[n] | code);
    return n;
}

/* Four hexadecimal digits at r->pos. */
static bool read_hex4(reader *r, unsigned *code) {
    *code = 0;
    for (int i = 0; i < 4; i++, r->pos++) {
        int c = peek(r);
        if (c >= '0' && c <= '9')
            *code = *code * 16 + (unsigned)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            *code = *code * 16 + (unsigned)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* After "\u". */
static tr_status read_unicode_escape(reader *r, unsigned *code) {
    if (!read_hex4(r, code))
        return unexpected(r, "four hexadecimal digits");
    if (*code == 0)
        return malformed(r, "U+0000 in a string");
    if (*code < 0xd800 || *code > 0xdfff)
        return TR_OK;
    unsigned low = 0;
    bool paired = *code < 0xdc00 && r->len - r->pos >= 6 && memcmp(r->text + r->pos, "\\u", 2) == 0;
    if (paired) {
        r->pos += 2;
        paired = read_hex4(r, &low) && low >= 0xdc00 && low <= 0xdfff;
    }
    if (!paired)
        return malformed(r, "a lone surrogate");
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return TR_OK;
}

static tr_status read_escape(reader *r, char **to) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    unsigned code = 0;
    tr_status st = TR_OK;

    r->pos++;
    int c = peek(r);
    if (c == 'u') {
        r->pos++;
        st = read_unicode_escape(r, &code);
        if (st == TR_OK)
            *to += put_utf8(*to, code);
        return st;
    }
    const char *name = c > 0 ? strchr(names, c) : NULL;
    if (name == NULL)
        return unexpected(r, "an escape");
    *(*to)++ = values[name - names];
    r->pos++;
    return TR_OK;
}

/* Find the closing quote, so that the decoded text can be written into memory of its size. */
static size_t raw_length(const reader *r) {
    size_t i = r->pos + 1;
    while (i < r->len && r->text[i] != '"')
        i += r->text[i] == '\\' ? 2 : 1;
    return (i < r->len ? i : r->len) - r->pos;
}

/* At a quote: read the string, quotes included, into *out (cJSON_malloc). */
static tr_status read_string(reader *r, char **out) {
    tr_status st = TR_OK;
    char *decoded = cJSON_malloc(raw_length(r) + 1);
    char *to = decoded;
    if (decoded == NULL)
        return no_memory(r);

    r->pos++;
    for (int c = peek(r); c != '"'; c = peek(r)) {
        if (c < 0) {
            TR_TRY(unexpected(r, "the end of a string"));
        } else if (c < 0x20) {
            TR_TRY(malformed(r, "a control character in a string"));
        } else if (c == '\\') {
            TR_TRY(read_escape(r, &to));
        } else {
            size_t n = tr_utf8_sequence(r->text + r->pos, r->len - r->pos);
            if (n == 0)
                TR_TRY(malformed(r, "invalid UTF-8"));
            memcpy(to, r->text + r->pos, n);
            to += n;
            r->pos += n;
        }
    }
    r->pos++;
    *to = '\0';
    *out = decoded;
    decoded = NULL;
out:
    cJSON_free(decoded);
    return st;
}

static tr_status read_string_value(reader *r, cJSON *node) {
    tr_status st = read_string(r, &node->valuestring);
    if (st == TR_OK)
        node->type = cJSON_String;
    return st;
}

/* ---- numbers ---- */

static size_t digits(reader *r) {
    size_t start = r->pos;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->pos++;
    return r->pos - start;
}

static tr_status scan_number(reader *r) {
    if (peek(r) == '-')
        r->pos++;
    if (peek(r) == '0') {
        r->pos++;
        if (peek(r) >= '0' && peek(r) <= '9')
            return malformed(r, "a number with a leading zero");
    } else if (digits(r) == 0) {
        return unexpected(r, "a digit");
    }
    if (peek(r) == '.') {
        r->pos++;
        if (digits(r) == 0)
            return unexpected(r, "a digit");
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        r->pos++;
        if (peek(r) == '+' || peek(r) == '-')
            r->pos++;
        size_t count = digits(r);
        if (count == 0)
            return unexpected(r, "a digit");
        if (count > TR_NUMBER_EXPONENT_DIGITS)
            return malformed(r, "a number's exponent is too long");
    }
    return TR_OK;
}

static locale_t c_locale; /* set once; strtod must not obey a locale with a decimal comma */

static void make_c_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static double to_double(const char *text) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    return c_locale == (locale_t)0 ? strtod(text, NULL) : strtod_l(text, NULL, c_locale);
}

static tr_status read_number(reader *r, cJSON **out) {
    tr_status st = TR_OK;
    size_t start = r->pos;
    TR_TRY(scan_number(r));
    size_t n = r->pos - start;
    if (n > TR_NUMBER_MAX)
        TR_TRY(fail(r, TR_E_MALFORMED, start, "a number is too long"));

    char *text = cJSON_malloc(n + 1);
    if (text == NULL)
        TR_TRY(no_memory(r));
    memcpy(text, r->text + start, n);
    text[n] = '\0';
    *out = cJSON_CreateNumber(to_double(text));
    if (*out != NULL)
        (*out)->valuestring = text;
    else
        cJSON_free(text);
out:
    return st;
}

/* ---- containers ---- */

static tr_status read_array(reader *r, cJSON *array) {
    tr_status st = TR_OK;
    frame *here = &r->frames[r->depth - 1];

    r->pos++;
    skip_space(r);
    if (peek(r) == ']')
        goto close;
    for (;;) {
        cJSON *item = NULL;
        here->index++;
        TR_TRY(read_value(r, &item));
        cJSON_AddItemToArray(array, item);
        skip_space(r);
        if (peek(r) != ',')
            break;
        r->pos++;
    }
    if (peek(r) != ']')
        TR_TRY(unexpected(r, "a comma or a closing bracket"));
close:
    r->pos++;
out:
    return st;
}

static tr_status refuse_duplicate(reader *r, const cJSON *object, size_t count, tr_json_keyset *names,
                                  const char *key) {
    bool added = true;
    tr_status st = TR_OK;
    if (count < LINEAR_KEYS) {
        for (const cJSON *member = object->child; member != NULL && added; member = member->next)
            added = strcmp(member->string, key) != 0;
    } else {
        if (count == LINEAR_KEYS)
            for (const cJSON *member = object->child; member != NULL && st == TR_OK; member = member->next)
                st = tr_json_keyset_add(names, member->string, &added);
        if (st == TR_OK)
            st = tr_json_keyset_add(names, key, &added);
    }
    if (st != TR_OK)
        return no_memory(r);
    return added ? TR_OK : malformed(r, "a duplicate member name");
}

/* Name, colon and value; the member is added to the object. */
static tr_status read_member(reader *r, cJSON *object, size_t count, tr_json_keyset *names) {
    tr_status st = TR_OK;
    cJSON *value = NULL;
    char *key = NULL;
    frame *here = &r->frames[r->depth - 1];

    skip_space(r);
    if (peek(r) != '"')
        TR_TRY(unexpected(r, "a member name"));
    TR_TRY(read_string(r, &key));
    here->key = key;
    TR_TRY(refuse_duplicate(r, object, count, names, key));
    skip_space(r);
    if (peek(r) != ':')
        TR_TRY(unexpected(r, "a colon"));
    r->pos++;
    TR_TRY(read_value(r, &value));
    value->string = key;
    key = NULL;
    cJSON_AddItemToArray(object,
                         value); /* links it; unlike cJSON_AddItemToObject it does not copy the name */
out:
    here->key = NULL;
    cJSON_free(key);
    return st;
}

static tr_status read_object(reader *r, cJSON *object) {
    tr_status st = TR_OK;
    tr_json_keyset names = {0};

    r->pos++;
    skip_space(r);
    if (peek(r) == '}')
        goto close;
    for (size_t count = 0;; count++) {
        TR_TRY(read_member(r, object, count, &names));
        skip_space(r);
        if (peek(r) != ',')
            break;
        r->pos++;
    }
    if (peek(r) != '}')
        TR_TRY(unexpected(r, "a comma or a closing brace"));
close:
    r->pos++;
out:
    tr_json_keyset_clear(&names);
    return st;
}

static tr_status read_container(reader *r, cJSON *node, bool is_array) {
    if (r->depth == TR_JSON_MAX_DEPTH)
        return malformed(r, "nested too deep");
    r->frames[r->depth++] = (frame){.index = SIZE_MAX}; /* the first item makes it 0 */
    node->type = is_array ? cJSON_Array : cJSON_Object;
    tr_status st = is_array ? read_array(r, node) : read_object(r, node);
    r->depth--;
    return st;
}

static tr_status read_word(reader *r, const char *word, cJSON *node, int type) {
    size_t n = strlen(word);
    if (r->len - r->pos < n || memcmp(r->text + r->pos, word, n) != 0)
        return unexpected(r, "a value");
    r->pos += n;
    node->type = type;
    return TR_OK;
}

static tr_status read_into(reader *r, cJSON *node) {
    switch (peek(r)) {
    case '{': return read_container(r, node, false);
    case '[': return read_container(r, node, true);
    case '"': return read_string_value(r, node);
    case 't': return read_word(r, "true", node, cJSON_True);
    case 'f': return read_word(r, "false", node, cJSON_False);
    default: return read_word(r, "null", node, cJSON_NULL);
    }
}

static tr_status read_value(reader *r, cJSON **out) {
    tr_status st = TR_OK;
    cJSON *node = NULL;

    skip_space(r);
    if (++r->nodes > TR_JSON_MAX_NODES)
        TR_TRY(malformed(r, "too many values"));
    int c = peek(r);
    if (c == '-' || (c >= '0' && c <= '9')) {
        TR_TRY(read_number(r, &node));
    } else {
        node = cJSON_CreateNull();
        if (node != NULL)
            TR_TRY(read_into(r, node));
    }
    if (node == NULL)
        TR_TRY(no_memory(r));
    *out = node;
    node = NULL;
out:
    cJSON_Delete(node);
    return st;
}

tr_status tr_json_parse(const char *text, size_t len, cJSON **out, tr_error *err) {
    tr_status st = TR_OK;
    cJSON *tree = NULL;
    reader r = {.text = text, .len = len, .err = err};

    *out = NULL;
    TR_TRY(read_value(&r, &tree));
    skip_space(&r);
    if (r.pos < r.len)
        TR_TRY(malformed(&r, "text after the value"));
    *out = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    return st;
}
