#!/usr/bin/env python3
"""Snapshots of a filled vault beside their floors in the same run: `cp` with fsync of the same file, and OpenSSL alone.

    TRESOR_BINARY=build/tresor tests/bench/snapshots.py [MEGABYTES]

With 1,200 MB and more the vault goes beyond the page with byte 2^30, which SQLite never uses. Printed: rates and their part of the
floors, resident memory while one is made, what one costs after 1 MiB has changed, how long eight writers wait with no snapshot,
beside one, and with the log shipped, how far the WAL grows meanwhile, and what a restore says.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))
from tresor_client import ADA, Vault, World  # noqa: E402

MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 200
LINE = json.dumps({**ADA, "notes": "x" * 30000}).encode() + b"\n"
CORES = os.cpu_count()


def fill(world, megabytes):
    """Subjects with a record of some 30 KB each, by import."""
    database = world.vault.data / "vault.db"
    while database.stat().st_size < megabytes * 1e6:
        world.service.imports(LINE * 1000, "?type=contact")


def openssl_rate(algorithm, size, *more):
    """MB/s of all processors together."""
    said = subprocess.run(["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", str(size), "-multi", str(CORES),
                           *more, "-evp", algorithm], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"([\d.]+)k\s*$", said).group(1)) / 1e3


def openssl_bounds():
    """(sealing alone, sealing and what each page needs before: its HMAC-SHA-256 verified and its AES-CBC deciphered)."""
    gcm, sha, cbc = openssl_rate("aes-256-gcm", 65536), openssl_rate("sha256", 4096), openssl_rate("aes-256-cbc", 4096, "-decrypt")
    return gcm, 1 / (1 / gcm + 1 / sha + 1 / cbc)


def copy_rate(path, to):
    """`cp` of the same file, flushed, MB/s."""
    os.sync()
    begun = time.monotonic()
    subprocess.run(["cp", path, to], check=True)
    fd = os.open(to, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    took = time.monotonic() - begun
    to.unlink()
    return path.stat().st_size / 1e6 / took


class Watch:
    """The most that a figure comes to while something runs."""

    def __init__(self, read):
        self.read, self.most, self.stop = read, read(), threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.stop.wait(0.01):
            self.most = max(self.most, self.read())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def take(world, kind):
    begun = time.monotonic()
    made = world.operator.post("/v1/snapshots", {"kind": kind}).json()
    return made["bytes"] / 1e6 / (time.monotonic() - begun), made


def cpu_seconds(vault):
    """Of the server, all threads."""
    fields = pathlib.Path(f"/proc/{vault.server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rates(world, folder):
    for _ in range(5):
        gcm, combined = openssl_bounds()
        os.sync()  # as before cp
        before, cpu = world.vault.server.rss_kib()[0], cpu_seconds(world.vault)
        with Watch(lambda: world.vault.server.rss_kib()[0]) as resident:
            rate, made = take(world, "full")
        cpu = cpu_seconds(world.vault) - cpu
        path = folder / "backup" / "snapshots" / (made["id"] + ".tresor")
        cp = copy_rate(path, folder / "copy")
        bounds = {"cp": cp, "openssl, sealing alone": gcm, "openssl, verify, decipher and seal": combined}
        print(f"full: {made['bytes'] / 1e6:.0f} MB, {rate:.0f} MB/s, {made['bytes'] / 1e6 / cpu:.0f} MB for each second of a processor; "
              + "; ".join(f"{rate / bound:.2f} of {name} ({bound:.0f} MB/s)" for name, bound in bounds.items())
              + f"; resident {resident.most - before:+d} KiB of {before}", flush=True)
    return made


def after_a_mebibyte(world):
    take(world, "incremental")
    for _ in range(35):
        world.subject.post(f"/v1/subjects/{world.subject.subject}/records", {"type": "contact", "data": {**ADA, "notes": "y" * 30000}})
    begun = time.monotonic()
    _, made = take(world, "incremental")
    print(f"after 1 MiB has changed: {made['bytes'] / 2**20:.2f} MiB in {time.monotonic() - begun:.2f} s", flush=True)


def stop_seconds(vault):
    port = next(json.loads(line)["port"] for line in reversed(vault.server.lines) if '"listener":"metrics"' in line)
    said = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return float(re.search(r"^tresor_snapshot_stop_seconds (\S+)", said, re.M).group(1))


def beside_writers(world, what, snapshot):
    """Eight writers, for four seconds or as long as a snapshot takes."""
    subjects = [world.make_subject(ADA) for _ in range(8)]
    stop, waits = threading.Event(), []

    def write(client):
        while not stop.is_set():
            begun = time.monotonic()
            client.post(f"/v1/subjects/{client.subject}/records", {"type": "contact", "data": ADA})
            waits.append((begun, time.monotonic() - begun))

    threads = [threading.Thread(target=write, args=(s,)) for s in subjects]
    [t.start() for t in threads]
    time.sleep(0.5)
    wal = world.vault.data / "vault.db-wal"
    begun, rate = time.monotonic(), 0
    with Watch(lambda: wal.stat().st_size) as longest:
        if snapshot:
            rate, _ = take(world, "full")
        else:
            time.sleep(4)
    ended = time.monotonic()
    stop.set()
    [t.join() for t in threads]
    took = sorted(w for at, w in waits if begun < at < ended)
    print(f"8 writers, {what}: {len(took) / (ended - begun):.0f} writes/s, median {took[len(took) // 2] * 1e3:.1f} ms, "
          f"99 % {took[len(took) * 99 // 100] * 1e3:.1f} ms, slowest {took[-1] * 1e3:.1f} ms; WAL {longest.most / 1e6:.1f} MB"
          + (f"; {rate:.0f} MB/s" if snapshot else "")
          + f"; the writer was kept at most {stop_seconds(world.vault) * 1e3:.2f} ms", flush=True)


def restored(vault, folder):
    begun = time.monotonic()
    done = subprocess.run([vault.binary, "restore", "--from", folder / "backup", "--data", folder / "restored"],
                          capture_output=True, text=True,
                          env={**os.environ, "TRESOR_KEYRING_FILE": str(vault.data / "keyring.passphrase")})
    print(f"restored in {time.monotonic() - begun:.1f} s, status {done.returncode}: {done.stdout or done.stderr}")


def main(folder):
    (folder / "backup").mkdir()
    flags = ["--backup-dir", folder / "backup", "--backup-every-s", "0", "--backup-keep-last", "5", "--backup-keep-daily", "0",
             "--backup-keep-weekly", "0", "--backup-keep-monthly", "0", "--metrics-listen", "127.0.0.1:0"]
    vault = Vault(folder, *flags).start()
    try:
        world = World(vault)
        fill(world, MEGABYTES)
        made = rates(world, folder)
        after_a_mebibyte(world)
        beside_writers(world, "no snapshot", False)
        beside_writers(world, "beside a snapshot", True)
        shipped = vault.server.flags
        vault.stop()
        vault.server.flags = [*shipped, "--backup-log"]
        vault.start()
        beside_writers(world, "the log is shipped", False)
        beside_writers(world, "the log is shipped, beside a snapshot", True)
        begun = time.monotonic()
        _, made = take(world, "incremental")
        world.operator.request("POST", f"/v1/snapshots/{made['id']}/verify", None)
        print(f"verified in {time.monotonic() - begun:.1f} s", flush=True)
        vault.stop()
        restored(vault, folder)
    finally:
        if vault.server.alive():
            vault.server.kill()


with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
    main(pathlib.Path(scratch))
