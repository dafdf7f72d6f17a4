"""An export of 100,000 records: its time, and how much the server's memory grows by it.

    TRESOR_BINARY=build/tresor python3 tests/bench/export.py [RECORDS]
"""
import http.client
import io
import json
import pathlib
import sys
import tempfile
import threading
import time
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))

from tresor_client import Vault, World  # noqa: E402

BATCH = 1000


def import_lines(subject, count):
    for i in range(count):
        yield json.dumps({"subject": subject, "type": "contact", "data": {
            "name": f"Person {i}", "email": f"person{i}@example.org", "age": i % 100, "tags": ["x" * 40, str(i)],
            "address": {"street": f"Kramgasse {i}", "city": "Bern"}}}).encode() + b"\n"


def main(records):
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(pathlib.Path(folder)).start()
        world = World(vault)
        subject = world.make_subject()
        world.grant(subject, actions=("read", "write"))
        started = time.monotonic()
        results = world.service.imports(import_lines(subject.subject, records), purpose=world.activity, timeout=3600)
        assert all(r["status"] == 201 for r in results if "status" in r), results[:2]
        print(f"imported {records} records in {time.monotonic() - started:.1f} s")
        subject.get(f"/v1/subjects/{world.subject.subject}", expect=403)
        before, most, ended = vault.server.rss_kib()[0], 0, threading.Event()

        def watch():
            nonlocal most
            while not ended.wait(0.02):
                most = max(most, vault.server.rss_kib()[0])

        watcher = threading.Thread(target=watch)
        watcher.start()
        started, parts = time.monotonic(), []
        connection = http.client.HTTPSConnection("127.0.0.1", vault.port, context=vault.tls())
        connection.request("GET", f"/v1/subjects/{subject.subject}/export", headers=subject.credentials())
        answer = connection.getresponse()
        assert answer.status == 200
        while part := answer.read(1 << 16):
            parts.append(part)
        seconds = time.monotonic() - started
        ended.set()
        watcher.join()
        content = b"".join(parts)
        items = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("records/contact.json"))["items"]
        assert len(items) == records and len({i["id"] for i in items}) == records
        print(json.dumps({"records": records, "seconds": round(seconds, 2), "zip_bytes": len(content), "rss_before_kib": before,
                          "rss_most_kib": most, "growth_mib": round((most - before) / 1024, 1)}))
        assert most - before < 64 * 1024
        vault.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
