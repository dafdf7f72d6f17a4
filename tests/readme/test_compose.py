"""docker/compose.yaml takes from the container what it does not need, and says the same as the Dockerfile."""
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()


def test_limits():
    [service] = SERVICE["services"].values()
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and service["user"] == "10001:10001"
    assert all(t.startswith("/tmp:") and "size=" in t and "nosuid" in t for t in service["tmpfs"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert service["ulimits"]["core"] == 0 and service["ulimits"]["memlock"] >= 16 << 20
    assert all(p.startswith("127.0.0.1:") for p in service["ports"])
    assert service["stop_grace_period"] == "30s"  # drain_timeout_ms is 20 s


def test_secret_is_a_file_outside_of_image_and_volume():
    [service] = SERVICE["services"].values()
    [secret] = service["secrets"]
    assert service["environment"] == {"TRESOR_INIT": "1", "TRESOR_KEYRING_FILE": f"/run/secrets/{secret}"}
    assert SERVICE["secrets"][secret]["file"].endswith("../var/container.passphrase}")
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*" and "!var" not in ignored  # nor is it sent to the builder
    assert service["volumes"] == ["data:/data"] and "data" in SERVICE["volumes"]


def test_same_as_the_dockerfile():
    [service] = SERVICE["services"].values()
    assert f'USER {service["user"]}\n' in DOCKERFILE
    assert service["build"]["dockerfile"] == "docker/Dockerfile"
    found = re.search(r"HEALTHCHECK --interval=(\S+) --timeout=(\S+) --start-period=(\S+) --retries=(\d+) CMD (.+)", DOCKERFILE).groups()
    check = service["healthcheck"]
    assert found[:4] == (check["interval"], check["timeout"], check["start_period"], str(check["retries"]))
    assert yaml.safe_load(found[4]) == check["test"][1:]
