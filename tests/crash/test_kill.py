"""kill -9 at random points under mixed load, TRESOR_KILL_ROUNDS times: no used token is accepted afterwards, no answered write is
missing, a client whose answer was lost gets it by asking again, nothing happens twice, and the audit log verifies.
"""
import json
import os
import queue
import random
import threading
import time
import uuid

import pytest
import requests

from tresor_client import Client, World

ROUNDS = int(os.environ.get("TRESOR_KILL_ROUNDS", "200"))
WORKERS = 6
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout)


class Worker:
    """A session of the subject that writes and reads. It knows what was answered, and which request is without an answer."""

    def __init__(self, world, lane, number):
        self.world, self.lane, self.number = world, lane, number
        self.records = {}  # id -> (version, data) as last answered
        self.deleted = set()
        self.pending = None
        self.answered = 0
        self.rng = random.Random(number)
        self.base = f"/v1/subjects/{world.subject.subject}/records"

    def next_request(self):
        kind = self.rng.random()
        mark = {"name": f"worker {self.number}", "phone": uuid.uuid4().hex}
        ids = list(self.records)
        if kind < 0.4 or not ids:
            return "POST", self.base, {"type": "contact", "data": mark}, None
        chosen = self.rng.choice(ids)
        path = f"{self.base}/{chosen}"
        if kind < 0.55:
            return "PUT", path, {"data": mark}, chosen
        if kind < 0.7:
            return "PATCH", path, {"data": {"phone": mark["phone"]}}, chosen
        if kind < 0.78:
            return "DELETE", path, None, chosen
        return "GET", path, None, chosen

    def send(self, request, key):
        method, path, body, _ = request
        return self.lane.request(method, path, body, key=key, timeout=60)

    def settle(self, request, answer):
        """Take an answer into what is known."""
        method, _, _, chosen = request
        assert answer.status_code in (200, 201, 204), f"{method}: {answer.status_code} {answer.text}"
        self.answered += 1
        if method == "DELETE":
            self.records.pop(chosen)
            self.deleted.add(chosen)
        elif method == "GET":
            body = answer.json()
            assert (body["version"], body["data"]) == self.records[chosen], "a read that differs from what was answered"
        else:
            body = answer.json()
            before = self.records.get(body["id"])
            assert body["version"] == (before[0] + 1 if before else 1), "a write ran twice, or not at all"
            self.records[body["id"]] = (body["version"], body["data"])

    def run(self, stop):
        """Until the server is gone."""
        while not stop.is_set():
            request, key = self.next_request(), uuid.uuid4().hex
            self.pending = (request, key)
            self.settle(request, self.send(request, key))
            self.pending = None

    def work(self, stop, faults):
        try:
            self.run(stop)
        except LOST:
            pass
        except Exception as fault:  # handed to the test's own thread
            faults.put(fault)

    def recover(self):
        """Ask for the lost answer: the same request, token and key. It succeeds, whether it had run or not."""
        if self.pending is None:
            return False
        request, key = self.pending
        self.settle(request, self.send(request, key))
        self.pending = None
        return True


    def try_used_tokens(self):
        """The last token that was answered before the kill, and one used long before, are refused. Where this ends the session,
        the lane is a new session, and the lost answer is asked for with the same Idempotency-Key. Returns how many were tried."""
        answered = self.lane.used[:-1] if self.pending else self.lane.used
        tried = 0
        for token in [answered[-1], self.rng.choice(answered)] if answered else []:
            tried += 1
            if refused(self.lane, token) != "token-superseded":
                refused(self.lane, self.lane.token)
                self.lane = own_session(self.world)
                break
        return tried


def own_session(world):
    """Signed in for itself: reuse of its tokens ends it, and nobody else's."""
    client = Client(world.vault, world.subject.uid, world.subject.password)
    client.sign_in()
    return client


def refused(client, token):
    answer = client.raw("GET", "/v1/auth/validate_token", headers={**client.credentials(), "access-token": token})
    assert answer.status_code == 401, f"a used token was accepted: {answer.status_code}"
    return answer.json()["type"].rsplit(":", 1)[1]


def check_records(worker):
    """All that was answered is there, as it was answered; what was deleted stays deleted."""
    stored = {r["id"]: (r["version"], r["data"]) for r in worker.lane.pages(worker.base, limit=100)
              if r["data"]["name"] == f"worker {worker.number}"}
    for record, wanted in worker.records.items():
        assert stored.get(record) == wanted, f"an answered write is missing: {record}"
    assert not worker.deleted & set(stored), "a deleted record is back"
    extra = set(stored) - set(worker.records)
    assert not extra, f"records that nobody was told of: {extra}"


@pytest.mark.timeout(3600)
def test_kill_at_random_points(fresh_vault):
    vault = fresh_vault
    world = World(vault)
    rng = random.Random(20260301)
    workers = [Worker(world, own_session(world), n) for n in range(WORKERS)]
    began, lost, recovered, used = time.monotonic(), 0, 0, 0
    for number in range(ROUNDS):
        stop, faults = threading.Event(), queue.Queue()
        threads = [threading.Thread(target=w.work, args=(stop, faults)) for w in workers]
        for thread in threads:
            thread.start()
        stop.wait(rng.uniform(0.01, 0.25))  # the random point
        vault.server.kill()
        stop.set()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive()
        assert faults.empty(), faults.get()
        code, verdict = vault.verify_audit()
        assert code == 0 and verdict["ok"] is True, f"round {number}: {verdict}"
        vault.start()
        lost += sum(w.pending is not None for w in workers)
        for worker in rng.sample(workers, 2):
            used += worker.try_used_tokens()
        for worker in workers:
            recovered += worker.recover()
            worker.lane.get("/v1/auth/validate_token")
        if number % 5 == 0 or number == ROUNDS - 1:
            for worker in workers:
                check_records(worker)
    for worker in workers:
        for token in worker.lane.used:
            refused(worker.lane, token)
            used += 1
    entries = world.auditor.get("/v1/audit?order=desc&limit=1").json()["items"][0]["seq"]
    answered = sum(w.answered for w in workers)
    print(f"{ROUNDS} kills in {time.monotonic() - began:.0f} s: {answered} answered requests, {lost} answers lost and {recovered} recovered, "
          f"{used} used tokens refused, {entries} audit entries")
    assert recovered == lost and lost > 0


def test_kill_leaves_each_audited_write_with_its_entry(fresh_vault):
    """An answered write has its entry in the log: the log is durable before the answer."""
    vault = fresh_vault
    world = World(vault)
    path = f"/v1/subjects/{world.subject.subject}/records"
    for _ in range(3):
        ids = [world.subject.post(path, {"type": "contact", "data": {"name": "Logged"}}).headers["X-Request-Id"] for _ in range(10)]
        vault.server.kill()
        vault.start()
        logged = {e.get("request") for e in world.auditor.pages("/v1/audit", limit=100)}
        assert set(ids) <= logged


def test_kill_while_starting(fresh_vault):
    """A start that is cut off leaves nothing that the next start trips over."""
    vault = fresh_vault
    world = World(vault)
    where = f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}"
    before = world.subject.get(where).json()
    rng = random.Random(7)
    for _ in range(10):
        vault.server.kill()
        before_it = vault.server.process
        starter = threading.Thread(target=lambda: _start_quietly(vault))
        starter.start()
        while vault.server.process is before_it and starter.is_alive():  # there is nothing to kill yet
            threading.Event().wait(0.001)
        threading.Event().wait(rng.uniform(0.0, 0.6))
        if vault.server.alive():
            vault.server.process.kill()
        starter.join(90)
        vault.server.process.wait(30)
        vault.start()
        assert world.subject.get(where).json() == before
    assert json.dumps(vault.verify_audit()[1]["ok"]) == "true"


def _start_quietly(vault):
    try:
        vault.server.start()
    except AssertionError:
        pass
