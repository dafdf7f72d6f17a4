"""What the tests of the command line share: a person with a session, and a gate that loses answers."""
import collections
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

from tresor_client import BINARY, environment, run_tresor

KEY = re.compile(rb"(?i)^idempotency-key: *(\S+)", re.M)
TOKEN = re.compile(rb"(?i)^access-token: *(\S+)", re.M)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def wait_until(condition, what, timeout=30):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


class Person:
    """A session of its own, as somebody at a terminal has it."""

    def __init__(self, vault, folder, uid="operator"):
        self.vault, self.uid = vault, uid
        self.session = pathlib.Path(folder) / f"{uid}.session"
        self.credentials = pathlib.Path(folder) / f"{uid}.json"
        self.url = vault.url
        if uid in vault.credentials:
            self.credentials.write_text(json.dumps(vault.credentials[uid]))

    def where(self):
        return ["--session", self.session, "--url", self.url, "--ca", self.vault.ca]

    def sign_in(self, check=0):
        done = run_tresor("token", "sign-in", "--credentials", self.credentials, *self.where(), check=check)
        if done.returncode == 0 and self.uid in self.vault.credentials:
            self.vault.credentials[self.uid] = json.loads(self.credentials.read_text())
        return done

    def call(self, *args, check=None, **more):
        return run_tresor("call", *args, *self.where(), check=check, **more)

    def get(self, path, *args):
        return json.loads(self.call("GET", path, *args, check=0).stdout)

    def start(self, *args):
        return subprocess.Popen([str(BINARY), "call", *map(str, args), *map(str, self.where())], env=environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def state(self):
        return json.loads(self.session.read_text())

    def has_pending(self):
        """A call with an unseen answer is in the session file."""
        with contextlib.suppress(OSError, ValueError):
            return self.state().get("pending", {}).get("open", False)
        return False

    def principals(self, uid):
        return [p for p in self.get("/v1/principals?limit=100")["items"] if p["uid"] == uid]


def make_certificate(folder, name, *args):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", *args],
                   check=True, capture_output=True)
    return folder / f"{name}.pem", folder / f"{name}.key"


@pytest.fixture
def operator(vault, tmp_path):
    person = Person(vault, tmp_path)
    person.sign_in()
    return person


class Gate:
    """Takes requests for the server and plays a fault on each: pass, lose (the answer never comes), hold (it comes when
    released), refuse (the server never sees it), cut (only the head and half of the body come)."""

    def __init__(self, vault):
        self.vault = vault
        self.faults = collections.deque()
        self.seen = []  # (fault, the request's head)
        self.answered = []  # statuses of the server
        self.release = threading.Event()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(vault.data / "tls.pem", vault.data / "tls.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "https://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with contextlib.suppress(OSError), self.context.wrap_socket(peer, server_side=True) as tls:
            while self.one(tls):
                pass

    def one(self, tls):
        data = b""
        while b"\r\n\r\n" not in data:
            more = tls.recv(65536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int((re.search(rb"(?i)^content-length: *(\d+)", head, re.M) or [0, 0])[1])
        while len(body) < length:
            body += tls.recv(65536)
        fault = self.faults.popleft() if self.faults else "pass"
        self.seen.append((fault, head))
        if fault == "refuse":
            return False
        answer = self.forward(head, body)
        if fault == "lose":
            return False
        if fault == "hold":
            self.release.wait(60)
        if fault == "cut":
            answer = answer[:-max(1, len(answer.partition(b"\r\n\r\n")[2]) // 2)]
        tls.sendall(answer)
        return fault == "pass" and b"HEAD" not in head

    def forward(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        server = http.client.HTTPSConnection("127.0.0.1", self.vault.port, context=self.vault.tls(), timeout=60)
        server.request(method, path, body or None, dict(line.split(": ", 1) for line in lines[1:]))
        answer = server.getresponse()
        content = answer.read()
        self.answered.append(answer.status)
        text = f"HTTP/1.1 {answer.status} {answer.reason}\r\n"
        text += "".join(f"{n}: {v}\r\n" for n, v in answer.getheaders() if n.lower() != "connection")
        return text.encode("latin-1") + b"\r\n" + content

    def keys(self):
        return [KEY.search(head)[1] for _, head in self.seen]

    def tokens(self):
        return [TOKEN.search(head)[1] for _, head in self.seen]

    def close(self):
        self.release.set()
        self.listener.close()


@pytest.fixture
def gate(vault):
    gate = Gate(vault)
    yield gate
    gate.close()


@pytest.fixture
def behind(operator, gate):
    """The operator, with the gate between."""
    operator.url = gate.url
    return operator
