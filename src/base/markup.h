/* Texts inside HTML, safe for whoever opens the page. */
#ifndef TR_BASE_MARKUP_H
#define TR_BASE_MARKUP_H

#include "base/buf.h"

/* A text between tags or in a quoted attribute: & < > " ' as references, control characters as spaces. */
void tr_html_text(tr_buf *out, const char *text, size_t len);

#endif
