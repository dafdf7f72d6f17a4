"""The image, run with the limits of docker/compose.yaml: what is in it, its first start, the README's example, kill -9, SIGTERM."""
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

from conftest import Container
from test_readme import READ, ROOT, run_lines

USER = 10001
MOST = 120_000_000  # bytes, of all layers, uncompressed
pytestmark = pytest.mark.timeout(600)


# ---- what is in it ----

def test_size(image):
    size = sum(image.layers.values())
    print(f"{size} bytes in {len(image.layers)} layers")
    assert size < MOST, image.layers


def test_settings(image):
    config = image.config
    assert config["User"] == f"{USER}:{USER}" and config["Entrypoint"] == ["/usr/bin/tresor"] and config["Cmd"] == ["serve"]
    assert set(config["Volumes"]) == {"/data"} and set(config["ExposedPorts"]) == {"8443/tcp"} and config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/bin/tresor", "health"]
    labels = {k.removeprefix("org.opencontainers.image."): v for k, v in config["Labels"].items()}
    assert {"title", "description", "licenses", "version", "revision", "created"} <= set(labels) and "unknown" not in labels.values()
    assert not [e for e in config["Env"] if not re.match("(PATH|TRESOR_DATA|TRESOR_LISTEN)=", e)]


def test_files(image):
    """Nothing setuid, nothing that others may write, no shell, nothing of the machine that built it, one time."""
    files = [m for m in image.members if m.isfile()]
    assert len(files) > 100
    assert not [m.name for m in image.members if m.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert [m.name.strip("./") for m in image.members if not m.issym() and m.mode & stat.S_IWOTH] == ["tmp"]
    assert [m.name.strip("./") for m in image.members if m.uid or m.gid] == ["data"]
    assert [m.name for m in files if m.mode & 0o111 and "/bin/" in m.name] == [str(m.name) for m in files if m.name.endswith("bin/tresor")]
    assert not [m.name for m in image.members if re.search(r"(^|/)(etc/apt|sources\.list|root|home|src)(/|$)", m.name)]
    assert not [m.name for m in image.members if "/.wh." in m.name]
    assert len({int(m.mtime) for m in files}) == 1


def test_list_of_what_it_is_made_of(image):
    doc = image.root / "usr" / "share" / "doc"
    bom = json.loads((doc / "tresor" / "image.cdx.json").read_text())
    packages = {c["name"] for c in bom["components"]}
    assert {"libc6", "libssl3t64", "libcurl4t64", "libarchive13t64", "libcjson1", "libpcre2-8-0", "ca-certificates", "tzdata"} <= packages
    assert {p.name for p in (image.root / "var" / "lib" / "dpkg" / "status.d").iterdir()} == packages
    assert all((doc / name / "copyright").stat().st_size for name in packages)
    assert (doc / "tresor" / "THIRD-PARTY.md").exists() and (doc / "tresor" / "LICENSE").exists()
    assert (image.root / "etc" / "ssl" / "certs" / "ca-certificates.crt").stat().st_size > 100000


# ---- it runs ----

@pytest.fixture(scope="module")
def folder(image):
    """A folder that looks like the checkout to the README's lines; its var/ is the volume."""
    folder = image.folder / "readme"
    data = folder / "tests" / "data"
    data.parent.mkdir(parents=True)
    subprocess.run(["cp", "-rL", ROOT / "tests" / "data", data], check=True)
    (folder / "build").mkdir()
    script = folder / "build" / "tresor"  # the image's own, outside of a container
    script.write_text(f'#!/bin/sh\nexec {image.loader} --library-path {image.libraries} {image.root}/usr/bin/tresor "$@"\n')
    script.chmod(0o755)
    (folder / "var").mkdir(mode=0o700)
    for path in (folder, folder / "var"):
        os.chown(path, USER, USER)
    return folder


@pytest.fixture(scope="module")
def container(image, folder):
    """Started for the first time with an empty volume; the passphrase comes from a file."""
    secret = image.folder / "passphrase"
    secret.write_text("a passphrase that is in no volume\n")
    os.chown(secret, USER, USER)
    secret.chmod(0o400)
    container = Container(image, image.folder, folder / "var", [(secret, "/run/secrets/tresor_keyring")], TRESOR_INIT="1",
                          TRESOR_KEYRING_FILE="/run/secrets/tresor_keyring")
    yield container.start()
    if container.process.poll() is None:
        container.end(signal.SIGKILL)


def tresor(folder, *args, check=True):
    """A line as the README's `as`; the answer."""
    done = subprocess.run([folder / "build" / "tresor", *args], cwd=folder, user=USER, group=USER, extra_groups=[], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                          env={k: v for k, v in os.environ.items() if not k.startswith("TRESOR_")})
    assert not check or done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def as_(folder, who, *args, check=True):
    return tresor(folder, "call", "--session", f"var/{who}.session", *args, check=check)


def test_first_start(container, folder):
    first = folder / "var" / "first-credentials.json"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600 and first.stat().st_uid == USER
    for one in json.loads(first.read_text()).values():
        assert one["password"] not in container.log()
    assert not (folder / "var" / "keyring.passphrase").exists()


def test_limits_hold(container):
    """They are those of an engine: else the other tests would say little."""
    status = pathlib.Path(f"/proc/{container.pid}/status").read_text()
    assert re.search(rf"^Uid:\t{USER}\t{USER}\t{USER}\t{USER}$", status, re.M) and re.search(r"^Groups:\t *$", status, re.M)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.M) and re.search(r"^NSpid:\t\d+\t1$", status, re.M)
    assert re.findall(r"^Cap(?:Inh|Prm|Eff|Bnd|Amb):\t0*$", status, re.M).__len__() == 5
    writable = [line.split()[4] for line in pathlib.Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()
                if line.split()[5].startswith("rw")]
    root = str(container.image.root)
    inside = {w.removeprefix(root) for w in writable if w.startswith(("/data", "/tmp", "/proc", "/dev")) or w == "/"}
    assert inside <= {"/data", "/tmp", "/proc"} | {f"/dev/{n}" for n in ("null", "zero", "random", "urandom")}, writable


def test_health(container):
    code, out, errors = container.run(*container.image.config["Healthcheck"]["Test"][2:])
    assert code == 0, out + errors


def test_certificate_has_the_name(container, folder):
    context = ssl.create_default_context(cafile=folder / "var" / "tls.pem")
    for name in ("tresor", "localhost", "127.0.0.1"):
        with socket.create_connection(("127.0.0.1", 8443), 30) as plain, context.wrap_socket(plain, server_hostname=name):
            pass


def held(folder):
    """What the vault has, as those see it who may."""
    lines = (folder / "tests" / "data" / "legislators.ndjson").read_text().splitlines()
    found = {}
    for line in lines[::6]:
        bioguide = json.loads(line)["id"]["bioguide"]
        asked = {"type": "legislator", "field": "/id/bioguide", "value": bioguide}
        found[bioguide] = json.loads(as_(folder, "officer", "POST", "/v1/lookup", "--json", json.dumps(asked)))["items"]
    for path in ("/v1/types", "/v1/activities", "/v1/requests"):
        found[path] = json.loads(as_(folder, "officer", "GET", path))
    found["/v1/principals"] = json.loads(as_(folder, "operator", "GET", "/v1/principals"))
    return found


@pytest.fixture(scope="module")
def example(container, folder):
    return run_lines(folder, user=USER, group=USER, extra_groups=[])


def verify(container):
    code, out, errors = container.run("audit", "verify")
    assert code == 0, out + errors
    verdict = json.loads(out)
    assert verdict["ok"] is True
    return verdict["entries"]


def writes(folder, done, stop):
    """The service registers one person after the other; `done` has those whose answer came."""
    record = json.loads((folder / "tests" / "data" / "legislators.ndjson").read_text().splitlines()[0])
    for number in range(100000):
        if stop.is_set():
            return
        record["id"] = {"bioguide": f"X{number:06d}"}
        body = {"records": [{"type": "legislator", "data": record}]}
        answer = as_(folder, "crm", "POST", "/v1/subjects", "--json", json.dumps(body), check=False)
        if "records" in (answer or ""):
            done[record["id"]["bioguide"]] = json.loads(answer)["id"]


def test_readme_then_kill(container, folder, example):
    """The example's lines, then kill -9 while a service writes, then a new container: everything that was answered is there."""
    # (The log is verified in the container: its passphrase is where the README's line does not look.)
    failed = [line for line, code, _ in example if code]
    assert failed == [READ, "build/tresor audit verify --data var", READ] or failed == [READ, READ, "build/tresor audit verify --data var"], \
        failed
    wanted, entries = held(folder), verify(container)
    done, stop = {}, threading.Event()
    writer = threading.Thread(target=writes, args=(folder, done, stop))
    writer.start()
    until = time.monotonic() + 120
    while len(done) < 5 and time.monotonic() < until:
        time.sleep(0.05)
    assert container.end(signal.SIGKILL) == 128 + signal.SIGKILL
    stop.set()
    writer.join(120)
    assert len(done) >= 5
    assert container.run("health")[0] != 0
    container.start()
    assert '"vault.made"' not in container.log()
    assert held(folder) == wanted
    assert verify(container) > entries
    for bioguide, subject in done.items():
        asked = {"type": "legislator", "field": "/id/bioguide", "value": bioguide}
        [item] = json.loads(as_(folder, "officer", "POST", "/v1/lookup", "--json", json.dumps(asked)))["items"]
        assert item["subject"] == subject
    for file in ("package.zip", "receipt.json"):
        tresor(folder, "request", "verify", "var/" + file, "--keys", "var/keys.json")


def test_sigterm_drains(container, folder):
    """A request that is half sent when SIGTERM comes gets its answer; then the process ends with 0."""
    context = ssl.create_default_context(cafile=folder / "var" / "tls.pem")
    body = json.dumps({"uid": "nobody", "password": "wrong"}).encode()
    with socket.create_connection(("127.0.0.1", 8443), 30) as plain, context.wrap_socket(plain, server_hostname="localhost") as wire:
        wire.sendall(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert wire.recv(65536).startswith(b"HTTP/1.1 100 ")  # it waits for the body
        wire.sendall(body[:5])
        until = time.monotonic() + 30
        container.send(signal.SIGTERM)
        while '"stopping"' not in container.log() and time.monotonic() < until:
            time.sleep(0.02)
        assert '"stopping"' in container.log()
        wire.sendall(body[5:])
        answer = wire.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 "), answer[:200]
    assert container.wait() == 0, container.log()
    assert '"running":0' in container.log()
    assert not list((folder / "var").glob("core*"))


def test_killed_in_its_first_start(image):
    """At random moments of it, each time in the same volume: at last there is one vault with its credentials."""
    data = image.folder / "killed"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    container = Container(image, image.folder, data, TRESOR_INIT="1")
    for seconds in (0.2, 0.5, 1.0):
        process = container.begin(image.config["Entrypoint"] + image.config["Cmd"], stdout=subprocess.DEVNULL)
        while not container.pid_file.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(seconds)
        os.kill(int(container.pid_file.read_text()), signal.SIGKILL)
        process.wait(60)
    container.start()
    assert set(json.loads((data / "first-credentials.json").read_text())) == {"operator", "officer", "auditor"}
    assert not list(data.glob("first-start*"))
    assert container.end() == 0, container.log()


def test_without_init_an_empty_volume_stays_empty(image):
    data = image.folder / "empty"
    data.mkdir(mode=0o700)
    os.chown(data, USER, USER)
    container = Container(image, image.folder, data)
    code, out, errors = container.run("serve")
    assert code == 2 and "holds no vault" in errors, out + errors
    assert os.listdir(data) == []
