"""Requests of data subjects: who files and sees them, when they are due, each step of their life, and what a fulfilment does."""
import datetime
import socket
import threading
import zoneinfo

import pytest
import requests

from tresor_client import ADA, TIME, UUID7, Vault, World, expect_problem, run_tresor

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
KINDS = ("access", "portability", "rectification", "restriction", "erasure", "objection")
ZURICH = zoneinfo.ZoneInfo("Europe/Zurich")
UTC = datetime.timezone.utc


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def colleague(world):
    return world.make_principal("officer")


def when(text):
    assert TIME.fullmatch(text), text
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def written(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def ago(**span):
    return written(datetime.datetime.now(UTC) - datetime.timedelta(**span))


def end_of_day(date, zone=ZURICH):
    midnight = datetime.datetime.combine(date + datetime.timedelta(days=1), datetime.time(), tzinfo=zone)
    return written(midnight.astimezone(UTC) - datetime.timedelta(milliseconds=1))


def body_for(world, subject, kind, **more):
    body = {"subject": subject.subject, "kind": kind, **more}
    if kind == "objection":
        body.setdefault("activities", [world.activity])
    return body


def file_by_officer(world, subject, kind="access", **more):
    return world.officer.post("/v1/requests", body_for(world, subject, kind, **more)).json()


def file_own(world, subject, kind="access", **more):
    return subject.post("/v1/requests", body_for(world, subject, kind, **more)).json()


def step(client, request, name, body, expect=200, **more):
    return client.post(f"/v1/requests/{request['id']}/{name}", body, expect=expect, **more)


def verify(client, request, **more):
    return step(client, request, "verify", {"method": "identity-document", **more}).json()


# ---- filing ----

@pytest.mark.parametrize("kind", KINDS)
def test_a_subject_files_for_itself(world, ada, kind):
    answer = ada.post("/v1/requests", body_for(world, ada, kind, details="Änderung, bitte: «alles»"))
    request = answer.json()
    own = ada.profile["id"]
    assert UUID7.fullmatch(request["id"])
    assert answer.headers["Location"] == f"/v1/requests/{request['id']}"
    assert answer.headers["ETag"] == '"1"'
    received = when(request["received_at"])
    assert request == {
        "id": request["id"], "subject": ada.subject, "kind": kind, "state": "verified", "details": "Änderung, bitte: «alles»",
        "activities": [world.activity] if kind == "objection" else [], "filed_by": own, "received_at": request["received_at"],
        "due_at": end_of_day(received.astimezone(ZURICH).date() + datetime.timedelta(days=30)), "overdue": False,
        "verification": {"at": request["received_at"], "by": own, "method": "own-session", "note": None}, "extension": None,
        "assignee": None, "closed_at": None, "refusal": None, "result": None, "notices": [], "version": 1,
        "updated_at": request["received_at"]}
    for reader in (ada, world.officer):
        assert reader.get(answer.headers["Location"]).json() == request


def test_an_officer_files_for_a_person(world, ada):
    came = ago(days=3)
    request = file_by_officer(world, ada, details="By letter", received_at=came)
    assert (request["state"], request["verification"], request["received_at"]) == ("received", None, came)
    assert request["filed_by"] == world.officer.profile["id"] and request["assignee"] is None
    assert request["due_at"] == end_of_day(when(came).astimezone(ZURICH).date() + datetime.timedelta(days=30))
    assert ada.get(f"/v1/requests/{request['id']}").json() == request


@pytest.mark.parametrize("change, pointer", [
    ({"subject": UNKNOWN}, "/subject"), ({"subject": "x"}, "/subject"), ({"subject": None}, "/subject"), ({"kind": "deletion"}, "/kind"),
    ({"kind": None}, "/kind"), ({"details": "x" * 4001}, "/details"), ({"details": 1}, "/details"), ({"received_at": "yesterday"}, "/received_at"),
    ({"received_at": "2999-01-01T00:00:00Z"}, "/received_at"), ({"received_at": "1969-12-31T00:00:00Z"}, "/received_at"),
    ({"activities": []}, "/activities"), ({"activities": [UNKNOWN]}, "/activities"), ({"kind": "objection"}, "/activities"),
    ({"kind": "objection", "activities": [UNKNOWN]}, "/activities/0"), ({"kind": "objection", "activities": ["x"]}, "/activities/0"),
    ({"kind": "objection", "activities": UNKNOWN}, "/activities"), ({"state": "verified"}, None), ({"due_at": "2999-01-01T00:00:00Z"}, None)])
def test_what_is_no_request(world, ada, change, pointer):
    before = world.officer.pages(f"/v1/requests?subject={ada.subject}")
    body = {"subject": ada.subject, "kind": "access", **change}
    expect_problem(world.officer.request("POST", "/v1/requests", body), 422, "validation-failed", pointer)
    assert world.officer.pages(f"/v1/requests?subject={ada.subject}") == before == []


def test_who_may_not_file(world, ada):
    body = {"subject": ada.subject, "kind": "access"}
    expect_problem(world.subject.request("POST", "/v1/requests", body), 403, "forbidden")
    expect_problem(ada.request("POST", "/v1/requests", {**body, "subject": UNKNOWN}), 403, "forbidden")
    expect_problem(ada.request("POST", "/v1/requests", {**body, "received_at": ago(days=1)}), 422, None, "/received_at")
    assert ada.pages("/v1/requests") == []


def test_open_requests_of_a_subject_are_limited(world, ada):
    made = [file_own(world, ada) for _ in range(50)]
    expect_problem(ada.request("POST", "/v1/requests", {"subject": ada.subject, "kind": "access"}), 409, "conflict")
    step(world.officer, made[0], "refuse", {"reason": "The same again", "legal_basis": "Art. 26 FADP"})
    file_own(world, ada)


def test_a_repeated_request_files_one(world, ada):
    body = {"subject": ada.subject, "kind": "access", "details": "once"}
    first = ada.post("/v1/requests", body, key="file-once").json()
    again = ada.post("/v1/requests", body, key="file-once")
    assert again.json() == first and again.headers["Idempotency-Replayed"] == "true"
    assert ada.pages("/v1/requests") == [first]


# ---- seeing ----

def test_others_requests_are_not_there(world, ada):
    theirs = file_own(world, world.subject)
    mine = file_own(world, ada)
    unknown = expect_problem(ada.request("GET", f"/v1/requests/{UNKNOWN}"), 404, "not-found")
    for path in ("", "/receipt"):
        seen = expect_problem(ada.request("GET", f"/v1/requests/{theirs['id']}{path}"), 404, "not-found")
        assert seen["detail"] == unknown["detail"]
    expect_problem(ada.request("GET", "/v1/requests/none"), 404, "not-found")
    assert ada.pages("/v1/requests") == [mine]
    assert ada.pages(f"/v1/requests?subject={ada.subject}") == [mine]
    expect_problem(ada.request("GET", f"/v1/requests?subject={world.subject.subject}"), 403, "forbidden")
    for client in (world.service, world.operator, world.auditor):
        expect_problem(client.request("GET", "/v1/requests"), 403, "forbidden")
        expect_problem(client.request("GET", f"/v1/requests/{mine['id']}"), 403, "forbidden")
    for name in ("verify", "assign", "extend", "refuse", "fulfil"):
        expect_problem(ada.request("POST", f"/v1/requests/{mine['id']}/{name}", {}), 403, "forbidden")


def test_lists_and_their_filters(world, ada):
    late = file_by_officer(world, ada, received_at=ago(days=40))
    new = file_by_officer(world, ada, "rectification")
    closed = step(world.officer, file_by_officer(world, ada, received_at=ago(days=50)), "refuse",
                  {"reason": "No such person", "legal_basis": "Art. 26 FADP"}).json()
    mine = f"/v1/requests?subject={ada.subject}"
    ids = lambda query: [r["id"] for r in world.officer.pages(mine + query, limit=1)]
    assert ids("") == [late["id"], new["id"], closed["id"]]
    assert ids("&open=true") == [late["id"], new["id"]]
    assert ids("&open=false") == [closed["id"]]
    assert ids("&overdue=true") == ids("&overdue=true&open=true") == [late["id"]]
    assert ids("&overdue=false") == ids("")
    assert (late["overdue"], new["overdue"], closed["overdue"]) == (True, False, False)
    everybody = [r["id"] for r in world.officer.pages("/v1/requests?overdue=true", limit=3)]
    assert late["id"] in everybody and new["id"] not in everybody and closed["id"] not in everybody
    assert [r["id"] for r in ada.pages("/v1/requests?open=true")] == [late["id"], new["id"]]
    for query, name in (("&open=yes", "open"), ("&overdue=1", "overdue"), ("&open=false&overdue=true", "overdue"), ("&state=open", "state")):
        expect_problem(world.officer.request("GET", mine + query), 400, "bad-request", parameter=name)
    expect_problem(world.officer.request("GET", "/v1/requests?subject=x"), 400, "bad-request", parameter="subject")


def test_conditional_reading(world, ada):
    request = file_own(world, ada)
    path = f"/v1/requests/{request['id']}"
    assert ada.get(path, expect=304, headers={"If-None-Match": '"1"'}).content == b""
    world.officer.post(path + "/assign", {"officer": world.officer.profile["id"]}, expect=200)
    assert ada.get(path, headers={"If-None-Match": '"1"'}).json()["version"] == 2


# ---- the steps ----

def test_verification(world, ada, colleague):
    request = file_by_officer(world, ada)
    path = f"/v1/requests/{request['id']}/verify"
    for body, pointer in (({}, ""), ({"method": "own-session"}, "/method"), ({"method": "other", "note": "x" * 4001}, "/note"),
                          ({"method": "other", "by": UNKNOWN}, None)):
        expect_problem(world.officer.request("POST", path, body), 422, "validation-failed", pointer)
    expect_problem(world.officer.request("POST", path, {"method": "other"}, match='"9"'), 412)
    seen = step(world.officer, request, "verify", {"method": "in-person", "note": "Frau Zwicky kam vorbei"}, match='"1"').json()
    assert seen["state"] == "verified" and seen["version"] == 2
    assert seen["assignee"] == world.officer.profile["id"]
    assert seen["verification"] == {"at": seen["updated_at"], "by": world.officer.profile["id"], "method": "in-person",
                                    "note": "Frau Zwicky kam vorbei"}
    problem = expect_problem(world.officer.request("POST", path, {"method": "other"}), 409, "conflict")
    assert "verified" in problem["detail"]
    theirs = file_by_officer(world, ada)
    step(world.officer, theirs, "assign", {"officer": colleague.id})
    assert verify(world.officer, theirs)["assignee"] == colleague.id  # it stays whose it was


def test_assignment(world, ada, colleague):
    request = file_by_officer(world, ada)
    assert step(world.officer, request, "assign", {"officer": colleague.id}).json()["assignee"] == colleague.id
    assert step(colleague, request, "assign", {"officer": world.officer.profile["id"]}).json()["state"] == "received"
    entries = [e for e in world.auditor.pages(f"/v1/audit?subject={ada.subject}") if e["action"] == "request.assign"]
    assert [(e["purpose"], e["records"]) for e in entries] == [(request["id"], [colleague.id]), (request["id"], [world.officer.profile["id"]])]
    gone = world.make_principal("officer")
    world.operator.patch(f"/v1/principals/{gone.id}", {"disabled": True})
    for officer in (UNKNOWN, "x", None, world.service.id, ada.profile["id"], gone.id):
        expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/assign", {"officer": officer}), 422, None, "/officer")
    step(world.officer, request, "refuse", {"reason": "r", "legal_basis": "l"})
    problem = expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/assign", {"officer": colleague.id}), 409, "conflict")
    assert "refused" in problem["detail"]


def test_extension(world, ada):
    request = file_by_officer(world, ada)
    path = f"/v1/requests/{request['id']}/extend"
    problem = expect_problem(world.officer.request("POST", path, {"reason": "Archive"}), 409, "conflict")
    assert "received" in problem["detail"]
    verify(world.officer, request)
    due = when(request["due_at"])
    most = end_of_day(due.astimezone(ZURICH).date() + datetime.timedelta(days=60))
    for until in (request["due_at"], ago(days=1), written(when(most) + datetime.timedelta(milliseconds=1)), "soon"):
        expect_problem(world.officer.request("POST", path, {"reason": "Archive", "until": until}), 422, None, "/until")
    for body, pointer in (({}, ""), ({"reason": ""}, "/reason"), ({"reason": "x" * 4001}, "/reason")):
        expect_problem(world.officer.request("POST", path, body), 422, None, pointer)
    until = written(due + datetime.timedelta(days=10))
    seen = step(world.officer, request, "extend", {"reason": "Das Archiv muss durchsucht werden", "until": until}).json()
    assert (seen["state"], seen["due_at"], seen["overdue"]) == ("extended", until, False)
    assert seen["extension"] == {"at": seen["updated_at"], "by": world.officer.profile["id"], "until": until,
                                 "reason": "Das Archiv muss durchsucht werden"}
    problem = expect_problem(world.officer.request("POST", path, {"reason": "Again"}), 409, "conflict")
    assert "extended" in problem["detail"]
    other = file_own(world, ada)
    assert step(world.officer, other, "extend", {"reason": "Archive"}).json()["due_at"] == most


def test_no_extension_once_it_is_overdue(world, ada):
    late = file_by_officer(world, ada, received_at=ago(days=40))
    verify(world.officer, late)
    problem = expect_problem(world.officer.request("POST", f"/v1/requests/{late['id']}/extend", {"reason": "Too late"}), 409, "conflict")
    assert "overdue" in problem["detail"]
    last_day = file_by_officer(world, ada, received_at=ago(days=30))
    verify(world.officer, last_day)
    step(world.officer, last_day, "extend", {"reason": "On the last day"})


def test_refusal(world, ada):
    request = file_own(world, ada, "erasure")
    path = f"/v1/requests/{request['id']}/refuse"
    for body, pointer in (({"reason": "r"}, ""), ({"legal_basis": "l"}, ""), ({"reason": "", "legal_basis": "l"}, "/reason"),
                          ({"reason": "r", "legal_basis": "x" * 501}, "/legal_basis")):
        expect_problem(world.officer.request("POST", path, body), 422, None, pointer)
    body = {"reason": "Frau Zwicky schuldet noch Steuern", "legal_basis": "Art. 17(3)(b) GDPR"}
    seen = world.officer.post(path, body, expect=200).json()
    assert (seen["state"], seen["closed_at"], seen["overdue"]) == ("refused", seen["updated_at"], False)
    assert seen["refusal"] == {"at": seen["updated_at"], "by": world.officer.profile["id"], **body}
    assert ada.get(f"/v1/requests/{request['id']}").json() == seen
    for name, more in (("refuse", body), ("verify", {"method": "other"}), ("extend", {"reason": "r"}), ("fulfil", {})):
        problem = expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/{name}", more), 409, "conflict")
        assert "refused" in problem["detail"]
    expect_problem(ada.request("GET", f"/v1/requests/{request['id']}/receipt"), 404, "not-found")


def test_steps_of_no_request(world):
    bodies = {"verify": {"method": "other"}, "assign": {"officer": UNKNOWN}, "extend": {"reason": "r"}, "refuse": {"reason": "r", "legal_basis": "l"},
              "fulfil": {}}
    for name, body in bodies.items():
        for request in (UNKNOWN, "none"):
            expect_problem(world.officer.request("POST", f"/v1/requests/{request}/{name}", body), 404, "not-found")


@pytest.mark.concurrency
def test_of_many_at_once_one_verifies(world, ada):
    request = file_by_officer(world, ada)
    lanes, codes = world.officer.lanes(8), []

    def run(lane):
        codes.append(lane.request("POST", f"/v1/requests/{request['id']}/verify", {"method": "other"}).status_code)

    threads = [threading.Thread(target=run, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + 7 * [409]
    assert world.officer.get(f"/v1/requests/{request['id']}").json()["version"] == 2


# ---- fulfilment ----

def fulfil(world, request, expect=200, **more):
    return step(world.officer, request, "fulfil", {}, expect=expect, **more).json()


def receipt(client, request):
    return client.get(f"/v1/requests/{request['id']}/receipt").json()


def test_only_what_is_verified_is_fulfilled(world, ada):
    request = file_by_officer(world, ada)
    problem = expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/fulfil", {}), 409, "conflict")
    assert "received" in problem["detail"]
    expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/fulfil", {"force": True}), 422)
    verify(world.officer, request)
    expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/fulfil", {}, match='"1"'), 412)
    assert fulfil(world, request, match='"2"')["state"] == "fulfilled"
    problem = expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/fulfil", {}), 409, "conflict")
    assert "fulfilled" in problem["detail"]


@pytest.mark.parametrize("kind", ["access", "portability"])
def test_access_and_portability(world, ada, kind):
    record = f"/v1/subjects/{ada.subject}/records/{ada.records[0]}"
    ada.patch(record, {"data": {"notes": "changed"}})
    request = file_own(world, ada, kind)
    seen = fulfil(world, request)
    assert (seen["state"], seen["closed_at"], seen["version"]) == ("fulfilled", seen["updated_at"], 2)
    assert seen["result"] == {"records": 1, "versions": 1} and seen["notices"] == []
    assert ada.get(f"/v1/requests/{request['id']}").json() == seen
    proof = receipt(ada, request)
    assert proof == receipt(world.officer, request)
    facts = proof["receipt"]
    assert (facts["request"], facts["subject"], facts["kind"]) == (request["id"], ada.subject, kind)
    assert (facts["received_at"], facts["fulfilled_at"]) == (request["received_at"], seen["closed_at"])
    assert facts["verified_at"] == request["verification"]["at"]
    assert facts["result"] == {"records": 1, "versions": 1}


def test_rectification_tells_those_who_got_the_data(world, ada):
    world.grant(ada)
    world.service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    bystander = world.make_service()
    world.grant(ada, bystander)
    request = file_own(world, ada, "rectification", details="My name is Zwicki")
    seen = fulfil(world, request)
    assert seen["result"] == {"recipients": 1}
    assert [(n["kind"], n["recipient"]) for n in seen["notices"]] == [("rectification", world.service.id)]
    assert seen["notices"][0]["created_at"] and receipt(ada, request)["receipt"]["result"] == {"recipients": 1}


def test_restriction_restricts(world, ada):
    world.grant(ada)
    world.service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    seen = fulfil(world, file_own(world, ada, "restriction"))
    assert seen["result"] == {"recipients": 1} and len(seen["notices"]) == 1
    assert ada.get(f"/v1/subjects/{ada.subject}").json()["restricted"] is True
    expect_problem(world.service.request("GET", f"/v1/subjects/{ada.subject}/records", purpose=world.activity), 409, "subject-restricted")


def test_objection_withdraws_the_grants_of_its_activities(world, ada):
    other = world.make_activity("Research")
    kept, lost = world.grant(ada, activity=other), world.grant(ada)
    seen = fulfil(world, file_own(world, ada, "objection"))
    assert seen["result"] == {"grants": 1, "recipients": 1}
    live = {g["id"]: g["withdrawn_at"] is None for g in ada.pages(f"/v1/subjects/{ada.subject}/grants")}
    assert live == {kept["id"]: True, lost["id"]: False}
    assert [(n["kind"], n["recipient"]) for n in seen["notices"]] == [("objection", world.service.id)]


def test_erasure(world, ada):
    details = "Löschen Sie alles von Ada Zwicky"
    other = file_own(world, ada, details=details)
    request = file_own(world, ada, "erasure", details=details)
    seen = step(world.officer, request, "fulfil", {}, expect=(200, 202), key="erase-ada").json()
    path = f"/v1/requests/{request['id']}"
    if seen["state"] == "fulfilling":  # a slow machine
        seen = world.officer.get(path).json()
    assert seen["state"] == "fulfilled" and seen["result"]["records"] == 1
    assert (seen["details"], seen["verification"]["note"], seen["verification"]["method"]) == (None, None, "own-session")
    assert receipt(world.officer, request)["receipt"]["subject"] == ada.subject
    left = world.officer.get(f"/v1/requests/{other['id']}").json()
    assert left["details"] is None and left["closed_at"] is not None
    again = world.officer.post(path + "/fulfil", {}, expect=200, key="erase-ada")
    assert again.json() == seen and again.headers["Idempotency-Replayed"] == "true"
    assert ada.request("GET", "/v1/requests").status_code == 401
    expect_problem(world.officer.request("POST", "/v1/requests", {"subject": ada.subject, "kind": "access"}), 422, None, "/subject")


def test_a_hold_stops_an_erasure_and_is_named(world, ada):
    hold = world.officer.post(f"/v1/subjects/{ada.subject}/holds", {"title": "Tax audit", "legal_basis": "Art. 126 DBG"}).json()
    request = file_own(world, ada, "erasure")
    problem = expect_problem(world.officer.request("POST", f"/v1/requests/{request['id']}/fulfil", {}), 409, "legal-hold")
    assert "Tax audit" in problem["detail"] and hold["id"] in problem["detail"]
    assert ada.get(f"/v1/requests/{request['id']}").json() == request
    assert len(ada.pages(f"/v1/subjects/{ada.subject}/records")) == 1


def test_a_repeated_fulfilment_answers_the_request_and_tells_nobody_twice(world, ada):
    world.grant(ada)
    world.service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    request = file_own(world, ada, "rectification")
    first = fulfil(world, request, key="fulfil-once")
    again = step(world.officer, request, "fulfil", {}, key="fulfil-once")
    assert again.json() == first and again.headers["Idempotency-Replayed"] == "true" and again.headers["ETag"] == '"2"'
    assert len(first["notices"]) == 1


@pytest.mark.concurrency
def test_of_many_at_once_one_fulfils(world, ada):
    world.grant(ada)
    world.service.get(f"/v1/subjects/{ada.subject}/records", purpose=world.activity)
    request = file_own(world, ada, "rectification")
    lanes, codes = world.officer.lanes(6), []

    def run(lane):
        codes.append(lane.request("POST", f"/v1/requests/{request['id']}/fulfil", {}).status_code)

    threads = [threading.Thread(target=run, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + 5 * [409]
    assert len(ada.get(f"/v1/requests/{request['id']}").json()["notices"]) == 1


# ---- the log ----

def test_the_audit_log_names_the_request_and_no_texts(world, ada):
    request = file_own(world, ada, details="Grüsse von Ada Zwicky-Brönnimann")
    fulfil(world, request)
    world.officer.get(f"/v1/requests?subject={ada.subject}")
    entries = [e for e in world.auditor.pages(f"/v1/audit?subject={ada.subject}&order=asc", limit=100) if e["action"].startswith("request.")]
    assert [(e["action"], e.get("purpose"), e["outcome"]) for e in entries[:2]] == [
        ("request.create", request["id"], "ok"), ("request.fulfil", request["id"], "ok")]
    listed = [e for e in entries if e["action"] == "request.list"][-1]
    assert listed["records"] == [request["id"]]
    assert "Zwicky" not in repr(entries)


# ---- settings and metrics ----

def world_of(folder, *flags):
    return World(Vault(folder, *flags).start())


def test_gdpr_counts_a_month_and_another_zone(tmp_path):
    world = world_of(tmp_path, "--deadline-rule=gdpr", "--time-zone=Pacific/Auckland")
    try:
        cases = [("2026-01-31T00:00:00.000Z", "2026-03-02T10:59:59.999Z"),  # 28 February is a Saturday
                 ("2025-12-14T10:59:59.999Z", "2026-01-14T10:59:59.999Z"),  # just before midnight there
                 ("2025-12-14T11:00:00.000Z", "2026-01-15T10:59:59.999Z")]
        for came, due in cases:
            request = file_by_officer(world, world.subject, received_at=came)
            assert (request["received_at"], request["due_at"]) == (came, due)
        request = file_by_officer(world, world.subject)
        verify(world.officer, request)
        zone = zoneinfo.ZoneInfo("Pacific/Auckland")
        seen = step(world.officer, request, "extend", {"reason": "Archive"}).json()
        month = when(request["received_at"]).astimezone(zone)
        assert when(seen["due_at"]).astimezone(zone).month in {(month.month + 2) % 12 + 1, (month.month + 3) % 12 + 1}
        assert when(seen["due_at"]).astimezone(zone).weekday() < 5
    finally:
        world.vault.stop()


def test_fadp_due_dates_around_local_midnight(world):
    cases = [("2026-06-01T21:59:59.999Z", "2026-07-01T21:59:59.999Z"), ("2026-06-01T22:00:00.000Z", "2026-07-02T21:59:59.999Z"),
             ("2026-02-27T12:00:00.000Z", "2026-03-29T21:59:59.999Z"), ("2026-09-25T12:00:00.000Z", "2026-10-25T22:59:59.999Z"),
             ("2024-01-31T12:00:00+01:00", "2024-03-01T22:59:59.999Z")]
    subject = world.make_subject(ADA)
    for came, due in cases:
        if when_any(came) > datetime.datetime.now(UTC):
            continue
        assert file_by_officer(world, subject, received_at=came)["due_at"] == due


def when_any(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.mark.parametrize("flag, setting", [("--deadline-rule=swiss", "deadline_rule"), ("--time-zone=Europe/Nowhere", "time_zone"),
                                           ("--time-zone=../../etc/passwd", "time_zone"), ("--extension-days=0", "extension_days")])
def test_wrong_settings_are_named(vault, tmp_path, flag, setting):
    run_tresor("init", "--data", tmp_path / "v", check=0)
    done = run_tresor("serve", "--data", tmp_path / "v", "--listen", "127.0.0.1:0", flag)
    assert done.returncode != 0 and setting in done.stdout + done.stderr
    done = run_tresor("serve", "--check", "--data", tmp_path / "v", flag)
    assert done.returncode != 0 and setting in done.stdout + done.stderr


def test_a_month_passes(tmp_path):
    """With the clock moved: open requests become overdue at the end of their last day, and extended ones later."""
    world = world_of(tmp_path)
    try:
        plain, extended = file_by_officer(world, world.subject), file_own(world, world.subject)
        step(world.officer, extended, "extend", {"reason": "Archive"})
        overdue = lambda: [r["id"] for r in world_officer().pages("/v1/requests?overdue=true")]

        def world_officer():
            world.officer.sign_in()  # the restart's clock may have ended the session
            return world.officer

        for days, want in ((29, []), (32, [plain["id"]]), (88, [plain["id"]]), (92, [plain["id"], extended["id"]])):
            world.vault.later(days)
            assert overdue() == want, days
        problem = expect_problem(world.officer.request("POST", f"/v1/requests/{plain['id']}/extend", {"reason": "Late"}), 409, "conflict")
        assert "received" in problem["detail"]
        verify(world.officer, plain)
        expect_problem(world.officer.request("POST", f"/v1/requests/{plain['id']}/extend", {"reason": "Late"}), 409, "conflict")
        assert fulfil(world, plain)["overdue"] is False  # late, but done
    finally:
        world.vault.stop()


def test_metrics(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = world_of(tmp_path, f"--metrics-listen=127.0.0.1:{port}")
    try:
        def figures():
            lines = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines()
            found = dict(line.split(" ", 1) for line in lines if line.startswith("tresor_requests_"))
            return int(found["tresor_requests_open"]), int(found["tresor_requests_overdue"])

        assert figures() == (0, 0)
        late = file_by_officer(world, world.subject, received_at=ago(days=40))
        file_by_officer(world, world.subject)
        assert figures() == (2, 1)
        step(world.officer, late, "refuse", {"reason": "r", "legal_basis": "l"})
        assert figures() == (1, 0)
    finally:
        world.vault.stop()
