"""A guide of docs/ as a person follows it: its ```sh blocks pasted into one shell, in order, in a folder that looks like the checkout."""
import os
import re
import signal
import subprocess
import sys

from tresor_client import BINARY, ROOT, environment, free_port

DOCS = ROOT / "docs"


def blocks(name, language="sh"):
    """The text of each block of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / name).read_text(encoding="utf-8"), re.M | re.S)


class Guide:
    """Runs the lines of a guide. Each must succeed, but for those that say `# refused`."""

    def __init__(self, name, folder, port):
        self.name, self.folder, self.port = name, folder, port
        self.url = f"https://127.0.0.1:{port}"
        for part in ("tests", "docs"):
            (folder / part).symlink_to(ROOT / part)
        (folder / "build").mkdir()
        self.stand_in("build/tresor", f'[ "$1" != token ] || set -- "$@" --url {self.url}\nexec {BINARY} "$@"\n')
        self.stand_in("build/python3", f'exec {sys.executable} "$@"\n')

    def stand_in(self, path, script):
        """The real one, told where the server is (the guide's is at the default address)."""
        (self.folder / path).write_text("#!/bin/sh\n" + script)
        (self.folder / path).chmod(0o755)

    def lines(self):
        """The commands: a line each, with those that a backslash continues. A loop or a function stands on one line."""
        text = "".join(blocks(self.name)).replace("\\\n", "")
        return [line for line in text.splitlines() if line.strip()]

    def run(self, replaced=None, **settings):
        """{command: output}, with these texts of the guide replaced. What it leaves running is ended by its id."""
        replaced = {"https://127.0.0.1:8443": self.url, **(replaced or {})}
        script = ["trap '[ -z \"${server:-}\" ] || kill $server 2>/dev/null' EXIT"]
        for line in self.lines():
            wanted = "-ne" if line.endswith("# refused") else "-eq"
            real = line
            for shown, instead in replaced.items():
                real = real.replace(shown, instead)
            script += [real, f"code=$?; printf '\\n@@ %s\\n' $code; [ $code {wanted} 0 ] || exit 1"]
        env = environment(TRESOR_LISTEN=f"127.0.0.1:{self.port}", PATH=f"{self.folder / 'build'}:{os.environ['PATH']}", **settings)
        file, log = self.folder / "guide.sh", self.folder / "guide.log"
        file.write_text("\n".join(script) + "\n")
        with open(log, "w") as out:
            shell = subprocess.Popen(["sh", file], cwd=self.folder, env=env, start_new_session=True, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT)
            try:
                shell.wait(250)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGKILL)  # the guide's own
        output = log.read_text()
        pieces = re.split(r"\n@@ \d+\n", output)
        done = dict(zip(self.lines(), pieces))
        assert len(pieces) == len(self.lines()) + 1, f"{self.name}, at: {self.lines()[len(pieces) - 2]}\n{output[-3000:]}"
        return done
