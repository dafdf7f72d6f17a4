"""Every command in a guide of docs/ is run, in order, against a server of its own; every example shown is the file that runs."""
import json
import os
import re
import shutil
import socket
import subprocess
import zipfile

import pytest
import yaml

from cli_tools import make_certificate, wait_until
from fake_s3 import SECRET, store, store_process  # noqa: F401 (fixtures)
from guide import DOCS, Guide, blocks, free_port
from tresor_client import Server, run_tresor

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def served(tmp_path):
    """A folder with a server of var/ at its guide's address, as after `./dev up`."""
    var = tmp_path / "var"
    first = run_tresor("init", "--data", var, check=0).stdout
    (var / "first-credentials.json").write_text(first)
    (var / "first-credentials.json").chmod(0o600)
    server = Server(var).start()
    yield server
    server.stop()


def follow(name, served):
    return Guide(name, served.data.parent, served.port).run()


def output(done, start):
    """What the only command that begins so printed."""
    [text] = [text for line, text in done.items() if line.startswith(start)]
    return text


def test_integrate(served):
    done = follow("integrate.md", served)
    for start in ("python3 docs/examples/chain.py", "NODE_EXTRA_CA_CERTS"):
        assert output(done, start).split() == ["service", "legislator"]
    for start in ("sh docs/examples/chain.sh", "var/chain"):
        assert '"role":"service"' in output(done, start) and '"name":"legislator"' in output(done, start)
    assert output(done, "python3 docs/examples/lanes.py").split() == ["20"]
    assert re.fullmatch(r"\s*[0-9a-f-]{36}\s*", output(done, "python3 docs/examples/retry.py"))
    assert '"urn:tresor:problem:no-grant"' in output(done, "as crm GET /v1/subjects/$subject/records")


def test_officer(served):
    done = follow("officer.md", served)
    var = served.data
    for start in ("as crm GET /v1/subjects/$maria/records --purpose $letter # refused",):
        assert '"urn:tresor:problem:no-grant"' in output(done, start)  # the last of the two: after the objection
    assert '"urn:tresor:problem:legal-hold"' in output(done, "as officer POST /v1/requests/$forget/fulfil --json '{}' # refused")
    for kept, kind in (("receipt", "access"), ("erased", "erasure")):
        assert json.loads((var / f"{kept}.json").read_text())["receipt"]["kind"] == kind
    assert "Quellenhof AG" in (var / "register.html").read_text() and "Kramgasse" in (var / "register.csv").read_text()
    assert "index.html" in zipfile.ZipFile(var / "portable.zip").namelist()
    assert "erasure" in output(done, "as officer GET /v1/requests/$forget | pick")
    assert json.loads(output(done, "as officer GET /v1/incidents/$incident/affected"))["total"] > 0
    assert "An export went to a former customer." in (var / "notice.html").read_text()
    assert json.loads(output(done, "build/tresor audit verify"))["ok"] is True


@pytest.mark.skipif(not shutil.which("softhsm2-util"), reason="SoftHSM is not installed (Debian: softhsm2)")
def test_operate(tmp_path):
    guide = Guide("operate.md", tmp_path, free_port())
    metrics = free_port()
    done = guide.run({"127.0.0.1:9464": f"127.0.0.1:{metrics}"})
    assert output(done, "tresor keys migrate").count('"') and json.loads((tmp_path / "restored" / "restore-report.json").read_text())
    assert '"state":"good"' in output(done, "tresor backup drill")
    assert '"provider":"pkcs11"' in [text for line, text in done.items() if line.startswith("as operator GET /v1/keys")][-1]
    told = output(done, "curl -sS http://127.0.0.1:9464/metrics")
    for rule in yaml.safe_load((DOCS / "examples" / "alerts.yaml").read_text())["groups"][0]["rules"]:
        for name in re.findall(r"tresor_\w+", rule["expr"]):
            assert f"\n{name} " in told, f"{rule['alert']}: there is no {name}"


def test_store(tmp_path, store):
    guide = Guide("store.md", tmp_path, free_port())
    done = guide.run({"https://s3.eu-central-1.amazonaws.com/BUCKET/PREFIX": store.url, "echo SECRET": f"echo {SECRET}",
                      "eu-central-1": "us-east-1", "= ID": "= S3RVER", "ACCESS_KEY=ID": "ACCESS_KEY=S3RVER"},
                     TRESOR_BACKUP_S3_CA=str(store.cert))
    assert '"state":"good"' in output(done, "tresor backup drill")
    report = json.loads(output(done, "cat restored/restore-report.json"))
    assert report["segments"] >= 0 and report["sessions_ended"] >= 1


def test_the_unit_starts_what_there_is():
    unit = (DOCS / "examples" / "tresor.service").read_text()
    [flags] = re.findall(r"^ExecStart=\S+ serve(.*)$", unit, re.M)
    told = run_tresor("serve", "--help", check=0).stdout
    assert all(f"  {flag} " in told for flag in re.findall(r"--\S+", flags))


@pytest.mark.skipif(not NGINX, reason="nginx is not installed (Debian: nginx-light)")
def test_behind_nginx(served, tmp_path):
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    certificate, key = make_certificate(folder, "public")
    text = (DOCS / "examples" / "nginx.conf").read_text()
    for shown, real in (("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("127.0.0.1:8443", f"127.0.0.1:{served.port}"),
                        ("/etc/tresor/public.pem", str(certificate)), ("/etc/tresor/public.key", str(key)),
                        ("/var/lib/tresor/tls.pem", str(served.ca))):
        assert shown in text
        text = text.replace(shown, real)
    (folder / "nginx.conf").write_text(f"daemon off;\nuser root;\npid {folder}/pid;\nerror_log {folder}/error.log;\n" + text.replace(
        "http {", f"http {{\n access_log off;\n client_body_temp_path {folder}/b;\n proxy_temp_path {folder}/p;\n"
        f" fastcgi_temp_path {folder}/f;\n uwsgi_temp_path {folder}/u;\n scgi_temp_path {folder}/s;\n", 1))
    command = [NGINX, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True, text=True)
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"https://127.0.0.1:{port}"
        session = ["--session", str(folder / "session")]
        wait_until(lambda: listens(port), "nginx listens")
        run_tresor("token", "sign-in", *session, "--credentials", served.data / "first-credentials.json", "--uid", "operator",
                   "--url", url, "--ca", certificate, check=0)
        for _ in range(3):  # the chain passes through it
            assert '"items"' in run_tresor("call", *session, "GET", "/v1/principals", check=0).stdout
    finally:
        proxy.terminate()
        proxy.wait(30)


def test_examples_shown_are_those_that_run():
    text = (DOCS / "integrate.md").read_text(encoding="utf-8") + (DOCS / "operate.md").read_text(encoding="utf-8")
    for path in sorted((DOCS / "examples").iterdir()):
        assert path.read_text(encoding="utf-8").strip() + "\n```" in text, path.name
