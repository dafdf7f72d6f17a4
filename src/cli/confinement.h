/* How `tresor serve` gives up what it does not need (base/confine.h), as the settings say. */
#ifndef TR_CLI_CONFINEMENT_H
#define TR_CLI_CONFINEMENT_H

#include "base/config.h"

/* First: become the user of run_as, if one is named. */
tr_status tr_cli_become(const tr_config *config, tr_error *err);
/* With the keyring's passphrase read, before anything of the vault is opened and before the first thread:
 * only the files and system calls that serving takes. A new setting that names a file or folder belongs into
 * the list in confinement.c. Logs "confined" with what holds; with confine=strict all of it must. */
tr_status tr_cli_confine(const tr_config *config, tr_error *err);
/* With the addresses bound. */
tr_status tr_cli_become_finish(const tr_config *config, tr_error *err);

#endif
