"""Run a command of an unpacked image as a container engine would with docker/compose.yaml's limits, without an engine; takes root.

    contain.py PLAN.json PID-FILE

The root is read-only, the process is number 1 of its own, it has no capability and can get none, it sees /data, /tmp and what the plan
mounts. The network is the caller's. PID-FILE receives the process's number outside.
"""
import ctypes
import json
import os
import pathlib
import resource
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC, NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def must(code, what):
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind, flags, data=None):
    texts = [None if t is None else str(t).encode() for t in (source, target, kind, data)]
    must(libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount on {target}")


def bind(source, target, flags):
    mount(source, target, None, BIND)
    mount(None, target, None, BIND | REMOUNT | flags)


def make_root(plan):
    root = pathlib.Path(plan["root"])
    mount("none", "/", None, REC | PRIVATE)
    bind(root, root, RDONLY | NOSUID | NODEV)
    mount("tmpfs", root / "tmp", "tmpfs", NOSUID | NODEV | NOEXEC, "mode=1777,size=64m")
    mount("tmpfs", root / "dev", "tmpfs", NOSUID | NOEXEC, "mode=755,size=1m")
    for name in ("null", "zero", "random", "urandom"):
        (root / "dev" / name).touch()
        mount(f"/dev/{name}", root / "dev" / name, None, BIND)
    mount(None, root / "dev", None, BIND | REMOUNT | RDONLY | NOSUID | NOEXEC)
    for source, target, writable in plan["mounts"]:
        bind(source, str(root) + target, NOSUID | NODEV | NOEXEC | (0 if writable else RDONLY))


def give_up_everything(user):
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def main():
    plan = json.loads(pathlib.Path(sys.argv[1]).read_text())
    must(libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID), "unshare")
    make_root(plan)
    child = os.fork()
    if child == 0:
        mount("proc", plan["root"] + "/proc", "proc", NOSUID | NODEV | NOEXEC)
        must(libc.sethostname(b"tresor", 6), "sethostname")
        os.chroot(plan["root"])
        os.chdir(plan["cwd"])
        give_up_everything(plan["user"])
        os.execve(plan["argv"][0], plan["argv"], plan["env"])
    ready = pathlib.Path(sys.argv[2])
    ready.with_suffix(".new").write_text(str(child))
    ready.with_suffix(".new").rename(ready)
    status = os.waitpid(child, 0)[1]
    sys.exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


main()
