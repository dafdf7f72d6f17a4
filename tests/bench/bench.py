"""Rates of the main things a service does, beside a constant answer of the same server, in one run. Figures, not a test.

    /usr/bin/python3 tests/bench/bench.py BINARY LOAD [SECONDS]

BINARY is a release build's tresor, LOAD its helper (tests/tools/load.c). Each connection has a lane of its own; each read and
create ends its token and leaves an audit entry, durably, before the answer.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
os.environ["TRESOR_BINARY"] = str(pathlib.Path(sys.argv[1]).resolve())
from tresor_client import Client, Vault, World  # noqa: E402

LOAD = str(pathlib.Path(sys.argv[2]).resolve())
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 3.0
DATA = {"name": "Ada Zwicky", "email": "ada.zwicky@quellenhof.example", "phone": "+41 31 555 01 23"}


def load(vault, method, path, headers, body, lanes):
    lines = [f"{method} {path}", *headers, "", *([body] if body else []), ".",
             *(f"{lane.token} {lane.client} {lane.uid}" if lane else "-" for lane in lanes)]
    out = subprocess.run([LOAD, "127.0.0.1", str(vault.port), str(SECONDS)], input="\n".join(lines) + "\n",
                         capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def main():
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(pathlib.Path(folder)).start()
        try:
            world = World(vault)
            service, subject = world.service, world.make_subject(DATA)
            world.grant(subject, service, actions=("read", "write"))
            record = f"/v1/subjects/{subject.subject}/records"
            purpose = [f"Access-Purpose: {world.activity}"]
            json_type = ["Content-Type: application/json"]
            cases = [
                ("constant answer", "GET", "/healthz", [], None, False),
                ("read a record", "GET", f"{record}/{subject.records[0]}", purpose, None, True),
                ("create a record", "POST", record, purpose + json_type, json.dumps({"type": "contact", "data": DATA}), True),
                ("look up", "POST", "/v1/lookup", purpose + json_type,
                 json.dumps({"type": "contact", "field": "/email", "value": DATA["email"], "limit": 1}), True),
            ]
            print(f"{'':18} {'conns':>5} {'req/s':>8} {'p50 ms':>7} {'p99 ms':>7} {'of constant':>11}  failures")
            for connections in (1, 8, 64):
                floor = None
                for name, method, path, headers, body, signed in cases:
                    lanes = make_lanes(service, connections) if signed else [None] * connections
                    r = load(vault, method, path, headers, body, lanes)
                    for lane in filter(None, lanes):  # their sessions make room for the next case's
                        service.delete(f"/v1/auth/sessions/{lane.client}")
                    floor = floor or r["per_second"]
                    print(f"{name:18} {connections:5} {r['per_second']:8.0f} {r['p50_us'] / 1000:7.2f} {r['p99_us'] / 1000:7.2f} "
                          f"{r['per_second'] / floor:11.2f}  {r['failures']}{' first: ' + str(r['first_failure']) if r['failures'] else ''}")
            print(f"resident memory: {vault.server.rss_kib()[0] / 1024:.0f} MiB")
        finally:
            vault.stop()


def make_lanes(service, count):
    lanes = []
    while len(lanes) < count:
        lanes += service.lanes(min(32, count - len(lanes)))
    return lanes


main()
