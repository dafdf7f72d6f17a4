"""The fake S3 store of tests/tools/fake-s3, for tests: a process of its own on free ports, with faults."""
import json
import pathlib
import subprocess
import urllib.request

import pytest

from tresor_client import ROOT

FAKE = ROOT / "tests" / "tools" / "fake-s3"
BUCKET, SECRET = "vaults", "S3RVER"


class Store:
    """Its objects lie in `folder`; s3rver's own names for them are told apart here."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.process = None
        self.port = self.number = 0
        self.begin()

    def begin(self):
        """Another prefix: a vault's own."""
        self.number += 1
        self.prefix = f"vault-{self.number}/a"

    def certificate(self):
        self.cert, key = self.folder.parent / "store.pem", self.folder.parent / "store.key"
        if not self.cert.exists():
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                            "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.cert)], check=True, capture_output=True)
        return str(self.cert), str(key)

    def start(self):
        """On the port it had before, if any."""
        self.folder.mkdir(exist_ok=True)
        self.process = subprocess.Popen(["node", "serve.mjs", str(self.folder), BUCKET, *self.certificate()], cwd=FAKE, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env={"PATH": "/usr/local/bin:/usr/bin:/bin", "FAKE_S3_PORT": str(self.port)})
        line = self.process.stdout.readline()
        assert line, "the fake store did not start"
        self.port, self.control = json.loads(line)["port"], json.loads(line)["control"]
        return self

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/{BUCKET}/{self.prefix}"

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(30)
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def flags(self, url=None):
        secret = self.folder.parent / "store.secret"
        secret.write_text(SECRET + "\n")
        return ["--backup-s3-url", url or self.url, "--backup-s3-access-key", "S3RVER", "--backup-s3-secret-key-file", str(secret),
                "--backup-s3-ca", str(self.cert), "--backup-s3-timeout-s", "2"]

    def call(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.loads(answer.read())

    def fail(self, mode, times=-1, **more):
        self.call("POST", "/faults", [{"mode": mode, "times": times, **more}])

    def heal(self):
        self.call("POST", "/faults", [])

    def log(self):
        return self.call("GET", "/log")["log"]

    def uploads(self):
        return self.call("GET", "/log")["uploads"]

    def objects(self, beginning=""):
        root, ending = self.folder / BUCKET / self.prefix, "._S3rver_object"
        names = [str(p.relative_to(root))[:-len(ending)] for p in root.rglob("*" + ending)] if root.exists() else []
        return sorted(n for n in names if n.startswith(beginning))

    def path(self, name):
        return self.folder / BUCKET / self.prefix / (name + "._S3rver_object")


@pytest.fixture(scope="module")
def store_process(tmp_path_factory):
    if not (FAKE / "node_modules" / "s3rver").exists():
        pytest.skip("the fake store's packages are not there: ./dev test installs them")
    store = Store(tmp_path_factory.mktemp("s3") / "store").start()
    yield store
    store.stop()


@pytest.fixture
def store(store_process):
    """Empty, and without faults."""
    store_process.begin()
    if not store_process.process:
        store_process.start()
    store_process.call("POST", "/page", {"size": 0})
    store_process.call("POST", "/versions", {"on": False})
    store_process.call("DELETE", "/log")
    store_process.heal()
    return store_process
