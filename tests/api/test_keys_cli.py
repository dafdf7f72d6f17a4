"""Keys at the command line: shares and unsealing, rekey, moves between providers, recovery, and the exit code of each failure."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import time

import pytest

from cli_tools import mode, wait_until
from tresor_client import ADA, BINARY, Server, Vault, World, environment, run_tresor

WRONG, CORRUPT, LOCKED, HSM, SHARES = 3, 4, 5, 8, 9
SOFTHSM = next((p for p in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so") if os.path.exists(p)), None)
needs_hsm = pytest.mark.skipif(not SOFTHSM or not shutil.which("softhsm2-util"), reason="SoftHSM2 is not installed")
LISTEN = ("--listen", "127.0.0.1:0")


def init(data, *args, check=0, **more):
    return run_tresor("init", "--data", data, *args, check=check, **more)


def content(data):
    """What is kept; an empty WAL and its index are not."""
    return {p.name: p.read_bytes() for p in sorted(data.iterdir())
            if p.is_file() and p.name != "lock" and not p.name.endswith("-shm") and not (p.name.endswith("-wal") and p.stat().st_size == 0)}


def with_input(text, *args, check=None):
    done = subprocess.run([str(BINARY), *map(str, args)], input=text, capture_output=True, text=True, env=environment(), timeout=120)
    if check is not None:
        assert done.returncode == check, f"{args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def unseal(data, share, check=0):
    done = with_input(share + "\n", "keys", "unseal", "--data", data, check=check)
    return json.loads(done.stdout) if done.stdout else done


def events(server, name):
    found = []
    for line in server.lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("event") == name:
            found.append(entry)
    return found


class SealedServer(Server):
    """A server that does not listen until its shares have come."""

    def begin(self):
        pool = concurrent.futures.ThreadPoolExecutor(1)
        self.started = pool.submit(self.start)
        wait_until(lambda: self.process is not None and events(self, "sealed") or self.started.done(), "the server is sealed")
        if self.started.done():
            self.started.result()
        return self

    def open(self, shares):
        for share in shares:
            unseal(self.data, share)
        return self.started.result(60)


@pytest.fixture
def split(tmp_path):
    """A vault that any two of three open; its shares."""
    data = tmp_path / "vault"
    made = json.loads(init(data, "--provider", "split", "--shares", 3, "--threshold", 2).stdout)
    return data, made


def served(data, credentials, *flags, server=None):
    """A Vault over a folder that is there, with its server started."""
    vault = Vault.__new__(Vault)
    vault.binary, vault.data, vault.credentials, vault.secrets = BINARY, pathlib.Path(data), credentials, []
    vault.server = server or Server(data, *flags).start()
    return vault


def stored(world):
    subject = world.subject
    return [subject.get(f"/v1/subjects/{subject.subject}/records/{r}").json() for r in subject.records]


# ---- split: unsealing ----

def test_shares_are_printed_once_and_stand_nowhere(split):
    data, made = split
    shares = made["shares"]
    assert len(set(shares)) == 3 and set(made) == {"operator", "officer", "auditor", "shares"}
    assert not (data / "keyring.passphrase").exists() and mode(data / "keyring") == 0o600
    for name, text in content(data).items():
        for share in shares:
            assert share.encode() not in text and share.replace("-", "").encode() not in text, name


def test_unsealing(split):
    data, made = split
    shares = made["shares"]
    server = SealedServer(data).begin()
    try:
        assert (events(server, "sealed")[0]["needed"], events(server, "sealed")[0]["shares"]) == (2, 3)
        assert stat.S_ISSOCK(os.stat(data / "unseal.sock").st_mode) and mode(data / "unseal.sock") == 0o600
        assert unseal(data, shares[2]) == {"accepted": True, "number": 3, "given": 1, "missing": 1}
        assert unseal(data, shares[2], check=1) == {"accepted": False, "status": "already-exists",
                                                    "reason": "share 3 was given already", "given": 1, "missing": 1}
        typo = shares[0][:-1] + ("0" if shares[0][-1] != "0" else "1")
        for wrong in (typo, "nonsense", "x" * 5000):
            said = with_input(wrong + "\n", "keys", "unseal", "--data", data)
            assert said.returncode == WRONG, said
        assert not server.started.done() and server.alive()
        assert unseal(data, "  " + shares[0].lower() + " ") == {"accepted": True, "number": 1, "given": 2, "missing": 0}
        server.started.result(60)
        assert events(server, "unsealed") and not (data / "unseal.sock").exists()
        assert unseal(data, shares[1], check=2).stdout == ""  # nobody waits for it any more
        log = server.log() + server.errors()
        assert not any(share in log or share.lower() in log for share in shares)
        vault = served(data, made, server=server)
        world = World(vault)
        assert stored(world)[0]["data"] == ADA
        assert world.operator.get("/v1/keys").json()["provider"] == "split"
        [entry] = [e for e in world.auditor.pages("/v1/audit", limit=100) if e["action"] == "vault.unseal"]
        assert entry["detail"] == "shares 3, 1"
        server.stop()
    finally:
        server.kill() if server.alive() else None
    server = SealedServer(data).begin().open(shares[:2])
    server.stop()


def test_a_share_of_another_keyring_is_refused(split, tmp_path):
    data, made = split
    other = json.loads(init(tmp_path / "other", "--provider", "split", "--shares", 3, "--threshold", 2).stdout)["shares"]
    server = SealedServer(data).begin()
    try:
        unseal(data, made["shares"][0])
        said = unseal(data, other[1], check=WRONG)
        assert said["accepted"] is False and "another" in said["reason"] and said["missing"] == 1
        server.open(made["shares"][1:2])
        server.stop()
    finally:
        server.kill() if server.alive() else None


def test_a_sealed_server_ends_when_told_and_holds_the_folder(split):
    data, made = split
    server = SealedServer(data).begin()
    try:
        run_tresor("serve", "--data", data, *LISTEN, check=LOCKED)
        with_input("\n".join(made["shares"]), "keys", "rekey", "--data", data, check=LOCKED)
        unseal(data, made["shares"][0])
        server.process.terminate()
        assert server.process.wait(30) == 0
        wait_until(server.started.done, "the wait ended")
        assert not (data / "unseal.sock").exists()
    finally:
        server.process.kill()
    with pytest.raises(AssertionError):
        server.started.result()


def test_a_peer_that_sends_nothing_does_not_hold_the_server(split):
    data, made = split
    server = SealedServer(data).begin()
    try:
        idle = socket.socket(socket.AF_UNIX)
        idle.connect(str(data / "unseal.sock"))
        began = time.monotonic()
        server.open(made["shares"][:2])
        assert time.monotonic() - began < 30
        idle.close()
        server.stop()
    finally:
        server.kill() if server.alive() else None


def test_a_stale_socket_is_no_hindrance(split):
    data, made = split
    server = SealedServer(data).begin()
    server.process.kill()
    server.process.wait(30)
    assert (data / "unseal.sock").exists()
    unseal(data, made["shares"][0], check=2)
    server = SealedServer(data).begin().open(made["shares"][1:])
    server.stop()


def test_a_folder_with_a_long_name(tmp_path):
    data = tmp_path / ("d" * 120) / "vault"
    data.parent.mkdir()
    shares = json.loads(init(data, "--provider", "split", "--shares", 2, "--threshold", 2).stdout)["shares"]
    SealedServer(data).begin().open(shares).stop()


def test_check_says_what_a_sealed_keyring_needs(split):
    data, _ = split
    done = run_tresor("serve", "--check", "--data", data, *LISTEN, check=0)
    assert "2 of 3 shares" in done.stdout and done.stdout.endswith("ok\n")


def test_offline_commands_take_shares(split, tmp_path):
    data, made = split
    files = []
    for number, share in enumerate(made["shares"]):
        files.append(tmp_path / f"share{number}")
        files[-1].write_text(share + "\n")
    by_file = [a for f in files[:2] for a in ("--share-file", f)]
    before = content(data)
    done = run_tresor("audit", "verify", "--data", data, *by_file, check=0)
    assert json.loads(done.stdout)["ok"] is True
    with_input("\n\n".join(made["shares"][1:]) + "\n", "audit", "verify", "--data", data, check=0)
    with_input("", "keys", "rekey", "--data", data, check=SHARES)
    done = with_input(made["shares"][0] + "\n", "keys", "rekey", "--data", data, check=SHARES)
    assert "2 shares of 3" in done.stderr
    done = run_tresor("keys", "rekey", "--data", data, "--share-file", files[0], check=SHARES)
    done = run_tresor("keys", "rekey", "--data", data, "--share-file", files[0], "--share-file", files[0], check=WRONG)
    assert "twice" in done.stderr and "share0" in done.stderr
    files[1].write_text(made["shares"][1][:-1])
    done = run_tresor("keys", "rekey", "--data", data, *by_file, check=WRONG)
    assert "share1" in done.stderr
    assert content(data) == before
    done = with_input("\n".join(made["shares"][:2]), "keys", "rekey", "--data", data, check=0)
    assert json.loads(done.stdout) == {"rekeyed": ["vault.db", "keys.db", "audit.db"]}


@pytest.mark.parametrize("args, named", [
    (("--provider", "vault"), "provider"), (("--provider", "split"), "--shares"), (("--shares", "3"), "--shares"),
    (("--provider", "split", "--shares", "3"), "--threshold"), (("--provider", "split", "--shares", "2", "--threshold", "3"), "--threshold"),
    (("--provider", "split", "--shares", "17", "--threshold", "3"), "--shares"), (("--provider", "pkcs11"), "--pkcs11-module"),
    (("--provider", "split", "--shares", "3", "--threshold", "1"), "--threshold"),
    (("--provider", "pkcs11", "--pkcs11-module", "/none"), "--pkcs11-token"),
])
def test_init_names_what_is_wrong(tmp_path, args, named):
    done = init(tmp_path / "vault", *args, check=2)
    assert named in done.stderr and not (tmp_path / "vault").exists()


# ---- rekey ----

def test_rekey_gives_every_database_a_new_key(tmp_path):
    vault = Vault(tmp_path).start()
    world = World(vault)
    before = stored(world)
    run_tresor("keys", "rekey", "--data", vault.data, check=LOCKED)
    vault.server.kill()  # the WALs are full, and are not lost
    old = content(vault.data)
    done = run_tresor("keys", "rekey", "--data", vault.data, check=0)
    assert json.loads(done.stdout) == {"rekeyed": ["vault.db", "keys.db", "audit.db"]}
    new = content(vault.data)
    for name in ("vault.db", "keys.db", "audit.db"):
        assert old[name][:16] != new[name][:16] and mode(vault.data / name) == 0o600
        mixed = tmp_path / "mixed"
        shutil.rmtree(mixed, ignore_errors=True)
        shutil.copytree(vault.data, mixed)
        (mixed / name).write_bytes(old[name])  # the old file does not open with the new key
        assert run_tresor("serve", "--check", "--data", mixed, *LISTEN).returncode == WRONG
    vault.start()
    assert stored(world) == before
    assert [e["action"] for e in world.auditor.pages("/v1/audit", limit=100)].count("keys.rekey") == 1
    vault.stop()


def test_rekey_that_cannot_changes_nothing(tmp_path):
    data = tmp_path / "vault"
    init(data)
    (tmp_path / "wrong").write_text("wrong")
    before = content(data)
    run_tresor("keys", "rekey", "--data", data, "--keyring-file", tmp_path / "wrong", check=WRONG)
    assert content(data) == before
    run_tresor("keys", "rekey", "--data", tmp_path / "none", check=2)
    damaged = bytearray(before["keyring"])
    damaged[len(damaged) // 2] ^= 1
    (data / "keyring").write_bytes(damaged)
    run_tresor("keys", "rekey", "--data", data, check=CORRUPT)
    (data / "keyring").write_bytes(before["keyring"])
    page = bytearray(before["vault.db"])
    page[8192 + 100] ^= 1
    (data / "vault.db").write_bytes(page)
    done = run_tresor("keys", "rekey", "--data", data)
    assert done.returncode == CORRUPT and "vault.db" in done.stderr
    (data / "vault.db").write_bytes(before["vault.db"])
    run_tresor("serve", "--check", "--data", data, *LISTEN, check=0)
    assert {"vault.db", "keys.db", "audit.db"} == {n for n in content(data) if ".db" in n}


# ---- recovery ----

def recovery_key(folder):
    file = folder / "recovery"
    run_tresor("keys", "recovery-keypair", "--out", file, check=0)
    return file


def test_a_recovery_key_is_made_once(tmp_path):
    file = recovery_key(tmp_path)
    assert mode(file) == 0o600
    before = file.read_bytes()
    run_tresor("keys", "recovery-keypair", "--out", file, check=1)
    assert file.read_bytes() == before and file.with_suffix(".pub").read_bytes() != before


@pytest.mark.parametrize("fault", ["lost", "forgotten", "damaged"])
def test_restore(tmp_path, fault):
    vault = Vault(tmp_path).start()
    world = World(vault)
    before = stored(world)
    vault.stop()
    key = recovery_key(tmp_path)
    done = run_tresor("keys", "recovery", "--data", vault.data, "--public-key", tmp_path / "recovery.pub", check=0)
    assert json.loads(done.stdout) == {"recovery": True} and mode(vault.data / "keyring.recovery") == 0o600
    vault.start()
    world.operator.post("/v1/keys/rotate", None)  # the recovery file follows
    other = world.make_subject({**ADA, "name": "Later"})
    vault.stop()
    run_tresor("keys", "rekey", "--data", vault.data, check=0)
    if fault == "lost":
        (vault.data / "keyring").unlink()
    if fault == "damaged":
        (vault.data / "keyring").write_bytes(b"{}")
    (vault.data / "keyring.passphrase").unlink()
    run_tresor("serve", "--data", vault.data, *LISTEN, check=CORRUPT if fault == "damaged" else 2)
    broken = content(vault.data)
    run_tresor("restore", "--data", vault.data, "--recovery-key", recovery_key_of_another(tmp_path), check=WRONG)
    assert content(vault.data) == broken
    done = run_tresor("restore", "--data", vault.data, "--recovery-key", key, check=0)
    assert json.loads(done.stdout) == {"provider": "file", "version": 2}
    assert mode(vault.data / "keyring.passphrase") == 0o600
    vault.start()
    assert stored(world) == before and other.get(f"/v1/subjects/{other.subject}/records/{other.records[0]}").json()["data"]["name"] == "Later"
    assert "keys.restore" in [e["action"] for e in world.auditor.pages("/v1/audit", limit=100)]
    world.operator.post("/v1/keys/rotate", None)
    vault.stop()
    (vault.data / "keyring").unlink()  # and it can be done again
    run_tresor("restore", "--data", vault.data, "--recovery-key", key, check=0)


def recovery_key_of_another(folder):
    (folder / "another").mkdir(exist_ok=True)
    return recovery_key(folder / "another")


def test_restore_refuses_a_recovery_file_that_is_too_old(tmp_path):
    vault = Vault(tmp_path).start()
    key = recovery_key(tmp_path)
    vault.stop()
    run_tresor("keys", "recovery", "--data", vault.data, "--public-key", tmp_path / "recovery.pub", check=0)
    old = (vault.data / "keyring.recovery").read_bytes()
    vault.start()
    world = World(vault)
    world.operator.post("/v1/keys/rotate", None)
    wait_until(lambda: not world.operator.get("/v1/keys").json()["rewrapping"], "wrapped again")
    vault.stop()
    (vault.data / "keyring.recovery").write_bytes(old)
    keyring = (vault.data / "keyring").read_bytes()
    done = run_tresor("restore", "--data", vault.data, "--recovery-key", key, check=CORRUPT)
    assert "too old" in done.stderr and (vault.data / "keyring").read_bytes() == keyring
    assert not list(vault.data.glob("keyring.restored*"))
    run_tresor("serve", "--check", "--data", vault.data, *LISTEN, check=0)


def test_restore_beside_a_server_and_of_a_mistyped_key(tmp_path):
    vault = Vault(tmp_path)
    key = recovery_key(tmp_path)
    public = (tmp_path / "recovery.pub").read_text()
    (tmp_path / "typo.pub").write_text(public[:-3] + ("A" if public[-3] != "A" else "B") + public[-2:])
    run_tresor("keys", "recovery", "--data", vault.data, "--public-key", tmp_path / "typo.pub", check=2)
    run_tresor("keys", "recovery", "--data", vault.data, "--public-key", key, check=2)  # the private one
    run_tresor("restore", "--data", vault.data, "--recovery-key", key, check=2)  # nothing was prepared
    run_tresor("keys", "recovery", "--data", vault.data, "--public-key", tmp_path / "recovery.pub", check=0)
    vault.start()
    run_tresor("restore", "--data", vault.data, "--recovery-key", key, check=LOCKED)
    run_tresor("keys", "recovery", "--data", vault.data, "--public-key", tmp_path / "recovery.pub", check=LOCKED)
    vault.stop()


def test_restore_into_shares(tmp_path):
    data = tmp_path / "vault"
    init(data)
    key = recovery_key(tmp_path)
    run_tresor("keys", "recovery", "--data", data, "--public-key", tmp_path / "recovery.pub", check=0)
    (data / "keyring").unlink()
    done = run_tresor("restore", "--data", data, "--recovery-key", key, "--provider", "split", "--shares", 3, "--threshold", 3, check=0)
    shares, result = map(json.loads, done.stdout.splitlines())
    assert result == {"provider": "split", "version": 1}
    with_input("\n".join(shares["shares"]), "audit", "verify", "--data", data, check=0)


# ---- migrate ----

def test_migrate_through_the_providers(tmp_path):
    """file, split, split anew, file: the data is there, the old secret opens nothing, the recovery key goes along."""
    vault = Vault(tmp_path).start()
    world = World(vault)
    before = stored(world)
    world.operator.post("/v1/keys/rotate", None)
    vault.stop()
    key, data = recovery_key(tmp_path), vault.data
    run_tresor("keys", "recovery", "--data", data, "--public-key", tmp_path / "recovery.pub", check=0)
    done = run_tresor("keys", "migrate", "--to", "split", "--shares", 3, "--threshold", 2, "--data", data, check=0)
    shares, result = map(json.loads, done.stdout.splitlines())
    assert result == {"provider": "split", "version": 3, "keys_moved": 6}
    assert "keyring.passphrase" in done.stderr
    done = with_input("\n".join(shares["shares"][:2]), "keys", "migrate", "--to", "split", "--shares", 2, "--threshold", 2, "--data", data,
                      check=0)
    again, result = map(json.loads, done.stdout.splitlines())
    assert result["version"] == 4
    with_input("\n".join(shares["shares"][:2]), "audit", "verify", "--data", data, check=WRONG)
    server = SealedServer(data).begin().open(again["shares"])
    vault.server = server
    assert stored(world) == before
    answer = world.operator.get("/v1/keys").json()
    assert answer["provider"] == "split" and [k["version"] for k in answer["items"]] == [4]
    server.stop()
    (tmp_path / "new").write_text("the last passphrase")
    args = ("keys", "migrate", "--to", "file", "--data", data)
    with_input("\n".join(again["shares"]), *args, check=2)
    with_input("\n".join(again["shares"]), *args, "--new-keyring-file", tmp_path / "new", check=0)
    vault.server = Server(data, "--keyring-file", tmp_path / "new").start()
    assert stored(world) == before
    actions = [e["action"] for e in world.auditor.pages("/v1/audit", limit=100)]
    assert actions.count("keys.migrate") == 3
    vault.stop()
    (data / "keyring").unlink()
    (data / "keyring.passphrase").unlink()
    run_tresor("restore", "--data", data, "--recovery-key", key, check=0)
    run_tresor("audit", "verify", "--data", data, check=0)


def test_migrate_that_cannot_changes_nothing(tmp_path):
    data = tmp_path / "vault"
    init(data)
    before = content(data)
    (tmp_path / "wrong").write_text("wrong")
    args = ("keys", "migrate", "--data", data)
    run_tresor(*args, check=2)
    run_tresor(*args, "--to", "moon", check=2)
    run_tresor(*args, "--to", "file", check=2)
    run_tresor(*args, "--to", "split", "--shares", 2, "--threshold", 2, "--keyring-file", tmp_path / "wrong", check=WRONG)
    run_tresor(*args, "--to", "pkcs11", "--pkcs11-module", "/nowhere.so", "--pkcs11-token", "x", check=HSM, TRESOR_KEYRING_NEW="1234")
    assert content(data) == before


def test_shares_that_nobody_saw_move_nothing(tmp_path):
    """The shares cannot be printed: nothing is moved, and the next run makes others."""
    data = tmp_path / "vault"
    init(data)
    args = [str(BINARY), "keys", "migrate", "--to", "split", "--shares", "2", "--threshold", "2", "--data", str(data)]
    with open("/dev/full", "w") as full:
        assert subprocess.run(args, stdout=full, stderr=subprocess.PIPE, env=environment()).returncode == 7
    run_tresor("audit", "verify", "--data", data, check=0)
    done = run_tresor(*args[1:], check=0)
    with_input("\n".join(json.loads(done.stdout.splitlines()[0])["shares"]), "audit", "verify", "--data", data, check=0)


# ---- an HSM ----

@pytest.fixture
def token(tmp_path, monkeypatch):
    """A SoftHSM token of this test's own."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "vault", "--so-pin", "87654321", "--pin", "24681357"], check=True,
                   capture_output=True)
    (tmp_path / "pin").write_text("24681357\n")
    return ("--pkcs11-module", SOFTHSM, "--pkcs11-token", "vault")


@needs_hsm
def test_a_vault_in_an_hsm(tmp_path, token, monkeypatch):
    data, pin = tmp_path / "vault", ("--keyring-file", tmp_path / "pin")
    init(data, "--provider", "pkcs11", *token, check=2)  # no PIN
    init(data, "--provider", "pkcs11", *token, check=WRONG, TRESOR_KEYRING="1111")
    assert not data.exists()
    credentials = json.loads(init(data, "--provider", "pkcs11", *token, *pin).stdout)
    vault = served(data, credentials, *pin)
    world = World(vault)
    before = stored(world)
    world.operator.post("/v1/keys/rotate", None)
    vault.restart()
    assert stored(world) == before and world.operator.get("/v1/keys").json()["provider"] == "pkcs11"
    vault.stop()
    run_tresor("keys", "rekey", "--data", data, *pin, check=0)
    key = recovery_key(tmp_path)
    run_tresor("keys", "recovery", "--data", data, *pin, "--public-key", f"{key}.pub", check=2)
    files = content(data)
    run_tresor("serve", "--data", data, *LISTEN, check=WRONG, TRESOR_KEYRING="1111")
    monkeypatch.setenv("SOFTHSM2_CONF", "/dev/null")
    for command in (("serve", *LISTEN), ("keys", "rekey")):
        done = run_tresor(*command, "--data", data, *pin, check=HSM)
        assert "token" in done.stderr
    assert content(data) == files


@needs_hsm
def test_migrate_into_an_hsm_and_out_of_it(tmp_path, token):
    vault = Vault(tmp_path).start()
    world = World(vault)
    before, data, pin = stored(world), vault.data, tmp_path / "pin"
    vault.stop()
    recovery_key(tmp_path)
    run_tresor("keys", "recovery", "--data", data, "--public-key", tmp_path / "recovery.pub", check=0)
    run_tresor("keys", "migrate", "--to", "pkcs11", *token, "--data", data, "--new-keyring-file", pin, check=0)
    (data / "keyring.passphrase").unlink()
    assert not (data / "keyring.recovery").exists()  # it would open nothing any more
    run_tresor("keys", "migrate", "--to", "pkcs11", *token, "--data", data, "--keyring-file", pin, "--new-keyring-file", pin, check=2)
    vault.server = Server(data, "--keyring-file", pin).start()
    assert stored(world) == before
    vault.stop()
    run_tresor("keys", "migrate", "--to", "file", "--data", data, "--keyring-file", pin, check=0, TRESOR_KEYRING_NEW="a passphrase")
    run_tresor("audit", "verify", "--data", data, check=0, TRESOR_KEYRING="a passphrase")


# ---- a systemd credential ----

def test_passphrase_from_a_systemd_credential(tmp_path):
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "tresor-keyring").write_text("from systemd\n")
    given = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    data = tmp_path / "vault"
    init(data, **given)
    assert not (data / "keyring.passphrase").exists()
    run_tresor("audit", "verify", "--data", data, check=0, **given)
    run_tresor("audit", "verify", "--data", data, check=2)
    run_tresor("audit", "verify", "--data", data, check=WRONG, TRESOR_KEYRING="another", **given)  # the variable comes first


def test_keys_without_a_subcommand():
    assert "unseal" in run_tresor("keys", check=2).stderr
    assert "unseal" in run_tresor("keys", "moon", check=2).stderr
    help_text = run_tresor("keys", "--help", check=0).stdout
    assert "Offline" in help_text and "tresor call POST /v1/keys/rotate" in help_text
