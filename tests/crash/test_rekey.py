"""New database keys (`tresor keys rekey`) and a move to another provider (`tresor keys migrate`), killed: in front of every call that changes
the folder, and at random points; and where such a call fails. The vault opens after each, nothing is gone, no key was ever plain on disk.
"""
import collections
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from failing import FAULTS, Control
from tresor_client import ADA, BINARY, World, environment, run_tresor

ROUNDS = int(os.environ.get("TRESOR_REKEY_ROUNDS", "30"))
POINTS = int(os.environ.get("TRESOR_REKEY_POINTS", "30"))  # of about a hundred calls that change the folder; 1000 is each of them
pytestmark = pytest.mark.timeout(1800)
DATABASES = ("vault.db", "keys.db", "audit.db")
SHOWKEYS = BINARY.parent / "showkeys"
LEFTOVERS = (".rekey", ".rekey-wal", ".rekey-shm", ".rekey-journal")


class Stopped:
    """A vault with a few subjects and no server, and copies of it."""

    def __init__(self, vault, folder):
        self.vault, self.folder = vault, folder
        world = self.world = World(vault)
        self.subjects = [world.subject] + [world.make_subject({**ADA, "name": f"Person {n}"}) for n in range(4)]
        world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": {"name": "x" * 3000}} for _ in range(100)]})
        self.wanted = self.read()
        vault.stop()

    def read(self, sign_in=False):
        """Every record of the subjects, by their own eyes. `sign_in`: the folder was put back, their tokens are used up."""
        for subject in self.subjects if sign_in else ():
            subject.sign_in()
        return [s.get(f"/v1/subjects/{s.subject}/records/{r}").json() for s in self.subjects for r in s.records]

    def check(self, keyring_file=None, settle=True, deep=False, put_back=False):
        """Who only reads can read it; `settle`: it opens; `deep`: and what was stored is there."""
        flags = ("--keyring-file", keyring_file) if keyring_file else ()
        verdict = json.loads(run_tresor("audit", "verify", "--data", self.vault.data, *flags, check=0).stdout)
        assert verdict["ok"] is True, verdict
        if not settle and not deep:
            return
        done = run_tresor("serve", "--check", "--data", self.vault.data, "--listen", "127.0.0.1:0", *flags, check=0)
        assert done.stdout == "ok\n", done.stdout
        left = [n for n in os.listdir(self.vault.data) if any(n.endswith(e) for e in LEFTOVERS)]
        assert not left, f"copies are left: {left}"
        if deep:
            self.vault.server.flags = [str(f) for f in flags]
            self.vault.start()
            try:
                assert self.read(sign_in=put_back) == self.wanted
            finally:
                self.vault.stop()


@pytest.fixture
def stopped(fresh_vault, tmp_path):
    return Stopped(fresh_vault, tmp_path)


def killed_at(library, number, *args, count=None):
    """Run a command that is killed at its `number`-th change; was it?"""
    env = environment(LD_PRELOAD=str(library), KILL_AT=str(number), **({"KILL_COUNT": str(count)} if count else {}))
    done = subprocess.run([str(BINARY), *map(str, args)], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode in (0, -9), f"{done.returncode}: {done.stderr}"
    return done.returncode == -9


def killed_after(seconds, *args):
    """Run a command that is killed after this time. None; or, if it was faster, how long it took."""
    process = subprocess.Popen([str(BINARY), *map(str, args)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True)
    began = time.monotonic()  # as the time to the kill: what it takes to start a process is in neither
    try:
        _, errors = process.communicate(timeout=seconds)
        assert process.returncode == 0, errors
        return time.monotonic() - began
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None


def salts(data):
    """A database that was written anew has another salt."""
    return [(data / name).read_bytes()[:16] for name in DATABASES]


def spread(changes, seed):
    """POINTS of them, the last ones among them: there names change."""
    points = list(range(1, changes + 1))
    return points if POINTS >= changes else sorted(random.Random(seed).sample(points[:-6], max(1, POINTS - 6)) + points[-6:])


# ---- rekey ----

def test_rekey_killed_at_every_change(stopped, kill_at, tmp_path):
    data, count = stopped.vault.data, tmp_path / "count"
    assert not killed_at(kill_at, 0, "keys", "rekey", "--data", data, count=count)
    changes = int(count.read_text())
    assert changes > 20
    points = spread(changes, 1)
    for turn, number in enumerate(points):
        killed = killed_at(kill_at, number, "keys", "rekey", "--data", data)
        assert killed or number > changes - 8, f"change {number} of {changes} did not come"
        stopped.check(settle=turn % 3 == 0, deep=turn % 12 == 0)
    before = salts(data)
    run_tresor("keys", "rekey", "--data", data, check=0)
    assert all(a != b for a, b in zip(before, salts(data)))
    stopped.check(deep=True)
    print(f"{len(points)} of {changes} points")


def test_rekey_killed_at_random_points(stopped):
    data, rng = stopped.vault.data, random.Random(20260302)
    takes, killed = killed_after(120, "keys", "rekey", "--data", data), 0
    for number in range(ROUNDS):
        took = killed_after(rng.uniform(0.2, 1.0) * takes, "keys", "rekey", "--data", data)
        killed += took is None
        takes = took or takes  # the machine has become faster
        stopped.check(settle=number % 3 == 0, deep=number % 10 == 0 or number == ROUNDS - 1)
    assert killed > ROUNDS // 4
    print(f"{killed} of {ROUNDS} killed; one takes {takes:.2f} s")


@pytest.mark.parametrize("fault", FAULTS)
def test_rekey_where_a_change_fails(stopped, fail_at, tmp_path, fault):
    """A disk that is full, for instance: it says so, and the vault opens with the keys of before or the new ones."""
    data = stopped.vault.data
    control = Control(tmp_path, fail_at, data.resolve())
    control.fail(1 << 60, 0)
    run_tresor("keys", "rekey", "--data", data, check=0, **control.env)
    changes, _ = control.stop()
    exits = collections.Counter()
    for turn, number in enumerate(spread(changes, 7)):
        control.fail(number, FAULTS[fault])
        done = run_tresor("keys", "rekey", "--data", data, **control.env)
        assert control.stop()[1] == 1 or number > changes - 8, f"change {number} of {changes} did not come"
        assert done.returncode in (0, 7), (number, done)
        exits[done.returncode] += 1
        stopped.check(settle=turn % 3 == 0, deep=turn % 12 == 0)
    assert exits[7] > 0
    run_tresor("keys", "rekey", "--data", data, check=0)
    stopped.check(deep=True)
    print(changes, exits)


# ---- migrate ----

class Eyes:
    """Looks for keys in the folder: every one that the old or the new keyring has."""

    def __init__(self, data):
        self.data, self.needles = data, {}

    def learn(self, passphrase_file):
        if not SHOWKEYS.exists():
            pytest.skip("the tool showkeys is not built")
        shown = subprocess.run([SHOWKEYS, self.data, passphrase_file, "50"], check=True, capture_output=True, text=True)
        for line in shown.stdout.splitlines():
            name, value = line.rsplit(" ", 1)
            key = bytes.fromhex(value)
            for form, text in (("", key), (" in hexadecimal", value.encode()), (" in HEXADECIMAL", value.upper().encode())):
                self.needles[name + form] = text
        assert any(n.startswith("master.") for n in self.needles) and any(n.startswith("data.") for n in self.needles)

    def check(self, *but):
        for path in self.data.iterdir():
            if path.name in but or not path.is_file():
                continue
            content = path.read_bytes()
            for name, needle in self.needles.items():
                assert needle not in content, f"{name} is plain in {path.name}"


def test_migrate_killed_at_every_change(stopped, kill_at, tmp_path):
    """From one passphrase to another, killed once at each point, then completed."""
    data = stopped.vault.data
    first, second, count = tmp_path / "first", tmp_path / "second", tmp_path / "count"
    shutil.move(data / "keyring.passphrase", first)
    second.write_text("a passphrase that stands nowhere in the folder\n")
    eyes = Eyes(data)
    eyes.learn(first)
    original = tmp_path / "original"
    shutil.copytree(data, original)
    command = ("keys", "migrate", "--to", "file", "--data", data, "--keyring-file", first, "--new-keyring-file", second)
    assert not killed_at(kill_at, 0, *command, count=count)
    stopped.check(second)
    changes = int(count.read_text())
    assert changes > 10
    between, points = 0, spread(changes, 2)
    for turn, number in enumerate(points):
        shutil.rmtree(data)
        shutil.copytree(original, data)
        if not killed_at(kill_at, number, *command):
            assert number > changes - 8, f"change {number} of {changes} did not come"
            continue
        eyes.check()
        if (data / "keyring.new").exists():  # it is begun: nobody serves before it is completed
            between += 1
            done = run_tresor("serve", "--data", data, "--listen", "127.0.0.1:0", "--keyring-file", first, check=2)
            assert "keys migrate" in done.stderr
        if (data / "keyring.new").exists() or opens(data, first):
            run_tresor(*command, check=0)
        assert not list(data.glob("keyring.new*"))
        stopped.check(second, settle=turn % 3 == 0, deep=turn % 12 == 0, put_back=True)
        run_tresor("audit", "verify", "--data", data, "--keyring-file", first, check=3)
        eyes.learn(second)
        eyes.check()
    assert between >= 5
    print(f"{len(points)} of {changes} points, {between} with a second keyring")


def opens(data, passphrase_file):
    return run_tresor("audit", "verify", "--data", data, "--keyring-file", passphrase_file).returncode == 0


def test_migrate_killed_at_random_points(stopped, tmp_path):
    """Again and again, each run killed until one gets through; what is not done yet is never done twice."""
    data, rng = stopped.vault.data, random.Random(20260303)
    files = [tmp_path / "even", tmp_path / "odd"]
    shutil.move(data / "keyring.passphrase", files[0])
    files[1].write_text("the other passphrase\n")
    takes, kills, rounds = 120.0, 0, max(3, ROUNDS // 3)
    for number in range(10 * rounds):
        if number >= rounds and kills >= 3:
            break
        old, new = files[number % 2], files[1 - number % 2]
        command = ("keys", "migrate", "--to", "file", "--data", data, "--keyring-file", old, "--new-keyring-file", new)
        for share in (rng.uniform(0.1, 1.0), rng.uniform(0.1, 1.0), None):
            if opens(data, new) and not (data / "keyring.new").exists():
                break
            took = killed_after(share * takes if share and number else 120, *command)
            kills += took is None
            takes = took or takes
        stopped.check(new, deep=number % 4 == 0)
    print(f"{kills} killed; one takes {takes:.2f} s")
    assert kills >= 3
