"""Each call that changes a file of the backup, or of its spool, fails once: a named error and the next try is good, or it did not
matter. What the vault lists as a snapshot is whole in any case, and nothing is left over.
"""
import errno
import json
import mmap
import os
import pathlib
import struct
import subprocess

import pytest

from cli_tools import wait_until
from fake_s3 import store, store_process  # noqa: F401
from tresor_client import BINARY, Vault, World, run_tresor

is_sanitized = b"__asan_init" in BINARY.read_bytes() if BINARY.exists() else False
FAULTS = {"no-space": errno.ENOSPC, "input-output": errno.EIO, "half-a-write": 0}
REFUSALS = {503: "storage-error", 507: "storage-full"}
FLAGS = ("--backup-every-s", "0", "--backup-drill-every-s", "0", "--metrics-listen", "127.0.0.1:0")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if is_sanitized:
        pytest.skip("a sanitizer's runtime wants to be loaded first")
    library = tmp_path_factory.mktemp("fail") / "fail_at.so"
    source = pathlib.Path(__file__).with_name("fail_at.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Control:
    """What the library is told, and what it tells (fail_at.c)."""

    def __init__(self, folder, library, below):
        path = folder / "control"
        path.write_bytes(bytes(40))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 40)
        self.env = {"TRESOR_CONFINE": "no", "LD_PRELOAD": str(library), "FAIL_CONTROL": str(path), "FAIL_FOLDER": str(below)}

    def fail(self, at, error, more=0):
        self.memory[:] = struct.pack("5q", at, more, 0, 0, error)

    def stop(self):
        """How many calls were seen, and how many failed."""
        _, _, calls, failed, _ = struct.unpack("5q", self.memory[:])
        self.memory[:] = bytes(40)
        return calls, failed


def start(folder, library, below, *flags, **env):
    vault = Vault(folder, *flags, *FLAGS)
    control = Control(folder, library, below)
    vault.server.env = {**(vault.server.env or {}), **control.env, **env}
    return World(vault.start()), control


def listed(world):
    return {one["id"]: one for one in world.operator.get("/v1/snapshots").json()["items"]}


def left_over(folder):
    return [str(p) for p in folder.rglob("*") if p.is_file() and p.name not in ("keyring", "keys.tresor") and p.suffix != ".tresor"]


def refused(answer, error):
    """The error is named, and it is the one."""
    assert answer.status_code in REFUSALS, (answer.status_code, answer.text)
    assert answer.json()["type"] == "urn:tresor:problem:" + REFUSALS[answer.status_code], answer.text
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

    def remove(self, id, expect=204):
        return self.world.operator.delete(f"/v1/snapshots/{id}", expect=expect)

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
def test_in_a_folder(library, tmp_path, fault, more):
    folder = tmp_path.resolve() / "backup"
    folder.mkdir()
    world, control = start(tmp_path, library, folder, "--backup-dir", folder)
    made, removed = Backup(world, control, folder, FAULTS[fault], more).run()
    assert made >= 10 and removed >= 1
    print(made, removed)


@pytest.mark.parametrize("more", [0, 1000], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_in_the_spool(library, tmp_path, store, fault, more):  # noqa: F811
    folder = tmp_path.resolve() / "vault" / "spool"
    world, control = start(tmp_path, library, folder, *store.flags())
    made, removed = Backup(world, control, folder, FAULTS[fault], more).run()
    assert made >= 5
    print(made, removed)
