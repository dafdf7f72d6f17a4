"""A vault from its snapshots: what comes back, who does not, and what is refused."""
import json
import shutil
import subprocess

import pytest

from tresor_client import ADA, BINARY, Vault, World, environment, expect_problem, run_tresor
from cli_tools import wait_until


@pytest.fixture
def backup(tmp_path):
    folder = tmp_path / "backup"
    folder.mkdir()
    return folder


@pytest.fixture
def world(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "0").start()
    yield World(vault)
    if vault.server.alive():
        vault.stop()


def make(world):
    return world.operator.post("/v1/snapshots", None).json()["id"]


def restore(world, backup, to, *flags, check=0, passphrase=None):
    return run_tresor("restore", "--from", backup, "--data", to, *flags, check=check,
                      TRESOR_KEYRING_FILE=str(passphrase or world.vault.data / "keyring.passphrase"))


def report_of(done):
    return json.loads(done.stdout)


def serve_restored(world, folder):
    """The same clients go on with the restored vault."""
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, folder)
    world.vault.data = world.vault.server.data = folder
    world.vault.start()
    for client in (world.operator, world.officer, world.auditor):
        client.sign_in()


def erase(client):
    answer = client.request("DELETE", f"/v1/subjects/{client.subject}", last=True)
    assert answer.status_code in (200, 202, 204), answer.text
    return answer


# ---- what comes back ----

def test_the_newest_snapshot_comes_back_under_fresh_keys(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    make(world)
    eve.post(f"/v1/subjects/{eve.subject}/records", {"type": "contact", "data": ADA})
    newest = make(world)
    world.vault.stop()
    old_keys = json.loads((world.vault.data / "keyring").read_text())["keys"]
    restored = tmp_path / "restored"
    report = report_of(restore(world, backup, restored))
    assert report["snapshot"] == newest and report["subjects"] == 2
    assert report == json.loads((restored / "restore-report.json").read_text())
    assert (restored.stat().st_mode & 0o077) == 0 and not (tmp_path / "restored.restoring").exists()
    new_keys = json.loads((restored / "keyring").read_text())["keys"]
    assert all(new_keys[name]["wrapped"] != old_keys[name]["wrapped"] for name in old_keys)
    serve_restored(world, restored)
    eve.sign_in()
    assert len(eve.get(f"/v1/subjects/{eve.subject}/records").json()["items"]) == 2
    assert world.vault.verify_audit()[0] == 0
    assert "vault.restore" in [e["action"] for e in world.auditor.pages("/v1/audit?order=asc", limit=100)]
    make(world)  # and the backup goes on


def test_an_empty_folder_is_taken_and_another_is_not(world, backup, tmp_path):
    make(world)
    world.vault.stop()
    empty = tmp_path / "empty"
    empty.mkdir()
    restore(world, backup, empty)
    before = sorted(p.name for p in empty.iterdir())
    done = restore(world, backup, empty, check=1)
    assert "not empty" in done.stderr and sorted(p.name for p in empty.iterdir()) == before


def test_no_session_comes_back(world, backup, tmp_path):
    """A token that was used after the snapshot would be good again."""
    make(world)
    world.vault.stop()
    report = report_of(restore(world, backup, tmp_path / "restored"))
    assert report["sessions_ended"] >= 5
    token, client = world.service.token, world.service.client
    serve_restored(world, tmp_path / "restored")
    world.service.token, world.service.client = token, client
    expect_problem(world.service.request("GET", "/v1/types", last=True), 401, "token-invalid")


# ---- erasure holds ----

def test_an_erased_person_does_not_come_back_from_the_oldest_snapshot(world, backup, tmp_path):
    gone, stays = world.make_subject(ADA), world.make_subject(ADA)
    oldest = make(world)
    make(world)
    erase(gone)
    make(world)
    world.vault.stop()
    restored = tmp_path / "restored"
    report = report_of(restore(world, backup, restored, "--snapshot", oldest))
    assert report["snapshot"] == oldest
    assert report["erased"] == {"by_ledger": 1, "without_key": 0, "to_complete": 0} and report["subjects"] == 2
    serve_restored(world, restored)
    gone.sign_in(expect=401)
    stays.sign_in()
    assert len(stays.get(f"/v1/subjects/{stays.subject}/records").json()["items"]) == 1


def test_an_erasure_after_the_last_snapshot_holds_too(world, backup, tmp_path):
    """The copy of the keys is renewed by the erasure itself."""
    gone = world.make_subject(ADA)
    make(world)
    before = (backup / "keys.tresor").read_bytes()
    erase(gone)
    wait_until(lambda: (backup / "keys.tresor").read_bytes() != before, "the copy of the keys")
    world.vault.stop()
    report = report_of(restore(world, backup, tmp_path / "restored"))
    assert report["erased"]["by_ledger"] == 1 and report["subjects"] == 1


def test_old_snapshots_and_the_newest_keys_do_not_decrypt_the_person(world, backup):
    """Only one copy of the keys is ever in the backup."""
    gone = world.make_subject(ADA)
    make(world)
    erase(gone)
    make(world)
    assert [p.name for p in backup.iterdir() if p.is_file()].count("keys.tresor") == 1
    assert not [p for p in backup.rglob("*") if "keys" in p.name and p.name != "keys.tresor"]


# ---- what is refused ----

def test_what_is_wrong_is_named_and_leaves_nothing(world, backup, tmp_path):
    id = make(world)
    world.vault.stop()
    to = tmp_path / "restored"
    nothing = lambda: not to.exists() and not (tmp_path / "restored.restoring").exists()
    assert "cannot be reached" in restore(world, tmp_path / "nowhere", to, check=7).stderr and nothing()
    (tmp_path / "hollow").mkdir()
    assert "keys.tresor" in restore(world, tmp_path / "hollow", to, check=1).stderr and nothing()
    other = "01920f7e-5f0a-7c3b-8d11-3a9d2c7b6e54"
    assert "no such snapshot" in restore(world, backup, to, "--snapshot", other, check=1).stderr and nothing()
    assert "id of a snapshot" in restore(world, backup, to, "--snapshot", "x", check=2).stderr and nothing()
    wrong = tmp_path / "wrong"
    wrong.write_text("not the passphrase\n")
    restore(world, backup, to, check=3, passphrase=wrong)
    assert nothing()
    done = run_tresor("restore", "--from", backup, "--data", to, check=2)
    assert "passphrase" in done.stderr and nothing()
    for name in (f"snapshots/{id}.tresor", "keys.tresor"):
        path = backup / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        restore(world, backup, to, check=4)
        assert nothing()
        path.write_bytes(whole)
    report_of(restore(world, backup, to))


def test_another_vaults_keyring_is_named(world, backup, tmp_path):
    make(world)
    world.vault.stop()
    (tmp_path / "other").mkdir()
    other = Vault(tmp_path / "other")
    shutil.copy(other.data / "keyring", backup / "keyring")
    done = restore(world, backup, tmp_path / "restored", check=3, passphrase=other.data / "keyring.passphrase")
    assert "keys.tresor" in done.stderr or "key" in done.stderr
    assert not (tmp_path / "restored").exists()


def test_a_full_disk_is_named(world, backup, tmp_path):
    make(world)
    world.vault.stop()
    command = ["bash", "-c", 'ulimit -f 40; trap "" XFSZ; exec "$@"', "_", str(BINARY), "restore", "--from", str(backup), "--data",
               str(tmp_path / "restored")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
                          env=environment(TRESOR_KEYRING_FILE=str(world.vault.data / "keyring.passphrase")))
    assert done.returncode == 7, done.stderr
    assert not (tmp_path / "restored").exists() and not (tmp_path / "restored.restoring").exists()


def test_a_restore_that_was_killed_is_cleaned_up_by_the_next(world, backup, tmp_path):
    make(world)
    world.vault.stop()
    scratch = tmp_path / "restored.restoring"
    scratch.mkdir()
    for name in ("vault.db", "keyring", "lock", "audit.db-wal"):
        (scratch / name).write_bytes(b"half")
    report_of(restore(world, backup, tmp_path / "restored"))
    assert not scratch.exists() and (tmp_path / "restored" / "vault.db").stat().st_size > 4096


# ---- the recovery key ----

def test_the_recovery_key_opens_a_backup_whose_passphrase_is_lost(world, backup, tmp_path):
    world.vault.stop()
    key = tmp_path / "recovery"
    run_tresor("keys", "recovery-keypair", "--out", key, check=0)
    run_tresor("keys", "recovery", "--public-key", f"{key}.pub", "--data", world.vault.data, check=0)
    world.vault.start()
    world.operator.sign_in()
    made = world.operator.post("/v1/snapshots", None).json()
    assert made["recovery"] is True and (backup / "keyring.recovery").exists()
    world.vault.stop()
    restored = tmp_path / "restored"
    done = run_tresor("restore", "--from", backup, "--recovery-key", key, "--data", restored, check=0)
    assert report_of(done)["snapshot"] == made["id"]
    assert (restored / "keyring.passphrase").exists()
    shutil.copy(world.vault.data / "tls.pem", restored)
    shutil.copy(world.vault.data / "tls.key", restored)
    world.vault.data = world.vault.server.data = restored
    world.vault.start()
    world.operator.sign_in()
    assert world.operator.get("/v1/keys").json()["items"][-1]["current"] is True
