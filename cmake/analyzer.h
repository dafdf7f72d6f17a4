/* Seen by clang-tidy alone (`./dev lint`): what the analyzer cannot know of a function in another file. */
#ifndef TR_ANALYZER_H
#define TR_ANALYZER_H

#include "base/status.h"

/* tr_fail gives the status it was given, never TR_OK. */
#define tr_fail(err, status, ...) (tr_fail(err, status, __VA_ARGS__), (status))

#endif
