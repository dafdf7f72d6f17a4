"""Receipts and packages signed, and checked, by somebody else's Ed25519: openssl."""
import base64
import ctypes
import hashlib
import io
import json
import pathlib
import subprocess
import zipfile

PRIVATE_DER, PUBLIC_DER = bytes.fromhex("302e020100300506032b657004220420"), bytes.fromhex("302a300506032b6570032100")
RECEIPT, MANIFEST = "tresor-receipt+jws", "tresor-manifest+jws"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(tree):
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


def openssl(*args, check=True):
    return subprocess.run(["openssl", *map(str, args)], capture_output=True, check=check)


class Signer:
    """A key of ours, which signs as a vault does."""

    def __init__(self, folder, seed):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        (self.folder / "key.der").write_bytes(PRIVATE_DER + seed)
        made = openssl("pkey", "-inform", "DER", "-in", self.folder / "key.der", "-pubout", "-outform", "DER")
        self.x = b64(made.stdout[len(PUBLIC_DER):])
        self.kid = thumbprint(self.x)
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": self.x}

    def sign(self, payload, typ, **header):
        head = {"alg": "EdDSA", "kid": self.kid, "typ": typ, **header}
        text = f"{b64(compact(head))}.{b64(payload)}"
        (self.folder / "input").write_text(text)
        made = openssl("pkeyutl", "-sign", "-inkey", self.folder / "key.der", "-keyform", "DER", "-rawin", "-in", self.folder / "input")
        return f"{text}.{b64(made.stdout)}"

    def receipt(self, **more):
        facts = {"vault": "01995b2f-6d3c-7a41-9c1e-52d7f0a6b3e8", "request": "01995b30-0000-7a41-9c1e-52d7f0a6b3e8",
                 "subject": "01995b31-0000-7a41-9c1e-52d7f0a6b3e8", "kind": "access", "result": {"records": 3}, **more}
        return {"receipt": facts, "jws": self.sign(compact(facts), RECEIPT)}

    def package(self, path, files, manifest=None, jws=None, order=None):
        """A ZIP of these files (name → bytes) with a manifest of them, or of `manifest`."""
        listed = [{"name": n, "size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files.items()]
        text = manifest if manifest is not None else compact({"subject": "s", "files": listed})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in files.items():
                out.writestr(name, data)
            out.writestr("manifest.json", text)
            out.writestr("manifest.jws", self.sign(text, MANIFEST) if jws is None else jws)
        return path


def thumbprint(x):
    """RFC 7638."""
    return b64(hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % x.encode()).digest())


def verified(jws, keys, typ, folder):
    """The payload, if openssl finds the signature good."""
    head, payload, signature = jws.split(".")
    header = json.loads(unb64(head))
    assert header["alg"] == "EdDSA" and header["typ"] == typ and set(header) == {"alg", "kid", "typ"}
    [key] = [k for k in keys["keys"] if k["kid"] == header["kid"]]
    assert thumbprint(key["x"]) == key["kid"]
    folder = pathlib.Path(folder)
    (folder / "public.der").write_bytes(PUBLIC_DER + unb64(key["x"]))
    (folder / "signed").write_text(f"{head}.{payload}")
    (folder / "signature").write_bytes(unb64(signature))
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", folder / "public.der", "-keyform", "DER", "-rawin", "-in", folder / "signed",
            "-sigfile", folder / "signature")
    return unb64(payload)


def encrypted(plain, path, passphrase):
    """The same ZIP with AES-256 (WinZip), by libarchive."""
    lib = ctypes.CDLL("libarchive.so.13")
    for name in ("archive_write_new", "archive_entry_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    writer = ctypes.c_void_p(lib.archive_write_new())
    assert lib.archive_write_set_format_zip(writer) == 0
    assert lib.archive_write_set_options(writer, b"zip:encryption=aes256") == 0
    assert lib.archive_write_set_passphrase(writer, passphrase) == 0
    assert lib.archive_write_open_filename(writer, str(path).encode()) == 0
    with zipfile.ZipFile(io.BytesIO(pathlib.Path(plain).read_bytes())) as source:
        for name in source.namelist():
            data = source.read(name)
            entry = ctypes.c_void_p(lib.archive_entry_new())
            lib.archive_entry_set_pathname(entry, name.encode())
            lib.archive_entry_set_size(entry, ctypes.c_int64(len(data)))
            lib.archive_entry_set_filetype(entry, 0o100000)
            lib.archive_entry_set_perm(entry, 0o644)
            assert lib.archive_write_header(writer, entry) == 0
            lib.archive_write_data.restype = ctypes.c_ssize_t
            assert lib.archive_write_data(writer, data, ctypes.c_size_t(len(data))) == len(data)
            lib.archive_entry_free(entry)
    assert lib.archive_write_close(writer) == 0
    lib.archive_write_free(writer)
    return path
