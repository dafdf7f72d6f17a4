"""Sessions: what ends with a reuse, from when the time of a used token counts, retries of retries, lanes' outcomes."""
import concurrent.futures
import json
import threading
import time
import uuid

import pytest

from tresor_client import Client, expect_problem

SUPERSEDED_MS, RECOVERY_MS, ABSOLUTE_S = 2500, 8000, 7200
SERVER_FLAGS = ("--token-superseded-ms", SUPERSEDED_MS, "--token-recovery-ms", RECOVERY_MS, "--session-absolute-s", ABSOLUTE_S)
VALIDATE, LANES = "/v1/auth/validate_token", "/v1/auth/lanes"


def new_session(of):
    client = Client(of.vault, of.uid, of.password)
    client.sign_in()
    return client


def send(client, method, path, *, token=None, key=None, **more):
    """With a token of one's choice; the client's chain is left as it is."""
    head = {**client.credentials(), **({"access-token": token} if token else {}), **({"Idempotency-Key": key} if key else {})}
    return client.raw(method, path, headers=head, **more)


def reuse(client):
    """Present a token that is two steps old."""
    old = client.token
    client.get(VALIDATE)
    client.get(VALIDATE)
    expect_problem(send(client, "GET", VALIDATE, token=old), 401, "token-reused")


def ended(client):
    answer = client.request("GET", VALIDATE)
    if answer.status_code == 401:
        expect_problem(answer, 401, "token-invalid")
    return answer.status_code == 401


def sessions(client):
    return {s["client"]: s for s in client.get("/v1/auth/sessions").json()["items"]}


class Import:
    """An import whose stream goes on until it is told to end; its answer is never taken into the client's chain."""

    def __init__(self, client, key=None, token=None):
        self.more, self.begun, self.answer = threading.Event(), threading.Event(), None
        self.thread = threading.Thread(target=self._run, args=(client, key, token), daemon=True)
        self.thread.start()
        assert self.begun.wait(60)

    def lines(self):
        for _ in range(70):
            yield b'{"name":"Imp Ort"}\n'
        self.begun.set()
        assert self.more.wait(60)
        yield b'{"name":"The Last"}\n'

    def _run(self, client, key, token):
        self.answer = send(client, "POST", "/v1/import?type=contact", token=token, key=key, data=self.lines(),
                           content_type="application/x-ndjson")

    def end(self):
        self.more.set()
        self.thread.join(60)
        assert self.answer is not None
        return self.answer


def let_pass(milliseconds):
    """The server's windows are the clock's: there is nothing to wait for but the time."""
    until = time.monotonic() + milliseconds / 1000
    while time.monotonic() < until:
        time.sleep(0.05)


# ---- a family of sessions ----

def last_seq(world):
    return world.auditor.get("/v1/audit?order=desc&limit=1").json()["items"][0]["seq"]


def reuses_since(world, seq):
    return [e for e in world.auditor.pages("/v1/audit", limit=100) if e["seq"] > seq and e["action"] == "auth.token_reuse"]


@pytest.mark.parametrize("who", ["the session", "a lane", "a lane of a lane"])
def test_a_reuse_ends_the_session_and_all_its_lanes(world, who):
    """Whoever copied a token may have made lanes with it. Other sign-ins of the principal live on."""
    root, bystander = new_session(world.service), new_session(world.service)
    other_lane = bystander.lanes(1)[0]
    lanes = root.lanes(2)
    below = lanes[0].lanes(1)[0]
    family = {"the session": root, "a lane": lanes[1], "a lane of a lane": below}
    for client in (root, *lanes, below):
        client.get(VALIDATE)
    since = last_seq(world)
    reuse(family[who])
    assert all(ended(client) for client in (root, *lanes, below))
    assert len(reuses_since(world, since)) == 1
    left = sessions(bystander)
    assert not {c.client for c in (root, *lanes, below)} & set(left)
    assert {bystander.client, other_lane.client} <= set(left)
    other_lane.get(VALIDATE)


def test_a_lane_ends_no_later_than_the_sign_in_that_it_comes_from(world):
    root = new_session(world.service)
    began = sessions(root)[root.client]
    let_pass(1100)  # an expiry is told in whole seconds
    answer = root.post(LANES, {"count": 2}).json()["lanes"]
    lane = root.lane(answer[0])
    below = lane.post(LANES, {"count": 1}).json()["lanes"]
    for one in (*answer, *below):
        assert int(one["expiry"]) <= root.expiry
    listed = sessions(root)
    for one in (*answer, *below):
        own = listed[one["client"]]
        assert own["lane"] is True
        assert (own["created_at"], own["expires_at"]) == (began["created_at"], began["expires_at"])
    # Also as the lane's own answers tell it.
    assert int(lane.get(VALIDATE).headers["expiry"]) <= root.expiry


# ---- from when the time of a used token counts ----

def test_the_time_of_a_used_token_counts_from_when_the_answer_could_leave(world):
    """A request longer than both windows: the predecessor is no theft, and a lost answer can be had again."""
    client, key = new_session(world.service), uuid.uuid4().hex
    running = Import(client, key=key)
    expect_problem(send(client, "GET", VALIDATE), 401, "token-superseded")
    let_pass(RECOVERY_MS + 500)
    expect_problem(send(client, "GET", VALIDATE), 401, "token-superseded")
    lost = running.end()
    expect_problem(send(client, "GET", VALIDATE), 401, "token-superseded")
    again = Import(client, key=key).end()
    assert (lost.status_code, again.status_code) == (200, 200), again.text
    assert again.content == lost.content
    client.take(again)
    client.get(VALIDATE)


def test_a_key_does_not_make_an_old_token_younger(world):
    """Within the time for recovery, but not the lost request: after token_superseded_ms it is a theft like without a key."""
    client, key = new_session(world.officer), uuid.uuid4().hex
    token = client.token
    client.get(VALIDATE, key=key)
    expect_problem(send(client, "GET", "/v1/types", token=token, key="guess"), 401, "token-superseded")
    expect_problem(send(client, "GET", VALIDATE, token=token, key="guess"), 401, "token-superseded")
    let_pass(SUPERSEDED_MS + 200)
    expect_problem(send(client, "GET", "/v1/types", token=token, key="guess"), 401, "token-reused")
    assert ended(client)


def test_the_lost_request_is_recovered_later_than_the_predecessor_is_excused(world):
    """The same clock does not cut the recovery short."""
    client, key = new_session(world.service), uuid.uuid4().hex
    lost = send(client, "POST", "/v1/subjects", key=key, json_body={})
    let_pass(SUPERSEDED_MS + 200)
    again = send(client, "POST", "/v1/subjects", key=key, json_body={})
    assert again.status_code == 201 and again.json() == lost.json()
    client.take(again)
    client.get(VALIDATE)


# ---- retries ----

def test_a_second_retry_while_the_first_runs_is_told_so(world):
    """Not "superseded", at which a client would give its session up; and the third gets its answer."""
    client, key = new_session(world.service), uuid.uuid4().hex
    first = Import(client, key=key)
    lost = first.end()
    assert lost.status_code == 200
    second = Import(client, key=key)
    for _ in range(2):
        answer = send(client, "POST", "/v1/import?type=contact", key=key, data=b'{"name":"Imp Ort"}\n',
                      content_type="application/x-ndjson")
        expect_problem(answer, 409, "request-in-progress")
        assert "access-token" not in answer.headers
    expect_problem(send(client, "GET", VALIDATE), 401, "token-superseded")  # without a key it is no retry
    lost = second.end()
    assert lost.status_code == 200
    third = Import(client, key=key).end()
    assert third.status_code == 200 and third.content == lost.content
    client.take(third)
    client.get(VALIDATE)


@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/v1/nothing", None, 404), ("POST", "/v1/nothing", {"a": 1}, 404), ("DELETE", "/v1/nothing/at/all?x=1", None, 404),
    ("PATCH", "/v1/types/contact", {"a": 1}, 405), ("DELETE", "/v1/lookup", None, 405), ("PUT", "/v1/about", {}, 405)])
def test_a_lost_answer_of_no_route_can_be_had_again(world, method, path, body, status):
    """What no route takes uses up its token too."""
    client, key = new_session(world.officer), uuid.uuid4().hex
    lost = send(client, method, path, key=key, json_body=body)
    assert lost.status_code == status and "access-token" in lost.headers
    for other in ("/v1/nothing/else", path):  # another path, or another key
        answer = send(client, method, other, key=key if other != path else key + "x", json_body=body,
                      check=False)
        expect_problem(answer, 401, "token-superseded")
    again = send(client, method, path, key=key, json_body=body)
    assert again.status_code == status, again.text
    assert again.headers.get("Allow") == lost.headers.get("Allow")
    assert again.headers["access-token"] not in (client.token, lost.headers["access-token"])
    client.take(again)
    client.get("/v1/types")


@pytest.mark.parametrize("status, method, path, body", [
    (403, "GET", "/v1/principals", None), (404, "GET", "/v1/types/none-such", None), (422, "PUT", "/v1/types/retry", {"type": "array"}),
    (400, "GET", "/v1/types?colour=red", None), (412, "PUT", "/v1/types/contact", {"type": "object"})])
def test_a_lost_refusal_can_be_had_again(world, status, method, path, body):
    client, key = new_session(world.officer), uuid.uuid4().hex
    head = {**client.credentials(), "Idempotency-Key": key, **({"If-None-Match": "*"} if status == 412 else {})}
    lost, again = [client.raw(method, path, headers=head, json_body=body) for _ in range(2)]
    assert (lost.status_code, again.status_code) == (status, status), again.text
    client.take(again)
    client.get("/v1/types")


@pytest.mark.concurrency
def test_one_key_from_many_lanes_at_once_is_one_effect_and_one_answer(world):
    """Whoever was slower answers the stored outcome, with nothing left over from its own try."""
    lanes = new_session(world.service).lanes(6)
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        for number in range(4):
            key = uuid.uuid4().hex
            body = {"records": [{"type": "contact", "data": {"name": f"Number {number}", "phone": key}}]}
            since = last_seq(world)
            answers = list(pool.map(lambda lane: lane.post("/v1/subjects", body, key=key), lanes))
            assert len({a.content for a in answers}) == 1 and len({a.headers["Location"] for a in answers}) == 1
            assert len([a for a in answers if "Idempotency-Replayed" not in a.headers]) == 1
            found = world.officer.post("/v1/lookup", {"type": "contact", "field": "/phone", "value": key}, expect=200).json()
            assert [i["subject"] for i in found["items"]] == [answers[0].json()["id"]]
            entries = [e for e in world.auditor.pages("/v1/audit", limit=100)
                       if e["seq"] > since and e["action"] == "subject.create"]
            assert len(entries) == len(lanes) and all(e["outcome"] == "ok" for e in entries)
            replayed = {a.headers["X-Request-Id"] for a in answers if "Idempotency-Replayed" in a.headers}
            assert {e["request"] for e in entries if "stored outcome" in e.get("detail", "")} == replayed


# ---- the outcome that holds tokens ----

def test_lanes_are_not_given_out_twice(world):
    """Their tokens may have been used since: presented again, they would look stolen."""
    client, key = new_session(world.service), uuid.uuid4().hex
    lane = client.lane(client.post(LANES, {"count": 1}, key=key).json()["lanes"][0])
    lane.get(VALIDATE)
    lane.get(VALIDATE)
    before = set(sessions(client))
    answer = client.request("POST", LANES, {"count": 1}, key=key)
    expect_problem(answer, 409, "conflict")
    assert "Idempotency-Replayed" not in answer.headers
    assert "access-token\"" not in answer.text
    assert set(sessions(client)) == before
    # Neither to another session of the principal, nor to the lane itself.
    other = new_session(world.service)
    expect_problem(other.request("POST", LANES, {"count": 1}, key=key), 409, "conflict")
    expect_problem(lane.request("POST", LANES, {"count": 1}, key=key), 409, "conflict")
    expect_problem(client.request("POST", LANES, {"count": 2}, key=key), 422, "idempotency-key-reused")
    lane.get(VALIDATE)
    client.get(VALIDATE)


def test_lanes_of_a_lost_answer_are_given_out_again(world):
    client, key = new_session(world.service), uuid.uuid4().hex
    lost = send(client, "POST", LANES, key=key, json_body={"count": 2})
    again = send(client, "POST", LANES, key=key, json_body={"count": 2})
    assert (lost.status_code, again.status_code) == (201, 201), again.text
    assert again.headers["Idempotency-Replayed"] == "true" and again.json() == lost.json()
    client.take(again)
    for one in again.json()["lanes"]:
        client.lane(one).get(VALIDATE)
    assert len([s for s in sessions(client).values() if s["client"] in json.dumps(again.json())]) == 2
    expect_problem(client.request("POST", LANES, {"count": 2}, key=key), 409, "conflict")


def test_a_reuse_counts_after_a_restart_too(world):
    """What was ended is ended in the store: the server's memory of sessions is not what holds it."""
    root = new_session(world.service)
    lane = root.lanes(1)[0]
    reuse(root)
    world.vault.restart()
    assert ended(lane) and ended(root)
    world.service.get(VALIDATE)
