"""The master key's versions: rotation while the vault is in use, and retirement."""
import json
import threading
import time
import uuid

import pytest
import requests

from tresor_client import ADA, TIME, World, expect_problem

SUBJECTS = 2000
OWN = 5  # the vault's own keys in keys.db
DATABASES = {"vault.db", "keys.db", "audit.db"}


def keys(world):
    return world.operator.get("/v1/keys").json()


def current(world):
    return next(k for k in keys(world)["items"] if k["current"])


def wait_for_rewrap(world, seconds=120):
    """Until every data key is wrapped by the current version; the list as it is then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        answer = keys(world)
        if not answer["rewrapping"]:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"still wrapping: {answer}")


def entries(world, action):
    return [e for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == action]


def rotate(world):
    """A rotation, and its data keys wrapped again; the new version."""
    version = world.operator.post("/v1/keys/rotate", None).json()["version"]
    wait_for_rewrap(world)
    return version


def test_a_new_vault_has_one_version(world):
    answer = wait_for_rewrap(world)
    assert answer["provider"] == "file" and answer["rotation_days"] == 90 and answer["next"] is None
    [only] = answer["items"]
    assert only["version"] == 1 and only["current"] is True and TIME.fullmatch(only["created_at"])
    assert set(only["databases"]) == DATABASES
    assert only["data_keys"] == OWN + 1  # and the world's subject


def test_rotation_is_at_once_and_all_follows(world):
    before, subjects = current(world), [world.make_subject(ADA) for _ in range(5)]
    answer = world.operator.post("/v1/keys/rotate", None)
    made = answer.json()
    assert made["version"] == before["version"] + 1 and made["current"] is True
    assert set(made["databases"]) == DATABASES
    assert made["created_at"] > before["created_at"]
    fresh = world.make_subject(ADA)
    after = wait_for_rewrap(world)
    assert [k["current"] for k in after["items"]].count(True) == 1
    old, new = [next(k for k in after["items"] if k["version"] == v) for v in (before["version"], made["version"])]
    assert old["data_keys"] == 0 and old["databases"] == [] and not old["current"]
    assert new["data_keys"] == before["data_keys"] + 6 and set(new["databases"]) == DATABASES
    for subject in [*subjects, fresh]:
        assert subject.get(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}").json()["data"] == ADA
    [entry] = [e for e in entries(world, "keys.rotate") if e["request"] == answer.headers["X-Request-Id"]]
    assert entry["outcome"] == "ok" and entry["role"] == "operator" and entry["detail"] == f"version {made['version']}"
    assert [e["detail"] for e in entries(world, "keys.rewrapped")][-1] == f"version {made['version']}"


def test_what_is_wrapped_again_opens_after_a_restart(world):
    version = rotate(world)
    world.vault.restart()
    assert current(world)["version"] == version
    assert keys(world)["rewrapping"] is False or wait_for_rewrap(world)
    assert world.subject.get(f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}").json()["data"] == ADA
    found = world.subject.post("/v1/lookup", {"type": "contact", "field": "/email", "value": ADA["email"]}, expect=200)
    assert found.json()["items"], "the key of the index must be the same"


def test_an_unused_version_is_destroyed(world):
    rotate(world)
    old = [k["version"] for k in keys(world)["items"] if not k["current"]]
    for version in old:
        answer = world.operator.delete(f"/v1/keys/{version}")
        [entry] = [e for e in entries(world, "keys.retire") if e["request"] == answer.headers["X-Request-Id"]]
        assert entry["outcome"] == "ok" and entry["detail"] == f"version {version}" and entry["role"] == "operator"
        expect_problem(world.operator.request("DELETE", f"/v1/keys/{version}"), 404, "not-found")
    assert [k["current"] for k in keys(world)["items"]] == [True]
    world.vault.restart()
    assert world.subject.get(f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}").json()["data"] == ADA
    assert [k["current"] for k in keys(world)["items"]] == [True]


def test_the_current_version_stays(world):
    version = current(world)["version"]
    answer = world.operator.request("DELETE", f"/v1/keys/{version}")
    expect_problem(answer, 409, "conflict")
    [entry] = [e for e in entries(world, "keys.retire") if e["request"] == answer.headers["X-Request-Id"]]
    assert entry["outcome"] == "conflict"
    assert current(world)["version"] == version


@pytest.mark.parametrize("version", ["0", "01", "-1", "1.0", "x", "999", "4294967295", "4294967296", "18446744073709551617", "%31x"])
def test_no_such_version(world, version):
    expect_problem(world.operator.request("DELETE", f"/v1/keys/{version}"), 404, "not-found")


def test_wrong_methods_and_parameters(world):
    assert world.operator.request("GET", "/v1/keys/rotate").status_code == 405
    assert world.operator.request("POST", "/v1/keys").status_code == 405
    assert world.operator.request("GET", "/v1/keys/1").status_code == 405
    expect_problem(world.operator.request("GET", "/v1/keys?limit=1"), 400)
    before = current(world)["version"]
    expect_problem(world.operator.request("POST", "/v1/keys/rotate?force=1"), 400)
    assert current(world)["version"] == before


def test_a_repeated_rotation_is_one(world):
    """With one Idempotency-Key: one after the other, and at once from two sessions."""
    before, key = current(world)["version"], uuid.uuid4().hex
    first = world.operator.post("/v1/keys/rotate", None, key=key)
    second = world.operator.post("/v1/keys/rotate", None, key=key)
    assert second.json() == first.json() and second.headers["Idempotency-Replayed"] == "true"
    assert current(world)["version"] == before + 1
    lanes, key, answers = world.operator.lanes(4), uuid.uuid4().hex, []
    threads = [threading.Thread(target=lambda lane=lane: answers.append(lane.request("POST", "/v1/keys/rotate", key=key)))
               for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {a.status_code for a in answers} <= {201, 409} and 201 in {a.status_code for a in answers}
    assert {a.json()["version"] for a in answers if a.status_code == 201} == {before + 2}
    assert current(world)["version"] == before + 2
    # A retirement too: the second is told what the first was.
    wait_for_rewrap(world)
    key, old = uuid.uuid4().hex, min(k["version"] for k in keys(world)["items"])
    assert world.operator.delete(f"/v1/keys/{old}", key=key).status_code == 204
    assert world.operator.delete(f"/v1/keys/{old}", key=key).headers["Idempotency-Replayed"] == "true"
    for lane in lanes:
        world.operator.delete(f"/v1/auth/sessions/{lane.client}")


def test_rotations_at_once_follow_each_other(world):
    lanes, versions = world.operator.lanes(4), []
    before = current(world)["version"]
    threads = [threading.Thread(target=lambda lane=lane: versions.append(lane.post("/v1/keys/rotate", None).json()["version"]))
               for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(versions) == list(range(before + 1, before + 5))
    wait_for_rewrap(world)
    for lane in lanes:
        world.operator.delete(f"/v1/auth/sessions/{lane.client}")


@pytest.mark.concurrency
def test_registrations_while_the_key_changes_all_the_time(world):
    """What was prepared under a version that is no longer current is prepared anew, lines of an import too."""
    operators, services = world.operator.lanes(2), world.service.lanes(4)
    stop, faults = threading.Event(), []

    def use(number, service):
        try:
            while not stop.is_set():
                if number % 2:
                    service.post("/v1/subjects", {"records": [{"type": "contact", "data": {"name": "busy"}}]})
                else:
                    lines = service.imports(b'{"name":"busy"}\n{"nickname":"wrong"}\n' * 10, "?type=contact")
                    assert [one["status"] for one in lines] == [201, 422] * 10
        except Exception as fault:  # raised in the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=use, args=(n, service)) for n, service in enumerate(services)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            for operator in operators:
                operator.post("/v1/keys/rotate", None)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert faults == []
    answer = wait_for_rewrap(world)
    assert [k["version"] for k in answer["items"] if k["data_keys"]] == [current(world)["version"]]
    for lane in operators:
        world.operator.delete(f"/v1/auth/sessions/{lane.client}")


def metric(text, name):
    [line] = [one for one in text.splitlines() if one.startswith(name + " ")]
    return float(line.split()[1])


@pytest.mark.flags("--metrics-listen", "127.0.0.1:0", "--key-rotation", "0")
def test_metrics(fresh_vault):
    world = World(fresh_vault)
    assert keys(world)["rotation_days"] == 0
    port = next(json.loads(line)["port"] for line in fresh_vault.server.lines if '"metrics"' in line)
    read = lambda: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    rotate(world)
    text = read()
    assert metric(text, "tresor_master_key_version") == 2 and metric(text, "tresor_master_key_versions") == 2
    assert metric(text, "tresor_data_keys_stale") == 0
    assert 0 <= metric(text, "tresor_master_key_age_seconds") < 300


class User:
    """A lane that reads, writes and registers without end; it keeps what must be there at the end."""

    def __init__(self, world, service, subject, number):
        self.world, self.number = world, number
        self.subject, self.lane, self.service = subject, subject.lanes(1)[0], service.lanes(1)[0]
        self.requests, self.made, self.fault = 0, [], None

    def run(self, stop):
        try:
            self.work(stop)
        except Exception as fault:  # raised in the test's own thread
            self.fault = fault

    def work(self, stop):
        base = f"/v1/subjects/{self.subject.subject}/records"
        while not stop.is_set():
            data = {"name": f"user {self.number}", "phone": uuid.uuid4().hex}
            made = self.lane.post(base, {"type": "contact", "data": data}).json()
            self.made.append((made["id"], data))
            record, data = self.made[self.requests % len(self.made)]
            assert self.lane.get(f"{base}/{record}").json()["data"] == data
            body = {"records": [{"type": "contact", "data": data}]}
            self.service.post("/v1/subjects", body)
            lines = self.service.imports(b"".join(b'{"name":"line %d"}\n' % n for n in range(5)), "?type=contact")
            assert [one["status"] for one in lines] == [201] * 5
            self.requests += 4


def readable(world, subject):
    return subject.pages(f"/v1/subjects/{subject.subject}/records", limit=100)


@pytest.mark.concurrency
def test_in_use_during_rotations(fresh_vault):
    """No request fails while keys are wrapped again, versions are retired and new subjects come; all is readable after."""
    world = World(fresh_vault)
    lines = b"".join(b'{"name":"subject %d"}\n' % n for n in range(SUBJECTS))
    assert all(one["status"] == 201 for one in world.service.imports(lines, "?type=contact"))
    users = [User(world, world.service, world.make_subject(ADA), n) for n in range(4)]
    stop = threading.Event()
    threads = [threading.Thread(target=user.run, args=(stop,)) for user in users]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            version = rotate(world)
            for old in [k["version"] for k in keys(world)["items"] if k["version"] != version]:
                world.operator.delete(f"/v1/keys/{old}")
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)
    for user in users:
        if user.fault:
            raise user.fault
    registered = SUBJECTS + 1 + len(users) + sum(u.requests // 4 * 6 for u in users)
    [only] = wait_for_rewrap(world)["items"]
    assert only["data_keys"] == registered + OWN and only["version"] == 4
    fresh_vault.restart()
    for user in users:
        stored = {r["id"]: r["data"] for r in readable(world, user.subject)}
        assert len(stored) == len(user.made) + 1 and all(stored[record] == data for record, data in user.made)
    assert readable(world, world.subject)[0]["data"] == ADA
    code, verdict = fresh_vault.verify_audit()
    assert code == 0 and verdict["ok"] is True
