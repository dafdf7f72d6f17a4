/* Seen by the analyzers alone (`./dev lint`): what they cannot know of a function in another file. */
#ifndef TR_ANALYZER_H
#define TR_ANALYZER_H

#include "base/status.h"

/* tr_fail gives the status it was given, never TR_OK. */
#define tr_fail(err, status, ...) (tr_fail(err, status, __VA_ARGS__), (status))
/* Nor does this one give TR_OK. */
#define tr_fail_errno(err, where, what) (tr_fail_errno(err, where, what), TR_E_IO)

#endif
