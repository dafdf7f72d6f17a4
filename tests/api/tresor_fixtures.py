"""Fixtures that tests/api and tests/crash share."""
import pytest

from tresor_client import BINARY, Anonymous, Vault, World


def pytest_configure(config):
    config.addinivalue_line("markers", "flags(*flags): flags of the fresh vault's server")
    config.addinivalue_line("markers", "shipped: of the program as it is shipped, not of tresor-quick or a sanitizer's build")
    config.addinivalue_line("markers", "concurrency: many requests at once; worth a run under ThreadSanitizer")
    config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout, where it is installed")
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "loadfile"  # each file has a vault of its own: do not make it twice


def pytest_collection_modifyitems(config, items):
    if items and not BINARY.exists() and not config.option.collectonly:
        pytest.exit(f"{BINARY} does not exist: build it, or set TRESOR_BINARY", returncode=2)


def _running(folder, *flags):
    vault = Vault(folder, *flags).start()
    try:
        yield vault
    except BaseException:
        vault.server.kill()
        raise
    if vault.server.process is not None and not vault.server.process.stdout.closed:
        assert vault.server.alive(), f"the server died:\n{vault.server.log()[-3000:]}\n{vault.server.errors()[-5000:]}"
        vault.stop()


@pytest.fixture(scope="module")
def vault(tmp_path_factory, request):
    """A vault of this module's own, served; flags of the server come from the module's SERVER_FLAGS."""
    yield from _running(tmp_path_factory.mktemp("vault"), *getattr(request.module, "SERVER_FLAGS", ()))


@pytest.fixture(scope="module")
def world(vault):
    return World(vault)


@pytest.fixture(scope="module")
def anonymous(vault):
    return Anonymous(vault)


@pytest.fixture
def fresh_vault(tmp_path, request):
    """A vault of this test's own; server flags by @pytest.mark.flags(...)."""
    mark = request.node.get_closest_marker("flags")
    yield from _running(tmp_path, *(mark.args if mark else ()))
