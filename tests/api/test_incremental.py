"""Incremental snapshots: what travels, upon what they are put, what comes back, what is refused."""
import json
import shutil

import pytest

from tresor_client import ADA, Vault, World, expect_problem, run_tresor
from cli_tools import wait_until

PAGE = 4096


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


def make(world, kind="incremental"):
    return world.operator.post("/v1/snapshots", {"kind": kind}).json()


def write(client, text, size=200):
    client.post(f"/v1/subjects/{client.subject}/records",
                {"type": "contact", "data": {**ADA, "name": text + "x" * size}}, expect=201)


def names(client):
    rows = client.pages(f"/v1/subjects/{client.subject}/records", limit=100)
    return [r["data"]["name"].rstrip("x") for r in rows]


def restore(world, backup, to, *flags, check=0):
    return run_tresor("restore", "--from", backup, "--data", to, *flags, check=check,
                      TRESOR_KEYRING_FILE=str(world.vault.data / "keyring.passphrase"))


def serve_restored(world, folder):
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, folder)
    world.vault.data = world.vault.server.data = folder
    world.vault.start()
    for client in (world.operator, world.officer, world.auditor):
        client.sign_in()


def snapshot_file(backup, id):
    return backup / "snapshots" / f"{id}.tresor"


def test_only_what_changed_travels(world, backup):
    eve = world.make_subject(ADA)
    for i in range(300):
        write(eve, f"{i}-", 150)
    full = make(world)
    assert full["kind"] == "full" and full["base"] is None  # there was none to put it upon
    write(eve, "one more")
    small = make(world)
    assert small["kind"] == "incremental" and small["base"] == full["id"]
    assert small["bytes"] < full["bytes"] / 4
    verified = run_tresor("backup", "verify", snapshot_file(backup, small["id"]), "--data", world.vault.data, check=0)
    pages = json.loads(verified.stdout)["pages"] - sum(d["pages"] for d in full["databases"])
    assert small["bytes"] <= pages * PAGE * 1.05 + 2048
    assert (world.vault.data / "backup.pages").stat().st_mode & 0o077 == 0


def test_the_chain_is_restored_at_each_of_its_snapshots(world, backup, tmp_path):
    eve = world.make_subject(ADA)
    made = [make(world, "full")]
    expected = [names(eve)]
    for i in range(3):
        for n in range(60):
            write(eve, f"{i}.{n}-")
        made.append(make(world))
        expected.append(names(eve))
    assert [m["kind"] for m in made] == ["full"] + ["incremental"] * 3
    assert [m["base"] for m in made[1:]] == [m["id"] for m in made[:-1]]
    for m in made:
        verified = world.operator.post(f"/v1/snapshots/{m['id']}/verify", None, expect=200).json()
        assert verified["verification"]["state"] == "good", verified
    world.vault.stop()
    for i in (3, 1):
        to = tmp_path / f"restored{i}"
        report = json.loads(restore(world, backup, to, "--snapshot", made[i]["id"]).stdout)
        assert report["snapshot"] == made[i]["id"] and report["audit_entries"] == made[i]["audit_seq"]
        serve_restored(world, to)
        eve.sign_in()
        assert names(eve) == expected[i]
        assert world.vault.verify_audit()[0] == 0
        world.vault.stop()


def test_a_restored_vault_goes_on_with_a_full_one(world, backup, tmp_path):
    make(world)
    make(world)
    world.vault.stop()
    restore(world, backup, tmp_path / "restored")
    serve_restored(world, tmp_path / "restored")
    assert make(world)["kind"] == "full"
    assert make(world)["kind"] == "incremental"


@pytest.mark.parametrize("spoil", ["gone", "cut", "junk", "flipped"])
def test_without_its_marks_the_next_one_is_full_or_larger_but_right(world, backup, tmp_path, spoil):
    eve = world.make_subject(ADA)
    write(eve, "before")
    make(world)
    marks = world.vault.data / "backup.pages"
    content = bytearray(marks.read_bytes())
    if spoil == "gone":
        marks.unlink()
    elif spoil == "cut":
        marks.write_bytes(content[:-100])
    elif spoil == "junk":
        marks.write_bytes(b"junk" * 1000)
    else:
        content[-40] ^= 1
        marks.write_bytes(content)
    write(eve, "after")
    made = make(world)
    assert made["kind"] == ("full" if spoil in ("gone", "junk") else "incremental")
    world.vault.stop()
    restore(world, backup, tmp_path / "restored")
    serve_restored(world, tmp_path / "restored")
    eve.sign_in()
    assert names(eve)[-2:] == ["before", "after"]


def test_a_base_is_not_removed_before_what_is_put_upon_it(world, backup, tmp_path):
    full, small = make(world), make(world)
    answer = world.operator.request("DELETE", f"/v1/snapshots/{full['id']}")
    expect_problem(answer, 409, "conflict")
    assert small["id"] in answer.json()["detail"]
    path = snapshot_file(backup, full["id"])
    path.rename(tmp_path / "away")
    failed = world.operator.post(f"/v1/snapshots/{small['id']}/verify", None, expect=200).json()
    assert failed["verification"]["state"] == "failed" and full["id"] in failed["verification"]["reason"]
    world.vault.stop()
    done = restore(world, backup, tmp_path / "restored", check=4)
    assert full["id"] in done.stderr and not (tmp_path / "restored").exists()
    (tmp_path / "away").rename(path)
    world.vault.start()
    world.operator.sign_in()
    world.operator.delete(f"/v1/snapshots/{small['id']}")
    world.operator.delete(f"/v1/snapshots/{full['id']}")


def test_a_chain_of_other_files_is_refused(world, backup, tmp_path):
    """A snapshot under the name of another, and one that is damaged, are found before anything is written."""
    first, second, third = make(world), make(world), make(world)
    world.vault.stop()
    paths = [snapshot_file(backup, m["id"]) for m in (first, second, third)]
    kept = [p.read_bytes() for p in paths]
    paths[1].write_bytes(kept[2])
    restore(world, backup, tmp_path / "restored", "--snapshot", third["id"], check=4)
    paths[1].write_bytes(kept[1][:-1])
    restore(world, backup, tmp_path / "restored", "--snapshot", third["id"], check=4)
    assert not (tmp_path / "restored").exists() and not (tmp_path / "restored.restoring").exists()
    paths[1].write_bytes(kept[1])
    restore(world, backup, tmp_path / "restored", "--snapshot", third["id"])


def test_the_schedule_makes_a_full_one_now_and_then_and_keeps_its_bases(tmp_path, backup):
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "1", "--backup-full-every", "2", "--backup-keep-last",
                  "1", "--backup-keep-daily", "0", "--backup-keep-weekly", "0", "--backup-keep-monthly", "0").start()
    try:
        operator = World(vault).operator
        wait_until(lambda: operator.get("/v1/snapshots").json()["items"], "the first one")
        first = operator.get("/v1/snapshots").json()["items"][-1]
        assert first["kind"] == "full"
    finally:
        vault.stop()
    kinds = []
    for _ in range(3):
        made = json.loads(run_tresor("backup", "--incremental", "--data", vault.data, "--to", backup, "--backup-keep-last", "1",
                                     "--backup-keep-daily", "0", "--backup-keep-weekly", "0", "--backup-keep-monthly", "0",
                                     check=0).stdout)
        kinds.append(made["kind"])
    assert kinds == ["incremental"] * 3
    assert len(list((backup / "snapshots").iterdir())) == 4
    json.loads(run_tresor("backup", "--data", vault.data, "--to", backup, "--backup-keep-last", "1", "--backup-keep-daily", "0",
                          "--backup-keep-weekly", "0", "--backup-keep-monthly", "0", check=0).stdout)
    assert len(list((backup / "snapshots").iterdir())) == 1


def test_an_erased_person_does_not_come_back_through_increments(world, backup, tmp_path):
    gone, stays = world.make_subject(ADA), world.make_subject(ADA)
    make(world)
    write(gone, "later")
    old = make(world)
    answer = gone.request("DELETE", f"/v1/subjects/{gone.subject}", last=True)
    assert answer.status_code in (200, 202), answer.text
    make(world)
    world.vault.stop()
    report = json.loads(restore(world, backup, tmp_path / "restored", "--snapshot", old["id"]).stdout)
    assert report["erased"]["by_ledger"] == 1
    serve_restored(world, tmp_path / "restored")
    gone.sign_in(expect=401)
    stays.sign_in()
