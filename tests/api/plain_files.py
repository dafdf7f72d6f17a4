"""What somebody who has the keys reads in a data folder: every page of every database and write-ahead log in the clear."""
import subprocess

from tresor_client import BINARY

SHOWKEYS, PLAINPAGES = BINARY.parent / "showkeys", BINARY.parent / "plainpages"


def there():
    return SHOWKEYS.exists() and PLAINPAGES.exists()


def keys_of(data, most=100_000):
    """{name: key}: "vault.db", "keys.db", "audit.db", "master.N", "named.NAME", "data.SUBJECT" (hexadecimal, upper case)."""
    shown = subprocess.run([SHOWKEYS, data, data / "keyring.passphrase", str(most)], check=True, capture_output=True, text=True)
    lines = (line.rsplit(" ", 1) for line in shown.stdout.splitlines())
    return {name: bytes.fromhex(value) for name, value in lines if "/" not in name}


def plain(path, key):
    return subprocess.run([PLAINPAGES, path, key.hex()], check=True, capture_output=True).stdout


def contents(data):
    """(name, bytes) of every file as it is, and of every database and WAL in the clear."""
    keys = keys_of(data)
    for path in sorted(p for p in data.rglob("*") if p.is_file()):
        yield path.name, path.read_bytes()
        database = path.name.removesuffix("-wal")
        if database in ("vault.db", "keys.db", "audit.db"):
            yield path.name + " in the clear", plain(path, keys[database])
