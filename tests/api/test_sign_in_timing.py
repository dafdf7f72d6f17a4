"""How long a refused sign-in takes tells nothing: whether the uid is known, unknown or of somebody disabled."""
import os
import statistics
import time

import pytest

from tresor_client import Anonymous

pytestmark = pytest.mark.shipped
SERVER_FLAGS = ("--sign-in-free-tries", "1000")
ROUNDS = int(os.environ.get("TRESOR_TIMING_ROUNDS", "40"))
TOLERANCE = 0.25


def test_the_three_kinds_of_refusal_take_the_same_time(world, vault):
    """The kinds are tried in turn, so that what else the machine does meets all alike, and the medians are compared. scrypt alone
    is some 50 ms: an answer without it is at a small fraction of the others'. (tests/unit/test_password.c counts the scrypts.)"""
    known = world.make_principal("auditor")
    disabled = world.make_principal("auditor")
    world.operator.patch(f"/v1/principals/{disabled.id}", {"disabled": True})
    asker = Anonymous(vault)
    kinds = {"known": lambda i: known.uid, "unknown": lambda i: f"nobody-{i}@example.org", "disabled": lambda i: disabled.uid}
    took = {kind: [] for kind in kinds}
    answers = set()
    for i in range(ROUNDS + 2):
        order = list(kinds) if i % 2 else list(kinds)[::-1]
        for kind in order:
            began = time.perf_counter()
            answer = asker.raw("POST", "/v1/auth/sign_in", json_body={"uid": kinds[kind](i), "password": "not the password"})
            spent = time.perf_counter() - began
            body = answer.json()
            body.pop("instance", None)
            answers.add((answer.status_code, str(body), tuple(sorted(set(answer.headers) - {"Date", "X-Request-Id"}))))
            if i >= 2:  # the first ones open connections and fill caches
                took[kind].append(spent)
    assert len(answers) == 1, answers
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    least, most = min(medians.values()), max(medians.values())
    assert most / least < 1 + TOLERANCE, medians
