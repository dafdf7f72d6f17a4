"""Snapshots of a running vault: what is made, listed, verified, kept, refused."""
import json
import shutil
import subprocess
import threading
import time
import uuid

import pytest
import requests

from tresor_client import ADA, BINARY, Vault, World, environment, expect_problem, run_tresor
from cli_tools import Person, wait_until


def snapshot_file(backup, id):
    return backup / "snapshots" / f"{id}.tresor"


@pytest.fixture
def backup(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    return folder


@pytest.fixture
def served(tmp_path, backup):
    """A vault that backs up when it is told to."""
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "0", "--metrics-listen", "127.0.0.1:0").start()
    yield vault
    if vault.server.alive():
        vault.stop()


@pytest.fixture
def world(served):
    return World(served)


def make(world):
    return world.operator.post("/v1/snapshots", None).json()


def files_in(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# ---- making ----

def test_a_snapshot_is_made_listed_read_verified_and_removed(world, backup):
    assert world.operator.get("/v1/snapshots").json() == {"every_s": 0, "last": None, "log": None, "drill": None, "spool": None, "items": [], "next": None}
    made = make(world)
    assert made["state"] == "good" and made["kind"] == "full" and made["verification"] is None
    assert [d["name"] for d in made["databases"]] == ["vault.db", "audit.db"]
    assert made["bytes"] == snapshot_file(backup, made["id"]).stat().st_size
    assert files_in(backup) == ["keyring", "keys.tresor", f"snapshots/{made['id']}.tresor"]
    assert all((p.stat().st_mode & 0o077) == 0 for p in backup.rglob("*"))
    listed = world.operator.get("/v1/snapshots").json()
    assert listed["items"] == [made] and listed["last"]["state"] == "good" and listed["last"]["id"] == made["id"]
    assert world.operator.get(f"/v1/snapshots/{made['id']}").json() == made
    verified = world.operator.post(f"/v1/snapshots/{made['id']}/verify", None, expect=200).json()
    assert verified["verification"]["state"] == "good" and verified["verification"]["reason"] is None
    assert not (world.vault.data / "snapshot.scratch").exists()
    world.operator.delete(f"/v1/snapshots/{made['id']}")
    expect_problem(world.operator.get(f"/v1/snapshots/{made['id']}", expect=404), 404, "not-found")
    expect_problem(world.operator.request("DELETE", f"/v1/snapshots/{made['id']}"), 404, "not-found")
    actions = [e["action"] for e in world.auditor.pages("/v1/audit?order=asc", limit=100)
               if e["action"].startswith("snapshot.")]
    for action in ("snapshot.create", "snapshot.made", "snapshot.verify", "snapshot.checked", "snapshot.delete"):
        assert action in actions


def test_a_repeated_request_makes_no_second_one(world, backup):
    key = str(uuid.uuid4())
    first = world.operator.request("POST", "/v1/snapshots", None, key=key, expect=201).json()
    again = world.operator.request("POST", "/v1/snapshots", None, key=key, expect=202)
    assert again.json()["id"] == first["id"] and again.headers["Idempotency-Replayed"] == "true"
    assert len(list((backup / "snapshots").iterdir())) == 1


def test_nothing_readable_lies_in_the_backup(world, backup):
    make(world)
    content = b"".join(p.read_bytes() for p in backup.rglob("*") if p.is_file())
    for text in (ADA["email"], "Clinic of St. Verena", "operator", "contact", "SQLite format 3"):
        assert text.encode() not in content.replace(b'"kind"', b""), text


def test_a_vault_without_a_backup_says_so(fresh_vault):
    operator = World(fresh_vault).operator
    for method, path in (("GET", "/v1/snapshots"), ("POST", "/v1/snapshots"),
                         ("GET", f"/v1/snapshots/{uuid.uuid4()}"), ("DELETE", f"/v1/snapshots/{uuid.uuid4()}")):
        answer = operator.request(method, path)
        expect_problem(answer, 409, "conflict")
        assert "backup_dir" in answer.json()["detail"]


# ---- what is wrong ----

def test_a_backup_folder_that_is_away_is_named_and_the_next_one_goes_on(world, backup):
    first = make(world)
    away = backup.rename(backup.with_name("away"))
    expect_problem(world.operator.request("POST", "/v1/snapshots", None), 503, "storage-error")
    expect_problem(world.operator.request("GET", "/v1/snapshots"), 503, "storage-error")
    wait_until(lambda: any("the backup folder cannot be reached" in line for line in world.vault.server.lines), "its line in the log")
    away.rename(backup)
    listed = world.operator.get("/v1/snapshots").json()
    assert [i["id"] for i in listed["items"]] == [first["id"]]
    assert listed["last"]["state"] == "failed" and listed["last"]["problem"] == "storage-error"
    failed = world.operator.get(f"/v1/snapshots/{listed['last']['id']}").json()
    assert failed["state"] == "failed" and "cannot be reached" in failed["reason"]
    second = make(world)
    assert [i["id"] for i in world.operator.get("/v1/snapshots").json()["items"]] == [first["id"], second["id"]]


def test_what_a_snapshot_that_was_cut_off_left_is_not_listed_and_goes(world, backup):
    made = make(world)
    whole = snapshot_file(backup, made["id"]).read_bytes()
    part = backup / "snapshots" / f".part-{uuid.uuid4()}.tresor"
    part.write_bytes(whole[:5000])
    junk = snapshot_file(backup, uuid.uuid4())
    junk.write_bytes(b"no snapshot at all")
    other_name = snapshot_file(backup, uuid.uuid4())
    other_name.write_bytes(whole)
    assert [i["id"] for i in world.operator.get("/v1/snapshots").json()["items"]] == [made["id"]]
    make(world)
    assert not part.exists() and junk.exists() and other_name.exists()


def test_a_damaged_snapshot_fails_its_verification(world, backup):
    made = make(world)
    path = snapshot_file(backup, made["id"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    answer = world.operator.post(f"/v1/snapshots/{made['id']}/verify", None, expect=200).json()
    assert answer["verification"]["state"] == "failed" and answer["verification"]["problem"] == "storage-corrupt"
    assert not (world.vault.data / "snapshot.scratch").exists()


def test_two_vaults_do_not_share_a_folder(world, backup, tmp_path):
    make(world)
    (tmp_path / "other").mkdir()
    other = Vault(tmp_path / "other", "--backup-dir", backup, "--backup-every-s", "0").start()
    try:
        operator = World(other).operator
        answer = operator.request("POST", "/v1/snapshots", None)
        expect_problem(answer, 409, "conflict")
        assert "another vault" in answer.json()["detail"]
        assert operator.get("/v1/snapshots").json()["items"] == []
    finally:
        other.stop()


def test_a_master_key_that_a_snapshot_needs_is_not_destroyed(world, backup):
    made = make(world)
    assert made["master_key"] == 1
    world.operator.post("/v1/keys/rotate", None)
    wait_until(lambda: not world.operator.get("/v1/keys").json()["rewrapping"], "rewrapping")
    answer = world.operator.request("DELETE", "/v1/keys/1")
    if "database" in answer.json()["detail"]:
        pytest.skip("version 1 wraps a database's key")
    expect_problem(answer, 409, "conflict")
    assert made["id"] in answer.json()["detail"]
    assert make(world)["master_key"] == 2
    world.operator.delete(f"/v1/snapshots/{made['id']}")
    world.operator.delete("/v1/keys/1")


# ---- beside writers ----

@pytest.mark.concurrency
def test_writers_go_on_and_what_is_restored_is_a_committed_moment(world, backup, tmp_path):
    """Eight writers each make records 0, 1, 2, ...: a snapshot has of each writer all up to some number, and of each record the entry in
    the log, and the other way round. A drill beside the same writers says so too."""
    subjects = [world.make_subject(ADA) for _ in range(8)]
    stop, slowest, counts = threading.Event(), [0.0] * 8, [0] * 8

    def write(i):
        while not stop.is_set():
            begun = time.monotonic()
            subjects[i].post(f"/v1/subjects/{subjects[i].subject}/records",
                             {"type": "contact", "data": {**ADA, "name": f"n{counts[i]}"}})
            slowest[i] = max(slowest[i], time.monotonic() - begun)
            counts[i] += 1

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    wait_until(lambda: min(counts) > 5, "writers")
    before = list(counts)
    made = make(world)
    after = [c + 1 for c in counts]
    tried = world.operator.post("/v1/snapshots/drill", None, expect=200).json()
    assert tried["state"] == "good" and tried["snapshot"] == made["id"], tried
    assert tried["counts"]["audit_entries"] == made["audit_seq"]
    stop.set()
    [t.join() for t in threads]
    world.vault.stop()
    restored = tmp_path / "restored"
    report = json.loads(run_tresor("restore", "--from", backup, "--snapshot", made["id"], "--data", restored, check=0,
                                   TRESOR_KEYRING_FILE=str(world.vault.data / "keyring.passphrase")).stdout)
    assert report["snapshot"] == made["id"] and report["audit_entries"] == made["audit_seq"]
    assert report["subjects"] == 9 and report["erased"] == {"by_ledger": 0, "without_key": 0, "to_complete": 0}
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, restored)
    world.vault.data = world.vault.server.data = restored
    world.vault.start()
    for i, subject in enumerate(subjects):
        subject.sign_in()
        names = [r["data"]["name"] for r in subject.pages(f"/v1/subjects/{subject.subject}/records", limit=100)][1:]
        assert names == [f"n{n}" for n in range(len(names))], i
        assert before[i] <= len(names) <= after[i]
    records = {r["id"] for s in subjects for r in s.pages(f"/v1/subjects/{s.subject}/records", limit=100)[1:]}
    world.auditor.sign_in()
    logged = [id for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == "record.create" for id in e["records"]]
    assert len(logged) == len(records) and set(logged) == records
    assert tried["counts"]["records"] == len(records) + 9
    assert world.vault.verify_audit()[0] == 0


# ---- the schedule ----

def test_the_schedule_makes_them_and_keeps_some(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "1", "--backup-keep-last", "2", "--backup-full-every", "1",
                  "--backup-keep-daily", "0", "--backup-keep-weekly", "0", "--backup-keep-monthly", "0").start()
    try:
        operator = World(vault).operator
        wait_until(lambda: operator.get("/v1/snapshots").json()["items"], "the first one")
        for _ in range(4):
            wait_until(lambda: operator.request("POST", "/v1/snapshots", None).status_code == 201, "a free moment")
        assert len(operator.get("/v1/snapshots").json()["items"]) == 2
    finally:
        vault.stop()


# ---- the command ----

def test_the_command_without_a_server(tmp_path, backup):
    vault = Vault(tmp_path)
    made = json.loads(run_tresor("backup", "--data", vault.data, "--to", backup, check=0).stdout)
    assert made["state"] == "good" and snapshot_file(backup, made["id"]).exists()
    verdict = json.loads(run_tresor("backup", "verify", snapshot_file(backup, made["id"]), "--data", vault.data, check=0).stdout)
    assert verdict["ok"] is True and verdict["id"] == made["id"] and verdict["pages"] > 10
    assert run_tresor("backup", "--data", vault.data, "--to", tmp_path / "nowhere", check=7).stderr.count("nowhere") == 1
    assert "backup_dir" in run_tresor("backup", "--data", vault.data, check=2).stderr


def test_verify_names_damage_and_the_wrong_keyring(tmp_path, backup):
    vault = Vault(tmp_path)
    made = json.loads(run_tresor("backup", "--data", vault.data, "--to", backup, check=0).stdout)
    path = snapshot_file(backup, made["id"])
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", whole[:2000], whole[:700] + bytes([whole[700] ^ 1]) + whole[701:]):
        path.write_bytes(content)
        done = run_tresor("backup", "verify", path, "--data", vault.data, check=4)
        assert json.loads(done.stdout)["ok"] is False
    path.write_bytes(whole)
    assert not path.with_name(path.name + ".scratch").exists()
    (tmp_path / "other").mkdir()
    other = Vault(tmp_path / "other")
    assert run_tresor("backup", "verify", path, "--data", other.data, check=3).stderr.startswith("tresor: ")


def test_the_command_asks_the_server(served, backup, tmp_path):
    World(served)
    person = Person(served, tmp_path)
    person.sign_in()
    done = run_tresor("backup", "--data", served.data, *person.where(), check=0)
    made = json.loads(done.stdout)
    assert made["state"] == "good" and snapshot_file(backup, made["id"]).exists()
    more = json.loads(run_tresor("backup", "--incremental", "--data", served.data, *person.where(), check=0).stdout)
    assert (more["kind"], more["base"]) == ("incremental", made["id"])
    assert run_tresor("backup", "--data", served.data, "--to", tmp_path, *person.where(), check=5).stdout == ""


# ---- killed, full ----

def test_killed_in_the_middle_leaves_what_was_whole_and_goes_on(world, backup):
    """kill -9 while snapshots are made one after the other: what is listed can be restored."""
    make(world)
    for delay in (0.02, 0.05, 0.08, 0.12):
        lane = world.operator.lanes(1)[0]
        thread = threading.Thread(target=lambda: _quietly(lane), daemon=True)
        thread.start()
        time.sleep(delay)
        world.vault.server.kill()
        thread.join(30)
        world.vault.start()
        world.operator.sign_in()
        listed = world.operator.get("/v1/snapshots").json()["items"]
        assert listed
    last = make(world)
    assert not list((backup / "snapshots").glob(".part-*"))
    for id in {i["id"] for i in listed[-3:]} | {last["id"]}:
        verified = world.operator.post(f"/v1/snapshots/{id}/verify", None, expect=200).json()
        assert verified["verification"]["state"] == "good"


def _quietly(client):
    try:
        while True:
            client.request("POST", "/v1/snapshots", None)
    except Exception:  # the server was killed
        pass


def test_a_full_backup_disk_is_named_and_leaves_nothing(tmp_path, backup):
    vault = Vault(tmp_path)
    made = json.loads(run_tresor("backup", "--data", vault.data, "--to", backup, check=0).stdout)
    before = {p: p.read_bytes() for p in backup.rglob("*") if p.is_file()}
    command = ["bash", "-c", 'ulimit -f 40; trap "" XFSZ; exec "$@"', "_", str(BINARY), "backup", "--data", str(vault.data),
               "--to", str(backup)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment())
    assert done.returncode == 7, done.stderr
    assert {p for p in backup.rglob("*") if p.is_file()} >= set(before)
    assert not list(backup.rglob(".part-*"))
    assert snapshot_file(backup, made["id"]).read_bytes() == before[snapshot_file(backup, made["id"])]
    json.loads(run_tresor("backup", "--data", vault.data, "--to", backup, check=0).stdout)


def test_metrics_tell_of_the_newest(served, world):
    port = next(json.loads(line)["port"] for line in served.server.lines if '"listener":"metrics"' in line)
    read = lambda: requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    assert "tresor_snapshots 0" in read()
    made = make(world)
    text = read()
    assert "tresor_snapshots 1\n" in text and f"tresor_snapshot_bytes {made['bytes']}\n" in text
    assert "tresor_snapshot_ok 1\n" in text and "tresor_snapshot_age_seconds " in text
    assert "tresor_snapshot_duration_seconds " in text
    stop = next(line for line in text.splitlines() if line.startswith("tresor_snapshot_stop_seconds "))
    assert 0 < float(stop.split()[1]) < 5  # a bound that holds on any machine; tests/bench/snapshots.py measures it
