/* A file that may be large is removed. When a file system gives back many blocks at once, everybody's flushes
 * to the same disk wait for it, the vault's commits too: for a tenth of a second with 400 MB on ext4 that
 * discards.
 */
#ifndef TR_VAULT_REMOVE_FILE_H
#define TR_VAULT_REMOVE_FILE_H

/* As unlinkat, of a file: its name is gone. Its blocks are given back a few at a time, by a thread that
 * nobody waits for, unless somebody else has a link to it or reads it (tr_keep_removed). */
int tr_remove_file(int folder, const char *name);
/* Whoever has opened a file to read it keeps what is in it, until it is closed, when it is removed meanwhile.
 */
void tr_keep_removed(int fd);

#endif
