/* What the ends of activities mean for types: not for other layers than vault/. */
#ifndef TR_VAULT_RETENTION_RULES_H
#define TR_VAULT_RETENTION_RULES_H

#include "vault/types.h"

typedef struct tr_end_rule { /* for one type, of all activities that name it */
    char type[TR_TYPE_NAME_MAX + 1];
    bool endless;   /* one of them has no end: the rule is none */
    int64_t due_at; /* the latest end + retention_after_end */
    int64_t until;  /* the latest end: records created later are not touched */
} tr_end_rule;

typedef struct tr_end_rules {
    tr_end_rule *items; /* by type */
    size_t count;
    int64_t stamp; /* tr_activity_stamp: as long as it is the same, so are the rules */
} tr_end_rules;

/* The rules as of one moment. The caller clears them, also after a failure. */
tr_status tr_end_rules_load(tr_db *db, tr_end_rules *rules, tr_error *err);
void tr_end_rules_clear(tr_end_rules *rules);
/* The type's, or NULL. */
const tr_end_rule *tr_end_rules_find(const tr_end_rules *rules, const char *type);

#endif
