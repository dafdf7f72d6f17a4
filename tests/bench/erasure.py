"""Erasures by an officer while services go on reading and writing. Figures; exit 1 when a request failed or memory grew without bound.

    /usr/bin/python3 tests/bench/erasure.py BINARY LOAD [ERASURES [LANES]]

BINARY is a release build's tresor, LOAD its helper (tests/tools/load.c). Each erasure is a request that is filed, verified and
fulfilled, with its receipt. Eight clients, each with a subject and a lane of its own, go on meanwhile: half of them read a
record, half of them store one.
"""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
os.environ["TRESOR_BINARY"] = str(pathlib.Path(sys.argv[1]).resolve())
import tresor_client  # noqa: E402
from tresor_client import Vault, World  # noqa: E402

LOAD = str(pathlib.Path(sys.argv[2]).resolve())
ERASURES = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
LANES = int(sys.argv[4]) if len(sys.argv) > 4 else 8
CLIENTS = 8
SLICE = 10.0
DATA = {"name": "Ada Zwicky", "email": "ada.zwicky@quellenhof.example", "phone": "+41 31 555 01 23"}
tresor_client.CONTRACT.check = lambda *_: None  # the client is not what is measured


def begin(vault, subject, lane, writes, seconds):
    base = f"/v1/subjects/{subject.subject}/records"
    head = [f"POST {base}", "Content-Type: application/json"] if writes else [f"GET {base}/{subject.records[0]}"]
    lines = [*head, "", *([json.dumps({"type": "contact", "data": DATA})] if writes else []), ".",
             f"{lane.token} {lane.client} {lane.uid}"]
    process = subprocess.Popen([LOAD, "127.0.0.1", str(vault.port), str(seconds)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    process.stdin.write("\n".join(lines) + "\n")
    process.stdin.close()
    return process


def load(vault, subjects, seconds):
    """One slice of the others' work; its figures."""
    processes = []
    for number, subject in enumerate(subjects):
        lane = subject.lanes(1)[0]
        processes.append(begin(vault, subject, lane, number % 2 == 1, seconds))
    results = [json.loads(p.stdout.read()) for p in processes]
    for subject in subjects:
        for one in subject.get("/v1/auth/sessions").json()["items"]:
            if one.get("lane"):
                subject.delete(f"/v1/auth/sessions/{one['client']}")
    return {"rate": sum(r["per_second"] for r in results), "failures": sum(r["failures"] for r in results),
            "p50": sorted(r["p50_us"] for r in results)[len(results) // 2] / 1000, "p99": max(r["p99_us"] for r in results) / 1000,
            "max": max(r["max_us"] for r in results) / 1000}


def show(name, r):
    print(f"{name:24} {r['rate']:7.0f} req/s  p50 {r['p50']:.2f} ms  p99 {r['p99']:.2f} ms  slowest {r['max']:.1f} ms  failures {r['failures']}", flush=True)


def erase(officer, subjects, done):
    for subject in subjects:
        began = time.monotonic()
        request = officer.post("/v1/requests", {"subject": subject, "kind": "erasure"}).json()["id"]
        officer.post(f"/v1/requests/{request}/verify", {"method": "known-contact"}, expect=200)
        filed = time.monotonic()
        answer = officer.request("POST", f"/v1/requests/{request}/fulfil", {})
        assert answer.status_code in (200, 202), answer.text
        done.append((time.monotonic() - filed, answer.status_code, time.monotonic() - began))


def watch(vault, stop, most):
    while not stop.wait(0.5):
        most.append(vault.server.rss_kib()[0] / 1024)


def main():
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(pathlib.Path(folder), "--rate-per-minute", "1000000").start()
        try:
            world = World(vault)
            ids = []
            for start in range(0, ERASURES, 5_000):
                lines = b"".join(b'{"name":"subject %d","email":"s%d@example.org"}\n' % (n, n) for n in range(start, min(start + 5_000, ERASURES)))
                ids += [one["subject"] for one in world.service.imports(lines, "?type=contact")]
            subjects = [world.make_subject(DATA) for _ in range(CLIENTS)]
            load(vault, subjects, 2)
            alone = load(vault, subjects, SLICE)
            show("the others alone", alone)
            lanes, done, memory, stop = world.officer.lanes(LANES), [], [vault.server.rss_kib()[0] / 1024], threading.Event()
            threading.Thread(target=watch, args=(vault, stop, memory), daemon=True).start()
            slices, began = [], time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
                work = [pool.submit(erase, lane, ids[n::LANES], done) for n, lane in enumerate(lanes)]
                while not all(w.done() for w in work):
                    slices.append(load(vault, subjects, SLICE))
                    show(f"beside, {len(done)} erased", slices[-1])
                for w in work:
                    w.result()
            took = time.monotonic() - began
            stop.set()
            show("the others afterwards", load(vault, subjects, SLICE))
            times = sorted(t for t, _, _ in done)
            print(f"{len(done)} erasures by {LANES} lanes in {took:.0f} s: {len(done) / took:.0f}/s, fulfilment p50 {times[len(times) // 2] * 1000:.0f} ms,"
                  f" p99 {times[len(times) * 99 // 100] * 1000:.0f} ms, slowest {times[-1] * 1000:.0f} ms; {sum(s == 202 for _, s, _ in done)} answered 202")
            print(f"resident memory: {memory[0]:.0f} MiB before, {max(memory):.0f} MiB at most, {memory[-1]:.0f} MiB at the end")
            good = not sum(s["failures"] for s in slices) and max(memory) < memory[0] + 64 and len(done) == ERASURES
            return 0 if good else 1
        finally:
            vault.stop()


sys.exit(main())
