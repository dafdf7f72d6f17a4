/* Where bytes go that are made bit by bit: a response, a file. */
#ifndef TR_BASE_SINK_H
#define TR_BASE_SINK_H

#include <stddef.h>

#include "base/status.h"

/* Takes all n bytes before it returns, and may wait for whoever reads them. A failure is final: whoever
 * writes gives it back to its caller and writes no more. */
typedef tr_status (*tr_sink_fn)(void *sink, const void *bytes, size_t n, tr_error *err);

#endif
