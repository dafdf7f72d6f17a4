"""What a review of the requests found: who is named in the log, what a receipt counts, what a condition is worth."""
import collections
import threading

import pytest

from tresor_client import ADA, World, expect_problem


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


def file(world, subject, kind, **more):
    return world.officer.post("/v1/requests", {"subject": subject.subject, "kind": kind, **more}).json()


def verified(world, subject, kind, **more):
    request = file(world, subject, kind, **more)
    world.officer.post(f"/v1/requests/{request['id']}/verify", {"method": "in-person"}, expect=200)
    return request


def newest(world, action, count=1):
    entries = world.auditor.get("/v1/audit?order=desc&limit=100").json()["items"]
    return [e for e in entries if e["action"] == action][:count]


# ---- the log names whose texts were shown ----

def test_an_answer_that_is_given_again_names_its_subject(world, ada):
    """The texts are shown again, so the person must find it among the accesses."""
    body = {"subject": ada.subject, "kind": "rectification", "details": "Zwicki, not Zwicky"}
    for _ in range(2):
        request = world.officer.post("/v1/requests", body, key="file-" + ada.subject).json()
    path = f"/v1/requests/{request['id']}"
    for name, more in (("verify", {"method": "other"}), ("fulfil", {})):
        for _ in range(2):
            answer = world.officer.post(f"{path}/{name}", more, expect=200, key=name + ada.subject)
        assert answer.headers["Idempotency-Replayed"] == "true" and answer.json()["details"] == body["details"]
    for action in ("request.create", "request.verify", "request.fulfil"):
        again, first = newest(world, action, 2)
        assert again["detail"] == "a stored outcome was answered" and "detail" not in first
        assert again["subject"] == first["subject"] == ada.subject, action
    assert newest(world, "request.fulfil")[0]["purpose"] == request["id"]


def test_a_list_of_all_is_among_the_accesses_of_each(world, ada):
    ben = world.make_subject({"name": "Ben Amsler"})
    mine, other, his = file(world, ada, "access", details="Ada's words"), file(world, ada, "erasure"), file(world, ben, "access")
    shown = {r["id"]: r["details"] for r in world.officer.pages("/v1/requests?open=true", limit=100)}
    assert shown[mine["id"]] == "Ada's words" and {other["id"], his["id"]} <= set(shown)

    def listed(subject):
        items = subject.pages(f"/v1/subjects/{subject.subject}/accesses", limit=100)
        return [(a["purpose"], a["purpose_name"], a["role"], a["outcome"]) for a in items if a["action"] == "request.list"]

    kinds = {mine["id"]: "access", other["id"]: "erasure", his["id"]: "access"}
    want = lambda *ids: sorted((i, f"Request of the data subject: {kinds[i]}", "officer", "ok") for i in ids)
    assert sorted(listed(ada)) == want(mine["id"], other["id"])
    assert listed(ben) == want(his["id"])
    before = len(world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100))
    world.officer.get(f"/v1/requests?subject={ada.subject}")  # of one subject: one entry for all
    entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100)[before:]
    assert [(e["action"], e["records"]) for e in entries] == [("request.list", [mine["id"], other["id"]])]


def test_an_empty_list_leaves_one_entry(fresh_vault):
    world = World(fresh_vault)
    assert world.officer.get("/v1/requests").json() == {"items": [], "next": None}
    entry, = newest(world, "request.list", 2)
    assert entry["outcome"] == "ok" and "subject" not in entry and "records" not in entry


def test_anothers_request_is_not_named_among_the_accesses(world, ada):
    """What a service names as its purpose is its own say: it must not tell one person of another's request."""
    theirs = file(world, world.subject, "erasure")
    path = f"/v1/subjects/{ada.subject}/records"
    expect_problem(world.service.request("GET", path, purpose=theirs["id"]), 403, "purpose-required")
    seen = ada.get(f"/v1/subjects/{ada.subject}/accesses?limit=1").json()["items"][0]
    assert (seen["purpose"], seen["purpose_name"]) == (theirs["id"], None)


# ---- what the receipt says ----

def test_a_recipient_that_was_told_twice_counts_once(world, ada):
    """Restricted, lifted and restricted again within the request: the receipt counts who was told, not notices."""
    services = [world.make_service() for _ in range(2)]
    for service in services:
        world.grant(ada, service)
        service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    path = f"/v1/requests/{verified(world, ada, 'restriction')['id']}"
    restriction = f"/v1/subjects/{ada.subject}/restriction"
    world.officer.post(restriction, None, expect=200)
    world.officer.delete(restriction)
    world.officer.post(restriction, None, expect=200)
    done = world.officer.post(path + "/fulfil", {}, expect=200).json()
    assert [n["kind"] for n in done["notices"]] == 2 * ["restriction"] + 2 * ["restriction-lifted"] + 2 * ["restriction"]
    assert done["result"] == {"recipients": 2}
    assert world.officer.get(path + "/receipt").json()["receipt"]["result"] == {"recipients": 2}


# ---- conditions ----

@pytest.mark.concurrency
def test_an_erasure_heeds_if_match(world):
    """Of two that name the same version one comes too late: an erasure is not begun on what its officer has not seen."""
    lanes, me = world.officer.lanes(7), world.officer.profile["id"]
    seen = collections.Counter()
    for _ in range(20):
        subject = world.make_subject({"name": "Ben Amsler"})
        path = f"/v1/requests/{verified(world, subject, 'erasure')['id']}"
        start, codes = threading.Barrier(len(lanes)), {}

        def run(number):
            body = {"officer": me} if number else {}
            start.wait()
            codes[number] = lanes[number].request("POST", path + ("/assign" if number else "/fulfil"), body, match='"2"').status_code

        threads = [threading.Thread(target=run, args=(n,)) for n in range(len(lanes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assigned = 200 in [codes[n] for n in codes if n]
        assert (codes[0] in (200, 202)) != assigned, codes
        assert codes[0] in (200, 202, 412)
        seen[assigned] += 1
    assert seen[True], "the erasure was always first: nothing was tested"


def test_a_request_that_became_overdue_is_new(fresh_vault):
    world = World(fresh_vault)
    path = f"/v1/requests/{file(world, world.subject, 'access')['id']}"
    unless = {"headers": {"If-None-Match": '"1"'}}
    world.officer.get(path, expect=304, **unless)
    fresh_vault.later(32)
    world.officer.sign_in()
    assert world.officer.get(path, **unless).json()["overdue"] is True


def test_a_request_whose_notices_came_is_new(world, ada):
    world.grant(ada)
    world.service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    path = f"/v1/requests/{verified(world, ada, 'restriction')['id']}"
    unless = {"headers": {"If-None-Match": '"2"'}}
    world.officer.get(path, expect=304, **unless)
    world.officer.post(f"/v1/subjects/{ada.subject}/restriction", None, expect=200)
    assert len(world.officer.get(path, **unless).json()["notices"]) == 1


# ---- the end ----

@pytest.mark.concurrency
def test_an_officer_reads_nothing_once_the_erasure_has_begun(world):
    """An officer reads within another request while the erasure begins: in the log's order, no reading behind it."""
    lanes = world.officer.lanes(6)
    for _ in range(6):
        ada = world.make_subject(ADA)
        verified(world, ada, "access")
        erasure = f"/v1/requests/{verified(world, ada, 'erasure')['id']}/fulfil"
        record = f"/v1/subjects/{ada.subject}/records/{ada.records[0]}"
        under_way, stop = threading.Semaphore(0), threading.Event()

        def read(lane):
            while not stop.is_set() and lane.request("GET", record, expect=(200, 403, 404)).status_code == 200:
                under_way.release()

        threads = [threading.Thread(target=read, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for _ in range(2 * len(lanes)):
            under_way.acquire(timeout=60)
        world.officer.post(erasure, {}, expect=(200, 202))
        stop.set()
        for thread in threads:
            thread.join()
        entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100)
        begun = next(e["seq"] for e in entries if e["action"] == "request.fulfil" and e["outcome"] == "ok")
        reads = [e for e in entries if e["action"] == "record.read" and e["outcome"] == "ok"]
        assert reads and [e for e in reads if e["seq"] > begun] == []
