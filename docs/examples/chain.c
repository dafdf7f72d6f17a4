/* cc -o chain chain.c -lcurl */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char chain[3][400]; /* as header lines: "access-token: ..." */

static int call(CURL *curl, const char *method, const char *path, const char *body) {
    static const char *const names[] = {"access-token", "client", "uid"};
    struct curl_slist *head = curl_slist_append(NULL, "Content-Type:");
    struct curl_header *got;
    char url[300];
    for (int i = 0; i < 3; i++)
        head = chain[i][0] ? curl_slist_append(head, chain[i]) : head;
    if (body)
        head = curl_slist_append(head, "Content-Type: application/json");
    snprintf(url, sizeof url, "%s%s", getenv("TRESOR_URL"), path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, head);
    if (body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    else
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode rc = curl_easy_perform(curl);
    for (int i = 0; i < 3; i++)
        if (rc == CURLE_OK && curl_easy_header(curl, names[i], 0, CURLH_HEADER, -1, &got) == CURLHE_OK)
            snprintf(chain[i], sizeof chain[i], "%s: %s", names[i], got->value);
    curl_slist_free_all(head);
    return rc != CURLE_OK;
}

int main(void) {
    char body[300];
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_CAINFO, getenv("TRESOR_CA"));
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    snprintf(body, sizeof body, "{\"uid\":\"%s\",\"password\":\"%s\"}", getenv("TRESOR_UID"),
             getenv("TRESOR_PASSWORD"));
    int failed = call(curl, "POST", "/v1/auth/sign_in", body) ||
                 call(curl, "GET", "/v1/auth/validate_token", NULL) ||
                 call(curl, "GET", "/v1/types", NULL); /* the answers go to stdout */
    curl_easy_cleanup(curl);
    return failed;
}
