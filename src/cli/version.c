#include <curl/curl.h>
#include <openssl/crypto.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"

/* Tests ask for it: such a build takes its clock from the environment, and is not one to be shipped. */
#ifdef TR_TEST_HOOKS
static const char hooks[] = "test-hooks\n";
#else
static const char hooks[] = "";
#endif

static int run(int argc, char **argv) {
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    tr_command_line line = {.usage = "tresor version"};
    if (tr_options_read(argc, argv, &line, NULL, &err) != TR_OK)
        return tr_cli_report(&err);
    tr_buf_printf(&out, "tresor %s (%s, libcurl %s)\n", TRESOR_VERSION, OpenSSL_version(OPENSSL_VERSION),
                  curl_version_info(CURLVERSION_NOW)->version);
    tr_buf_puts(&out, hooks);
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

const tr_cli_command tr_cli_version = {
    .name = "version",
    .meaning = "print the version",
    .help = "Print the version of tresor and of the libraries it runs with. A second line, \"test-hooks\", "
            "is that of a build\n"
            "for tests, whose clock the environment may move.\n\nUsage: tresor version\n",
    .run = run,
};
