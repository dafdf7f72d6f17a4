"""Retention: what a type's x-retention and the end of activities make of records, by a clock that can be moved."""
import datetime
import json
import time

import pytest

from tresor_client import ADA, UUID7, World, expect_problem, session_of

pytestmark = pytest.mark.flags("--session-idle-s", "31536000", "--session-absolute-s", "315360000")
PLAIN = {"type": "object", "properties": {"n": {"type": "integer", "x-index": True}}}
DAY = datetime.timedelta(days=1)


@pytest.fixture
def world(fresh_vault):
    return World(fresh_vault)


def at(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def days_until(moment):
    """From now, by the real clock: what Vault.later takes."""
    return (moment - datetime.datetime.now(datetime.timezone.utc)) / DAY


def make_type(world, name, **keywords):
    world.officer.put("/v1/types/" + name, {**PLAIN, **keywords}, expect=201)


def add(subject, type_name, n=1):
    return subject.post(f"/v1/subjects/{subject.subject}/records", {"type": type_name, "data": {"n": n}}).json()


def about(subject):
    return subject.get("/v1/subjects/" + subject.subject).json()


def retention(subject):
    return about(subject)["retention"]


def records(subject, type_name):
    return {r["id"] for r in subject.pages(f"/v1/subjects/{subject.subject}/records?type={type_name}")}


def erasures(world):
    """The log's entries on retention, oldest first."""
    return [e for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == "retention.erase"]


def until(ask, wanted, seconds=60):
    end = time.monotonic() + seconds
    while (got := ask()) != wanted:
        assert time.monotonic() < end, f"{got}, not {wanted}"
        time.sleep(0.05)


# ---- what is due when ----

def test_what_falls_due_is_shown(world):
    make_type(world, "visit", **{"x-retention": "P1M"})
    make_type(world, "forever")
    subject, service = world.make_subject(ADA), world.make_service()
    assert [(r["type"], r["records"], r["rule"]) for r in retention(subject)] == [("contact", 1, "type")]
    first = add(subject, "visit")
    add(subject, "visit", 2)
    add(subject, "forever")
    shown = retention(subject)
    assert [(r["type"], r["records"], r["rule"]) for r in shown] == [("visit", 2, "type"), ("contact", 1, "type")]
    made, due = at(first["created_at"]), at(shown[0]["due_at"])
    assert (due.time(), due.year * 12 + due.month) == (made.time(), made.year * 12 + made.month + 1)  # by the calendar
    born = at(subject.get(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}").json()["created_at"])
    assert at(shown[1]["due_at"]).year == born.year + 10
    # A service learns of what it was granted only.
    world.grant(subject, service, types=["visit"])
    seen = service.get("/v1/subjects/" + subject.subject, purpose=world.activity).json()["retention"]
    assert seen == [shown[0]]


# ---- the type's rule ----

def test_records_go_when_they_are_due(world):
    make_type(world, "visit", **{"x-retention": "P30D"})
    subject, other = world.make_subject(ADA), world.make_subject({"name": "Other"})
    visits = {add(subject, "visit", n)["id"] for n in (1, 2, 3)}
    changed = f"/v1/subjects/{subject.subject}/records/{min(visits)}"
    subject.put(changed, {"data": {"n": 7}})  # a change does not make it younger
    query = {"type": "visit", "field": "/n", "value": 7}
    assert len(world.officer.post("/v1/lookup", query, expect=200).json()["items"]) == 1
    due = at(retention(subject)[0]["due_at"])

    world.vault.later(days_until(due) - 0.01)
    assert records(subject, "visit") == visits and erasures(world) == []
    world.vault.later(days_until(due) + 0.01)
    until(lambda: records(subject, "visit"), set())
    expect_problem(subject.request("GET", changed), 404)
    assert world.officer.post("/v1/lookup", query, expect=200).json()["items"] == []
    assert [r["type"] for r in retention(subject)] == ["contact"]
    assert records(subject, "contact") == set(subject.records)
    assert records(other, "contact") == set(other.records)
    entry, = erasures(world)
    assert (entry["subject"], entry["type"], set(entry["records"]), entry["outcome"]) == (subject.subject, "visit", visits, "ok")
    assert "principal" not in entry and "purpose" not in entry
    assert [e for e in subject.pages(f"/v1/subjects/{subject.subject}/accesses") if e["action"] == "retention.erase"]
    assert world.vault.verify_audit()[0] == 0


def test_a_new_record_is_not_taken_with_the_old(world):
    make_type(world, "visit", **{"x-retention": "P30D"})
    subject = world.make_subject(ADA)
    old = add(subject, "visit")
    world.vault.later(20)
    young = add(subject, "visit", 2)
    world.vault.later(31)
    until(lambda: records(subject, "visit"), {young["id"]})
    assert old["id"] in erasures(world)[0]["records"]
    world.vault.later(52)
    until(lambda: records(subject, "visit"), set())


def test_a_shorter_retention_counts_for_what_is_there(world):
    make_type(world, "visit", **{"x-retention": "P10Y"})
    subject = world.make_subject(ADA)
    add(subject, "visit")
    world.vault.later(40)
    assert len(records(subject, "visit")) == 1
    world.officer.put("/v1/types/visit", {**PLAIN, "x-retention": "P30D"})
    world.vault.later(40)
    until(lambda: records(subject, "visit"), set())


def test_holds_and_restrictions_keep_records(world):
    make_type(world, "visit", **{"x-retention": "P1D"})
    free, held, restricted = (world.make_subject(ADA) for _ in range(3))
    for subject in (free, held, restricted):
        add(subject, "visit")
    holds = f"/v1/subjects/{held.subject}/holds"
    hold = world.officer.post(holds, {"title": "Payroll", "legal_basis": "Art. 958f CO"}).json()["id"]
    restricted.request("POST", f"/v1/subjects/{restricted.subject}/restriction", expect=200)
    world.vault.later(2)
    until(lambda: records(free, "visit"), set())
    assert len(records(held, "visit")) == 1 and len(records(restricted, "visit")) == 1
    assert [e["subject"] for e in erasures(world)] == [free.subject]
    world.officer.request("DELETE", f"{holds}/{hold}")
    world.vault.later(2)
    until(lambda: records(held, "visit"), set())
    assert len(records(restricted, "visit")) == 1
    restricted.request("DELETE", f"/v1/subjects/{restricted.subject}/restriction")
    world.vault.later(2)
    until(lambda: records(restricted, "visit"), set())


def import_visits(world, count, first=0):
    lines = "".join(json.dumps({"n": n}) + "\n" for n in range(first, first + count)).encode()
    return {r["record"] for r in world.service.imports(lines, "?type=visit")}


def test_many_go_in_batches_while_others_are_served(world):
    make_type(world, "visit", **{"x-retention": "P1D"})
    subject = world.make_subject(ADA)
    many = {add(subject, "visit", n)["id"] for n in range(150)} | import_visits(world, 1500)
    world.vault.later(2)
    slowest = 0
    while records(subject, "visit"):
        began = time.monotonic()
        subject.put(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}", {"data": ADA})
        slowest = max(slowest, time.monotonic() - began)
    gone = lambda: [r for e in erasures(world) for r in e["records"]]
    until(lambda: len(gone()), len(many))
    assert set(gone()) == many  # each once
    entries = erasures(world)
    assert max(len(e["records"]) for e in entries) <= 100
    assert sum(len(e["records"]) for e in entries if e["subject"] == subject.subject) == 150
    assert slowest < 5, f"a write took {slowest:.1f} s"
    assert world.vault.verify_audit()[0] == 0


def test_killed_in_the_middle_it_goes_on(world):
    make_type(world, "visit", **{"x-retention": "P1D"})
    many = import_visits(world, 2500)
    world.vault.later(2)
    until(lambda: bool(erasures(world)), True)
    world.vault.server.kill()
    world.vault.start()
    world.auditor = session_of(world.vault, "auditor")  # the last answer may be lost
    gone = lambda: [r for e in erasures(world) for r in e["records"]]
    until(lambda: len(gone()), len(many))
    assert set(gone()) == many
    assert world.vault.verify_audit()[0] == 0


# ---- the end of activities ----

def activity(world, name, **members):
    return world.officer.post("/v1/activities", {"name": name, "purpose": "p", **members}).json()["id"]


def end(world, number):
    world.officer.delete("/v1/activities/" + number)


def test_the_end_of_an_activity_makes_its_types_due(world):
    make_type(world, "case")
    ending = activity(world, "Ending", record_types=["case"], retention_after_end="P30D")
    subject = world.make_subject(ADA)
    old = add(subject, "case")["id"]
    assert [r for r in retention(subject) if r["type"] == "case"] == []  # it is live, and has no end
    end(world, ending)
    ended = at(world.officer.get("/v1/activities/" + ending).json()["ended_at"])
    young = add(subject, "case")["id"]  # not collected for it
    due, = [r for r in retention(subject) if r["type"] == "case"]
    assert (at(due["due_at"]), due["records"], due["rule"]) == (ended + 30 * DAY, 1, "activity")
    world.vault.later(29)
    assert records(subject, "case") == {old, young}
    world.vault.later(30.1)
    until(lambda: records(subject, "case"), {young})
    assert [r for r in retention(subject) if r["type"] == "case"] == []
    assert [(e["subject"], e["records"]) for e in erasures(world)] == [(subject.subject, [old])]
    assert records(subject, "contact") == set(subject.records)


def test_another_live_activity_keeps_them(world):
    make_type(world, "case")
    one = activity(world, "One", record_types=["case"])
    two = activity(world, "Two", record_types=["case", "contact"], retention_after_end="P7D")
    subject = world.make_subject(ADA)
    case = add(subject, "case")["id"]
    end(world, one)
    world.vault.later(1)
    assert records(subject, "case") == {case}
    end(world, two)
    world.vault.later(7)  # One's P0D is over, Two's P7D is not
    assert records(subject, "case") == {case}
    world.vault.later(8.1)
    until(lambda: records(subject, "case"), set())
    until(lambda: records(subject, "contact"), set())


def test_without_a_duration_they_go_with_the_activity(world):
    make_type(world, "case")
    ending = activity(world, "Ending", record_types=["case"])
    subject = world.make_subject(ADA)
    add(subject, "case")
    end(world, ending)
    world.vault.restart()
    until(lambda: records(subject, "case"), set())


def test_an_activity_expires(world):
    make_type(world, "case")
    now = datetime.datetime.now(datetime.timezone.utc)
    expires = (now + 10 * DAY).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    passing = activity(world, "Passing", record_types=["case"], retention_after_end="P1D", expires=expires)
    subject, service = world.make_subject(ADA), world.make_service()
    add(subject, "case")
    world.grant(subject, service, activity=passing)
    path, where = f"/v1/subjects/{subject.subject}", "/v1/activities/" + passing
    service.get(path, purpose=passing)
    due, = [r for r in retention(subject) if r["type"] == "case"]
    assert (at(due["due_at"]), due["rule"]) == (at(expires) + DAY, "activity")
    body = world.officer.get(where).json()
    assert (body["ended_at"], body["version"]) == (None, 1)

    world.vault.later(10.1)
    expect_problem(service.request("GET", path, purpose=passing), 403, "purpose-required")
    grant = {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": passing}
    expect_problem(subject.request("POST", path + "/grants", grant), 422, "validation-failed", "/activity")
    until(lambda: world.officer.get(where).json()["version"], 2)
    assert world.officer.get(where).json()["ended_at"] == expires
    expect_problem(world.officer.request("PUT", where, {"name": "n", "purpose": "p"}), 409, "conflict")
    world.officer.delete(where)
    assert world.officer.get(where).json()["ended_at"] == expires
    entry, = [e for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == "activity.expire"]
    assert (entry["purpose"], entry["outcome"]) == (passing, "ok") and UUID7.fullmatch(entry["purpose"])
    assert len(records(subject, "case")) == 1
    world.vault.later(11.1)
    until(lambda: records(subject, "case"), set())
