"""kill -9 while the log is shipped and snapshots are made, TRESOR_SHIPPING_ROUNDS times: what the backup lists is whole, from the backup
alone comes back all that was answered but for the last second, and the next snapshot goes on. So it does after the backup was away, or full.
"""
import contextlib
import json
import os
import random
import shutil
import subprocess
import threading
import time
import types

import pytest
import requests

from cli_tools import wait_until
from tresor_client import ADA, Client, Server, Vault, World, expect_problem, run_tresor

ROUNDS = int(os.environ.get("TRESOR_SHIPPING_ROUNDS", "30"))
LANES = 3
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout)
FLAGS = ("--backup-log", "--backup-every-s", "2", "--backup-drill-every-s", "0", "--backup-full-every", "4", "--backup-keep-last", "6",
         "--backup-keep-daily", "0", "--backup-keep-weekly", "0", "--backup-keep-monthly", "0", "--metrics-listen", "127.0.0.1:0")


class Lane:
    """Writes records lane.0, lane.1, ... each after the one before it was answered."""

    def __init__(self, number):
        self.number, self.next = number, 0
        self.answered = []  # (when, name)
        self.slowest = 0.0

    def run(self, client, stop):
        path = f"/v1/subjects/{client.subject}/records"
        try:
            while not stop.is_set():
                name, begun = f"{self.number}.{self.next}", time.monotonic()
                client.post(path, {"type": "contact", "data": {**ADA, "name": name}})
                self.next += 1
                self.answered.append((time.monotonic(), name))
                self.slowest = max(self.slowest, self.answered[-1][0] - begun)
        except LOST:
            self.next += 1  # it may have been written: its name is not used again


def keep_making(operator, stop):
    """One snapshot after the other, so that many a kill meets one."""
    try:
        while not stop.is_set():
            operator.request("POST", "/v1/snapshots", {"kind": "incremental"}, expect=(201, 202, 409))
            stop.wait(0.02)
    except LOST:
        pass


def signed_in(world, who):
    client = Client(world.vault, who.uid, who.password)
    client.sign_in()
    client.subject = getattr(who, "subject", None)
    return client


def listed(operator):
    return [item["id"] for item in operator.get("/v1/snapshots").json()["items"]]


def log_is_on(operator):
    answer = operator.get("/v1/snapshots").json()
    return answer["log"] is not None and answer["items"]


@contextlib.contextmanager
def restored(world, backup, folder):
    """A server of what is restored from the backup, and the report. The first vault's server does not run."""
    done = run_tresor("restore", "--from", backup, "--data", folder, check=0,
                      TRESOR_KEYRING_FILE=str(world.vault.data / "keyring.passphrase"))
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, folder)
    server = Server(folder)
    server.start()
    try:
        yield types.SimpleNamespace(server=server, url=server.url, port=server.port, ca=server.ca, secrets=[]), json.loads(done.stdout)
    finally:
        server.kill()
        shutil.rmtree(folder)


def names_in(vault, who):
    client = Client(vault, who.uid, who.password)
    client.sign_in()
    return [r["data"]["name"] for r in client.pages(f"/v1/subjects/{who.subject}/records", limit=100)]


def check_whole(vault, backup, known):
    """Each file with a snapshot's name opens and restores; those that were seen to are not tried again."""
    there = {path.stem: path for path in (backup / "snapshots").glob("[!.]*.tresor")}
    for name in there.keys() - known:
        verdict = json.loads(run_tresor("backup", "verify", there[name], "--data", vault.data, "--scratch", vault.data.parent / "tried",
                                        check=0).stdout)
        assert verdict["ok"] is True, verdict
    known.update(there)
    return set(there)


def check_restored(there, lanes, must_until):
    """Of each lane what was written up to some moment, and all that was answered before `must_until`. Gives the lost answers' times."""
    lost = []
    for lane in lanes:
        mine = [name for name in there if name.startswith(f"{lane.number}.")]
        numbers = [int(name.split(".")[1]) for name in mine]
        assert numbers == sorted(set(numbers))
        answered = [name for _, name in lane.answered]
        assert [name for name in answered if int(name.split(".")[1]) <= max(numbers, default=-1)] == [n for n in answered if n in set(mine)], \
            "a gap: not one moment"
        lost += [at for at, name in lane.answered if name not in set(mine)]
    early = [at for at in lost if at < must_until]
    assert not early, f"{len(early)} answered writes are lost, the oldest {must_until - min(early):.2f} s too old"
    return lost


@pytest.mark.timeout(3600)
def test_kill_while_shipping(tmp_path):
    backup = tmp_path / "backup"
    backup.mkdir()
    world = World(Vault(tmp_path, "--backup-dir", backup, *FLAGS).start())
    vault, rng = world.vault, random.Random(20260302)
    lanes, known = [Lane(n) for n in range(LANES)], set()
    safe_until, losses, parts = 0.0, [], 0  # what was answered before that is in the backup
    for number in range(ROUNDS):
        operator, stop = signed_in(world, world.operator), threading.Event()
        early = number > 0 and rng.random() < 0.25  # before the log has begun anew
        if not early:
            wait_until(lambda: log_is_on(operator), "the log")
        writers = [threading.Thread(target=lane.run, args=(signed_in(world, world.subject), stop)) for lane in lanes]
        threads = [*writers, threading.Thread(target=keep_making, args=(operator, stop))]
        for lane in lanes:
            lane.slowest = 0.0
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0, 0.3) if early else rng.uniform(1, 3))
        killed = time.monotonic()
        vault.server.kill()
        stop.set()
        for thread in threads:
            thread.join(90)
            assert not thread.is_alive()
        parts += len(list((backup / "snapshots").glob(".part-*")))
        whole = check_whole(vault, backup, known)
        if not early:  # a segment is three flushes, and a write is one
            safe_until = killed - 1.0 - 3 * max(lane.slowest for lane in lanes)
        with restored(world, backup, tmp_path / "restored") as (copy, report):
            lost = check_restored(names_in(copy, world.subject), lanes, safe_until)
        if not early:
            losses.append(max((killed - at for at in lost), default=0.0))
        assert report["erased"] == {"by_ledger": 0, "without_key": 0, "to_complete": 0}
        vault.start()
        operator = signed_in(world, world.operator)
        assert all(id in whole or id > max(whole) for id in listed(operator)), "half a snapshot is listed"
        assert vault.verify_audit()[0] == 0
    wait_until(lambda: operator.request("POST", "/v1/snapshots", None).status_code == 201, "the next snapshot")
    assert not list((backup / "snapshots").glob(".part-*"))
    assert operator.post("/v1/snapshots/drill", None, expect=200).json()["state"] == "good"
    vault.stop()
    print(f"{ROUNDS} kills, {sum(len(lane.answered) for lane in lanes)} answered writes, {len(known)} snapshots, {parts} of them cut off; "
          f"oldest lost write {max(losses, default=0):.2f} s before the kill, median {sorted(losses)[len(losses) // 2]:.2f} s")


# ---- away, full ----

def metrics(vault):
    port = [json.loads(line)["port"] for line in vault.server.lines if '"listener":"metrics"' in line][-1]
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("tresor_")}


def write(client, name):
    client.post(f"/v1/subjects/{client.subject}/records", {"type": "contact", "data": {**ADA, "name": name}})


def goes_on(world, backup, tmp_path, names):
    """The log has caught up, the next snapshot and a drill are good, and the backup has all of it."""
    wait_until(lambda: metrics(world.vault)["tresor_backup_log_age_seconds"] == 0, "the log")
    assert any('"log.resumed"' in line for line in world.vault.server.lines)
    wait_until(lambda: world.operator.request("POST", "/v1/snapshots", None).status_code == 201, "the next snapshot")
    assert world.operator.post("/v1/snapshots/drill", None, expect=200).json()["state"] == "good"
    assert not list(backup.rglob(".part-*"))
    world.vault.stop()
    check_whole(world.vault, backup, set())
    with restored(world, backup, tmp_path / "restored") as (copy, _):
        assert names_in(copy, world.subject) == names


def failing(vault, words):
    return any('"log.failing"' in line and words in line for line in vault.server.lines)


def test_a_backup_that_is_away_for_a_while(tmp_path):
    backup = tmp_path / "backup"
    backup.mkdir()
    world = World(Vault(tmp_path, "--backup-dir", backup, *FLAGS, "--backup-every-s", "0").start())
    wait_until(lambda: log_is_on(world.operator), "the log")
    before = listed(world.operator)
    write(world.subject, "before")
    away = backup.rename(tmp_path / "away")
    write(world.subject, "meanwhile")
    wait_until(lambda: failing(world.vault, "cannot be reached"), "a word on it")
    expect_problem(world.operator.request("POST", "/v1/snapshots", None), 503, "storage-error")
    assert metrics(world.vault)["tresor_backup_log_age_seconds"] > 0
    away.rename(backup)
    write(world.subject, "after")
    assert set(listed(world.operator)) >= set(before)
    goes_on(world, backup, tmp_path, [ADA["name"], "before", "meanwhile", "after"])


@pytest.fixture
def small(tmp_path):
    """A backup folder on a disk of 8 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "backup"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "none", str(folder)], check=True, stdin=subprocess.DEVNULL)
    yield folder
    subprocess.run(["umount", str(folder)], check=True, stdin=subprocess.DEVNULL)


def test_a_backup_disk_that_is_full_for_a_while(small, tmp_path):
    world = World(Vault(tmp_path, "--backup-dir", small, *FLAGS, "--backup-every-s", "0").start())
    wait_until(lambda: log_is_on(world.operator), "the log")
    before = listed(world.operator)
    wait_until(lambda: metrics(world.vault)["tresor_backup_log_age_seconds"] == 0, "the log")
    with open(small / "filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    for i in range(3):
        write(world.subject, f"meanwhile {i}")
    wait_until(lambda: failing(world.vault, "No space left"), "a word on it")
    expect_problem(world.operator.request("POST", "/v1/snapshots", None), 507, "storage-full")
    assert set(listed(world.operator)) == set(before)
    assert check_whole(world.vault, small, set()) == set(before)
    (small / "filler").unlink()
    write(world.subject, "after")
    goes_on(world, small, tmp_path, [ADA["name"], *(f"meanwhile {i}" for i in range(3)), "after"])
