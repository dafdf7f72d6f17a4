"""Incidents: the register, whom one touched (held against the audit log itself), the notice to the authority, telling the people."""
import base64
import datetime
import hashlib
import os
import random
import re
import threading
import time
import uuid

import pytest

from tresor_client import ADA, TIME, UUID7, World, expect_problem

ROUNDS = int(os.environ.get("TRESOR_INCIDENT_ROUNDS", "60"))
TOLD = int(os.environ.get("TRESOR_INCIDENT_TOLD", "230"))  # more than one commit of them
UTC = datetime.timezone.utc
LEAK = {"title": "Invoices sent to the wrong people", "kind": "disclosure"}
TEXT = {"title": "Your data may have been seen", "text": "On 1 March somebody used a stolen session. Please change your password."}


def written(moment):
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def ago(**span):
    return written(datetime.datetime.now(UTC) - datetime.timedelta(**span))


def when(text):
    assert TIME.fullmatch(text), text
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")


def enter(world, **more):
    return world.officer.post("/v1/incidents", {**LEAK, **more}).json()


def read(world, incident):
    return world.officer.get(f"/v1/incidents/{incident['id']}").json()


def change(world, incident, **members):
    return world.officer.patch(f"/v1/incidents/{incident['id']}", members).json()


# ---- the register ----

FULL = {
    "title": "Laptop stolen <b>\"&'", "kind": "loss", "risk": "high", "nature": "A laptop was taken from a car.\n<script>alert(1)</script>",
    "subject_categories": ["patients", "staff"], "subject_count": 1200, "data_categories": ["diagnoses"], "record_count": 3400,
    "effects": "Diagnoses may be read.", "measures_taken": "The session was ended.", "measures_planned": "Disks are enciphered.",
    "contact": {"name": "Rosa Muster", "email": "dpo@example.org", "phone": "+41 44 000 00 00", "address": "Weg 1, 8000 Zürich"},
    "scope": {"principals": ["0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"], "sessions": ["0123456789abcdef"], "addresses": ["192.0.2.7", "2001:db8::1"],
              "from": "2026-02-28T00:00:00.000Z", "to": "2026-03-01T00:00:00.000Z"},
}


def test_what_is_entered_is_shown(world):
    aware, began, ended = ago(hours=5), ago(hours=30), ago(hours=6)
    answer = world.officer.post("/v1/incidents", {**FULL, "aware_at": aware, "began_at": began, "ended_at": ended})
    incident = answer.json()
    assert UUID7.fullmatch(incident["id"]) and answer.headers["Location"] == "/v1/incidents/" + incident["id"]
    assert {k: incident[k] for k in FULL} == FULL
    assert (incident["aware_at"], incident["began_at"], incident["ended_at"]) == (aware, began, ended)
    assert incident["state"] == "open" and incident["version"] == 1 and answer.headers["ETag"] == '"1"'
    assert when(incident["due_at"]) - when(aware) == datetime.timedelta(hours=72) and incident["overdue"] is False
    assert incident["cause"] is None and incident["opened_by"] == world.officer.profile["id"]
    assert incident["evidence"] == [] and incident["notifications"] == [] and incident["keep_until"] is None
    again = world.officer.get(answer.headers["Location"])
    assert again.json() == incident and again.headers["ETag"] == '"1"'
    assert world.auditor.get(answer.headers["Location"]).json() == incident


def test_little_need_be_known_at_first(world):
    incident = enter(world)
    assert incident["risk"] == "unknown" and incident["subject_count"] is None and incident["contact"] is None
    assert incident["scope"] == {"principals": [], "sessions": [], "addresses": [], "from": None, "to": None}
    assert abs(when(incident["aware_at"]) - datetime.datetime.now(UTC)) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize("change, pointer", [
    ({"title": ""}, "/title"), ({"kind": "theft"}, "/kind"), ({"risk": "low"}, "/risk"), ({"aware_at": "2126-01-01T00:00:00Z"}, "/aware_at"),
    ({"aware_at": "yesterday"}, "/aware_at"), ({"began_at": "2026-02-02T00:00:00Z", "ended_at": "2026-02-01T00:00:00Z"}, "/ended_at"),
    ({"notified_at": "2126-01-01T00:00:00Z"}, "/notified_at"), ({"subject_count": -1}, "/subject_count"), ({"subject_count": 1.5}, "/subject_count"),
    ({"contact": {"fax": "1"}}, "/contact/fax"), ({"state": "closed"}, "/state"), ({"nature": "x" * 10001}, "/nature"),
    ({"scope": {"sessions": ["0123"]}}, "/scope/sessions/0"), ({"scope": {"addresses": ["a b"]}}, "/scope/addresses/0"),
    ({"scope": {"from": "2026-02-02T00:00:00Z", "to": "2026-02-01T00:00:00Z"}}, "/scope/to"),
    ({"scope": {"principals": [str(uuid.uuid4())] * 33}}, "/scope/principals"), ({"id": "x"}, "/id"),
])
def test_what_is_wrong_is_named(world, change, pointer):
    before = len(world.officer.pages("/v1/incidents", limit=100))
    expect_problem(world.officer.request("POST", "/v1/incidents", {**LEAK, **change}), 422, "validation-failed", pointer=pointer)
    assert len(world.officer.pages("/v1/incidents", limit=100)) == before


def test_changes_merge_and_are_versioned(world):
    incident = enter(world, contact={"name": "Rosa", "phone": "1"}, effects="none known")
    path = "/v1/incidents/" + incident["id"]
    answer = world.officer.patch(path, {"contact": {"phone": None, "email": "a@example.org"}, "effects": None, "risk": "risk"}, match='"1"')
    assert answer.headers["ETag"] == '"2"'
    assert answer.json()["contact"] == {"name": "Rosa", "address": None, "email": "a@example.org", "phone": None}
    assert answer.json()["effects"] is None and answer.json()["risk"] == "risk" and answer.json()["title"] == LEAK["title"]
    expect_problem(world.officer.request("PATCH", path, {"risk": "none"}, match='"1"', content_type="application/merge-patch+json"), 412,
                   "precondition-failed")
    expect_problem(world.officer.request("PATCH", path, {"title": None}, content_type="application/merge-patch+json"), 422)
    expect_problem(world.officer.request("PATCH", path, {}, content_type="application/merge-patch+json"), 422)
    assert read(world, incident)["version"] == 2


@pytest.mark.concurrency
def test_no_change_of_several_at_once_is_lost(world):
    incident = enter(world)
    lanes = world.officer.lanes(6)
    fields = ["nature", "effects", "measures_taken", "measures_planned", "delay_reason", "authority_reference"]
    threads = [threading.Thread(target=lane.patch, args=(f"/v1/incidents/{incident['id']}", {field: field}))
               for lane, field in zip(lanes, fields)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = read(world, incident)
    assert [after[f] for f in fields] == fields and after["version"] == 7


def test_closing_keeps_it_for_two_years_and_nothing_deletes_it(world):
    incident = enter(world, notified_at=ago(hours=1))
    closed = change(world, incident, state="closed")
    assert closed["state"] == "closed" and when(closed["keep_until"]) - when(closed["closed_at"]) >= datetime.timedelta(days=730)
    path = "/v1/incidents/" + incident["id"]
    assert world.officer.request("DELETE", path).status_code == 405
    expect_problem(world.officer.request("POST", path + "/notify", {"subjects": [world.subject.subject], **TEXT}), 409, "conflict")
    assert change(world, incident, state="open")["closed_at"] is None


def test_an_auditor_reads_and_writes_nothing(world):
    incident = enter(world)
    path = "/v1/incidents/" + incident["id"]
    assert incident["id"] in [i["id"] for i in world.auditor.pages("/v1/incidents", limit=100)]
    for client in (world.auditor, world.operator, world.service, world.subject):
        expect_problem(client.request("POST", "/v1/incidents", LEAK), 403, "forbidden")
        expect_problem(client.request("GET", path + "/affected"), 403, "forbidden")
    for client in (world.operator, world.service, world.subject):
        expect_problem(client.request("GET", path), 403, "forbidden")
    expect_problem(world.officer.request("GET", f"/v1/incidents/{uuid.uuid4()}"), 404, "not-found")


def test_lists_pages_filters_and_the_72_hours(world):
    base = [enter(world, title=f"Number {n}")["id"] for n in range(5)]
    late = enter(world, aware_at=ago(hours=73))
    told = enter(world, aware_at=ago(hours=73), notified_at=ago(hours=2))
    harmless = enter(world, aware_at=ago(hours=73), risk="none", no_notification_reason="The disk was enciphered.")
    closed = change(world, enter(world, aware_at=ago(hours=73)), state="closed")
    in_time = enter(world, aware_at=ago(hours=71))
    everyone = world.officer.pages("/v1/incidents", limit=3)
    ids = [i["id"] for i in everyone]
    assert ids == sorted(ids) and set(base + [i["id"] for i in (late, told, harmless, closed, in_time)]) <= set(ids)
    overdue = [i["id"] for i in world.officer.pages("/v1/incidents?overdue=true", limit=2)]
    assert late["id"] in overdue and not {told["id"], harmless["id"], closed["id"], in_time["id"]} & set(overdue)
    assert all(i["overdue"] == (i["id"] in overdue) for i in everyone)
    assert closed["id"] in [i["id"] for i in world.officer.pages("/v1/incidents?open=false")]
    assert closed["id"] not in [i["id"] for i in world.officer.pages("/v1/incidents?open=true", limit=4)]
    for query, name in (("open=maybe", "open"), ("open=false&overdue=true", "overdue"), ("after=x", "after"), ("state=open", "state")):
        expect_problem(world.officer.request("GET", "/v1/incidents?" + query), 400, "bad-request", parameter=name)


# ---- the notice to the authority ----

def test_the_notice_has_all_that_the_law_asks_for_and_is_safe(world):
    incident = enter(world, **FULL, aware_at=ago(hours=80), began_at="2026-02-28T10:00:00Z", ended_at="2026-03-01T11:30:00Z")
    answer = world.officer.get(f"/v1/incidents/{incident['id']}?format=html")
    page = answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "Laptop stolen &lt;b&gt;&quot;&amp;&#39;" in page
    assert "http://" not in page and "https://" not in page and "src=" not in page
    for text in ("patients\nstaff", "1200", "diagnoses", "3400", "Diagnoses may be read.", "The session was ended.", "Disks are enciphered.",
                 "Rosa Muster", "Weg 1, 8000 Zürich", "dpo@example.org", "1 days, 1 hours, 30 minutes", "Art. 15(1)(g) DPO", "Art. 33(3)(d) GDPR",
                 incident["aware_at"], "loss", "high"):
        assert text in page, text
    assert "Reasons for the delay" in page and page.count('class="unknown"') == 3  # the delay's reason, who was told, no earlier notice
    browser = world.auditor.request("GET", "/v1/incidents/" + incident["id"], accept="text/html,*/*;q=0.1")
    assert browser.text.startswith("<!DOCTYPE html>")


def test_what_is_not_known_yet_is_marked(world):
    incident = enter(world)
    page = world.officer.get(f"/v1/incidents/{incident['id']}?format=html").text
    assert page.count("not yet known; will follow") >= 11 and "Reasons for the delay" not in page
    expect_problem(world.officer.request("GET", f"/v1/incidents/{incident['id']}?format=pdf"), 400, "bad-request", parameter="format")


# ---- whom it touched ----

def session_refs(entries, client):
    """What the log calls a client's session, from an entry of its own."""
    import hashlib
    ref = hashlib.sha256(client.client.encode()).hexdigest()[:16]
    assert any(e.get("session") == ref for e in entries)
    return ref


def brute_force(entries, scope, upto):
    """The definition: entries with outcome ok that name a subject and have all that is asked for."""
    touched = {}
    for e in entries:
        if e["seq"] > upto or e["outcome"] != "ok" or "subject" not in e:
            continue
        if scope.get("principals") and e.get("principal") not in scope["principals"]:
            continue
        if scope.get("sessions") and not {e.get("session"), e.get("origin")} & set(scope["sessions"]):
            continue
        if scope.get("addresses") and e.get("address") not in scope["addresses"]:
            continue
        if scope.get("from") and e["time"] < scope["from"] or scope.get("to") and e["time"] > scope["to"]:
            continue
        one = touched.setdefault(e["subject"], {"subject": e["subject"], "first_at": e["time"], "last_at": e["time"], "count": 0, "actions": set()})
        one["first_at"], one["last_at"] = min(one["first_at"], e["time"]), max(one["last_at"], e["time"])
        one["count"] += 1
        one["actions"].add(e["action"])
    return [touched[s] for s in sorted(touched)]


def affected(world, incident, query="", limit=7):
    path = f"/v1/incidents/{incident['id']}/affected"
    first = world.officer.get(path + (f"?{query}" if query else "")).json()
    items = world.officer.pages(path + (f"?{query}" if query else ""), limit=limit)
    for item in items:
        item["actions"] = set(item["actions"])
    return first, items


@pytest.fixture(scope="module")
def traffic(world):
    """Subjects, services with several sessions and lanes, and what they did; some of it was refused."""
    subjects = [world.make_subject(ADA, {"name": "Second"}) for _ in range(4)]
    services = [world.make_service() for _ in range(2)]
    for service in services:
        for subject in subjects[:3]:
            world.grant(subject, service)
    clients = []
    for service in services:
        clients += [service, *service.lanes(2)]
        other = type(service)(world.vault, service.uid, service.password)
        other.sign_in()
        other.id = service.id
        clients.append(other)
    pick = random.Random(7)
    for _ in range(ROUNDS):
        client, subject = pick.choice(clients), pick.choice(subjects)
        path = f"/v1/subjects/{subject.subject}"
        path += pick.choice(["/records", f"/records/{subject.records[0]}", f"/records/{uuid.uuid4()}", ""])
        client.request("GET", path, purpose=world.activity)
    entries = world.auditor.pages("/v1/audit", limit=100)
    return {"services": services, "clients": clients, "subjects": subjects, "entries": entries, "pick": pick}


def scopes(traffic):
    """Every way of asking, alone and together."""
    pick, entries = traffic["pick"], traffic["entries"]
    refs = [session_refs(entries, c) for c in traffic["clients"]]
    times = sorted(e["time"] for e in entries)
    mine = [e["time"] for e in entries if e.get("session") in refs]
    yield {"principals": [traffic["services"][0].profile["id"]]}
    yield {"addresses": ["127.0.0.1"]}
    yield {"addresses": ["192.0.2.1"]}
    yield {"from": times[len(times) // 2]}
    yield {"sessions": refs[:1]}  # with the lanes made from it
    yield {"sessions": refs[1:2]}  # a lane alone
    for _ in range(20):
        scope = {}
        if pick.random() < 0.5:
            scope["principals"] = [s.profile["id"] for s in pick.sample(traffic["services"], pick.randint(1, 2))]
        if pick.random() < 0.5:
            scope["sessions"] = pick.sample(refs, pick.randint(1, 3))
        if pick.random() < 0.3 or not scope:
            scope["addresses"] = ["127.0.0.1"]
        if pick.random() < 0.5:
            scope["from"], scope["to"] = sorted(pick.sample(mine, 2))
        yield scope


def test_affected_is_exactly_what_the_log_says(world, traffic):
    incident, seen = enter(world), 0
    for scope in scopes(traffic):
        change(world, incident, scope={"principals": None, "sessions": None, "addresses": None, "from": None, "to": None, **scope})
        first, items = affected(world, incident, limit=traffic["pick"].choice([1, 2, 100]))
        entries = world.auditor.pages("/v1/audit", limit=100)
        want = brute_force(entries, scope, first["upto"])
        assert [i["subject"] for i in items] == [w["subject"] for w in want], scope
        assert items == want, scope
        assert first["total"] == len(want)
        seen += len(want)
    assert seen > 20


def test_a_query_asks_without_being_stored(world, traffic):
    incident = enter(world)
    path = f"/v1/incidents/{incident['id']}/affected"
    expect_problem(world.officer.request("GET", path), 409, "conflict")
    service = traffic["services"][0]
    ref = session_refs(traffic["entries"], service)
    for query, scope in ((f"principal={service.profile['id']}", {"principals": [service.profile["id"]]}), (f"session={ref}", {"sessions": [ref]}),
                         ("address=127.0.0.1&to=" + traffic["entries"][-1]["time"],
                          {"addresses": ["127.0.0.1"], "to": traffic["entries"][-1]["time"]})):
        first, items = affected(world, incident, query)
        assert items == brute_force(traffic["entries"], scope, first["upto"]) and items
        assert {k: v for k, v in first["scope"].items() if v} == scope
    assert read(world, incident)["version"] == 1
    for query, name in (("session=x", "session"), ("principal=x", "principal"), ("address=a%20b", "address"), ("from=x", "from"),
                        ("from=2026-02-02T00:00:00Z&to=2026-02-01T00:00:00Z", "to"), ("address=127.0.0.1&after=x", "after")):
        expect_problem(world.officer.request("GET", path + "?" + query), 400, "bad-request", parameter=name)


def test_pages_keep_to_the_moment_of_the_first(world, traffic):
    """While they are read, more subjects are touched: they are in none of the pages."""
    incident = enter(world)
    path = f"/v1/incidents/{incident['id']}/affected?address=127.0.0.1"
    first = world.officer.get(path + "&limit=1").json()
    late = world.make_subject(ADA)
    rest, page = list(first["items"]), first
    while page["next"]:
        page = world.officer.get(f"{path}&limit=3&after={page['next']}").json()
        assert page["upto"] == first["upto"] and page["total"] == first["total"]
        rest += page["items"]
    assert len(rest) == first["total"] and late.subject not in [i["subject"] for i in rest]


# ---- telling the people ----

def finished(world, incident, mailing):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [n for n in read(world, incident)["notifications"] if n["id"] == mailing["id"]]
        if found and found[0]["done_at"]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("the mailing is never done")


def notify(world, incident, subjects, text=TEXT, **more):
    answer = world.officer.post(f"/v1/incidents/{incident['id']}/notify", {"subjects": subjects, **text}, expect=202, **more)
    return finished(world, incident, answer.json())


def counts(mailing):
    return mailing["told"], mailing["told_before"], mailing["unreachable"]


def test_the_affected_are_told_once(world, traffic):
    service = traffic["services"][1]
    incident = enter(world, scope={"principals": [service.profile["id"]]})
    _, items = affected(world, incident)
    orphan = world.service.post("/v1/subjects", {"records": []}).json()["id"]  # nobody can sign in for it
    listed = [items[0]["subject"], orphan, str(uuid.uuid4()), items[0]["subject"]]
    first = notify(world, incident, listed)
    assert counts(first) == (1, 0, 2) and first["subjects"] == "listed" and first["title"] == TEXT["title"]
    assert counts(notify(world, incident, "affected")) == (len(items) - 1, 1, 0)
    assert counts(notify(world, incident, "affected")) == (0, len(items), 0)
    other = {**TEXT, "text": TEXT["text"] + " There is news."}
    assert counts(notify(world, incident, "affected", other)) == (len(items), 0, 0)
    page = world.officer.get(f"/v1/incidents/{incident['id']}?format=html").text
    assert f"{2 * len(items)} notices to data subjects; 2 could not be reached" in page
    ends = [e for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == "incident.told" and e["purpose"] == incident["id"]]
    assert ends[0]["detail"] == "1 told, 0 told before, 2 cannot be reached" and len(ends) == 4


def test_the_same_idempotency_key_files_one_mailing(world):
    incident = enter(world)
    answers = [world.officer.post(f"/v1/incidents/{incident['id']}/notify", {"subjects": [world.subject.subject], **TEXT}, expect=202, key="once")
               for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    finished(world, incident, answers[0].json())
    assert len(read(world, incident)["notifications"]) == 1


def test_whom_to_tell_must_be_said(world):
    incident = enter(world)
    path = f"/v1/incidents/{incident['id']}/notify"
    expect_problem(world.officer.request("POST", path, {"subjects": "affected", **TEXT}), 409, "conflict")
    for body in ({**TEXT}, {"subjects": "all", **TEXT}, {"subjects": [], **TEXT}, {"subjects": ["x"], **TEXT},
                 {"subjects": [world.subject.subject], "title": "", "text": "x"}):
        expect_problem(world.officer.request("POST", path, body), 422, "validation-failed")
    assert read(world, incident)["notifications"] == []


def test_a_mailing_goes_on_after_a_kill(fresh_vault):
    """Each subject is told exactly once, however often the server is killed in the middle."""
    world = World(fresh_vault)
    made = world.service.imports(b'{"name":"n"}\n' * TOLD, "?type=contact")
    subjects = [r["subject"] for r in made]
    for subject in subjects[:3]:
        world.operator.post("/v1/principals", {"uid": world.name("s"), "role": "subject", "subject": subject})
    incident = enter(world, scope={"principals": [world.service.id]})
    total = world.officer.get(f"/v1/incidents/{incident['id']}/affected").json()["total"]
    assert total == TOLD + 1
    mailing = world.officer.post(f"/v1/incidents/{incident['id']}/notify", {"subjects": "affected", **TEXT}, expect=202).json()
    fresh_vault.server.kill()
    fresh_vault.start()
    done = finished(world, incident, mailing)
    assert counts(done) == (4, 0, TOLD - 3)
    assert counts(notify(world, incident, "affected")) == (0, 4, TOLD - 3)
