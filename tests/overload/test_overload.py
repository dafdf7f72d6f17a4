"""Thousands of hostile connections; beside them somebody at another address whose requests must go on.

Each attack is a process of its own (attacker.py), on loopback. TRESOR_OVERLOAD_CONNECTIONS is how many, TRESOR_OVERLOAD_SECONDS how
long; with fewer than 1000 the kinds of attack are mixed in one, and the room for those who wait is made smaller with the threads.
"""
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tresor_client import BINARY, Client, Wire

SECONDS = float(os.environ.get("TRESOR_OVERLOAD_SECONDS", "12"))
COUNT = int(os.environ.get("TRESOR_OVERLOAD_CONNECTIONS", "2000"))
LATENCY = 4.0  # of any request of somebody who has a session: nobody else's crowd makes it wait for the 503 that comes after 5 s
SANITIZED = any(name in BINARY.read_bytes() for name in (b"__asan_init", b"__tsan_init"))
MEMORY_KIB = (600 if SANITIZED else 144) * 1024  # resident, when it is over, page caches and the pages of megabytes that were asked for included
THREADS = 128 if COUNT >= 1000 else 32
SERVER_FLAGS = ("--threads", THREADS, "--request-timeout-ms", 4000, "--idle-timeout-ms", 60000, "--metrics-listen", "127.0.0.1:0")
FOLDER = pathlib.Path(__file__).parent


class Elsewhere(HTTPAdapter):
    """From another address than the attacker's."""

    def init_poolmanager(self, *args, **more):
        super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **more)


class Healthy(threading.Thread):
    """Somebody who goes on working: a read with a fresh token, over a kept connection or a new one each time."""

    def __init__(self, world, keep):
        super().__init__(daemon=True)
        self.client, self.keep = world.subject.lanes(1)[0], keep
        self.path = f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}"
        self.took, self.fault = [], None
        self.over = threading.Event()

    def once(self):
        if not self.keep:
            self.client.http.close()
        # Once more where a connection ended while it was idle; but a 503 is not to be waited out in the same breath.
        self.client.http.mount("https://", Elsewhere(max_retries=Retry(1, respect_retry_after_header=False)))
        began = time.monotonic()
        self.client.get(self.path, timeout=30, key=f"k{began}")
        self.took.append(time.monotonic() - began)

    def run(self):
        try:
            while not self.over.is_set() or len(self.took) < 5:
                self.once()
                self.over.wait(0.02)
        except BaseException as fault:  # told in the test's own thread
            self.fault = fault

    def verdict(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive() and self.fault is None, repr(self.fault)
        self.took.sort()
        told = f"{len(self.took)} requests, median {self.took[len(self.took) // 2]:.3f} s, slowest {self.took[-1]:.2f} s"
        print("kept connection:" if self.keep else "new connections:", told)
        assert self.took[-1] < LATENCY, told


class Numbers:
    """What the server holds."""

    def __init__(self, vault):
        self.vault, self.pid = vault, vault.server.process.pid
        self.port = next(e["port"] for e in map(json.loads, vault.server.lines) if e.get("listener") == "metrics")

    def sockets(self):
        found = 0
        for one in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found += os.readlink(one).startswith("socket:")
            except FileNotFoundError:  # closed meanwhile
                pass
        return found

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name):
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def numbers(vault):
    return Numbers(vault)


@pytest.fixture
def beside(world, numbers):
    """Healthy clients run beside the test; afterwards the server is as it was, but for what the test's own clients keep open."""
    until(lambda: numbers.metric("tresor_http_waiting_connections") == 0, "somebody still waits")
    people = [Healthy(world, keep) for keep in (True, False)]
    for one in people:
        one.once()  # connected before it begins
    sockets = numbers.sockets()
    for one in people:
        one.start()
    yield people
    for one in people:
        one.verdict()
    until(lambda: numbers.metric("tresor_http_waiting_connections") == 0, "connections still wait")
    until(lambda: numbers.metric("tresor_http_active_requests") == 0, "requests still run")
    until(lambda: numbers.sockets() <= sockets + 10, f"{numbers.sockets()} sockets are open, not {sockets}")
    began = numbers.cpu()
    time.sleep(1)  # a second of rest, to see that nothing spins
    assert numbers.cpu() - began < 0.3
    print("resident:", numbers.vault.server.rss_kib()[0] // 1024, "MiB")
    assert numbers.vault.server.rss_kib()[0] < MEMORY_KIB


def run_attack(vault, kind, count, spread):
    done = subprocess.run([sys.executable, FOLDER / "attacker.py", kind, str(vault.port), str(count), str(SECONDS), str(int(spread))],
                          capture_output=True, text=True, timeout=SECONDS + 60)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)["opened"]


FROM_ONE = ("mute", "hello_drip", "hello_only", "head_drip", "body_drip", "chunk_drip", "idle", "reset")
FROM_MANY = ("mute", "hello_drip", "idle")


def attacks(kinds):
    return kinds if COUNT >= 1000 else [",".join(kinds)]


@pytest.mark.parametrize("kind", attacks(FROM_ONE))
def test_slow_connections_from_one_address(vault, beside, kind):
    assert run_attack(vault, kind, COUNT, spread=False) >= COUNT / 2


def test_a_flood_of_connections(vault, beside):
    assert run_attack(vault, "flood", 100, spread=False) >= 100 * SECONDS


@pytest.mark.parametrize("kind", attacks(FROM_MANY))
def test_slow_connections_from_as_many_addresses(vault, beside, kind):
    """Whoever says nothing whole takes no thread, and who is idle gives it up, wherever they are."""
    assert run_attack(vault, kind, COUNT, spread=True) >= COUNT / 2


def test_clients_that_never_read(world, numbers, beside):
    """Exports and pages of megabytes that nobody takes: cut when the request's time is over, however large they are."""
    subject = world.make_subject({"name": "Large"})
    for _ in range(10):
        lines = "".join(json.dumps({"type": "contact", "subject": subject.subject, "data": {"name": "x", "any": "y" * 60000}}) + "\n"
                        for _ in range(10))
        world.grant(subject, actions=("read", "write")) if _ == 0 else None
        answers = world.service.imports(lines.encode(), purpose=world.activity)
        assert {one["status"] for one in answers} == {201}, answers[0]
    page = f"/v1/subjects/{subject.subject}/records?limit=100"
    assert len(subject.get(page).content) > 5_000_000
    wires = []
    for i, lane in enumerate(subject.lanes(20)):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", world.vault.port))
        wire = Wire.__new__(Wire)
        wire.socket = world.vault.tls().wrap_socket(plain, server_hostname="127.0.0.1")
        path = page if i % 2 else f"/v1/subjects/{subject.subject}/export"
        head = "".join(f"{name}: {value}\r\n" for name, value in lane.credentials().items())
        wire.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode())
        wires.append(wire)
    until(lambda: numbers.metric("tresor_http_active_requests") >= 15, "the answers are under way")
    began = time.monotonic()
    until(lambda: numbers.metric("tresor_http_active_requests") <= 3, "answers that nobody reads are held")
    assert time.monotonic() - began < 15
    for wire in wires:
        wire.close()


def test_a_thousand_requests_in_one_go(vault, beside):
    with Wire(vault) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" * 1000)
        buffered = wire.socket.makefile("rb")
        answered = 0
        while answered < 1000:
            line = buffered.readline()
            assert line.startswith(b"HTTP/1.1 200 "), (answered, line)
            length = 0
            while (field := buffered.readline().strip()):
                if field.lower().startswith(b"content-length:"):
                    length = int(field.split(b":")[1])
            buffered.read(length)
            answered += 1


HEAD = b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
MONSTERS = {
    "a header of a megabyte": (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (1 << 20), {431}),
    "ten thousand headers": (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * 10000, {431}),
    "a target of a megabyte": (b"GET /" + b"a" * (1 << 20), {414, 431}),
    "two million tiny chunks": (HEAD + b"1\r\n \r\n" * 2000000, {400, 413}),
    "a chunk of 16 EiB": (HEAD + b"ffffffffffffffff\r\n" + b" " * 4096, {400, 413}),
    "a size that is none": (HEAD + b"-1\r\n \r\n", {400}),
    "an extension without an end": (HEAD + b"1;" + b"a" * (1 << 20), {400}),
    "trailers without an end": (HEAD + b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 200000, {400}),
}


def meet(vault, data, answers, monster):
    with Wire(vault, timeout=30) as wire:
        try:
            for at in range(0, len(data), 16384):
                if select.select([wire.socket], [], [], 0)[0]:
                    break  # it has answered
                wire.send(data[at:at + 16384])
        except OSError:  # the server need not take it all
            pass
        answers[monster] = wire.answer("POST")


def test_monsters(vault, beside):
    answers = {}
    threads = [threading.Thread(target=meet, args=(vault, data, answers, monster)) for monster, (data, _) in MONSTERS.items()]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    for monster, (_, statuses) in MONSTERS.items():
        answer = answers.get(monster)
        assert answer is not None and answer.status_code in statuses, (monster, answer and (answer.status_code, answer.text))


@pytest.mark.flags("--threads", 4, "--request-timeout-ms", 8000)
def test_no_thread_is_free(fresh_vault):
    """All threads wait for bodies that do not come: who waits is told so, and when to come again."""
    wires = []
    for i in range(5):
        plain = socket.create_connection(("127.0.0.1", fresh_vault.port), timeout=30, source_address=(f"127.0.3.{1 + i}", 0))
        wire = Wire.__new__(Wire)
        if i == 4:
            began = time.monotonic()
        wire.socket = fresh_vault.tls().wrap_socket(plain, server_hostname="127.0.0.1")
        if i < 4:
            wire.send(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        wires.append(wire)
    answer = wires[4].ask("GET", "/healthz")
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["type"] == "urn:tresor:problem:overloaded" and answer.headers["Connection"] == "close"
    assert 4 < time.monotonic() - began < 8
    for wire in wires[:4]:
        answer = wire.answer("POST")
        assert answer is None or answer.status_code in (400, 408), answer.status_code
    client = Client(fresh_vault, fresh_vault.credentials["auditor"]["uid"], fresh_vault.credentials["auditor"]["password"])
    client.sign_in()
    for wire in wires:
        wire.close()
