"""Review of erasure: a backup that is away, or is another one; the evidence after a restore; keys, outcomes and answers that come late."""
import json
import shutil
import threading
import uuid

import pytest

import plain_files
from cli_tools import wait_until
from tresor_client import ADA, Client, Vault, World, expect_problem, run_tresor

AWAY = "the backup folder cannot be reached"


@pytest.fixture
def backup(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    return folder


@pytest.fixture
def world(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "0").start()
    yield World(vault)
    if vault.server.alive():
        vault.stop()


def base(subject):
    return f"/v1/subjects/{subject.subject}"


def make_snapshot(world):
    return world.operator.post("/v1/snapshots", None).json()["id"]


def verified(officer, subject, **more):
    request = officer.post("/v1/requests", {"subject": subject.subject, "kind": "erasure", **more}).json()["id"]
    officer.post(f"/v1/requests/{request}/verify", {"method": "known-contact"}, expect=200)
    return request


def state_of(world, request):
    return world.officer.get(f"/v1/requests/{request}").json()["state"]


def entries(world, subject, action):
    return [e for e in world.auditor.pages(f"/v1/audit?subject={subject}", limit=100) if e["action"] == action]


def is_going_on(world, subject, request):
    """Begun, not done: no receipt, and nobody may take it for answered."""
    assert state_of(world, request) == "fulfilling"
    expect_problem(world.officer.request("GET", f"/v1/requests/{request}/receipt"), 404, "not-found")
    for step, body in (("fulfil", {}), ("refuse", {"reason": "x", "legal_basis": "x"}), ("extend", {"reason": "x"})):
        expect_problem(world.officer.request("POST", f"/v1/requests/{request}/{step}", body), 409, "conflict")
    assert entries(world, subject.subject, "subject.erased") == []


def becomes_done(world, subject, request, timeout=90):
    wait_until(lambda: state_of(world, request) == "fulfilled", "the erasure's end", timeout)
    assert world.officer.get(f"/v1/requests/{request}/receipt").json()["receipt"]["request"] == request
    assert len(entries(world, subject.subject, "subject.erased")) == 1


# ---- the backup's copy of the keys ----

@pytest.mark.parametrize("by", ["itself", "an officer"])
def test_no_receipt_while_the_backup_is_away(world, backup, by):
    subject = world.make_subject(ADA)
    make_snapshot(world)
    copy = (backup / "keys.tresor").read_bytes()
    away = backup.rename(backup.with_name("away"))
    if by == "itself":
        answer = subject.request("DELETE", base(subject), last=True, expect=202).json()
        request = answer["request"]
        assert answer == {"request": request, "state": "fulfilling"}
    else:
        request = verified(world.officer, subject)
        assert world.officer.post(f"/v1/requests/{request}/fulfil", {}, expect=202).json()["state"] == "fulfilling"
    is_going_on(world, subject, request)
    expect_problem(subject.request("GET", base(subject)), 401, "token-invalid")
    assert any("erasure" in line and AWAY in line for line in world.vault.server.lines)
    world.vault.restart()  # at its start it tries again, and serves all the same
    is_going_on(world, subject, request)
    assert (away / "keys.tresor").read_bytes() == copy
    away.rename(backup)
    if by != "itself":  # else the sweep finds it within a minute
        world.vault.restart()
    becomes_done(world, subject, request)
    assert (backup / "keys.tresor").read_bytes() != copy


def test_an_empty_folder_in_the_backups_place_is_not_the_backup(world, backup):
    """The disk is not mounted: what lies on it still has the person's key."""
    subject = world.make_subject(ADA)
    make_snapshot(world)
    away = backup.rename(backup.with_name("away"))
    backup.mkdir()
    request = subject.request("DELETE", base(subject), last=True, expect=202).json()["request"]
    is_going_on(world, subject, request)
    shutil.rmtree(backup)
    away.rename(backup)
    world.vault.restart()
    becomes_done(world, subject, request)


def test_a_new_backup_is_begun_when_it_is_said(world, backup):
    subject = world.make_subject(ADA)
    make_snapshot(world)
    shutil.rmtree(backup)
    backup.mkdir()
    answer = world.operator.request("POST", "/v1/snapshots", None)
    expect_problem(answer, 503, "storage-error")
    assert not (backup / "keys.tresor").exists()
    (backup / "keys.tresor").touch()
    world.vault.restart()  # Landlock shows the server the folder that was there when it started
    make_snapshot(world)
    subject.request("DELETE", base(subject), last=True, expect=200)


def test_what_was_cut_off_in_the_backup_goes_too(world, backup):
    """Killed while the keys, or what changed in them, were written: older keys lie there under another name."""
    subject = world.make_subject(ADA)
    make_snapshot(world)
    for name in (".part-keys.tresor", "keys-changes.tresor", ".part-keys-changes.tresor"):
        shutil.copy(backup / "keys.tresor", backup / name)
    subject.request("DELETE", base(subject), last=True, expect=200)
    assert sorted(p.name for p in backup.iterdir() if "keys" in p.name) == ["keys.tresor"]


# ---- evidence ----

def test_a_restored_vault_does_not_make_up_who_verified_it(world, backup, tmp_path):
    """An older snapshot has not got the request of an officer: what is not known of it is not said."""
    gone = world.make_subject(ADA)
    make_snapshot(world)
    request = verified(world.officer, gone)
    first = world.officer.post(f"/v1/requests/{request}/fulfil", {}, expect=200).json()
    assert first["verification"]["method"] == "known-contact" and first["filed_by"] == world.officer.profile["id"]
    world.vault.stop()
    restored = tmp_path / "restored"
    run_tresor("restore", "--from", backup, "--data", restored, check=0,
               TRESOR_KEYRING_FILE=str(world.vault.data / "keyring.passphrase"))
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, restored)
    world.vault.data = world.vault.server.data = restored
    world.vault.start()
    world.officer.sign_in()
    again = world.officer.get(f"/v1/requests/{request}").json()
    receipt = world.officer.get(f"/v1/requests/{request}/receipt").json()["receipt"]
    assert (again["state"], again["verification"], again["filed_by"]) == ("fulfilled", None, None)
    assert (receipt["received_at"], receipt["verified_at"], receipt["request"]) == (None, None, request)


# ---- keys ----

def test_a_rotation_in_the_middle_brings_no_key_back(world, backup):
    subjects = [world.make_subject({"name": f"Rotated {i}"}) for i in range(10)]
    stays = world.make_subject(ADA)
    make_snapshot(world)

    def rotate():
        for _ in range(4):
            world.operator.post("/v1/keys/rotate", None)

    turning = threading.Thread(target=rotate)
    turning.start()
    for s in subjects:
        s.request("DELETE", base(s), last=True, expect=200)
    turning.join()
    wait_until(lambda: not world.operator.get("/v1/keys").json()["rewrapping"], "all keys are wrapped again", 90)
    world.vault.stop()
    if plain_files.there():
        left = plain_files.keys_of(world.vault.data)
        for s in subjects:
            assert f"data.{uuid.UUID(s.subject).hex.upper()}" not in left
        assert f"data.{uuid.UUID(stays.subject).hex.upper()}" in left
    world.vault.start()
    assert stays.get(f"{base(stays)}/records/{stays.records[0]}").json()["data"] == ADA


# ---- answers that are asked for again ----

def test_a_lost_answer_of_an_officer(world):
    subject = world.make_subject(ADA)
    request = verified(world.officer, subject)
    officer, key = world.officer, uuid.uuid4().hex
    head = {**officer.credentials(), "Idempotency-Key": key}
    lost = officer.raw("POST", f"/v1/requests/{request}/fulfil", headers=head, json_body={})
    assert lost.status_code == 200
    again = officer.request("POST", f"/v1/requests/{request}/fulfil", {}, key=key, expect=(200, 202))
    assert again.headers["Idempotency-Replayed"] == "true" and again.json() == lost.json()
    assert len(entries(world, subject.subject, "subject.erased")) == 1


def test_keyed_requests_after_the_erasure(world):
    """What was stored for them is gone or says nothing; nothing is 500, and nothing begins anew."""
    subject = world.make_subject(ADA)
    world.grant(subject, actions=("read", "write"))
    calls = [(world.service, "POST", f"{base(subject)}/records", {"type": "contact", "data": ADA}, world.activity),
             (world.officer, "POST", "/v1/requests", {"subject": subject.subject, "kind": "access", "details": "of Ada"}, None),
             (world.officer, "POST", f"{base(subject)}/holds", {"title": "t", "legal_basis": "b"}, None)]
    keys = [uuid.uuid4().hex for _ in calls]
    made = [c.request(m, p, b, purpose=a, key=k, expect=201).json() for (c, m, p, b, a), k in zip(calls, keys)]
    world.officer.delete(f"{base(subject)}/holds/{made[2]['id']}")
    subject.request("DELETE", base(subject), last=True, expect=200)
    for (c, m, p, b, a), k in zip(calls, keys):
        for _ in range(2):
            answer = c.request(m, p, b, purpose=a, key=k)
            assert answer.status_code in (403, 404, 422), answer.text
            assert "of Ada" not in answer.text and "Kramgasse" not in answer.text


# ---- readers ----

def test_a_reader_that_stands_still_does_not_keep_an_erasure_waiting(world):
    """An export whose reader does not read holds no old view of the databases."""
    big, small = world.make_subject(), world.make_subject(ADA)
    world.grant(big, actions=("read", "write"))
    line = json.dumps({"type": "contact", "subject": big.subject, "data": {"name": "x" * 20, "notes": "n" * 2000}}).encode() + b"\n"
    world.service.imports(line * 6000, purpose=world.activity)
    answer = big.http.get(world.vault.url + base(big) + "/export", headers=big.credentials(), stream=True, timeout=60)
    assert answer.status_code == 200
    stream = answer.iter_content(4096)
    next(stream)
    small.request("DELETE", base(small), last=True, expect=200)
    other = Client(world.vault, big.uid, big.password)
    other.sign_in()
    other.request("DELETE", base(big), last=True, expect=200)
    answer.close()
