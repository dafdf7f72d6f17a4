"""Every role against every route: outside the table never anything but 403, inside it never a refusal of the role."""
import re
import uuid

import pytest

from roles import ROLES, TABLE
from tresor_client import Client, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
CASES = [(r, role) for r in TABLE for role in ROLES]
# Routes whose use ends the session or deletes the caller: they get a throw-away caller.
ENDING = {("DELETE", "/auth/sign_out"), ("DELETE", "/v1/auth/sign_out"), ("DELETE", "/v1/subjects/{id}")}


def name_of(value):
    return f"{value.method} {value.path}" if hasattr(value, "path") else value


@pytest.fixture(scope="module")
def clients(world):
    return {"subject": world.subject, "service": world.service, "officer": world.officer, "operator": world.operator,
            "auditor": world.auditor}


def fill(row, world, known):
    """The route's path; `known` puts in things that exist."""
    path = row.path
    if "/subjects/{id}" in path:
        path = path.replace("{id}", world.subject.subject if known else UNKNOWN)
        path = path.replace("{rid}", world.subject.records[0] if known else UNKNOWN)
    if path.startswith("/v1/types/"):
        path = path.replace("{name}", "contact" if known and row.method == "GET" else "no-such-type")
    if path.startswith("/v1/activities/"):
        path = path.replace("{id}", world.activity if known and row.method == "GET" else UNKNOWN)
    return re.sub(r"\{[a-z]+\}", UNKNOWN, path)


def send(client, row, path):
    more = {}
    if isinstance(row.body, bytes):
        more = {"data": row.body, "content_type": row.media}
    elif row.body is not None:
        more = {"json_body": row.body}
    return client.request(row.method, path, last=(row.method, row.path) in ENDING, **more)


@pytest.mark.parametrize("row, role", [c for c in CASES if not c[0].public and not c[0].allows(c[1])], ids=name_of)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_outside_the_table(world, clients, row, role, known):
    """The answer is 403 whether the thing exists or not, and whatever the body is."""
    answer = send(clients[role], row, fill(row, world, known))
    expect_problem(answer, 403, "forbidden")


@pytest.mark.parametrize("row, role", [c for c in CASES if c[0].allows(c[1])], ids=name_of)
def test_inside_the_table(world, clients, row, role):
    client = clients[role]
    if (row.method, row.path) in ENDING:
        client = client.lanes(1)[0]
    answer = send(client, row, fill(row, world, known=(row.method, row.path) != ("DELETE", "/v1/subjects/{id}")))
    assert answer.status_code != 401, answer.text
    if answer.status_code == 403:
        assert role in row.conditional or (row.path, role) == ("/v1/lookup", "service"), answer.text
        if role == "service" and row.path != "/v1/subjects/{id}/grants":
            assert answer.json()["type"].rsplit(":", 1)[1] in ("purpose-required", "no-grant"), answer.text
    assert answer.status_code < 500


@pytest.mark.parametrize("row", [r for r in TABLE if not r.public], ids=name_of)
def test_without_credentials(world, anonymous, row):
    more = {"data": row.body, "content_type": row.media} if isinstance(row.body, bytes) else {"json_body": row.body}
    answer = anonymous.raw(row.method, fill(row, world, True), **more)
    if row.path.startswith("/auth/"):
        assert answer.status_code == 401 and answer.json()["success"] is False
    else:
        expect_problem(answer, 401, "authentication-required")


@pytest.mark.parametrize("row", [r for r in TABLE if r.public and r.method == "GET"], ids=name_of)
def test_public(world, anonymous, row):
    assert anonymous.raw("GET", row.path).status_code == 200


def test_one_time_password_opens_auth_only(world):
    """Until it is changed, everything but /auth and /v1/auth is refused; for services it is not."""
    made = world.operator.post("/v1/principals", {"uid": world.name("new"), "role": "officer"}).json()
    assert made["password_initial"] is True
    client = Client(world.vault, made["uid"], made["password"])
    client.sign_in()
    assert client.profile["password_initial"] is True
    for row in TABLE:
        if row.public or row.path.startswith(("/auth/", "/v1/auth/")):
            continue
        answer = send(client, row, fill(row, world, True))
        expect_problem(answer, 403)
        if row.allows("officer"):
            expect_problem(answer, 403, "password-change-required")
    client.get("/v1/auth/validate_token")
    client.get("/v1/auth/sessions")
    client.change_password("chosen by the officer")
    client.get("/v1/types")
    again = Client(world.vault, made["uid"], "chosen by the officer")
    again.sign_in()
    assert again.profile["password_initial"] is False


def test_role_is_checked_before_all_else(world):
    """A role that may not gets 403 whatever else is wrong: media type, Accept, query, body, precondition."""
    auditor = world.auditor
    for more in ({"data": b"{", "content_type": "application/json"}, {"data": b"x", "content_type": "image/png"},
                 {"json_body": {}, "accept": "image/png"}, {"json_body": {}, "key": "a b"}):
        expect_problem(auditor.request("POST", "/v1/principals", **more), 403, "forbidden")
    expect_problem(auditor.request("GET", "/v1/principals?nonsense=1"), 403, "forbidden")


def test_officer_cannot_read_records(world):
    """Not with a purpose either: an officer reads only inside an open request."""
    path = f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}"
    expect_problem(world.officer.request("GET", path, purpose=world.activity), 403, "forbidden")


def test_subject_of_another(world):
    """One subject has no right to another's things: 403, whether they exist or not."""
    other = world.make_subject({"name": "Other Person"})
    for subject in (world.subject.subject, UNKNOWN, str(uuid.uuid4())):
        for tail in ("", "/records", "/records/" + world.subject.records[0], "/grants", "/accesses"):
            expect_problem(other.request("GET", f"/v1/subjects/{subject}{tail}"), 403)
        expect_problem(other.request("POST", f"/v1/subjects/{subject}/records",
                                     {"type": "contact", "data": {"name": "x"}}), 403)
        expect_problem(other.request("DELETE", f"/v1/subjects/{subject}"), 403)
    world.subject.get(f"/v1/subjects/{world.subject.subject}")


def test_registering_needs_the_permission(world):
    service = world.make_service(may_register=False)
    expect_problem(service.request("POST", "/v1/subjects", {}), 403, "forbidden")
    expect_problem(service.request("POST", "/v1/import?type=contact", data=b'{"name":"x"}\n', content_type="application/x-ndjson"),
                   403, "purpose-required")
    lines = service.imports(b'{"name":"x"}\n', "?type=contact", purpose=world.activity)
    assert [one["status"] for one in lines] == [403]
    world.operator.patch(f"/v1/principals/{service.id}", {"may_register": True})
    service.sign_in()
    service.post("/v1/subjects", {})


def test_a_disabled_principal_is_out_at_once(world):
    service = world.make_service()
    service.get("/v1/types")
    world.operator.patch(f"/v1/principals/{service.id}", {"disabled": True})
    expect_problem(service.request("GET", "/v1/types"), 401, "token-invalid")
    service.sign_in(expect=401)
    world.operator.patch(f"/v1/principals/{service.id}", {"disabled": False})
    service.sign_in()
    service.get("/v1/types")
