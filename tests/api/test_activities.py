"""The record of processing activities: every field that the law lists, its printed forms, and activities that expire."""
import csv
import datetime
import html.parser
import io
import time

import pytest

from tresor_client import TIME, expect_problem

PATH = "/v1/activities"
LEAST = {"name": "n", "purpose": "p"}
CLINIC = {"name": "Clinic of St. Verena Ltd", "address": "Spitalgasse 1, 3011 Bern", "contact": "privacy@clinic.example"}
WHOLE = {
    "name": "Billing <script>alert(1)</script>", "purpose": "=1+1 \"to bill\"", "controller": CLINIC,
    "joint_controllers": ["Laboratory Ltd", {"name": "Insurer", "contact": "+41 31 555 01 01"}],
    "representative": {"name": "R. Presentative"}, "data_protection_officer": {"name": "D. Adviser", "contact": "dpo@clinic.example"},
    "processor": "Host Ltd, Zug", "legal_basis": "Art. 6(1)(b) GDPR", "categories_of_subjects": ["patients", "relatives"],
    "categories_of_data": ["contact", "health"], "categories_of_recipients": ["insurers"], "recipients": ["Insurer of Bern"],
    "retention": "10 years after the last visit", "security_measures": "encrypted\nand logged",
    "transfers": [{"country": "US", "safeguard": "standard contractual clauses", "basis": "Art. 16(2)(d) FADP"}, {"country": "DE"}],
    "place_of_storage": "Bern", "automated_decisions": "none", "record_types": ["contact"], "retention_after_end": "P10Y",
    "expires": "2999-12-31T23:00:00Z"}


@pytest.fixture(scope="module")
def whole(world):
    return world.officer.post(PATH, WHOLE).json()


def test_every_field_of_the_law_is_kept(world, whole):
    own = {"id", "version", "created_at", "updated_at", "ended_at"}
    assert {k: v for k, v in whole.items() if k not in own} == WHOLE
    assert whole["ended_at"] is None
    assert world.auditor.get(f"{PATH}/{whole['id']}").json() == whole
    changed = world.officer.put(f"{PATH}/{whole['id']}", {**WHOLE, "controller": "Clinic, as one text"}).json()
    assert changed["controller"] == "Clinic, as one text"
    world.officer.put(f"{PATH}/{whole['id']}", WHOLE)


@pytest.mark.parametrize("body, pointer", [
    ({"controller": ""}, "/controller"), ({"controller": {}}, "/controller"), ({"controller": 5}, "/controller"),
    ({"controller": {"name": "x", "more": 1}}, None), ({"controller": {"name": ""}}, "/controller/name"),
    ({"joint_controllers": "x"}, "/joint_controllers"), ({"joint_controllers": [{}]}, "/joint_controllers/0"),
    ({"processor": {"name": "x", "contact": 1}}, "/processor/contact"),
    ({"transfers": [{"country": "US", "basis": ""}]}, "/transfers/0/basis"), ({"automated_decisions": True}, "/automated_decisions"),
    ({"record_types": ["none-such"]}, "/record_types/0"), ({"record_types": ["contact", "contact"]}, "/record_types"),
    ({"record_types": ["Not A Name"]}, "/record_types/0"), ({"record_types": "contact"}, "/record_types"),
    ({"retention_after_end": "10 years"}, "/retention_after_end"), ({"retention_after_end": "P1Y1D"}, "/retention_after_end"),
    ({"expires": "2001-01-01T00:00:00Z"}, "/expires"), ({"expires": "tomorrow"}, "/expires"), ({"expires": None}, "/expires")])
def test_faults(world, whole, body, pointer):
    for method, path in (("POST", PATH), ("PUT", f"{PATH}/{whole['id']}")):
        expect_problem(world.officer.request(method, path, {**LEAST, **body}), 422, "validation-failed", pointer)
    assert world.officer.get(f"{PATH}/{whole['id']}").json()["purpose"] == WHOLE["purpose"]


# ---- printed ----

class Page(html.parser.HTMLParser):
    """The texts of the cells, by the heading of their row, and what tags there are."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.articles, self.into, self.row = set(), [], None, ["", ""]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "article":
            self.articles.append({})
        if tag == "tr":
            self.row = ["", ""]
        if tag in ("h2", "th", "td", "small"):
            self.into = tag
            if tag == "h2":
                self.row = ["", ""]

    def handle_endtag(self, tag):
        if tag == "h2":
            self.articles[-1][""] = self.row[1]
        if tag == "tr":
            self.articles[-1][self.row[0]] = self.row[1]
        if tag in ("h2", "th", "td", "small"):
            self.into = None

    def handle_data(self, data):
        if self.into == "th":
            self.row[0] += data
        elif self.into in ("td", "h2"):
            self.row[1] += data


def register(world, query="", **more):
    return world.officer.get(PATH + query, **more)


def test_html(world, whole):
    for answer in (register(world, "?format=html"), register(world, headers={"Accept": "text/html,application/json;q=0.9,*/*;q=0.8"})):
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"] and "script" not in answer.headers["Content-Security-Policy"]
        page = Page(answer.text)
    assert not page.tags & {"script", "img", "link", "iframe", "a", "form"} and "@media print" in answer.text
    shown, = [a for a in page.articles if a.get("Entry", "").startswith(whole["id"])]
    assert shown[""] == WHOLE["name"]
    assert shown["Purpose"] == WHOLE["purpose"] and shown["Security measures"] == WHOLE["security_measures"]
    assert shown["Controller"] == "Clinic of St. Verena Ltd, Spitalgasse 1, 3011 Bern, privacy@clinic.example"
    assert shown["Joint controllers"] == "Laboratory Ltd; Insurer, +41 31 555 01 01"
    assert shown["Disclosure abroad: states and safeguards"] == "US, standard contractual clauses, Art. 16(2)(d) FADP; DE"
    assert shown["Categories of personal data"] == "contact; health" and shown["Ended"] == "no"
    least, = [a for a in page.articles if a[""] == "Appointments"]
    assert least["Retention"] == least["Controller"] == "not stated"  # what the law asks for and is missing


def test_csv(world, whole):
    for answer in (register(world, "?format=csv"), register(world, headers={"Accept": "text/csv"})):
        assert answer.headers["Content-Type"].startswith("text/csv; charset=utf-8")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="processing-activities.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    row, = [r for r in rows if r["id"] == whole["id"]]
    assert set(WHOLE) <= set(row)
    assert row["purpose"] == "'" + WHOLE["purpose"]  # no formula
    assert row["name"] == WHOLE["name"] and row["security_measures"] == WHOLE["security_measures"]
    assert row["recipients"] == "Insurer of Bern" and row["categories_of_subjects"] == "patients; relatives"
    assert (row["ended_at"], TIME.fullmatch(row["created_at"]) is not None) == ("", True)
    assert len(rows) == len(world.officer.pages(PATH))


def test_the_register_comes_whole(world):
    for n in range(120):
        world.make_activity(f"Filler {n}")
    names = {a["name"] for a in world.officer.pages(PATH)}
    assert len(names) > 120
    assert {r["name"] for r in csv.DictReader(io.StringIO(register(world, "?format=csv").text, newline=""))} == names
    assert {a[""] for a in Page(register(world, "?format=html").text).articles} == names


def test_which_form(world):
    officer = world.officer
    assert register(world, "?format=json&limit=1").json()["next"]
    assert register(world).headers["Content-Type"] == "application/json"
    for accept, media in (("*/*", "application/json"), ("text/*", "text/html"), ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
                          ("text/html;q=0, */*", "application/json"), ("application/problem+json", "application/json"),
                          ("text/csv, text/html;q=0.999", "text/csv"), ("application/json;q=0.1, */*;q=0.2", "text/html")):
        answer = register(world, headers={"Accept": accept})
        assert answer.headers["Content-Type"].split(";")[0] == media, accept
        assert answer.headers["Vary"] == "Accept"
    assert register(world, "?format=csv", headers={"Accept": "application/json"}).headers["Content-Type"].startswith("text/csv")
    expect_problem(officer.request("GET", PATH, headers={"Accept": "image/png"}), 406, "not-acceptable")
    expect_problem(officer.request("GET", PATH, headers={"Accept": "application/json;q=0, text/csv;q=0.0"}), 406, "not-acceptable")
    expect_problem(officer.request("GET", PATH + "?format=pdf"), 400, "bad-request", parameter="format")
    expect_problem(officer.request("GET", PATH + "?format=csv&limit=5"), 400, "bad-request", parameter="limit")
    expect_problem(officer.request("GET", PATH + "?format=html&after=x"), 400, "bad-request", parameter="after")
    expect_problem(officer.request("GET", f"{PATH}/{world.activity}?format=csv"), 400, "bad-request", parameter="format")
    expect_problem(officer.request("GET", f"{PATH}/{world.activity}", headers={"Accept": "text/csv"}), 406, "not-acceptable")


# ---- the end that is known beforehand ----

def test_from_its_end_on_nothing_names_it(world):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)
    expires = soon.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    activity = world.officer.post(PATH, {**LEAST, "expires": expires}).json()["id"]
    subject, service = world.make_subject({"name": "Eve"}), world.make_service()
    world.grant(subject, service, activity=activity)
    record = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    while service.request("GET", record, purpose=activity).status_code == 200:
        assert datetime.datetime.now(datetime.timezone.utc) < soon + datetime.timedelta(seconds=10)
        time.sleep(0.05)
    assert datetime.datetime.now(datetime.timezone.utc) >= soon
    expect_problem(service.request("GET", record, purpose=activity), 403, "purpose-required")
    grant = {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": activity}
    expect_problem(subject.request("POST", f"/v1/subjects/{subject.subject}/grants", grant), 422, "validation-failed", "/activity")
    ended = world.officer.get(f"{PATH}/{activity}").json()
    assert ended["ended_at"] == expires
    expect_problem(world.officer.request("PUT", f"{PATH}/{activity}", LEAST), 409, "conflict")
    world.officer.delete(f"{PATH}/{activity}")
    assert world.officer.get(f"{PATH}/{activity}").json()["ended_at"] == expires
