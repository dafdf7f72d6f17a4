"""Single-use tokens: rotation on every answer, reuse detection, recovery of a lost response, one success of n at once."""
import concurrent.futures
import json
import os
import time
import uuid

import pytest

from tresor_client import Client, Wire, World, bearer, expect_problem

ROUNDS = int(os.environ.get("TRESOR_TOKEN_ROUNDS", "1000"))
PEERS = 64


@pytest.fixture
def auditor(world):
    """A session of its own for each test: many of them end it."""
    return new_session(world.auditor)


def new_session(of):
    client = Client(of.vault, of.uid, of.password)
    client.sign_in()
    return client


def audit_of(world, action, since):
    return [e for e in world.auditor.pages("/v1/audit?order=asc", limit=100) if e["seq"] > since and e["action"] == action]


def last_seq(world):
    return world.auditor.get("/v1/audit?order=desc&limit=1").json()["items"][0]["seq"]


# ---- rotation ----

def test_every_answer_carries_the_next_token(world):
    """Of every kind: 200, 201, 204, 304, 400, 403, 404, 405, 406, 409, 412, 413, 415, 422. Client.take checks each."""
    world.officer.put("/v1/types/rotation", {"type": "object"}, expect=201)
    officer, operator, subject = world.officer, world.operator, world.subject
    record = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    etag = subject.get(record).headers["ETag"]
    subject.get(record, expect=304, headers={"If-None-Match": etag})
    subject.delete(record, expect=412, match='"999"')
    officer.get("/v1/types?what=1", expect=400)
    officer.get("/v1/principals", expect=403)
    officer.get("/v1/types/none-such", expect=404)
    officer.get("/v1/no/such/path", expect=404)
    officer.request("PATCH", "/v1/types/rotation", {}, expect=405)
    officer.request("GET", "/v1/types", accept="image/png", expect=406)
    operator.request("PATCH", f"/v1/principals/{operator.profile['id']}", {"disabled": True}, expect=409)
    officer.request("PUT", "/v1/types/rotation", data=b"{}", content_type="image/png", expect=415)
    officer.request("POST", "/v1/activities", data=b"{", content_type="application/json", expect=400)
    officer.request("POST", "/v1/activities", data=b'"' + b"a" * 1100000 + b'"', content_type="application/json", expect=413)
    officer.post("/v1/activities", {}, expect=422)
    officer.delete("/v1/types/rotation", expect=204)
    officer.request("HEAD", "/v1/types", expect=200)
    assert len(set(officer.used)) == len(officer.used)


def test_a_broken_frame_does_not_use_the_token(auditor):
    """What is no HTTP is refused before anybody looks at credentials."""
    for header in (("Idempotency-Key", "\x7f"), ("X-Control", "a\x01b"), ("Content-Length", "1, 2")):
        with Wire(auditor.vault) as wire:
            answer = wire.ask("GET", "/v1/types", [*auditor.credentials().items(), header])
        assert answer is None or answer.status_code == 400 and answer.headers.get("access-token") is None, header
    auditor.get("/v1/types")


def test_tokens_look_random(auditor):
    for _ in range(20):
        auditor.get("/v1/auth/validate_token")
    assert len(set(auditor.used)) == 20
    assert all(len(t) >= 43 for t in auditor.used)  # 256 bits
    for position in range(43):
        assert len({t[position] for t in auditor.used}) > 3


# ---- reuse ----

def test_the_predecessor_is_superseded_and_nothing_more(auditor):
    first = auditor.token
    auditor.get("/v1/types")
    for _ in range(3):
        expect_problem(auditor.raw("GET", "/v1/types", headers={**auditor.credentials(), "access-token": first}), 401,
                       "token-superseded")
    auditor.get("/v1/types")


def test_an_older_token_ends_the_session_and_is_logged(world, auditor):
    since = last_seq(world)
    first = auditor.token
    auditor.get("/v1/types")
    auditor.get("/v1/types")
    answer = auditor.raw("GET", "/v1/types", headers={**auditor.credentials(), "access-token": first})
    expect_problem(answer, 401, "token-reused")
    expect_problem(auditor.request("GET", "/v1/types"), 401, "token-invalid")
    events = audit_of(world, "auth.token_reuse", since)
    assert len(events) == 1
    assert events[0]["request"] == answer.headers["X-Request-Id"]
    assert events[0]["principal"] == world.auditor.profile["id"] and events[0]["address"] == "127.0.0.1"
    assert auditor.client not in [s["client"] for s in world.auditor.get("/v1/auth/sessions").json()["items"]]


def test_reuse_under_auth_has_its_own_shape(auditor):
    first = auditor.token
    auditor.get("/auth/validate_token")
    answer = auditor.raw("GET", "/auth/validate_token", headers={**auditor.credentials(), "access-token": first})
    assert answer.status_code == 401 and answer.json()["success"] is False
    auditor.get("/auth/validate_token")


@pytest.mark.flags("--token-superseded-ms", "300", "--token-recovery-ms", "300")
def test_the_predecessor_later_ends_the_session(fresh_vault):
    world = World(fresh_vault)
    auditor = new_session(world.auditor)
    first = auditor.token
    auditor.get("/v1/types")
    until = time.monotonic() + 0.5
    while time.monotonic() < until:  # the window is the clock's
        time.sleep(0.05)
    expect_problem(auditor.raw("GET", "/v1/types", headers={**auditor.credentials(), "access-token": first}), 401, "token-reused")
    expect_problem(auditor.request("GET", "/v1/types"), 401, "token-invalid")
    # Neither can a lost response be recovered so late: the key makes no difference.
    service = new_session(world.service)
    head = {**service.credentials(), "Idempotency-Key": "late"}
    assert service.raw("POST", "/v1/subjects", json_body={}, headers=head).status_code == 201
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        time.sleep(0.05)
    assert service.raw("POST", "/v1/subjects", json_body={}, headers=head).status_code == 401


def test_a_refused_token_changes_nothing(world):
    """A superseded token's POST has no effect."""
    service = new_session(world.service)
    used = service.token
    service.get("/v1/types")
    before = world.operator.pages("/v1/principals")
    since = last_seq(world)
    for _ in range(5):
        expect_problem(service.raw("POST", "/v1/subjects", json_body={}, headers={**service.credentials(), "access-token": used}),
                       401, "token-superseded")
    assert audit_of(world, "subject.create", since) == []
    assert world.operator.pages("/v1/principals") == before


# ---- recovery of a lost response ----

def lose(client, method, path, key, **more):
    """Send, and throw the answer away: the client still has its old token."""
    head = {**client.credentials(), "Idempotency-Key": key}
    head.update(more.pop("headers", {}))
    return client.raw(method, path, headers=head, **more)


def test_recovery_of_a_get(world):
    client = new_session(world.officer)
    for path in ("/v1/types", "/v1/activities", "/v1/auth/sessions"):
        key, old = uuid.uuid4().hex, client.token
        lost = lose(client, "GET", path, key)
        again = lose(client, "GET", path, key)
        assert again.status_code == 200
        if path != "/v1/auth/sessions":
            assert again.json() == lost.json()
        unseen = lost.headers["access-token"]
        assert again.headers["access-token"] not in (old, unseen)
        client.take(again)
        client.get("/v1/types")
        # The unseen one is dead; by now it is older than the predecessor, so it is a reuse or simply unknown.
        answer = client.raw("GET", "/v1/types", headers={**client.credentials(), "access-token": unseen})
        assert answer.status_code == 401
        client = new_session(world.officer)


def test_recovery_several_times_in_a_row(world):
    client = new_session(world.officer)
    key, tokens = uuid.uuid4().hex, set()
    for _ in range(5):
        answer = lose(client, "GET", "/v1/types", key)
        assert answer.status_code == 200
        tokens.add(answer.headers["access-token"])
    assert len(tokens) == 5
    client.take(answer)
    client.get("/v1/types")


def test_recovery_of_a_post_has_no_second_effect(world):
    client, key = new_session(world.service), uuid.uuid4().hex
    since = last_seq(world)
    body = {"records": [{"type": "contact", "data": {"name": "Once Only"}}]}
    lost = lose(client, "POST", "/v1/subjects", key, json_body=body)
    assert lost.status_code == 201 and "Idempotency-Replayed" not in lost.headers
    again = lose(client, "POST", "/v1/subjects", key, json_body=body)
    assert again.status_code == 201 and again.json() == lost.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Location"] == lost.headers["Location"]
    assert again.headers["access-token"] != lost.headers["access-token"]
    client.take(again)
    client.get("/v1/types")
    created = audit_of(world, "subject.create", since)
    assert {e["subject"] for e in created if "subject" in e} == {lost.json()["id"]}


def test_recovery_of_every_writing_method(world):
    subject = world.make_subject({"name": "Recover", "age": 1})
    path = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    for method, body, status in (("PUT", {"data": {"name": "Recover", "age": 2}}, 200), ("PATCH", {"data": {"age": 3}}, 200),
                                 ("DELETE", None, 204)):
        key = uuid.uuid4().hex
        lost = lose(subject, method, path, key, json_body=body)
        again = lose(subject, method, path, key, json_body=body)
        assert (lost.status_code, again.status_code) == (status, status), again.text
        assert again.content == lost.content and again.headers.get("ETag") == lost.headers.get("ETag")
        subject.take(again)
        if method != "DELETE":
            assert subject.get(path).json()["version"] == lost.json()["version"]
    subject.get(path, expect=404)


def test_recovery_of_a_refused_request(world):
    """The answer to a request that failed can be lost too: the same request is answered again, with a token."""
    client, key = new_session(world.service), uuid.uuid4().hex
    lost = lose(client, "POST", "/v1/subjects", key, json_body={"nonsense": 1})
    assert lost.status_code == 422
    again = lose(client, "POST", "/v1/subjects", key, json_body={"nonsense": 1})
    assert again.status_code == 422
    client.take(again)
    client.get("/v1/types")


def test_recovery_needs_the_very_same_request(world):
    client, key = new_session(world.service), uuid.uuid4().hex
    old = client.credentials()
    assert lose(client, "POST", "/v1/subjects", key, json_body={}).status_code == 201
    for method, path, other_key, body in (("POST", "/v1/subjects", key, {"records": []}), ("POST", "/v1/subjects", key + "x", {}),
                                          ("GET", "/v1/types", key, None)):
        answer = client.raw(method, path, json_body=body, headers={**old, "Idempotency-Key": other_key})
        expect_problem(answer, 401, "token-superseded")
    expect_problem(client.raw("POST", "/v1/subjects", json_body={}, headers=old), 401, "token-superseded")
    answer = lose(client, "POST", "/v1/subjects", key, json_body={})
    assert answer.status_code == 201
    client.take(answer)


def test_no_recovery_once_the_successor_was_used(world):
    client, key = new_session(world.service), uuid.uuid4().hex
    old = client.credentials()
    answer = lose(client, "POST", "/v1/subjects", key, json_body={})
    client.take(answer)
    client.get("/v1/types")
    answer = client.raw("POST", "/v1/subjects", json_body={}, headers={**old, "Idempotency-Key": key})
    assert answer.status_code == 401


def test_recovery_across_a_restart(fresh_vault):
    world = World(fresh_vault)
    client, key = new_session(world.service), uuid.uuid4().hex
    lost = lose(client, "POST", "/v1/subjects", key, json_body={})
    assert lost.status_code == 201
    fresh_vault.restart()
    again = lose(client, "POST", "/v1/subjects", key, json_body={})
    assert again.status_code == 201 and again.json() == lost.json()
    client.take(again)
    client.get("/v1/types")


def test_a_stolen_copy_cannot_recover_what_was_received(world):
    """The thief repeats the victim's last request, after the victim went on: the session ends instead."""
    victim, key = new_session(world.officer), uuid.uuid4().hex
    stolen = victim.credentials()
    victim.take(lose(victim, "GET", "/v1/types", key))
    victim.get("/v1/types")
    victim.get("/v1/types")
    expect_problem(victim.raw("GET", "/v1/types", headers={**stolen, "Idempotency-Key": key}), 401, "token-reused")


# ---- idempotency keys with the chain intact ----

def test_idempotency_key(world):
    client, key = new_session(world.service), uuid.uuid4().hex
    first = client.post("/v1/subjects", {}, key=key)
    second = client.post("/v1/subjects", {}, key=key)
    assert second.json() == first.json() and second.headers["Idempotency-Replayed"] == "true"
    # The same JSON in other bytes, or another route: another request.
    answer = client.request("POST", "/v1/subjects", {"records": []}, key=key)
    expect_problem(answer, 422, "idempotency-key-reused")
    other = new_session(world.service)  # the principal's, not the session's
    assert other.post("/v1/subjects", {}, key=key).json() == first.json()
    # Another principal's key is another key.
    stranger = world.make_service(may_register=True)
    assert stranger.post("/v1/subjects", {}, key=key).json()["id"] != first.json()["id"]


def test_idempotency_key_does_not_keep_failures(world):
    key = uuid.uuid4().hex
    world.service.post("/v1/subjects", {"records": [{"type": "idem-type", "data": {}}]}, expect=422, key=key)
    world.officer.put("/v1/types/idem-type", {"type": "object"}, expect=201)
    world.service.post("/v1/subjects", {"records": [{"type": "idem-type", "data": {}}]}, expect=201, key=key)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"])
def test_idempotency_key_form(world, key):
    answer = world.service.request("POST", "/v1/subjects", {}, headers={"Idempotency-Key": key.encode("utf-8")})
    expect_problem(answer, 400, "bad-request", parameter="Idempotency-Key")


def test_idempotency_key_longest(world):
    world.service.post("/v1/subjects", {}, key="~!" + uuid.uuid4().hex + "k" * 221)


# ---- many at once ----

class Crowd:
    """Connections kept open over TLS, all sending the same bytes at once."""

    def __init__(self, vault, count=PEERS):
        self.wires = [Wire(vault) for _ in range(count)]

    def ask(self, text):
        data = text.encode("latin-1")
        for wire in self.wires:
            wire.send(data)
        return [wire.answer() for wire in self.wires]

    def close(self):
        for wire in self.wires:
            wire.close()


def request_text(method, path, client, body=None, key=None):
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"access-token: {client.token}", f"client: {client.client}",
            f"uid: {client.uid}"]
    head += [f"Idempotency-Key: {key}"] if key else []
    body = json.dumps(body) if body is not None else ""
    head += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join(head) + "\r\n\r\n" + body


@pytest.mark.concurrency
def test_of_64_with_one_token_exactly_one_runs(world):
    """1,000 rounds (TRESOR_TOKEN_ROUNDS) over 64 open TLS connections."""
    client = new_session(world.officer)
    crowd = Crowd(world.vault)
    began = time.monotonic()
    try:
        for number in range(ROUNDS):
            answers = crowd.ask(request_text("GET", "/v1/auth/validate_token", client))
            good = [a for a in answers if a.status_code == 200]
            bad = [a for a in answers if a.status_code != 200]
            assert len(good) == 1, f"round {number}: {len(good)} successes"
            for answer in bad:
                assert answer.status_code == 401, answer.text
                assert answer.json()["type"] == "urn:tresor:problem:token-superseded"
                assert answer.headers.get("access-token") is None
            client.used.append(client.token)
            client.token = good[0].headers["access-token"]
    finally:
        crowd.close()
    taken = time.monotonic() - began
    print(f"{ROUNDS} rounds of {PEERS} in {taken:.1f} s: {ROUNDS * PEERS / taken:.0f} requests/s")
    assert len(set(client.used)) == ROUNDS
    client.get("/v1/types")


@pytest.mark.concurrency
def test_of_64_writes_with_one_token_exactly_one_has_an_effect(world):
    service = new_session(world.service)
    since = last_seq(world)
    crowd = Crowd(world.vault)
    made = []
    try:
        for _ in range(min(ROUNDS, 30)):
            answers = crowd.ask(request_text("POST", "/v1/subjects", service, {}))
            good = [a for a in answers if a.status_code == 201]
            assert len(good) == 1
            assert {a.status_code for a in answers} == {201, 401}
            made.append(good[0].json()["id"])
            service.token = good[0].headers["access-token"]
    finally:
        crowd.close()
    assert [e["subject"] for e in audit_of(world, "subject.create", since) if e["outcome"] == "ok"] == made


@pytest.mark.concurrency
def test_of_64_with_one_token_and_one_key_one_has_an_effect(world):
    """A client that repeats too eagerly: each answer is the one outcome, or a refusal; the chain goes on."""
    service = new_session(world.service)
    crowd = Crowd(world.vault)
    try:
        for _ in range(min(ROUNDS, 20)):
            since, key = last_seq(world), uuid.uuid4().hex
            answers = crowd.ask(request_text("POST", "/v1/subjects", service, {}, key))
            good = [a for a in answers if a.status_code == 201]
            assert good and {a.status_code for a in answers} <= {201, 401, 409}, {a.status_code for a in answers}
            assert len({a.json()["id"] for a in good}) == 1
            for answer in answers:
                if answer.status_code == 409:
                    assert answer.json()["type"] == "urn:tresor:problem:request-in-progress"
            entries = [e for e in audit_of(world, "subject.create", since) if e["outcome"] == "ok"]
            assert len({e["subject"] for e in entries if "subject" in e}) == 1
            # With the old token and the key, the present one can be had for sure.
            again = service.raw("POST", "/v1/subjects", json_body={}, headers={**service.credentials(), "Idempotency-Key": key})
            assert again.status_code == 201 and again.json()["id"] == good[0].json()["id"]
            service.take(again)
            service.get("/v1/types")
    finally:
        crowd.close()


@pytest.mark.concurrency
def test_a_token_in_two_forms_at_once(world):
    client = new_session(world.officer)
    wires = [Wire(world.vault) for _ in range(8)]
    try:
        for _ in range(20):
            headers = request_text("GET", "/v1/types", client)
            other = ("GET /v1/types HTTP/1.1\r\nHost: x\r\nAuthorization: " + bearer(client.client, client.uid, client.token) +
                     "\r\n\r\n")
            for number, wire in enumerate(wires):
                wire.send((headers if number % 2 else other).encode())
            answers = [wire.answer() for wire in wires]
            good = [a for a in answers if a.status_code == 200]
            assert len(good) == 1
            client.token = good[0].headers["access-token"]
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.concurrency
def test_lanes_work_at_once(world):
    """Sixteen lanes of one service, each with its own chain, in parallel: nobody is refused."""
    lanes = new_session(world.service).lanes(16)

    def work(lane):
        for _ in range(20):
            lane.get("/v1/types")
            lane.post("/v1/subjects", {})
        return True

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, lanes))


@pytest.mark.concurrency
def test_sign_out_against_requests_at_once(world):
    """Whatever wins, afterwards the session is gone."""
    for _ in range(10):
        client = new_session(world.officer)
        crowd = Crowd(world.vault, 8)
        try:
            first = request_text("DELETE", "/v1/auth/sign_out", client).encode()
            second = request_text("GET", "/v1/types", client).encode()
            for number, wire in enumerate(crowd.wires):
                wire.send(first if number == 3 else second)
            answers = [wire.answer() for wire in crowd.wires]
        finally:
            crowd.close()
        good = [a for a in answers if a.status_code == 200]
        assert len(good) == 1
        token = good[0].headers.get("access-token")
        if token is None:
            expect_problem(client.request("GET", "/v1/types"), 401, "token-invalid")
        else:
            client.token = token
            client.request("DELETE", "/v1/auth/sign_out", last=True, expect=200)
