#include "vault/package_texts.h"

#include <strings.h>

static const char *const texts[TR_TEXT_COUNT][TR_LANG_COUNT] = {
#define TR_TEXT_ROW(name, en, de, fr, it) [TR_T_##name] = {(en), (de), (fr), (it)},
    TR_TEXTS(TR_TEXT_ROW)
#undef TR_TEXT_ROW
};

static const char *const names[TR_LANG_COUNT] = {"en", "de", "fr", "it"};

const char *tr_text_in(tr_language language, tr_text text) {
    return texts[text][language];
}

const char *tr_language_name(tr_language language) {
    return names[language];
}

bool tr_language_parse(const char *text, size_t len, tr_language *language) {
    for (int i = 0; len >= 2 && i < TR_LANG_COUNT; i++) {
        if (strncasecmp(text, names[i], 2) == 0 && (len == 2 || text[2] == '-')) {
            *language = (tr_language)i;
            return true;
        }
    }
    return false;
}
