"""The shipped log: a lost disk loses about a second, a restore stops at any moment, erasure holds, gaps are named."""
import datetime
import json
import shutil
import threading
import time

import pytest


from tresor_client import ADA, Vault, World, run_tresor
from cli_tools import wait_until

FLAGS = ("--backup-every-s", "0", "--backup-log")


@pytest.fixture
def backup(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    return folder


@pytest.fixture
def world(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, *FLAGS).start()
    world = World(vault)
    shipping(world)
    yield world
    if vault.server.alive():
        vault.stop()


def log_of(world):
    return world.operator.get("/v1/snapshots").json()["log"]


def shipping(world):
    wait_until(lambda: log_of(world) is not None, "the log")
    wait_until(lambda: world.operator.get("/v1/snapshots").json()["items"], "its snapshot")


def segments(backup):
    return sorted((backup / "log").rglob("*.tresor")) if (backup / "log").exists() else []


def write(client, text):
    client.post(f"/v1/subjects/{client.subject}/records", {"type": "contact", "data": {**ADA, "name": text}}, expect=201)


def names(client):
    return [r["data"]["name"] for r in client.pages(f"/v1/subjects/{client.subject}/records", limit=100)]


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wait_shipped(world, moment):
    """The log is written to by its own listing too: so it goes on."""
    wait_until(lambda: log_of(world)["reached_at"] > moment, "the log")


def restore(passphrase, backup, to, *flags, check=0):
    return run_tresor("restore", "--from", backup, "--data", to, *flags, check=check, TRESOR_KEYRING_FILE=str(passphrase))


def passphrase_of(world, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir(exist_ok=True)
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, kept)
    return kept / "keyring.passphrase"


def serve_restored(world, folder, tmp_path):
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(tmp_path / "kept" / name, folder)
    world.vault.data = world.vault.server.data = folder
    world.vault.start()
    for client in (world.operator, world.officer, world.auditor):
        client.sign_in()


def test_a_lost_disk_loses_about_a_second(world, backup, tmp_path):
    """kill -9 while eight clients write, and the data folder is gone: from the backup alone all that was answered comes back, but
    for the last moments."""
    subjects = [world.make_subject({**ADA, "name": f"first {i}"}) for i in range(8)]
    passphrase = passphrase_of(world, tmp_path)
    answered = [[] for _ in subjects]  # (time, name)
    slowest = [0.0]

    def work(i):
        for n in range(100000):
            begun = time.monotonic()
            try:
                write(subjects[i], f"{i}.{n}")
            except Exception:  # the server was killed
                return
            slowest[0] = max(slowest[0], time.monotonic() - begun)
            answered[i].append((time.monotonic(), f"{i}.{n}"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    time.sleep(5)
    killed = time.monotonic()
    world.vault.server.kill()
    [t.join(60) for t in threads]
    shutil.rmtree(world.vault.data)
    world.vault.data.mkdir()
    shutil.copy(tmp_path / "kept" / "tls.pem", world.vault.data)  # what the clients trust
    report = json.loads(restore(passphrase, backup, tmp_path / "restored").stdout)
    assert report["segments"] > 2 and report["reached_at"] > report["created_at"]
    assert report["subjects"] == 9 and report["erased"] == {"by_ledger": 0, "without_key": 0, "to_complete": 0}
    serve_restored(world, tmp_path / "restored", tmp_path)
    lost = []
    for i, subject in enumerate(subjects):
        subject.sign_in()
        there = names(subject)[1:]
        assert there == [f"{i}.{n}" for n in range(len(there))], "not one moment"
        must = [name for at, name in answered[i] if at < killed - 1.5]
        assert must, "nothing was written"
        assert set(must) <= set(there)
        lost += [killed - at for at, name in answered[i] if name not in there]
    print(f"oldest lost write {max(lost, default=0):.2f} s before the kill, slowest write {slowest[0]:.3f} s, "
          f"{sum(map(len, answered))} writes")
    assert world.vault.verify_audit()[0] == 0
    shipping(world)  # and another log begins


def test_a_restore_stops_at_the_moment_that_is_asked_for(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    marks = []
    for i in range(4):
        write(eve, f"n{i}")
        moment = now()
        wait_shipped(world, moment)
        marks.append(now())
    # a person who comes later has its key in the changes of the keys
    late = world.make_subject({**ADA, "name": "late"})
    write(late, "later still")
    wait_shipped(world, now())
    assert (backup / "keys-changes.tresor").exists()
    passphrase = passphrase_of(world, tmp_path)
    world.vault.stop()
    whole = json.loads(restore(passphrase, backup, tmp_path / "whole").stdout)
    half = json.loads(restore(passphrase, backup, tmp_path / "half", "--at", marks[1]).stdout)
    assert half["snapshot"] == whole["snapshot"] and 0 < half["segments"] < whole["segments"]
    assert half["reached_at"] <= marks[1] < whole["reached_at"]
    only = json.loads(restore(passphrase, backup, tmp_path / "only", "--snapshot", whole["snapshot"]).stdout)
    assert only["segments"] == 0 and only["reached_at"] == only["created_at"]
    early = restore(passphrase, backup, tmp_path / "early", "--at", "2020-01-01T00:00:00Z", check=1)
    assert "before that time" in early.stderr and not (tmp_path / "early").exists()
    assert restore(passphrase, backup, tmp_path / "bad", "--at", "yesterday", check=2).stderr
    serve_restored(world, tmp_path / "half", tmp_path)
    eve.sign_in()
    assert names(eve)[-2:] == ["n0", "n1"]
    late.sign_in(expect=401)
    assert world.vault.verify_audit()[0] == 0
    world.vault.stop()
    serve_restored(world, tmp_path / "whole", tmp_path)
    eve.sign_in()
    late.sign_in()
    assert names(eve)[-4:] == ["n0", "n1", "n2", "n3"] and names(late)[-1] == "later still"
    assert world.vault.verify_audit()[0] == 0


def test_a_gap_a_damage_and_a_swap_in_the_log_are_refused(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    for i in range(5):
        write(eve, f"n{i}")
        wait_shipped(world, now())
    passphrase = passphrase_of(world, tmp_path)
    world.vault.stop()
    files = segments(backup)
    assert len(files) >= 5
    kept = [f.read_bytes() for f in files]
    to = tmp_path / "restored"

    def refused():
        done = restore(passphrase, backup, to, check=4)
        assert not to.exists() and not (tmp_path / "restored.restoring").exists()
        return done.stderr

    files[2].unlink()
    assert files[2].name in refused()
    files[2].write_bytes(kept[3])
    assert files[2].name in refused()
    for content in (kept[2][:-1], kept[2] + b"x", kept[2][:-9] + bytes([kept[2][-9] ^ 1]) + kept[2][-8:], kept[2][:100]):
        files[2].write_bytes(content)
        refused()
    files[2].write_bytes(kept[2])
    assert json.loads(restore(passphrase, backup, to).stdout)["segments"] == len(files)


def test_an_erasure_leaves_no_older_copy_of_the_key(world, backup, tmp_path):
    gone = world.make_subject(ADA)
    write(gone, "soon gone")
    wait_shipped(world, now())
    assert (backup / "keys-changes.tresor").exists()
    answer = gone.request("DELETE", f"/v1/subjects/{gone.subject}", last=True)
    assert answer.status_code == 200, answer.text
    before = now()
    # what holds its key is gone when the receipt is there; what came later knows nothing of it
    passphrase = passphrase_of(world, tmp_path)
    wait_shipped(world, before)
    world.vault.stop()
    report = json.loads(restore(passphrase, backup, tmp_path / "past", "--at", before).stdout)
    assert report["subjects"] == 1
    snapshot = report["snapshot"]
    report = json.loads(restore(passphrase, backup, tmp_path / "older", "--snapshot", snapshot).stdout)
    assert report["subjects"] == 0  # from before anybody was there


def test_after_kills_the_log_goes_on_from_a_new_snapshot(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    passphrase = passphrase_of(world, tmp_path)
    logs = {log_of(world)["from"]}
    for i in range(3):
        write(eve, f"n{i}")
        world.vault.server.kill()
        world.vault.start()
        world.operator.sign_in()
        eve.sign_in()
        shipping(world)
        wait_until(lambda: log_of(world) and log_of(world)["from"] not in logs, "another log")
        logs.add(log_of(world)["from"])
        write(eve, f"m{i}")
    wait_shipped(world, now())
    world.vault.stop()
    assert json.loads(restore(passphrase, backup, tmp_path / "restored").stdout)["segments"] > 0
    serve_restored(world, tmp_path / "restored", tmp_path)
    eve.sign_in()
    assert names(eve)[-6:] == ["n0", "m0", "n1", "m1", "n2", "m2"]


def test_a_target_that_is_away_is_said_and_the_log_catches_up(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    wait_shipped(world, now())
    away = backup.rename(backup.with_name("away"))
    for i in range(20):
        write(eve, f"n{i}")
    wait_until(lambda: any("log.failing" in line for line in world.vault.server.lines), "its complaint")
    away.rename(backup)
    wait_shipped(world, now())
    assert any("log.resumed" in line for line in world.vault.server.lines)
    passphrase = passphrase_of(world, tmp_path)
    world.vault.stop()
    restore(passphrase, backup, tmp_path / "restored")
    serve_restored(world, tmp_path / "restored", tmp_path)
    eve.sign_in()
    assert names(eve)[-20:] == [f"n{i}" for i in range(20)]


def test_segments_that_no_snapshot_needs_go(world, backup):
    eve = world.make_subject(ADA)
    for i in range(3):
        write(eve, f"n{i}")
        wait_shipped(world, now())
    first = world.operator.get("/v1/snapshots").json()["items"][0]
    made = world.operator.post("/v1/snapshots", {"kind": "full"}).json()
    assert len(segments(backup)) >= 3
    world.operator.delete(f"/v1/snapshots/{first['id']}")
    world.operator.post("/v1/snapshots", {"kind": "full"})
    numbers = [int(f.stem) for f in segments(backup)]
    assert numbers == sorted(numbers) and (not numbers or numbers[0] >= 3)
    assert made["id"] != first["id"]


def test_a_clean_stop_ships_the_last_write(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    write(eve, "the last")
    passphrase = passphrase_of(world, tmp_path)
    world.vault.stop()
    restore(passphrase, backup, tmp_path / "restored")
    serve_restored(world, tmp_path / "restored", tmp_path)
    eve.sign_in()
    assert names(eve)[-1] == "the last"
