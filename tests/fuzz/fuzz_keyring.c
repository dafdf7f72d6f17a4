/* Any bytes as a keyring file: it names what is wrong, and never opens with a passphrase that is not its own.
 */
#include "crypto/keyring.h"

#include <string.h>

#include "fuzz_file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[96];
static tr_secret passphrase = TR_SECRET_INIT;

static void clean(void) {
    (void)unlink(path);
    (void)rmdir(folder);
    tr_secret_clear(&passphrase);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    fuzz_folder(folder, sizeof folder);
    (void)snprintf(path, sizeof path, "%s/keyring", folder);
    if (tr_secret_copy(&passphrase, "not the one", 11, NULL) != TR_OK)
        abort();
    return atexit(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tr_keyring_need need;
    tr_keyring *ring = NULL;
    tr_secret share = TR_SECRET_INIT;
    tr_error err = {0};
    int number;
    fuzz_write(path, data, size);
    if (tr_keyring_peek(path, &need, &err) == TR_OK && strcmp(need.provider, "file") == 0 &&
        tr_keyring_open_file(path, &passphrase, &ring, &err) == TR_OK)
        abort();
    tr_keyring_close(ring);
    if (size > 0 && tr_secret_copy(&share, data, size, &err) == TR_OK)
        (void)tr_keyring_check_share(path, &share, &number, &err);
    tr_secret_clear(&share);
    return 0;
}
