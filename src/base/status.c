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

tr_status tr_fail(tr_error *err, tr_status status, const char *where, const char *format, ...) {
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    (void)vsnprintf(err->what, sizeof err->what, format, args);
    (void)snprintf(err->where, sizeof err->where, "%s", where ? where : "");
    va_end(args);
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
