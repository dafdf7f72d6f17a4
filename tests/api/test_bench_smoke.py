"""`./dev bench` works: every figure is there, no request failed, and nothing is left behind. Its figures are none: a few records."""
import re
import subprocess
import sys
import xml.etree.ElementTree

from tresor_client import BINARY, ROOT

WHAT = ("import, records", "(a) CivetWeb alone, a constant", "(b) SQLCipher alone, group commits", "/healthz", "read a record", "look up",
        "create a record", "export, records", "erasure")


def test_a_small_run_measures_everything(tmp_path):
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run([sys.executable, ROOT / "tests" / "bench" / "bench.py", BINARY.parent, "--seconds", "0.2", "--connections", "1,2",
                           "--out", out, "--scratch", scratch, "60"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (out / "bench.md").read_text(encoding="utf-8")
    for what in WHAT:
        rows = re.findall(rf"^ +60 {re.escape(what)} +\d+ +([\d,]+) +[\d,.]+ +[\d,.]+", page, re.M)
        assert len(rows) == (1 if what.endswith("records") else 2), f"{what}:\n{page}"
        assert all(int(rate.replace(",", "")) > 0 for rate in rows), page
        assert what in done.stdout
    assert "FAILED" not in page
    assert "MiB resident at most under load" in page
    bars = xml.etree.ElementTree.parse(out / "bench.svg").getroot().findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 9  # 4 kinds of request, twice, and memory
    assert not list(scratch.iterdir())
