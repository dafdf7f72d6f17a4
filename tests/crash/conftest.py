import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "api"))

from tresor_client import BINARY  # noqa: E402
from tresor_fixtures import *  # noqa: E402,F401,F403


def preloaded(factory, name):
    """A library for LD_PRELOAD."""
    if b"__asan_init" in BINARY.read_bytes():
        pytest.skip("a sanitizer's runtime wants to be loaded first")
    library = factory.mktemp(name) / f"{name}.so"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, HERE / f"{name}.c", "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def kill_at(tmp_path_factory):
    """Ends a process at its n-th change."""
    return preloaded(tmp_path_factory, "kill_at")


@pytest.fixture(scope="module")
def fail_at(tmp_path_factory):
    """Lets the n-th change of a folder fail."""
    return preloaded(tmp_path_factory, "fail_at")
