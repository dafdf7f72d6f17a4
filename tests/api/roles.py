"""The roles table of the design, as data: who may use which route at all.

`grant` roles may use the route when they have a right to the very thing (their own subject, a live grant): without one they
get 403 no-grant, purpose-required or forbidden, which is why only their 401 is wrong for sure.
"""
import collections

ROLES = ("subject", "service", "officer", "operator", "auditor")


class Row(collections.namedtuple("Row", "method path may conditional body media")):
    @property
    def public(self):
        return self.may == "public"

    def allows(self, role):
        return not self.public and role in self.may.split()


def row(method, path, may, body=None, conditional="", media="application/json"):
    return Row(method, path, "subject service officer operator auditor" if may == "all" else may, conditional.split(), body,
               media)


RECORDS = "/v1/subjects/{id}/records"
GRANTS = "/v1/subjects/{id}/grants"
CONTACT = "/v1/principals/{id}/contact"
HOLDS = "/v1/subjects/{id}/holds"
ANY = {"anything": True}

TABLE = [
    row("POST", "/auth/sign_in", "public", ANY),
    row("POST", "/v1/auth/sign_in", "public", ANY),
    row("GET", "/auth/validate_token", "all"),
    row("GET", "/v1/auth/validate_token", "all"),
    row("DELETE", "/auth/sign_out", "all"),
    row("DELETE", "/v1/auth/sign_out", "all"),
    row("GET", "/v1/auth/sessions", "all"),
    row("DELETE", "/v1/auth/sessions/{client}", "all"),
    row("POST", "/v1/auth/lanes", "all", ANY),
    row("PUT", "/v1/auth/password", "all", ANY),
    row("GET", "/v1/principals", "operator"),
    row("POST", "/v1/principals", "operator", ANY),
    row("GET", "/v1/principals/{id}", "operator"),
    row("PATCH", "/v1/principals/{id}", "operator", ANY),
    row("DELETE", "/v1/principals/{id}", "operator"),
    row("GET", CONTACT, "subject operator", conditional="subject"),
    row("PUT", CONTACT, "subject operator", {"email": "someone@example.org"}, conditional="subject"),
    row("DELETE", CONTACT, "subject operator", conditional="subject"),
    row("GET", "/v1/types", "all"),
    row("GET", "/v1/types/{name}", "all"),
    row("PUT", "/v1/types/{name}", "officer", ANY),
    row("DELETE", "/v1/types/{name}", "officer"),
    row("POST", "/v1/subjects", "service", ANY),
    row("GET", "/v1/subjects/{id}", "subject service officer", conditional="subject service officer"),
    row("DELETE", "/v1/subjects/{id}", "subject", conditional="subject"),
    row("GET", RECORDS, "subject service officer", conditional="subject service officer"),
    row("POST", RECORDS, "subject service officer", ANY, conditional="subject service officer"),
    row("GET", RECORDS + "/{rid}", "subject service officer", conditional="subject service officer"),
    row("PUT", RECORDS + "/{rid}", "subject service officer", ANY, conditional="subject service officer"),
    row("PATCH", RECORDS + "/{rid}", "subject service officer", ANY, conditional="subject service officer"),
    row("DELETE", RECORDS + "/{rid}", "subject service officer", conditional="subject service officer"),
    row("GET", RECORDS + "/{rid}/versions", "subject service officer", conditional="subject service officer"),
    row("POST", "/v1/lookup", "subject service officer", ANY),
    row("POST", "/v1/import", "service", b"{}\n", media="application/x-ndjson"),
    row("GET", GRANTS, "subject service officer", conditional="subject service officer"),
    row("POST", GRANTS, "subject", ANY, conditional="subject"),
    row("GET", GRANTS + "/{gid}", "subject service officer", conditional="subject service officer"),
    row("DELETE", GRANTS + "/{gid}", "subject", conditional="subject"),
    row("GET", "/v1/subjects/{id}/export", "subject service officer", conditional="subject service officer"),
    row("GET", "/v1/subjects/{id}/accesses", "subject officer", conditional="subject officer"),
    row("GET", "/v1/activities", "all"),
    row("POST", "/v1/activities", "officer", ANY),
    row("GET", "/v1/activities/{id}", "all"),
    row("PUT", "/v1/activities/{id}", "officer", ANY),
    row("DELETE", "/v1/activities/{id}", "officer"),
    row("GET", HOLDS, "subject officer", conditional="subject"),
    row("POST", HOLDS, "officer", ANY),
    row("DELETE", HOLDS + "/{hid}", "officer"),
    row("POST", "/v1/subjects/{id}/restriction", "subject officer", conditional="subject officer"),
    row("DELETE", "/v1/subjects/{id}/restriction", "subject officer", conditional="subject officer"),
    row("GET", "/v1/requests", "subject officer"),
    row("POST", "/v1/requests", "subject officer", ANY),
    row("GET", "/v1/requests/{id}", "subject officer"),
    row("GET", "/v1/requests/{id}/receipt", "subject officer"),
    row("GET", "/v1/requests/{id}/package", "subject officer"),
    row("POST", "/v1/requests/{id}/verify", "officer", ANY),
    row("POST", "/v1/requests/{id}/assign", "officer", ANY),
    row("POST", "/v1/requests/{id}/extend", "officer", ANY),
    row("POST", "/v1/requests/{id}/refuse", "officer", ANY),
    row("POST", "/v1/requests/{id}/fulfil", "officer", ANY),
    row("GET", "/v1/notices", "officer operator"),
    row("POST", "/v1/notices/{id}/retry", "operator"),
    row("GET", "/v1/incidents", "officer auditor"),
    row("POST", "/v1/incidents", "officer", ANY),
    row("GET", "/v1/incidents/{id}", "officer auditor"),
    row("PATCH", "/v1/incidents/{id}", "officer", ANY),
    row("GET", "/v1/incidents/{id}/affected", "officer"),
    row("POST", "/v1/incidents/{id}/notify", "officer", ANY),
    row("GET", "/v1/audit", "auditor"),
    row("GET", "/v1/keys", "operator"),
    row("POST", "/v1/keys/rotate", "operator"),
    row("DELETE", "/v1/keys/{version}", "operator"),
    row("GET", "/v1/snapshots", "operator"),
    row("POST", "/v1/snapshots", "operator"),
    row("GET", "/v1/snapshots/{id}", "operator"),
    row("DELETE", "/v1/snapshots/{id}", "operator"),
    row("POST", "/v1/snapshots/{id}/verify", "operator"),
    row("POST", "/v1/snapshots/drill", "operator"),
    row("GET", "/v1/about", "public"),
    row("GET", "/healthz", "public"),
    row("GET", "/readyz", "public"),
    row("GET", "/openapi.json", "public"),
]
