/* The texts of schema/<db>-<number>-<name>.sql, embedded by cmake/embed.py, ordered by database and number.
 */
#ifndef TR_STORE_MIGRATIONS_H
#define TR_STORE_MIGRATIONS_H

#include <stddef.h>

struct tr_migration_text {
    const char *db; /* "vault", "keys", "audit" */
    int version;    /* 1, 2, ...: PRAGMA user_version after it */
    const char *name;
    const char *sql;
};

extern const struct tr_migration_text tr_migrations[];
extern const size_t tr_migrations_count;

#endif
