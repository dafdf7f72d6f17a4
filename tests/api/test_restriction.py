"""Restriction of processing: no service reads or changes the data, whatever its grants; the subject, an officer with a request
and the data themselves are as before."""
import json
import threading

import pytest

from tresor_client import ADA, TIME, World, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def service(world):
    return world.make_service()


def records(subject):
    return f"/v1/subjects/{subject.subject}/records"


def record(subject):
    return f"{records(subject)}/{subject.records[0]}"


def restriction(subject):
    return f"/v1/subjects/{subject.subject}/restriction"


def restrict(client, subject):
    return client.post(restriction(subject), None, expect=200).json()


def lookup(client, world, value=ADA["email"]):
    body = {"type": "contact", "field": "/email", "value": value, "limit": 100}
    return [hit["subject"] for hit in client.post("/v1/lookup", body, expect=200, purpose=world.activity).json()["items"]]


def line(subject, name="Imported"):
    return json.dumps({"type": "contact", "data": {"name": name}, "subject": subject.subject}).encode() + b"\n"


def request_of(world, subject, kind, officer=None, verify=True):
    officer = officer or world.officer
    request = officer.post("/v1/requests", {"subject": subject.subject, "kind": kind}).json()
    if verify:
        officer.post(f"/v1/requests/{request['id']}/verify", {"method": "in-person"}, expect=200)
    return request


def attempts(world, service, subject):
    """(what, answer) of everything that a service with all grants may do to the data."""
    purpose = world.activity
    yield "read", service.request("GET", record(subject), purpose=purpose)
    yield "head", service.request("HEAD", record(subject), purpose=purpose)
    yield "list", service.request("GET", records(subject), purpose=purpose)
    yield "list of a type", service.request("GET", records(subject) + "?type=contact", purpose=purpose)
    yield "versions", service.request("GET", record(subject) + "/versions", purpose=purpose)
    yield "create", service.request("POST", records(subject), {"type": "contact", "data": {"name": "N"}}, purpose=purpose)
    yield "replace", service.request("PUT", record(subject), {"data": ADA}, purpose=purpose)
    yield "patch", service.request("PATCH", record(subject), {"data": {"age": 1}}, purpose=purpose,
                                   content_type="application/merge-patch+json")
    yield "export", service.request("GET", f"/v1/subjects/{subject.subject}/export", purpose=purpose)
    yield "delete", service.request("DELETE", record(subject), purpose=purpose)


def test_no_service_reads_or_changes_them(world, ada, service):
    world.grant(ada, service, actions=["read", "write", "export"])
    before = ada.pages(records(ada))
    assert ada.subject in lookup(service, world)
    answer = restrict(ada, ada)
    assert TIME.fullmatch(answer["restricted_at"])
    assert answer == {"subject": ada.subject, "restricted": True, "restricted_at": answer["restricted_at"]}
    for what, answer in attempts(world, service, ada):
        assert answer.status_code == 409, what
        if what != "head":
            expect_problem(answer, 409, "subject-restricted")
    assert ada.subject not in lookup(service, world)
    result = service.imports(line(ada), purpose=world.activity)[0]
    assert "subject-restricted" in json.dumps(result)
    assert ada.pages(records(ada)) == before
    about = service.get(f"/v1/subjects/{ada.subject}", purpose=world.activity).json()  # that it is restricted is to be known
    assert about["restricted"] is True
    ada.delete(restriction(ada))
    assert ada.get(f"/v1/subjects/{ada.subject}").json()["restricted"] is False
    for what, answer in attempts(world, service, ada):
        assert answer.ok, what
    assert ada.subject not in lookup(service, world)  # it was deleted by the last attempt
    assert "record" in service.imports(line(ada), purpose=world.activity)[0]


def test_the_subject_itself_still_may(world, ada):
    restrict(ada, ada)
    assert ada.get(record(ada)).json()["data"] == ADA
    ada.put(record(ada), {"data": {**ADA, "age": 68}})
    assert ada.subject in lookup(ada, world)
    made = ada.post(records(ada), {"type": "contact", "data": {"name": "Mine"}}).json()
    ada.delete(f"{records(ada)}/{made['id']}")
    world.grant(ada)
    ada.pages(f"/v1/subjects/{ada.subject}/accesses")
    assert ada.get(f"/v1/subjects/{ada.subject}/export").content.startswith(b"PK")


def test_an_officer_within_a_request_still_may(world, ada):
    restrict(ada, ada)
    expect_problem(world.officer.request("GET", record(ada)), 403, "forbidden")
    assert ada.subject in lookup(world.officer, world)
    request_of(world, ada, "rectification")
    assert world.officer.get(record(ada)).json()["data"] == ADA
    world.officer.patch(record(ada), {"data": {"age": 68}})
    assert ada.get(record(ada)).json()["data"]["age"] == 68


def test_another_subject_is_as_before(world, ada, service):
    other = world.make_subject(ADA)
    for subject in (ada, other):
        world.grant(subject, service)
    restrict(ada, ada)
    assert service.get(record(other), purpose=world.activity).json()["data"] == ADA
    found = lookup(service, world)
    assert other.subject in found and ada.subject not in found


def test_without_a_grant_nothing_is_told(world, ada, service):
    stranger = world.make_service()
    restrict(ada, ada)
    for client, purpose in ((stranger, world.activity), (service, world.make_activity("Other"))):
        expect_problem(client.request("GET", record(ada), purpose=purpose), 403, "no-grant")
    expect_problem(stranger.request("GET", record(ada)), 403, "purpose-required")


def test_once_more_changes_nothing(world, ada):
    first = restrict(ada, ada)
    assert restrict(ada, ada) == first
    for _ in range(2):
        ada.delete(restriction(ada))
    entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}")
    assert [e["action"] for e in entries if "restrict" in e["action"]] == ["subject.restrict"] * 2 + ["subject.unrestrict"] * 2


def test_a_stored_outcome_is_no_way_around(world, ada, service):
    world.grant(ada, service, actions=["read", "write"])
    body, key = {"type": "contact", "data": {"name": "Once"}}, "restricted-" + ada.subject
    service.post(records(ada), body, purpose=world.activity, key=key)
    assert service.post(records(ada), body, purpose=world.activity, key=key).headers["Idempotency-Replayed"] == "true"
    restrict(ada, ada)
    expect_problem(service.request("POST", records(ada), body, purpose=world.activity, key=key), 409, "subject-restricted")


def test_who_may(world, ada):
    for who in (world.subject, world.officer):
        expect_problem(who.request("POST", restriction(ada)), 403, "forbidden")
        expect_problem(who.request("DELETE", restriction(ada)), 403, "forbidden")
        expect_problem(who.request("POST", f"/v1/subjects/{UNKNOWN}/restriction"), 403, "forbidden")
    for who in (world.service, world.operator, world.auditor):
        expect_problem(who.request("POST", restriction(ada), purpose=world.activity), 403, "forbidden")
    assert ada.get(f"/v1/subjects/{ada.subject}").json()["restricted"] is False


def test_an_officer_needs_such_a_request(world, ada):
    colleague = world.make_principal("officer")
    for kind in ("access", "rectification", "erasure"):
        request_of(world, ada, kind)
    received = request_of(world, ada, "restriction", verify=False)
    for who in (world.officer, colleague):
        expect_problem(who.request("POST", restriction(ada)), 403, "forbidden")
    world.officer.post(f"/v1/requests/{received['id']}/verify", {"method": "in-person"}, expect=200)
    expect_problem(colleague.request("POST", restriction(ada)), 403, "forbidden")  # assigned to the other
    assert restrict(world.officer, ada)["restricted"] is True
    world.officer.delete(restriction(ada))
    restrict(world.officer, ada)
    world.officer.post(f"/v1/requests/{received['id']}/refuse", {"reason": "Withdrawn", "legal_basis": "none"}, expect=200)
    expect_problem(world.officer.request("DELETE", restriction(ada)), 403, "forbidden")
    entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}")
    purposes = {e.get("purpose") for e in entries if "restrict" in e["action"] and e["outcome"] == "ok"}
    assert purposes == {received["id"]}


def test_fulfilment_restricts(world, ada, service):
    world.grant(ada, service)
    request = request_of(world, ada, "restriction")
    done = world.officer.post(f"/v1/requests/{request['id']}/fulfil", {}, expect=200).json()
    assert done["state"] == "fulfilled"
    expect_problem(service.request("GET", record(ada), purpose=world.activity), 409, "subject-restricted")
    ada.delete(restriction(ada))
    service.get(record(ada), purpose=world.activity)


def test_a_hold_and_an_erasure_work_all_the_same(world, ada):
    restrict(ada, ada)
    hold = world.officer.post(f"/v1/subjects/{ada.subject}/holds", {"title": "T", "legal_basis": "L"}).json()
    expect_problem(ada.request("DELETE", f"/v1/subjects/{ada.subject}"), 409, "legal-hold")
    world.officer.delete(f"/v1/subjects/{ada.subject}/holds/{hold['id']}")
    ada.delete(f"/v1/subjects/{ada.subject}", expect=(200, 202), last=True)


def test_it_survives_a_restart(fresh_vault):
    world = World(fresh_vault)
    world.grant(world.subject)
    since = restrict(world.subject, world.subject)
    fresh_vault.restart()
    expect_problem(world.service.request("GET", record(world.subject), purpose=world.activity), 409, "subject-restricted")
    assert restrict(world.subject, world.subject) == since


# ---- both at once ----

@pytest.mark.concurrency
@pytest.mark.parametrize("what", ["read", "write", "lookup", "import"])
def test_no_access_behind_the_restriction(world, service, what):
    """Services at work while the subject restricts its data: in the log's order, no access of theirs comes behind."""
    for _ in range(3):
        ada = world.make_subject({"name": "Ada", "email": f"{what}@race.example"})
        world.grant(ada, service, actions=["read", "write"])
        lanes, start = service.lanes(6), threading.Barrier(7)
        stop = threading.Event()

        def work(lane):
            start.wait()
            while not stop.is_set():
                if what == "read":
                    lane.request("GET", record(ada), purpose=world.activity, expect=(200, 409))
                elif what == "write":
                    body = {"type": "contact", "data": {"name": "N"}}
                    lane.request("POST", records(ada), body, purpose=world.activity, expect=(201, 409))
                elif what == "lookup":
                    lookup(lane, world, f"{what}@race.example")
                else:
                    lane.imports(line(ada), purpose=world.activity)

        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        start.wait()
        count = 0
        while count < 20:  # they are well under way
            count = len(ada.get(f"/v1/subjects/{ada.subject}/accesses?limit=100").json()["items"])
        restrict(ada, ada)
        known = len(ada.pages(records(ada)))
        stop.set()
        for thread in threads:
            thread.join()
        assert len(ada.pages(records(ada))) == known
        entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}")
        placed = next(e["seq"] for e in entries if e["action"] == "subject.restrict")
        late = [e for e in entries if e["seq"] > placed and e.get("role") == "service" and e["outcome"] == "ok"]
        assert late == []
