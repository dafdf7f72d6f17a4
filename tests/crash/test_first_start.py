"""The first start with the setting init, killed in front of calls that change the folder and at random moments: the next start
has a vault, and credentials that open it.
"""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from tresor_client import BINARY, Client, Server, environment, run_tresor

POINTS = int(os.environ.get("TRESOR_FIRST_START_POINTS", "1000"))  # of some dozens; 1000 is each of them
pytestmark = pytest.mark.timeout(1800)


def starts(server):
    """It listens; the operator signs in with what is in the file; nothing is left over."""
    server.start()
    try:
        path = server.data / "first-credentials.json"
        assert path.stat().st_mode & 0o777 == 0o600
        first = json.loads(path.read_text())
        server.secrets = []
        Client(server, first["operator"]["uid"], first["operator"]["password"]).sign_in()
        assert first["operator"]["password"] not in server.log() + server.errors()
        assert not list(server.data.glob("first-start*"))
    finally:
        server.stop()


def killed(data, seconds, **more):
    """The first start, which a kill ends: its own, or ours when it listens or after this time. Was it its own?"""
    process = subprocess.Popen([str(BINARY), "serve", "--data", str(data), "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(TRESOR_INIT="1", **more))
    try:
        if seconds is None:
            for line in process.stdout:
                if b'"listening"' in line:
                    return False
            assert process.wait(60) == -9, process.stderr.read()
            return True
        time.sleep(seconds)
        return False
    finally:
        process.kill()
        process.communicate()


def test_killed_in_front_of_a_change(kill_at, tmp_path):
    """In front of each one in turn, until a start gets through; TRESOR_FIRST_START_POINTS spreads fewer over them."""
    whole = tmp_path / "whole"
    server = Server(whole)
    server.env = {"TRESOR_INIT": "1", "TRESOR_CONFINE": "no", "LD_PRELOAD": str(kill_at), "KILL_COUNT": str(tmp_path / "count")}
    server.start()
    server.stop()
    changes = int((tmp_path / "count").read_text())
    assert changes > 10
    # The last ones are those of serving: names change in the second half.
    points = range(1, changes + 1) if POINTS >= changes else sorted(random.Random(7).sample(range(1, changes + 1), POINTS))
    kills = between = 0
    for number in points:
        data = tmp_path / f"at{number}"
        if not killed(data, None, LD_PRELOAD=str(kill_at), KILL_AT=str(number)):
            break  # from here on it listened before
        kills += 1
        if not (data / "keyring").exists():
            between += 1
            run_tresor("serve", "--data", data, "--listen", "127.0.0.1:0", check=2)  # nobody serves half a vault
        server = Server(data)
        server.env = {"TRESOR_INIT": "1"}
        starts(server)
        shutil.rmtree(data)
    assert kills and between
    print(f"{kills} kills of {changes} changes, {between} before there was a vault")


def test_killed_again_and_again(tmp_path):
    """One folder, killed at random moments, the resumption too."""
    rng, data = random.Random(11), tmp_path / "data"
    began = time.monotonic()
    assert not killed(tmp_path / "other", None)
    takes = time.monotonic() - began
    for _ in range(4):
        killed(data, rng.uniform(0.1, 0.9) * takes)
    server = Server(data)
    server.env = {"TRESOR_INIT": "1"}
    starts(server)
