"""An image of the running server's memory, as a debugger or the kernel would write it, has no key in it: what holds keys is kept out of
dumps (MADV_DONTDUMP), and what held one for a moment was wiped. And what is kept out is locked, so that no key reaches a swap partition.

As root, with gdb. What is looked for: the passphrase and what is made of it, the master keys, the keys of the three databases and what
SQLCipher makes of them, the vault's own keys, data keys, and the TLS key; each as it is, in hexadecimal, by halves (as in AES's round
keys), and as the states that HMAC makes of it.
"""
import collections
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import threading
import time

import pytest

from tresor_client import ADA, BINARY, Client, World

SHOWKEYS, FINDBYTES = BINARY.parent / "showkeys", BINARY.parent / "findbytes"
SECONDS = float(os.environ.get("TRESOR_IMAGE_SECONDS", "4"))
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("gcore"), reason="needs root and gdb"),
    pytest.mark.skipif(BINARY.exists() and any(name in BINARY.read_bytes() for name in (b"__asan_init", b"__tsan_init")),
                       reason="a sanitizer keeps memory in its own way"),
    pytest.mark.skipif(not (SHOWKEYS.exists() and FINDBYTES.exists()), reason="the tools showkeys and findbytes are not built"),
]
SERVER_FLAGS = ("--threads", "16")  # an image has all of each thread's stack
Hit = collections.namedtuple("Hit", "needle count places")


# ---- what to look for ----

def forms(name, key):
    """A key in the forms in which it could lie in memory."""
    yield name, key
    yield name + " in hexadecimal", key.hex().encode()
    yield name + " in HEXADECIMAL", key.hex().upper().encode()
    if len(key) == 32:  # AES-256: the first two round keys of encryption, the last of decryption
        yield name + ", first half", key[:16]
        yield name + ", second half", key[16:]


def sqlcipher_hmac_key(path, key):
    """PBKDF2-HMAC-SHA512 over two rounds; the salt is the file's first 16 bytes under a mask (SQLCipher 4)."""
    with open(path, "rb") as file:
        salt = bytes(b ^ 0x3A for b in file.read(16))
    return hashlib.pbkdf2_hmac("sha512", key, salt, 2, 32)


def tls_key(path):
    """The private number of the P-256 key, as it is in a file and as OpenSSL computes with it (little endian words)."""
    text = subprocess.run(["openssl", "pkey", "-in", path, "-noout", "-text"], check=True, capture_output=True, text=True).stdout
    digits = re.search(r"priv:\s*([0-9a-f:\s]+?)pub:", text).group(1)
    number = bytes.fromhex(re.sub(r"[:\s]", "", digits)).lstrip(b"\0").rjust(32, b"\0")
    return number


def needles(vault, most=200):
    found = {}
    shown = subprocess.run([SHOWKEYS, vault.data, vault.data / "keyring.passphrase", str(most)], check=True, capture_output=True, text=True)
    for line in shown.stdout.splitlines():
        name, value = line.rsplit(" ", 1)
        if "/" in name:
            found[name] = bytes.fromhex(value)
        else:
            found.update(forms(name, bytes.fromhex(value)))
        if name in ("vault.db", "keys.db", "audit.db"):
            found.update(forms(name + "'s page MAC", sqlcipher_hmac_key(vault.data / name, bytes.fromhex(value))))
    number = tls_key(vault.data / "tls.key")
    found["the TLS key"], found["the TLS key, as words"] = number, number[::-1]
    pem = [line for line in (vault.data / "tls.key").read_text().split("PRIVATE KEY")[1].splitlines() if len(line) == 64]
    found["the TLS key's file"] = pem[1][:32].encode()
    assert {"kek", "seal", "master.1", "vault.db", "keys.db", "audit.db", "named.index", "named.token", "named.outcome", "named.sign"} <= set(found)
    assert sum(name.startswith("data.") for name in found) >= 20
    return found


# ---- the image ----

class Image:
    """A core file (ELF, 64 bits), and what lay where."""

    def __init__(self, path, maps):
        self.path, self.maps = path, maps
        with open(path, "rb") as file:
            head = file.read(64)
            offset, = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            file.seek(offset)
            table = file.read(size * count)
        self.segments = []
        for i in range(count):
            kind, _, start, address, _, length = struct.unpack_from("<IIQQQQ", table, i * size)
            self.segments.append((start, length, address if kind == 1 else None))

    def place(self, at):
        for start, length, address in self.segments:
            if start <= at < start + length:
                if address is None:
                    return "registers"
                where = address + at - start
                name = next((name for low, high, name in self.maps if low <= where < high), "?")
                return f"{name or 'anonymous'} {where:#x}"
        return "core header"

    def search(self, wanted):
        """What of {name: bytes} is there."""
        names = list(wanted)
        lines = "".join(f"{i} {wanted[name].hex()}\n" for i, name in enumerate(names))
        out = subprocess.run([FINDBYTES, self.path], input=lines, check=True, capture_output=True, text=True).stdout
        self.path.unlink()  # it may have gigabytes
        places = collections.defaultdict(list)
        for line in out.splitlines():
            number, at = line.split()
            places[names[int(number)]].append(int(at))
        return [Hit(name, len(found), [self.place(at) for at in found]) for name, found in places.items()]


def maps_of(pid):
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        low, high = (int(x, 16) for x in line.split()[0].split("-"))
        yield low, high, line[73:].strip()


def take(vault, folder):
    """gcore's image of the running server, with the kernel's usual choice of mappings."""
    pid = vault.server.process.pid
    pathlib.Path(f"/proc/{pid}/coredump_filter").write_text("0x33")
    maps = list(maps_of(pid))
    done = subprocess.run(["gcore", "-o", str(folder / "core"), str(pid)], capture_output=True, text=True, timeout=300)
    path = folder / f"core.{pid}"
    assert done.returncode == 0 and path.stat().st_size > 100_000, done.stdout + done.stderr
    os.chmod(path, 0o600)
    return Image(path, maps)


# ---- a server that has used all of its keys ----

def work(world, seconds):
    """Reads, writes and look-ups by several clients, and sign-ins."""
    subjects = [world.make_subject({**ADA, "name": f"Person {i}"}) for i in range(8)]
    for _ in range(30):
        world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": ADA}]})
    until = time.monotonic() + seconds
    failures = []

    def one(subject, lane):
        where = f"/v1/subjects/{subject.subject}/records"
        try:
            while time.monotonic() < until:
                made = lane.post(where, {"type": "contact", "data": {"name": "Written Name"}}, key=os.urandom(8).hex()).json()
                lane.get(where)
                lane.put(f"{where}/{made['id']}", {"data": {"name": "Replaced Name"}})
                Client(world.vault, subject.uid, subject.password).sign_in()
        except BaseException as error:  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=one, args=(s, s.lanes(1)[0])) for s in subjects]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        world.officer.post("/v1/lookup", {"type": "contact", "field": "/email", "value": ADA["email"]}, expect=200)
    for thread in threads:
        thread.join()
    assert not failures, failures


@pytest.fixture(scope="module")
def used(vault):
    world = World(vault)
    work(world, SECONDS)
    return world


def report(hits):
    return "\n".join(f"  {hit.count} x {hit.needle}: {'; '.join(hit.places[:6])}" for hit in hits)


# ---- the tests ----

KEYS = {"kek", "seal", "master.1", "vault.db", "keys.db", "audit.db", "named.index", "named.token", "named.outcome", "named.sign", "the TLS key, as words"}


def kept_out(pid, path):
    """What the kernel keeps out of dumps ("dd"): into a file; with places for Image's search. The name is "locked" or "not locked"."""
    places, at = [], 0
    with open(path, "wb") as out, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for entry in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path(f"/proc/{pid}/smaps").read_text(), flags=re.M)[1:]:
            flags = re.search(r"^VmFlags:(.*)$", entry, re.M).group(1).split()
            low, high = (int(x, 16) for x in entry.split(None, 1)[0].split("-"))
            if "dd" not in flags or "rd" not in flags or "io" in flags or entry.split(None, 6)[5].startswith("[v"):
                continue
            memory.seek(low)
            out.write(memory.read(high - low))
            places.append((low, high, "locked" if "lo" in flags else "not locked", at))
            at = out.tell()
    image = Image.__new__(Image)
    image.path, image.maps = path, [place[:3] for place in places]
    image.segments = [(start, high - low, low) for low, high, _, start in places]
    return image


def test_keys_are_in_locked_memory(used, tmp_path):
    """Of what is kept out of dumps; and so the needles are the right ones: what is found nowhere would not be found in an image."""
    wanted = needles(used.vault)
    hits = kept_out(used.vault.server.process.pid, tmp_path / "kept").search(wanted)
    found = {hit.needle for hit in hits}
    assert KEYS <= found and any(name.startswith("data.") for name in found), KEYS - found
    loose = [hit for hit in hits if any(place.startswith("not locked") for place in hit.places)]
    assert not loose, f"{len(loose)} of {len(hits)} are in memory that may be swapped:\n{report(loose)}"


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_no_key_in_an_image(used, tmp_path, state):
    wanted = needles(used.vault)
    if state == "busy":
        thread = threading.Thread(target=work, args=(used, SECONDS))
        thread.start()
        time.sleep(SECONDS / 2)
        image = take(used.vault, tmp_path)
        thread.join()
    else:
        time.sleep(2)  # not for a condition: what stays behind is what is looked for
        image = take(used.vault, tmp_path)
    hits = image.search(wanted)
    assert not hits, f"{len(hits)} of {len(wanted)} needles are in the image:\n{report(hits)}"


def test_no_token_in_an_image(used, tmp_path):
    """Nor is a token that was given out or used, once its connection has ended, nor a password."""
    people = [used.make_subject({**ADA, "name": f"Person {i}"}) for i in range(6)]
    wanted = {}
    for i, person in enumerate(people):
        person.sign_in()
        for name, one in (("person", person), ("lane", person.lanes(1)[0])):
            for _ in range(4):
                one.get(f"/v1/subjects/{person.subject}/records")
            one.http.close()
            wanted[f"the next token of {name} {i}"] = one.token.encode()
            wanted.update({f"token {n} of {name} {i}": token.encode() for n, token in enumerate(one.used[-4:])})
        wanted[f"password {i}"] = person.password.encode()
    used.service.get("/v1/types/contact")  # its connection stays open, and the head of its request where it was read
    wanted["control"] = used.service.used[-1].encode()
    time.sleep(2)  # not for a condition: what stays behind is what is looked for
    hits = take(used.vault, tmp_path).search(wanted)
    assert [hit.needle for hit in hits] == ["control"], f"{len(hits)} of {len(wanted)} are in the image:\n{report(hits)}"
