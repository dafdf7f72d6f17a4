/* What the fault tests find in a folder, held against what must be there. What is wrong ends the program. */
#ifndef FAULT_CHECK_H
#define FAULT_CHECK_H

#include "fault_steps.h"

#define FAULT_STEPS_MAX 64

typedef struct fault_dump { /* all rows, in numbers */
    uint64_t vault, keys, sessions;
} fault_dump;

extern char fault_label[200]; /* what is tried now */
extern tr_secret fault_keys[KEY_COUNT];
extern fault_dump fault_dumps[FAULT_STEPS_MAX + 1]; /* before step i */

/* From whichever thread. */
void fault_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void fault_must(tr_status st, const tr_error *err, const char *what);

fault_dump fault_dump_of(tr_store *store);
/* In this step's place: what was acknowledged is there; what was not, wholly or not at all. */
void fault_check_dump(const fault_dump *is, int step, bool acknowledged, const char *when);
/* The folder, which no store has open: opened, its structure, its rows, its log. */
void fault_check_folder(const char *dir, int step, bool acknowledged);

#endif
