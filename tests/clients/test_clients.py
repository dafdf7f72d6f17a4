"""Public clients of the token protocol, unchanged from the npm registry, against a real server (see *.mjs beside this)."""
import json
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
PASSWORD = "p+ss w%20rd & ü = 7e9f"  # what the coding of a form could spoil

CLIENTS = ["j-toker", "angular-token"]
STEPS = [
    "start without credentials", "wrong password", "sign in", "validate", "call with the rotated token",
    "an error brings the next token too", "a new page goes on with the stored token", "sign out", "no used token works",
]


@pytest.fixture(scope="module")
def outcomes(world):
    """client -> its steps in order; each client signs in as a subject of its own."""
    found = {}
    for client in CLIENTS:
        subject = world.make_subject()
        subject.change_password(PASSWORD)
        given = {"NODE_EXTRA_CA_CERTS": str(world.vault.ca), "TRESOR_URL": world.vault.url, "TRESOR_UID": subject.uid,
                 "TRESOR_PASSWORD": PASSWORD, "TRESOR_SUBJECT": subject.subject}
        run = subprocess.run(["node", HERE / f"{client}.mjs"], env={**os.environ, **given}, capture_output=True, timeout=120)
        assert run.returncode == 0, run.stderr.decode()
        found[client] = {outcome["step"]: outcome for outcome in json.loads(run.stdout)}
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("client", CLIENTS)
def test_client(outcomes, client, step):
    outcome = outcomes[client].get(step)
    assert outcome, "an earlier step failed"
    assert outcome["ok"], outcome["why"]


def test_no_step_is_left_out(outcomes):
    assert [list(steps) for steps in outcomes.values()] == [STEPS] * len(CLIENTS)
