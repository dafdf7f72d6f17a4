from tresor_fixtures import *  # noqa: F401,F403


def pytest_configure(config):
    config.addinivalue_line("markers", "flags(*flags): flags of the fresh vault's server")
