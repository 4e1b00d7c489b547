"""`python -m autograder doctor`: prove every protection of `grade` with a harmless probe on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.grading.isolate import Limits
from autograder.grading.remote import Lost, Remote
from autograder.grading.sandbox import BUBBLEWRAP, REFUSAL, Child, Sandbox, bubblewrap_works

PROBE_LIMITS = Limits(
    memory=600 << 20, disk=64 << 20, file=16 << 20, processes=32, cell_seconds=2, total_seconds=20
)
SECRET = "a text that no submission may read"


@dataclass(frozen=True)
class Probe:
    """A harmless try to get past one wall. holds: whether what the cell printed shows that the wall held."""

    name: str
    cell: str
    holds: Callable[[str], bool]


def probes(secret: Path, port: int) -> list[Probe]:
    """All probes; `secret` is a file of the grader's, `port` a server of ours on this machine."""
    blocked = "except (OSError, PermissionError) as e: print('blocked')"
    return [
        Probe("files of the grader cannot be read", f"try: print(open({str(secret)!r}).read())\n{blocked}", _blocked),
        Probe(
            "nothing outside of the work folder can be written",
            f"import os\nfor p in ('/usr/x', '/etc/x', '/x', '/course/x', {str(secret.parent / 'x')!r}):\n"
            "    try: open(p, 'w').write('x'); print('wrote', p)\n    except OSError: print('blocked')",
            lambda said: "wrote" not in said and "blocked" in said,
        ),
        Probe(
            "there is no network",
            f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 2); print('reached')\n{blocked}",
            _blocked,
        ),
        Probe("the environment holds nothing of the grader's", "import os; print(sorted(os.environ))", _no_secrets),
        Probe("processes of others are not seen", "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))", lambda said: said.strip() in ("0", "1")),
        Probe("processes of others cannot be ended", "import os, signal\ntry: os.kill(os.getppid(), 9); print('killed' if os.getppid() else 'blocked')\nexcept OSError: print('blocked')", _blocked),
        Probe("no capability is held", "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')])", lambda said: set(said) <= set("[]', 0\n")),
        Probe("no new rights can be had", "print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('NoNewPrivs', 'Seccomp:'))])", lambda said: "'1', '2'" in said),
        Probe("tracing and mounting are refused", "import ctypes\nc = ctypes.CDLL(None)\nprint(c.ptrace(0, 0, 0, 0), c.mount(b'none', b'/', b'tmpfs', 0, None), c.unshare(0x10000000))", lambda said: said.strip() == "-1 -1 -1"),
        Probe("memory is bounded", "held = [b'x' * 10**7 + bytes([k]) for k in range(200)]\nprint('had it')", lambda said: "had it" not in said),
        Probe("processes are bounded", "import os, time\nmade = 0\ntry:\n    for _ in range(200):\n        if os.fork() == 0: time.sleep(30); os._exit(0)\n        made += 1\nexcept OSError: pass\nprint(made)", lambda said: said.strip().isdigit() and int(said) < 100),
        Probe("the disk is bounded", "made = 0\ntry:\n    for k in range(200): open(f'f{k}', 'wb').write(b'x' * 10**6); made += 1\nexcept OSError: pass\nprint(made)", lambda said: said.strip().isdigit() and int(said) < 100),
        Probe("files are bounded", "try: open('f', 'wb').truncate(10**11); print('wrote')\nexcept OSError: print('blocked')", _blocked),
        Probe("output is bounded", "print('x' * 10**8)", lambda said: 0 < len(said) < 10**6),
        Probe("a cell's time is bounded", "import time; time.sleep(60); print('slept')", lambda said: "slept" not in said),
        Probe("deafness to signals does not help", "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60); print('slept')", lambda said: "slept" not in said),
    ]


def _blocked(said: str) -> bool:
    return said.strip() == "blocked"


def _no_secrets(said: str) -> bool:
    return SECRET not in said and not any(name in said for name in ("'USER'", "'SSH", "TOKEN'", "SECRET"))


def tried(sandbox: Sandbox, probe: Probe) -> bool:
    """Whether the wall held, in a process of its own."""
    child = sandbox.spawn(PROBE_LIMITS, 0)
    try:
        return probe.holds(output(child, probe.cell))
    finally:
        child.end()


def output(child: Child, cell: str) -> str:
    """What a cell prints; "" if the process is lost over it."""
    remote = Remote(child.channel(), 10.0)
    hello(child)
    try:
        outputs, _ = remote.run(cell, PROBE_LIMITS.cell_seconds)
    except Lost:
        return ""
    return "".join(str(o.get("text", "")) for o in outputs if isinstance(o, dict))


def hello(child: Child) -> None:
    """Wait for the first byte of a process."""
    child.wire.settimeout(60)
    child.wire.recv(1)
    child.wire.settimeout(None)


def clean_next(sandbox: Sandbox) -> bool:
    """Whether a second submission finds nothing of the first."""
    first = sandbox.spawn(PROBE_LIMITS, 0)
    output(first, "open('/submission/left', 'w').write('x'); open('/dev/shm/left', 'w').write('x'); import builtins; builtins.left = 1")
    first.end()
    second = sandbox.spawn(PROBE_LIMITS, 0)
    try:
        said = output(second, "import os, builtins\nprint(os.listdir('/submission'), os.listdir('/dev/shm'), hasattr(builtins, 'left'))")
    finally:
        second.end()
    return "left" not in said and "False" in said


def milliseconds(sandbox: Sandbox, count: int = 15) -> float:
    """Median time of a process with one cell, from its birth to its end."""
    spent = []
    for _ in range(count):
        start = time.monotonic()
        child = sandbox.spawn(PROBE_LIMITS, 0)
        output(child, "x = 1")
        child.end()
        spent.append(1000 * (time.monotonic() - start))
    return statistics.median(spent)


def main(argv: Sequence[str] | None = None) -> int:
    """Print every probe with its result; 0 if strangers can be graded here."""
    argparse.ArgumentParser(prog="python -m autograder doctor", description="Probe the walls.").parse_args(argv)
    print(f"{platform.system()} {platform.release()}, Python {platform.python_version()}, user {os.getuid()}")
    why = bubblewrap_works()
    if why:
        print(f"NO   bubblewrap {why}\n\nStrangers' work is refused: {REFUSAL.format(why=why)}.")
        return 1
    print("ok   bubblewrap works")
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        secret = Path(folder, "secret")
        secret.write_text(SECRET)
        os.environ["DOCTOR_PROBE"] = SECRET
        with Sandbox(("numpy",), BUBBLEWRAP) as sandbox:
            failed = [_line(p.name, tried(sandbox, p)) for p in probes(secret, server.getsockname()[1])].count(False)
            failed += [_line("the next submission starts clean", clean_next(sandbox))].count(False)
            print(f"     a process with one cell takes {milliseconds(sandbox):.0f} ms (median)")
    print("\nStrangers can be graded here." if not failed else f"\n{failed} walls do not hold: do not grade strangers.")
    return 1 if failed else 0


def _line(name: str, held: bool) -> bool:
    print(f"{'ok  ' if held else 'NO  '} {name}", flush=True)
    return held
