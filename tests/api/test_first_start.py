"""serve with the setting init: a vault where there is none, its first credentials in a file, nothing lost where there is one."""
import json
import os
import stat

import pytest

from tresor_client import Client, Server, run_tresor

MADE = {"vault.db", "keys.db", "audit.db", "keyring", "keyring.passphrase", "first-credentials.json"}


@pytest.fixture
def start(tmp_path):
    """Start a server on tmp_path/data with this environment; ended with the test."""
    begun = []

    def start(**env):
        server = Server(tmp_path / "data")
        server.env = env
        begun.append(server)
        return server.start()

    yield start
    for server in begun:
        if server.alive():
            server.stop()


def sign_in(server, role="operator"):
    first = json.loads((server.data / "first-credentials.json").read_text())
    assert set(first) == {"operator", "officer", "auditor"}
    client = Client(server, first[role]["uid"], first[role]["password"])
    server.secrets = []
    client.sign_in()
    return first


def test_empty_folder_becomes_a_vault(start):
    server = start(TRESOR_INIT="1")
    first = sign_in(server)
    names = set(os.listdir(server.data))
    assert MADE <= names and not [n for n in names if n.startswith("first-start")], names
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    for name in MADE:
        assert stat.S_IMODE((server.data / name).stat().st_mode) == 0o600, name
    [entry] = [json.loads(line) for line in server.lines if '"vault.made"' in line]
    assert entry["credentials"] == "first-credentials.json"
    for one in first.values():
        assert one["password"] not in server.log() + server.errors()


def test_second_start_changes_nothing(start):
    server = start(TRESOR_INIT="1")
    server.stop()
    before = (server.data / "keyring").read_bytes()
    (server.data / "first-credentials.json").unlink()  # read, and put away
    server = start(TRESOR_INIT="yes")
    assert (server.data / "keyring").read_bytes() == before
    assert not (server.data / "first-credentials.json").exists() and '"vault.made"' not in server.log()


def test_without_the_setting_nothing_is_made(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    done = run_tresor("serve", "--data", data, "--listen", "127.0.0.1:0", check=2)
    assert "holds no vault" in done.stderr and os.listdir(data) == []


def test_passphrase_from_the_environment(start):
    """It opens the vault at the same start, and stands in no file."""
    server = start(TRESOR_INIT="1", TRESOR_KEYRING="correct horse battery staple")
    assert not (server.data / "keyring.passphrase").exists()
    sign_in(server)
    server.stop()
    run_tresor("audit", "verify", "--data", server.data, check=2)
    run_tresor("audit", "verify", "--data", server.data, check=0, TRESOR_KEYRING="correct horse battery staple")


def test_passphrase_from_a_file(start, tmp_path):
    (tmp_path / "passphrase").write_text("a Docker secret\n")
    server = start(TRESOR_INIT="1", TRESOR_KEYRING_FILE=str(tmp_path / "passphrase"))
    assert not (server.data / "keyring.passphrase").exists()
    sign_in(server)


def test_passphrase_that_lies_there(start, tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "keyring.passphrase"
    path.write_text("put there before\n")
    path.chmod(0o600)
    sign_in(start(TRESOR_INIT="1"))
    assert path.read_text() == "put there before\n"


@pytest.mark.parametrize("name", ["vault.db", "keys.db", "audit.db", "first-credentials.json"])
def test_what_is_left_of_a_vault_stays(tmp_path, name):
    """A keyring that got lost is no reason to begin anew."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / name).write_bytes(b"what is left")
    done = run_tresor("serve", "--data", data, "--listen", "127.0.0.1:0", check=1, TRESOR_INIT="1")
    assert name in done.stderr
    assert (data / name).read_bytes() == b"what is left" and set(os.listdir(data)) <= {name, "lock"}


def test_a_name_that_leaves_no_room_for_the_making_is_refused(tmp_path):
    """511 bytes are the most that `data` may have; beside it lies what is being made, under a longer name."""
    parent = tmp_path / ("a" * 200) / ("b" * (506 - len(str(tmp_path)) - 203))
    parent.mkdir(parents=True)
    data = parent / "data"
    assert len(str(data)) == 510
    done = run_tresor("serve", "--init", "yes", "--data", data, "--listen", "127.0.0.1:0", check=2)
    assert "name is too long" in done.stderr and list(parent.iterdir()) == []


def test_check_says_that_one_will_be_made(tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    done = run_tresor("serve", "--check", "--data", data, "--listen", "127.0.0.1:0", check=0, TRESOR_INIT="1")
    assert done.stdout.splitlines() == [f"note: {data}: holds no vault: the first start makes one", "ok"]
    assert os.listdir(data) == []
