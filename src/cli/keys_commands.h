/* The subcommands of `tresor keys`; argv begins after the subcommand's name. */
#ifndef TR_CLI_KEYS_COMMANDS_H
#define TR_CLI_KEYS_COMMANDS_H

#include "cli/cli.h"

tr_exit tr_keys_unseal(int argc, char **argv);
tr_exit tr_keys_rekey(int argc, char **argv);
tr_exit tr_keys_migrate(int argc, char **argv);
tr_exit tr_keys_recovery(int argc, char **argv);
tr_exit tr_keys_recovery_keypair(int argc, char **argv);

#endif
