"""A rotation of the master key while clients read and write, beside the same load without one. Exit 1 when a request failed, or
one was slower than 10 times the median of the run without a rotation.

    /usr/bin/python3 tests/bench/rotation.py BINARY LOAD [SUBJECTS [SECONDS]]

BINARY is a release build's tresor, LOAD its helper (tests/tools/load.c). Eight clients, each a process with a subject and a lane of
its own: half of them read a record, half of them store one.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
os.environ["TRESOR_BINARY"] = str(pathlib.Path(sys.argv[1]).resolve())
from tresor_client import Vault, World  # noqa: E402

LOAD = str(pathlib.Path(sys.argv[2]).resolve())
SUBJECTS = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
SECONDS = float(sys.argv[4]) if len(sys.argv) > 4 else 40.0
CLIENTS = 8
DATA = {"name": "Ada Zwicky", "email": "ada.zwicky@quellenhof.example", "phone": "+41 31 555 01 23"}


def begin(vault, subject, writes, seconds):
    """Start one client; its result is read by finish."""
    base = f"/v1/subjects/{subject.subject}/records"
    lane = subject.lanes(1)[0]
    head = [f"POST {base}", "Content-Type: application/json"] if writes else [f"GET {base}/{subject.records[0]}"]
    lines = [*head, "", *([json.dumps({"type": "contact", "data": DATA})] if writes else []), ".",
             f"{lane.token} {lane.client} {lane.uid}"]
    process = subprocess.Popen([LOAD, "127.0.0.1", str(vault.port), str(seconds)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    process.stdin.write("\n".join(lines) + "\n")
    process.stdin.close()
    return process


def finish(name, processes):
    results = [json.loads(p.stdout.read()) for p in processes]
    for p in processes:
        p.wait()
    median = sorted(r["p50_us"] for r in results)[len(results) // 2]
    r = {"failures": sum(r["failures"] for r in results), "p50": median, "p99": max(r["p99_us"] for r in results),
         "max": max(r["max_us"] for r in results), "reads": [r["p50_us"] for r in results[::2]],
         "writes": [r["p50_us"] for r in results[1::2]]}
    print(f"{name:22} {sum(r['per_second'] for r in results):7.0f} req/s  median {r['p50'] / 1000:.2f} ms"
          f" (reads {min(r['reads']) / 1000:.2f}, writes {max(r['writes']) / 1000:.2f})  p99 {r['p99'] / 1000:.2f} ms"
          f"  slowest {r['max'] / 1000:.2f} ms  failures {r['failures']}", flush=True)
    return r


def run(vault, subjects, seconds):
    return [begin(vault, subject, n % 2 == 1, seconds) for n, subject in enumerate(subjects)]


def rotate(world):
    """Rotate, and wait for the end; the seconds that it took."""
    began = time.monotonic()
    world.operator.post("/v1/keys/rotate", None)
    answered = time.monotonic() - began
    while world.operator.get("/v1/keys").json()["rewrapping"]:
        time.sleep(1)
    return answered, time.monotonic() - began


def main():
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(pathlib.Path(folder)).start()
        try:
            world = World(vault)
            for start in range(0, SUBJECTS, 20_000):
                lines = b"".join(b'{"name":"subject %d"}\n' % n for n in range(start, min(start + 20_000, SUBJECTS)))
                assert all(one["status"] == 201 for one in world.service.imports(lines, "?type=contact"))
            subjects = [world.make_subject(DATA) for _ in range(CLIENTS)]
            finish("warm-up", run(vault, subjects, 3))
            without = finish("without a rotation", run(vault, subjects, SECONDS))
            processes = run(vault, subjects, SECONDS)
            time.sleep(1)
            answered, took = rotate(world)
            still = all(p.poll() is None for p in processes)
            during = finish("during a rotation", processes)
            again = finish("without, once more", run(vault, subjects, SECONDS / 2))
            print(f"{SUBJECTS} subjects: answered after {answered * 1000:.0f} ms, all data keys wrapped again after {took:.1f} s"
                  f"{'' if still else ' (after the load had ended: give it more SECONDS)'}")
            limit = 10 * without["p50"]
            good = still and not during["failures"] + without["failures"] + again["failures"] and during["max"] <= limit
            print(f"slowest during / median without: {during['max'] / without['p50']:.1f}"
                  f" (slowest without / median without: {without['max'] / without['p50']:.1f}, {again['max'] / again['p50']:.1f}): {'good' if good else 'NOT GOOD'}")
            return 0 if good else 1
        finally:
            vault.stop()


sys.exit(main())
