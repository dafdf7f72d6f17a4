"""`tresor serve`, its --check and its signals, and `tresor health`."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from cli_tools import make_certificate, operator, wait_until  # noqa: F401
from tresor_client import BINARY, SANITIZER, Server, environment, run_tresor


# ---- serve --check ----

@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A vault that nobody serves."""
    data = tmp_path_factory.mktemp("idle") / "v"
    run_tresor("init", "--data", data, check=0)
    return data


def check(data, *flags, expect, **more):
    done = run_tresor("serve", "--check", "--data", data, "--listen", "127.0.0.1:0", *flags, check=expect, **more)
    return done.stdout.splitlines()


def test_check_says_ok(idle):
    before = {f.name for f in idle.iterdir()}
    assert check(idle, expect=0) == ["ok"]
    assert {f.name for f in idle.iterdir()} == before


def test_check_names_a_wrong_setting(idle):
    assert "threads" in check(idle, "--threads", "0", expect=2)[0]
    assert "insecure_http" in check(idle, "--insecure-http", "--listen", "0.0.0.0:0", expect=2)[0]
    assert "metrics_listen" in check(idle, "--metrics-listen", "0.0.0.0:0", expect=2)[0]
    assert "listen" in check(idle, "--listen", "127.0.0.1", expect=2)[0]
    assert "log_level" in check(idle, expect=2, TRESOR_LOG_LEVEL="loud")[0]


def test_check_wants_a_private_folder(idle, tmp_path):
    idle.chmod(0o750)
    try:
        assert "chmod 700" in check(idle, expect=2)[0]
    finally:
        idle.chmod(0o700)
    assert "tresor init" in check(tmp_path / "none", expect=2)[0]


def test_check_tries_the_passphrase(idle):
    assert len(check(idle, expect=3, TRESOR_KEYRING="wrong")) == 1


def test_check_says_that_another_process_serves(vault):
    lines = check(vault.data, expect=5)
    assert len(lines) == 1 and "another process" in lines[0]
    assert vault.server.alive()


def test_check_looks_at_the_certificate(idle, tmp_path):
    cert, key = make_certificate(tmp_path, "good", "-days", "90")
    assert check(idle, "--tls-cert", cert, "--tls-key", key, expect=0) == ["ok"]
    _, other = make_certificate(tmp_path, "other", "-days", "90")
    assert "problem" in check(idle, "--tls-cert", cert, "--tls-key", other, expect=2)[0]
    soon, key = make_certificate(tmp_path, "soon", "-days", "3")
    lines = check(idle, "--tls-cert", soon, "--tls-key", key, expect=0)
    assert lines[0].startswith("warning: ") and "expires soon" in lines[0] and lines[1] == "ok"
    assert "problem" in check(idle, "--tls-cert", tmp_path / "none", "--tls-key", key, expect=2)[0]


def test_check_looks_at_the_backup_folder(idle, tmp_path):
    backup = tmp_path / "backup"
    assert "backup_dir" in check(idle, "--backup-dir", backup, expect=2)[0]
    backup.write_text("")
    assert "not a folder" in check(idle, "--backup-dir", backup, expect=2)[0]
    backup.unlink()
    backup.mkdir()
    assert check(idle, "--backup-dir", backup, expect=0) == ["ok"] and not list(backup.iterdir())
    other = tmp_path / "other"
    run_tresor("init", "--data", other, check=0)
    run_tresor("backup", "--data", other, "--to", backup, check=0)
    assert check(other, "--backup-dir", backup, expect=0) == ["ok"]
    (line,) = check(idle, "--backup-dir", backup, expect=1)
    assert "another vault" in line and str(backup) in line
    (backup / "keys.tresor").unlink()
    (line,) = check(other, "--backup-dir", backup, expect=7)
    assert "right disk" in line


def test_check_finds_a_backup_folder_that_cannot_be_written_to(idle, tmp_path):
    backup = tmp_path / "backup"
    backup.mkdir(mode=0o500)
    command = [str(BINARY), "serve", "--check", "--data", str(idle), "--listen", "127.0.0.1:0", "--backup-dir", str(backup)]
    if os.geteuid() == 0:  # whom no permission stops
        command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"', "_", str(backup), *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment())
    assert done.returncode == 2, done.stderr
    assert "backup_dir" in done.stdout and "cannot be written to" in done.stdout


def test_check_tries_the_address(idle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lines = check(idle, "--listen", "127.0.0.1:%d" % taken.getsockname()[1], expect=2)
    assert len(lines) == 1 and "in use" in lines[0]


def test_check_gives_every_problem_a_line_and_the_code_of_the_first(idle, tmp_path):
    cert, _ = make_certificate(tmp_path, "a", "-days", "90")
    _, key = make_certificate(tmp_path, "b", "-days", "90")
    assert len(check(idle, "--tls-cert", cert, "--tls-key", key, expect=3, TRESOR_KEYRING="wrong")) == 2


# ---- serve ----

def test_routes_are_json():
    assert json.loads(run_tresor("serve", "--routes", check=0).stdout)


def test_serve_without_a_vault_says_to_init(tmp_path):
    assert "tresor init" in run_tresor("serve", "--data", tmp_path / "none", check=2).stderr


def test_two_servers_do_not_share_a_folder(vault):
    run_tresor("serve", "--data", vault.data, "--listen", "127.0.0.1:0", check=5)
    assert vault.server.alive()


def test_log_is_json_lines_and_holds_no_secret(vault, operator):
    operator.call("GET", "/v1/principals", check=0)
    entries = [json.loads(line) for line in vault.server.lines]
    assert {"starting", "listening"} <= {e["event"] for e in entries}
    assert operator.state()["access-token"] not in vault.server.log()


def test_health(vault, tmp_path):
    assert json.loads(run_tresor("health", "--url", vault.url, "--ca", vault.ca, check=0).stdout) == {"status": "ready"}
    assert json.loads(run_tresor("health", "--live", "--data", vault.data, "--listen", f"127.0.0.1:{vault.port}",
                                 check=0).stdout) == {"status": "ok"}
    assert run_tresor("health", "--data", vault.data, "--listen", f"0.0.0.0:{vault.port}", check=0)
    assert run_tresor("health", "--url", vault.url, "--ca", make_certificate(tmp_path, "x")[0], check=1).stderr
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
        assert run_tresor("health", "--url", "https://127.0.0.1:%d" % silent.getsockname()[1], "--timeout", "1", check=1).stderr


def served_certificate(port):
    return ssl.get_server_certificate(("127.0.0.1", port))


def test_sighup_takes_the_new_certificate_and_keeps_the_old_when_it_is_bad(idle, tmp_path):
    cert, key = make_certificate(tmp_path, "first", "-days", "90")
    server = Server(idle, "--tls-cert", cert, "--tls-key", key).start()
    try:
        first = served_certificate(server.port)
        new_cert, new_key = make_certificate(tmp_path, "second", "-days", "90")
        cert.write_bytes(new_cert.read_bytes())  # the key does not fit yet
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "tls.reload_failed" in server.log(), "the refusal in the log")
        assert served_certificate(server.port) == first
        key.write_bytes(new_key.read_bytes())
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "tls.reloaded" in server.log(), "the reload in the log")
        assert served_certificate(server.port) == new_cert.read_text()
    finally:
        server.stop()


@contextlib.contextmanager
def request_under_way(server):
    """A POST whose body does not come to its end."""
    context = ssl.create_default_context(cafile=str(server.ca))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="127.0.0.1") as tls:
        tls.sendall(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        yield tls


def ready_status(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/readyz")
    return connection.getresponse().status


def metrics_port(server):
    wait_until(lambda: '"listener":"metrics"' in server.log(), "the metrics listener")
    return next(e["port"] for e in map(json.loads, server.lines) if e.get("listener") == "metrics")


@pytest.fixture
def slow(tmp_path):
    """A server that waits a minute for its requests when told to stop."""
    data = tmp_path / "slow"
    run_tresor("init", "--data", data, check=0)
    server = Server(data, "--drain-timeout-ms", "60000", "--request-timeout-ms", "60000", "--metrics-listen", "127.0.0.1:0").start()
    yield server
    if server.alive():
        server.kill()


def test_sigterm_waits_for_a_request_and_is_not_ready_meanwhile(slow):
    port = metrics_port(slow)
    assert ready_status(port) == 200
    with request_under_way(slow) as tls:
        wait_until(lambda: active_requests(port) >= 1, "the request under way")
        slow.process.send_signal(signal.SIGTERM)
        wait_until(lambda: ready_status(port) == 503, "not ready")
        tls.sendall(b" " * 98 + b"}")
        assert tls.recv(65536).startswith(b"HTTP/1.1 4")
        assert slow.process.wait(30) == 0
    slow._closed()
    assert json.loads(slow.lines[-1])["event"] == "stopped"
    assert not SANITIZER.search(slow.errors()), slow.errors()


def active_requests(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    return int(re.search(r"^tresor_http_active_requests (\d+)$", connection.getresponse().read().decode(), re.M)[1])


def test_a_second_sigterm_ends_the_wait(slow):
    with request_under_way(slow):
        wait_until(lambda: active_requests(metrics_port(slow)) >= 1, "the request under way")
        slow.process.send_signal(signal.SIGTERM)
        wait_until(lambda: ready_status(metrics_port(slow)) == 503, "not ready")
        begun = time.monotonic()
        slow.process.send_signal(signal.SIGINT)
        assert slow.process.wait(30) == 0
        assert time.monotonic() - begun < 10
    slow._closed()
    drained = next(e for e in map(json.loads, slow.lines) if e["event"] == "drained")
    assert drained["running"] >= 1 and drained["cut_short"] is True
