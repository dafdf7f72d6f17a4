"""Legal holds: who places, sees and lifts them, and that nothing of their subject is erased while one stands."""
import datetime
import threading
import time

import pytest

from tresor_client import ADA, TIME, UUID7, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
PAYROLL = {"title": "Payroll records", "legal_basis": "Art. 958f CO"}


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


def holds(subject):
    return f"/v1/subjects/{subject.subject}/holds"


def record(subject):
    return f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"


def place(world, subject, **members):
    return world.officer.post(holds(subject), {**PAYROLL, **members}).json()


def lift(world, subject, hold):
    world.officer.delete(f"{holds(subject)}/{hold['id']}")


def in_time(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def expect_hold(answer, hold):
    problem = expect_problem(answer, 409, "legal-hold")
    assert problem["detail"] == f'the legal hold "{hold["title"]}" ({hold["id"]}) forbids it'


def request_of(world, subject, kind, officer=None):
    """Filed, verified and assigned to the officer."""
    officer = officer or world.officer
    request = officer.post("/v1/requests", {"subject": subject.subject, "kind": kind}).json()
    return officer.post(f"/v1/requests/{request['id']}/verify", {"method": "in-person"}, expect=200).json()


# ---- the hold itself ----

def test_place_and_see_it(world, ada):
    expires = in_time(3600)
    answer = world.officer.post(holds(ada), {**PAYROLL, "expires_at": expires})
    hold = answer.json()
    assert UUID7.fullmatch(hold["id"]) and TIME.fullmatch(hold["created_at"])
    assert hold == {"id": hold["id"], "subject": ada.subject, **PAYROLL, "standing": True, "created_by": world.officer.profile["id"],
                    "created_at": hold["created_at"], "expires_at": expires, "lifted_by": None, "lifted_at": None}
    assert answer.headers["Location"] == f"{holds(ada)}/{hold['id']}"
    plain = place(world, ada, title="Без срока «ß»")
    assert plain["expires_at"] is None and plain["title"] == "Без срока «ß»"
    for who in (world.officer, ada):
        assert who.pages(holds(ada)) == [hold, plain]
        assert who.pages(holds(ada), limit=1) == [hold, plain]


def test_lift_it(world, ada):
    hold, other = place(world, ada), place(world, ada, title="Claim 12")
    colleague = world.make_principal("officer")
    colleague.delete(f"{holds(ada)}/{hold['id']}")
    first = ada.pages(holds(ada))
    assert [(h["standing"], h["lifted_by"]) for h in first] == [(False, colleague.profile["id"]), (True, None)]
    assert TIME.fullmatch(first[0]["lifted_at"])
    lift(world, ada, hold)  # again: the first who lifted it is the one who did
    assert ada.pages(holds(ada)) == first
    assert first[1] == other


def test_who_may(world, ada):
    hold = place(world, ada)
    for who in (ada, world.subject, world.service, world.operator, world.auditor):
        expect_problem(who.request("POST", holds(ada), PAYROLL), 403, "forbidden")
        expect_problem(who.request("DELETE", f"{holds(ada)}/{hold['id']}"), 403, "forbidden")
    for who in (world.subject, world.service, world.operator, world.auditor):
        expect_problem(who.request("GET", holds(ada)), 403, "forbidden")
    expect_problem(world.subject.request("GET", f"/v1/subjects/{UNKNOWN}/holds"), 403, "forbidden")  # no oracle


def test_what_is_not_there(world, ada):
    hold = place(world, ada)
    for path in (f"/v1/subjects/{UNKNOWN}/holds", "/v1/subjects/x/holds"):
        expect_problem(world.officer.request("GET", path), 404, "not-found")
        expect_problem(world.officer.request("POST", path, PAYROLL), 404, "not-found")
        expect_problem(world.officer.request("DELETE", f"{path}/{hold['id']}"), 404, "not-found")
    expect_problem(world.officer.request("DELETE", f"{holds(world.subject)}/{hold['id']}"), 404, "not-found")  # another's
    for unknown in (UNKNOWN, "x"):
        expect_problem(world.officer.request("DELETE", f"{holds(ada)}/{unknown}"), 404, "not-found")
    assert [h["standing"] for h in ada.pages(holds(ada))] == [True]


@pytest.mark.parametrize("change, pointer", [
    ({"title": ""}, "/title"), ({"title": "x" * 121}, "/title"), ({"title": 1}, "/title"), ({"legal_basis": ""}, "/legal_basis"),
    ({"legal_basis": "x" * 401}, "/legal_basis"), ({"expires_at": "soon"}, "/expires_at"),
    ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"), ({"expires_at": None}, "/expires_at"), ({"subject": UNKNOWN}, None)])
def test_body(world, ada, change, pointer):
    expect_problem(world.officer.request("POST", holds(ada), {**PAYROLL, **change}), 422, "validation-failed", pointer)
    for missing in PAYROLL:
        body = {name: text for name, text in PAYROLL.items() if name != missing}
        expect_problem(world.officer.request("POST", holds(ada), body), 422, "validation-failed")
    assert ada.pages(holds(ada)) == []


def test_a_repeated_post_places_one(world, ada):
    answers = [world.officer.post(holds(ada), PAYROLL, key="hold-" + ada.subject) for _ in range(2)]
    assert answers[0].json() == answers[1].json() and answers[1].headers["Idempotency-Replayed"] == "true"
    assert len(ada.pages(holds(ada))) == 1


def test_standing_ones_are_bounded(world, ada):
    made = [place(world, ada, title=f"Hold {n}") for n in range(100)]
    expect_problem(world.officer.request("POST", holds(ada), PAYROLL), 409, "conflict")
    lift(world, ada, made[50])
    place(world, ada)
    assert len(ada.pages(holds(ada))) == 101


# ---- what it stops ----

def test_it_stops_the_subject(world, ada):
    hold = place(world, ada)
    expect_hold(ada.request("DELETE", f"/v1/subjects/{ada.subject}"), hold)
    expect_hold(ada.request("DELETE", record(ada)), hold)
    assert ada.get(record(ada)).json()["data"] == ADA
    assert ada.get("/v1/requests").json()["items"] == []  # the refused deletion left no request behind
    lift(world, ada, hold)
    ada.delete(record(ada))
    ada.delete(f"/v1/subjects/{ada.subject}", expect=(200, 202), last=True)


def test_it_stops_a_service(world, ada):
    hold = place(world, ada)
    world.grant(ada, actions=["read", "write"])
    etag = world.service.get(record(ada), purpose=world.activity).headers["ETag"]
    expect_hold(world.service.request("DELETE", record(ada), purpose=world.activity), hold)
    expect_hold(world.service.request("DELETE", record(ada), purpose=world.activity, match=etag), hold)
    lift(world, ada, hold)
    world.service.delete(record(ada), purpose=world.activity)


def test_it_stops_an_officer(world, ada):
    hold = place(world, ada)
    request_of(world, ada, "rectification")
    expect_hold(world.officer.request("DELETE", record(ada)), hold)
    erasure = request_of(world, ada, "erasure")
    path = f"/v1/requests/{erasure['id']}"
    expect_hold(world.officer.request("POST", path + "/fulfil", {}), hold)
    assert world.officer.get(path).json()["state"] == "verified"
    assert ada.get(record(ada)).json()["data"] == ADA
    world.officer.post(path + "/refuse", {"reason": "A duty to keep", "legal_basis": "GDPR Art. 17(3)(b)"}, expect=200)
    lift(world, ada, hold)
    world.officer.delete(record(ada))


def test_fulfilment_after_the_hold(world, ada):
    hold = place(world, ada)
    erasure = request_of(world, ada, "erasure")
    path = f"/v1/requests/{erasure['id']}"
    expect_hold(world.officer.request("POST", path + "/fulfil", {}), hold)
    lift(world, ada, hold)
    assert world.officer.post(path + "/fulfil", {}, expect=(200, 202)).json()["state"] in ("fulfilled", "fulfilling")
    expect_problem(world.officer.request("GET", holds(ada)), 404, "not-found")


def test_the_first_that_stands_is_named(world, ada):
    first, second = place(world, ada, title="One"), place(world, ada, title="Two")
    expect_hold(ada.request("DELETE", record(ada)), first)
    lift(world, ada, first)
    expect_hold(ada.request("DELETE", record(ada)), second)
    lift(world, ada, second)
    ada.delete(record(ada))


def test_a_long_title_leaves_room_for_the_id(world, ada):
    hold = place(world, ada, title="\N{LOCK}" * 120)
    detail = expect_problem(ada.request("DELETE", record(ada)), 409, "legal-hold")["detail"]
    assert hold["id"] in detail and detail.startswith('the legal hold "\N{LOCK}') and "\N{LOCK}..." in detail


def test_it_ends_by_itself(world, ada):
    hold = place(world, ada, expires_at=in_time(2))
    expect_hold(ada.request("DELETE", record(ada)), hold)
    until = time.monotonic() + 30
    while ada.get(holds(ada)).json()["items"][0]["standing"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    ada.delete(record(ada))


def test_it_stops_nothing_else(world, ada):
    place(world, ada)
    world.grant(ada, actions=["read", "write"])
    assert world.service.get(record(ada), purpose=world.activity).json()["data"] == ADA
    changed = {**ADA, "age": 68}
    ada.put(record(ada), {"data": changed})
    world.service.patch(record(ada), {"data": {"age": 69}}, purpose=world.activity)
    assert [v["data"]["age"] for v in ada.get(record(ada) + "/versions").json()["items"]] == [69, 68, 67]
    other = world.make_subject(ADA)
    other.delete(record(other))


def test_what_is_written_over_is_kept(world, ada):
    """Else a change would do what a deletion may not: of this type's history only three versions stay."""
    versions = lambda: [v["data"]["age"] for v in ada.get(record(ada) + "/versions").json()["items"]]
    ada.patch(record(ada), {"data": {"age": 0}})
    hold = place(world, ada)
    for age in range(1, 7):
        ada.patch(record(ada), {"data": {"age": age}})
    ada.put(record(ada), {"data": {**ADA, "age": 7}})
    assert versions() == [7, 6, 5, 4, 3, 2, 1, 0, 67]
    lift(world, ada, hold)
    ada.patch(record(ada), {"data": {"age": 8}})
    assert versions() == [8, 7, 6, 5]


def test_entries_in_the_log(world, ada):
    hold = place(world, ada)
    ada.request("DELETE", record(ada))
    lift(world, ada, hold)
    entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}")
    seen = [(e["action"], e["role"], e["outcome"]) for e in entries if e["action"] in ("hold.create", "hold.lift", "record.delete")]
    assert seen == [("hold.create", "officer", "ok"), ("record.delete", "subject", "legal-hold"), ("hold.lift", "officer", "ok")]
    assert [e["records"] for e in entries if e["action"].startswith("hold.")] == [[hold["id"]], [hold["id"]]]


# ---- both at once ----

@pytest.mark.concurrency
def test_nothing_is_deleted_after_the_hold(world):
    """Deletions of many records while a hold is placed: in the log's order, none behind it."""
    for _ in range(5):
        ada = world.make_subject(*[{"name": f"Record {n}"} for n in range(24)])
        lanes, start = ada.lanes(6), threading.Barrier(7)

        def remove(lane, ids):
            start.wait()
            for one in ids:
                lane.request("DELETE", f"/v1/subjects/{ada.subject}/records/{one}", expect=(204, 409))

        threads = [threading.Thread(target=remove, args=(lane, ada.records[n::6])) for n, lane in enumerate(lanes)]
        for thread in threads:
            thread.start()
        start.wait()
        place(world, ada)
        for thread in threads:
            thread.join()
        entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}")
        placed = next(e["seq"] for e in entries if e["action"] == "hold.create")
        deleted = [e["seq"] for e in entries if e["action"] == "record.delete" and e["outcome"] == "ok"]
        assert all(seq < placed for seq in deleted)
        assert len(ada.pages(f"/v1/subjects/{ada.subject}/records")) == 24 - len(deleted)
