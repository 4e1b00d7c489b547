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
from dataclasses import dataclass, replace
from pathlib import Path

from bs4 import BeautifulSoup

from autograder.grading.examine import hello
from autograder.grading.inside.isolate import Limits
from autograder.grading.inside.processes import descendants
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
    places = ["/usr/x", "/etc/x", "/x", "/course/x", str(secret.parent / "x")]
    return [
        _try("files of the grader cannot be read", f"print(open({str(secret)!r}).read())"),
        *(_try(f"{place} cannot be written", f"open({place!r}, 'w'); print('wrote')") for place in places),
        _try("there is no network", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"),
        _try("files are bounded", "open('f', 'wb').truncate(10**11)"),
        _try("processes of others cannot be ended", "import os; os.kill(os.getppid() or 2**22, 9)"),
        Probe("the environment holds nothing of the grader's", "import os; print(os.environ)", _no_secrets),
        Probe("processes of others are not seen", SEEN, lambda said: said.strip() in ("0", "1")),
        Probe("no capability is held", RIGHTS.format("Cap"), lambda said: set(said) <= set("[]', 0\n")),
        Probe("no right can be won", RIGHTS.format("NoNewPrivs"), lambda said: said.strip() == "['1']"),
        Probe("system calls are filtered", RIGHTS.format("Seccomp:"), lambda said: said.strip() == "['2']"),
        Probe("tracing and mounting are refused", CALLS, lambda said: said.strip() == "-1 -1 -1"),
        Probe("memory is bounded", MEMORY, lambda said: "had it" not in said),
        Probe("processes are bounded", FORKS, _few),
        Probe("the disk is bounded", FILES, _few),
        Probe("output is bounded", "print('x' * 10**8)", lambda said: 0 < len(said) < 10**6),
        Probe("a cell's time is bounded", SLEEP, lambda said: "slept" not in said),
        Probe("deafness to signals does not help", DEAF + SLEEP, lambda said: "slept" not in said),
    ]


SEEN = "import os; print(len([p for p in os.listdir('/proc') if p.isdigit()]))"
RIGHTS = "print([x.split()[1] for x in open('/proc/self/status') if x.startswith('{}')])"
CALLS = """
import ctypes
c = ctypes.CDLL(None)
print(c.ptrace(0, 0, 0, 0), c.mount(b'none', b'/', b'tmpfs', 0, None), c.unshare(0x10000000))
"""
MEMORY = "held = [b'x' * 10**7 + bytes([k]) for k in range(200)]; print('had it')"
FORKS = """
import os, time
made = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError: pass
print(made)
"""
FILES = """
made = 0
try:
    for k in range(200):
        open(f'f{k}', 'wb').write(b'x' * 10**6)
        made += 1
except OSError: pass
print(made)
"""
SLEEP = "import time; time.sleep(60); print('slept')"
DEAF = "import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
FIRST = """
import builtins
builtins.left = 1
for folder in ('/submission', '/dev/shm'): open(f'{folder}/left', 'w').write('x')
"""
SECOND = """
import builtins, os
print(os.listdir('/submission'), os.listdir('/dev/shm'), hasattr(builtins, 'left'))
"""


def _try(name: str, statement: str) -> Probe:
    cell = f"try: {statement}\nexcept OSError: print('blocked')"
    return Probe(name, cell, lambda said: said.strip() == "blocked")


def _few(said: str) -> bool:
    return said.strip().isdigit() and int(said) < 100


def _no_secrets(said: str) -> bool:
    return SECRET not in said and not any(name in said for name in ("'USER'", "'SSH", "TOKEN'", "SECRET"))


def tried(sandbox: Sandbox, probe: Probe) -> bool:
    """Whether the wall held, in a process of its own."""
    child = sandbox.spawn(PROBE_LIMITS, 0)
    try:
        return probe.holds(output(child, probe.cell))
    finally:
        child.end()


def output(child: Child, cell: str, seconds: float = PROBE_LIMITS.cell_seconds) -> str:
    """What a cell prints; "" if the process is lost over it."""
    remote = Remote(child.channel(), 10.0)
    hello(child.wire)
    try:
        outputs, _ = remote.run(cell, seconds)
    except Lost:
        return ""
    return "".join(str(o.get("text", "")) for o in outputs if isinstance(o, dict))


def clean_next(sandbox: Sandbox) -> bool:
    """Whether a second submission finds nothing of the first."""
    first = sandbox.spawn(PROBE_LIMITS, 0)
    output(first, FIRST)
    first.end()
    second = sandbox.spawn(PROBE_LIMITS, 0)
    try:
        said = output(second, SECOND)
    finally:
        second.end()
    return "left" not in said and "False" in said


ALL_DEAF = """
import os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
"""
FOREVER = "while True: time.sleep(0.1)\n"
DAEMON = """
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(0.1)
for number in range(3, 64):
    try: os.close(number)
    except OSError: pass
"""
TOGETHER = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20)) * 100
        time.sleep(3)
        os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
print('had it')
"""
CLASSMATES = """
import os
for folder, names, files in os.walk('/'):
    if folder == '/': names[:] = set(names) - {'proc', 'sys', 'dev'}
    if '__init__.py' in files: names.clear()
    elif {'inbound', 'outbound'} <= set(names) or {'gradebook.db', 'nbgrader_config.py'} & set(files):
        print(folder)
"""


def time_is_bounded(sandbox: Sandbox) -> bool:
    """Whether a process that hears no signal is ended when the time of the whole notebook is over."""
    child, start = sandbox.spawn(replace(PROBE_LIMITS, total_seconds=2), 0), time.monotonic()
    try:
        output(child, ALL_DEAF + FOREVER, 4)
        return time.monotonic() - start < 8
    finally:
        child.end()


def memory_is_bounded(sandbox: Sandbox) -> bool:
    """Whether processes that hold too much memory together, and none of them alone, are ended."""
    child = sandbox.spawn(PROBE_LIMITS, 0)
    try:
        return "had it" not in output(child, TOGETHER, 10)
    finally:
        child.end()


def nothing_is_left(sandbox: Sandbox) -> bool:
    """Whether a first process that hears nothing, and its daemon, are gone at the end."""
    sandbox.spawn(PROBE_LIMITS, 0).end()
    before = set(descendants())
    child = sandbox.spawn(PROBE_LIMITS, 0)
    output(child, ALL_DEAF + DAEMON + FOREVER)
    child.end()
    limit = time.monotonic() + 1
    while left := set(descendants()) - before:
        if time.monotonic() > limit:
            return not left
        time.sleep(0.01)
    return True


def classmates_are_hidden(sandbox: Sandbox) -> bool:
    """Whether no exchange of nbgrader's and no course can be read, wherever it lies."""
    child = sandbox.spawn(replace(PROBE_LIMITS, total_seconds=60), 0)
    try:
        return output(child, CLASSMATES + "print('end')", 50).split() == ["end"]
    finally:
        child.end()


WHOLE = {
    "the time of a whole notebook is bounded": time_is_bounded,
    "the memory of all its processes together is bounded": memory_is_bounded,
    "nothing of a submission outlives its end": nothing_is_left,
    "classmates' work cannot be read": classmates_are_hidden,
}
"""Probes that look at more than what a cell prints."""


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
    argparse.ArgumentParser(
        prog="python -m autograder doctor", description="Try every protection of the sandbox on this machine."
    ).parse_args(argv)
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
            failed = [
                _line(p.name, tried(sandbox, p)) for p in probes(secret, server.getsockname()[1])
            ].count(False)
            failed += [_line("the next submission starts clean", clean_next(sandbox))].count(False)
            failed += [_line(name, probe(sandbox)) for name, probe in WHOLE.items()].count(False)
            print(f"     a process with one cell takes {milliseconds(sandbox):.0f} ms (median)")
    if why := no_pages():
        print(f"NO   formgrader's pages: {why}")
    print(
        "\nStrangers can be graded here."
        if not failed
        else f"\n{failed} walls do not hold: do not grade strangers."
    )
    return 1 if failed else 0


def no_pages() -> str:
    """Why formgrader and nbgrader's feedback cannot show a notebook here, or "".

    nbconvert asks this question of every page. Python below 3.11.5 misreads patterns of soupsieve from 3.0
    on, and then each page of formgrader is an error of the server.
    """
    try:
        found = BeautifulSoup("<img><img alt='x'>", "html.parser").select("img:not([alt])")
    except Exception as error:  # whichever: soupsieve has errors of its own
        fix = "`pip install 'soupsieve<3'`, or use Python 3.11.5 or newer"
        return f"{type(error).__name__} with Python {platform.python_version()}; {fix}."
    return "" if len(found) == 1 else "a page's pictures are not found"


def _line(name: str, held: bool) -> bool:
    print(f"{'ok  ' if held else 'NO  '} {name}", flush=True)
    return held
