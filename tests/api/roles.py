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
    row("GET", "/v1/types", "all"),
    row("GET", "/v1/types/{name}", "all"),
    row("PUT", "/v1/types/{name}", "officer", ANY),
    row("DELETE", "/v1/types/{name}", "officer"),
    row("POST", "/v1/subjects", "service", ANY),
    row("GET", "/v1/subjects/{id}", "subject service", conditional="subject service"),
    row("DELETE", "/v1/subjects/{id}", "subject", conditional="subject"),
    row("GET", RECORDS, "subject service", conditional="subject service"),
    row("POST", RECORDS, "subject service", ANY, conditional="subject service"),
    row("GET", RECORDS + "/{rid}", "subject service", conditional="subject service"),
    row("PUT", RECORDS + "/{rid}", "subject service", ANY, conditional="subject service"),
    row("PATCH", RECORDS + "/{rid}", "subject service", ANY, conditional="subject service"),
    row("DELETE", RECORDS + "/{rid}", "subject service", conditional="subject service"),
    row("GET", RECORDS + "/{rid}/versions", "subject service", conditional="subject service"),
    row("POST", "/v1/lookup", "subject service officer", ANY),
    row("POST", "/v1/import", "service", b"{}\n", media="application/x-ndjson"),
    row("GET", GRANTS, "subject service", conditional="subject service"),
    row("POST", GRANTS, "subject", ANY, conditional="subject"),
    row("GET", GRANTS + "/{gid}", "subject service", conditional="subject service"),
    row("DELETE", GRANTS + "/{gid}", "subject", conditional="subject"),
    row("GET", "/v1/subjects/{id}/accesses", "subject", conditional="subject"),
    row("GET", "/v1/activities", "all"),
    row("POST", "/v1/activities", "officer", ANY),
    row("GET", "/v1/activities/{id}", "all"),
    row("PUT", "/v1/activities/{id}", "officer", ANY),
    row("DELETE", "/v1/activities/{id}", "officer"),
    row("GET", "/v1/audit", "auditor"),
    row("GET", "/v1/keys", "operator"),
    row("POST", "/v1/keys/rotate", "operator"),
    row("DELETE", "/v1/keys/{version}", "operator"),
    row("GET", "/v1/about", "public"),
    row("GET", "/healthz", "public"),
    row("GET", "/readyz", "public"),
    row("GET", "/openapi.json", "public"),
]
