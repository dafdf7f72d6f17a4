"""Signing in and out, sessions, lanes, passwords."""
import json
import time
import urllib.parse

import pytest

from tresor_client import Anonymous, Client, bearer, expect_problem, session_of

KEYS = {"id", "uid", "email", "provider", "name", "role", "subject", "may_register", "password_initial"}


def test_sign_in_answers_as_token_rotating_clients_expect(world):
    for path in ("/auth/sign_in", "/v1/auth/sign_in"):
        for member in ("uid", "email"):
            client = Client(world.vault, world.officer.uid, world.officer.password)
            answer = client.sign_in(path, member)
            data = answer.json()["data"]
            assert set(data) == KEYS
            assert (data["uid"], data["email"], data["provider"], data["role"]) == (client.uid, client.uid, "uid", "officer")
            assert answer.headers["token-type"] == "Bearer"
            answer = client.get(path.replace("sign_in", "validate_token"))
            assert answer.json() == {"success": True, "data": data}


def test_failures_under_auth_have_their_own_shape(world):
    client = Client(world.vault, world.officer.uid, "not the password")
    answer = client.sign_in("/auth/sign_in", "email", expect=401)
    assert answer.headers["Content-Type"].split(";")[0] == "application/json"
    body = answer.json()
    assert body["success"] is False and body["errors"] and all(isinstance(e, str) for e in body["errors"])
    answer = Anonymous(world.vault).raw("GET", "/auth/validate_token")
    assert answer.status_code == 401 and answer.json()["success"] is False
    answer = client.sign_in(expect=401)
    expect_problem(answer, 401, "invalid-credentials")


@pytest.mark.parametrize("body, pointer", [
    ({}, None), ({"uid": "a"}, None), ({"password": "x"}, None), ({"uid": "a", "email": "a", "password": "x"}, None),
    ({"uid": "", "password": "x"}, "/uid"), ({"uid": 1, "password": "x"}, "/uid"), ({"uid": "a", "password": ""}, "/password"),
    ({"uid": "a", "password": "x", "more": 1}, None), ({"uid": "a" * 255, "password": "x"}, "/uid"),
    ({"uid": "a", "password": "x" * 1025}, "/password"), ({"uid": "a", "password": None}, "/password")])
def test_sign_in_body(anonymous, body, pointer):
    expect_problem(anonymous.raw("POST", "/v1/auth/sign_in", json_body=body), 422, "validation-failed", pointer)
    answer = anonymous.raw("POST", "/auth/sign_in", json_body=body)
    assert answer.status_code == 422 and answer.json()["success"] is False


def form(**members):
    return urllib.parse.urlencode(members).encode()


@pytest.mark.parametrize("path", ["/auth/sign_in", "/v1/auth/sign_in"])
def test_sign_in_by_a_form(world, path):
    """j-toker sends it so; with headers of a session that is no more, which do not matter here."""
    made = world.operator.post("/v1/principals", {"uid": "frau mueller+1 & co = " + world.name("form"), "role": "auditor"}).json()
    stale = {"access-token": "null", "client": "null", "uid": "null", "token-type": "Bearer", "expiry": "1",
             "If-Modified-Since": "Mon, 26 Jul 1997 05:00:00 GMT", "X-Requested-With": "XMLHttpRequest"}
    anonymous = Anonymous(world.vault)
    for kind in ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"):
        answer = anonymous.raw("POST", path, data=form(email=made["uid"], password=made["password"]), content_type=kind, headers=stale)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["uid"] == made["uid"] and "access-token" in answer.headers
    good = form(email=made["uid"], password=made["password"])
    for wrong, status in ((b"", 400), (b"email=a", 422), (good + b"&more=1", 422), (good + b"&password=x", 400), (b"email=%ff&password=x", 400),
                          (b"email=%zz&password=x", 400), (b"email=a%00b&password=x", 400), (b"email=a&password=" + b"x" * 1025, 422)):
        answer = anonymous.raw("POST", path, data=wrong, content_type=kind)
        assert answer.status_code in (status, 422), (wrong, answer.status_code, answer.text)
        assert "access-token" not in answer.headers


def test_public_routes_do_not_look_at_credentials(world):
    """Neither does a stale token there end its session, nor a good one get used up."""
    client = Client(world.vault, world.auditor.uid, world.auditor.password)
    client.sign_in()
    old = client.credentials()
    client.get("/v1/types")
    client.get("/v1/types")
    for headers in (old, client.credentials(), {"Authorization": "Bearer nonsense"}):
        for path in ("/v1/about", "/healthz", "/openapi.json"):
            answer = client.raw("GET", path, headers=headers)
            assert answer.status_code == 200 and "access-token" not in answer.headers
        answer = client.raw("POST", "/v1/auth/sign_in", json_body={"uid": client.uid, "password": client.password}, headers=headers)
        assert answer.status_code == 200
    client.get("/v1/types")


def test_unknown_and_known_uid_answer_alike(world):
    """Status, headers and body do not tell; time is checked loosely (both pay for a hash)."""
    anonymous, seen = Anonymous(world.vault), []
    made = world.operator.post("/v1/principals", {"uid": world.name("known"), "role": "auditor"}).json()
    disabled = world.operator.post("/v1/principals", {"uid": world.name("off"), "role": "auditor"}).json()
    world.operator.patch(f"/v1/principals/{disabled['id']}", {"disabled": True})
    times = {}
    for kind, uid, password in (("known", made["uid"], "wrong password"), ("unknown", world.name("nobody"), "wrong password"),
                                ("disabled", disabled["uid"], disabled["password"])):
        best = 1e9
        for _ in range(3):
            began = time.monotonic()
            answer = anonymous.raw("POST", "/v1/auth/sign_in", json_body={"uid": uid, "password": password})
            best = min(best, time.monotonic() - began)
        body = answer.json()
        body.pop("instance")
        headers = {k.lower() for k in answer.headers}
        seen.append((answer.status_code, body, headers))
        times[kind] = best
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][0] == 401
    assert times["unknown"] > times["known"] / 4 and times["known"] > times["unknown"] / 4, times


def test_failed_sign_ins_are_delayed(fresh_vault):
    """Five tries are free; then 429 with Retry-After, for the right password too, known uid or not."""
    vault = fresh_vault
    auditor = session_of(vault, "auditor")
    for uid in (auditor.uid, "nobody@example.org"):
        statuses = []
        for _ in range(12):
            answer = Client(vault, uid, "wrong").raw("POST", "/v1/auth/sign_in", json_body={"uid": uid, "password": "wrong"})
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                break
        assert statuses[-1] == 429 and set(statuses[:-1]) <= {401}
        expect_problem(answer, 429, "rate-limited")
        assert int(answer.headers["Retry-After"]) >= 1
        if uid == auditor.uid:
            answer = Client(vault, auditor.uid, auditor.password).sign_in(expect=429)
            assert "access-token" not in answer.headers
    for _ in range(12):
        legacy = Anonymous(vault).raw("POST", "/auth/sign_in", json_body={"email": auditor.uid, "password": "wrong"})
        if legacy.status_code == 429:
            break
    assert legacy.status_code == 429 and legacy.json()["success"] is False and "Retry-After" in legacy.headers
    auditor.get("/v1/auth/validate_token")  # who is signed in is not disturbed


@pytest.mark.flags("--sign-in-free-tries", "3")
def test_the_delay_ends_and_grows(fresh_vault):
    vault = fresh_vault
    officer = vault.credentials["officer"]
    anonymous = Anonymous(vault)

    def fail():
        return anonymous.raw("POST", "/v1/auth/sign_in", json_body={"uid": officer["uid"], "password": "wrong"})

    waits = []
    deadline = time.monotonic() + 60
    while len(waits) < 2 and time.monotonic() < deadline:
        answer = fail()
        if answer.status_code == 429:
            wait = int(answer.headers["Retry-After"])
            if not waits or wait > waits[-1]:
                waits.append(wait)
            time.sleep(min(wait, 5))  # what Retry-After asks for
    assert len(waits) >= 2, f"the delay does not grow: {waits}"
    client = Client(vault, officer["uid"], officer["password"])
    deadline = time.monotonic() + 60
    while True:
        answer = client.raw("POST", "/v1/auth/sign_in", json_body=officer)
        if answer.status_code == 200:
            break
        assert answer.status_code == 429 and time.monotonic() < deadline
        time.sleep(min(int(answer.headers["Retry-After"]), 5))


def test_sign_out_ends_the_session(world):
    for path in ("/auth/sign_out", "/v1/auth/sign_out"):
        client = Client(world.vault, world.auditor.uid, world.auditor.password)
        client.sign_in()
        assert client.request("DELETE", path, last=True, expect=200).json() == {"success": True}
        expect_problem(client.request("GET", "/v1/types"), 401, "token-invalid")
        assert client.request("DELETE", path).status_code == 401
    world.auditor.get("/v1/auth/validate_token")


def test_sessions_are_listed_and_ended(world):
    first = Client(world.vault, world.auditor.uid, world.auditor.password)
    first.sign_in()
    second = Client(world.vault, world.auditor.uid, world.auditor.password)
    second.sign_in()
    body = first.get("/v1/auth/sessions").json()
    assert body["next"] is None
    items = {s["client"]: s for s in body["items"]}
    assert {first.client, second.client, world.auditor.client} <= set(items)
    assert [c for c, s in items.items() if s["current"]] == [first.client]
    assert not items[second.client]["lane"]
    assert items[second.client]["created_at"] <= items[second.client]["used_at"] < items[second.client]["expires_at"]
    first.delete(f"/v1/auth/sessions/{second.client}")
    expect_problem(second.request("GET", "/v1/types"), 401, "token-invalid")
    expect_problem(first.request("DELETE", f"/v1/auth/sessions/{second.client}"), 404, "not-found")
    expect_problem(first.request("DELETE", f"/v1/auth/sessions/{world.officer.client}"), 404, "not-found")
    world.officer.get("/v1/types")
    first.request("DELETE", f"/v1/auth/sessions/{first.client}", last=True, expect=204)
    expect_problem(first.request("GET", "/v1/types"), 401, "token-invalid")


def test_lanes_are_independent(world):
    lanes = world.auditor.lanes(5)
    assert len({lane.client for lane in lanes} | {world.auditor.client}) == 6
    for _ in range(3):
        for lane in lanes:
            assert lane.get("/v1/auth/validate_token").json()["data"]["uid"] == world.auditor.uid
    listed = {s["client"]: s["lane"] for s in world.auditor.get("/v1/auth/sessions").json()["items"]}
    assert all(listed[lane.client] for lane in lanes) and not listed[world.auditor.client]
    expect_problem(lanes[0].request("GET", "/v1/types", headers={"access-token": lanes[1].token}), 401, "token-invalid")
    lanes[1].get("/v1/types")
    world.auditor.get("/v1/types")


@pytest.mark.parametrize("body", [{}, {"count": 0}, {"count": 33}, {"count": -1}, {"count": 1.5}, {"count": "2"}, {"count": None},
                                  {"count": 2, "x": 1}, [], None, 4])
def test_lanes_body(world, body):
    text = json.dumps(body).encode()
    answer = world.auditor.request("POST", "/v1/auth/lanes", data=text, content_type="application/json")
    expect_problem(answer, 422, "validation-failed")


@pytest.mark.flags("--sessions-max", "6")
def test_there_are_only_so_many_sessions(fresh_vault):
    auditor = session_of(fresh_vault, "auditor")
    auditor.lanes(4)
    expect_problem(auditor.request("POST", "/v1/auth/lanes", {"count": 2}), 409, "conflict")
    auditor.lanes(1)
    expect_problem(auditor.request("POST", "/v1/auth/lanes", {"count": 1}), 409, "conflict")
    auditor.get("/v1/auth/validate_token")


def test_password_change(world):
    made = world.operator.post("/v1/principals", {"uid": world.name("changer"), "role": "auditor"}).json()
    first = Client(world.vault, made["uid"], made["password"])
    first.sign_in()
    other = Client(world.vault, made["uid"], made["password"])
    other.sign_in()
    path = "/v1/auth/password"
    right, new = made["password"], "a long enough password"
    expect_problem(first.request("PUT", path, {"current_password": "wrong", "password": new}), 422, "validation-failed",
                   "/current_password")
    for bad in ("", "short", "11 letters!", "x" * 1025, 12, None):
        expect_problem(first.request("PUT", path, {"current_password": right, "password": bad}), 422, "validation-failed",
                       "/password")
    expect_problem(first.request("PUT", path, {"password": new}), 422)
    first.put(path, {"current_password": right, "password": new}, expect=204)
    expect_problem(other.request("GET", "/v1/types"), 401, "token-invalid")
    first.get("/v1/types")
    other.sign_in(expect=401)
    other.password = new
    other.sign_in()


def test_password_may_be_any_text(world):
    password = "  Zürich – Genève 🗝 \" \\ \u2028 "
    made = world.operator.post("/v1/principals", {"uid": world.name("unicode"), "role": "auditor"}).json()
    client = Client(world.vault, made["uid"], made["password"])
    client.sign_in()
    client.change_password(password)
    client.sign_in()
    client.password = password.strip()
    client.sign_in(expect=401)


def test_bearer(world):
    client = Client(world.vault, world.auditor.uid, world.auditor.password)
    client.sign_in()

    def ask(authorization, **more):
        return client.raw("GET", "/v1/auth/validate_token", headers={"Authorization": authorization, **more})

    answer = ask(bearer(client.client, client.uid, client.token, expiry="1", **{"token-type": "Bearer"}))
    assert answer.status_code == 200
    client.take(answer)
    client.get("/v1/types")  # and the headers again, on the same chain
    for wrong in ("Bearer", "Bearer ", "Bearer !!!", "Bearer e30=", "Bearer W10=", "Basic dXNlcjpwYXNz", "bearer-ish",
                  bearer(client.client, client.uid, ""), bearer(client.client, "", client.token),
                  bearer("", client.uid, client.token), "Bearer " + "A" * 5000):
        answer = ask(wrong)
        assert answer.status_code in (401, 431), f"{wrong}: {answer.status_code} {answer.text}"
        assert "access-token" not in answer.headers
    client.get("/v1/types")  # none of these harmed the session


def test_credentials_that_are_none(world):
    client = Client(world.vault, world.auditor.uid, world.auditor.password)
    client.sign_in()
    good = client.credentials()
    cases = [({}, "authentication-required"),
             ({**good, "access-token": "A" * 64}, "token-invalid"), ({**good, "client": "A" * 22}, "token-invalid"),
             ({**good, "uid": world.officer.uid}, "token-invalid"), ({**good, "access-token": good["access-token"][:-1]}, "token-invalid"),
             ({**good, "access-token": good["access-token"] + "A"}, "token-invalid"),
             ({**good, "access-token": world.officer.token}, "token-invalid"),
             ({**good, "access-token": good["access-token"].swapcase()}, "token-invalid")]
    for headers, slug in cases:
        expect_problem(client.raw("GET", "/v1/types", headers=headers), 401, slug)
    for missing in good:
        headers = {k: v for k, v in good.items() if k != missing}
        expect_problem(client.raw("GET", "/v1/types", headers=headers), 401)
    client.get("/v1/types")


@pytest.mark.flags("--session-idle-s", "6")
def test_an_idle_session_ends(fresh_vault):
    auditor = session_of(fresh_vault, "auditor")
    answer = auditor.get("/v1/auth/validate_token")
    assert 0 < int(answer.headers["expiry"]) - time.time() <= 7
    ends = int(answer.headers["expiry"])
    while time.time() < ends + 1.1:  # the condition is the clock's
        time.sleep(0.1)
    expect_problem(auditor.request("GET", "/v1/auth/validate_token"), 401, "token-invalid")
