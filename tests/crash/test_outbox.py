"""kill -9 at random points of a notification run, TRESOR_OUTBOX_ROUNDS times: each of TRESOR_OUTBOX_RECEIVERS receivers gets its notice of
each cause that was committed, and, removing duplicates by the id, has one effect of it.
"""
import collections
import os
import pathlib
import random
import sys
import threading
import time

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))

from receivers import Webhooks  # noqa: E402
from tresor_client import ADA, World  # noqa: E402
from tresor_fixtures import _running  # noqa: E402

ROUNDS = int(os.environ.get("TRESOR_OUTBOX_ROUNDS", "100"))
RECEIVERS = int(os.environ.get("TRESOR_OUTBOX_RECEIVERS", "1000"))
UNCUT = 2  # rounds that say how long it takes
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout)


class Effects(Webhooks):
    """Keeps what a receiver keeps: how often each id came, by path."""

    def __init__(self, folder):
        self.effects = collections.defaultdict(collections.Counter)
        self.distinct = 0
        super().__init__(folder)

    def take(self, item):
        with self.changed:
            ids = self.effects[item.path]
            ids[item.id] += 1
            self.distinct += ids[item.id] == 1
            self.changed.notify_all()

    def wait_for_distinct(self, count, seconds=60):
        with self.changed:
            assert self.changed.wait_for(lambda: self.distinct >= count, seconds), f"{self.distinct} of {count} came"


def make_receivers(world, subject, effects):
    paths = {}
    for number in range(RECEIVERS):
        service = world.make_service()
        world.grant(subject, service)
        service.get(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}", purpose=world.activity)
        paths[service.id] = f"/receiver/{number}"
        world.operator.put(f"/v1/principals/{service.id}/contact", {"webhook": {"url": effects.url(paths[service.id])}})
    return paths


class Cause:
    """The person restricts the processing of its data, or lifts it: everybody who got them is told."""

    def __init__(self, subject, restrict):
        self.subject, self.restrict, self.answered = subject, restrict, False
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        method = "POST" if self.restrict else "DELETE"
        try:
            answer = self.subject.raw(method, f"/v1/subjects/{self.subject.subject}/restriction",
                                      headers=self.subject.credentials(), timeout=60)
            self.subject.take(answer)
            assert answer.ok, answer.text
            self.answered = True
        except LOST:
            pass

    def is_done(self):
        self.subject.sign_in()
        found = self.subject.get(f"/v1/subjects/{self.subject.subject}").json()
        return found["restricted"] == self.restrict


def wait_until_all_is_sent(world, seconds=180):
    until = time.monotonic() + seconds
    while world.operator.get("/v1/notices?state=waiting&limit=1").json()["items"]:
        assert time.monotonic() < until, world.operator.get("/v1/notices?state=waiting").json()["items"][:3]
        time.sleep(0.05)


@pytest.mark.timeout(7200)
def test_kill_at_random_points(tmp_path):
    effects = Effects(tmp_path)
    for vault in _running(tmp_path, "--outbox-allow", "127.0.0.1", "--outbox-ca", effects.cert):
        world = World(vault)
        subject = world.make_subject(ADA)
        paths = make_receivers(world, subject, effects)
        rng = random.Random(20261128)
        answered, usual, cut, kills = 0.0, 0.0, 0, 0
        for number in range(ROUNDS + UNCUT):
            cause = Cause(subject, restrict=number % 2 == 0)
            began = time.monotonic()
            cause.thread.start()
            if number >= UNCUT:
                if rng.random() < 0.3:  # the random point: about the commit of the cause, or in the run
                    time.sleep(rng.uniform(0, answered))
                else:
                    effects.wait_for_distinct(number * RECEIVERS + rng.randrange(RECEIVERS))
                vault.server.kill()
                kills += 1
                cut += effects.distinct < (number + 1) * RECEIVERS
            cause.thread.join(90)
            answered = max(answered, time.monotonic() - began) if number < UNCUT else answered
            if number >= UNCUT:
                vault.start()
                while rng.random() < 0.3:  # and while it goes on
                    time.sleep(rng.uniform(0, usual))
                    vault.server.kill()
                    kills += 1
                    vault.start()
                if not cause.is_done():
                    assert not cause.answered, "it was answered, but never done"
                    cause.ask()
            wait_until_all_is_sent(world)
            usual = max(usual, time.monotonic() - began) if number < UNCUT else usual
            for path in paths.values():
                assert len(effects.effects[path]) == number + 1, (number, path, effects.effects[path])
        notices = world.operator.pages("/v1/notices", limit=100)
        assert {(n["id"], paths[n["recipient"]]) for n in notices} == \
            {(one, path) for path, ids in effects.effects.items() for one in ids}
        assert all(n["state"] == "sent" for n in notices)
        code, verdict = vault.verify_audit()
        assert code == 0 and verdict["ok"], verdict
        again = sum(times - 1 for ids in effects.effects.values() for times in ids.values())
        print(f"{RECEIVERS} receivers, {ROUNDS} runs, {kills} kills, {cut} with notices left; {again} came again under their id; "
              f"an uncut run {usual:.2f} s")
        assert cut >= ROUNDS // 2  # else the points are not where the work is
    effects.close()
