#!/usr/bin/env python3
"""Snapshots of a filled vault: rate beside `cp` of the same file in the same run, resident memory, and how long eight writers wait.

    TRESOR_BINARY=build/tresor tests/bench/snapshots.py [MEGABYTES]
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))
from tresor_client import ADA, Vault, World  # noqa: E402

MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 200
BATCH = 20000


def fill(world, megabytes):
    """Subjects with a record of some 700 bytes each, by import."""
    database = world.vault.data / "vault.db"
    line = json.dumps({**ADA, "name": "x" * 500}).encode() + b"\n"
    while database.stat().st_size < megabytes << 20:
        world.service.imports(line * BATCH, "?type=contact")


def copy_rate(path, to):
    """`cp` of the same file, flushed, MB/s."""
    os.sync()
    begun = time.monotonic()
    subprocess.run(["cp", path, to], check=True)
    fd = os.open(to, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return path.stat().st_size / 1e6 / (time.monotonic() - begun)


def take(world):
    begun = time.monotonic()
    made = world.operator.post("/v1/snapshots", None).json()
    return made["bytes"] / 1e6 / (time.monotonic() - begun), made


def beside_writers(world):
    subjects = [world.make_subject(ADA) for _ in range(8)]
    stop, waits = threading.Event(), [[] for _ in subjects]

    def write(i):
        while not stop.is_set():
            begun = time.monotonic()
            subjects[i].post(f"/v1/subjects/{subjects[i].subject}/records", {"type": "contact", "data": ADA})
            waits[i].append((begun, time.monotonic() - begun))

    threads = [threading.Thread(target=write, args=(i,)) for i in range(len(subjects))]
    [t.start() for t in threads]
    time.sleep(3)
    begun = time.monotonic()
    rate, _ = take(world)
    ended = time.monotonic()
    stop.set()
    [t.join() for t in threads]
    every = [w for one in waits for w in one]
    quiet = sorted(w for at, w in every if at + w < begun)
    busy = sorted(w for at, w in every if begun < at < ended)
    show = lambda w: f"{len(w)} writes, median {w[len(w) // 2] * 1e3:.1f} ms, slowest {w[-1] * 1e3:.1f} ms" if w else "none"
    print(f"beside 8 writers: {rate:.0f} MB/s; before it: {show(quiet)}; during it: {show(busy)}")


with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
    folder = pathlib.Path(folder)
    (folder / "backup").mkdir()
    vault = Vault(folder, "--backup-dir", folder / "backup", "--backup-every-s", "0", "--backup-keep-last", "2").start()
    try:
        world = World(vault)
        fill(world, MEGABYTES)
        before = vault.server.rss_kib()[0]
        for _ in range(3):
            rate, made = take(world)
            path = folder / "backup" / "snapshots" / (made["id"] + ".tresor")
            print(f"snapshot: {made['bytes'] / 1e6:.0f} MB, {rate:.0f} MB/s; cp: {copy_rate(path, folder / 'copy'):.0f} MB/s; "
                  f"resident {vault.server.rss_kib()[0] - before:+d} KiB, peak {vault.server.rss_kib()[1]} KiB")
        verified = time.monotonic()
        world.operator.request("POST", f"/v1/snapshots/{made['id']}/verify", None)
        print(f"verified in {time.monotonic() - verified:.1f} s")
        beside_writers(world)
        vault.stop()
        begun = time.monotonic()
        done = subprocess.run([vault.binary, "restore", "--from", folder / "backup", "--data", folder / "restored"],
                              capture_output=True, text=True,
                              env={**os.environ, "TRESOR_KEYRING_FILE": str(vault.data / "keyring.passphrase")})
        print(f"restored in {time.monotonic() - begun:.1f} s: {done.stdout or done.stderr}")
    finally:
        if vault.server.alive():
            vault.server.kill()
