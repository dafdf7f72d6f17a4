"""A backup in an S3-compatible store (tests/tools/fake-s3): what is there, what waits while it is away, what comes back."""
import json
import os
import shutil
import socket
import threading

import pytest
import requests

from fake_s3 import store, store_process  # noqa: F401 (fixtures)
from tresor_client import ADA, Vault, World, expect_problem, run_tresor
from cli_tools import wait_until
from test_point_in_time import names, now, write

NO_SCHEDULE = ("--backup-every-s", "0", "--metrics-listen", "127.0.0.1:0")


@pytest.fixture
def world(tmp_path, store, request):
    mark = request.node.get_closest_marker("flags")
    vault = Vault(tmp_path, *store.flags(), *NO_SCHEDULE, *(mark.args if mark else ())).start()
    yield World(vault)
    if vault.server.alive():
        vault.stop()
    assert "S3RVER" not in vault.server.log()


def make(world, kind="full"):
    return world.operator.post("/v1/snapshots", {"kind": kind}).json()


def show(world):
    return world.operator.get("/v1/snapshots").json()


def spooled(world):
    folder = world.vault.data / "spool"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def uploaded(world):
    wait_until(lambda: show(world)["spool"]["files"] == 0 and not show(world)["spool"]["away"], "the upload", timeout=60)


def metric(world, name):
    port = next(json.loads(line)["port"] for line in world.vault.server.lines if '"listener":"metrics"' in line)
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"tresor_{name} "))


def passphrase_of(world, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir(exist_ok=True)
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(world.vault.data / name, kept)
    return str(kept / "keyring.passphrase")


def restore(world, store, tmp_path, to, *flags, check=0):
    return run_tresor("restore", "--from", "s3", "--data", to, *store.flags(), *flags, check=check,
                      TRESOR_KEYRING_FILE=passphrase_of(world, tmp_path))


def serve(world, tmp_path, folder):
    for name in ("keyring.passphrase", "tls.pem", "tls.key"):
        shutil.copy(tmp_path / "kept" / name, folder)
    world.vault.data = world.vault.server.data = folder
    world.vault.start()
    world.operator.sign_in()


def fetched(store, name):
    return [e for e in store.log() if e["method"] == "GET" and e["url"].endswith("/" + name)]


def test_snapshots_are_in_the_store_and_come_back_from_it(world, store, tmp_path):
    assert show(world)["spool"] == {"files": 0, "bytes": 0, "away": False, "reason": None}
    first = make(world)
    assert first["state"] == "good" and store.path(f"snapshots/{first['id']}.tresor").stat().st_size == first["bytes"]
    assert store.objects() == ["keyring", "keys.tresor", f"snapshots/{first['id']}.tresor"] and spooled(world) == []
    eve = world.make_subject({**ADA, "name": "before"})
    more = make(world, "incremental")
    assert (more["kind"], more["base"], more["state"]) == ("incremental", first["id"], "good")
    store.call("POST", "/page", {"size": 1})  # a list of many pages
    assert show(world)["items"] == [first, more]
    verified = world.operator.post(f"/v1/snapshots/{more['id']}/verify", None, expect=200).json()
    assert verified["verification"]["state"] == "good"
    expect_problem(world.operator.request("DELETE", f"/v1/snapshots/{first['id']}"), 409, "conflict")
    assert metric(world, "snapshots") == 2 and metric(world, "spool_files") == 0 and metric(world, "backup_store_ok") == 1
    third = make(world)
    assert store.uploads() == []
    world.vault.stop()
    # from the store alone, each object's content once
    store.call("DELETE", "/log")
    restored = tmp_path / "restored"
    report = json.loads(restore(world, store, tmp_path, restored, "--snapshot", more["id"]).stdout)
    assert report["snapshot"] == more["id"] and not list(tmp_path.glob("restored.*"))
    for id in (first["id"], more["id"]):  # its head, and then all of it
        assert len(fetched(store, f"snapshots/{id}.tresor")) <= 4
    assert fetched(store, f"snapshots/{third['id']}.tresor") == []
    verdict = json.loads(run_tresor("backup", "verify", more["id"], *store.flags(), "--data", tmp_path / "none", "--scratch", tmp_path / "s",
                                    check=0, TRESOR_KEYRING_FILE=passphrase_of(world, tmp_path)).stdout)
    assert verdict["ok"] is True and verdict["id"] == more["id"] and not (tmp_path / "s").exists()
    content = bytearray(store.path(f"snapshots/{more['id']}.tresor").read_bytes())
    content[len(content) // 2] ^= 1
    store.path(f"snapshots/{more['id']}.tresor").write_bytes(content)
    assert restore(world, store, tmp_path, tmp_path / "bad", "--snapshot", more["id"], check=4).stderr
    assert not list(tmp_path.glob("bad*"))
    serve(world, tmp_path, restored)
    eve.sign_in()
    assert names(eve) == ["before"]


@pytest.mark.flags("--backup-keep-last", "2", "--backup-keep-daily", "0", "--backup-keep-weekly", "0", "--backup-keep-monthly", "0")
def test_old_snapshots_go_and_keys_are_only_the_newest(world, store):
    gone = world.make_subject(ADA)
    made = [make(world) for _ in range(3)]
    assert [i["id"] for i in show(world)["items"]] == [m["id"] for m in made[1:]]
    assert store.objects("snapshots/") == sorted(f"snapshots/{m['id']}.tresor" for m in made[1:])
    before = store.path("keys.tresor").read_bytes()
    assert gone.request("DELETE", f"/v1/subjects/{gone.subject}", last=True).status_code == 200
    assert store.path("keys.tresor").read_bytes() != before
    world.operator.delete(f"/v1/snapshots/{made[1]['id']}")
    assert store.objects("snapshots/") == [f"snapshots/{made[2]['id']}.tresor"]


def test_while_the_store_is_away_snapshots_wait_and_erasures_too(world, store, tmp_path):
    gone, stays = world.make_subject(ADA), world.make_subject({**ADA, "name": "stays"})
    first = make(world)
    keys = store.path("keys.tresor").read_bytes()
    store.stop()
    one, two = make(world), make(world, "incremental")
    assert one["state"] == two["state"] == "spooled" and two["base"] == one["id"]
    shown = show(world)
    assert [i["id"] for i in shown["items"]] == [one["id"], two["id"]] and {i["state"] for i in shown["items"]} == {"spooled"}
    assert shown["spool"]["files"] == 2 and shown["spool"]["away"] and "cannot be reached" in shown["spool"]["reason"]
    assert metric(world, "spool_files") == 2 and metric(world, "backup_store_ok") == 0
    expect_problem(world.operator.request("GET", f"/v1/snapshots/{first['id']}"), 503, "storage-error")
    assert world.operator.get(f"/v1/snapshots/{two['id']}").json()["state"] == "spooled"
    answer = gone.request("DELETE", f"/v1/subjects/{gone.subject}", last=True)
    assert answer.status_code == 202, answer.text  # the spool does not satisfy an erasure
    assert all(n.startswith("snapshots/") for n in spooled(world)), "a copy of keys in the spool"
    world.vault.server.kill()
    world.vault.start()
    world.operator.sign_in()
    assert len(spooled(world)) == 2
    store.start()
    uploaded(world)
    assert [i["id"] for i in show(world)["items"]] == [first["id"], one["id"], two["id"]]
    assert {i["state"] for i in show(world)["items"]} == {"good"} and spooled(world) == []
    log = [json.loads(l) for l in world.vault.server.lines if l.startswith("{")]
    assert any(l.get("event") == "spool.waiting" for l in log)
    wait_until(lambda: store.path("keys.tresor").read_bytes() != keys, "the copy of the keys")
    world.auditor.sign_in()
    wait_until(lambda: "erasure.completed" in [e["action"] for e in world.auditor.pages("/v1/audit?order=desc", limit=100)]
               or "subject.erased" in [e["action"] for e in world.auditor.pages("/v1/audit?order=desc", limit=100)], "the erasure", timeout=60)
    world.vault.stop()
    report = json.loads(restore(world, store, tmp_path, tmp_path / "restored").stdout)
    assert report["snapshot"] == two["id"] and report["subjects"] == 2 and sum(report["erased"].values()) >= 1
    serve(world, tmp_path, tmp_path / "restored")
    stays.sign_in()
    gone.sign_in(expect=401)


def test_faults_are_tried_again_and_named(world, store):
    for mode, more in (("503", {}), ("429", {}), ("cut", {"method": "PUT"}), ("cut", {"method": "GET"})):
        store.fail(mode, times=2, **more)
        assert make(world)["state"] == "good", mode
        assert [e for e in store.log() if e["fault"] == mode]
    store.fail("503", match="/snapshots/", method="PUT")
    assert make(world)["state"] == "spooled"
    assert "503 SlowDown" in show(world)["spool"]["reason"]
    store.fail("hang")  # 2 s of silence, twice, are given up
    assert make(world)["state"] == "spooled"
    store.heal()
    uploaded(world)
    assert {i["state"] for i in show(world)["items"]} == {"good"} and len(show(world)["items"]) == 6


def test_killed_in_an_upload_of_parts_goes_on(world, store, tmp_path):
    world.officer.put("/v1/types/note", {"type": "object", "properties": {"text": {"type": "string"}}}, expect=201)
    eve = world.make_subject(ADA)
    for i in range(11):  # more than a part of 8 MiB
        eve.post(f"/v1/subjects/{eve.subject}/records", {"type": "note", "data": {"text": os.urandom(450000).hex()}}, expect=201)
    store.fail("hang", match="partNumber=2")
    thread = threading.Thread(target=quietly, args=(world.operator.lanes(1)[0],), daemon=True)
    thread.start()
    wait_until(lambda: any("partNumber=2" in e["url"] for e in store.log()), "the second part")
    assert store.objects("snapshots/") == [] and len(store.uploads()) == 1
    world.vault.server.kill()
    thread.join(30)
    store.heal()
    world.vault.start()
    world.operator.sign_in()
    uploaded(world)
    assert store.uploads() == [] and spooled(world) == []
    [item] = show(world)["items"]
    assert item["state"] == "good" and item["bytes"] > 8 * 1024 * 1024
    assert world.operator.post(f"/v1/snapshots/{item['id']}/verify", None, expect=200).json()["verification"]["state"] == "good"
    store.fail("503", match="partNumber=2")  # and what fails without a kill is ended in the store
    assert make(world)["state"] == "spooled"
    store.heal()
    uploaded(world)
    assert store.uploads() == [] and len(show(world)["items"]) == 2
    world.vault.stop()
    assert json.loads(restore(world, store, tmp_path, tmp_path / "restored").stdout)["subjects"] == 2


def quietly(client):
    try:
        client.request("POST", "/v1/snapshots", None)
    except Exception:  # the server was killed
        pass


@pytest.mark.flags("--backup-log")
def test_the_log_goes_on_in_the_spool_and_back(world, store, tmp_path):
    wait_until(lambda: show(world)["log"] is not None and show(world)["items"], "the log")
    eve = world.make_subject({**ADA, "name": "n0"})
    made = now()
    wait_until(lambda: show(world)["log"]["reached_at"] > made, "the log")
    store.stop()
    write(eve, "n1")
    wait_until(lambda: show(world)["spool"]["files"] > 0, "the spool")
    reached = show(world)["log"]["reached_at"]
    late = world.make_subject({**ADA, "name": "late"})  # its key is in no copy yet
    write(late, "later still")
    written = now()
    waiting = show(world)["spool"]["files"]
    wait_until(lambda: show(world)["spool"]["files"] > waiting, "more of it")
    assert show(world)["log"]["reached_at"] == reached < written  # what is only here is not claimed
    store.start()
    uploaded(world)
    wait_until(lambda: show(world)["log"]["reached_at"] > written, "the log", timeout=60)
    middle = now()
    wait_until(lambda: show(world)["log"]["reached_at"] > middle, "the log")
    write(eve, "n2")
    end = now()
    wait_until(lambda: show(world)["log"]["reached_at"] > end, "the log")
    world.vault.server.kill()
    report = json.loads(restore(world, store, tmp_path, tmp_path / "whole").stdout)
    assert report["segments"] > 2 and report["subjects"] == 3
    half = json.loads(restore(world, store, tmp_path, tmp_path / "half", "--at", middle).stdout)
    assert 0 < half["segments"] < report["segments"] and half["reached_at"] <= middle
    serve(world, tmp_path, tmp_path / "half")
    eve.sign_in()
    late.sign_in()
    assert names(eve) == ["n0", "n1"] and names(late) == ["late", "later still"]


def test_what_is_wrong_with_the_settings_is_said(tmp_path, store):
    vault = Vault(tmp_path)

    def check(*flags, code=0, **env):
        done = run_tresor("serve", "--check", "--data", vault.data, "--listen", "127.0.0.1:0", *flags, **env)
        assert "S3RVER" not in done.stdout + done.stderr
        assert (done.returncode == 0) == (code == 0), done.stdout
        return done.stdout + done.stderr

    good = store.flags()
    assert check(*good) == "ok\n"
    assert store.objects() == []
    assert "refuses the access key or its secret: 403 SignatureDoesNotMatch" in check(*good, code=1, TRESOR_BACKUP_S3_SECRET_KEY="wrong")
    assert "403 InvalidAccessKeyId" in check(*good, "--backup-s3-access-key", "nobody", code=1)
    assert "NoSuchBucket" in check(*store.flags(store.url.replace("/vaults/", "/nowhere/")), code=1)
    assert "https://" in check(*store.flags("http://example.org/b"), code=1)
    assert "https://" in check(*store.flags("http://127.example.org/b"), code=1)
    assert "a key in it" in check(*store.flags("https://a:b@127.0.0.1/b"), code=1)
    assert "backup_dir are both set" in check(*good, "--backup-dir", tmp_path, code=1)
    assert "certificate" in check(*[f for f in good if f not in ("--backup-s3-ca", str(store.cert))], code=1)
    store.call("POST", "/versions", {"on": True})
    assert "older versions" in check(*good, code=1)
    refused = run_tresor("backup", "--data", vault.data, *good)  # else the keys of erased persons would stay
    assert refused.returncode == 1 and "older versions" in refused.stderr
    store.call("POST", "/versions", {"on": False})
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert "cannot be reached" in check(*store.flags(f"https://127.0.0.1:{port}/vaults"), code=1)
    assert "nowhere" in check("--backup-dir", tmp_path / "nowhere", code=1)
    # a full spool is named, and the next run goes on
    away = store.flags(f"https://127.0.0.1:{port}/vaults/a")
    first = run_tresor("backup", "--data", vault.data, *away, check=0)
    assert json.loads(first.stdout)["state"] == "spooled" and "S3RVER" not in first.stderr
    filler = vault.data / "spool" / "snapshots" / "filler.tresor"
    filler.write_bytes(bytes(900000))
    full = run_tresor("backup", "--data", vault.data, *away, "--backup-spool-bytes", "1048576")
    assert full.returncode == 7 and "backup_spool_bytes" in full.stderr, full
    filler.unlink()
    done = json.loads(run_tresor("backup", "--data", vault.data, *good, check=0).stdout)
    assert done["state"] == "good" and len(store.objects("snapshots/")) == 2
    assert not [p for p in (vault.data / "spool").rglob("*") if p.is_file()]
