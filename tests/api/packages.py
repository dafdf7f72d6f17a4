"""What the tests of packages and exports share: fetching one, and opening it."""
import hashlib
import io
import json
import zipfile

from tresor_client import Anonymous, run_tresor


class Package:
    """A ZIP as it was answered: every file read (and so its CRC checked), the manifest held against the files."""

    def __init__(self, content):
        self.content = content
        self.zip = zipfile.ZipFile(io.BytesIO(content))
        self.files = {name: self.zip.read(name) for name in self.zip.namelist()}
        assert len(self.files) == len(self.zip.namelist()), "a name twice"
        self.manifest = self.json("manifest.json")
        listed = {f["name"]: (f["size"], f["sha256"]) for f in self.manifest["files"]}
        assert listed == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in self.files.items()
                          if not name.startswith("manifest.")}

    def json(self, name):
        return json.loads(self.files[name])

    def text(self, name):
        return self.files[name].decode("utf-8")

    def names(self):
        return sorted(self.files)


def export(client, subject, query="", **more):
    answer = client.get(f"/v1/subjects/{subject}/export{query}", **more)
    assert answer.headers["Content-Type"] == "application/zip"
    return Package(answer.content)


def verify(vault, tmp_path, content, *flags, check=0):
    """`tresor request verify` with the vault's published keys; its verdict."""
    keys, file = tmp_path / "keys.json", tmp_path / "package.zip"
    keys.write_bytes(Anonymous(vault).raw("GET", "/v1/about").content)
    file.write_bytes(content)
    return json.loads(run_tresor("request", "verify", file, "--keys", keys, *flags, check=check).stdout)
