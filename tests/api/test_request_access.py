"""What an officer sees of a person: nothing, but within a request of that person that is open, verified and assigned to that
officer; changes only within a rectification; and the log says within which request."""
import threading

import pytest

from tresor_client import ADA, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
KINDS = ("access", "portability", "rectification", "restriction", "erasure", "objection")


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def colleague(world):
    return world.make_principal("officer")


@pytest.fixture(scope="module")
def ben(world):
    return world.make_subject({"name": "Ben Amsler"})


def file(world, subject, kind="access"):
    body = {"subject": subject.subject, "kind": kind}
    if kind == "objection":
        body["activities"] = [world.activity]
    return world.officer.post("/v1/requests", body).json()


def step(client, request, name, body, expect=200):
    return client.post(f"/v1/requests/{request['id']}/{name}", body, expect=expect).json()


def opened(world, subject, kind="access", officer=None):
    """A request that is verified and assigned to the first officer, or to this one."""
    request = file(world, subject, kind)
    return step(officer or world.officer, request, "verify", {"method": "known-contact"})


def reads(subject):
    base = f"/v1/subjects/{subject.subject}"
    record = f"{base}/records/{subject.records[0]}"
    return [base, f"{base}/records", record, f"{record}/versions", f"{base}/grants", f"{base}/accesses"]


def writes(subject):
    base = f"/v1/subjects/{subject.subject}/records"
    record = f"{base}/{subject.records[0]}"
    return [("POST", base, {"type": "contact", "data": {"name": "Another"}}), ("PUT", record, {"data": {"name": "New"}}),
            ("PATCH", record, {"data": {"notes": "new"}}), ("DELETE", record, None)]


def write(client, method, path, body):
    media = "application/merge-patch+json" if method == "PATCH" else None
    return client.request(method, path, body, content_type=media) if media else client.request(method, path, body)


def shut(client, subject):
    for path in reads(subject):
        expect_problem(client.request("GET", path), 403, "forbidden")
    for method, path, body in writes(subject):
        expect_problem(write(client, method, path, body), 403, "forbidden")


def readable(client, subject):
    for path in reads(subject):
        client.get(path)
    record = client.get(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}").json()
    assert record["data"] == ADA  # whole, nothing masked


# ---- the table: whose request, in which state, assigned to whom ----

def nothing(world, ada, ben, colleague):
    pass


def unverified(world, ada, ben, colleague):
    file(world, ada)


def unverified_and_assigned(world, ada, ben, colleague):
    step(world.officer, file(world, ada), "assign", {"officer": world.officer.profile["id"]})


def own_session_but_unassigned(world, ada, ben, colleague):
    ada.post("/v1/requests", {"subject": ada.subject, "kind": "access"})


def of_a_colleague(world, ada, ben, colleague):
    opened(world, ada, officer=colleague)


def handed_over(world, ada, ben, colleague):
    step(world.officer, opened(world, ada), "assign", {"officer": colleague.id})


def of_another_subject(world, ada, ben, colleague):
    opened(world, ben, "rectification")


def refused(world, ada, ben, colleague):
    step(world.officer, opened(world, ada), "refuse", {"reason": "r", "legal_basis": "l"})


def fulfilled(world, ada, ben, colleague):
    step(world.officer, opened(world, ada), "fulfil", {})


def rectified(world, ada, ben, colleague):
    step(world.officer, opened(world, ada, "rectification"), "fulfil", {})


@pytest.mark.parametrize("case", [nothing, unverified, unverified_and_assigned, own_session_but_unassigned, of_a_colleague, handed_over,
                                  of_another_subject, refused, fulfilled, rectified], ids=lambda case: case.__name__)
def test_an_officer_sees_nothing(world, ada, ben, colleague, case):
    case(world, ada, ben, colleague)
    shut(world.officer, ada)
    assert ada.get(f"/v1/subjects/{ada.subject}/records/{ada.records[0]}").json()["data"] == ADA


@pytest.mark.parametrize("kind", KINDS)
def test_an_officer_reads_within_its_open_request(world, ada, colleague, kind):
    opened(world, ada, kind)
    readable(world.officer, ada)
    shut(colleague, ada)


def test_an_extended_request_is_open_too(world, ada):
    step(world.officer, opened(world, ada), "extend", {"reason": "Archive"})
    readable(world.officer, ada)


def test_a_request_that_was_taken_over(world, ada, colleague):
    request = opened(world, ada, officer=colleague)
    step(world.officer, request, "assign", {"officer": world.officer.profile["id"]})
    readable(world.officer, ada)
    shut(colleague, ada)


def test_one_of_two_requests_closed(world, ada):
    first, second = opened(world, ada), opened(world, ada)
    step(world.officer, second, "fulfil", {})
    readable(world.officer, ada)
    step(world.officer, first, "fulfil", {})
    shut(world.officer, ada)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "rectification"])
def test_only_a_rectification_allows_changes(world, ada, kind):
    opened(world, ada, kind)
    for method, path, body in writes(ada):
        expect_problem(write(world.officer, method, path, body), 403, "forbidden")
    assert ada.get(f"/v1/subjects/{ada.subject}/records/{ada.records[0]}").json()["version"] == 1


def test_a_rectification_allows_changes(world, ada):
    opened(world, ada, "rectification")
    for (method, path, body), status in zip(writes(ada), (201, 200, 200, 204)):
        answer = write(world.officer, method, path, body)
        assert answer.status_code == status, answer.text
    left = ada.pages(f"/v1/subjects/{ada.subject}/records")
    assert [r["data"] for r in left] == [{"name": "Another"}]


def test_an_older_rectification_counts_beside_a_newer_access_request(world, ada):
    opened(world, ada, "rectification")
    opened(world, ada, "access")
    method, path, body = writes(ada)[2]
    assert write(world.officer, method, path, body).status_code == 200


def test_what_an_officer_never_may(world, ada):
    opened(world, ada, "rectification")
    base = f"/v1/subjects/{ada.subject}"
    grant = world.grant(ada)
    body = {"grantee": world.service.id, "types": ["contact"], "actions": ["read"], "activity": world.activity}
    expect_problem(world.officer.request("POST", base + "/grants", body), 403, "forbidden")
    expect_problem(world.officer.request("DELETE", f"{base}/grants/{grant['id']}"), 403, "forbidden")
    expect_problem(world.officer.request("DELETE", base), 403, "forbidden")


def test_a_service_gains_nothing_from_a_request(world, ada):
    opened(world, ada)
    for path in reads(ada)[:4]:
        expect_problem(world.service.request("GET", path, purpose=world.activity), 403, "no-grant")


def test_there_is_no_telling_who_exists(world, ada):
    closed = expect_problem(world.officer.request("GET", f"/v1/subjects/{ada.subject}"), 403)
    unknown = expect_problem(world.officer.request("GET", f"/v1/subjects/{UNKNOWN}"), 403)
    assert closed["detail"] == unknown["detail"]


# ---- the log ----

def test_the_log_says_within_which_request(world, ada):
    request = opened(world, ada, "rectification")
    readable(world.officer, ada)
    method, path, body = writes(ada)[2]
    write(world.officer, method, path, body)
    seen = [e for e in ada.pages(f"/v1/subjects/{ada.subject}/accesses", limit=50) if e["role"] == "officer"
            and e["action"].startswith(("record.", "subject.", "grant.", "access."))]
    assert {e["action"] for e in seen} == {"subject.read", "record.list", "record.read", "record.versions", "record.patch", "grant.list",
                                           "access.list"}
    assert {(e["purpose"], e["purpose_name"]) for e in seen} == {(request["id"], "Request of the data subject: rectification")}
    step(world.officer, request, "fulfil", {})
    expect_problem(world.officer.request("GET", path), 403)
    last = [e for e in world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100) if e["action"] == "record.read"][-1]
    assert last["outcome"] == "forbidden" and "purpose" not in last


# ---- races ----

def test_a_stored_answer_is_not_given_once_the_request_is_closed(world, ada):
    request = opened(world, ada, "rectification")
    path = f"/v1/subjects/{ada.subject}/records/{ada.records[0]}"
    first = world.officer.patch(path, {"data": {"notes": "new"}}, key="patch-once")
    again = world.officer.patch(path, {"data": {"notes": "new"}}, key="patch-once")
    assert again.json() == first.json() and again.headers["Idempotency-Replayed"] == "true"
    step(world.officer, request, "fulfil", {})
    answer = world.officer.request("PATCH", path, {"data": {"notes": "new"}}, key="patch-once", content_type="application/merge-patch+json")
    expect_problem(answer, 403, "forbidden")


@pytest.mark.concurrency
def test_no_change_after_the_request_was_closed(world, ada):
    """Changes race with the fulfilment: each that was taken is older than the closing."""
    request = opened(world, ada, "rectification")
    path = f"/v1/subjects/{ada.subject}/records/{ada.records[0]}"
    lanes = world.officer.lanes(4)
    taken, refused_ones = [], []

    def change(lane):
        for number in range(200):
            answer = lane.request("PATCH", path, {"data": {"age": number}}, content_type="application/merge-patch+json")
            assert answer.status_code in (200, 403), answer.text
            if answer.status_code == 403:
                refused_ones.append(lane)
                return
            taken.append(answer.json()["updated_at"])

    threads = [threading.Thread(target=change, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    while not taken:
        pass
    closed = step(world.officer, request, "fulfil", {})
    for thread in threads:
        thread.join()
    assert closed["state"] == "fulfilled" and len(refused_ones) == 4
    entries = world.auditor.pages(f"/v1/audit?subject={ada.subject}&order=asc", limit=100)
    end = next(i for i, e in enumerate(entries) if e["action"] == "request.fulfil" and e["outcome"] == "ok")
    late = [e for e in entries[end:] if e["action"] == "record.patch" and e["outcome"] == "ok"]
    assert late == []
    assert len([e for e in entries if e["action"] == "record.patch" and e["outcome"] == "ok"]) == len(taken)
