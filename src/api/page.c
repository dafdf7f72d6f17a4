#include "api/page.h"

void tr_page_open(tr_call *call) {
    tr_buf *out = &call->response->body;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_open(out, "items", '[');
}

void tr_page_close(tr_call *call, const void *cursor, size_t len) {
    tr_buf *out = &call->response->body;
    tr_jw_close(out, ']');
    tr_call_next(out, cursor, len);
    tr_jw_close(out, '}');
}

tr_status tr_page_begin(tr_page *page, tr_call *call, tr_error *err) {
    *page = (tr_page){.call = call};
    tr_status st = tr_call_page(call, &page->left, &page->room, &page->after, err);
    if (st == TR_OK)
        tr_page_open(call);
    return st;
}

int tr_page_rows(const tr_page *page) {
    return page->left + 1;
}

bool tr_page_count(tr_page *page) {
    if (page->left == 0) {
        page->more = true;
        return false;
    }
    page->left--;
    return true;
}

bool tr_page_full(tr_page *page, const tr_uuid *id) {
    if (!tr_page_count(page))
        return true;
    page->last = *id;
    return false;
}

tr_status tr_page_end(tr_page *page, tr_status st) {
    tr_page_close(page->call, page->more ? page->last.bytes : NULL, sizeof page->last.bytes);
    return st == TR_STOP ? TR_OK : st;
}
