"""What the black-box tests drive the server with: the process, a client that keeps the token chain, and the raw wire.

Every answer that a Client receives is held against openapi/openapi.yaml (described status, media type, schema, headers).
"""
import base64
import collections
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid

import jsonschema
import pytest
import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
BINARY = pathlib.Path(os.environ.get("TRESOR_BINARY", ROOT / "build" / "tresor")).resolve()
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SANITIZER = re.compile(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")
TOKEN_HEADERS = ("access-token", "token-type", "client", "expiry", "uid")


def free_port():
    """For a program that is started later. Below those that the system gives to connections meanwhile."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


# ---- the process ----

def environment(**more):
    """The caller's environment without settings of ours that would change what is tested."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TRESOR_")}
    env.setdefault("ASAN_OPTIONS", "abort_on_error=0:detect_leaks=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(more)
    return env


def run_tresor(*args, check=None, timeout=120, **more):
    """Run a subcommand to its end; `check` is the exit code wanted."""
    done = subprocess.run([str(BINARY), *map(str, args)], capture_output=True, text=True, timeout=timeout,
                          env=environment(**more), stdin=subprocess.DEVNULL)
    assert not SANITIZER.search(done.stderr), done.stderr
    if check is not None:
        assert done.returncode == check, f"tresor {args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


class Server:
    """`tresor serve` on a free port of the loopback interface."""

    def __init__(self, data, *flags):
        self.data = pathlib.Path(data)
        self.flags = [str(f) for f in flags]
        self.env = {}  # more of the environment, from the next start on
        self.ca = self.data / "tls.pem"
        self.process = None
        self.lines = []
        self.stderr_path = self.data.parent / (self.data.name + ".stderr")

    def start(self, timeout=90):
        self.listening = threading.Event()
        self.port = None
        self.stderr = open(self.stderr_path, "ab")
        self.process = subprocess.Popen(
            [str(BINARY), "serve", "--data", str(self.data), "--listen", "127.0.0.1:0", *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, env=environment(**self.env))
        self.drain = threading.Thread(target=self._drain, args=(self.process.stdout, self.listening), daemon=True)
        self.drain.start()
        if not self.listening.wait(timeout) or self.port is None:
            self.kill()
            raise AssertionError(f"the server did not listen:\n{self.log()[-3000:]}\n{self.errors()[-3000:]}")
        self.url = f"https://127.0.0.1:{self.port}"
        return self

    def _drain(self, stream, listening):
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.lines.append(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("event") == "listening" and self.port is None \
                    and listening is self.listening:  # not the last words of a server that was killed
                self.port = int(entry["port"])
                listening.set()
        listening.set()

    def log(self):
        return "\n".join(self.lines)

    def errors(self):
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def rss_kib(self):
        """(resident, peak resident) of the server, KiB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        find = lambda name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1))
        return find("VmRSS"), find("VmHWM")

    def stop(self, timeout=60):
        """SIGTERM; it must drain, exit 0 and leave no sanitizer's report."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop within {timeout} s\n{self.log()[-3000:]}") from None
        self._closed()
        assert not SANITIZER.search(self.errors()), self.errors()
        assert code == 0, f"exit {code}\n{self.log()[-3000:]}\n{self.errors()[-3000:]}"

    def kill(self):
        """kill -9, by its process id."""
        if self.alive():
            self.process.kill()
        self.process.wait(30)
        self._closed()

    def _closed(self):
        self.drain.join(30)
        self.process.stdout.close()
        self.stderr.close()


class Vault:
    """A data folder with its server and the first credentials."""

    def __init__(self, folder, *flags):
        self.binary = BINARY
        self.data = pathlib.Path(folder) / "vault"
        self.credentials = json.loads(run_tresor("init", "--data", self.data, check=0).stdout)
        self.server = Server(self.data, *flags)
        self.secrets = []  # passwords and tokens that were handed out, for the search for plaintext

    def start(self):
        self.server.start()
        return self

    def stop(self):
        self.server.stop()

    def restart(self):
        self.stop()
        return self.start()

    def later(self, days):
        """Restart so many days after the real time; the test is skipped when the binary's clock cannot be moved."""
        if "test-hooks" not in run_tresor("version", check=0).stdout:
            pytest.skip("the binary has no test hooks")
        self.server.env["TRESOR_TEST_CLOCK_OFFSET_MS"] = str(int(days * 86400000))
        return self.restart()

    @property
    def url(self):
        return self.server.url

    @property
    def port(self):
        return self.server.port

    @property
    def ca(self):
        return self.server.ca

    def tls(self):
        return ssl.create_default_context(cafile=str(self.ca))

    def verify_audit(self):
        """(exit code, verdict) of `tresor audit verify`."""
        done = run_tresor("audit", "verify", "--data", self.data)
        return done.returncode, json.loads(done.stdout)


# ---- the contract ----

class Contract:
    """openapi/openapi.yaml: is this answer one that it describes?"""

    def __init__(self):
        self.text = (ROOT / "openapi" / "openapi.yaml").read_text(encoding="utf-8")
        self.document = yaml.safe_load(self.text)
        self.operations = []  # (method, path template, pattern, operation)
        for path, item in self.document["paths"].items():
            pattern = re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part)
                                         for part in re.split(r"(\{[^}]+\})", path)))
            for method, operation in item.items():
                self.operations.append((method.upper(), path, pattern, operation))
        self.validators = {}

    def find(self, method, path):
        for known, template, pattern, operation in self.operations:
            if known == method and pattern.fullmatch(path):
                return template, operation
        return None, None

    def resolve(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def validate(self, schema, value, name):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema],
                     "components": self.document["components"]}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        fault = jsonschema.exceptions.best_match(self.validators[key].iter_errors(value))
        assert fault is None, f"{name}: not as described: {fault.message} at {list(fault.absolute_path)}: {value}"
        self.undescribed(schema, value, name)

    def undescribed(self, schema, value, name):
        """Every member of an answer has to be in the document (but for data and schemas, which are the client's)."""
        schema = self.resolve(schema)
        if isinstance(value, list) and "items" in schema:
            for item in value:
                self.undescribed(schema["items"], item, name)
        if isinstance(value, dict) and "properties" in schema:
            more = set(value) - set(schema["properties"])
            assert not more, f"{name}: members that the document does not describe: {more}"
            for member, inner in value.items():
                self.undescribed(schema["properties"][member], inner, name)

    def check(self, method, path, answer):
        """`answer` has status_code, headers (any case) and content."""
        name = f"{method} {path} -> {answer.status_code}"
        assert UUID7.fullmatch(answer.headers.get("X-Request-Id", "")), f"{name}: X-Request-Id"
        if method == "OPTIONS" or answer.status_code == 405:
            return
        template, operation = self.find("GET" if method == "HEAD" else method, path)
        if operation is None:
            assert answer.status_code == 404, f"{name}: an unknown path must be 404"
            return
        described = operation["responses"].get(str(answer.status_code))
        assert described is not None, f"{name}: status not described for {template}: {answer.content[:500]!r}"
        described = self.resolve(described)
        if "content" not in described:
            assert answer.content == b"", f"{name}: a body where none is described"
            return
        media = answer.headers.get("Content-Type", "").split(";")[0].strip()
        assert media in described["content"], f"{name}: media type {media!r}, not {list(described['content'])}"
        if method == "HEAD":
            return
        schema = described["content"][media]["schema"]
        if media == "application/x-ndjson":
            for line in answer.content.splitlines():
                self.validate(schema, json.loads(line), name)
            return
        if not media.endswith("json"):
            return
        body = json.loads(answer.content)
        self.validate(schema, body, name)
        if media == "application/problem+json":
            assert body["status"] == answer.status_code, name
            assert body["instance"] == "urn:uuid:" + answer.headers["X-Request-Id"], name


CONTRACT = Contract()


def expect_problem(answer, status, slug=None, pointer=None, parameter=None):
    """The answer is this problem document."""
    assert answer.status_code == status, f"{answer.status_code}, not {status}: {answer.text[:500]}"
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body = answer.json()
    assert set(body) <= {"type", "title", "status", "detail", "instance", "pointer", "parameter"}, body
    assert body["status"] == status
    if slug is not None:
        assert body["type"] == "urn:tresor:problem:" + slug, body
    if pointer is not None:
        assert body.get("pointer") == pointer, body
    if parameter is not None:
        assert body.get("parameter", "").lower() == parameter.lower(), body
    if status == 401:
        assert answer.headers.get("WWW-Authenticate", "").startswith("Bearer")
        assert "access-token" not in answer.headers
    return body


# ---- clients ----

def bearer(client, uid, token, **more):
    text = json.dumps({"access-token": token, "client": client, "uid": uid, **more})
    return "Bearer " + base64.b64encode(text.encode()).decode()


class Anonymous:
    """Requests without credentials."""

    def __init__(self, vault):
        self.vault = vault
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(vault.ca)

    def raw(self, method, path, *, headers=None, json_body=None, data=None, content_type=None, accept=None, timeout=120,
            check=True):
        head = {"Accept-Encoding": "identity", "User-Agent": "tests", "Accept": accept or "*/*"}
        if json_body is not None:
            data = json.dumps(json_body, ensure_ascii=False).encode()
            content_type = content_type or "application/json"
        if content_type:
            head["Content-Type"] = content_type
        head.update(headers or {})
        answer = self.http.request(method, self.vault.url + path, data=data, headers=head, timeout=timeout,
                                   allow_redirects=False)
        if check:
            CONTRACT.check(method, path.split("?")[0], answer)
        return answer


Outcome = collections.namedtuple("Outcome", "token answer")


class Client(Anonymous):
    """A session: keeps the token chain, and fails when an authenticated answer does not carry the next token."""

    def __init__(self, vault, uid, password=None):
        super().__init__(vault)
        self.uid, self.password = uid, password
        self.client = self.token = None
        self.expiry = 0  # of the session, never going down
        self.used = []  # every token that was sent, oldest first
        self.profile = None

    def sign_in(self, path="/v1/auth/sign_in", member="uid", expect=200):
        answer = self.raw("POST", path, json_body={member: self.uid, "password": self.password})
        assert answer.status_code == expect, answer.text
        if expect == 200:
            self.take(answer)
            self.profile = answer.json()["data"]
        return answer

    def credentials(self):
        return {"access-token": self.token, "client": self.client, "uid": self.uid}

    def take(self, answer):
        missing = [h for h in TOKEN_HEADERS if h not in answer.headers]
        assert not missing, f"{answer.request.method} {answer.request.path_url} -> {answer.status_code} lacks {missing}"
        assert answer.headers["token-type"] == "Bearer" and answer.headers["uid"] == self.uid
        assert int(answer.headers["expiry"]) > time.time()
        if self.client == answer.headers["client"]:
            assert int(answer.headers["expiry"]) >= self.expiry, "the end of the session came nearer"
        self.expiry = int(answer.headers["expiry"])
        assert answer.headers["access-token"] != self.token, "the same token again"
        self.token, self.client = answer.headers["access-token"], answer.headers["client"]
        self.vault.secrets.append(self.token)

    def request(self, method, path, body=None, *, expect=None, purpose=None, key=None, match=None, headers=None, last=False,
                **more):
        """One authenticated request. `last`: it ends the session, so the answer must not carry a token."""
        head = self.credentials()
        for name, value in (("Access-Purpose", purpose), ("Idempotency-Key", key), ("If-Match", match)):
            if value is not None:
                head[name] = value
        head.update(headers or {})
        self.used.append(self.token)
        if body is not None:
            more.setdefault("json_body", body)
        check = more.pop("check", True)
        answer = self.raw(method, path, headers=head, check=False, **more)
        if answer.status_code == 401 or last and answer.ok:
            assert "access-token" not in answer.headers, f"{method} {path}: a token that should not be"
        else:
            self.take(answer)
        if check:
            CONTRACT.check(method, path.split("?")[0], answer)
        if expect is not None:
            wanted = expect if isinstance(expect, tuple) else (expect,)
            assert answer.status_code in wanted, \
                f"{method} {path}: {answer.status_code}, not {expect}: {answer.text[:800]}"
        return answer

    def get(self, path, expect=200, **more):
        return self.request("GET", path, expect=expect, **more)

    def post(self, path, body, expect=201, **more):
        return self.request("POST", path, body, expect=expect, **more)

    def put(self, path, body, expect=200, **more):
        return self.request("PUT", path, body, expect=expect, **more)

    def patch(self, path, body, expect=200, **more):
        return self.request("PATCH", path, body, expect=expect, content_type="application/merge-patch+json", **more)

    def delete(self, path, expect=204, **more):
        return self.request("DELETE", path, expect=expect, **more)

    def pages(self, path, limit=None, **more):
        """All items of a list, over all its pages."""
        items, after = [], None
        for _ in range(10000):
            query = [f"limit={limit}"] if limit else []
            query += ["after=" + requests.utils.quote(after, safe="")] if after else []
            join = "&" if "?" in path else "?"
            answer = self.get(path + (join + "&".join(query) if query else ""), **more).json()
            items += answer["items"]
            assert limit is None or len(answer["items"]) <= limit
            after = answer["next"]
            if after is None:
                return items
        raise AssertionError(f"{path} never ends")

    def lanes(self, count):
        """Independent clients of the same principal."""
        answer = self.post("/v1/auth/lanes", {"count": count}).json()["lanes"]
        assert len(answer) == count
        return [self.lane(one) for one in answer]

    def lane(self, headers):
        other = Client(self.vault, headers["uid"], self.password)
        other.client, other.token, other.profile = headers["client"], headers["access-token"], self.profile
        self.vault.secrets.append(other.token)
        return other

    def change_password(self, password):
        self.put("/v1/auth/password", {"current_password": self.password, "password": password}, expect=204)
        self.password = password
        self.vault.secrets.append(password)

    def imports(self, lines, query="", expect=200, **more):
        """Import; the result lines as objects. `lines`: bytes, or an iterable of bytes that is streamed."""
        answer = self.request("POST", "/v1/import" + query, data=lines, content_type="application/x-ndjson", expect=expect,
                              **more)
        return [json.loads(line) for line in answer.content.splitlines()]


def session_of(vault, role):
    """The first operator, officer or auditor, signed in, with its password changed."""
    first = vault.credentials[role]
    client = Client(vault, first["uid"], first["password"])
    vault.secrets.append(first["password"])
    client.sign_in()
    if client.profile["password_initial"]:
        client.change_password(f"a new password of the {role} {uuid.uuid4().hex[:8]}")
        first["password"] = client.password
        client.profile["password_initial"] = False
    return client


# ---- a world to test in ----

CONTACT = {
    "type": "object", "required": ["name"], "additionalProperties": False, "x-history": 3, "x-retention": "P10Y",
    "properties": {
        "name": {"type": "string", "x-index": "ignore-case", "x-mask": "initial"},
        "email": {"type": "string", "x-index": "ignore-case", "x-mask": "domain"},
        "phone": {"type": "string", "x-index": True, "x-mask": "last4"},
        "phones": {"type": "array", "items": {"type": "string", "x-index": True, "x-mask": "last4"}},
        "birthday": {"type": "string", "format": "date", "x-mask": "year"},
        "notes": {"type": "string", "x-mask": "hide"},
        "age": {"type": "integer", "x-index": True, "x-mask": "last4"},
        "member": {"type": "boolean", "x-index": True},
        "balance": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object", "properties": {"street": {"type": "string", "x-mask": "hide"},
                                                     "city": {"type": "string"}}},
        "diagnosis": {"type": "string", "x-sensitive": "health", "x-mask": "hide"},
        "any": True,
    },
}
ADA = {"name": "Ada Zwicky-Brönnimann", "email": "Ada.Zwicky@Quellenhof.example", "phone": "+41 31 555 01 23",
       "birthday": "1958-10-13", "notes": "prefers mornings", "age": 67, "member": True,
       "address": {"street": "Kramgasse 7b", "city": "Bern"}, "diagnosis": "J45.0"}


class World:
    """A vault with its first principals, a type, an activity, a service, a subject and its principal."""

    def __init__(self, vault):
        self.vault = vault
        self.operator = session_of(vault, "operator")
        self.officer = session_of(vault, "officer")
        self.auditor = session_of(vault, "auditor")
        self.officer.put("/v1/types/contact", CONTACT, expect=201)
        self.activity = self.make_activity("Appointments")
        self.service = self.make_service(may_register=True)
        self.subject = self.make_subject(ADA)

    def name(self, what):
        return f"{what}-{uuid.uuid4().hex[:12]}@example.org"

    def make_activity(self, name):
        return self.officer.post("/v1/activities", {"name": name, "purpose": "To " + name.lower()}).json()["id"]

    def make_principal(self, role, **members):
        made = self.operator.post("/v1/principals", {"uid": self.name(role), "role": role, **members}).json()
        self.vault.secrets.append(made["password"])
        client = Client(self.vault, made["uid"], made["password"])
        client.id = made["id"]
        client.sign_in()
        if role != "service":
            client.change_password("a password chosen by " + made["uid"])
        return client

    def make_service(self, may_register=False):
        return self.make_principal("service", name="Clinic of St. Verena", may_register=may_register)

    def make_subject(self, *records, type_name="contact"):
        """A subject with these records; its principal's client has .subject and .records (ids)."""
        made = self.service.post("/v1/subjects", {"records": [{"type": type_name, "data": r} for r in records]}).json()
        client = self.make_principal("subject", subject=made["id"])
        client.subject, client.records = made["id"], [r["id"] for r in made["records"]]
        return client

    def grant(self, subject, service=None, *, types=("contact",), actions=("read",), activity=None, expect=201, **more):
        body = {"grantee": (service or self.service).id, "types": list(types), "actions": list(actions),
                "activity": activity or self.activity, **more}
        return subject.post(f"/v1/subjects/{subject.subject}/grants", body, expect=expect).json()


# ---- the raw wire ----

class Wire:
    """One TLS connection, for what no library sends."""

    def __init__(self, vault, timeout=60):
        plain = socket.create_connection(("127.0.0.1", vault.port), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = vault.tls().wrap_socket(plain, server_hostname="127.0.0.1")

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, method="GET"):
        """Read one response; None when the connection was closed before one came."""
        response = http.client.HTTPResponse(self.socket, method=method)
        try:
            response.begin()
        except (http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionError, ssl.SSLError):
            return None
        response.content = response.read()
        response.status_code = response.status
        response.text = response.content.decode("utf-8", "replace")
        response.json = lambda: json.loads(response.content)
        return response

    def ask(self, method, target, headers=(), body=None, version="HTTP/1.1"):
        lines = [f"{method} {target} {version}", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in (headers.items() if isinstance(headers, dict) else headers)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self.answer(method)

    def closed(self, timeout=30):
        """Does the server close it (within the time)?"""
        self.socket.settimeout(timeout)
        try:
            return self.socket.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return True
        except (TimeoutError, socket.timeout):
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
