"""The binary itself: what the compiler and the linker put in to make a mistake in memory harder to use."""
import functools
import os
import re
import subprocess

import pytest

from tresor_client import BINARY, ROOT

BUILD = BINARY.parent
pytestmark = pytest.mark.shipped
X86 = os.uname().machine == "x86_64"


@functools.lru_cache
def readelf(*options, path=BINARY):
    return subprocess.run(["readelf", "-W", *options, path], check=True, capture_output=True, text=True).stdout


def symbols():
    return {m.group(1) for m in re.finditer(r" (\w+)(?:@\S+)?(?: \(\d+\))?$", readelf("--dyn-syms"), re.M)}


def sanitized():
    return any(name.startswith(("__asan_init", "__tsan_init")) for name in symbols())


@pytest.fixture(autouse=True)
def not_a_sanitizers():
    if sanitized():
        pytest.skip("a sanitizer's build is not what is shipped")


def test_position_independent():
    assert re.search(r"Type:\s+DYN ", readelf("-h")) and "Flags: NOW PIE" in re.sub(r"\s+", " ", readelf("-d"))


def test_tables_of_the_linker_are_read_only_from_the_start():
    assert "GNU_RELRO" in readelf("-l") and re.search(r"BIND_NOW|Flags:.*NOW", readelf("-d"))
    assert "TEXTREL" not in readelf("-d")


def test_no_memory_is_written_and_executed():
    segments = re.findall(r"^  (\w+)\s+0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ ([RWE ]{3})", readelf("-l"), re.M)
    assert ("GNU_STACK", "RW ") in segments
    assert not [s for s in segments if "W" in s[1] and "E" in s[1]]


def test_stacks_and_buffers_are_checked():
    names = symbols()
    assert "__stack_chk_fail" in names
    checked = {n for n in names if n.endswith("_chk") and n != "__stack_chk_fail"}
    assert {"__memcpy_chk", "__snprintf_chk", "__vsnprintf_chk"} <= checked, checked


def test_no_folder_of_the_build_is_searched_for_libraries():
    assert not re.search(r"\((RPATH|RUNPATH)\)", readelf("-d"))


@pytest.mark.skipif(not X86, reason="CET is x86's")
def test_every_object_of_ours_has_control_flow_marks():
    """The binary's own note is the least of all objects, and Debian 12's crt1.o and crti.o have none."""
    libraries = [BUILD / "libtresor_core.a", ROOT / ".deps" / "sqlcipher" / "libsqlcipher.a"]
    objects = 0
    for library in libraries:
        if not library.exists():
            pytest.skip("not a build folder")
        text = readelf("-n", path=library)
        files = re.split(r"^File: ", text, flags=re.M)[1:]
        bare = [f.split("\n", 1)[0] for f in files if "x86 feature: IBT, SHSTK" not in f]
        assert not bare, bare
        objects += len(files)
    assert objects > 100
