#include "vault/policy.h"

static const struct {
    const char *name;
    tr_rule rules[TR_ROLE_COUNT];
} actions[TR_ACTION_COUNT] = {[TR_DO_NOTHING] = {.name = "request.unknown"},
#define TR_ACTION_ROW(action, text, subject, service, officer, operator, auditor)                            \
    [action] = {.name = (text),                                                                              \
                .rules = {[TR_SUBJECT] = TR_RULE_##subject,                                                  \
                          [TR_SERVICE] = TR_RULE_##service,                                                  \
                          [TR_OFFICER] = TR_RULE_##officer,                                                  \
                          [TR_OPERATOR] = TR_RULE_##operator,                                                \
                          [TR_AUDITOR] = TR_RULE_##auditor } },
                              TR_ACTION_TABLE(TR_ACTION_ROW)
#undef TR_ACTION_ROW
};

tr_rule tr_policy_rule(tr_action action, tr_role role) {
    if ((unsigned)action >= TR_ACTION_COUNT || (unsigned)role >= TR_ROLE_COUNT)
        return TR_RULE_NO;
    return actions[action].rules[role];
}

const char *tr_action_name(tr_action action) {
    return (unsigned)action < TR_ACTION_COUNT ? actions[action].name : "unknown";
}

bool tr_policy_is_public(tr_action action) {
    return tr_policy_rule(action, TR_SUBJECT) == TR_RULE_PUBLIC;
}
