/* A certificate for a vault that was given none: ECDSA P-256, 397 days, for this host's names only. It is no
 * CA. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/secret.h"
#include "http/server.h"

#define VALID_DAYS  397
#define SERIAL_BITS 159 /* positive, at most 20 octets (RFC 5280, 4.1.2.2) */
#define HOST_MAX    253

/* ---- the certificate ---- */

static bool host_usable(const char *host) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    return host[0] && strcmp(host, "localhost") != 0 && host[strspn(host, allowed)] == '\0';
}

static void alternative_names(char *out, size_t size) {
    char host[HOST_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !host_usable(host))
        host[0] = '\0';
    (void)snprintf(out, size, "DNS:localhost,IP:127.0.0.1,IP:::1%s%s", host[0] ? ",DNS:" : "", host);
}

static bool add_extension(X509 *cert, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool good = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool add_extensions(X509 *cert) {
    char names[HOST_MAX + 64];
    alternative_names(names, sizeof names);
    const struct {
        int nid;
        const char *value;
    } extensions[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, "serverAuth"},
        {NID_subject_alt_name, names},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
        if (!add_extension(cert, extensions[i].nid, extensions[i].value))
            return false;
    return true;
}

static bool set_serial(X509 *cert) {
    BIGNUM *serial = BN_new();
    bool good = serial && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
    BN_free(serial);
    return good;
}

static X509 *make_certificate(EVP_PKEY *key) {
    X509 *cert = X509_new();
    X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;
    const unsigned char *common = (const unsigned char *)"localhost";
    if (name && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Tresor", -1, -1, 0) ==
            1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0) == 1 &&
        X509_set_issuer_name(cert, name) == 1 && X509_gmtime_adj(X509_getm_notBefore(cert), 0) &&
        X509_time_adj_ex(X509_getm_notAfter(cert), VALID_DAYS, 0, NULL) && X509_set_pubkey(cert, key) == 1 &&
        add_extensions(cert) && X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* ---- the files ---- */

static tr_status write_file(const char *path, BIO *content, mode_t mode, tr_error *err) {
    char *bytes;
    long len = BIO_get_mem_data(content, &bytes);
    if (unlink(path) != 0 && errno != ENOENT)
        return tr_fail_errno(err, path, "unlink");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return tr_fail_errno(err, path, "open");
    tr_status st = TR_OK;
    for (long done = 0; st == TR_OK && done < len;) {
        ssize_t n = write(fd, bytes + done, (size_t)(len - done));
        if (n >= 0)
            done += n;
        else if (errno != EINTR)
            st = tr_fail_errno(err, path, "write");
    }
    if (st == TR_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        st = tr_fail_errno(err, path, "fsync");
    if (close(fd) != 0 && st == TR_OK)
        st = tr_fail_errno(err, path, "close");
    return st;
}

/* Rename, and make it last. */
static tr_status put_in_place(const char *from, const char *to, tr_error *err) {
    char folder[PATH_MAX];
    const char *slash = strrchr(to, '/');
    size_t n = slash ? (size_t)(slash - to) : 0;
    if (n >= sizeof folder)
        return tr_fail(err, TR_E_CONFIG, to, "the path is too long");
    memcpy(folder, slash ? to : ".", slash ? n : 1);
    folder[slash ? n : 1] = '\0';
    if (rename(from, to) != 0)
        return tr_fail_errno(err, to, "rename");
    int fd = open(n || !slash ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail_errno(err, to, "open the folder");
    tr_status st = fsync(fd) == 0 ? TR_OK : tr_fail_errno(err, to, "fsync of the folder");
    (void)close(fd);
    return st;
}

static tr_status exists(const char *path, bool *yes, tr_error *err) {
    struct stat info;
    *yes = lstat(path, &info) == 0;
    return *yes || errno == ENOENT ? TR_OK : tr_fail_errno(err, path, "stat");
}

static tr_status make_pair(const char *cert_new, const char *key_new, tr_error *err) {
    tr_status st = TR_OK;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_certificate(key) : NULL;
    BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_secmem());
    if (!cert || !cert_pem || !key_pem || PEM_write_bio_X509(cert_pem, cert) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
        st = tr_fail(err, TR_E_INTERNAL, NULL, "OpenSSL could not make a certificate");
        goto out;
    }
    TR_TRY(write_file(key_new, key_pem, S_IRUSR | S_IWUSR, err));
    TR_TRY(write_file(cert_new, cert_pem, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, err));
out:
    BIO_free(key_pem);
    BIO_free(cert_pem);
    X509_free(cert);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return st;
}

static tr_status new_name(const char *file, char out[PATH_MAX], tr_error *err) {
    int n = snprintf(out, PATH_MAX, "%s.new", file);
    return n > 0 && n < PATH_MAX ? TR_OK : tr_fail(err, TR_E_CONFIG, file, "the path is too long");
}

/* Both files are complete under their .new names before the first is renamed. So a crash leaves nothing, or
 * the key in place and its certificate still under its .new name: the next start ends that. */
tr_status tr_tls_self_signed(const char *cert_file, const char *key_file, bool *made, tr_error *err) {
    char cert_new[PATH_MAX], key_new[PATH_MAX];
    bool has_cert, has_key, has_new;
    tr_status st;
    *made = false;
    TR_TRY(new_name(cert_file, cert_new, err));
    TR_TRY(new_name(key_file, key_new, err));
    TR_TRY(exists(cert_file, &has_cert, err));
    TR_TRY(exists(key_file, &has_key, err));
    TR_TRY(exists(cert_new, &has_new, err));
    if (has_cert && has_key)
        goto out;
    if (has_cert || (has_key && (!has_new || tr_tls_check(cert_new, key_file, NULL, NULL) != TR_OK))) {
        st = tr_fail(err, TR_E_CONFIG, has_cert ? key_file : cert_file,
                     "is missing, but the other file of certificate and key is there");
        goto out;
    }
    if (!has_key) {
        TR_TRY(make_pair(cert_new, key_new, err));
        TR_TRY(put_in_place(key_new, key_file, err));
    }
    TR_TRY(put_in_place(cert_new, cert_file, err));
    *made = true;
out:
    return st;
}
