"""Each call that changes a file of the backup, or of its spool, fails once: a named error and the next try is good, or it did not
matter. What the vault lists as a snapshot is whole in any case, and nothing is left over.
"""
import collections
import errno
import os
import shutil

import pytest

from cli_tools import wait_until
from failing import FAULTS, FLAGS, Control, is_named
from fake_s3 import store, store_process  # noqa: F401
from test_shipping import goes_on, log_is_on, metrics, write
from tresor_client import ADA, Vault, World, run_tresor

POINTS = int(os.environ.get("TRESOR_RESTORE_POINTS", "30"))  # of the calls of a restore


def start(folder, library, below, *flags):
    vault = Vault(folder, *FLAGS, *flags)
    control = Control(folder, library, below)
    vault.server.env.update(control.env)
    return World(vault.start()), control


def listed(world):
    return {one["id"]: one for one in world.operator.get("/v1/snapshots").json()["items"]}


def left_over(folder):
    return [str(p) for p in folder.rglob("*") if p.is_file() and p.name not in ("keyring", "keys.tresor") and p.suffix != ".tresor"]


def refused(answer, error):
    """The error is named, and it is the one."""
    is_named(answer)
    assert (answer.status_code == 507) == (error == errno.ENOSPC), answer.text


class Backup:
    """Snapshots of which each call that changes a file below `folder` fails in turn, and the `more` that follow it."""

    def __init__(self, world, control, folder, error, more):
        self.world, self.control, self.folder, self.error, self.more = world, control, folder, error, more
        self.first = world.operator.post("/v1/snapshots", None).json()["id"]

    def fail(self, number):
        self.control.fail(number, self.error, self.more)

    def make(self):
        return self.world.operator.post("/v1/snapshots", {"kind": "incremental"}).json()["id"]

    def remove(self, id):
        self.world.operator.delete(f"/v1/snapshots/{id}")

    def is_clean(self):
        wait_until(lambda: (shown := self.world.operator.get("/v1/snapshots").json())["spool"] is None or shown["spool"]["files"] == 0, "the upload")
        assert left_over(self.folder) == []
        for id in listed(self.world):
            verified = self.world.operator.post(f"/v1/snapshots/{id}/verify", None, expect=200).json()
            assert verified["verification"]["state"] == "good", verified

    def making(self, number):
        """Was there such a call?"""
        self.fail(number)
        answer = self.world.operator.request("POST", "/v1/snapshots", {"kind": "incremental"})
        _, failed = self.control.stop()
        if answer.status_code != 201:
            assert failed
            refused(answer, self.error)
        elif self.folder.parent == self.world.vault.data:
            wait_until(lambda: listed(self.world)[answer.json()["id"]]["state"] == "good", "the upload")
        else:
            assert answer.json()["id"] in listed(self.world)
        assert left_over(self.folder) == [] or self.more
        self.make()
        self.is_clean()
        for id in sorted(set(listed(self.world)) - {self.first}, reverse=True):
            self.remove(id)
        return failed

    def removing(self, number):
        id = self.make()
        self.is_clean()
        self.fail(number)
        answer = self.world.operator.request("DELETE", f"/v1/snapshots/{id}")
        _, failed = self.control.stop()
        if answer.status_code != 204:
            assert failed
            refused(answer, self.error)
            self.remove(id)
        assert set(listed(self.world)) == {self.first}
        self.is_clean()
        return failed

    def run(self):
        """How many calls there were to make one, and to remove one."""
        counts = []
        for step in (self.making, self.removing):
            number = 1
            while step(number):
                number += 1
            counts.append(number - 1)
        self.world.vault.stop()
        return counts


@pytest.mark.parametrize("more", [0, 1000], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_in_a_folder(fail_at, tmp_path, fault, more):
    folder = tmp_path.resolve() / "backup"
    folder.mkdir()
    world, control = start(tmp_path, fail_at, folder, "--backup-dir", folder)
    made, removed = Backup(world, control, folder, FAULTS[fault], more).run()
    assert made >= 10 and removed >= 1
    print(made, removed)


@pytest.mark.parametrize("more", [0, 1000], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_in_the_spool(fail_at, tmp_path, store, fault, more):  # noqa: F811
    folder = tmp_path.resolve() / "vault" / "spool"
    world, control = start(tmp_path, fail_at, folder, *store.flags())
    made, removed = Backup(world, control, folder, FAULTS[fault], more).run()
    assert made >= 5
    print(made, removed)


def test_the_log(fail_at, tmp_path):
    """It is failing, it is resumed, and all that was answered comes back from the backup."""
    folder = tmp_path.resolve() / "backup"
    folder.mkdir()
    world, control = start(tmp_path, fail_at, folder, "--backup-dir", folder, "--backup-log")
    wait_until(lambda: log_is_on(world.operator), "the log")
    segments = lambda: len(list((folder / "log").rglob("*.tresor")))  # noqa: E731
    names, failed = [ADA["name"]], 1
    while failed:
        before = segments()
        control.fail(len(names), errno.EIO)
        write(world.subject, f"record {len(names)}")
        wait_until(lambda: segments() > before and metrics(world.vault)["tresor_backup_log_age_seconds"] == 0, "the log")
        _, failed = control.stop()
        names.append(f"record {len(names)}")
    assert len(names) > 5
    goes_on(world, folder, tmp_path, names)
    print(len(names) - 2)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_restore(fail_at, tmp_path, fault):
    """It ends with a named error, and there is no folder that could be served, or a whole one; and the next restore is good."""
    backup, target = tmp_path.resolve() / "backup", tmp_path.resolve() / "target"
    backup.mkdir()
    target.mkdir()
    vault = Vault(tmp_path, *FLAGS, "--backup-dir", backup)
    World(vault.start()).operator.post("/v1/snapshots", None)
    vault.stop()
    control = Control(tmp_path, fail_at, target)
    restore = ("restore", "--from", backup, "--data", target / "data")
    env = {"TRESOR_KEYRING_FILE": str(vault.data / "keyring.passphrase")}
    control.fail(1 << 60, 0)
    assert run_tresor(*restore, check=0, **env, **control.env)
    calls, failed = control.stop()
    assert calls > 20 and failed == 0
    exits = collections.Counter()
    for number in sorted({*range(1, calls + 1, max(1, calls // POINTS)), *range(calls - 5, calls + 1)}):
        shutil.rmtree(target / "data")
        control.fail(number, FAULTS[fault])
        done = run_tresor(*restore, **env, **control.env)
        assert control.stop()[1] == 1 or done.returncode == 0
        exits[done.returncode] += 1
        if done.returncode != 0:
            assert done.returncode == 7 and done.stderr.startswith("tresor: "), (number, done)
        if not (target / "data").exists():  # else it was whole, and could only not be flushed
            assert done.returncode != 0
            run_tresor(*restore, check=0, **env)
        assert run_tresor("audit", "verify", "--data", target / "data", check=0, **env)
        assert [p.name for p in target.iterdir()] == ["data"]
    print(calls, exits)
