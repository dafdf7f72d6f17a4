/* Regular expressions of ECMA-262 (Unicode mode), which JSON Schema asks for, in the syntax of PCRE2.
 *
 * Every atom is read and written anew, so that what PCRE2 alone knows (verbs, inline options, possessive
 * quantifiers, recursion, POSIX classes, \A, \Q, \K ...) is never taken, and what differs is put in other
 * words: .        all but line feed, carriage return, U+2028, U+2029 \s \S    ECMA's white space, Unicode
 * included; \d \w \b stay ASCII, since PCRE2_UCP is not set
 *   [] [^]   nothing, anything
 *   \p{..}   long names of general categories, General_Category=, Script=, Script_Extensions=
 *   \u \x \c code points; \1 as \g{1}
 * `$` is the end of the text only, and a reference to a group that has not matched is empty, by options of
 * PCRE2. Beyond Unicode mode, for the sake of patterns in the wild: any ASCII punctuation may be escaped, and
 * a "]" or "}", or a "{" that begins no quantifier, stands for itself. Left over: PCRE2 keeps a group's text
 * across the repetitions of a group around it, and its lookbehinds must have a bounded length.
 */
#include <stdio.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

#define MAX_OPEN_GROUPS 200
#define ECMA_SPACE                                                                                           \
    "\\x{9}-\\x{d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"   \
    "\\x{feff}"
#define ECMA_NOT_SPACE                                                                                       \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"      \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

typedef struct translator {
    const char *p;
    tr_buf *out;
    const char *fault;
    bool repeatable;                  /* may a quantifier follow? */
    size_t open;                      /* groups */
    bool lookaround[MAX_OPEN_GROUPS]; /* is the open group one? */
} translator;

static bool fault(translator *t, const char *what) {
    if (!t->fault)
        t->fault = what;
    return false;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_word(char c) {
    return is_letter(c) || is_digit(c) || c == '_';
}

static void put_code_point(translator *t, uint32_t cp) {
    if (cp < 0x80 && (is_letter((char)cp) || is_digit((char)cp)))
        tr_buf_putc(t->out, (char)cp);
    else
        tr_buf_printf(t->out, "\\x{%x}", (unsigned)cp);
}

/* ---- code points ---- */

/* One code point of UTF-8 (RFC 3629) that is not an escape. */
static bool read_plain(translator *t, uint32_t *cp) {
    const unsigned char *u = (const unsigned char *)t->p;
    size_t more = u[0] < 0x80 ? 0 : u[0] < 0xe0 ? 1 : u[0] < 0xf0 ? 2 : 3;
    uint32_t value = more == 0 ? u[0] : u[0] & (0x3fu >> more);
    if ((u[0] >= 0x80 && u[0] < 0xc2) || u[0] > 0xf4)
        return fault(t, "it is not UTF-8");
    for (size_t i = 1; i <= more; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return fault(t, "it is not UTF-8");
        value = value << 6 | (u[i] & 0x3fu);
    }
    t->p += more + 1;
    *cp = value;
    return true;
}

/* `min` to `max` hexadecimal digits. */
static bool read_hex(translator *t, size_t min, size_t max, uint32_t *value) {
    size_t n = strspn(t->p, "0123456789abcdefABCDEF");
    if (n > max)
        n = max;
    if (n < min)
        return fault(t, "an escape lacks hexadecimal digits");
    *value = 0;
    for (; n > 0; n--, t->p++)
        *value = *value << 4 | (uint32_t)(is_digit(*t->p) ? *t->p - '0' : (*t->p | 0x20) - 'a' + 10);
    return true;
}

/* After "\u": four digits, two such for a surrogate pair, or {digits}. */
static bool read_unicode(translator *t, uint32_t *cp) {
    uint32_t low;
    if (*t->p == '{') {
        t->p++;
        if (!read_hex(t, 1, 8, cp))
            return false;
        if (*t->p++ != '}')
            return fault(t, "an escape \\u{ is not closed");
    } else if (!read_hex(t, 4, 4, cp)) {
        return false;
    } else if (*cp >= 0xd800 && *cp < 0xdc00 && strncmp(t->p, "\\u", 2) == 0) {
        t->p += 2;
        if (!read_hex(t, 4, 4, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000)
            *cp = 0x10000 + ((*cp - 0xd800) << 10) + (low - 0xdc00);
    }
    if (*cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000))
        return fault(t, "an escape names a lone surrogate or a code point beyond U+10FFFF");
    return true;
}

/* After "\": an escape that stands for one code point. */
static bool read_escape(translator *t, uint32_t *cp) {
    static const char letters[] = "tnvfr", controls[] = "\t\n\v\f\r";
    char c = *t->p;
    const char *simple = c ? strchr(letters, c) : NULL;
    if (c == '\0')
        return fault(t, "it ends in a backslash");
    if ((unsigned char)c >= 0x80)
        return fault(t, "only ASCII punctuation may be escaped");
    t->p++;
    *cp = (unsigned char)c;
    if (simple) {
        *cp = (unsigned char)controls[simple - letters];
    } else if (c == '0') {
        *cp = 0;
        return !is_digit(*t->p) || fault(t, "octal escapes are not taken");
    } else if (c == 'x') {
        return read_hex(t, 2, 2, cp);
    } else if (c == 'u') {
        return read_unicode(t, cp);
    } else if (c == 'c') {
        if (!is_letter(*t->p))
            return fault(t, "\\c lacks a letter");
        *cp = (unsigned char)*t->p++ & 0x1f;
    } else if (is_word(c)) {
        return fault(t, "it has an escape that ECMA-262 does not know");
    }
    return true;
}

/* ---- properties ---- */

/* ECMA-262's long names, and PCRE2's short ones. */
static const char *const categories[][2] = {
    {"Letter", "L"},
    {"Cased_Letter", "L&"},
    {"LC", "L&"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Titlecase_Letter", "Lt"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Mark", "M"},
    {"Combining_Mark", "M"},
    {"Nonspacing_Mark", "Mn"},
    {"Spacing_Mark", "Mc"},
    {"Enclosing_Mark", "Me"},
    {"Number", "N"},
    {"Decimal_Number", "Nd"},
    {"digit", "Nd"},
    {"Letter_Number", "Nl"},
    {"Other_Number", "No"},
    {"Punctuation", "P"},
    {"punct", "P"},
    {"Connector_Punctuation", "Pc"},
    {"Dash_Punctuation", "Pd"},
    {"Open_Punctuation", "Ps"},
    {"Close_Punctuation", "Pe"},
    {"Initial_Punctuation", "Pi"},
    {"Final_Punctuation", "Pf"},
    {"Other_Punctuation", "Po"},
    {"Symbol", "S"},
    {"Math_Symbol", "Sm"},
    {"Currency_Symbol", "Sc"},
    {"Modifier_Symbol", "Sk"},
    {"Other_Symbol", "So"},
    {"Separator", "Z"},
    {"Space_Separator", "Zs"},
    {"Line_Separator", "Zl"},
    {"Paragraph_Separator", "Zp"},
    {"Other", "C"},
    {"Control", "Cc"},
    {"cntrl", "Cc"},
    {"Format", "Cf"},
    {"Private_Use", "Co"},
    {"Unassigned", "Cn"},
};

static const char *const property_types[][2] = {
    {"General_Category", ""},      {"gc", ""},      {"Script", "sc:"}, {"sc", "sc:"},
    {"Script_Extensions", "scx:"}, {"scx", "scx:"},
};

static bool same(const char *name, size_t len, const char *known) {
    return strlen(known) == len && memcmp(name, known, len) == 0;
}

/* PCRE2's name of a general category, or NULL. */
static const char *category(const char *name, size_t len) {
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++)
        if (same(name, len, categories[i][0]) || same(name, len, categories[i][1]))
            return categories[i][1];
    return NULL;
}

static bool put_property(translator *t, bool negated) {
    if (*t->p++ != '{')
        return fault(t, "\\p lacks {");
    const char *type = "", *name = t->p;
    size_t len = 0;
    bool is_category = false;
    while (is_word(name[len]))
        len++;
    if (name[len] == '=') {
        type = NULL;
        for (size_t i = 0; i < sizeof property_types / sizeof *property_types; i++)
            if (same(name, len, property_types[i][0]))
                type = property_types[i][1];
        is_category = type && !*type;
        name += len + 1;
        for (len = 0; is_word(name[len]);)
            len++;
    }
    if (!type || len == 0 || name[len] != '}')
        return fault(t, "\\p{...} does not name a property");
    t->p = name + len + 1;
    if (same(name, len, "Assigned")) {
        name = "Cn";
        len = 2;
        negated = !negated;
    }
    const char *short_name = *type ? NULL : category(name, len);
    if (is_category && !short_name)
        return fault(t, "\\p{...} does not name a general category");
    tr_buf_printf(t->out, "\\%c{%s", negated ? 'P' : 'p', type);
    if (short_name)
        tr_buf_puts(t->out, short_name);
    else
        tr_buf_append(t->out, name, len);
    tr_buf_putc(t->out, '}');
    return true;
}

/* ---- classes ---- */

/* One atom of a class: a set, which is written, or a code point, which is not. */
static bool read_class_atom(translator *t, bool *single, uint32_t *cp) {
    *single = true;
    if (*t->p != '\\')
        return read_plain(t, cp);
    char c = *++t->p;
    if (c == 'b') {
        t->p++;
        *cp = 8;
        return true;
    }
    *single = c == '\0' || !strchr("dDwWsSpP", c);
    if (*single)
        return read_escape(t, cp);
    t->p++;
    if (c == 'p' || c == 'P')
        return put_property(t, c == 'P');
    if (c == 's' || c == 'S')
        tr_buf_puts(t->out, c == 's' ? ECMA_SPACE : ECMA_NOT_SPACE);
    else
        tr_buf_printf(t->out, "\\%c", c);
    return true;
}

static bool put_class_item(translator *t) {
    uint32_t low, high = 0; /* gcc 14 does not see that it is set */
    bool single;
    if (!read_class_atom(t, &single, &low))
        return false;
    if (!single)
        return true;
    put_code_point(t, low);
    if (t->p[0] != '-' || t->p[1] == ']' || t->p[1] == '\0')
        return true;
    const char *dash = t->p++;
    if (*t->p == '\\' && t->p[1] && strchr("dDwWsSpP", t->p[1])) {
        t->p = dash; /* [a-\d]: the dash is one */
        return true;
    }
    if (!read_class_atom(t, &single, &high))
        return false;
    if (high < low)
        return fault(t, "a range of a class is out of order");
    tr_buf_putc(t->out, '-');
    put_code_point(t, high);
    return true;
}

static bool put_class(translator *t) {
    bool negated = *++t->p == '^';
    if (negated)
        t->p++;
    if (*t->p == ']') {
        t->p++;
        tr_buf_puts(t->out, negated ? "[\\x{0}-\\x{10ffff}]" : "(?!)");
        return true;
    }
    tr_buf_puts(t->out, negated ? "[^" : "[");
    while (*t->p != ']') {
        if (*t->p == '\0')
            return fault(t, "a class is not closed");
        if (!put_class_item(t))
            return false;
    }
    t->p++;
    tr_buf_putc(t->out, ']');
    return true;
}

/* ---- the rest ---- */

/* <name>, of a group or after \k. */
static bool put_name(translator *t) {
    size_t n = 1;
    while (is_word(t->p[n]))
        n++;
    if (*t->p != '<' || n == 1 || is_digit(t->p[1]) || t->p[n] != '>')
        return fault(t, "a group's name is not one");
    tr_buf_append(t->out, t->p, n + 1);
    t->p += n + 1;
    return true;
}

static bool put_open(translator *t) {
    static const char *const kinds[] = {"?:", "?=", "?!", "?<=", "?<!"};
    if (t->open == MAX_OPEN_GROUPS)
        return fault(t, "its groups are nested too deep");
    t->lookaround[t->open] = false;
    tr_buf_putc(t->out, '(');
    t->p++;
    t->repeatable = false;
    if (*t->p != '?') {
        t->open++;
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(t->p, kinds[i], strlen(kinds[i])) == 0) {
            tr_buf_puts(t->out, kinds[i]);
            t->p += strlen(kinds[i]);
            t->lookaround[t->open++] = i > 0;
            return true;
        }
    }
    if (t->p[1] != '<')
        return fault(t, "it has a group of a kind that ECMA-262 does not know");
    t->open++;
    tr_buf_putc(t->out, '?');
    t->p++;
    return put_name(t);
}

static bool put_close(translator *t) {
    if (t->open == 0)
        return fault(t, "a group is closed that is not open");
    t->repeatable = !t->lookaround[--t->open];
    tr_buf_putc(t->out, ')');
    t->p++;
    return true;
}

/* The length of {n}, {n,} or {n,m}; 0 when there is none. */
static size_t braces(const char *p) {
    size_t n = 1;
    while (is_digit(p[n]))
        n++;
    if (n == 1)
        return 0;
    if (p[n] == ',')
        for (n++; is_digit(p[n]);)
            n++;
    return p[n] == '}' ? n + 1 : 0;
}

static bool put_quantifier(translator *t, size_t len) {
    if (!t->repeatable)
        return fault(t, "a quantifier has nothing to repeat");
    tr_buf_append(t->out, t->p, len);
    t->p += len;
    if (*t->p == '?')
        tr_buf_putc(t->out, *t->p++);
    t->repeatable = false;
    return true;
}

static bool put_escape(translator *t) {
    char c = *++t->p;
    uint32_t cp;
    t->repeatable = c != 'b' && c != 'B';
    if (c != '\0' && strchr("dDwWbB", c)) {
        tr_buf_printf(t->out, "\\%c", c);
    } else if (c == 's' || c == 'S') {
        tr_buf_puts(t->out, c == 's' ? "[" ECMA_SPACE "]" : "[^" ECMA_SPACE "]");
    } else if (c == 'p' || c == 'P') {
        t->p++;
        return put_property(t, c == 'P');
    } else if (c == 'k') {
        t->p++;
        tr_buf_puts(t->out, "\\k");
        return put_name(t);
    } else if (c >= '1' && c <= '9') {
        size_t n = strspn(t->p, "0123456789");
        tr_buf_printf(t->out, "\\g{%.*s}", (int)(n < 6 ? n : 6), t->p);
        t->p += n;
        return true;
    } else {
        if (!read_escape(t, &cp))
            return false;
        put_code_point(t, cp);
        return true;
    }
    t->p++;
    return true;
}

static bool put_literal(translator *t) {
    uint32_t cp;
    t->repeatable = true;
    if (!read_plain(t, &cp))
        return false;
    put_code_point(t, cp);
    return true;
}

static bool put_assertion_or_bar(translator *t) {
    tr_buf_putc(t->out, *t->p++);
    t->repeatable = false;
    return true;
}

static bool put_term(translator *t) {
    switch (*t->p) {
    case '^':
    case '$':
    case '|': return put_assertion_or_bar(t);
    case '\\': return put_escape(t);
    case '[': t->repeatable = true; return put_class(t);
    case '(': return put_open(t);
    case ')': return put_close(t);
    case '*':
    case '+':
    case '?': return put_quantifier(t, 1);
    case '{': return braces(t->p) ? put_quantifier(t, braces(t->p)) : put_literal(t);
    case '.':
        t->repeatable = true;
        t->p++;
        tr_buf_puts(t->out, "[^\\n\\r\\x{2028}\\x{2029}]");
        return true;
    default: return put_literal(t);
    }
}

const char *tr_js_pattern_translate(const char *text, tr_buf *out) {
    translator t = {.p = text, .out = out};
    while (*t.p && put_term(&t))
        ;
    if (!t.fault && t.open > 0)
        t.fault = "a group is not closed";
    return t.fault;
}
