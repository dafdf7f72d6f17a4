"""Calls that fail: what fail_at.c is told."""
import errno
import mmap
import struct

FAULTS = {"no-space": errno.ENOSPC, "input-output": errno.EIO, "half-a-write": 0}
REFUSALS = {503: "storage-error", 507: "storage-full"}
FLAGS = ("--backup-every-s", "0", "--backup-drill-every-s", "0", "--metrics-listen", "127.0.0.1:0")  # nothing by itself


def is_named(answer):
    """A failure of the storage that says so."""
    assert answer.status_code in REFUSALS, (answer.status_code, answer.text)
    assert answer.json()["type"] == "urn:tresor:problem:" + REFUSALS[answer.status_code], answer.text


class Control:
    """What the library is told, and what it tells (fail_at.c)."""

    def __init__(self, folder, library, below):
        path = folder / "control"
        path.write_bytes(bytes(40))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 40)
        self.env = {"TRESOR_CONFINE": "no", "LD_PRELOAD": str(library), "FAIL_CONTROL": str(path), "FAIL_FOLDER": str(below)}

    def fail(self, at, error, more=0):
        self.memory[8:] = struct.pack("4q", more, 0, 0, error)
        self.memory[:8] = struct.pack("q", at)

    def stop(self):
        """How many calls were seen, and how many failed."""
        _, _, calls, failed, _ = struct.unpack("5q", self.memory[:])
        self.memory[:] = bytes(40)
        return calls, failed
