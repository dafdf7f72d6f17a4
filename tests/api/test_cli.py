"""The command line: usage, init, token, call, audit."""
import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading

import pytest

from cli_tools import Person, behind, gate, make_certificate, mode, operator  # noqa: F401
from tresor_client import BINARY, environment, run_tresor

COMMANDS = ("init", "serve", "health", "call", "token", "audit", "version")


# ---- usage ----

@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_on_stdout_and_lists_the_exit_codes(command):
    done = run_tresor(command, "--help", check=0)
    assert f"Usage: tresor {command}" in done.stdout and "Exit codes:" in done.stdout and done.stderr == ""
    assert command in run_tresor("--help", check=0).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_help_is_known(command, tmp_path, monkeypatch):
    """An option without its value says that it needs one; a switch with one, that it takes none or not this."""
    monkeypatch.chdir(tmp_path)
    text = run_tresor(command, "--help", check=0).stdout
    for option in set(re.findall(r"^  (--[a-z0-9-]+)", text, re.M)):
        is_switch = option in ("--init", "--insecure-http", "--backup-log") or re.search(rf"^  {option} {{2,}}[a-z]", text, re.M)
        done = run_tresor(command, option + ("=x" if is_switch else ""), check=2)
        assert re.search("needs a value|takes no value|yes or no", done.stderr), (option, done.stderr)


@pytest.mark.parametrize("args", [
    (), ("nothing",), ("call",), ("call", "GET"), ("call", "get", "/v1/about"), ("call", "GET", "v1"), ("call", "GET", "/a b"),
    ("call", "GET", "/v1/about", "more"), ("call", "GET", "/", "--no-such"), ("call", "GET", "/", "--header", "x"),
    ("call", "GET", "/", "--header", "access-token: x"), ("call", "GET", "/", "--header", "X: a\nY: b"),
    ("call", "POST", "/", "--json", "{}", "--data-file", "-"), ("call", "POST", "/", "--json"), ("call", "GET", "/", "--type", "a/b"),
    ("call", "GET", "/", "--url", "http://192.0.2.1"), ("call", "GET", "/", "--url", "ftp://127.0.0.1"),
    ("call", "POST", "/", "--data-file", "/nonexistent"), ("token",), ("token", "sign-in"), ("token", "no"), ("audit",),
    ("audit", "mend"), ("serve", "--threads", "1"), ("serve", "--threads", "x"), ("serve", "more"), ("serve", "--check=yes"),
    ("health", "--timeout", "0"), ("version", "x"),
])
def test_wrong_usage_exits_2_and_says_why(args, tmp_path):
    done = run_tresor(*args, check=2, HOME=str(tmp_path))
    assert done.stderr.strip() and done.stdout == ""


def test_version():
    assert re.match(r"tresor \d+\.\d+\.\d+ \(", run_tresor("version", check=0).stdout)
    assert run_tresor("--version", check=0).stdout == run_tresor("version", check=0).stdout


# ---- init ----

def test_init_prints_one_line_and_everything_is_private(tmp_path):
    data = tmp_path / "v"
    done = run_tresor("init", "--data", data, check=0)
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    credentials = json.loads(done.stdout)
    assert list(credentials) == ["operator", "officer", "auditor"]
    assert all(set(c) == {"uid", "password"} and len(c["password"]) == 24 for c in credentials.values())
    assert mode(data) == 0o700
    assert {mode(f) for f in data.iterdir()} == {0o600}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}\n", (data / "keyring.passphrase").read_text())


def test_init_leaves_a_vault_as_it_is(tmp_path):
    data = tmp_path / "v"
    run_tresor("init", "--data", data, check=0)
    before = {f.name: f.read_bytes() for f in data.iterdir()}
    done = run_tresor("init", "--data", data, check=1)
    assert "holds a vault already" in done.stderr and done.stdout == ""
    assert {f.name: f.read_bytes() for f in data.iterdir()} == before


def test_init_with_a_given_passphrase_makes_no_file_of_it(tmp_path):
    data, secret = tmp_path / "v", tmp_path / "secret"
    run_tresor("init", "--data", data, check=0, TRESOR_KEYRING="correct horse")
    assert not (data / "keyring.passphrase").exists()
    secret.write_text("correct horse\n")
    assert run_tresor("audit", "verify", "--data", data, "--keyring-file", secret, check=0).stdout
    assert run_tresor("audit", "verify", "--data", data, check=3, TRESOR_KEYRING="another").stdout == ""


def test_a_failed_init_takes_its_passphrase_back(tmp_path):
    data = tmp_path / "v"
    data.mkdir(0o700)
    (data / "vault.db").write_bytes(b"something else")
    run_tresor("init", "--data", data, check=1)
    assert [f.name for f in data.iterdir()] == ["vault.db"]
    assert (data / "vault.db").read_bytes() == b"something else"
    run_tresor("init", "--data", tmp_path / "no" / "such", check=7)
    assert not (tmp_path / "no").exists()


def test_init_with_stdout_closed_does_not_write_into_its_files(tmp_path):
    data = tmp_path / "v"
    subprocess.run(["sh", "-c", 'exec "$0" init --data "$1" >&- 2>&-', str(BINARY), str(data)], env=environment(), timeout=60)
    run_tresor("audit", "verify", "--data", data, check=0)
    assert not any(b'"password"' in f.read_bytes() for f in data.iterdir())


# ---- token ----

def test_sign_in_changes_the_one_time_password(fresh_vault, tmp_path):
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(fresh_vault.credentials))
    file.chmod(0o644)
    flags = ["--credentials", file, "--session", tmp_path / "s", "--url", fresh_vault.url, "--ca", fresh_vault.ca]
    assert "--uid" in run_tresor("token", "sign-in", *flags, check=2).stderr
    done = run_tresor("token", "sign-in", "--uid", "officer", *flags, check=0)
    assert json.loads(done.stdout)["role"] == "officer" and json.loads(done.stdout)["password_initial"] is False
    after = json.loads(file.read_text())
    assert after["officer"]["password"] != fresh_vault.credentials["officer"]["password"] and set(after["officer"]) == {"uid", "password"}
    assert after["operator"] == fresh_vault.credentials["operator"] and after["auditor"] == fresh_vault.credentials["auditor"]
    assert after["officer"]["password"] not in done.stdout + done.stderr
    assert mode(file) == 0o600 and mode(tmp_path / "s") == 0o600
    again = run_tresor("token", "sign-in", "--uid", "officer", *flags, check=0)
    assert json.loads(file.read_text()) == after and again.stderr == ""


def test_a_password_change_that_broke_off_is_taken_up(fresh_vault, tmp_path):
    person = Person(fresh_vault, tmp_path, "auditor")
    person.sign_in()
    good = json.loads(person.credentials.read_text())["password"]
    # Killed after the server took the new password, before the file said so.
    person.credentials.write_text(json.dumps({"uid": "auditor", "password": "the old one, that was", "new_password": good}))
    person.sign_in()
    assert json.loads(person.credentials.read_text()) == {"uid": "auditor", "password": good}


def test_a_wrong_password_is_refused_and_changes_nothing(vault, operator):
    before = operator.session.read_text()
    operator.credentials.write_text(json.dumps({"uid": "operator", "password": "not the password"}))
    done = operator.sign_in(check=1)
    assert "401" in done.stderr and done.stdout == "" and "not the password" not in done.stderr
    assert operator.session.read_text() == before


def test_show_hides_the_token_and_headers_are_for_another_client(vault, operator):
    token = operator.state()["access-token"]
    shown = run_tresor("token", "show", "--session", operator.session, check=0).stdout
    assert token not in shown
    assert json.loads(shown)["uid"] == "operator" and json.loads(shown)["signed_in"] is True
    lines = run_tresor("token", "show", "--headers", "--session", operator.session, check=0).stdout.splitlines()
    headers = dict(line.split(": ") for line in lines)
    assert headers == {"access-token": token, "client": operator.state()["client"], "uid": "operator"}
    server = http.client.HTTPSConnection("127.0.0.1", vault.port, context=vault.tls())
    server.request("GET", "/v1/principals", headers=headers)
    assert server.getresponse().status == 200


def test_sign_out_ends_the_session_on_both_sides(operator):
    session = operator.state()
    run_tresor("token", "sign-out", "--session", operator.session, check=0)
    assert not operator.session.exists()
    operator.session.write_text(json.dumps(session))
    operator.session.chmod(0o600)
    done = operator.call("GET", "/v1/principals", check=1)
    assert json.loads(done.stdout)["status"] == 401 and "sign in again" in done.stderr
    assert "access-token" not in operator.state()
    run_tresor("token", "sign-out", "--session", operator.session, check=0)
    assert not operator.session.exists()


def test_a_session_file_that_others_may_read_is_refused(operator):
    operator.session.chmod(0o640)
    assert "chmod 600" in operator.call("GET", "/v1/principals", check=2).stderr


# ---- call ----

def test_calls_go_on_from_one_token_to_the_next(operator):
    tokens = set()
    for _ in range(5):
        assert operator.get("/v1/principals")["items"]
        tokens.add(operator.state()["access-token"])
    assert len(tokens) == 5 and "pending" not in operator.state() and mode(operator.session) == 0o600


def test_the_session_knows_its_server(operator):
    run_tresor("call", "GET", "/v1/principals", "--session", operator.session, check=0)
    run_tresor("call", "GET", "/v1/principals", check=0, TRESOR_SESSION=str(operator.session))


def test_a_refusal_goes_to_stdout_and_exits_1_and_the_chain_goes_on(operator):
    for args, status in ((("GET", "/v1/audit"), 403), (("GET", "/v1/nothing"), 404), (("POST", "/v1/principals", "--json", "{"), 400),
                         (("DELETE", "/v1/about"), 405), (("GET", "/v1/principals?x=1"), 400)):
        done = operator.call(*args, check=1)
        assert json.loads(done.stdout)["status"] == status and done.stderr == ""
    operator.call("GET", "/v1/principals", check=0)


def test_public_routes_work_with_and_without_a_session(operator, tmp_path):
    assert operator.get("/v1/about")["name"] == "tresor"
    operator.call("GET", "/v1/principals", check=0)
    stranger = Person(operator.vault, tmp_path, "nobody")
    assert stranger.get("/v1/about")["name"] == "tresor"
    assert "sign-in" in stranger.call("GET", "/v1/principals", check=1).stderr
    assert not stranger.session.exists()


def test_include_shows_the_head_without_the_token(operator):
    done = operator.call("GET", "/v1/principals", "--include", check=0)
    head, _, body = done.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 200") and "X-Request-Id: " in head and json.loads(body)["items"]
    assert operator.state()["access-token"] not in done.stdout
    done = operator.call("HEAD", "/v1/principals", "--include", check=0)
    assert done.stdout.startswith("HTTP/1.1 200") and done.stdout.endswith("\n\n")


def test_a_printed_answer_that_cannot_be_written_keeps_the_session(operator):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BINARY, "call", "GET", "/v1/principals", *operator.where()], stdout=full, stderr=subprocess.PIPE,
                              env=environment(), text=True, timeout=60)
    assert done.returncode == 7 and "stdout" in done.stderr
    operator.call("GET", "/v1/principals", check=0)


def test_bodies_come_from_text_file_and_stdin(behind, gate, tmp_path):
    file = tmp_path / "body.json"
    file.write_text(json.dumps({"uid": "from-file", "role": "service"}))
    behind.call("POST", "/v1/principals", "--json", '{"uid":"from-text","role":"service"}', check=0)
    behind.call("POST", "/v1/principals", "--data-file", file, check=0)
    done = subprocess.run([BINARY, "call", "POST", "/v1/principals", "--data-file", "-", *map(str, behind.where())], text=True,
                          input='{"uid":"from-stdin","role":"service"}', env=environment(), capture_output=True, timeout=60)
    made = json.loads(done.stdout)
    assert done.returncode == 0 and made["uid"] == "from-stdin"
    behind.call("PATCH", f"/v1/principals/{made['id']}", "--json", '{"name":"N"}', check=0)
    (tmp_path / "lines.ndjson").write_text("{}\n")
    behind.call("POST", "/v1/import", "--data-file", tmp_path / "lines.ndjson")
    behind.call("POST", "/v1/principals", "--json", "{}", "--type", "text/plain", check=1)
    types = [re.search(rb"(?i)^content-type: *(\S+)", head, re.M)[1].decode() for _, head in gate.seen]
    assert types == ["application/json"] * 3 + ["application/merge-patch+json", "application/x-ndjson", "text/plain"]


def test_purpose_headers_and_an_own_idempotency_key_are_sent(behind, gate):
    purpose = "01a20fa5-2ca5-70d8-aa33-b2bd176d0596"
    behind.call("GET", "/v1/principals", "--purpose", purpose, "--header", "X-One: 1", "--header", "Idempotency-Key: mine")
    head = gate.seen[0][1]
    assert b"Access-Purpose: " + purpose.encode() in head and b"X-One: 1" in head and gate.keys() == [b"mine"]
    behind.call("GET", "/v1/principals")
    assert re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", gate.keys()[1])


def test_a_server_with_another_certificate_gets_no_token(operator, tmp_path):
    before = operator.session.read_text()
    cert, key = make_certificate(tmp_path, "impostor", "-days", "9")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    got = []

    def impostor(listener):
        peer, _ = listener.accept()
        with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as tls:
            got.append(tls.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=impostor, args=(listener,))
        thread.start()
        operator.url = "https://127.0.0.1:%d" % listener.getsockname()[1]
        assert "not trusted" in operator.call("GET", "/v1/principals", check=2).stderr
        thread.join(30)
    assert b"".join(got) == b"" and json.loads(operator.session.read_text()) == json.loads(before)
    operator.url = operator.vault.url
    operator.call("GET", "/v1/principals", check=0)


def test_a_server_that_is_not_there_leaves_the_session_as_it_was(operator):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    operator.url = f"https://127.0.0.1:{port}"
    assert "connect" in operator.call("GET", "/v1/principals", check=1).stderr.lower()
    assert "pending" not in operator.state()
    operator.url = operator.vault.url
    operator.call("GET", "/v1/principals", check=0)


def test_parallel_calls_queue_up(operator):
    calls = [operator.start("GET", "/v1/principals") for _ in range(12)]
    results = [(c.communicate(timeout=120), c.returncode) for c in calls]
    assert [code for _, code in results] == [0] * 12, results
    assert "pending" not in operator.state()


# ---- audit ----

def test_audit_verify_beside_a_running_server(vault, operator):
    operator.call("GET", "/v1/principals", check=0)
    code, verdict = vault.verify_audit()
    assert code == 0 and verdict["ok"] is True and verdict["entries"] > 3
    assert verdict["bad_seq"] is None and verdict["reason"] is None
