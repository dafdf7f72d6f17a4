"""The serving process seen from outside: what it may still do, and that all it is for goes on."""
import grp
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest

from cli_tools import wait_until
from tresor_client import ADA, Anonymous, Server, Vault, World, run_tresor

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def statuses(process):
    """/proc's status of every thread."""
    return [dict(re.findall(r"^(\w+):\s*(.*)$", task.joinpath("status").read_text(), re.M))
            for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()]


def confined(server):
    return next(json.loads(line) for line in server.lines if '"event":"confined"' in line)


def relaxed(server):
    return "sanitizer" in confined(server)["why"]


def test_every_thread_is_confined(vault):
    said = confined(vault.server)
    Anonymous(vault).raw("GET", "/healthz")
    for status in statuses(vault.server.process):
        assert status["NoNewPrivs"] == ("1" if said["landlock"] or said["seccomp"] else "0")
        assert status["Seccomp"] == ("2" if said["seccomp"] else "0")
    if not relaxed(vault.server):
        assert said["seccomp"] is True


@pytest.mark.flags("--confine", "no")
def test_it_can_be_switched_off_and_asked_for_strictly(fresh_vault):
    said = confined(fresh_vault.server)
    assert (said["landlock"], said["seccomp"], said["level"]) == (0, False, "warn") and said["why"]
    assert {s["Seccomp"] for s in statuses(fresh_vault.server.process)} == {"0"}
    fresh_vault.stop()
    if os.geteuid() == 0:  # which is less than strict is content with
        done = run_tresor("serve", "--data", fresh_vault.data, "--listen", "127.0.0.1:0", "--confine", "strict", check=2)
        assert "confine" in done.stderr and "strict" in done.stderr


@pytest.mark.parametrize("flags,setting", [
    (("--confine", "maybe"), "confine"), (("--run-as", "no-such-user-here"), "run_as"), (("--run-as", "root"), "run_as"),
    (("--run-as", ":daemon"), "run_as")])
def test_settings_that_cannot_be_are_named(tmp_path, flags, setting):
    done = run_tresor("serve", "--data", tmp_path, "--listen", "127.0.0.1:0", *flags, check=2)
    assert setting in done.stderr


# ---- another user ----

# A leak check traces the process, which one that is not dumpable refuses to anybody but root.
NO_LEAK_CHECK = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "abort_on_error=0") + ":detect_leaks=0"}


@pytest.fixture
def open_folder():
    """A folder that another user reaches, which pytest's own are not."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tresor-confine-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def give(path, user):
    entry = pwd.getpwnam(user)
    for one in (path, *path.rglob("*")):
        os.chown(one, entry.pw_uid, entry.pw_gid)


@ROOT_ONLY
def test_root_becomes_the_user_of_run_as(open_folder):
    vault = Vault(open_folder, "--run-as", "nobody")
    backup = open_folder / "backup"
    backup.mkdir()
    give(vault.data, "nobody")
    give(backup, "nobody")
    vault.server.flags += ["--backup-dir", str(backup), "--backup-every-s", "0"]
    vault.server.env = NO_LEAK_CHECK
    vault.start()
    try:
        if confined(vault.server)["landlock"] and not relaxed(vault.server):
            vault.stop()
            vault.server.flags += ["--confine", "strict"]
            vault.start()
        uid, gid = pwd.getpwnam("nobody")[2:4]
        for status in statuses(vault.server.process):
            assert set(status["Uid"].split()) == {str(uid)} and set(status["Gid"].split()) == {str(gid)}
            assert set(status["Groups"].split()) <= {str(gid)}
            for capabilities in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                assert int(status[capabilities], 16) == 0
        world = World(vault)
        world.operator.post("/v1/snapshots", None)
        assert {path.stat().st_uid for path in [*vault.data.rglob("*"), *backup.rglob("*")]} == {uid}
    finally:
        if vault.server.alive():
            vault.stop()


@ROOT_ONLY
def test_a_low_port_needs_no_root_that_stays(open_folder):
    vault = Vault(open_folder, "--run-as", "nobody:" + grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name)
    give(vault.data, "nobody")
    for port in range(801, 900):
        server = Server(vault.data, *vault.server.flags, "--listen", f"127.0.0.1:{port}")
        server.env = NO_LEAK_CHECK
        try:
            server.start()
            break
        except AssertionError as failed:
            assert "in use" in str(failed) or "listen" in str(failed)
    assert server.port == port
    try:
        wait_until(lambda: all(int(s["CapPrm"], 16) == int(s["CapEff"], 16) == 0 for s in statuses(server.process)),
                   "the last capability to go")
        assert {u for s in statuses(server.process) for u in s["Uid"].split()} == {str(pwd.getpwnam("nobody").pw_uid)}
    finally:
        server.stop()


# ---- what goes on under it ----

def test_a_certificate_is_replaced_the_way_certificate_clients_do_it(fresh_vault, tmp_path):
    """Let's Encrypt's layout: a link into an archive, where the next certificate is a new file; and a folder elsewhere."""
    live, archive = tmp_path / "live", tmp_path / "archive"
    live.mkdir()
    archive.mkdir()

    def issue(number):
        key, cert = archive / f"key{number}.pem", archive / f"cert{number}.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                        "-out", cert, "-days", "30", "-subj", f"/CN=number {number}", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        for name, target in (("key.pem", key), ("cert.pem", cert)):
            link = live / (name + ".new")
            link.symlink_to(target)
            link.rename(live / name)

    issue(1)
    fresh_vault.stop()
    fresh_vault.server.flags += ["--tls-cert", str(live / "cert.pem"), "--tls-key", str(live / "key.pem")]
    fresh_vault.server.ca = live / "cert.pem"
    fresh_vault.start()
    assert Anonymous(fresh_vault).raw("GET", "/healthz").status_code == 200
    issue(2)
    fresh_vault.server.process.send_signal(1)
    wait_until(lambda: "tls.reload" in fresh_vault.server.log(), "the reload")
    assert '"event":"tls.reloaded"' in fresh_vault.server.log(), fresh_vault.server.log()[-600:]
    assert Anonymous(fresh_vault).raw("GET", "/healthz").status_code == 200  # only the second certificate is trusted


def test_a_backup_folder_that_comes_later(tmp_path):
    backup = tmp_path / "disk" / "backup"
    vault = Vault(tmp_path, "--backup-dir", str(backup), "--backup-every-s", "0").start()
    try:
        world = World(vault)
        world.make_subject(ADA)
        backup.mkdir(parents=True)
        world.operator.post("/v1/snapshots", None)
        assert list(backup.rglob("*.tresor"))
    finally:
        vault.stop()
