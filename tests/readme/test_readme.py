"""README.md as a person reads it: the server that `./dev up` starts, the lines of the example with what
each must show, the table of settings."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S) for line in block.splitlines() if line]
READ = "as crm GET /v1/subjects/$maria/records --purpose $letter"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the checkout to the example's lines, with a var/ of its own."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tests").symlink_to(ROOT / "tests")
    return folder


def stand_in(folder, url):
    """build/tresor of `folder`: the real one, told where the server is (the README's is at the default address)."""
    script = folder / "build" / "tresor"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n[ "$1" != token ] || set -- "$@" --url {url}\nexec {ROOT}/build/tresor "$@"\n')
    script.chmod(0o755)


@pytest.fixture(scope="module")
def url(folder):
    """`./dev up`, on a free port and with the data folder in `folder`."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % s.getsockname()[1]
    environment = {**os.environ, "TRESOR_DATA": str(folder / "var"), "TRESOR_LISTEN": address}
    server = subprocess.Popen([ROOT / "dev", "up"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    listening, seen = threading.Event(), []

    def read():
        for line in server.stdout:
            seen.append(line)
            if '"listening"' in line:
                listening.set()
        listening.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert listening.wait(600) and server.poll() is None, "".join(seen)
        assert any(str(folder / "var" / "first-credentials.json") in line for line in seen), "".join(seen)
        yield f"https://{address}"
    finally:
        server.send_signal(signal.SIGINT)  # Ctrl-C
        code = server.wait(60)
        reader.join()
        server.stdout.close()
    assert code == 0, "".join(seen)


def run_lines(folder, **how):
    """The example's lines in order, pasted into one shell: [(line, exit code, output or the value it set)]."""
    script = []
    for line in LINES:
        script.append(line)
        name = re.match(r"(\w+)=\$\(", line)
        if name:
            script.append(f"code=$?; printf '%s\\n' \"${name.group(1)}\"; (exit $code)")
        script.append("printf '\\n@@ %s\\n' $?")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRESOR_")}
    run = subprocess.run(["sh"], cwd=folder, env=environment, input="\n".join(script) + "\n",
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, **how)
    pieces = re.split(r"\n@@ (\d+)\n", run.stdout)
    found = list(zip(LINES, map(int, pieces[1::2]), pieces[0::2]))
    assert len(found) == len(LINES), run.stdout + run.stderr
    return found


@pytest.fixture(scope="module")
def example(folder, url):
    stand_in(folder, url)
    return run_lines(folder)


def outcomes(example, start):
    """[(exit code, output)] of the lines that start so."""
    found = [(code, output) for line, code, output in example if line.startswith(start)]
    assert found, f"no line of the README starts with {start!r}"
    return found


def value(example, name):
    """What a line set a variable to."""
    [(_, output)] = outcomes(example, name + "=$(")
    return output.strip()


def test_lines_run_as_they_are(example):
    failed = [line for line, code, _ in example if code]
    assert failed == [READ, READ], failed  # before the grant and after its withdrawal
    for name in ("crm", "letter", "maria", "grant", "ask"):
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value(example, name)), name


def test_first_passwords_are_replaced(example, folder):
    for name in ("operator", "officer"):
        outcomes(example, f"enter {name} ")
    for file in ("first-credentials.json", "crm.json", "maria.json", "operator.session", "crm.session"):
        assert (folder / "var" / file).stat().st_mode & 0o077 == 0, file
    first = json.loads((folder / "var" / "first-credentials.json").read_text())
    assert len(first["operator"]["password"]) >= 12


def test_type_is_put(example):
    [(_, output)] = outcomes(example, "as officer PUT /v1/types/legislator")
    assert json.loads(output)["name"] == "legislator"


def test_import_takes_every_line(example):
    [(_, output)] = outcomes(example, "as crm POST '/v1/import?type=legislator'")
    results = [json.loads(line) for line in output.splitlines() if line]
    sent = (ROOT / "tests" / "data" / "legislators.ndjson").read_text(encoding="utf-8").splitlines()
    assert [r["line"] for r in results] == list(range(1, len(sent) + 1))
    assert {r["status"] for r in results} == {201}
    assert value(example, "maria") in {r["subject"] for r in results}


def test_read_needs_the_grant(example):
    before, granted, withdrawn = outcomes(example, READ)
    for code, output in (before, withdrawn):
        assert code == 1
        problem = json.loads(output)
        assert (problem["status"], problem["type"]) == (403, "urn:tresor:problem:no-grant")
    assert granted[0] == 0
    [record] = json.loads(granted[1])["items"]
    assert record["subject"] == value(example, "maria")
    assert set(record["data"]) == {"name", "offices"} and record["partial"] is True
    assert record["data"]["name"]["last"] == "Cantwell"


def test_person_sees_the_access(example):
    [(_, output)] = outcomes(example, "as maria GET /v1/subjects/$maria/accesses")
    reads = [a for a in json.loads(output)["items"] if a["action"] == "record.list" and a["outcome"] == "ok"]
    assert [(a["principal"], a["purpose"], a["purpose_name"]) for a in reads] == \
        [(value(example, "crm"), value(example, "letter"), "Newsletter")]


def test_request_is_fulfilled(example, folder):
    [(_, output)] = outcomes(example, "as officer POST /v1/requests/$ask/fulfil")
    assert json.loads(output)["state"] == "fulfilled"
    with zipfile.ZipFile(folder / "var" / "package.zip") as package:
        assert b"Cantwell" in package.read("index.html")


def test_erased_person_has_a_receipt(example, folder):
    outcomes(example, "build/tresor request verify var/package.zip")
    outcomes(example, "build/tresor request verify var/receipt.json")
    receipt = json.loads((folder / "var" / "receipt.json").read_text())["receipt"]
    assert (receipt["kind"], receipt["subject"]) == ("erasure", value(example, "maria"))


def test_audit_log_is_whole(example):
    [(_, output)] = outcomes(example, "build/tresor audit verify")
    verdict = json.loads(output)
    assert verdict["ok"] is True and verdict["entries"] > len(LINES)


def test_settings_table_is_what_help_says():
    table = re.findall(r"^\| `(--[a-z0-9-]+)` \| `(TRESOR_[A-Z0-9_]+)` \| (.+?) \| (?:`(.*)`|) *\|$", README, re.M)
    told = subprocess.run([ROOT / "build" / "tresor", "serve", "--help"], check=True, capture_output=True, text=True).stdout
    settings = re.findall(r"^  (--[a-z0-9-]+) +(TRESOR_[A-Z0-9_]+) +(.+?)(?: \[([^][]+)\])?$", told, re.M)
    assert len(settings) > 10
    assert table == settings


def test_every_file_named_exists():
    for name in re.findall(r"`((?:tests|src|openapi|cmake)/[\w./-]+|[A-Z-]+\.md)`", README):
        assert (ROOT / name).exists(), name
