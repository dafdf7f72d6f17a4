/* Which snapshots are kept. Not for other layers. */
#ifndef TR_VAULT_SNAPSHOT_KEEP_H
#define TR_VAULT_SNAPSHOT_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tr_keep {
    int64_t last, daily, weekly, monthly;
} tr_keep;

/* `created_ms` in ascending order. Kept are the newest `last`, and the newest of each of the newest `daily`
 * days, `weekly` weeks (from Monday) and `monthly` months that have one, all in UTC; together never none. */
void tr_snapshots_choose(const int64_t *created_ms, size_t count, const tr_keep *rule, bool *kept);

#endif
