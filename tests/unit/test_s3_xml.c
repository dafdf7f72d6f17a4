/* What an S3 store's lists and answers are read as, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/s3_xml.h"

static char seen[4096];

static tr_status note(void *context, tr_s3_entry kind, const char *key, const char *id, tr_error *err) {
    size_t len = strlen(seen);
    (void)context, (void)err;
    (void)snprintf(seen + len, sizeof seen - len, "%d %s %s\n", (int)kind, key, id ? id : "-");
    return TR_OK;
}

static tr_status read_page(const char *text, tr_s3_page *page) {
    seen[0] = '\0';
    return tr_s3_page_read(text, strlen(text), page, note, NULL, NULL);
}

static void test_objects(void **state) {
    tr_s3_page page;
    (void)state;
    assert_int_equal(
        read_page("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                  "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n"
                  " <Name>b</Name><Prefix>p/</Prefix><IsTruncated>true</IsTruncated>"
                  " <NextContinuationToken>1/a+b=</NextContinuationToken>"
                  " <Contents><Key>p/a&amp;b</Key><Owner><ID>x</ID></Owner><Size>3</Size></Contents>"
                  " <Contents><Size>4</Size><Key>p/c.tresor</Key></Contents>"
                  " <CommonPrefixes><Prefix>p/log/</Prefix></CommonPrefixes></ListBucketResult>",
                  &page),
        TR_OK);
    assert_string_equal(seen, "0 p/a&b -\n0 p/c.tresor -\n1 p/log/ -\n");
    assert_true(page.more);
    assert_string_equal(page.next, "1/a+b=");
    assert_int_equal(
        read_page("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", &page), TR_OK);
    assert_false(page.more);
    assert_string_equal(seen, "");
}

static void test_uploads(void **state) {
    tr_s3_page page;
    (void)state;
    assert_int_equal(
        read_page("<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>1</UploadId></Upload>"
                  "<Upload><UploadId>2</UploadId><Initiator><ID>i</ID></Initiator><Key>m</Key></Upload>"
                  "<NextKeyMarker>m</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>"
                  "<IsTruncated>true</IsTruncated></ListMultipartUploadsResult>",
                  &page),
        TR_OK);
    assert_string_equal(seen, "2 k 1\n2 m 2\n");
    assert_string_equal(page.next, "m");
    assert_string_equal(page.next_id, "2");
}

static void test_refused(void **state) {
    static const char *const texts[] = {
        "",
        "no XML",
        "<a>",
        "<a></b>",
        "<a/><a/>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", /* and no way to go on */
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
    };
    tr_s3_page page;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(read_page(texts[i], &page), TR_E_CORRUPT);
}

static void test_long_texts(void **state) {
    char text[TR_S3_XML_TEXT + 64], out[TR_S3_XML_TEXT + 1];
    (void)state;
    for (int more = 0; more < 2; more++) {
        const size_t len = TR_S3_XML_TEXT + (size_t)more;
        memcpy(text, "<a>", 3);
        memset(text + 3, 'x', len);
        memcpy(text + 3 + len, "</a>", 5);
        assert_int_equal(tr_s3_xml_find(text, strlen(text), "a", out, sizeof out, NULL),
                         more ? TR_E_CORRUPT : TR_OK);
    }
    assert_int_equal(strlen(out), 0);
}

static void test_errors(void **state) {
    static const char denied[] = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
                      odd[] = "<Error><Code>Access &lt;b&gt;</Code></Error>",
                      other[] = "<a><Code>x</Code></a>";
    char code[64];
    (void)state;
    tr_s3_error_code(denied, sizeof denied - 1, code, sizeof code);
    assert_string_equal(code, "AccessDenied");
    tr_s3_error_code(odd, sizeof odd - 1, code, sizeof code);
    assert_string_equal(code, "");
    tr_s3_error_code(other, sizeof other - 1, code, sizeof code);
    assert_string_equal(code, "");
    tr_s3_error_code("", 0, code, sizeof code);
    assert_string_equal(code, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_objects), cmocka_unit_test(test_uploads),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_long_texts),
                                       cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
