"""`./dev bench`: rates, latencies, CPU and memory of what a service does, beside what CivetWeb and SQLCipher give alone.

    /usr/bin/python3 tests/bench/bench.py BUILD [--seconds S] [--connections N,N] [--out DIR] [--scratch DIR] [RECORDS...]

BUILD is the folder of a release build with tresor and the helpers load and floor (tests/tools). For each number of RECORDS there is a
new vault. Everything goes over TLS on loopback, with keep-alive; each connection has a lane of its own, and each request ends its
token and leaves an audit entry, durably, before the answer. A machine may be a third slower for some seconds: what is compared is
measured in turns, ROUNDS times, and the figures are medians, those of ratios over the ratios of each round. Prints a table; writes it
to DIR/bench.md, and a chart to DIR/bench.svg. Exit 1 when a request failed.
"""
import argparse
import http.client
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
CHUNK = 100_000  # records in one import
ENTRY = 380  # bytes of the audit entry of a read
ROUNDS = 5
TICKS = os.sysconf("SC_CLK_TCK")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("records", type=int, nargs="*")
    parser.add_argument("--seconds", type=float, default=0.8, help="of each measurement in each round")
    parser.add_argument("--connections", default="1,8,64")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs")
    parser.add_argument("--scratch", type=pathlib.Path, help="where the vaults are made; default: in BUILD, which is on a disk")
    return parser.parse_intermixed_args()


ARGS = arguments()
BUILD = ARGS.build.resolve()
CONNECTIONS = [int(n) for n in ARGS.connections.split(",")]
os.environ["TRESOR_BINARY"] = str(BUILD / "tresor")
sys.path.insert(0, str(ROOT / "tests" / "api"))
import report  # noqa: E402
import tresor_client  # noqa: E402
from tresor_client import Vault, World  # noqa: E402

tresor_client.CONTRACT.check = lambda *_: None  # the tests' client is not what is measured


# ---- people who do not exist ----

SEED = json.loads((DATA / "people.json").read_text(encoding="utf-8"))


def person(n):
    given, family = SEED["given"][n % 24], SEED["family"][n // 24 % 23]
    postcode, town = SEED["towns"][n // 7 % 9]
    return {"given": given, "family": family, "email": f"person.{n}@mail.example", "phone": f"+41 00 {n:09}",
            "birthday": f"{1940 + n % 65}-{n % 12 + 1:02}-{n % 28 + 1:02}",
            "address": {"street": f"{SEED['streets'][n // 5 % 10]} {n % 140 + 1}", "postcode": postcode, "town": town}}


# ---- the processes ----

def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def file_lines(folder, lines):
    path = folder / "values"
    path.write_text("".join(line + "\n" for line in lines))
    return path


class Target:
    """Whom the load goes to."""

    def __init__(self, port, pid, folder):
        self.port, self.pid, self.folder = port, pid, folder

    def load(self, request, lanes, *, headers=(), body=None, values=(), once=False, seconds=None):
        """`lanes`: clients, which go on with the tokens that come out; or how many connections without credentials."""
        clients = [] if isinstance(lanes, int) else lanes
        lines = [request, *headers, "", *([body] if body else []), ".",
                 *(f"{c.token} {c.client} {c.uid}" for c in clients), *(["-"] * (lanes if not clients else 0))]
        more = [str(file_lines(self.folder, values))] if values else []
        before = cpu_seconds(self.pid)
        out = subprocess.run([BUILD / "load", "127.0.0.1", str(self.port), str(seconds or ARGS.seconds), *more, *(["once"] if once else [])],
                             input="\n".join(lines) + "\n", capture_output=True, text=True, check=True).stdout
        result = json.loads(out)
        count = result["requests"] or 1
        result["server_us"] = (cpu_seconds(self.pid) - before) / count * 1e6
        result["client_us"] = result["cpu_seconds"] / count * 1e6
        for client, token in zip(clients, result["tokens"]):
            client.token = token
        return result


class Floor(Target):
    """CivetWeb in the same build, which answers everything with the same bytes."""

    def __init__(self, folder, answer_bytes):
        self.process = subprocess.Popen([BUILD / "floor", "serve", folder, "128", str(answer_bytes)], stdout=subprocess.PIPE, text=True)
        super().__init__(json.loads(self.process.stdout.readline())["port"], self.process.pid, folder)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


def raw_commits(folder, rows, record=0):
    """SQLCipher's durable commits of so many rows."""
    for old in folder.glob("raw.db*"):
        old.unlink()
    out = subprocess.run([BUILD / "floor", "commit", folder / "raw.db", str(ARGS.seconds), str(rows), str(ENTRY), *([str(record)] if record else [])],
                         capture_output=True, text=True, check=True).stdout
    result = json.loads(out)
    return {**result, "server_us": result["cpu_us"], "client_us": 0.0, "failures": 0}


def in_turns(*measurements):
    """Of each the results of the rounds."""
    return zip(*[[measure() for measure in measurements] for _ in range(ROUNDS)])


def middle(results, key):
    return statistics.median(r[key] for r in results)


def ratio(results, key, floors):
    """To what was measured beside it, or None when nothing was."""
    return statistics.median(r[key] / (f[key] or 1) for r, f in zip(results, floors)) if floors else None


# ---- a vault with so many records ----

class Case:
    """One number of records."""

    def __init__(self, folder, records, show):
        self.folder, self.records, self.show = folder, records, show
        self.rows, self.notes = [], {}
        self.paths, self.emails, self.others = [], [], []
        self.vault = Vault(folder).start()
        self.target = Target(self.vault.port, self.vault.server.process.pid, folder)

    def prepare(self):
        self.world = World(self.vault)
        self.world.officer.put("/v1/types/person", json.loads((DATA / "types" / "person.json").read_text()), expect=201)
        self.purpose = [f"Access-Purpose: {self.world.activity}"]
        # Whose records are read: they are spread over all that is imported.
        self.readers = [self.grant(self.world.make_subject()) for _ in range(max(2, min(8, self.records // 500)))]

    def grant(self, subject):
        self.world.grant(subject, types=("person",), actions=("read", "write"))
        return subject

    def add(self, what, connections, results, of_server=None, of_commits=None):
        row = {"records": self.records, "what": what, "connections": connections, "rate": middle(results, "per_second"),
               "p50_ms": middle(results, "p50_us") / 1000, "p99_ms": middle(results, "p99_us") / 1000,
               "server_us": middle(results, "server_us"), "client_us": middle(results, "client_us"),
               "failures": sum(r["failures"] for r in results),
               "of_server": ratio(results, "per_second", of_server), "cpu_of_server": ratio(results, "server_us", of_server),
               "of_commits": ratio(results, "per_second", of_commits),
               "in_commits": ratio(results, "p50_us", of_server and of_commits)}
        self.rows.append(row)
        self.show(row)

    def rss_mib(self):
        """(resident, most since forget_peak)"""
        return [kib / 1024 for kib in self.vault.server.rss_kib()]

    def forget_peak(self):
        """A sign-in takes 128 MiB for scrypt, for a moment; what comes after it is what is asked for here."""
        pathlib.Path(f"/proc/{self.target.pid}/clear_refs").write_text("5")

    # -- import --

    def import_lines(self, lines):
        """How long it took, and the results."""
        body = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()
        began = time.monotonic()
        parts = (body[at:at + 65536] for at in range(0, len(body), 65536))  # each with the time-out for itself
        answer = self.world.service.request("POST", "/v1/import", data=parts, content_type="application/x-ndjson", expect=200,
                                            purpose=self.world.activity, timeout=3600)
        took = time.monotonic() - began
        results = answer.content.splitlines()
        assert len(results) == len(lines) and all(b'"status":201' in r for r in results), results[:2]
        return took, results

    def fill(self):
        self.forget_peak()
        every = max(10, self.records // 20_000)  # of the lines one belongs to a reader
        times, before = [], cpu_seconds(self.target.pid)
        for first in range(0, self.records, CHUNK):
            numbers = range(first, min(first + CHUNK, self.records))
            lines = [{"type": "person", "data": person(n)} for n in numbers]
            for n in numbers[::every]:
                lines[n - first]["subject"] = self.readers[n // every % len(self.readers)].subject
            took, results = self.import_lines(lines)
            times.append((len(numbers), took))
            for n, text in zip(numbers[::every], results[::every]):
                made = json.loads(text)
                self.paths.append(f"{made['subject']}/records/{made['record']}")
                self.emails.append(person(n)["email"])
            if len(self.others) < 4000:
                self.others += [json.loads(text)["subject"] for at, text in enumerate(results[:8000]) if at % every]
        seconds = sum(t for _, t in times)
        result = {"per_second": self.records / seconds, "p50_us": seconds * 1e6, "p99_us": seconds * 1e6, "failures": 0,
                  "server_us": (cpu_seconds(self.target.pid) - before) / self.records * 1e6, "client_us": 0.0}
        self.add("import, records", 1, [result], of_commits=[raw_commits(self.folder, 64, 300)])
        if len(times) > 1:
            self.notes["imports"] = f"import of the first {times[0][0]:,} records: {times[0][0] / times[0][1]:,.0f}/s, of the last: {times[-1][0] / times[-1][1]:,.0f}/s"
        self.notes["resident after the import"], self.notes["resident at most in it"] = self.rss_mib()
        self.notes["files"] = {p.name: p.stat().st_size / 2**20 for p in sorted(self.vault.data.glob("*.db*"))}

    # -- requests --

    def lanes(self, client, count):
        lanes = []
        while len(lanes) < count:
            lanes += client.lanes(min(32, count - len(lanes)))
        return lanes

    def requests(self):
        self.forget_peak()
        lanes = self.lanes(self.world.service, max(CONNECTIONS))
        json_type = ["Content-Type: application/json"]
        read = {"request": "GET /v1/subjects/{}", "headers": self.purpose, "values": self.paths}
        look_up = {"request": "POST /v1/lookup", "headers": self.purpose + json_type, "values": self.emails,
                   "body": '{"type":"person","field":"/email","value":"{}"}'}
        create = {"request": "POST /v1/subjects/{}/records", "headers": self.purpose + json_type, "values": [r.subject for r in self.readers],
                  "body": json.dumps({"type": "person", "data": person(self.records)})}
        bytes_of_read = self.target.load(lanes=lanes[:1], seconds=0.3, **read)["answer_bytes"]
        floor = Floor(self.folder, bytes_of_read)
        # The same bytes to parse for the floor: the head of a read.
        head = {"request": f"GET /v1/subjects/{self.paths[0]}",
                "headers": self.purpose + [f"access-token: {lanes[0].token}", f"client: {lanes[0].client}", f"uid: {lanes[0].uid}"]}
        try:
            for n in CONNECTIONS:
                a, b, health, reads, look_ups = in_turns(
                    lambda: floor.load(lanes=n, **head), lambda: raw_commits(self.folder, n), lambda: self.target.load("GET /healthz", n),
                    lambda: self.target.load(lanes=lanes[:n], **read), lambda: self.target.load(lanes=lanes[:n], **look_up))
                self.add("(a) CivetWeb alone, a constant", n, a)
                self.add("(b) SQLCipher alone, group commits", n, b)
                self.add("/healthz", n, health, a)
                self.add("read a record", n, reads, a, b)
                self.add("look up", n, look_ups, a, b)
            for n in CONNECTIONS:
                a, b, creates = in_turns(lambda: floor.load(lanes=n, **head), lambda: raw_commits(self.folder, n, 300),
                                         lambda: self.target.load(lanes=lanes[:n], **create))
                self.add("create a record", n, creates, a, b)
        finally:
            floor.stop()
        self.notes["resident at most under load"] = self.rss_mib()[1]

    # -- export --

    def export(self):
        count, subject = min(10_000, self.records), self.grant(self.world.subject)
        self.import_lines([{"type": "person", "data": person(n), "subject": subject.subject} for n in range(count)])
        times, before = [], cpu_seconds(self.target.pid)
        self.forget_peak()
        for _ in range(3):
            began = time.monotonic()
            connection = http.client.HTTPSConnection("127.0.0.1", self.vault.port, context=self.vault.tls())
            connection.request("GET", f"/v1/subjects/{subject.subject}/export", headers=subject.credentials())
            answer = connection.getresponse()
            content = answer.read()
            times.append(time.monotonic() - began)
            assert answer.status == 200, content[:300]
            subject.token = answer.headers["access-token"]
            connection.close()
        server_us = (cpu_seconds(self.target.pid) - before) / count / len(times) * 1e6
        assert len(json.loads(zipfile.ZipFile(io.BytesIO(content)).read("records/person.json"))["items"]) == count
        self.notes["resident at most in exports"] = self.rss_mib()[1]
        times.sort()
        self.add("export, records", 1, [{"per_second": count / times[1], "p50_us": times[1] * 1e6, "p99_us": times[-1] * 1e6,
                                                      "server_us": server_us, "client_us": 0.0, "failures": 0}])
        self.notes["export"] = f"a package of {count:,} records has {len(content) / 2**20:.1f} MiB"

    # -- erasure --

    def erasures(self):
        """Requests that an officer files, verifies and fulfils; the fulfilment is what is measured."""
        officer, json_type = self.world.officer, ["Content-Type: application/json"]
        self.forget_peak()
        counts = {n: max(1, min(60 * n if n < 32 else 12 * n, len(self.others) * n // sum(CONNECTIONS))) for n in CONNECTIONS}
        lanes = self.lanes(officer, max(CONNECTIONS))
        post = lambda path, n, values, body, seconds=300: self.target.load(  # noqa: E731
            f"POST {path}", lanes[:n], headers=json_type, body=body, values=values, once=True, seconds=seconds)
        total = sum(counts.values())
        assert post("/v1/requests", len(lanes), self.others[:total], '{"subject":"{}","kind":"erasure"}')["failures"] == 0
        ids = [one["id"] for one in officer.pages("/v1/requests?open=true", limit=100)]
        assert len(ids) == total
        assert post("/v1/requests/{}/verify", len(lanes), ids, '{"method":"known-contact"}')["failures"] == 0
        for n in CONNECTIONS:
            self.add("erasure", n, [post("/v1/requests/{}/fulfil", n, ids[:counts[n]], "{ }", ARGS.seconds * 25)])
            ids = ids[counts[n]:]

    def run(self):
        try:
            self.prepare()
            self.fill()
            self.requests()
            self.export()
            self.erasures()
            self.notes["resident at most in erasures"] = self.rss_mib()[1]
        finally:
            self.vault.stop()
        return self


def main():
    sizes = ARGS.records or [10_000, 100_000, 1_000_000]
    scratch = ARGS.scratch or BUILD
    facts = report.machine(BUILD, scratch)
    print("\n".join(facts) + "\n\n" + report.header(), flush=True)
    cases, began = [], time.monotonic()
    for records in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
            cases.append(Case(pathlib.Path(folder), records, lambda row: print(report.line(row), flush=True)).run())
            print(report.notes(cases[-1]) + "\n", flush=True)
    facts.append(f"{time.monotonic() - began:.0f} s in all, each figure the median of {ROUNDS} rounds of {ARGS.seconds:g} s")
    print(report.growth(cases))
    ARGS.out.mkdir(exist_ok=True)
    (ARGS.out / "bench.md").write_text(report.page(facts, cases), encoding="utf-8")
    (ARGS.out / "bench.svg").write_text(report.chart(facts, cases), encoding="utf-8")
    failed = [row for case in cases for row in case.rows if row["failures"]]
    for row in failed:
        print(f"{row['failures']} failed: {row['what']}, {row['connections']} connections, {row['records']:,} records", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
