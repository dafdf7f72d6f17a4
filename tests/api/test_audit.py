"""The audit log: what is in it, its order and pages, and that tampering is found and named."""
import json
import os
import pathlib
import shutil
import subprocess
import uuid

import pytest

from tresor_client import ADA, BINARY, TIME, Anonymous, Client, Vault, World, environment, expect_problem, run_tresor

TAMPER = pathlib.Path(os.environ.get("TRESOR_TAMPER", BINARY.parent / "tamper"))


def entries_of(world, answer):
    return [e for e in world.auditor.pages("/v1/audit", limit=100) if e.get("request") == answer.headers["X-Request-Id"]]


def test_the_first_entry_is_the_making_of_the_vault(world):
    first = world.auditor.get("/v1/audit?limit=1").json()["items"][0]
    assert first["seq"] == 1 and first["action"] == "vault.init" and first["outcome"] == "ok"


def test_numbers_have_no_gap_and_hashes_differ(world):
    entries = world.auditor.pages("/v1/audit", limit=100)
    assert [e["seq"] for e in entries] == list(range(1, len(entries) + 1))
    assert len({e["hash"] for e in entries}) == len(entries)
    assert all(TIME.fullmatch(e["time"]) for e in entries)
    times = [e["time"] for e in entries]
    assert times == sorted(times)


def test_each_request_leaves_one_entry(world):
    """Of each kind: who, what, about whom, for what, how it ended."""
    subject, service, activity = world.make_subject(ADA), world.make_service(), world.activity
    base = f"/v1/subjects/{subject.subject}"
    record = f"{base}/records/{subject.records[0]}"
    cases = []

    def did(client, action, answer, **members):
        cases.append((client, action, answer, members))
        return answer

    mine = {"subject": subject.subject}
    did(world.officer, "type.list", world.officer.get("/v1/types"))
    did(world.officer, "type.read", world.officer.get("/v1/types/contact"), type="contact")
    did(world.officer, "type.put", world.officer.put("/v1/types/audited", {"type": "object"}, expect=201), type="audited")
    did(world.officer, "type.delete", world.officer.delete("/v1/types/audited"), type="audited")
    did(world.operator, "principal.list", world.operator.get("/v1/principals"))
    made = did(world.operator, "principal.create", world.operator.post("/v1/principals", {"uid": world.name("a"), "role": "auditor"}))
    did(world.operator, "principal.read", world.operator.get(made.headers["Location"]))
    did(world.operator, "principal.update", world.operator.patch(made.headers["Location"], {"name": "N"}))
    did(world.operator, "principal.delete", world.operator.delete(made.headers["Location"]))
    registered = world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": {"name": "n"}}]})
    did(world.service, "subject.create", registered, subject=registered.json()["id"], records=[registered.json()["records"][0]["id"]])
    did(subject, "subject.read", subject.get(base), **mine)
    did(subject, "record.list", subject.get(base + "/records"), records=subject.records, **mine)
    did(subject, "record.read", subject.get(record), records=subject.records, type="contact", **mine)
    did(subject, "record.replace", subject.put(record, {"data": ADA}), records=subject.records, type="contact", **mine)
    did(subject, "record.patch", subject.patch(record, {"data": {"age": 1}}), records=subject.records, **mine)
    did(subject, "record.versions", subject.get(record + "/versions"), records=subject.records, **mine)
    added = subject.post(base + "/records", {"type": "contact", "data": {"name": "x"}})
    did(subject, "record.create", added, records=[added.json()["id"]], type="contact", **mine)
    did(subject, "record.delete", subject.delete(added.headers["Location"]), records=[added.json()["id"]], **mine)
    granted = subject.post(base + "/grants", {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": activity})
    did(subject, "grant.create", granted, **mine)
    did(subject, "grant.list", subject.get(base + "/grants"), **mine)
    did(subject, "grant.read", subject.get(granted.headers["Location"]), **mine)
    did(service, "record.read", service.get(record, purpose=activity), records=subject.records, purpose=activity, **mine)
    did(subject, "grant.withdraw", subject.delete(granted.headers["Location"]), **mine)
    did(subject, "access.list", subject.get(base + "/accesses"), **mine)
    did(world.officer, "activity.list", world.officer.get("/v1/activities"))
    did(world.officer, "activity.read", world.officer.get("/v1/activities/" + activity))
    did(world.auditor, "audit.read", world.auditor.get("/v1/audit?limit=1"))
    did(service, "auth.validate", service.get("/v1/auth/validate_token"))
    did(service, "auth.sessions", service.get("/v1/auth/sessions"))
    did(service, "auth.lanes", service.post("/v1/auth/lanes", {"count": 1}))
    client = Client(world.vault, service.uid, service.password)
    did(service, "auth.sign_in", client.sign_in())
    did(service, "auth.session_end", service.delete(f"/v1/auth/sessions/{client.client}"))
    did(service, "auth.sign_out", service.request("DELETE", "/v1/auth/sign_out", last=True, expect=200))

    everything = world.auditor.pages("/v1/audit", limit=100)
    by_request = {}
    for entry in everything:
        by_request.setdefault(entry.get("request"), []).append(entry)
    for client, action, answer, members in cases:
        found = by_request.get(answer.headers["X-Request-Id"], [])
        assert len(found) == 1, (action, found)
        entry = found[0]
        assert entry["action"] == action and entry["outcome"] == "ok", (action, entry)
        assert entry["principal"] == (client.profile or {}).get("id", getattr(client, "id", None)), (action, entry)
        assert entry["role"] == client.profile["role"] and entry["address"] == "127.0.0.1", (action, entry)
        for name, value in members.items():
            assert entry.get(name) == value, (action, name, entry)


def test_refused_requests_are_logged_with_their_outcome(world):
    service, subject = world.make_service(), world.make_subject(ADA)
    record = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    cases = [(service.request("GET", record, purpose=world.activity), "record.read", "no-grant"),
             (service.request("GET", record), "record.read", "purpose-required"),
             (service.request("GET", "/v1/principals"), "principal.list", "forbidden"),
             (service.request("GET", "/v1/types/none-such"), "type.read", "not-found"),
             (service.request("GET", "/v1/types?x=1"), "type.list", "bad-request"),
             (service.request("POST", "/v1/subjects", {"x": 1}), "subject.create", "forbidden"),
             (subject.request("PUT", record, {"data": {}}), "record.replace", "validation-failed"),
             (subject.request("PUT", record, {"data": ADA}, match='"9"'), "record.replace", "precondition-failed"),
             (world.officer.request("DELETE", "/v1/types/contact"), "type.delete", "conflict")]
    for answer, action, outcome in cases:
        found = entries_of(world, answer)
        assert [(e["action"], e["outcome"]) for e in found] == [(action, outcome)]


def test_failed_sign_ins_are_logged_without_the_uid(world):
    nobody = world.name("nobody")
    answer = Anonymous(world.vault).raw("POST", "/v1/auth/sign_in", json_body={"uid": nobody, "password": "wrong password"})
    found = entries_of(world, answer)
    assert [(e["action"], e["outcome"]) for e in found] == [("auth.sign_in", "invalid-credentials")]
    assert nobody not in str(found)


def test_no_personal_data_in_the_log(world):
    world.make_subject({**ADA, "name": "Unmistakable Name", "email": "unmistakable@example.org"})
    world.officer.post("/v1/lookup", {"type": "contact", "field": "/name", "value": "Unmistakable Name"}, expect=200)
    text = str(world.auditor.pages("/v1/audit", limit=100))
    for what in ("Unmistakable", "unmistakable", ADA["phone"], ADA["notes"], world.service.uid):
        assert what not in text


def test_order_pages_and_filter(world):
    subject = world.make_subject(ADA)
    for _ in range(5):
        subject.get(f"/v1/subjects/{subject.subject}")
    auditor = world.auditor
    ascending = auditor.pages("/v1/audit?order=asc", limit=7)
    descending = auditor.pages("/v1/audit?order=desc", limit=9)
    count = ascending[-1]["seq"]
    assert [e["seq"] for e in ascending] == list(range(1, count + 1))
    assert [e["seq"] for e in descending] == list(range(descending[0]["seq"], 0, -1))
    assert descending[-count:] == list(reversed(ascending))
    mine = auditor.pages(f"/v1/audit?subject={subject.subject}", limit=2)
    assert mine == [e for e in auditor.pages("/v1/audit") if e.get("subject") == subject.subject]
    assert [e["action"] for e in mine][0] == "subject.create" and len(mine) >= 6
    for query, name in (("order=up", "order"), ("subject=x", "subject"), ("after=x", "after"), ("limit=0", "limit"), ("x=1", "x")):
        expect_problem(auditor.request("GET", "/v1/audit?" + query), 400, "bad-request", parameter=name)
    assert auditor.get(f"/v1/audit?subject={uuid.uuid4()}").json() == {"items": [], "next": None}


# ---- tampering ----

def tamper(data, what, seq):
    done = subprocess.run([str(TAMPER), "audit", str(data), str(data / "keyring.passphrase"), what, str(seq)], capture_output=True, text=True,
                          timeout=60, env=environment())
    assert done.returncode == 0, done.stderr


def verify(data):
    done = run_tresor("audit", "verify", "--data", data)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def closed_vault(tmp_path_factory):
    """The folder of a vault that did some work and was stopped, and how many entries it has."""
    vault = Vault(tmp_path_factory.mktemp("audited")).start()
    world = World(vault)
    for _ in range(20):
        world.subject.get(f"/v1/subjects/{world.subject.subject}")
    count = world.auditor.get("/v1/audit?order=desc&limit=1").json()["items"][0]["seq"] + 1
    vault.stop()
    return vault.data, count


def test_an_untouched_log_verifies(closed_vault):
    data, count = closed_vault
    code, verdict = verify(data)
    assert code == 0 and verdict["ok"] is True and verdict["entries"] == count


@pytest.mark.parametrize("what", ["alter", "delete", "swap", "truncate"])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_tampering_is_found_and_named(closed_vault, tmp_path, what, where):
    """The first bad entry is named: for swap, the earlier of the two; for delete and truncate, where the gap begins."""
    source, count = closed_vault
    data = tmp_path / "vault"
    shutil.copytree(source, data)
    seq = {"first": 1, "middle": count // 2, "last": count}[where]
    if what == "swap" and where == "last":
        seq = count - 1  # with its successor
    tamper(data, what, seq)
    code, verdict = verify(data)
    assert code == 6, (what, seq, verdict)
    assert verdict["ok"] is False and verdict["reason"]
    assert verdict["bad_seq"] == seq, (what, seq, verdict)


def test_it_verifies_beside_a_running_server(world):
    world.officer.get("/v1/types")
    code, verdict = world.vault.verify_audit()
    assert code == 0 and verdict["ok"] is True
    world.officer.get("/v1/types")
