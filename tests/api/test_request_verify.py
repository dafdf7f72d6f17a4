"""`tresor request verify`: what it finds good, and everything else that it must not."""
import ctypes.util
import io
import json
import zipfile

import pytest

import signed
from tresor_client import ADA, Anonymous, run_tresor

OK, USAGE, WRONG_KEY, UNPROVEN = 0, 2, 3, 10
FILES = {"index.html": b"<!doctype html>\n" * 9000, "records/contact.json": b'[{"name":"Ada"}]', "empty.csv": b""}


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return signed.Signer(tmp_path_factory.mktemp("signer"), bytes(range(32)))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return signed.Signer(tmp_path_factory.mktemp("stranger"), bytes(range(1, 33)))


@pytest.fixture(scope="module")
def keys(signer, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    path.write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, signer.jwk]}))
    return path


def verify(path, keys, *args, check=None):
    done = run_tresor("request", "verify", path, "--keys", keys, *args)
    if check is not None:
        assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else None


def write(path, tree):
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


# ---- receipts ----

def test_a_good_receipt(signer, keys, tmp_path):
    receipt = signer.receipt(note="caf\u00e9")
    good = verify(write(tmp_path / "r.json", receipt), keys, check=OK)
    assert good == {"ok": True, "what": "receipt", "reason": None, "where": None, "receipt": receipt["receipt"]}
    # Formatted anew, and as DELETE /v1/subjects/{id} answers it.
    verify(write(tmp_path / "r.json", json.dumps({"request": "x", **receipt}, indent=4)), keys, check=OK)


def test_keys_as_the_server_says_them(signer, tmp_path):
    about = write(tmp_path / "about.json", {"name": "tresor", "signing_keys": {"keys": [signer.jwk]}})
    verify(write(tmp_path / "r.json", signer.receipt()), about, check=OK)


def test_altered_receipts(signer, stranger, keys, tmp_path):
    good = signer.receipt()
    head, payload, signature = good["jws"].split(".")
    other = signer.receipt(kind="erasure")
    flipped = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    cases = {
        "another text beside": {**good, "receipt": {**good["receipt"], "kind": "erasure"}},
        "a member more": {**good, "receipt": {**good["receipt"], "records": 4}},
        "another's signature": {**good, "jws": ".".join((head, payload, other["jws"].split(".")[2]))},
        "another payload": {**good, "jws": ".".join((head, other["jws"].split(".")[1], signature))},
        "one character": {**good, "jws": f"{head}.{payload}.{flipped}"},
        "no signature": {**good, "jws": f"{head}.{payload}."},
        "alg none": {**good, "jws": f'{signed.b64(signed.compact({"alg": "none", "kid": signer.kid, "typ": signed.RECEIPT}))}.{payload}.'},
        "a stranger's": stranger.receipt(),
        "a stranger's under this kid": {**good, "jws": stranger.sign(signed.compact(good["receipt"]), signed.RECEIPT, kid=signer.kid)},
        "a manifest": {**good, "jws": signer.sign(signed.compact(good["receipt"]), signed.MANIFEST)},
        "no receipt": {"jws": good["jws"]},
        "no jws": {"receipt": good["receipt"]},
        "jws no text": {**good, "jws": 5},
        "a list": [good],
        "no JSON": "hello",
        "nothing": "",
        "a key twice": json.dumps(good)[:-1] + ',"jws":"x"}',
    }
    for name, tree in cases.items():
        bad = verify(write(tmp_path / "r.json", tree), keys, check=UNPROVEN)
        assert bad["ok"] is False and bad["reason"] and "receipt" not in bad, name


# ---- packages ----

def test_a_good_package(signer, keys, tmp_path):
    good = verify(signer.package(tmp_path / "p.zip", FILES), keys, check=OK)
    assert good["ok"] is True and good["what"] == "package" and good["kid"] == signer.kid
    assert good["files"] == 3 and good["bytes"] == sum(map(len, FILES.values())) and good["manifest"] == {"subject": "s"}
    # A line's end after the signature does not matter.
    jws = zipfile.ZipFile(tmp_path / "p.zip").read("manifest.jws").decode()
    verify(signer.package(tmp_path / "p.zip", FILES, jws=jws + "\n"), keys, check=OK)


def rebuilt(source, path, change):
    """The same ZIP after `change` of its list of (name, bytes)."""
    with zipfile.ZipFile(source) as old:
        items = [(n, old.read(n)) for n in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, data in change(items):
            new.writestr(name, data)
    return path


def with_file(name, data):
    return lambda items: [(n, data if n == name else b) for n, b in items]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_altered_packages(signer, stranger, keys, tmp_path):
    good, bad = signer.package(tmp_path / "good.zip", FILES), tmp_path / "bad.zip"
    html = FILES["index.html"]
    for name, change in {
        "a byte": with_file("index.html", html[:-1] + b"!"),
        "shorter": with_file("index.html", html[:-1]),
        "longer": with_file("index.html", html + b"\n"),
        "emptied": with_file("index.html", b""),
        "filled": with_file("empty.csv", b"x"),
        "the manifest": lambda items: [(n, b.replace(b'"s"', b'"t"') if n == "manifest.json" else b) for n, b in items],
        "a file gone": lambda items: [i for i in items if i[0] != "empty.csv"],
        "a file more": lambda items: [*items, ("more.txt", b"")],
        "a file twice": lambda items: [*items, ("empty.csv", b"")],
        "a folder": lambda items: [*items, ("records/", b"")],
        "two manifests": lambda items: [*items, ("manifest.json", b"{}")],
        "another name": lambda items: [("Index.html" if n == "index.html" else n, b) for n, b in items],
        "a path": lambda items: [("../index.html" if n == "index.html" else n, b) for n, b in items],
        "exchanged": lambda items: [({"index.html": "empty.csv", "empty.csv": "index.html"}.get(n, n), b) for n, b in items],
        "no signature": lambda items: [i for i in items if i[0] != "manifest.jws"],
        "no manifest": lambda items: [i for i in items if i[0] != "manifest.json"],
        "nothing": lambda items: [],
    }.items():
        verdict = verify(rebuilt(good, bad, change), keys, check=UNPROVEN)
        assert verdict["ok"] is False and verdict["reason"], name
    assert verify(stranger.package(bad, FILES), keys, check=UNPROVEN)["files"] == 0  # nothing is unpacked for a stranger
    receipt = signer.sign(signed.compact({"files": []}), signed.RECEIPT)
    verify(signer.package(bad, {}, manifest=signed.compact({"files": []}), jws=receipt), keys, check=UNPROVEN)


def test_manifests_that_say_nothing(signer, keys, tmp_path):
    entry = {"name": "a.txt", "size": 1, "sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}
    for files, code in (([entry], OK), (None, UNPROVEN), ({}, UNPROVEN), ([], UNPROVEN), ([entry, entry], UNPROVEN), (["a.txt"], UNPROVEN),
                        ([{**entry, "size": "1"}], UNPROVEN), ([{**entry, "size": -1}], UNPROVEN), ([{**entry, "sha256": None}], UNPROVEN),
                        ([{**entry, "sha256": entry["sha256"].upper()}], UNPROVEN), ([{**entry, "size": 2}], UNPROVEN)):
        package = signer.package(tmp_path / "p.zip", {"a.txt": b"a"}, manifest=signed.compact({"files": files}))
        verify(package, keys, check=code)


def test_a_damaged_archive(signer, keys, tmp_path):
    whole = signer.package(tmp_path / "p.zip", FILES).read_bytes()
    bad = tmp_path / "bad.zip"
    step = max(1, len(whole) // 60)
    for at in range(4, len(whole), step):  # cut off, and with a byte altered
        bad.write_bytes(whole[:at])
        verify(bad, keys, check=UNPROVEN)
    intact = 0
    for at in range(4, len(whole), step):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
        done = run_tresor("request", "verify", bad, "--keys", keys)
        assert done.returncode in (OK, UNPROVEN), (at, done.stdout, done.stderr)
        if done.returncode == OK:  # a time or an attribute, of which the manifest says nothing: the content is the same
            with zipfile.ZipFile(bad) as z:
                assert {n: z.read(n) for n in z.namelist() if not n.startswith("manifest.")} == FILES
            intact += 1
    assert intact < 30


def test_a_directory_that_says_otherwise(signer, keys, tmp_path):
    """What other programs show is the directory at the end; and before, behind and between the files nothing is hidden."""
    whole, bad = signer.package(tmp_path / "p.zip", FILES).read_bytes(), tmp_path / "bad.zip"
    at = whole.index(b"PK\1\2")
    files, directory = whole[:at], whole[at:]
    for name, data in {
        "another name": files + directory.replace(b"empty.csv", b"emptx.csv"),
        "exchanged names": files + directory.replace(b"index.html", b"0123456789").replace(b"manifest.jws", b"index.html..").replace(
            b"0123456789", b"manifest.j"),
        "one fewer": files + directory[:-12] + (int.from_bytes(directory[-12:-10], "little") - 1).to_bytes(2, "little") + directory[-10:],
        "something before": b"PK\3\4" + whole,
        "something behind": whole + b"\0",
        "a hidden file": files + b"hidden" + directory,
        "twice": whole + whole,
        "another size at the file itself": files[:18] + (int.from_bytes(files[18:22], "little") - 1).to_bytes(4, "little") + files[22:]
            + directory,
    }.items():
        bad.write_bytes(data)
        assert verify(bad, keys, check=UNPROVEN)["ok"] is False, name
    bad.write_bytes(files + directory)
    verify(bad, keys, check=OK)


class Stream(io.RawIOBase):
    """Takes what a ZIP writer writes, and does not let it go back: sizes stand behind the data then."""

    def __init__(self):
        super().__init__()
        self.content = b""

    def writable(self):
        return True

    def write(self, part):
        self.content += bytes(part)
        return len(part)


def test_an_end_that_the_data_do_not_show(signer, keys, tmp_path):
    """Of a stored file whose size stands behind it anything can be the end for whoever reads the archive from its beginning."""
    signer.package(tmp_path / "p.zip", FILES)
    for method, code in ((zipfile.ZIP_DEFLATED, OK), (zipfile.ZIP_STORED, UNPROVEN)):
        stream = Stream()
        with zipfile.ZipFile(tmp_path / "p.zip") as old, zipfile.ZipFile(stream, "w", method) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name))
        (tmp_path / "stream.zip").write_bytes(stream.content)
        verify(tmp_path / "stream.zip", keys, check=code)


@pytest.mark.skipif(not ctypes.util.find_library("archive"), reason="no libarchive to encrypt with")
def test_encrypted(signer, keys, tmp_path):
    sealed = signed.encrypted(signer.package(tmp_path / "p.zip", FILES), tmp_path / "sealed.zip", b"correct horse battery")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct horse battery\n")
    wrong.write_text("incorrect horse battery\n")
    assert verify(sealed, keys, "--passphrase-file", right, check=OK)["files"] == 3
    done = run_tresor("request", "verify", sealed, "--keys", keys, check=WRONG_KEY)
    assert "--passphrase-file" in done.stderr and not done.stdout
    done = run_tresor("request", "verify", sealed, "--keys", keys, "--passphrase-file", wrong, check=WRONG_KEY)
    assert not done.stdout and "horse" not in done.stderr
    run_tresor("request", "verify", sealed, "--keys", keys, "--passphrase-file", tmp_path / "none", check=USAGE)
    altered = bytearray(sealed.read_bytes())
    altered[200] ^= 1  # inside the first file
    sealed.write_bytes(altered)
    verify(sealed, keys, "--passphrase-file", right, check=UNPROVEN)


# ---- the command line ----

def test_usage(signer, keys, tmp_path):
    receipt = write(tmp_path / "r.json", signer.receipt())
    for args in ((), ("verify",), ("verify", receipt), ("check", receipt, "--keys", keys), ("verify", receipt, receipt, "--keys", keys),
                 ("verify", receipt, "--keys", keys, "--url", "https://127.0.0.1:1"), ("verify", receipt, "--keys", keys, "--ca", keys),
                 ("verify", tmp_path / "none", "--keys", keys), ("verify", receipt, "--keys", tmp_path / "none"),
                 ("verify", receipt, "--url", "http://example.org")):
        done = run_tresor("request", *args, check=USAGE)
        assert done.stderr.startswith("tresor: ") and not done.stdout, args
    for text in ("", "hello", "[]", "{}", '{"keys":{}}', '{"signing_keys":[]}'):
        run_tresor("request", "verify", receipt, "--keys", write(tmp_path / "k.json", text), check=USAGE)
    verify(receipt, write(tmp_path / "k.json", {"keys": []}), check=UNPROVEN)
    help_text = run_tresor("request", "--help", check=OK).stdout
    assert "verify FILE" in help_text and "10  " in help_text
    assert "request" in run_tresor("--help", check=OK).stdout


def test_keys_from_the_server(vault, signer, tmp_path):
    """What another key signed is not this server's."""
    receipt = write(tmp_path / "r.json", signer.receipt())
    done = run_tresor("request", "verify", receipt, "--url", vault.url, "--ca", vault.ca, check=UNPROVEN)
    assert "not among the given ones" in json.loads(done.stdout)["reason"]


# ---- a package of the vault's own ----

def test_what_the_vault_hands_out(world, tmp_path):
    subject = world.make_subject(ADA)
    (tmp_path / "keys.json").write_text(Anonymous(world.vault).raw("GET", "/v1/about").text)
    (tmp_path / "passphrase").write_text("a-passphrase-of-twelve")
    for headers, more in (({}, ()), ({"Package-Passphrase": "a-passphrase-of-twelve"}, ("--passphrase-file", tmp_path / "passphrase"))):
        answer = subject.request("GET", f"/v1/subjects/{subject.subject}/export", headers=headers, expect=200)
        (tmp_path / "export.zip").write_bytes(answer.content)
        good = verify(tmp_path / "export.zip", tmp_path / "keys.json", *more, check=OK)
        assert good["ok"] is True and good["files"] > 3 and good["manifest"]
        middle = len(answer.content) // 3
        (tmp_path / "export.zip").write_bytes(answer.content[:middle] + bytes([answer.content[middle] ^ 1]) + answer.content[middle + 1:])
        verify(tmp_path / "export.zip", tmp_path / "keys.json", *more, check=UNPROVEN)
