/* Any bytes as DIR/tresor.conf: taken whole, or refused with the setting's name. */
#include "base/config.h"

#include <string.h>

#include "fuzz_file.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[96];

static void clean(void) {
    (void)unlink(path);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    fuzz_folder(folder, sizeof folder);
    (void)snprintf(path, sizeof path, "%s/tresor.conf", folder);
    return atexit(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char flag[] = "--data";
    char *argv[] = {flag, folder, NULL}, *rest[2];
    int rest_count = 0;
    tr_config config;
    tr_error err = {0};
    fuzz_write(path, data, size);
    tr_status st = tr_config_load(2, argv, NULL, &config, rest, &rest_count, &err);
    if (st != TR_OK && (err.status != st || err.what[0] == '\0'))
        abort();
    return 0;
}
