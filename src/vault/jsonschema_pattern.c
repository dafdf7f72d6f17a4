/* Patterns on PCRE2, with bounded effort.
 *
 * PCRE2's own match limit starts anew at each place where a match may begin, so it does not bound the whole.
 * Instead the pattern is compiled with automatic callouts, one before each of its items: the callout counts,
 * charges for the text that an item has run over, and ends the match when the effort is spent.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "vault/jsonschema_internal.h"

#define SHOWN_BYTES    80
#define BYTES_A_STEP   32
#define HEAP_LIMIT_KIB (16 * 1024)

struct tr_js_pattern {
    tr_js_pattern *next;
    pcre2_code *code;
    size_t bytes;
    bool compares_text; /* has back references: an item may compare much text and not move */
    char shown[SHOWN_BYTES + 4];
};

struct tr_js_matcher {
    pcre2_match_context *context;
    pcre2_match_data *data;
    size_t effort;
    size_t at;
    size_t item_cost;
};

/* ---- compiling ---- */

/* At most SHOWN_BYTES of the text, not cut inside a code point. */
static void show(char *out, const char *text) {
    const size_t len = strlen(text);
    size_t n = len;
    if (n > SHOWN_BYTES) {
        for (n = SHOWN_BYTES; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
            n--;
    }
    (void)snprintf(out, SHOWN_BYTES + sizeof "...", "%.*s%s", (int)n, text, n < len ? "..." : "");
}

static tr_status compile_translated(const tr_buf *text, tr_js_pattern *pattern, char *fault, size_t size) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    size_t bytes = 0;
    uint32_t backrefs = 0;
    const uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY |
                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_AUTO_CALLOUT;
    pattern->code =
        pcre2_compile((PCRE2_SPTR)(text->data ? text->data : ""), text->len, options, &code, &offset, NULL);
    if (!pattern->code) {
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return TR_E_NOMEM;
        if (pcre2_get_error_message(code, (PCRE2_UCHAR *)fault, size) < 0)
            snprintf(fault, size, "PCRE2 refuses it");
        return TR_E_VALIDATION;
    }
    pcre2_pattern_info(pattern->code, PCRE2_INFO_SIZE, &bytes);
    pcre2_pattern_info(pattern->code, PCRE2_INFO_BACKREFMAX, &backrefs);
    pattern->bytes = bytes;
    pattern->compares_text = backrefs > 0;
    return TR_OK;
}

tr_status tr_js_pattern_compile(const char *text, tr_js_pattern **out, char *fault, size_t size) {
    tr_buf translated = TR_BUF_INIT;
    const char *wrong = NULL;
    tr_status st = TR_E_VALIDATION;
    tr_js_pattern *pattern = calloc(1, sizeof *pattern);
    snprintf(fault, size, "out of memory");
    if (!pattern)
        return TR_E_NOMEM;
    if (strlen(text) > 4 * TR_JS_MAX_PATTERN || tr_utf8_count(text, strlen(text)) > TR_JS_MAX_PATTERN)
        wrong = "it is longer than 1000 characters";
    else
        wrong = tr_js_pattern_translate(text, &translated);
    if (wrong)
        snprintf(fault, size, "%s", wrong);
    else if (translated.failed)
        st = TR_E_NOMEM;
    else
        st = compile_translated(&translated, pattern, fault, size);
    tr_buf_clear(&translated);
    if (st != TR_OK) {
        tr_js_pattern_free(pattern);
        return st;
    }
    show(pattern->shown, text);
    *out = pattern;
    return TR_OK;
}

void tr_js_pattern_free(tr_js_pattern *pattern) {
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    free(pattern);
}

void tr_js_patterns_free(tr_js_pattern *first) {
    while (first) {
        tr_js_pattern *next = first->next;
        tr_js_pattern_free(first);
        first = next;
    }
}

void tr_js_pattern_link(tr_js_pattern **list, tr_js_pattern *pattern) {
    pattern->next = *list;
    *list = pattern;
}

const char *tr_js_pattern_text(const tr_js_pattern *pattern) {
    return pattern->shown;
}

size_t tr_js_pattern_bytes(const tr_js_pattern *pattern) {
    return pattern->bytes;
}

/* ---- matching ---- */

static int count_item(pcre2_callout_block *block, void *context) {
    tr_js_matcher *m = context;
    size_t at = block->current_position;
    size_t moved = at > m->at ? at - m->at : m->at - at;
    size_t cost = m->item_cost + moved / BYTES_A_STEP;
    m->at = at;
    if (cost >= m->effort) {
        m->effort = 0;
        return PCRE2_ERROR_CALLOUT;
    }
    m->effort -= cost;
    return 0;
}

static tr_js_matcher *matcher_new(void) {
    tr_js_matcher *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->context = pcre2_match_context_create(NULL);
    m->data = pcre2_match_data_create(1, NULL);
    if (!m->context || !m->data) {
        tr_js_matcher_free(m);
        return NULL;
    }
    pcre2_set_callout(m->context, count_item, m);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
    return m;
}

void tr_js_matcher_free(tr_js_matcher *m) {
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    free(m);
}

tr_js_outcome tr_js_pattern_match(const tr_js_pattern *pattern, const char *text, size_t len,
                                  tr_js_matcher **matcher, size_t *effort) {
    size_t first_cost = 1 + len / BYTES_A_STEP; /* checking UTF-8 and looking for a place to begin */
    if (!*matcher)
        *matcher = matcher_new();
    tr_js_matcher *m = *matcher;
    if (!m || *effort <= first_cost) {
        *effort = m ? 0 : *effort;
        return TR_JS_STOP;
    }
    m->effort = *effort - first_cost;
    m->at = 0;
    m->item_cost = 1 + (pattern->compares_text ? len / BYTES_A_STEP : 0);
    int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, len, 0, 0, m->data, m->context);
    *effort = m->effort;
    if (rc >= 0)
        return TR_JS_PASS;
    if (rc == PCRE2_ERROR_NOMATCH || (rc <= PCRE2_ERROR_UTF8_ERR1 && rc >= PCRE2_ERROR_UTF8_ERR21))
        return TR_JS_FAIL;
    *effort = 0; /* a limit of PCRE2's own is a bound as well */
    return TR_JS_STOP;
}
