/* Telling data subjects of an incident (Art. 24(4) FADP, Art. 34 GDPR): a notice "incident" to each principal
 * of each subject, through the outbox.
 *
 * A mailing is filed in one job and worked off by the sweep in batches. Each batch is one commit of its
 * notices, of who has been told, and of how far the mailing is: after a crash it goes on there, and nobody is
 * told the same text of the same incident twice, whichever mailing comes to it. Subjects whom nobody can sign
 * in for are counted: they are to be reached by public communication (Art. 34(3)(c) GDPR, Art. 24(5)(c)
 * FADP).
 */
#ifndef TR_VAULT_INCIDENT_MAIL_H
#define TR_VAULT_INCIDENT_MAIL_H

#include "vault/vault.h"

/* Fill digest and doc (into *text) of a mailing whose incident is set. */
tr_status tr_mailing_write(tr_mailing *row, const char *title, const char *body, tr_buf *text, tr_error *err);
/* Work mailings off, for some seconds; *more: there is more to do. */
tr_status tr_mailings_tend(tr_vault *vault, bool *more, tr_error *err);

#endif
