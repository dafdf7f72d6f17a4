/* The outbox: notices, written in the commit of their cause (vault/recipients.h, tr_notice_insert), are sent
 * afterwards, to the contact of their recipient: a signed webhook (vault/webhook.h) or an e-mail
 * (vault/mail.h).
 *
 * One thread sends, a few at a time, and holds no lock and no view of the store meanwhile. What was delivered
 * is marked afterwards: killed in between, the vault sends it again, under the same id. So each notice
 * arrives at least once, and takes effect once at a receiver that removes duplicates by the id.
 *
 * What cannot be delivered is tried again after 5 s, 1 min, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h (with some
 * jitter; Retry-After is heeded), and is dead then, or after 30 days; an operator may have it tried anew. A
 * receiver that answers 410, and an address that the mail server says there is not, are not tried again. A
 * notice whose recipient has no contact waits 30 days for one.
 */
#ifndef TR_VAULT_OUTBOX_H
#define TR_VAULT_OUTBOX_H

#include "vault/targets.h"
#include "vault/vault.h"

/* What is wrong with the settings (TR_E_CONFIG), for `serve --check`. */
tr_status tr_outbox_check(const tr_config *config, tr_error *err);
/* Begin sending: what `serve` does. TR_E_CONFIG likewise. */
tr_status tr_outbox_start(tr_vault *vault, tr_error *err);
/* The thread takes no further notice and ends, after what is under way or, if that takes long, without it.
 * tr_vault_close waits for it. Any thread. */
void tr_outbox_end(tr_vault *vault);

const tr_targets *tr_outbox_targets(const tr_vault *vault);
int64_t tr_outbox_sent(const tr_vault *vault); /* since start */

/* ms until the next try of what failed `attempts` times, without jitter; 0: it is dead. */
int64_t tr_outbox_delay(int64_t attempts);

/* Tell officers of requests that are due within a week, and of those that are overdue: the assignee, else
 * all that have a contact; once each. For tr_vault_sweep. */
tr_status tr_outbox_tell_due(tr_vault *vault, bool *more, tr_error *err);

#endif
