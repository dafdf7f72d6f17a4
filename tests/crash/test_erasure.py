"""kill -9 at random points of an erasure, TRESOR_ERASURE_ROUNDS times: after the restart it is complete, or was never begun; it happened
once, with one receipt and one entry in the ledger; and the records of others are as they were, to the bit.
"""
import os
import pathlib
import random
import re
import sys
import threading
import time
import uuid

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))

import plain_files  # noqa: E402
from tresor_client import ADA, Client, World  # noqa: E402

ROUNDS = int(os.environ.get("TRESOR_ERASURE_ROUNDS", "104"))
RECORDS = 3000
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout)
pytestmark = pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")


def make_person(world):
    subject = world.make_subject()
    world.grant(subject, actions=("read", "write"))
    lines = b"".join(b'{"type":"contact","data":{"name":"record %d"},"subject":"%s"}\n' % (n, subject.subject.encode())
                     for n in range(RECORDS))
    assert all(r["status"] == 201 for r in world.service.imports(lines, purpose=world.activity))
    assert world.service.get(f"/v1/subjects/{subject.subject}/records?limit=1", purpose=world.activity).json()["items"]
    return subject


class Erasure:
    """Asked for in a thread of its own: by the person, or by an officer for it."""

    def __init__(self, world, subject, by_officer):
        self.world, self.subject, self.answer = world, subject, None
        self.asker, self.request = subject, None
        self.method, self.path, self.body = "DELETE", f"/v1/subjects/{subject.subject}", None
        if by_officer:
            made = world.officer.post("/v1/requests", {"subject": subject.subject, "kind": "erasure", "details": "please"}).json()
            world.officer.post(f"/v1/requests/{made['id']}/verify", {"method": "in-person"}, expect=200)
            self.asker, self.request = world.officer.lanes(1)[0], made["id"]
            self.method, self.path, self.body = "POST", f"/v1/requests/{made['id']}/fulfil", {}
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        try:
            head = self.asker.credentials()
            self.answer = self.asker.raw(self.method, self.path, headers=head, json_body=self.body, timeout=60)
        except LOST:
            pass


def requests_of(world, subject):
    return [r for r in world.officer.pages(f"/v1/requests?subject={subject.subject}") if r["kind"] == "erasure"]


def wait_for_the_end(world, subject, seconds=120):
    """None when it was not begun; else the request, once it is fulfilled."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = requests_of(world, subject)
        states = {r["state"] for r in found}
        if not states & {"fulfilling", "fulfilled"} and not is_gone(world, subject):
            return None
        if "fulfilled" in states:
            assert len(found) == 1
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"not complete: {requests_of(world, subject)}")


def is_gone(world, subject):
    return Client(world.vault, subject.uid, subject.password).raw(
        "POST", "/v1/auth/sign_in", json_body={"uid": subject.uid, "password": subject.password}).status_code == 401


def without_effect(world, found):
    """The log is flushed before the vault: what a kill between the two left is named by an entry of the next start."""
    if found < 2:
        return []
    recovered = [e["detail"] for e in world.auditor.pages("/v1/audit?order=desc", limit=100) if e["action"] == "storage.recovered"]
    bounds = [re.match(r"entries (\d+) to (\d+) were written", detail) for detail in recovered]
    return [range(int(b[1]), int(b[2]) + 1) for b in bounds if b]


def check_complete(world, subject, request):
    receipt = world.officer.get(f"/v1/requests/{request['id']}/receipt").json()["receipt"]
    assert receipt["subject"] == subject.subject and receipt["request"] == request["id"]
    assert receipt["result"]["records"] == RECORDS and receipt["result"]["recipients"] == 1
    assert request["details"] is None and [n["recipient"] for n in request["notices"]] == [world.service.id]
    entries = world.auditor.pages(f"/v1/audit?subject={subject.subject}&order=desc", limit=100)
    erased = [e["seq"] for e in entries if e["action"] == "subject.erased"]
    assert len(erased) - sum(seq in lost for lost in without_effect(world, len(erased)) for seq in erased) == 1, erased
    assert is_gone(world, subject)


def check_files(vault, gone):
    """One entry of the ledger for each, no key, no row."""
    keys = plain_files.keys_of(vault.data)
    left = plain_files.plain(vault.data / "keys.db", keys["keys.db"])
    ids = {uuid.UUID(s.subject).bytes: s for s in gone}
    for raw in ids:
        assert f"data.{raw.hex().upper()}" not in keys
        # The row, and the entry of its index; the newest is noted for the next start too.
        assert 1 <= left.count(raw) <= (3 if ids[raw] is gone[-1] else 2)
    assert b"record 17" not in plain_files.plain(vault.data / "vault.db", keys["vault.db"])


def bystander_of(world):
    other = world.make_subject(*({**ADA, "age": n} for n in range(40)))
    paths = [f"/v1/subjects/{other.subject}/records?limit=100", f"/v1/subjects/{other.subject}/grants"]
    return lambda: [other.get(path).content for path in paths]


@pytest.mark.timeout(3600)
def test_kill_at_random_points(fresh_vault):
    vault, world = fresh_vault, World(fresh_vault)
    rng = random.Random(20260417)
    bystander = bystander_of(world)
    before, gone, cut, unbegun = bystander(), [], 0, 0
    usual = 0.0
    for number in range(ROUNDS):
        subject = make_person(world)
        erasure = Erasure(world, subject, by_officer=number % 2 == 1)
        began = time.monotonic()
        erasure.thread.start()
        if number > 3:  # the first ones say how long it takes
            time.sleep(rng.uniform(0, 1.1 * usual))  # the random point
            vault.server.kill()
        erasure.thread.join(90)
        usual = max(usual, time.monotonic() - began) if number <= 3 else usual
        if number > 3:
            cut += erasure.answer is None
            vault.start()
            if rng.random() < 0.3:  # and once more while it goes on
                time.sleep(rng.uniform(0, usual))
                vault.server.kill()
                vault.start()
        request = wait_for_the_end(world, subject)
        if request is None:
            assert erasure.answer is None, "it was answered, but never begun"
            unbegun += 1
            again = Erasure(world, subject, by_officer=True)
            again.ask()
            request = next(r for r in requests_of(world, subject) if r["state"] == "fulfilled")
        check_complete(world, subject, request)
        gone.append(subject)
        assert bystander() == before
    code, verdict = vault.verify_audit()
    assert code == 0 and verdict["ok"], verdict
    vault.restart()
    vault.stop()
    check_files(vault, gone)
    vault.start()
    print(f"{ROUNDS} erasures of {RECORDS} records, {cut} answers cut off, {unbegun} before it began; uncut at most {usual:.2f} s")
    assert cut >= ROUNDS // 10  # else the points are not where the work is
