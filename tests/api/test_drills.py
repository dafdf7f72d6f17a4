"""Restore drills: what a good one looked at, what each kind of damage in the backup is called, what stays behind; the log's figures."""
import json
import shutil
import threading
import time

import pytest
import requests

from tresor_client import ADA, Vault, World, expect_problem, run_tresor
from cli_tools import Person, wait_until

QUIET = ("--backup-every-s", "0", "--backup-drill-every-s", "0")


@pytest.fixture
def backup(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    return folder


@pytest.fixture
def served(request, tmp_path, backup):
    more = request.node.get_closest_marker("flags")
    vault = Vault(tmp_path, "--backup-dir", backup, *QUIET, "--metrics-listen", "127.0.0.1:0", *(more.args if more else ())).start()
    yield vault
    if vault.server.alive():
        vault.stop()


@pytest.fixture
def world(served):
    return World(served)


def make(world, kind="full"):
    return world.operator.post("/v1/snapshots", {"kind": kind}).json()


def drill(world):
    return world.operator.post("/v1/snapshots/drill", None, expect=200).json()


def kept(world):
    return world.operator.get("/v1/snapshots").json()["drill"]


def metrics(world):
    listening = lambda name: [json.loads(line)["port"] for line in world.vault.server.lines if f'"listener":"{name}"' in line]  # noqa: E731
    while len(listening("metrics")) < len(listening("api")):  # it is the second to listen
        time.sleep(0.01)
    port = listening("metrics")[-1]
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("tresor_")}


def events(world):
    """(action, outcome, detail) of all drills, oldest first."""
    return [(e["action"], e["outcome"], e.get("detail")) for e in world.auditor.pages("/v1/audit?order=asc", limit=100)
            if e["action"] in ("snapshot.drill", "security.drill_failed")]


def scratch(world):
    return world.vault.data / "drill.scratch"


# ---- a good one ----

@pytest.mark.concurrency
def test_a_good_drill_says_what_was_there_and_is_kept(world):
    assert kept(world) is None and "tresor_drill_ok" not in metrics(world)
    other, gone = world.make_subject(ADA, ADA), world.make_subject(ADA)
    world.grant(other)
    made = make(world)
    world.make_subject(ADA)  # comes later: has a key in the copy, and no data
    gone.delete(f"/v1/subjects/{gone.subject}", expect=200, last=True)
    before = world.operator.get("/v1/snapshots").json()["drill"]
    result = drill(world)
    assert before is None and result["state"] == "good", json.dumps(result)
    assert result["snapshot"] == made["id"]
    assert result["counts"] == {"subjects": 3, "records": 4, "principals": 7, "grants": 1, "audit_entries": made["audit_seq"]}
    assert result["erased"] == 1 and result["opened"] == 3
    assert result["reached_at"] == made["created_at"] and result["keys_at"] > made["created_at"]
    assert [result[name] for name in ("step", "problem", "reason", "where")] == [None] * 4
    assert kept(world) == result and not scratch(world).exists()
    assert events(world) == [("snapshot.drill", "ok", made["id"])]
    seen = metrics(world)
    assert seen["tresor_drill_ok"] == 1 and 0 <= seen["tresor_drill_age_seconds"] < 60
    assert 0 < seen["tresor_drill_duration_seconds"] < 60
    world.vault.stop()
    world.vault.start()
    world.operator.sign_in()
    assert kept(world) == result and metrics(world)["tresor_drill_ok"] == 1


# ---- what is wrong with a backup ----

def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_each_damage_is_named_is_an_event_and_is_over_with_the_next_good_one(world, backup, tmp_path):
    base = make(world)
    old_keys = (backup / "keys.tresor").read_bytes()
    world.make_subject(ADA)
    newest = make(world, "incremental")
    assert newest["base"] == base["id"]
    file_of = {name: backup / "snapshots" / f"{one['id']}.tresor" for name, one in (("base", base), ("newest", newest))}
    keys, ring = backup / "keys.tresor", backup / "keyring"
    (tmp_path / "other").mkdir()
    other = Vault(tmp_path / "other")
    run_tresor("backup", "--data", other.data, "--to", tmp_path / "other", check=0)
    cases = [  # (what is done, step, problem, where, words of the reason)
        (lambda: damage(file_of["newest"]), "restore", "storage-corrupt", newest["id"], ""),
        (lambda: damage(file_of["base"]), "restore", "storage-corrupt", base["id"], ""),
        (file_of["base"].unlink, "snapshot", "storage-corrupt", None, base["id"]),
        (keys.unlink, "keys", "storage-corrupt", "keys.tresor", "missing"),
        (lambda: damage(keys), "restore", "storage-corrupt", "keys.tresor", ""),
        (lambda: keys.write_bytes(b"no keys"), "keys", "storage-corrupt", None, ""),
        (lambda: keys.write_bytes(old_keys), "restore", "storage-corrupt", "keys.tresor", "older"),
        (lambda: shutil.copy(tmp_path / "other" / "keys.tresor", keys), "restore", "wrong-key", "keys.tresor", ""),
        (ring.unlink, "keyring", "storage-corrupt", "keyring", "missing"),
        (lambda: damage(ring), "keyring", "storage-corrupt", "keyring", "damaged"),
        (lambda: backup.rename(backup.with_name("away")), "snapshot", "storage-error", str(backup), "cannot be reached"),
        (lambda: [p.unlink() for p in file_of.values()], "snapshot", "not-found", None, "no snapshot"),
    ]
    whole = {p: p.read_bytes() for p in backup.rglob("*") if p.is_file()}
    for number, (what, step, problem, where, words) in enumerate(cases):
        what()
        result = drill(world)
        assert (result["state"], result["step"], result["problem"]) == ("failed", step, problem), result
        assert where is None or where in result["where"], result
        assert words in result["reason"], result
        assert not scratch(world).exists()
        assert metrics(world)["tresor_drill_ok"] == 0
        if backup.with_name("away").exists():
            backup.with_name("away").rename(backup)
        assert kept(world) == result
        for path, content in whole.items():
            path.write_bytes(content)
            path.chmod(0o600)
        happened = events(world)
        assert [e[:2] for e in happened[-2:]] == [("snapshot.drill", problem), ("security.drill_failed", problem)], result
        assert happened[-1][2].startswith(f"{step}: ") and result["reason"][:40] in happened[-1][2]
        assert len(happened) == 2 * (number + 1)
    good = drill(world)
    assert good["state"] == "good" and good["snapshot"] == newest["id"] and good["counts"]["subjects"] == 2
    assert metrics(world)["tresor_drill_ok"] == 1 and events(world)[-1] == ("snapshot.drill", "ok", newest["id"])


@pytest.mark.flags("--backup-log")
def test_the_log_is_restored_too_and_its_figures_are_in_the_metrics(world, backup):
    log = lambda: world.operator.get("/v1/snapshots").json()["log"]
    wait_until(lambda: log() and world.operator.get("/v1/snapshots").json()["items"], "the log")
    world.make_subject(ADA)
    shipped = lambda m: m["tresor_backup_log_segments"] >= 1 and m["tresor_backup_log_age_seconds"] == 0
    wait_until(lambda: shipped(metrics(world)), "a log that has all")  # nobody writes meanwhile
    assert metrics(world)["tresor_backup_log_on"] == 1
    result = drill(world)
    assert result["state"] == "good", json.dumps(result)
    assert result["segments"] >= 1 and result["counts"]["subjects"] == 2
    away = backup.rename(backup.with_name("away"))
    world.subject.get("/v1/auth/validate_token")  # a write: the token's turn
    wait_until(lambda: metrics(world)["tresor_backup_log_age_seconds"] > 0.5, "an age")
    away.rename(backup)
    wait_until(lambda: metrics(world)["tresor_backup_log_age_seconds"] == 0, "a log that caught up")
    segment = sorted((backup / "log").rglob("*.tresor"))[0]
    content = segment.read_bytes()
    segment.unlink()
    result = drill(world)
    assert (result["state"], result["step"]) == ("failed", "snapshot") and "segment is missing" in result["reason"]
    segment.write_bytes(content)
    assert drill(world)["state"] == "good"


def test_without_a_log_there_are_no_figures_of_one(world):
    assert not [name for name in metrics(world) if name.startswith("tresor_backup_log")]


# ---- who, when ----

def test_without_a_backup_there_is_no_drill(fresh_vault):
    answer = World(fresh_vault).operator.request("POST", "/v1/snapshots/drill", None)
    expect_problem(answer, 409, "conflict")
    assert "backup_dir" in answer.json()["detail"]


def test_the_schedule_begins_them(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "0", "--backup-drill-every-s", "1").start()
    try:
        world = World(vault)
        made = make(world)
        vault.stop()
        wait_until(lambda: time.time() > (backup / "snapshots" / f"{made['id']}.tresor").stat().st_mtime + 1.2, "a second")
        vault.start()
        world.operator.sign_in()
        wait_until(lambda: (kept(world) or {}).get("state") == "good", "a drill")
        assert kept(world)["snapshot"] == made["id"]
    finally:
        vault.stop()


def test_the_command_beside_a_server_and_without_one(served, backup, tmp_path):
    world = World(served)
    made = make(world)
    person = Person(served, tmp_path)
    person.sign_in()
    done = json.loads(run_tresor("backup", "drill", "--data", served.data, *person.where(), check=0).stdout)
    assert done["state"] == "good" and done["snapshot"] == made["id"]
    damage(backup / "snapshots" / f"{made['id']}.tresor")
    failed = run_tresor("backup", "drill", "--data", served.data, *person.where(), check=4)
    assert json.loads(failed.stdout)["step"] == "restore" and "the drill failed" in failed.stderr
    served.stop()
    alone = ("backup", "drill", "--data", served.data, "--backup-dir", backup)
    assert json.loads(run_tresor(*alone, check=4).stdout)["step"] == "restore"
    damage(backup / "snapshots" / f"{made['id']}.tresor")
    assert json.loads(run_tresor(*alone, check=0).stdout)["state"] == "good"
    assert "backup_dir" in run_tresor("backup", "drill", "--data", served.data, check=2).stderr


# ---- killed ----

def test_killed_in_a_drill_leaves_no_scratch_folder_after_the_next_start(world):
    for _ in range(300):
        world.subject.post(f"/v1/subjects/{world.subject.subject}/records", {"type": "contact", "data": ADA})
    make(world)
    caught = 0
    for _ in range(20):
        lane = world.operator.lanes(1)[0]
        thread = threading.Thread(target=_quietly, args=(lane,), daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not (scratch(world) / "vault.db").exists() and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        world.vault.server.kill()
        thread.join(30)
        if scratch(world).exists():
            caught += 1
            for path in scratch(world).iterdir():
                assert path.name in {"lock", "keyring"} or path.name.split("-")[0] in {"vault.db", "keys.db", "audit.db"}
                assert path.stat().st_mode & 0o077 == 0
                content = path.read_bytes()
                assert b"SQLite format 3" not in content and ADA["email"].encode() not in content and b"contact" not in content
        world.vault.start()
        assert not scratch(world).exists()
        world.operator.sign_in()
        if caught == 2:
            break
    assert caught == 2
    assert drill(world)["state"] == "good" and world.vault.verify_audit()[0] == 0


def _quietly(client):
    try:
        client.request("POST", "/v1/snapshots/drill", None)
    except Exception:  # the server was killed
        pass
