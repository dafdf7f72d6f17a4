"""Import of newline-delimited JSON: real people, faults per line, constant memory, repeated and broken off."""
import json
import time
import uuid

import pytest

from tresor_client import BINARY, DATA, Client, Wire, World, expect_problem

LINES = [line for line in (DATA / "legislators.ndjson").read_bytes().splitlines() if line]
SCHEMA = json.loads((DATA / "types" / "legislator.json").read_text())


@pytest.fixture(scope="module")
def legislators(world):
    """(results, lines): the real people, imported."""
    world.officer.put("/v1/types/legislator", SCHEMA, expect=201)
    return world.service.imports(b"\n".join(LINES) + b"\n", "?type=legislator"), [json.loads(line) for line in LINES]


def test_every_line_is_taken(legislators):
    results, lines = legislators
    assert [r["status"] for r in results] == [201] * len(lines)
    assert [r["line"] for r in results] == list(range(1, len(lines) + 1))
    assert len({r["subject"] for r in results}) == len({r["record"] for r in results}) == len(lines)


def test_they_read_back_equal(world, legislators):
    results, lines = legislators
    for result, line, text in list(zip(results, lines, LINES))[::15]:
        subject = world.make_principal("subject", subject=result["subject"])
        answer = subject.get(f"/v1/subjects/{result['subject']}/records/{result['record']}")
        assert answer.json()["data"] == line
        compact = json.dumps(line, separators=(",", ":"), ensure_ascii=False)
        if json.dumps(line, ensure_ascii=False) == text.decode():  # the source's own spelling of numbers is Python's
            assert compact in answer.text


def test_they_are_found(world, legislators):
    results, lines = legislators
    for result, line in zip(results[::10], lines[::10]):
        wanted = {"subject": result["subject"], "record": result["record"]}
        for field, value in (("/id/bioguide", line["id"]["bioguide"]), ("/id/govtrack", line["id"]["govtrack"]),
                             ("/name/last", line["name"]["last"].upper())):
            answer = world.officer.post("/v1/lookup", {"type": "legislator", "field": field, "value": value}, expect=200).json()
            assert wanted in answer["items"], field
        phones = {t["phone"] for t in line["terms"] if "phone" in t}
        for phone in phones:
            answer = world.officer.post("/v1/lookup", {"type": "legislator", "field": "/terms/*/phone", "value": phone}, expect=200).json()
            assert wanted in answer["items"]


def test_a_real_fault_is_named(world, legislators):
    """Line 404 of the source has an office at latitude 441.5080197."""
    line = json.loads(LINES[0])
    line["offices"][1]["latitude"] = 441.5080197
    body = LINES[1] + b"\n" + json.dumps(line).encode() + b"\n" + LINES[2] + b"\n"
    results = world.service.imports(body, "?type=legislator")
    assert [r["status"] for r in results] == [201, 422, 201]
    assert results[1]["type"] == "urn:tresor:problem:validation-failed"
    assert results[1]["pointer"].endswith("/offices/1/latitude")
    assert "441" not in results[1]["detail"]


def test_faults_per_line(world):
    good = b'{"name":"Good"}'
    lines = [good, b"{", b"", b"[]", b'{"name":1}', b'{"name":"a","name":"b"}', b'{"name":"\xff"}', b"   ", good, b'"x"',
             b'{"name":"' + b"x" * 2000 + b'"}', b'{"unknown":1,"name":"x"}', b"{}" + b" " * 100, good + b"\r"]
    results = world.service.imports(b"\n".join(lines), "?type=contact")
    statuses = {r["line"]: r["status"] for r in results}
    assert statuses[1] == statuses[9] == statuses[11] == statuses[14] == 201
    assert 3 not in statuses  # an empty line has no result
    for number, kinds in ((2, {400}), (4, {400, 422}), (5, {422}), (6, {400}), (7, {400}), (10, {400, 422}), (12, {422}), (13, {422})):
        assert statuses[number] in kinds, (number, statuses[number])
    assert [r["line"] for r in results] == sorted(statuses)


def test_without_a_trailing_newline_and_an_empty_body(world):
    assert [r["status"] for r in world.service.imports(b'{"name":"last"}', "?type=contact")] == [201]
    assert world.service.imports(b"\n\n\n", "?type=contact") == []


def test_lines_with_their_type(world):
    subject = world.make_subject()
    foreign = world.make_subject()
    service, activity = world.service, world.activity
    world.grant(subject, service, actions=["write"])
    lines = [{"type": "contact", "data": {"name": "New"}}, {"type": "contact", "data": {"name": "Old"}, "subject": subject.subject},
             {"type": "contact", "data": {"name": "x"}, "subject": foreign.subject}, {"type": "none-such", "data": {}},
             {"data": {"name": "x"}}, {"type": "contact", "data": {"name": "x"}, "more": 1}, {"type": "contact", "data": {"name": 2}},
             {"type": "contact", "data": {"name": "x"}, "subject": "x"}, {"type": "contact", "data": {"name": "x"}, "subject": str(uuid.uuid4())}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    results = service.imports(body, purpose=activity)
    assert [r["status"] for r in results] == [201, 201, 403, 422, 422, 422, 422, 422, 403]
    assert results[1]["subject"] == subject.subject
    assert results[6]["pointer"] == "/data/name" and results[3]["pointer"] == "/type"
    assert [r["data"] for r in subject.pages(f"/v1/subjects/{subject.subject}/records")] == [{"name": "Old"}]
    assert foreign.pages(f"/v1/subjects/{foreign.subject}/records") == []
    # Without the purpose, an existing subject is refused and a new one is not.
    results = service.imports(body)
    assert [r["status"] for r in results][:3] == [201, 403, 403]


def test_a_line_that_is_too_long(world):
    long = b'{"name":"' + b"x" * 1100000 + b'"}\n'
    results = world.service.imports(b'{"name":"a"}\n' + long + b'{"name":"b"}\n', "?type=contact")
    assert [(r["line"], r["status"]) for r in results] == [(1, 201), (2, 413), (3, 201)]


def test_unknown_type_of_the_whole(world):
    answer = world.service.request("POST", "/v1/import?type=none-such", data=b"{}\n", content_type="application/x-ndjson")
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code == 200:
        assert [json.loads(line)["status"] for line in answer.content.splitlines()] == [422]
    answer = world.service.request("POST", "/v1/import?type=contact", data=b"{}\n", content_type="application/json")
    expect_problem(answer, 415, "unsupported-media-type")
    answer = world.service.request("POST", "/v1/import?type=contact", data=b'{"name":"x"}\n', content_type="application/x-ndjson",
                                   accept="application/pdf")
    expect_problem(answer, 406, "not-acceptable")


def chunks(number, size=64):
    """`number` different lines, in pieces of about 64 KiB that do not end with lines."""
    block = bytearray()
    for n in range(number):
        block += b'{"name":"Person %d","phone":"%d","notes":"%s"}\n' % (n, n, b"n" * size)
        if len(block) > 65536:
            yield bytes(block[:65536])
            del block[:65536]
    yield bytes(block)


def watched(stream, server, seen):
    """The stream, with the server's resident size taken at each piece (its peak is the key derivation's at the start)."""
    for piece in stream:
        yield piece
        seen.append(server.rss_kib()[0])


def test_memory_stays_constant(fresh_vault):
    """After a first 8 MB have filled the caches to their bounds, a stream of 20 MB makes the server grow by little."""
    world, seen = World(fresh_vault), []
    world.service.imports(chunks(8_000_000 // 1060, 1000), "?type=contact")
    before = fresh_vault.server.rss_kib()[0]
    count = 20_000_000 // 1060
    began = time.monotonic()
    answer = world.service.request("POST", "/v1/import?type=contact", data=watched(chunks(count, 1000), fresh_vault.server, seen),
                                   content_type="application/x-ndjson", expect=200, timeout=600)
    taken = time.monotonic() - began
    results = answer.content.splitlines()
    assert len(results) == count and all(b'"status":201' in line for line in results)
    growth = max(seen) - before
    print(f"20 MB, {count} lines in {taken:.1f} s: {count / taken:.0f} lines/s; resident {before} KiB, growth {growth} KiB")
    assert growth < (200_000 if sanitized() else 16_000)  # a sanitizer keeps freed memory in quarantine


def sanitized():
    program = BINARY.read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def test_a_repeated_import_has_no_second_effect(world, legislators):
    key = uuid.uuid4().hex
    body = b"\n".join(LINES[:20])
    first = world.service.imports(body, "?type=legislator", key=key)
    found = lookups(world, LINES[:3])
    second = world.service.imports(body, "?type=legislator", key=key)
    assert second == first
    assert lookups(world, LINES[:3]) == found


def test_a_repeat_with_other_lines_is_refused_or_named(world, legislators):
    """The same key with another body: never a second record for a line that was taken."""
    key = uuid.uuid4().hex
    world.service.imports(b'{"name":"one"}\n{"name":"two"}\n', "?type=contact", key=key)
    answer = world.service.request("POST", "/v1/import?type=contact", data=b'{"name":"three"}\n{"name":"four"}\n',
                                   content_type="application/x-ndjson", key=key)
    if answer.status_code == 200:
        assert all(json.loads(line)["status"] >= 400 for line in answer.content.splitlines())
    else:
        expect_problem(answer, 422, "idempotency-key-reused")
    found = world.officer.post("/v1/lookup", {"type": "contact", "field": "/name", "value": "three"}, expect=200).json()
    assert found["items"] == []


def lookups(world, lines):
    out = []
    for line in lines:
        value = json.loads(line)["id"]["bioguide"]
        answer = world.officer.post("/v1/lookup", {"type": "legislator", "field": "/id/bioguide", "value": value}, expect=200)
        out.append(sorted((i["subject"], i["record"]) for i in answer.json()["items"]))
    return out


def begin_import(vault, client, key, path="/v1/import?type=contact"):
    wire = Wire(vault)
    head = {**client.credentials(), "Idempotency-Key": key, "Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
    lines = [f"POST {path} HTTP/1.1", "Host: x", *[f"{k}: {v}" for k, v in head.items()]]
    wire.send(("\r\n".join(lines) + "\r\n\r\n").encode())
    return wire


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def person(number):
    return b'{"name":"Cut %d","phone":"cut-%d"}\n' % (number, number)


def wait_until_found(world, value):
    deadline = time.monotonic() + 60
    while True:
        items = world.officer.post("/v1/lookup", {"type": "contact", "field": "/phone", "value": value}, expect=200).json()["items"]
        if items:
            return items
        assert time.monotonic() < deadline, f"{value} does not arrive"
        time.sleep(0.05)


def holders(world, numbers):
    return {n: [(i["subject"], i["record"]) for i in world.officer.post(
        "/v1/lookup", {"type": "contact", "field": "/phone", "value": f"cut-{n}"}, expect=200).json()["items"]] for n in numbers}


def repeated(world, key, count):
    """Import everything again with the same key, until the answer is whole (the client signed in anew)."""
    client = Client(world.vault, world.service.uid, world.service.password)
    client.sign_in()
    body = b"".join(person(n) for n in range(count))
    deadline = time.monotonic() + 60
    while True:
        answer = client.request("POST", "/v1/import?type=contact", data=body, content_type="application/x-ndjson", key=key)
        if answer.status_code == 200:
            results = [json.loads(line) for line in answer.content.splitlines()]
            assert [r["status"] for r in results] == [201] * count
            return results
        expect_problem(answer, 409, "request-in-progress")  # the first has not noticed yet that its peer is gone
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_import_whose_peer_goes_away_can_be_repeated(fresh_vault):
    world, key, count = World(fresh_vault), uuid.uuid4().hex, 1500
    client = Client(fresh_vault, world.service.uid, world.service.password)
    client.sign_in()
    wire = begin_import(fresh_vault, client, key)
    for n in range(count - 300):
        wire.send(chunk(person(n)))
    wait_until_found(world, "cut-0")
    wire.close()
    results = repeated(world, key, count)
    found = holders(world, range(0, count, 100))
    for number, items in found.items():
        assert items == [(results[number]["subject"], results[number]["record"])]


def test_an_import_that_is_killed_can_be_repeated(fresh_vault):
    world, key, count = World(fresh_vault), uuid.uuid4().hex, 1500
    client = Client(fresh_vault, world.service.uid, world.service.password)
    client.sign_in()
    wire = begin_import(fresh_vault, client, key)
    for n in range(count - 300):
        wire.send(chunk(person(n)))
    wait_until_found(world, "cut-0")
    fresh_vault.server.kill()
    wire.close()
    fresh_vault.start()
    world.officer.sign_in()
    kept = holders(world, range(0, count, 100))
    assert kept[0], "what had been seen is gone"
    results = repeated(world, key, count)
    found = holders(world, range(0, count, 100))
    for number, items in found.items():
        assert items == [(results[number]["subject"], results[number]["record"])]
        assert kept[number] in ([], items)
    code, verdict = fresh_vault.verify_audit()
    assert code == 0 and verdict["ok"] is True


def test_each_accepted_line_is_logged(world):
    answer = world.service.request("POST", "/v1/import?type=contact", data=b'{"name":"x"}\n{"name":1}\n{"name":"y"}\n',
                                   content_type="application/x-ndjson", expect=200)
    results = [json.loads(line) for line in answer.content.splitlines()]
    mine = [e for e in world.auditor.pages("/v1/audit") if e.get("request") == answer.headers["X-Request-Id"]]
    logged = {(e.get("subject"), *(e.get("records") or [])) for e in mine if e["outcome"] == "ok"}
    assert {(r["subject"], r["record"]) for r in results if r["status"] == 201} <= logged
    assert {e["action"] for e in mine} == {"record.import"}
