"""The image that TRESOR_IMAGE names (what `docker save` writes), unpacked, and containers of it. They get a network of their own, so that
they listen where they do by default.
"""
import ctypes
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "readme"))


def own_network():
    """This process, and all that it starts, get an empty network with a loopback interface."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = bytearray(struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(s, 0x8913, request)  # SIOCGIFFLAGS
        flags = struct.unpack_from("H", request, 16)[0]
        fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", flags | 1))  # SIOCSIFFLAGS, IFF_UP


class Image:
    def __init__(self, archive, folder):
        self.root = pathlib.Path(folder) / "root"
        self.root.mkdir()
        with tarfile.open(archive) as outer:
            [manifest] = json.load(outer.extractfile("manifest.json"))
            self.document = json.load(outer.extractfile(manifest["Config"]))
            self.config = self.document["config"]
            self.layers = {name: outer.getmember(name).size for name in manifest["Layers"]}
            self.members = []
            for name in manifest["Layers"]:
                with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                    self.members += layer.getmembers()
                    layer.extractall(self.root, numeric_owner=True)
        self.env = dict(e.split("=", 1) for e in self.config["Env"])
        [self.loader] = sorted(p for p in (self.root / "usr").glob("lib*/**/ld-linux*.so.*") if not p.is_symlink())[:1]
        self.libraries = next((self.root / "usr" / "lib").glob("*/libc.so.6")).parent


class Container:
    """One run of the image: its entry point and command, or another command."""

    def __init__(self, image, folder, data, mounts=(), **env):
        self.image, self.data, self.folder = image, data, pathlib.Path(folder)
        self.mounts = [[str(data), "/data", True], *([str(a), b, False] for a, b in mounts)]
        self.env = {**image.env, **env}
        self.lines, self.number = [], 0
        for _, target in mounts:  # as an engine makes what it mounts upon
            place = image.root / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()

    def begin(self, argv, **pipes):
        self.number += 1
        plan, self.pid_file = self.folder / f"plan-{id(self)}-{self.number}.json", self.folder / f"pid-{id(self)}-{self.number}"
        plan.write_text(json.dumps({"root": str(self.image.root), "mounts": self.mounts, "env": self.env, "argv": argv,
                                    "user": int(self.image.config["User"].split(":")[0]), "cwd": self.image.config["WorkingDir"]}))
        return subprocess.Popen([sys.executable, HERE / "contain.py", plan, self.pid_file], stdin=subprocess.DEVNULL, text=True, **pipes)

    def run(self, *argv, timeout=120):
        """Another command beside it, as `docker exec` would."""
        process = self.begin([*self.image.config["Entrypoint"], *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, errors = process.communicate(timeout=timeout)
        return process.returncode, out, errors

    def start(self, timeout=120):
        self.listening, self.lines = threading.Event(), []
        self.process = self.begin(self.image.config["Entrypoint"] + self.image.config["Cmd"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.listening.wait(timeout) and '"listening"' in self.log(), self.log()
        while not self.pid_file.exists():
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)
        self.pid = int(self.pid_file.read_text())
        return self

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if '"listening"' in line:
                self.listening.set()
        self.listening.set()

    def log(self):
        return "".join(self.lines)

    def send(self, sig):
        os.kill(self.pid, sig)

    def end(self, sig=signal.SIGTERM, timeout=60):
        """The exit code, as an engine tells it."""
        self.send(sig)
        return self.wait(timeout)

    def wait(self, timeout=60):
        code = self.process.wait(timeout)
        self.reader.join(30)
        self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def image():
    archive = os.environ.get("TRESOR_IMAGE")
    if not archive or os.geteuid() != 0:
        pytest.skip("THE IMAGE IS NOT TESTED: that takes root, and TRESOR_IMAGE=the archive that docker/image.sh makes")
    own_network()
    with tempfile.TemporaryDirectory(prefix="tresor-image-") as folder:
        os.chmod(folder, 0o755)  # the container's user goes through it
        image = Image(archive, folder)
        image.folder = pathlib.Path(folder)
        yield image
