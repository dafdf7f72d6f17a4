/* When a data subject's request is due.
 *
 * TR_DEADLINE_FADP (Art. 18 DPO, SR 235.11): 30 days. The day of receipt does not count, and the last day
 * does to its end. TR_DEADLINE_GDPR (Art. 12(3) GDPR; Art. 3 of Regulation (EEC, Euratom) No 1182/71): one
 * month, ending on the same date of the next month, or on that month's last day where it has no such date;
 * when that is a Saturday or Sunday, on the Monday after. Public holidays are not known here and put nothing
 * off: the earlier date is the safe one.
 *
 * Days are those of the controller's time zone, the process's own (tr_deadline_zone). A date that is due is
 * the last millisecond of its last day. Times are ms (base/clock.h).
 */
#ifndef TR_VAULT_DEADLINE_H
#define TR_VAULT_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef enum tr_deadline_rule { TR_DEADLINE_FADP, TR_DEADLINE_GDPR } tr_deadline_rule;

/* "fadp" or "gdpr". */
bool tr_deadline_rule_parse(const char *text, tr_deadline_rule *rule);

/* Make an IANA time zone ("Europe/Zurich") the process's own. Before there are other threads. TR_E_CONFIG
 * (at "time_zone"): there is none of this name. */
tr_status tr_deadline_zone(const char *name, tr_error *err);

/* When what was received then is due. */
int64_t tr_deadline_due(tr_deadline_rule rule, int64_t received_at);
/* The latest that it can be put off to: `extra_days` days after the day it was due (FADP), or two months
 * more (GDPR: three months from receipt; extra_days does not count). */
int64_t tr_deadline_most(tr_deadline_rule rule, int64_t received_at, int extra_days);

#endif
