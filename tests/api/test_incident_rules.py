"""Incidents that open by themselves, each with its evidence; of one cause one a day, whatever comes."""
import hashlib
import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest
import requests

from tresor_client import ADA, BINARY, Anonymous, Client, Vault, World, environment, expect_problem, run_tresor, session_of

TAMPER = pathlib.Path(os.environ.get("TRESOR_TAMPER", BINARY.parent / "tamper"))


class People:
    """The first officer and auditor, and no more: what a test of the start needs."""

    def __init__(self, vault):
        self.officer, self.auditor = session_of(vault, "officer"), session_of(vault, "auditor")
        operator = Client(vault, "operator", vault.credentials["operator"]["password"])
        operator.sign_in()
        self.operator_id, self.operator = operator.profile["id"], operator


def incidents(world, cause):
    return [i for i in world.officer.pages("/v1/incidents?open=true", limit=100) if i["cause"] == cause]


def entry(world, seq):
    return next(e for e in world.auditor.pages("/v1/audit", limit=100) if e["seq"] == seq)


def ref(client):
    return hashlib.sha256(client.encode()).hexdigest()[:16]


def reuse(client):
    """Present a token that is two steps old: whoever has it is not the one whose session it is."""
    old = client.token
    client.get("/v1/types")
    client.get("/v1/types")
    answer = client.raw("GET", "/v1/types", headers={**client.credentials(), "access-token": old})
    expect_problem(answer, 401, "token-reused")
    return answer.headers["X-Request-Id"]


@pytest.mark.flags("--metrics-listen", "127.0.0.1:0")
def test_token_reuse(fresh_vault):
    """The evidence says which session, and so whom it touched is told exactly: with the lanes made from it."""
    world = World(fresh_vault)
    service, subjects = world.make_service(), [world.make_subject(ADA) for _ in range(2)]
    for subject in subjects:
        world.grant(subject, service)
    stolen = type(service)(world.vault, service.uid, service.password)
    stolen.sign_in()
    session = ref(stolen.client)
    [lane] = stolen.lanes(1)
    service.get(f"/v1/subjects/{subjects[0].subject}/records", purpose=world.activity)
    lane.get(f"/v1/subjects/{subjects[1].subject}/records", purpose=world.activity)
    request = reuse(lane)

    [incident] = incidents(world, "auth.token_reuse")
    assert incident["kind"] == "access" and incident["risk"] == "unknown" and incident["opened_by"] is None and incident["version"] == 1
    [evidence] = incident["evidence"]
    assert evidence["request"] == request and evidence["principal"] == service.id and evidence["address"] == "127.0.0.1"
    assert evidence["session"] == session and incident["scope"]["sessions"] == [session]
    logged = entry(world, evidence["seq"])
    assert logged["action"] == "auth.token_reuse" and logged["session"] == ref(lane.client) and logged["origin"] == session
    assert logged["time"] == evidence["at"] == incident["aware_at"]
    opened = entry(world, evidence["seq"] + 1)
    assert opened["action"] == "incident.open" and opened["purpose"] == incident["id"] and "principal" not in opened
    answer = world.officer.get(f"/v1/incidents/{incident['id']}/affected").json()
    assert [i["subject"] for i in answer["items"]] == [subjects[1].subject] and answer["total"] == 1

    # the same cause within a day is the same incident, and leaves what an officer writes and its version alone
    changed = world.officer.patch(f"/v1/incidents/{incident['id']}", {"risk": "risk"}, match='"1"').json()
    other = type(service)(world.vault, service.uid, service.password)
    other.sign_in()
    reuse(other)
    [incident] = incidents(world, "auth.token_reuse")
    assert incident["evidence_count"] == 2 and incident["version"] == changed["version"] == 2 and incident["risk"] == "risk"
    assert incident["scope"]["sessions"] == [session, ref(other.client)]
    world.officer.patch(f"/v1/incidents/{incident['id']}", {"state": "closed"}, match='"2"')
    third = type(service)(world.vault, service.uid, service.password)
    third.sign_in()
    reuse(third)
    [fresh] = incidents(world, "auth.token_reuse")
    assert fresh["id"] != incident["id"] and fresh["evidence_count"] == 1

    port = next(json.loads(line)["port"] for line in fresh_vault.server.lines if '"metrics"' in line)
    read = lambda: {line.split()[0]: float(line.split()[1]) for line in
                    requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines() if not line.startswith("#")}
    assert (read()["tresor_incidents_open"], read()["tresor_incidents_overdue"]) == (1, 0)
    world.officer.patch(f"/v1/incidents/{fresh['id']}", {"aware_at": "2026-01-01T00:00:00Z"})
    assert (read()["tresor_incidents_open"], read()["tresor_incidents_overdue"]) == (1, 1)


@pytest.mark.flags("--sign-in-storm", "20")
def test_a_storm_of_sign_ins(fresh_vault):
    """Over one address, whether the uids are known or not, and over one uid; those that were only refused for too many count too."""
    people, anonymous = People(fresh_vault), Anonymous(fresh_vault)
    attempt = lambda uid: anonymous.raw("POST", "/v1/auth/sign_in", json_body={"uid": uid, "password": "a wrong password"})
    for _ in range(3):
        assert attempt(uuid.uuid4().hex).status_code == 401
    for _ in range(16):
        assert attempt("operator").status_code in (401, 429)
    assert incidents(people, "security.sign_in_storm") == []
    answer = attempt("operator")
    [incident] = incidents(people, "security.sign_in_storm")
    [by_address] = incident["evidence"]
    assert by_address["address"] == "127.0.0.1" and by_address["principal"] is None
    assert by_address["request"] == answer.headers["X-Request-Id"]
    assert incident["scope"]["addresses"] == ["127.0.0.1"] and incident["kind"] == "access"
    for _ in range(3):
        answer = attempt("operator")
    [incident] = incidents(people, "security.sign_in_storm")
    by_uid = incident["evidence"][1]
    assert by_uid["principal"] == people.operator_id and by_uid["address"] is None and by_uid["request"] == answer.headers["X-Request-Id"]
    for _ in range(30):  # it goes on: nothing more is told of it for ten minutes
        attempt("operator")
    assert incidents(people, "security.sign_in_storm")[0]["evidence_count"] == 2
    storms = [e for e in people.auditor.pages("/v1/audit", limit=100) if e["action"] == "security.sign_in_storm"]
    assert len(storms) == 2


def test_a_broken_audit_log(fresh_vault):
    """Found by `tresor audit verify`: the server that next looks opens the incident."""
    world = People(fresh_vault)
    fresh_vault.stop()
    done = subprocess.run([str(TAMPER), "audit", str(fresh_vault.data), str(fresh_vault.data / "keyring.passphrase"), "alter", "5"],
                          capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stderr
    for _ in range(3):
        assert fresh_vault.verify_audit()[0] == 6
    fresh_vault.start()
    [incident] = incidents(world, "security.audit_broken")
    assert incident["kind"] == "alteration" and incident["evidence_count"] == 1
    [evidence] = incident["evidence"]
    assert evidence["detail"].startswith("audit.db: 3 times from ") and entry(world, evidence["seq"])["outcome"] == "storage-corrupt"
    assert not list(fresh_vault.data.glob("noted-*"))
    # beside the running server: it sees to it by itself
    assert fresh_vault.verify_audit()[0] == 6
    incident = world.officer.post("/v1/incidents", {"title": "x", "kind": "other"}).json()
    body = {"subjects": [str(uuid.uuid4())], "title": "x", "text": "x"}
    world.officer.post(f"/v1/incidents/{incident['id']}/notify", body, expect=202)  # wakes the sweep
    wait_for(lambda: incidents(world, "security.audit_broken")[0]["evidence_count"] == 2)


def wait_for(condition, seconds=90):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.2)


def test_a_cut_off_audit_log_keeps_the_server_from_starting_and_is_noted(fresh_vault):
    world = People(fresh_vault)
    fresh_vault.stop()
    whole = (fresh_vault.data / "audit.db").read_bytes()
    last = fresh_vault.verify_audit()[1]["entries"]
    subprocess.run([str(TAMPER), "audit", str(fresh_vault.data), str(fresh_vault.data / "keyring.passphrase"), "truncate", str(last)], check=True,
                   timeout=60, env=environment())
    assert run_tresor("serve", "--data", fresh_vault.data, "--listen", "127.0.0.1:0").returncode != 0
    for leftover in fresh_vault.data.glob("audit.db*"):
        leftover.unlink()
    (fresh_vault.data / "audit.db").write_bytes(whole)
    fresh_vault.start()
    [incident] = incidents(world, "security.audit_broken")
    assert incident["evidence"][0]["detail"].startswith("audit.db: 1 times from ")


def test_a_database_that_its_key_does_not_open(fresh_vault, tmp_path_factory):
    world = People(fresh_vault)
    fresh_vault.stop()
    other = Vault(tmp_path_factory.mktemp("other"))
    mine = fresh_vault.data / "vault.db"
    kept = mine.read_bytes()
    mine.write_bytes((other.data / "vault.db").read_bytes())
    for _ in range(2):
        done = run_tresor("serve", "--data", fresh_vault.data, "--listen", "127.0.0.1:0")
        assert done.returncode != 0
    [note] = fresh_vault.data.glob("noted-*")
    assert note.stat().st_mode & 0o077 == 0 and json.loads(note.read_text())["count"] == 2
    mine.write_bytes(kept)
    fresh_vault.start()
    [incident] = incidents(world, "storage.wrong_key")
    [evidence] = incident["evidence"]
    assert evidence["detail"].startswith("vault.db: 2 times from ") and incident["kind"] == "alteration"
    assert not list(fresh_vault.data.glob("noted-*"))
    fresh_vault.restart()
    assert incidents(world, "storage.wrong_key")[0]["evidence_count"] == 1
