#include "vault/holds.h"

#include <string.h>

#define TITLE_SHOWN 160 /* bytes, so that the id behind it fits into an error's text */

static tr_status refuse(void *context, const tr_hold *row, tr_error *err) {
    char id[TR_UUID_TEXT];
    size_t len = strlen(row->title);
    bool cut = len > TITLE_SHOWN;
    (void)context;
    if (cut) /* no half character of UTF-8 */
        for (len = TITLE_SHOWN; len > 0 && ((unsigned char)row->title[len] & 0xc0) == 0x80;)
            len--;
    tr_uuid_format(&row->id, id);
    return tr_fail(err, TR_E_HOLD, NULL, "the legal hold \"%.*s%s\" (%s) forbids it", (int)len, row->title,
                   cut ? "..." : "", id);
}

tr_status tr_hold_check(tr_db *db, const tr_uuid *subject, int64_t now, tr_error *err) {
    tr_status st = tr_hold_standing(db, subject, now, refuse, NULL, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status see(void *context, const tr_hold *row, tr_error *err) {
    (void)row;
    (void)err;
    *(bool *)context = true;
    return TR_OK;
}

tr_status tr_hold_stands(tr_db *db, const tr_uuid *subject, int64_t now, bool *stands, tr_error *err) {
    *stands = false;
    tr_status st = tr_hold_standing(db, subject, now, see, stands, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

bool tr_hold_is_standing(const tr_hold *row, int64_t now) {
    return row->lifted_at == 0 && (row->expires_at == 0 || row->expires_at > now);
}

struct count {
    int64_t now;
    int standing;
};

static tr_status add(void *context, const tr_hold *row, tr_error *err) {
    struct count *c = context;
    (void)err;
    c->standing += tr_hold_is_standing(row, c->now);
    return c->standing < TR_HOLDS_MAX ? TR_OK : TR_STOP;
}

tr_status tr_hold_place(tr_db *tx, const tr_hold *row, tr_error *err) {
    struct count c = {.now = row->created_at};
    tr_status st = tr_hold_list(tx, &row->subject, NULL, INT32_MAX, add, &c, err);
    if (st == TR_STOP)
        return tr_fail(err, TR_E_CONFLICT, NULL, "this subject has %d standing holds; lift some first",
                       TR_HOLDS_MAX);
    return st == TR_OK ? tr_hold_insert(tx, row, err) : st;
}
