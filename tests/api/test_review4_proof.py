"""Found in review: what the log did not name, what an import wrote for an ended activity, what a crash left in a log, and a
package that shows other programs more than was checked."""
import io
import json
import struct
import time
import zipfile
import zlib

import pytest

import signed
from tresor_client import ADA, World, run_tresor

MERGE = "application/merge-patch+json"


def entry_of(world, answer):
    [entry] = [e for e in world.auditor.pages("/v1/audit", limit=100) if e.get("request") == answer.headers["X-Request-Id"]]
    return entry


# ---- which activity, which principal ----

def test_the_log_says_which_activity(world):
    body = {"name": "Temporary", "purpose": "To end"}
    made = world.officer.request("POST", "/v1/activities", body, expect=201)
    number = made.json()["id"]
    path = "/v1/activities/" + number
    answers = [made, world.officer.request("GET", path, expect=200), world.officer.request("PUT", path, body, expect=200),
               world.officer.request("PUT", path, body, match='"77"', expect=412), world.officer.request("DELETE", path, expect=204),
               world.officer.request("PUT", path, body, expect=409)]
    assert [entry_of(world, a).get("purpose") for a in answers] == [number] * len(answers)


def test_the_log_says_which_principal(world):
    service = world.make_service()
    path = "/v1/principals/" + service.id
    answers = [world.operator.request("GET", path, expect=200),
               world.operator.request("PATCH", path, {"disabled": True}, content_type=MERGE, expect=200),
               world.operator.request("PATCH", path, {"reset_password": True}, content_type=MERGE, expect=200),
               world.operator.request("DELETE", path, match='"77"', expect=412), world.operator.request("DELETE", path, expect=204)]
    made = world.operator.request("POST", "/v1/principals", {"uid": world.name("x"), "role": "auditor"}, expect=201)
    assert [entry_of(world, a).get("records") for a in answers] == [[service.id]] * len(answers)
    assert entry_of(world, made)["records"] == [made.json()["id"]]


def test_who_reads_a_persons_uid_and_name_is_seen_by_that_person(world):
    subject = world.make_subject(ADA)
    read = world.operator.request("GET", "/v1/principals/" + subject.id, expect=200)
    assert entry_of(world, read).get("subject") == subject.subject
    seen = [a for a in subject.pages(f"/v1/subjects/{subject.subject}/accesses") if a["action"] == "principal.read"]
    assert [a["role"] for a in seen] == ["operator"]
    page = world.operator.request("GET", "/v1/principals?limit=100", expect=200)
    assert entry_of(world, page)["records"] == [p["id"] for p in page.json()["items"]]


# ---- the end of an activity ----

def test_an_import_does_not_go_on_after_its_activity_ended(world):
    activity = world.make_activity("Collecting")
    subject, service = world.make_subject(ADA), world.make_service()
    world.grant(subject, service, actions=("read", "write"), activity=activity)
    path = f"/v1/subjects/{subject.subject}/records"
    before = len(subject.pages(path))
    line = json.dumps({"type": "contact", "subject": subject.subject, "data": ADA}).encode() + b"\n"

    def lines():
        yield line
        end = time.monotonic() + 30
        while len(subject.pages(path)) == before:
            yield line  # until a batch is full
            assert time.monotonic() < end
        world.officer.delete("/v1/activities/" + activity)
        yield line

    results = service.imports(lines(), purpose=activity)
    assert results[0]["status"] == 201
    assert results[-1]["status"] == 403, results[-1]
    assert len(subject.pages(path)) == before + sum(r["status"] == 201 for r in results)


# ---- retention ----

@pytest.mark.flags("--session-idle-s", "31536000", "--session-absolute-s", "315360000")
def test_a_log_that_a_crash_left_is_emptied(fresh_vault):
    """What was erased before the crash still stands in vault.db, until the write-ahead log is copied back."""
    world = World(fresh_vault)
    world.officer.put("/v1/types/visit", {"type": "object", "x-retention": "P1D"}, expect=201)
    lines = "".join(json.dumps({"n": n}) + "\n" for n in range(8000)).encode()  # enough that it is not done when it has begun
    world.service.imports(lines, "?type=visit")
    fresh_vault.later(2)
    while not [e for e in world.auditor.get("/v1/audit?order=desc&limit=10", expect=200).json()["items"] if e["action"] == "retention.erase"]:
        pass
    fresh_vault.server.kill()
    log = fresh_vault.data / "vault.db-wal"
    assert log.stat().st_size > 0
    fresh_vault.server.env.clear()  # nothing is due any more, so nothing else makes the sweep clean up
    fresh_vault.start()
    end = time.monotonic() + 30
    while log.stat().st_size > 0:
        assert time.monotonic() < end, f"{log.stat().st_size} bytes are still there"
        time.sleep(0.1)


# ---- packages ----

FILES = {"index.html": b"<!doctype html>\n" * 900, "records/contact.json": b'[{"name":"Ada"}]', "empty.csv": b""}
HIDDEN = b"<h1>not what was signed</h1>"


@pytest.fixture
def package(tmp_path):
    signer = signed.Signer(tmp_path / "signer", bytes(range(32)))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [signer.jwk]}))
    return signer.package(tmp_path / "good.zip", FILES).read_bytes()


def verdict(tmp_path, data, code):
    (tmp_path / "package.zip").write_bytes(data)
    return run_tresor("request", "verify", tmp_path / "package.zip", "--keys", tmp_path / "keys.json", check=code)


def local_file(name, data):
    return struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(name), 0) + name + data


def with_hidden(whole, at):
    """A file at this offset that the directory does not name; everything behind it, and the directory, moves."""
    hidden, start = local_file(b"hidden.html", HIDDEN), whole.index(b"PK\1\2")
    directory, pos = bytearray(whole[start:]), 0
    while directory[pos:pos + 4] == b"PK\1\2":
        lengths = struct.unpack_from("<HHH", directory, pos + 28)
        offset, = struct.unpack_from("<I", directory, pos + 42)
        struct.pack_into("<I", directory, pos + 42, offset + (len(hidden) if offset >= at else 0))
        pos += 46 + sum(lengths)
    struct.pack_into("<I", directory, pos + 16, start + len(hidden))
    return whole[:at] + hidden + whole[at:start] + bytes(directory)


def test_nothing_lies_between_the_files(package, tmp_path):
    """A program that reads the ZIP as it comes, without the directory at its end, finds whatever has a header of its own."""
    verdict(tmp_path, package, 0)
    second = zipfile.ZipFile(io.BytesIO(package)).infolist()[1].header_offset
    for at in (second, package.index(b"PK\1\2")):
        bad = with_hidden(package, at)
        assert zipfile.ZipFile(io.BytesIO(bad)).testzip() is None and HIDDEN in bad  # whole, by its directory
        verdict(tmp_path, bad, 10)


@pytest.mark.parametrize("offset, value", [(10, 0), (8, 1), (8, 0x800)])
def test_the_directory_says_how_a_file_is_to_be_read(package, tmp_path, offset, value):
    """Another method, or encryption, than the file's own header says: other programs would make other bytes of it."""
    bad, start = bytearray(package), package.index(b"PK\1\2")
    struct.pack_into("<H", bad, start + offset, value)
    verdict(tmp_path, bytes(bad), 10)


# ---- who is named to whom ----

def test_another_data_subject_is_not_named(world):
    """A person sees that somebody tried, and by which principal; not another person's uid or name."""
    subject, other = world.make_subject(ADA), world.make_subject(ADA)
    assert other.request("GET", "/v1/subjects/" + subject.subject).status_code == 403
    tried = [a for a in subject.pages(f"/v1/subjects/{subject.subject}/accesses") if a["outcome"] == "forbidden"]
    assert [(a["principal"], a["role"], a["name"]) for a in tried] == [(other.id, "subject", None)]
    own = [a for a in subject.pages(f"/v1/subjects/{subject.subject}/accesses") if a["principal"] == subject.id]
    assert {a["name"] for a in own} == {subject.uid}
    answer = subject.request("GET", f"/v1/subjects/{subject.subject}/export", expect=200)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as package:
        names = package.namelist()
        assert other.id in package.read("accesses.json").decode() and subject.uid in package.read("accesses.json").decode()
        assert [n for n in names if other.uid.encode() in package.read(n)] == []
