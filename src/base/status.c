#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const slugs[TR_STATUS_COUNT] = {
#define TR_STATUS_SLUG(name, slug) [name] = (slug),
    TR_STATUS_TABLE(TR_STATUS_SLUG)
#undef TR_STATUS_SLUG
};

const char *tr_status_slug(tr_status status) {
    return (unsigned)status < TR_STATUS_COUNT ? slugs[status] : slugs[TR_E_INTERNAL];
}

/* Copy as much as fits, but no part of a UTF-8 sequence: errors go out as JSON. */
static void copy_text(char *to, size_t room, const char *from) {
    size_t n = strnlen(from, room);
    if (n == room) {
        n--;
        while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(to, from, n);
    to[n] = '\0';
}

tr_status tr_fail(tr_error *err, tr_status status, const char *where, const char *format, ...) {
    if (!err)
        return status;
    /* Apart first: a caller that adds to an error passes texts that lie in it. */
    char what[sizeof err->what + 8] = "", place[sizeof err->where + 8];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    (void)snprintf(place, sizeof place, "%s", where ? where : "");
    err->status = status;
    copy_text(err->what, sizeof err->what, what);
    copy_text(err->where, sizeof err->where, place);
    return status;
}

tr_status tr_fail_errno(tr_error *err, const char *where, const char *what_failed) {
    int code = errno;
    char room[128];
    tr_status status = TR_E_IO;
    if (code == ENOSPC || code == EDQUOT)
        status = TR_E_DISK_FULL;
    else if (code == ENOMEM)
        status = TR_E_NOMEM;
    return tr_fail(err, status, where, "%s: %s", what_failed, strerror_r(code, room, sizeof room));
}
