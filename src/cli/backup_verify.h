/* `tresor backup verify`. */
#ifndef TR_CLI_BACKUP_VERIFY_H
#define TR_CLI_BACKUP_VERIFY_H

#include "cli/cli.h"

tr_exit tr_cli_backup_verify(int argc, char **argv);

#endif
