"""Erasure: the person is gone at once, then from every file; recipients are told, the receipt is signed, a legal hold stops it."""
import concurrent.futures
import json
import shutil
import uuid

import pytest

import plain_files
from tresor_client import ADA, Client, World, expect_problem

FILED = "an erasure request"


def base(subject):
    return f"/v1/subjects/{subject.subject}"


def erase_oneself(subject, expect=200):
    answer = subject.request("DELETE", base(subject), last=expect == 200, expect=expect)
    return answer.json()


def file_request(officer, subject, kind="erasure", **more):
    made = officer.post("/v1/requests", {"subject": subject.subject, "kind": kind, **more}).json()
    return made["id"]


def verified(officer, subject, **more):
    request = file_request(officer, subject, **more)
    officer.post(f"/v1/requests/{request}/verify", {"method": "known-contact"}, expect=200)
    return request


def fulfil(officer, request, expect=200):
    return officer.post(f"/v1/requests/{request}/fulfil", {}, expect=expect).json()


def entries(world, subject, action=None):
    return [e for e in world.auditor.pages(f"/v1/audit?subject={subject}", limit=100) if action in (None, e["action"])]


# ---- what it does ----

def test_a_subject_erases_itself(world):
    subject = world.make_subject({"name": "Going Away", "email": "going@example.org"}, {"name": "Going Too"})
    where = f"{base(subject)}/records/{subject.records[0]}"
    for name in ("One", "Two"):
        subject.patch(where, {"data": {"name": name}})
    second = Client(world.vault, subject.uid, subject.password)
    second.sign_in()
    world.grant(subject)
    answer = erase_oneself(subject)
    receipt = answer["receipt"]
    assert receipt["kind"] == "erasure" and receipt["subject"] == subject.subject and receipt["request"] == answer["request"]
    assert receipt["result"]["records"] == 2 and receipt["result"]["versions"] == 2
    assert answer["jws"].count(".") == 2
    for client in (subject, second):
        expect_problem(client.request("GET", base(subject)), 401, "token-invalid")
    second.sign_in(expect=401)
    expect_problem(world.service.request("GET", base(subject), purpose=world.activity), 403)
    expect_problem(world.operator.request("GET", f"/v1/principals/{subject.id}"), 404)
    request = world.officer.get(f"/v1/requests/{answer['request']}").json()
    assert (request["state"], request["kind"], request["details"]) == ("fulfilled", "erasure", None)
    assert request["filed_by"] == subject.id and request["verification"]["method"] == "own-session"
    assert request["result"]["records"] == 2 and request["closed_at"] is not None
    assert world.officer.get(f"/v1/requests/{answer['request']}/receipt").json() == {k: answer[k] for k in ("receipt", "jws")}
    begun, done = entries(world, subject.subject, "subject.delete"), entries(world, subject.subject, "subject.erased")
    assert [e["outcome"] for e in begun + done] == ["ok", "ok"] and {e["purpose"] for e in begun + done} == {answer["request"]}


def test_an_officer_fulfils_an_erasure(world):
    subject = world.make_subject(ADA)
    request = verified(world.officer, subject, details=FILED)
    other = file_request(subject, subject, kind="access", details="another one")
    answer = fulfil(world.officer, request)
    assert answer["state"] == "fulfilled" and answer["details"] is None and answer["result"]["records"] == 1
    expect_problem(subject.request("GET", base(subject)), 401, "token-invalid")
    expect_problem(world.officer.request("POST", f"/v1/requests/{request}/fulfil", {}), 409, "conflict")
    other = world.officer.get(f"/v1/requests/{other}").json()
    assert other["closed_at"] is not None and other["result"] == {"erased_by": request} and other["details"] is None
    assert other["state"] == "verified"
    for step in ("fulfil", "refuse", "extend"):
        body = {"fulfil": {}, "refuse": {"reason": "x", "legal_basis": "x"}, "extend": {"reason": "x"}}[step]
        expect_problem(world.officer.request("POST", f"/v1/requests/{other['id']}/{step}", body), 409, "conflict")
    expect_problem(world.officer.request("POST", "/v1/requests", {"subject": subject.subject, "kind": "access"}), 422, pointer="/subject")


def test_an_erasure_must_be_verified(world):
    subject = world.make_subject(ADA)
    request = file_request(world.officer, subject)
    expect_problem(world.officer.request("POST", f"/v1/requests/{request}/fulfil", {}), 409, "conflict")
    assert subject.get(base(subject)).json()["id"] == subject.subject


def test_a_legal_hold_stops_it(world):
    subject = world.make_subject(ADA)
    hold = world.officer.post(f"{base(subject)}/holds", {"title": "Invoices", "legal_basis": "Art. 958f CO"}).json()["id"]
    body = expect_problem(subject.request("DELETE", base(subject)), 409, "legal-hold")
    assert "Invoices" in body["detail"] and hold in body["detail"]
    request = verified(world.officer, subject)
    body = expect_problem(world.officer.request("POST", f"/v1/requests/{request}/fulfil", {}), 409, "legal-hold")
    assert hold in body["detail"]
    assert world.officer.get(f"/v1/requests/{request}").json()["state"] == "verified"
    assert subject.get(f"{base(subject)}/records/{subject.records[0]}").json()["data"] == ADA
    assert [e["outcome"] for e in entries(world, subject.subject, "subject.delete")] == ["legal-hold"]
    world.officer.delete(f"{base(subject)}/holds/{hold}")
    assert fulfil(world.officer, request)["state"] == "fulfilled"


def test_recipients_are_told_once(world):
    subject, readers, idle = world.make_subject(ADA), [world.make_service() for _ in range(3)], world.make_service()
    for service in (*readers, idle):
        world.grant(subject, service)
    for service in readers:
        for _ in range(2):
            service.get(f"{base(subject)}/records", purpose=world.activity)
    answer = erase_oneself(subject)
    notices = world.officer.get(f"/v1/requests/{answer['request']}").json()["notices"]
    assert sorted(n["recipient"] for n in notices) == sorted(s.id for s in readers)
    assert {n["kind"] for n in notices} == {"erasure"}
    assert answer["receipt"]["result"]["recipients"] == 3


def test_others_keep_all(world):
    """Another subject's records stay bit-identical, also what the same services may see of them."""
    ada, bea = world.make_subject(ADA), world.make_subject({"name": "Bea", "email": ADA["email"]}, {"name": "Bea Two"})
    world.grant(bea)
    paths = [f"{base(bea)}/records", f"{base(bea)}/grants", *(f"{base(bea)}/records/{r}/versions" for r in bea.records)]
    before = [bea.get(path).content for path in paths]
    erase_oneself(ada)
    assert [bea.get(path).content for path in paths] == before
    found = world.service.post("/v1/lookup", {"type": "contact", "field": "/email", "value": ADA["email"]}, expect=200,
                               purpose=world.activity).json()["items"]
    assert {hit["subject"] for hit in found} == {bea.subject}


@pytest.mark.concurrency
def test_many_at_once(world):
    """They share the cleaning of the files, and others are served meanwhile."""
    subjects = [world.make_subject(*({"name": f"Many {i}"} for i in range(5))) for _ in range(12)]
    stays = world.make_subject(ADA)
    with concurrent.futures.ThreadPoolExecutor(13) as pool:
        answers = [pool.submit(erase_oneself, s) for s in subjects]
        reads = pool.submit(lambda: [stays.get(f"{base(stays)}/records/{stays.records[0]}").json()["data"] for _ in range(30)])
        assert all(data == ADA for data in reads.result())
        answers = [a.result() for a in answers]
    assert len({a["request"] for a in answers}) == 12
    assert all(a["receipt"]["result"]["records"] == 5 for a in answers)
    for subject in subjects:
        assert len(entries(world, subject.subject, "subject.erased")) == 1


@pytest.mark.concurrency
def test_twice_at_once(world):
    """Two sessions of one person, and an officer: one erasure, one receipt."""
    subject = world.make_subject(ADA)
    second = Client(world.vault, subject.uid, subject.password)
    second.sign_in()
    request = verified(world.officer, subject)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        tries = [pool.submit(c.raw, "DELETE", base(subject), headers=c.credentials()) for c in (subject, second)]
        answer = world.officer.request("POST", f"/v1/requests/{request}/fulfil", {})
        statuses = sorted([t.result().status_code for t in tries] + [answer.status_code])
    assert statuses.count(200) == 1 and set(statuses) <= {200, 401, 403, 404, 409}, statuses
    assert len(entries(world, subject.subject, "subject.erased")) == 1
    done = [r for r in world.officer.pages(f"/v1/requests?subject={subject.subject}") if r["state"] == "fulfilled"]
    assert len(done) == 1


def test_a_lost_answer(world):
    """The session is gone with the person, so the answer cannot be had again; the officer has the receipt."""
    subject = world.make_subject(ADA)
    head = {**subject.credentials(), "Idempotency-Key": uuid.uuid4().hex}
    answer = subject.raw("DELETE", base(subject), headers=head)
    assert answer.status_code == 200 and "access-token" not in answer.headers
    assert subject.raw("DELETE", base(subject), headers=head).status_code == 401
    done = world.officer.pages(f"/v1/requests?subject={subject.subject}")
    assert [r["id"] for r in done] == [answer.json()["request"]]


# ---- what is left in the files ----

SECRETS = {"name": "Zacharias Unmistakable", "email": "zacharias@unmistakable.example", "phone": "+41 31 999 88 77"}
OLD = {"name": "Formerly Unmistakable", "email": "formerly@unmistakable.example"}
NEEDLES = [b"Unmistakable", b"unmistakable.example", b"+41 31 999 88 77", b"hold-of-zacharias", b"details-of-zacharias", b"zacharias.uid"]


def make_zacharias(world):
    made = world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": OLD}] * 3}).json()
    subject = world.make_principal("subject", subject=made["id"], uid=f"zacharias.uid-{uuid.uuid4().hex[:8]}@example.org",
                                   name="Zacharias Unmistakable")
    subject.subject, subject.records = made["id"], [r["id"] for r in made["records"]]
    for record in subject.records:
        subject.put(f"{base(subject)}/records/{record}", {"data": SECRETS}, key=uuid.uuid4().hex)
    subject.delete(f"{base(subject)}/records/{subject.records[2]}")
    world.grant(subject)
    world.service.get(f"{base(subject)}/records", purpose=world.activity)
    file_request(subject, subject, kind="rectification", details="details-of-zacharias")
    hold = world.officer.post(f"{base(subject)}/holds", {"title": "hold-of-zacharias", "legal_basis": "x"}).json()["id"]
    world.officer.delete(f"{base(subject)}/holds/{hold}")
    return subject


def found(data, needles):
    return [(name, needle) for name, content in plain_files.contents(data) for needle in needles if needle in content]


def wrapped_key(file, subject):
    """From the row in keys.db, or in its log: the record's header (id, master 1, 40 bytes), the id, the wrapped key."""
    content = plain_files.plain(file, plain_files.keys_of(file.parent)["keys.db"])
    head = b"\x04\x2c\x09\x5c" + uuid.UUID(subject).bytes
    at = content.find(head)
    assert at >= 0
    return content[at + len(head):at + len(head) + 40]


@pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")
def test_nothing_is_left_in_any_file(fresh_vault):
    vault, world = fresh_vault, World(fresh_vault)
    subject = make_zacharias(world)
    stays = world.make_subject(ADA)
    vault.restart()  # all is in the databases
    data_key = plain_files.keys_of(vault.data)[f"data.{uuid.UUID(subject.subject).hex.upper()}"]
    wrapped = wrapped_key(vault.data / "keys.db", subject.subject)
    assert {b"hold-of-zacharias"} <= {n for _, n in found(vault.data, NEEDLES)}  # the search finds
    assert found(vault.data, [wrapped[:24]])
    old = vault.data.parent / "old"
    vault.stop()
    shutil.copytree(vault.data, old)
    vault.start()
    answer = erase_oneself(subject)
    keys = plain_files.keys_of(vault.data)
    assert data_key not in keys.values() and not any(subject.subject.replace("-", "").upper() in name for name in keys)
    sealed = [wrapped[i:i + 16] for i in (0, 8, 16)]
    assert found(vault.data, [*NEEDLES, *sealed, data_key]) == []  # beside the running server, WALs and free pages too
    assert not any(n.decode() in vault.server.log() + vault.server.errors() for n in NEEDLES)
    assert stays.get(f"{base(stays)}/records/{stays.records[0]}").json()["data"] == ADA
    vault.stop()
    assert found(vault.data, [*NEEDLES, *sealed, data_key]) == []
    old_copy_tells_nothing(vault, old, subject, data_key)
    vault.start()
    assert world.officer.get(f"/v1/requests/{answer['request']}").json()["state"] == "fulfilled"


@pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")
def test_nothing_is_left_in_the_logs(fresh_vault):
    """Of a person who came and went since the logs were begun: all that was written of them is in frames, which nobody writes over."""
    vault, world = fresh_vault, World(fresh_vault)
    subject = make_zacharias(world)
    wrapped = wrapped_key(vault.data / "keys.db-wal", subject.subject)
    sealed = [wrapped[i:i + 16] for i in (0, 8, 16)]
    needles = [*NEEDLES, *sealed]
    assert {("vault.db-wal in the clear", b"hold-of-zacharias"), ("keys.db-wal in the clear", sealed[0])} <= set(found(vault.data, needles))
    erase_oneself(subject)
    assert found(vault.data, needles) == []
    vault.server.kill()
    assert found(vault.data, needles) == []


def old_copy_tells_nothing(vault, old, subject, data_key):
    """An old vault.db with the keyring and the keys of today: what is in it of the person cannot be read."""
    for name in ("keyring", "keyring.passphrase", "keys.db"):
        shutil.copy2(vault.data / name, old / name)
    for name in ("keys.db-wal", "keys.db-shm"):
        (old / name).unlink(missing_ok=True)
    assert data_key not in plain_files.keys_of(old).values()
    left = {needle for _, needle in found(old, NEEDLES)}
    assert left <= {b"hold-of-zacharias"}, left  # a hold says what is retained and why, not of whom


def test_after_a_restart_it_is_as_it_was(fresh_vault):
    world = World(fresh_vault)
    subject = world.make_subject(ADA)
    answer = erase_oneself(subject)
    fresh_vault.restart()
    assert world.officer.get(f"/v1/requests/{answer['request']}/receipt").json() == {k: answer[k] for k in ("receipt", "jws")}
    assert len(entries(world, subject.subject, "subject.erased")) == 1
    code, verdict = fresh_vault.verify_audit()
    assert code == 0 and verdict["ok"], json.dumps(verdict)
