"""The figures of bench.py as text, as a page and as a chart."""
import datetime
import os
import pathlib
import platform
import re
import subprocess

COLUMNS = (("records", 9), ("what", -34), ("conns", 5), ("per s", 9), ("p50 ms", 9), ("p99 ms", 9), ("CPU µs", 8), ("client", 7), ("of (a)", 7), ("CPU/(a)", 8),
           ("of (b)", 7), ("p50/(b)", 8))
LEGEND = """conns: connections. p50, p99: of an import and an export, the whole. CPU µs: of the server, for each request or record; client: of the
load's client, on the same machine. of (a): the rate over that of (a) with as many connections; CPU/(a): the same of the server's CPU time;
of (b): the rate over the rows of (b) with as many rows a commit as there are connections; p50/(b): the median time over that of such a
commit. (a) answers as many bytes as a read does, to a request of as many bytes; (b) writes a session's row and an audit entry, for creates
and imports also a record, and flushes once; imports are held against 64 rows a commit."""


# ---- text ----

def machine(build, scratch):
    run = lambda *command: subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: E731
    cpu = re.search(r"^model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1)) / 2**20
    system = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())
    return [f"{datetime.date.today()}, commit {run('git', '-C', str(build), 'rev-parse', '--short', 'HEAD') or 'unknown'}, {run(str(build / 'tresor'), 'version').splitlines()[0]}",
            f"{os.cpu_count()} × {cpu.group(1) if cpu else platform.machine()}, {memory:.0f} GiB, {system.group(1) if system else '?'}, Linux {platform.release()}",
            f"file system: {run('stat', '-f', '-c', '%T', str(scratch))}; load average before: {os.getloadavg()[0]:.1f}"]


def cells(values):
    return " ".join(f"{v:{'<' if width < 0 else '>'}{abs(width)}}" for v, (_, width) in zip(values, COLUMNS)).rstrip()


def header():
    return cells([name for name, _ in COLUMNS])


def number(value, digits):
    return "" if value is None else f"{value:,.{digits}f}"


def line(row):
    return cells([f"{row['records']:,}", row["what"], row["connections"], number(row["rate"], 0), number(row["p50_ms"], 2), number(row["p99_ms"], 2),
                  number(row["server_us"], 0), number(row["client_us"] or None, 0), number(row["of_server"], 2),
                  number(row["cpu_of_server"], 1), number(row["of_commits"], 2),
                  number(row["in_commits"], 1)]) + (f"  {row['failures']} FAILED" if row["failures"] else "")


def notes(case):
    memory = ", ".join(f"{value:.0f} MiB {name}" for name, value in case.notes.items() if name.startswith("resident"))
    files = ", ".join(f"{name} {size:.0f} MiB" for name, size in case.notes["files"].items() if size >= 1)
    rest = [case.notes[name] for name in ("imports", "export") if name in case.notes]
    return f"{case.records:,} records: " + "; ".join([memory, "files after the import: " + (files or "under 1 MiB"), *rest])


def of(case, what, connections=None):
    rows = [row for row in case.rows if row["what"].startswith(what) and connections in (None, row["connections"])]
    return rows[-1] if rows else None


def growth(cases):
    """What becomes of the rates as the records grow."""
    first, lines = cases[0], []
    for row in first.rows:
        if row["what"].startswith("(") or len(cases) == 1 or row["connections"] not in (1, max(r["connections"] for r in first.rows)):
            continue
        rest = [(case.records, of(case, row["what"], row["connections"])) for case in cases[1:]]
        share = "of_server" if row["of_server"] else "rate"
        lines.append(f"{row['what']}, {row['connections']} connection{'s' if row['connections'] > 1 else ''}: " +
                     ", ".join(f"{number(other[share] / row[share], 2)} at {records:,}" for records, other in rest if other))
    return (f"Rates, where there is an (a) as parts of it, beside those at {first.records:,} records:\n" + "\n".join(lines) + "\n") if lines else ""


def page(facts, cases):
    table = "\n\n".join("\n".join([header(), *(line(row) for row in case.rows), notes(case)]) for case in cases)
    return ("# What `./dev bench` measured\n\nFigures of one machine at one time; run it on yours. `tests/bench/bench.py` says how.\n\n![chart](bench.svg)\n\n" +
            "\n".join(f"- {fact}" for fact in facts) + f"\n\n```\n{table}\n\n{growth(cases)}```\n\n{LEGEND}\n")


# ---- chart ----

STYLE = """.b{fill:#fff}text{font:13px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600;font-size:15px}.s{fill:#59636e;font-size:12px}
.k0{fill:#8c959f}.k1{fill:#0969da}.k2{fill:#1b7c83}.k3{fill:#bc4c00}.k4{fill:#8250df}
@media(prefers-color-scheme:dark){.b{fill:#0d1117}text{fill:#e6edf3}.s{fill:#9198a1}.k0{fill:#656c76}.k1{fill:#4493f8}.k2{fill:#39c5cf}.k3{fill:#f0883e}.k4{fill:#ab7df8}}"""
WIDTH, LABEL, BAR, ROW = 880, 190, 440, 22
SHOWN = (("(a)", "CivetWeb alone", 0), ("read", "read", 1), ("look up", "look up", 2), ("create", "create", 3))


class Drawing:
    def __init__(self):
        self.parts, self.y = [], 0

    def text(self, x, text, style="", anchor="start"):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x}" y="{self.y + 15}" text-anchor="{anchor}"{style and f" class={chr(34)}{style}{chr(34)}"}>{text}</text>')

    def title(self, text):
        self.y += 16
        self.text(0, text, "h")
        self.y += 26

    def bar(self, label, value, most, text, colour):
        self.text(LABEL - 10, label, anchor="end")
        width = max(1.0, BAR * value / most)
        self.parts.append(f'<rect class="k{colour}" x="{LABEL}" y="{self.y + 3}" width="{width:.1f}" height="{ROW - 6}" rx="2"/>')
        self.text(f"{LABEL + width + 8:.1f}", text, "s")
        self.y += ROW

    def gap(self):
        self.y += 8

    def svg(self, name):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {WIDTH + 16} {self.y + 8}" role="img" aria-label="{name}"><style>{STYLE}</style>\n' +
                f'<path class="b" d="M-16 0h{WIDTH + 16}v{self.y + 8}h-{WIDTH + 16}z"/>\n' +
                "\n".join(self.parts) + "\n</svg>\n")


def chart(facts, cases):
    d, last = Drawing(), cases[-1]
    connections = sorted({row["connections"] for row in last.rows if row["what"].startswith("read")})
    d.title(f"Requests a second over TLS, each with its durable token and audit entry, at {last.records:,} records")
    most = max(row["rate"] for row in last.rows if row["what"].startswith("(a)"))
    for n in connections:
        for what, label, colour in SHOWN:
            row = of(last, what, n)
            ratio = f" · {row['of_server']:.2f} of CivetWeb alone" if row["of_server"] else ""
            d.bar(f"{label}, {n} conn." if colour == 0 else label, row["rate"], most, f"{row['rate']:,.0f}/s · p50 {row['p50_ms']:.2f} ms{ratio}", colour)
        d.gap()
    grown = [("read", connections[-1], 1), ("look up", connections[-1], 2), ("create", connections[-1], 3), ("import", 1, 4), ("export", 1, 4),
             ("erasure", connections[-1], 4)]
    if len(cases) > 1:
        d.title(f"As the records grow ({connections[-1]} connections; import and export: one, records a second)")
    for what, n, colour in grown if len(cases) > 1 else ():
        rows = [(case.records, of(case, what, n)) for case in cases]
        most = max(row["rate"] for _, row in rows)
        for at, (records, row) in enumerate(rows):
            d.bar(f"{what}, at {records:,}" if at == 0 else f"at {records:,}", row["rate"], most, f"{row['rate']:,.0f}/s", colour)
        d.gap()
    d.title("Resident memory of the server, at most, under that load")
    memory = [(case.records, case.notes["resident at most under load"]) for case in cases]
    for records, mib in memory:
        d.bar(f"{records:,} records", mib, max(m for _, m in memory), f"{mib:.0f} MiB", 1)
    d.gap()
    for fact in facts[:3]:
        d.text(0, fact, "s")
        d.y += 18
    return d.svg("Rates of Tresor beside those of CivetWeb alone")
