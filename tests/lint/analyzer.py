"""gcc's static analyzer (-fanalyzer) over src: analyzer.py BUILD-FOLDER [SOURCE...]

Every report must be one of those in analyzer.txt, which somebody has looked at, and says why nothing is wrong there. A
report that is not in it fails; so does one in it that is not made any more, when all sources were looked at. The lists of
other gcc versions differ: it is checked with the one that analyzer.txt names, and skipped (77) with another.
"""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REVIEWED = Path(__file__).with_name("analyzer.txt")
NOT_OURS = {"src/http/civet.c"}  # CivetWeb is a part of it
# No code is made of it, and what is not set must stay visible.
LEFT_OUT = re.compile(r"-O.|-g|-Werror|-[UD]_FORTIFY_SOURCE.*|-ftrivial-auto-var-init=.*")


def reviewed():
    """The version, and {(source, function, kind): reason}."""
    lines = [line.rstrip() for line in REVIEWED.read_text().splitlines() if line and not line.startswith("#")]
    known = {}
    for line in lines[1:]:
        where, _, reason = line.partition(": ")
        source, function, kind = where.split()
        known[source, function, kind] = reason
    return lines[0].removeprefix("gcc "), known


def reports(source, command):
    """What the analyzer says of one source: {(source, function, kind): first line}."""
    words = [word for word in shlex.split(command["command"]) if not LEFT_OUT.fullmatch(word)]
    words = words[1:] if Path(words[0]).name == "ccache" else words
    words[words.index("-o") + 1] = os.devnull
    words[words.index("-c")] = "-S"
    if source != "src/base/status.c":
        words[1:1] = ["-include", str(ROOT / "cmake/analyzer.h")]
    done = subprocess.run([*words, "-O0", "-fanalyzer", "-fdiagnostics-plain-output", "-fanalyzer-verbosity=0"],
                          cwd=command["directory"], env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{source}: gcc failed\n{done.stderr}")
    found, function = {}, "-"
    for line in done.stderr.splitlines():
        begins = re.search(r": In function '(\w+)'", line)
        function = begins[1] if begins else function
        kind = re.search(r"warning: .*\[-Wanalyzer-([\w-]+)\]$", line)
        if kind:
            found.setdefault((source, function, kind[1]), line)
    return found


def main():
    version, known = reviewed()
    build, only = Path(sys.argv[1]).resolve(), set(sys.argv[2:])
    have = subprocess.run(["gcc", "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip()
    if have != version:
        print(f"not checked: this is gcc {have}, and analyzer.txt is of gcc {version}")
        return 77
    commands = {}
    for command in json.loads((build / "compile_commands.json").read_text()):
        source = os.path.relpath(command["file"], ROOT)
        if source.startswith("src/") and source not in NOT_OURS and (not only or source in only):
            commands[source] = command
    found = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(reports, commands, commands.values()):
            found |= part
    new = [f"{line}\n  for analyzer.txt, once it is reviewed: {' '.join(key)}: REASON" for key, line in found.items() if key not in known]
    gone = [] if only else [" ".join(key) for key in known if key not in found]
    print(*new, sep="\n", end="\n" if new else "")
    print(*(f"analyzer.txt names a report that is not made any more: {key}" for key in gone), sep="\n",
          end="\n" if gone else "")
    print(f"gcc -fanalyzer: {len(commands)} sources, {len(found)} reports, {len(new)} of them not reviewed")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
