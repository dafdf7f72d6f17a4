/* Where a webhook may go: by https, and to addresses of the public Internet only, so that nobody makes the
 * vault knock at what only its own machine or network can reach. The setting outbox_allow names exceptions.
 */
#ifndef TR_VAULT_TARGETS_H
#define TR_VAULT_TARGETS_H

#include <netinet/in.h>
#include <stdbool.h>

#include "base/status.h"

#define TR_WEBHOOK_URL_MAX 500
#define TR_HOST_MAX        255

typedef struct tr_targets tr_targets;

/* `allow`: addresses, CIDR blocks and host names, with commas or spaces between. TR_E_CONFIG. */
tr_status tr_targets_new(const char *allow, tr_targets **out, tr_error *err);
void tr_targets_free(tr_targets *targets); /* NULL is fine */

/* To be asked of the address that is connected to, not of an earlier answer of the DNS. Not refused are
 * addresses that outbox_allow has, and those that are none of: loopback, link-local (cloud metadata services
 * too), private (RFC 1918, RFC 4193, RFC 6598), multicast, reserved (IANA's special-purpose registries); an
 * IPv4 address within an IPv6 one counts as what it is. */
bool tr_targets_may_connect(const tr_targets *targets, const struct sockaddr *address);
/* Is the host named in outbox_allow, wherever it is? */
bool tr_targets_names(const tr_targets *targets, const char *host);

/* An https URL without user and fragment, up to TR_WEBHOOK_URL_MAX bytes; a host that is an address must be
 * one that may be connected to. TR_E_VALIDATION at `where`. *host gets its host, without brackets. */
tr_status tr_targets_check_url(const tr_targets *targets, const char *url, const char *where,
                               char host[TR_HOST_MAX + 1], tr_error *err);

#endif
