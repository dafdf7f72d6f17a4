"""No file of the data folder, and no line of the log, has a name, an e-mail address, a phone number, a token or a password."""
import hashlib
import json
import stat
import uuid

import pytest

from tresor_client import ADA, DATA, Client, World, run_tresor

LINES = [json.loads(line) for line in (DATA / "legislators.ndjson").read_text().splitlines() if line]


@pytest.fixture(scope="module")
def busy(vault):
    """A vault with real people in it, sessions, grants, lanes, stored outcomes, failures; still running."""
    world = World(vault)
    world.officer.put("/v1/types/legislator", json.loads((DATA / "types" / "legislator.json").read_text()), expect=201)
    body = (DATA / "legislators.ndjson").read_bytes()
    results = world.service.imports(body, "?type=legislator", key=uuid.uuid4().hex)
    assert all(r["status"] == 201 for r in results)
    # A record in a stored outcome, in a version that was replaced, in one that was deleted, in a refused body.
    subject = world.make_subject(ADA)
    where = f"/v1/subjects/{subject.subject}/records"
    made = subject.post(where, {"type": "contact", "data": {"name": "Stored Outcome Name"}}, key=uuid.uuid4().hex)
    subject.put(made.headers["Location"], {"data": {"name": "Replacement Name"}}, key=uuid.uuid4().hex)
    subject.delete(made.headers["Location"])
    subject.request("POST", where, {"type": "contact", "data": {"name": "Refused Name", "x": 1}}, expect=422)
    world.grant(subject, fields=["/name", "/email"])
    world.service.get(where, purpose=world.activity)
    world.officer.post("/v1/lookup", {"type": "contact", "field": "/email", "value": ADA["email"]}, expect=200)
    world.officer.post("/v1/lookup", {"type": "contact", "field": "/name", "value": "Looked Up Name"}, expect=200)
    world.service.lanes(4)
    wrong = Client(vault, world.auditor.uid, "a wrong password that was tried")
    wrong.sign_in(expect=401)
    unknown = Client(vault, "someone.unknown@example.org", "another wrong password")
    unknown.sign_in(expect=401)
    world.auditor.request("GET", "/v1/types?name=Query%20String%20Name", expect=400)
    world.auditor.get("/v1/types/path-name-of-someone", expect=404)
    return world


def needles(world):
    """What must be found nowhere. Short texts could be there by chance, so only those of six characters and more."""
    texts = {ADA["name"], ADA["email"], ADA["email"].lower(), ADA["phone"], ADA["notes"], ADA["address"]["street"], "Zwicky", "Stored Outcome Name",
             "Replacement Name", "Refused Name", "Looked Up Name", "a wrong password that was tried", "another wrong password",
             "someone.unknown@example.org", "Query String Name", "path-name-of-someone"}
    for line in LINES:
        texts |= {line["name"].get("official_full", ""), line["name"]["last"], line["name"]["first"], line["id"].get("wikipedia", "")}
        for term in line["terms"]:
            texts |= {term.get(k) or "" for k in ("phone", "fax", "address", "contact_form", "url")}
        for office in line["offices"]:
            texts |= {office.get(k) or "" for k in ("phone", "fax", "address")}
    secrets = set(world.vault.secrets)
    assert len(secrets) > 40
    return {t.encode() for t in texts if len(t) >= 6}, {s.encode() for s in secrets}


def haystacks(vault):
    for path in sorted(p for p in vault.data.rglob("*") if p.is_file()):
        yield str(path.relative_to(vault.data)), path.read_bytes()
    yield "the log", vault.server.log().encode()
    yield "standard error", vault.server.errors().encode()


def hits(places, texts, secrets):
    """(where, what) for each needle that is there: as it is, in another case, or with JSON's escapes."""
    found = []
    for name, content in places:
        lower = content.lower()
        found += [(name, needle) for needle in texts
                  if needle in content or needle.lower() in lower or json.dumps(needle.decode())[1:-1].encode() in content]
        found += [(name, needle) for needle in secrets if needle in content]
    return found


def search(world):
    texts, secrets = needles(world)
    assert len(texts) > 500
    assert hits(haystacks(world.vault), texts, secrets) == []


def test_the_search_itself_finds(busy):
    """Each needle is one, the people are in the vault, and all of its files are looked into."""
    answer = busy.officer.post("/v1/lookup", {"type": "legislator", "field": "/name/last", "value": LINES[0]["name"]["last"]}, expect=200)
    assert answer.json()["items"]
    texts, secrets = needles(busy)
    assert {LINES[0]["name"]["official_full"].encode(), ADA["phone"].encode()} <= texts and busy.officer.token.encode() in secrets
    for needle in (*texts, *secrets):
        assert hits([("a file", b"\x00\x01" + needle + b"\x02")], {needle}, {needle})
    names = {name for name, _ in haystacks(busy.vault)}
    assert {"vault.db", "vault.db-wal", "keys.db", "audit.db", "keyring", "the log", "standard error"} <= names


def test_beside_the_running_server(busy):
    search(busy)


def test_uids_are_not_in_the_files(busy):
    """Who may sign in is personal data too."""
    for name, content in haystacks(busy.vault):
        for uid in (busy.service.uid, busy.subject.uid):
            assert uid.encode() not in content, name


def test_hashes_of_values_are_not_in_the_files(busy):
    """The blind index is keyed: nobody can find a phone number by hashing all of them."""
    values = [ADA["phone"], ADA["email"], ADA["email"].lower(), LINES[0]["id"]["bioguide"], LINES[0]["terms"][-1]["phone"]]
    for name, content in haystacks(busy.vault):
        for value in values:
            for kind in ("sha256", "sha1", "md5", "sha512"):
                digest = hashlib.new(kind, value.encode()).digest()
                assert digest not in content and digest.hex().encode() not in content, (name, kind)


def test_modes(busy):
    data = busy.vault.data
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for path in data.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name != "tls.pem":
            assert mode & 0o077 == 0, (path, oct(mode))


def test_no_database_is_readable_without_its_key(busy):
    for path in busy.vault.data.glob("*.db"):
        assert not path.read_bytes().startswith(b"SQLite format 3"), path


def test_the_key_files_differ_from_vault_to_vault(busy, tmp_path):
    run_tresor("init", "--data", tmp_path / "other", check=0)
    for name in ("keyring", "keyring.passphrase"):
        assert (tmp_path / "other" / name).read_bytes() != (busy.vault.data / name).read_bytes()


def test_log_lines_are_json_without_what_was_sent(busy):
    lines = [json.loads(line) for line in busy.vault.server.lines]
    assert all(isinstance(line, dict) for line in lines)
    assert not any(busy.subject.subject in str(line) and "name" in line for line in lines)


def test_after_a_stop(busy):
    """Last in this file: the write-ahead logs have been merged into the databases."""
    busy.vault.stop()
    search(busy)
