"""Requests that meet in the middle: changes beside running imports, sign-ins, lists and deletions; guessing; cursors."""
import collections
import concurrent.futures
import json
import threading
import time
import uuid

import pytest
import requests
from requests.adapters import HTTPAdapter

from tresor_client import Client, expect_problem

SERVER_FLAGS = ("--sign-in-free-tries", 3)
VALIDATE, PASSWORD, SIGN_IN = "/v1/auth/validate_token", "/v1/auth/password", "/v1/auth/sign_in"


def at_once(*calls):
    """Run them at the same time; their results in order."""
    gate = threading.Barrier(len(calls))

    def run(call):
        gate.wait(60)
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [f.result() for f in [pool.submit(run, call) for call in calls]]


def type_name(letter="t"):
    return letter + uuid.uuid4().hex[:12]


# ---- imports ----

class Import:
    """An import in two halves; the second is sent when the test says so."""

    FIRST, SECOND = 70, 130

    def __init__(self, world, service):
        self.world, self.more, self.answer = world, threading.Event(), None
        self.phone = "+41 " + uuid.uuid4().hex
        self.thread = threading.Thread(target=self._run, args=(service,), daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 60
        while self.stored() == 0:
            assert time.monotonic() < deadline, "the first half was not stored"
            time.sleep(0.05)

    def stored(self):
        """How many of its records there are."""
        count, after = 0, {}
        while True:
            body = {"type": "contact", "field": "/phone", "value": self.phone, "limit": 100, **after}
            page = self.world.officer.post("/v1/lookup", body, expect=200).json()
            count += len(page["items"])
            if page["next"] is None:
                return count
            after = {"after": page["next"]}

    def _lines(self):
        line = json.dumps({"name": "Imp Ort", "phone": self.phone}).encode() + b"\n"
        for _ in range(self.FIRST):
            yield line
        assert self.more.wait(60)
        yield line * self.SECOND

    def _run(self, service):
        self.answer = service.raw("POST", "/v1/import?type=contact", headers=service.credentials(), data=self._lines(),
                                  content_type="application/x-ndjson")

    def end(self):
        self.more.set()
        self.thread.join(60)
        assert self.answer is not None
        return self.answer


@pytest.mark.parametrize("how", ["disabled", "deleted", "reset", "signed out elsewhere", "session ended"])
def test_an_import_stops_when_its_session_ends(world, how):
    service = world.make_service(may_register=True)
    lane = service.lanes(1)[0]
    running = Import(world, service)
    stored = running.stored()
    where = f"/v1/principals/{service.id}"
    if how == "disabled":
        world.operator.patch(where, {"disabled": True})
    elif how == "deleted":
        world.operator.delete(where)
    elif how == "reset":
        world.operator.patch(where, {"reset_password": True})
    elif how == "signed out elsewhere":
        lane.put(PASSWORD, {"current_password": service.password, "password": "a password of " + service.uid}, expect=204)
    else:
        lane.delete(f"/v1/auth/sessions/{service.client}")
    expect_problem(running.end(), 401, "token-invalid")
    assert running.stored() == stored < Import.FIRST + Import.SECOND
    assert service.request("GET", VALIDATE).status_code == 401


def test_an_import_stops_registering_when_the_right_is_taken_back(world):
    service = world.make_service(may_register=True)
    running = Import(world, service)
    stored = running.stored()
    world.operator.patch(f"/v1/principals/{service.id}", {"may_register": False})
    answer = running.end()
    assert answer.status_code == 200, answer.text
    service.take(answer)
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [line["line"] for line in lines] == list(range(1, Import.FIRST + Import.SECOND + 1))
    assert [line["status"] for line in lines] == [201] * stored + [403] * (len(lines) - stored)
    assert all(line["type"] == "urn:tresor:problem:forbidden" for line in lines[stored:])
    assert running.stored() == stored
    service.get(VALIDATE)


def test_an_import_without_any_right_is_refused_at_once(world):
    """Not line by line: its results would be longer than what was sent."""
    service = world.make_service()
    answer = service.request("POST", "/v1/import", data=b"1\n" * 1000, content_type="application/x-ndjson")
    expect_problem(answer, 403, "purpose-required")
    service.get(VALIDATE)


@pytest.mark.parametrize("key", [None, "with a key"])
def test_an_import_of_faults_is_given_up(world, key):
    """After 10,000 lines at fault the rest is not read; asked again with the same key, it is the same answer."""
    key, phone = key and uuid.uuid4().hex, "+41 " + uuid.uuid4().hex
    late = json.dumps({"type": "contact", "data": {"name": "Late", "phone": phone}}).encode() + b"\n"
    service = world.make_service(may_register=True)
    answers = [service.request("POST", "/v1/import", data=b"1\n" * 12000 + late, content_type="application/x-ndjson", key=key)
               for _ in range(2 if key else 1)]
    for answer in answers:
        assert answer.status_code == 200
        lines = [json.loads(line) for line in answer.content.splitlines()]
        assert 10000 < len(lines) - 1 < 10200
        assert [line["line"] for line in lines] == list(range(1, len(lines) + 1))
        assert {line["status"] for line in lines[:-1]} <= {400, 422}
        assert lines[-1]["status"] == 413 and lines[-1]["type"] == "urn:tresor:problem:content-too-large"
        found = world.officer.post("/v1/lookup", {"type": "contact", "field": "/phone", "value": phone}, expect=200).json()
        assert found["items"] == []
        assert answer.content == answers[0].content
    service.get(VALIDATE)


# ---- record types ----

@pytest.mark.concurrency
def test_a_changed_type_is_used_at_once_however_many_lists_are_running(world):
    """A list that began before the change must not leave the old schema behind."""
    name = type_name()
    world.officer.put(f"/v1/types/{name}", {"type": "object", "properties": {"s": {"type": "string"}}}, expect=201)
    subject = world.make_subject(*[{"s": "x" * 8000, "i": i} for i in range(30)], type_name=name)
    service, over = world.make_service(), threading.Event()
    world.grant(subject, service, types=[name], masked=True)
    path = f"/v1/subjects/{subject.subject}/records"

    def read(lane):
        while not over.is_set():
            lane.get(path + "?limit=100", purpose=world.activity)

    lanes = service.lanes(3)
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        readers = [pool.submit(read, lane) for lane in lanes]
        try:
            for number in range(20):
                masked = number % 2 == 0
                schema = {"type": "object", "title": str(number),
                          "properties": {"s": {"type": "string", **({"x-mask": "hide"} if masked else {})}, "i": True}}
                world.officer.put(f"/v1/types/{name}", schema)
                subject.post(path, {"type": name, "data": {"i": number}})
                seen = service.get(path + "?limit=2", purpose=world.activity).json()["items"]
                assert {r["data"]["s"] for r in seen} == {None if masked else "x" * 8000}, number
        finally:
            over.set()
        for reader in readers:
            reader.result()
    world.officer.put(f"/v1/types/{name}", {"type": "object", "properties": {"s": {"x-mask": "hide"}, "i": True}})
    subject.post(path, {"type": name, "data": {"i": 99}})
    assert all(r["data"].get("s") is None for r in service.pages(path, limit=100, purpose=world.activity))


def test_types_with_the_longest_names_have_pages(world):
    names = [letter * 64 for letter in "xyz"]
    for name in names:
        world.officer.put(f"/v1/types/{name}", {"type": "object"}, expect=201)
    listed = [t["name"] for t in world.auditor.pages("/v1/types", limit=1)]
    assert listed == sorted(listed) and listed[-3:] == names
    assert [t["name"] for t in world.auditor.pages("/v1/types", limit=2)] == listed
    assert world.vault.server.alive()
    for name in names:
        world.officer.delete(f"/v1/types/{name}")


# ---- conditions ----

@pytest.mark.concurrency
def test_if_match_any_is_met_by_whatever_is_there(world):
    """Others may be faster, and that is no reason for 412."""
    subject = world.make_subject({"name": "Any", "age": 0})
    path = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"

    def work(lane):
        return [lane.request("PATCH", path, {"data": {"age": n}}, match="*", content_type="application/merge-patch+json").status_code
                for n in range(12)]

    lanes = subject.lanes(5)
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        assert collections.Counter(status for done in pool.map(work, lanes) for status in done) == {200: 60}
    assert subject.get(path).json()["version"] == 61


@pytest.mark.concurrency
def test_if_match_of_a_record_is_met_while_its_type_changes(world):
    """The version named is the record's, not its type's."""
    name, over = type_name(), threading.Event()
    world.officer.put(f"/v1/types/{name}", {"type": "object"}, expect=201)
    subject = world.make_subject({"n": 0}, type_name=name)
    path = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    other = world.officer.lanes(1)[0]

    def flip():
        number = 0
        while not over.is_set():
            number += 1
            other.put(f"/v1/types/{name}", {"type": "object", "title": str(number)})

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        flipping = pool.submit(flip)
        try:
            for number in range(1, 31):
                subject.patch(path, {"data": {"n": number}}, match=f'"{number}"')
        finally:
            over.set()
        flipping.result()


@pytest.mark.concurrency
def test_of_a_deletion_and_a_change_of_one_version_of_a_type_one_is_done(world):
    first, second = world.officer.lanes(2)
    for number in range(20):
        path = f"/v1/types/{type_name()}"
        world.officer.put(path, {"type": "object"}, expect=201)
        gone, put = at_once(lambda: first.request("DELETE", path, match='"1"'),
                            lambda: second.request("PUT", path, {"type": "object", "title": "x"}, match='"1"'))
        assert (gone.status_code, put.status_code) in ((204, 412), (412, 200)), number
        world.auditor.get(path, expect=404 if gone.status_code == 204 else 200)


@pytest.mark.concurrency
def test_of_a_deletion_and_a_change_of_one_version_of_a_principal_one_is_done(world):
    first, second = world.operator.lanes(2)
    for number in range(8):
        made = world.operator.post("/v1/principals", {"uid": world.name("race"), "role": "service"}).json()
        path = f"/v1/principals/{made['id']}"
        gone, patch = at_once(lambda: first.request("DELETE", path, match='"1"'),
                              lambda: second.request("PATCH", path, {"name": "Changed"}, match='"1"',
                                                     content_type="application/merge-patch+json"))
        assert (gone.status_code, patch.status_code) in ((204, 404), (204, 412), (412, 200)), number
        world.operator.get(path, expect=404 if gone.status_code == 204 else 200)


# ---- sign-in ----

@pytest.mark.concurrency
@pytest.mark.parametrize("change", [{"reset_password": True}, {"disabled": True}])
def test_a_sign_in_beside_a_reset_leaves_no_session(world, change):
    """Whichever is faster: no session that was begun with the old password lives on after the change."""
    for number in range(4):
        service = world.make_service()
        fresh = Client(world.vault, service.uid, service.password)

        def patch():
            time.sleep(0.015 * number)  # what is wanted is each time another moment of the sign-in
            return world.operator.patch(f"/v1/principals/{service.id}", change)

        answer, _ = at_once(
            lambda: fresh.raw("POST", SIGN_IN, json_body={"uid": service.uid, "password": service.password}), patch)
        if answer.status_code == 200:
            fresh.take(answer)
            expect_problem(fresh.request("GET", VALIDATE), 401, "token-invalid")
        else:
            expect_problem(answer, 401, "invalid-credentials")
        expect_problem(service.request("GET", VALIDATE), 401, "token-invalid")


def test_an_operator_does_not_reset_its_own_password(world):
    """It would end its own session with a password that nobody has seen change."""
    operator = world.make_principal("operator")
    where = f"/v1/principals/{operator.id}"
    before = operator.get(where).json()
    for key in (None, uuid.uuid4().hex):
        answer = operator.request("PATCH", where, {"reset_password": True, "name": "Not this"}, key=key,
                                  content_type="application/merge-patch+json")
        expect_problem(answer, 409, "conflict")
        assert "password\":\"" not in answer.text
    assert operator.get(where).json() == before
    Client(world.vault, operator.uid, operator.password).sign_in()
    operator.patch(where, {"name": "That is free"})
    assert "password" in world.operator.patch(where, {"reset_password": True}).json()
    assert operator.request("GET", VALIDATE).status_code == 401


# ---- guessing ----

def wait_as_told(attempt, refused, least, limit=12):
    """Try, waiting as Retry-After says, until it says at least `least` seconds; the number of tries that were judged."""
    judged = 0
    for _ in range(2 * limit):
        answer = attempt()
        if answer.status_code != 429:
            assert answer.status_code == refused, answer.text
            judged += 1
            assert judged <= limit, "guessing is not slowed down"
            continue
        wait = int(answer.headers["Retry-After"])
        assert wait >= 1
        if wait >= least:
            return judged
        time.sleep(wait)
    raise AssertionError("it never takes longer")


def test_guessing_the_present_password_is_slowed_down_like_signing_in(world):
    """Whoever holds a session must not find the password out by PUT /v1/auth/password."""
    client = world.make_service()

    def guess():
        return client.request("PUT", PASSWORD, {"current_password": "wrong " + uuid.uuid4().hex, "password": "another password 12"})

    judged = wait_as_told(guess, 422, least=3)
    assert judged >= 3
    # The right one has to wait as well, and so has a sign-in of that uid: it is one count. Not another's.
    right = {"current_password": client.password, "password": "another password 12"}
    expect_problem(client.request("PUT", PASSWORD, right), 429, "rate-limited")
    answer = client.raw("POST", SIGN_IN, json_body={"uid": client.uid, "password": client.password})
    expect_problem(answer, 429, "rate-limited")
    assert int(answer.headers["Retry-After"]) >= 1
    world.make_service()
    client.get(VALIDATE)  # the session goes on


def test_a_right_password_takes_the_count_back(world):
    client = world.make_service()
    for number in range(2):
        for _ in range(2):
            wrong = {"current_password": "wrong " + uuid.uuid4().hex, "password": "another password 12"}
            expect_problem(client.request("PUT", PASSWORD, wrong), 422, "validation-failed", "/current_password")
        client.change_password(f"the password number {number}")


class From(HTTPAdapter):
    """Requests that come from another address of the loopback network."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args, **more):
        super().init_poolmanager(*args, source_address=(self.address, 0), **more)


def sign_in_from(vault, address, uid, password):
    with requests.Session() as http:
        http.trust_env, http.verify = False, str(vault.ca)
        http.mount("https://", From(address))
        return http.post(vault.url + SIGN_IN, json={"uid": uid, "password": password}, timeout=60)


@pytest.mark.flags("--sign-in-free-tries", "1")
def test_guessing_one_uid_from_many_addresses_is_slowed_down(fresh_vault):
    """Each address has its tries, and the uid has 20 times as many, from wherever they come; then the delays are short."""
    uid = fresh_vault.credentials["auditor"]["uid"]
    statuses, number = [], 0
    while 429 not in statuses:
        number += 1
        assert number <= 40, "guessing from many addresses is not slowed down"
        answer = sign_in_from(fresh_vault, f"127.0.1.{number}", uid, "wrong " + uuid.uuid4().hex)
        statuses.append(answer.status_code)
    assert set(statuses[:-1]) == {401} and len(statuses) > 20, statuses
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    # Another uid can sign in from there.
    officer = fresh_vault.credentials["officer"]
    assert sign_in_from(fresh_vault, f"127.0.1.{number}", officer["uid"], officer["password"]).status_code == 200
    # And the uid itself can, when the time is over.
    deadline = time.monotonic() + 30
    auditor = fresh_vault.credentials["auditor"]
    while (answer := sign_in_from(fresh_vault, "127.0.2.1", auditor["uid"], auditor["password"])).status_code == 429:
        assert time.monotonic() < deadline
        time.sleep(int(answer.headers["Retry-After"]))
    assert answer.status_code == 200
