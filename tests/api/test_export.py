"""GET /v1/subjects/{id}/export: what is in it, who gets what, and that it ends when the right to it does."""
import base64
import csv
import hashlib
import html.parser
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time

import pytest

from packages import Package, export, verify
from tresor_client import ADA, BINARY, Wire, World, expect_problem, run_tresor

PERSON = {
    "type": "object", "title": "Person", "x-schema-org": "Person", "x-history": 3, "required": ["given"],
    "properties": {
        "given": {"type": "string", "title": "Vorname", "x-schema-org": "givenName", "x-mask": "initial"},
        "family": {"type": "string", "x-schema-org": "familyName"},
        "age": {"type": "integer"},
        "balance": {"type": ["number", "null"]},
        "member": {"type": "boolean"},
    },
}
PLACE = {
    "type": "object", "x-schema-org": "Place",
    "properties": {"address": {"type": "object", "x-schema-org": "address",
                               "properties": {"city": {"type": "string", "x-schema-org": "addressLocality"}, "note": {"type": "string"}}},
                   "tags": {"type": "array", "items": {"type": "string"}, "x-schema-org": "keywords"}},
}
WHOLE = ["accesses.csv", "accesses.json", "index.html", "information.json", "manifest.json", "manifest.jws", "requests.json"]


def sanitized():
    program = BINARY.read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


@pytest.fixture(scope="module")
def types(world):
    world.officer.put("/v1/types/person", PERSON, expect=(200, 201))
    world.officer.put("/v1/types/place", PLACE, expect=(200, 201))


def make(world, *records):
    """A subject with records of several types: (type, data)."""
    made = world.service.post("/v1/subjects", {"records": [{"type": t, "data": d} for t, d in records]}).json()
    client = world.make_principal("subject", subject=made["id"], name="Ada Z.")
    client.subject, client.records = made["id"], [r["id"] for r in made["records"]]
    return client


@pytest.fixture
def ada(world, types):
    return make(world, ("contact", ADA), ("person", {"given": "Ada", "family": "Zwicky", "age": 67}),
                ("place", {"address": {"city": "Bern", "note": "x"}, "tags": ["a", "b"]}))


# ---- what is in it ----

def test_everything_is_in_it(world, ada, tmp_path):
    ada.put(f"/v1/subjects/{ada.subject}/records/{ada.records[1]}", {"data": {"given": "Ada Maria", "family": "Zwicky", "age": 68}})
    package = export(ada, ada.subject)
    assert package.names() == sorted(WHOLE + ["records/contact.json", "records/person.json", "records/person.csv", "records/place.json",
                                              "schemas/contact.json", "schemas/person.json", "schemas/place.json", "context.jsonld"])
    listed = {r["id"]: r for r in ada.pages(f"/v1/subjects/{ada.subject}/records")}
    for name in ("contact", "person", "place"):
        document = package.json(f"records/{name}.json")
        assert document["type"] == name
        [item] = document["items"]
        record = listed.pop(item["id"])
        assert {m: item[m] for m in ("type", "version", "created_at", "updated_at", "updated_by", "data")} == \
            {m: record[m] for m in ("type", "version", "created_at", "updated_at", "updated_by", "data")}
        assert item["partial"] is False
    assert not listed
    [person] = package.json("records/person.json")["items"]
    assert [(e["version"], e["data"]["given"], e["updated_by"]) for e in person["earlier"]] == [(1, "Ada", world.service.id)]
    assert package.json("schemas/person.json") == PERSON
    assert package.manifest["subject"] == ada.subject and package.manifest["kind"] == "export" and package.manifest["complete"] is True
    verdict = verify(world.vault, tmp_path, package.content)
    assert verdict["ok"] is True, verdict


def test_numbers_keep_their_digits(world, types):
    bob = make(world, ("person", {"given": "Bob"}))
    path = f"/v1/subjects/{bob.subject}/records"
    bob.request("POST", path, data=b'{"type":"person","data":{"given":"B","balance":12345678901234567890.12345678901234567890}}',
                content_type="application/json", expect=201)
    package = export(bob, bob.subject)
    assert "12345678901234567890.12345678901234567890" in package.text("records/person.json")
    assert "12345678901234567890.12345678901234567890" in package.text("records/person.csv")


def test_a_broken_package_is_found(world, ada, tmp_path):
    content = bytearray(export(ada, ada.subject).content)
    at = content.index(b"records/contact.json") + 200  # in its compressed bytes
    content[at] ^= 1
    assert verify(world.vault, tmp_path, bytes(content), check=10)["ok"] is False


def test_csv_is_text_and_nothing_else(world, types):
    evil = ['=HYPERLINK("http://x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1", "a,b", 'say "hi"', "two\nlines", "plain", "'quoted"]
    mallory = make(world, *[("person", {"given": "M", "family": text, "balance": -5, "age": 3, "more": {"b": [1]}}) for text in evil])
    raw = export(mallory, mallory.subject).files["records/person.csv"]
    assert raw.startswith(b"\xef\xbb\xbf") and b"\r\n" in raw
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert list(rows[0]) == ["id", "version", "created_at", "updated_at", "given", "family", "age", "balance", "member", "other"]
    assert [r["id"] for r in rows] == mallory.records
    for text, row in zip(evil, rows):
        assert row["family"] == ("'" + text if text[0] in "=+-@\t\r＝" else text)
        assert row["balance"] == "-5" and row["age"] == "3" and row["member"] == ""
        assert json.loads(row["other"]) == {"more": {"b": [1]}}


def test_the_context_maps_what_types_name(world, ada):
    context = export(ada, ada.subject).json("context.jsonld")["@context"]
    assert context["person"] == {"@id": "schema:Person", "@context": {"given": {"@id": "schema:givenName"}, "family": {"@id": "schema:familyName"}}}
    assert context["place"] == {"@id": "schema:Place", "@context": {
        "address": {"@id": "schema:address", "@context": {"city": {"@id": "schema:addressLocality"}}}, "tags": {"@id": "schema:keywords"}}}
    assert "contact" not in context and context["data"] == "@nest" and context["type"] == "@type"


@pytest.mark.parametrize("schema, pointer", [
    ({"type": "object", "x-schema-org": "person"}, "/x-schema-org"),
    ({"type": "object", "x-schema-org": "Person "}, "/x-schema-org"),
    ({"type": "object", "x-schema-org": 1}, "/x-schema-org"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-schema-org": "GivenName"}}}, "/properties/a/x-schema-org"),
    ({"type": "object", "properties": {"a": {"type": "array", "items": {"x-schema-org": "name"}}}}, "/properties/a/items/x-schema-org"),
    ({"type": "object", "$defs": {"a": {"x-schema-org": "name"}}}, "/$defs/a/x-schema-org")])
def test_terms_that_are_none(world, schema, pointer):
    expect_problem(world.officer.request("PUT", "/v1/types/odd", schema), 422, "validation-failed", pointer=pointer)


# ---- the page ----

class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.said = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said += data


@pytest.mark.parametrize("query, accept, language, words", [
    ("", None, "en", "Your personal data"), ("?language=de", None, "de", "Ihre Personendaten"),
    ("?language=fr", "de", "fr", "Vos données personnelles"), ("?language=it", None, "it", "I suoi dati personali"),
    ("", "de-CH, fr;q=0.9", "de", "Wer verantwortlich ist"), ("", "rm, fr;q=0.4, it;q=0.7", "it", "Chi è responsabile"),
    ("", "ja, *;q=0.5", "en", "Who is responsible"), ("", "de;q=0, fr;q=0.1", "fr", "Qui est responsable")])
def test_the_page_speaks_four_languages(world, ada, query, accept, language, words):
    page = Page(export(ada, ada.subject, query, headers={"Accept-Language": accept} if accept else {}).text("index.html"))
    assert dict(page.tags)["html"]["lang"] == language
    assert words in page.said


def test_the_page_shows_the_data_and_nothing_acts(world, types):
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'&amp;'
    eve = make(world, ("person", {"given": evil, "family": "Ω≈ç√", "<b>name</b>": 1}), ("place", {"tags": [evil], "address": {"city": evil}}))
    text = export(eve, eve.subject).text("index.html")
    page = Page(text)
    assert page.said.count(evil) == 3 and "Ω≈ç√" in page.said and "<b>name</b>" in page.said and "Vorname" in page.said
    assert {tag for tag, _ in page.tags} <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "table", "thead",
                                             "tbody", "tr", "th", "td", "ol", "ul", "li", "a"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes), (tag, attributes)
        assert not re.match(r"[a-z]+:", attributes.get("href", "")), attributes
    [policy] = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
    assert policy.startswith("default-src 'none'; style-src 'sha256-" +
                             base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() + "'")
    assert "@media print" in style and "url(" not in style and "@import" not in style


def test_many_records_are_all_in_the_files_and_some_on_the_page(world, types):
    many = make(world, *[("person", {"given": "G0"})])
    path = f"/v1/subjects/{many.subject}/records"
    for i in range(1, 450):
        many.post(path, {"type": "person", "data": {"given": f"G{i}"}})
    package = export(many, many.subject)
    assert [r["data"]["given"] for r in package.json("records/person.json")["items"]] == [f"G{i}" for i in range(450)]
    assert len(package.text("records/person.csv").splitlines()) == 451
    said = Page(package.text("index.html")).said
    assert said.count("Last changed") == 200 and "Only the first records" in said
    assert package.json("information.json")["data"][0]["records"] == 450


def test_a_subject_without_records(world):
    nobody = make(world)
    package = export(nobody, nobody.subject)
    assert package.names() == sorted(WHOLE)
    assert "No records are kept" in Page(package.text("index.html")).said


# ---- the information ----

def test_the_information_of_article_25(world, types):
    activity = world.officer.post("/v1/activities", {
        "name": "Recall", "purpose": "To remind of check-ups", "legal_basis": "Art. 31 FADP", "controller": "Clinic of St. Verena, Zurzach",
        "retention": "ten years", "transfers": [{"country": "Ireland", "safeguard": "adequate (Annex 1 DPO)"}]}).json()["id"]
    ada = make(world, ("contact", ADA))
    service = world.make_service()
    world.grant(ada, service, activity=activity, actions=("read", "export"))
    service.get(f"/v1/subjects/{ada.subject}/records", purpose=activity)
    package = export(ada, ada.subject)
    info = package.json("information.json")
    assert info["subject"] == ada.subject and info["controllers"] == ["Clinic of St. Verena, Zurzach"]
    [data] = info["data"]
    assert (data["type"], data["records"], data["retention"], data["sensitive"]) == ("contact", 1, "P10Y", ["health"])
    found = {a["id"]: a for a in info["activities"]}
    assert found[activity]["purpose"] == "To remind of check-ups" and found[activity]["ended_at"] is None
    assert info["origin"]["registered_by"] == {"id": world.service.id, "name": "Clinic of St. Verena", "role": "service"}
    assert [p["id"] for p in info["origin"]["written_by"]] == [world.service.id]
    assert [p["id"] for p in info["recipients"]] == [service.id]
    [grant] = info["grants"]
    assert (grant["grantee"]["id"], grant["purpose"], grant["actions"]) == (service.id, "Recall", ["read", "export"])
    assert len(info["rights"]) == 6
    said = Page(package.text("index.html")).said
    for words in ("Clinic of St. Verena, Zurzach", "To remind of check-ups", "Art. 31 FADP", "ten years", "Ireland", "adequate (Annex 1 DPO)", "health", "10 year(s)", "read, export", "listed records"):
        assert words in said, words


def test_who_accessed_it(world, ada):
    service = world.make_service()
    world.grant(ada, service)
    service.get(f"/v1/subjects/{ada.subject}/records/{ada.records[0]}", purpose=world.activity)
    package = export(ada, ada.subject)
    items = package.json("accesses.json")["items"]
    shown = ada.pages(f"/v1/subjects/{ada.subject}/accesses")
    assert items and items == list(reversed(shown))[:len(items)]
    reads = [i for i in items if i["principal"] == service.id]
    assert [(i["action"], i["name"], i["purpose_name"], i["outcome"], i["records"]) for i in reads] == \
        [("record.read", "Clinic of St. Verena", "Appointments", "ok", [ada.records[0]])]
    rows = list(csv.DictReader(io.StringIO(package.files["accesses.csv"].decode("utf-8-sig"), newline="")))
    assert [int(r["seq"]) for r in rows] == [i["seq"] for i in items]
    assert ("Clinic of St. Verena", "service", "Appointments", "record.read", "1") in \
        [(r["name"], r["role"], r["purpose"], r["action"], r["records"]) for r in rows]
    assert "Clinic of St. Verena" in Page(package.text("index.html")).said
    assert any(a["action"] == "subject.export" for a in ada.pages(f"/v1/subjects/{ada.subject}/accesses"))


# ---- who gets what ----

def test_a_service_gets_what_its_grants_show(world, ada, tmp_path):
    service = world.make_service()
    path = f"/v1/subjects/{ada.subject}/export"
    expect_problem(service.request("GET", path, purpose=world.activity), 403, "no-grant")
    world.grant(ada, service, types=("contact", "place"))  # to read only
    expect_problem(service.request("GET", path, purpose=world.activity), 403, "no-grant")
    expect_problem(service.request("GET", path), 403, "purpose-required")
    world.grant(ada, service, types=("contact",), fields=["/name", "/address"], masked=True, actions=("export",))
    package = export(service, ada.subject, purpose=world.activity)
    assert package.names() == ["index.html", "manifest.json", "manifest.jws", "records/contact.json", "schemas/contact.json"]
    [item] = package.json("records/contact.json")["items"]
    assert item["data"] == {"name": "A.", "address": {"street": None, "city": "Bern"}} and item["partial"] is True
    assert "earlier" not in item and package.manifest["complete"] is False
    everything = b"".join(package.files.values()).decode("utf-8")
    for secret in ("Zwicky", "Kramgasse", "J45.0", "Ada Z"):
        assert secret not in everything, secret
    assert verify(world.vault, tmp_path, package.content)["ok"] is True


def test_others_get_nothing(world, ada):
    path = f"/v1/subjects/{ada.subject}/export"
    expect_problem(world.subject.request("GET", path), 403, "forbidden")
    expect_problem(world.officer.request("GET", path), 403, "forbidden")
    expect_problem(world.operator.request("GET", path), 403, "forbidden")
    expect_problem(world.auditor.request("GET", path), 403, "forbidden")


@pytest.mark.parametrize("passphrase", ["short", "eleven-char", "x" * 129, "with a space in", "ümlautümlaut"])
def test_passphrases_that_will_not_do(ada, passphrase):
    answer = ada.request("GET", f"/v1/subjects/{ada.subject}/export", headers={"Package-Passphrase": passphrase.encode("utf-8")})
    expect_problem(answer, 400, "bad-request", parameter="Package-Passphrase")


def test_bad_parameters(ada):
    path = f"/v1/subjects/{ada.subject}/export"
    expect_problem(ada.request("GET", path + "?language=rm"), 400, parameter="language")
    expect_problem(ada.request("GET", path + "?language=de-CH"), 400, parameter="language")
    expect_problem(ada.request("GET", path + "?limit=1"), 400, parameter="limit")
    expect_problem(ada.request("GET", path, accept="application/json"), 406, "not-acceptable")


def test_head_sends_no_body(ada):
    answer = ada.request("HEAD", f"/v1/subjects/{ada.subject}/export", expect=200)
    assert answer.content == b"" and answer.headers["Content-Type"] == "application/zip"
    assert re.fullmatch(r'attachment; filename="tresor-export-\d{4}-\d\d-\d\d\.zip"', answer.headers["Content-Disposition"])


def test_encrypted_by_a_passphrase(world, ada, tmp_path):
    passphrase = "correct-horse-battery-staple"
    answer = ada.get(f"/v1/subjects/{ada.subject}/export", headers={"Package-Passphrase": passphrase})
    content = answer.content
    for plain in (b"Zwicky", b"Kramgasse", b"Your personal data"):
        assert plain not in content
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(passphrase + "\n")
    wrong.write_text("incorrect-horse-battery\n")
    for path in (right, wrong):
        path.chmod(0o600)
    assert verify(world.vault, tmp_path, content, "--passphrase-file", right)["ok"] is True
    (tmp_path / "encrypted.zip").write_bytes(content)
    run_tresor("request", "verify", tmp_path / "encrypted.zip", "--keys", tmp_path / "keys.json", "--passphrase-file", wrong, check=3)
    if shutil.which("7z"):
        (tmp_path / "package.zip").write_bytes(content)
        done = subprocess.run(["7z", "x", f"-p{passphrase}", f"-o{tmp_path}/out", str(tmp_path / "package.zip")], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Zwicky" in (tmp_path / "out" / "records" / "contact.json").read_text()
    assert passphrase not in world.vault.server.log()


# ---- it ends when the right to it does ----

class Slow:
    """Reads an export's beginning, and the rest when it is told to."""

    def __init__(self, client, path, **headers):
        self.client = client
        self.wire = Wire(client.vault)
        self.wire.socket.settimeout(60)
        head = {**client.credentials(), **headers}
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1"] + [f"{n}: {v}" for n, v in head.items()]
        self.wire.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.data = bytearray()
        while b"\r\n\r\n" not in self.data:
            self.data += self.wire.socket.recv(1000)
        head = bytes(self.data).split(b"\r\n\r\n")[0].decode("latin-1")
        assert head.startswith("HTTP/1.1 200"), head
        client.token = re.search(r"(?im)^access-token: (\S+)", head).group(1)

    def whole(self):
        """Read to the end: did the last chunk come?"""
        try:
            while not self.data.endswith(b"\r\n0\r\n\r\n"):
                part = self.wire.socket.recv(1 << 16)
                if not part:
                    return False
                self.data += part
        except (ConnectionError, ssl.SSLError):
            return False
        return True


@pytest.fixture(scope="module")
def bulky(world, types):
    """Data that do not compress, more than any socket's buffers hold."""
    def build():
        subject = make(world)
        path = f"/v1/subjects/{subject.subject}/records"
        for _ in range(12):
            subject.post(path, {"type": "person", "data": {"given": base64.b64encode(os.urandom(600_000)).decode()}})
        return subject
    return build


@pytest.mark.flags("--threads", "4")
def test_slow_readers_do_not_take_every_thread(fresh_vault):
    world = World(fresh_vault)
    subject = world.make_subject()
    path = f"/v1/subjects/{subject.subject}/records"
    for _ in range(12):
        subject.post(path, {"type": "contact", "data": {"name": base64.b64encode(os.urandom(600_000)).decode()}})
    other = subject.lanes(1)[0]
    slow = Slow(other, f"/v1/subjects/{subject.subject}/export")
    answer = subject.request("GET", f"/v1/subjects/{subject.subject}/export")
    expect_problem(answer, 503, "overloaded")
    assert int(answer.headers["Retry-After"]) >= 1
    assert slow.whole()
    slow.wire.close()
    for _ in range(100):  # it is given back a moment after its last byte
        answer = subject.request("GET", f"/v1/subjects/{subject.subject}/export")
        if answer.status_code == 200:
            break
        time.sleep(0.05)
    assert len(Package(answer.content).json("records/contact.json")["items"]) == 12


def test_memory_stays_flat(world, types):
    """Twelve times the records, and the server grows by little: nothing of a package is gathered."""
    service, subject = world.make_service(), make(world)
    world.grant(subject, service, types=("person",), actions=("write",))
    line = json.dumps({"subject": subject.subject, "type": "person", "data": {"given": "Ada", "family": "x" * 1000}}).encode() + b"\n"
    for count, limit in ((1000, None), (11000, 400_000 if sanitized() else 16_000)):
        results = service.imports(line * count, purpose=world.activity)
        assert all(r["status"] == 201 for r in results)
        before, seen, done = world.vault.server.rss_kib()[0], [], threading.Event()

        def watch():
            while not done.wait(0.01):
                seen.append(world.vault.server.rss_kib()[0])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            content = subject.get(f"/v1/subjects/{subject.subject}/export").content
        finally:
            done.set()
            watcher.join()
        assert limit is None or max(seen) - before < limit
    assert len(Package(content).json("records/person.json")["items"]) == 12000


def test_a_slow_reader_gets_all_of_it(world, bulky):
    subject = bulky()
    slow = Slow(subject, f"/v1/subjects/{subject.subject}/export")
    subject.post(f"/v1/subjects/{subject.subject}/records", {"type": "person", "data": {"given": "later"}})  # nobody waits for it
    assert slow.whole()
    body = bytes(slow.data).split(b"\r\n\r\n", 1)[1]
    raw, at = bytearray(), 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if size == 0:
            break
        raw += body[end + 2:end + 2 + size]
        at = end + 2 + size + 2
    package = Package(bytes(raw))
    assert len(package.json("records/person.json")["items"]) == 12  # what came after it had begun is not in it


@pytest.mark.parametrize("what", ["session", "erasure"])
def test_it_is_cut_off(world, bulky, what):
    subject = bulky()
    other = subject.lanes(1)[0]
    slow = Slow(other, f"/v1/subjects/{subject.subject}/export")
    if what == "session":
        subject.delete(f"/v1/auth/sessions/{other.client}")
    else:
        subject.delete(f"/v1/subjects/{subject.subject}", expect=(200, 202, 204), last=True)
    assert not slow.whole()


def test_it_is_cut_off_when_the_grant_goes(world, bulky):
    subject, service = bulky(), world.make_service()
    grant = world.grant(subject, service, types=("person",), actions=("export",))
    slow = Slow(service, f"/v1/subjects/{subject.subject}/export", **{"Access-Purpose": world.activity})
    subject.delete(f"/v1/subjects/{subject.subject}/grants/{grant['id']}")
    assert not slow.whole()


def test_nothing_of_it_is_on_the_disk(world, bulky):
    subject = bulky()
    slow = Slow(subject, f"/v1/subjects/{subject.subject}/export")
    before = {p.name: p.stat().st_size for p in world.vault.data.rglob("*")}
    assert slow.whole()
    after = {p.name: p.stat().st_size for p in world.vault.data.rglob("*")}
    assert set(before) == set(after)
    assert sum(after.values()) - sum(before.values()) < 1_000_000
