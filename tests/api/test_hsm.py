"""A vault whose master keys are in an HSM, SoftHSM here: `tresor init --provider pkcs11`, and how it fails when the PIN
is wrong or the HSM is not there."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from cli_tools import wait_until
from tresor_client import BINARY, Server, Vault, World, expect_problem, run_tresor, session_of

MODULE = next((p for p in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so") if os.path.exists(p)), None)
LABEL = "vault test"
PIN = "240716"

pytestmark = pytest.mark.skipif(MODULE is None or not shutil.which("softhsm2-util"),
                                reason="SoftHSM is not installed (Debian: softhsm2)")


class Hsm:
    """A token of its own, and files with its PIN and with a wrong one."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.tokens = self.folder / "tokens"
        self.tokens.mkdir()
        self.configuration = self.folder / "softhsm2.conf"
        self.configuration.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.pin, self.wrong_pin = self.folder / "pin", self.folder / "wrong-pin"
        for path, text in ((self.pin, PIN), (self.wrong_pin, "170624")):
            path.write_text(text + "\n")
            path.chmod(0o600)

    def make_token(self, label=LABEL):
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"],
                       check=True, capture_output=True)

    def options(self, module=MODULE, label=LABEL):
        return ["--provider", "pkcs11", "--pkcs11-module", module, "--pkcs11-token", label]

    def objects(self):
        return sorted(p for p in self.tokens.rglob("*.object") if p.name != "token.object")

    def take_away(self):
        self.tokens.rename(self.folder / "away")
        self.tokens.mkdir()

    def bring_back(self):
        self.tokens.rmdir()
        (self.folder / "away").rename(self.tokens)


@pytest.fixture
def hsm(tmp_path, monkeypatch):
    folder = tmp_path / "hsm"
    folder.mkdir()
    hsm = Hsm(folder)
    monkeypatch.setenv("SOFTHSM2_CONF", str(hsm.configuration))
    hsm.make_token()
    return hsm


class HsmVault(Vault):
    def __init__(self, folder, hsm, *flags):
        self.binary = BINARY
        self.hsm = hsm
        self.data = pathlib.Path(folder) / "vault"
        self.credentials = json.loads(run_tresor("init", "--data", self.data, *hsm.options(), "--keyring-file", hsm.pin,
                                                 check=0).stdout)
        self.server = Server(self.data, "--keyring-file", hsm.pin, *flags)
        self.secrets = [PIN]

    def verify_audit(self):
        done = run_tresor("audit", "verify", "--data", self.data, "--keyring-file", self.hsm.pin)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def served(tmp_path, hsm):
    vault = HsmVault(tmp_path, hsm).start()
    try:
        yield vault
    finally:
        if vault.server.alive():
            vault.server.kill()


@pytest.fixture
def made(tmp_path, hsm):
    """Not served."""
    return HsmVault(tmp_path, hsm)


def contents(folder):
    """Path and hash of every file."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}


def serve(data, pin, code, *names):
    """It must not begin to serve."""
    done = run_tresor("serve", "--data", data, "--listen", "127.0.0.1:0", "--keyring-file", pin, check=code,
                      timeout=60)
    said = done.stdout + done.stderr
    for name in names:
        assert name in said, said
    assert PIN not in said
    return said


# ---- its life ----

def test_what_is_written_is_read_again_after_a_restart(served):
    world = World(served)
    record = world.operator.get("/v1/keys").json()
    assert record["provider"] == "pkcs11" and [item["version"] for item in record["items"]] == [1]
    page = f"/v1/subjects/{world.subject.subject}/records"
    before = world.subject.get(page).json()["items"]
    assert [r["data"]["name"] for r in before] == ["Ada Zwicky-Brönnimann"]
    served.restart()
    assert world.subject.get(page).json()["items"] == before
    assert world.operator.post("/v1/keys/rotate", None).json()["version"] == 2
    assert world.subject.get(page).json()["items"] == before
    served.restart()
    assert world.subject.get(page).json()["items"] == before
    served.stop()
    assert served.verify_audit()[0] == 0


def test_a_confined_server_uses_it_too(tmp_path, hsm):
    """hsm_paths says what the library opens; without it the files are not confined, and the log says so."""
    vault = HsmVault(tmp_path, hsm).start()
    try:
        said = next(json.loads(line) for line in vault.server.lines if '"event":"confined"' in line)
        assert said["landlock"] == 0 and "hsm_paths" in said["why"]
        vault.stop()
        vault.server.flags += ["--hsm-paths", f"{hsm.configuration}:{hsm.tokens}"]
        vault.server.lines.clear()
        vault.start()
        said = next(json.loads(line) for line in vault.server.lines if '"event":"confined"' in line)
        assert "hsm_paths" not in said["why"]
        world = World(vault)
        assert world.operator.post("/v1/keys/rotate", None).json()["version"] == 2
        assert world.subject.get(f"/v1/subjects/{world.subject.subject}/records").json()["items"]
    finally:
        if vault.server.alive():
            vault.stop()


def test_a_hsm_that_goes_while_serving_is_503_and_comes_back(served, hsm):
    world = World(served)
    one = {"records": [{"type": "contact", "data": {"name": "Nobody"}}]}
    hsm.take_away()
    answer = world.service.request("POST", "/v1/subjects", one)
    expect_problem(answer, 503, "hsm-unavailable")
    assert "C_" not in answer.text
    hsm.bring_back()
    wait_until(lambda: world.service.request("POST", "/v1/subjects", one).status_code == 201, "the HSM is found again")


def test_no_key_and_no_pin_are_in_the_data_folder(made):
    keyring = json.loads((made.data / "keyring").read_text())
    assert keyring["provider"] == "pkcs11" and keyring["pkcs11"]["token"] == LABEL
    assert [set(m) for m in keyring["masters"]] == [{"version", "created", "id"}]
    assert not (made.data / "keyring.passphrase").exists()
    for path in made.data.rglob("*"):
        if path.is_file():
            assert PIN.encode() not in path.read_bytes(), path


# ---- what does not open ----

def test_a_wrong_pin_is_3_and_changes_nothing(made, hsm):
    before, objects = contents(made.data), hsm.objects()
    serve(made.data, hsm.wrong_pin, 3, "PIN")
    assert contents(made.data) == before and hsm.objects() == objects
    made.start()
    session_of(made, "operator")
    made.stop()


def test_a_missing_hsm_is_8_and_changes_nothing(made, hsm):
    before = contents(made.data)
    hsm.take_away()
    serve(made.data, hsm.pin, 8, LABEL, "no token")
    assert contents(made.data) == before
    hsm.bring_back()
    made.start()
    session_of(made, "operator")
    made.stop()


def test_a_lost_key_is_8_and_is_named(made, hsm):
    before, said = contents(made.data), []
    for path in hsm.objects():
        path.rename(hsm.folder / "lost")
        said.append(serve(made.data, hsm.pin, 8, LABEL))
        assert contents(made.data) == before
        (hsm.folder / "lost").rename(path)
    assert len(said) == 2 and any("master key of version 1" in text for text in said) and any("seal" in text for text in said)
    made.start()
    made.stop()


def test_a_damaged_keyring_is_4(made, hsm):
    keyring = made.data / "keyring"
    text = keyring.read_bytes()
    keyring.write_bytes(text.replace(b'"provider"', b'"provideR"'))
    before = contents(made.data)
    serve(made.data, hsm.pin, 4, "keyring")
    assert contents(made.data) == before
    keyring.write_bytes(text)
    made.start()
    made.stop()


# ---- what is not made ----

@pytest.mark.parametrize("code, options, pin, name", [
    (8, {"module": "/usr/lib/none/libnone.so"}, "pin", "libnone.so"),
    (8, {"module": "/etc/hostname"}, "pin", "cannot be loaded"),
    (8, {"label": "another"}, "pin", "another"),
    (3, {}, "wrong_pin", "PIN"),
    (2, {"module": "libsofthsm2.so"}, "pin", "path"),
])
def test_a_failed_init_leaves_nothing(tmp_path, hsm, code, options, pin, name):
    data = tmp_path / "vault"
    done = run_tresor("init", "--data", data, *hsm.options(**options), "--keyring-file", getattr(hsm, pin), check=code)
    assert name in done.stderr and done.stdout == "" and PIN not in done.stderr
    assert contents(data) == {}
    assert hsm.objects() == []
    HsmVault(tmp_path, hsm)


def test_init_without_a_pin_says_where_to_give_it(tmp_path, hsm):
    done = run_tresor("init", "--data", tmp_path / "vault", *hsm.options(), check=2)
    assert "PIN" in done.stderr
    assert contents(tmp_path / "vault") == {} and hsm.objects() == []
