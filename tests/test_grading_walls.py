"""The sandbox against a notebook that has a shell in it: what it may use, its end, what it can read."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder.grading.examine import hello
from autograder.grading.isolate import Limits
from autograder.grading.remote import Lost, Remote
from autograder.grading.sandbox import Child, Sandbox
from tests import grading

SMALL = Limits(memory=512 << 20, disk=256 << 20, processes=64, cell_seconds=5, total_seconds=3)
DEAF = """
import ctypes, os, signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # do not end with the parent
"""
CLOSED = "for number in range(3, 64):\n    try: os.close(number)\n    except OSError: pass\n"
FOREVER = "while True: time.sleep(1)\n"
DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.01)
    os._exit(0)
"""
STOPPED = "for _ in range(5):\n    if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)\n"
BOMB = """
def bomb():
    while True:
        try:
            if os.fork() == 0: os.setsid()
            else: os._exit(0)
        except OSError: pass
for _ in range(10):
    if os.fork() == 0: bomb()
"""
CHILDREN = """
import os, time
for _ in range(12):
    if os.fork() == 0:
        held = bytearray(os.urandom(1 << 20)) * 250
        time.sleep(60)
time.sleep(60)
"""
FILES = """
import os, time
for folder, count in (('/submission', 12), ('/dev/shm', 6)):
    for k in range(count): open(f'{folder}/{k}', 'wb').write(bytes(10 << 20))
held = bytearray(os.urandom(1 << 20)) * 400
time.sleep(60)
"""
SOCKETS = """
import os, socket, time
for _ in range(20):
    if os.fork() == 0:
        held = [socket.socketpair() for _ in range(120)]
        time.sleep(60)
time.sleep(60)
"""
UNNAMED = """
import mmap, os
for number in (-1, os.open('/dev/zero', os.O_RDWR)):
    try: print(mmap.mmap(number, 1 << 20))
    except OSError: print('refused')
"""


@pytest.fixture(scope="module")
def sandbox():
    if grading.walls():
        pytest.skip(f"bubblewrap {grading.walls()}")
    with Sandbox(("numpy",), label="sandbox-tests") as running:
        yield running


@pytest.fixture(scope="module")
def unwalled():
    with Sandbox(("numpy",), isolation="none", label="unwalled-tests") as running:
        yield running


@dataclass
class Ended:
    """What a cell printed ("" if its process was lost), how the process ended, and how long that took."""

    printed: str
    why: str
    seconds: float


def processes_of(sandbox: Sandbox) -> set[int]:
    """The server and all that comes from it, as this machine shows them."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            parent = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    everything, front = set(), [sandbox.process.pid]
    while front:
        everything |= set(front)
        front = [child for parent in front for child in children.get(parent, [])]
    return everything


def run(child: Child, cell: str, seconds: float = SMALL.cell_seconds) -> str:
    """What a cell prints; "" if its process is lost over it."""
    remote = Remote(child.channel(), 10.0)
    hello(child.wire)
    try:
        outputs, _ = remote.run(cell, seconds)
    except Lost:
        return ""
    return "".join(str(output.get("text", "")) for output in outputs)


def tried(sandbox: Sandbox, cell: str, limits: Limits = SMALL) -> Ended:
    """Run a cell in a process of its own and end that; nothing of it may be left."""
    sandbox.spawn(limits, 0).end()  # the server is up, whatever it starts has started
    before = processes_of(sandbox)
    child = sandbox.spawn(limits, 0)
    printed = run(child, cell, limits.cell_seconds)
    start = time.monotonic()
    why = child.end()
    spent = time.monotonic() - start
    assert not living(sandbox, before)
    return Ended(printed, why, spent)


def living(sandbox: Sandbox, before: set[int]) -> list[int]:
    """Processes of a sandbox beside those of before; its supervisor has half a second to leave."""
    limit = time.monotonic() + 0.5
    while left := [pid for pid in processes_of(sandbox) - before if state(pid) not in ("", "Z", "X")]:
        if time.monotonic() > limit:
            return left
    return []


def state(pid: int) -> str:
    """The letter of a process's state; "" if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


# What one submission may use --------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [CHILDREN, FILES, SOCKETS], ids=["children", "files", "sockets"])
def test_memory_counts_over_all_processes_files_and_sockets_and_is_told(sandbox, cell):
    assert tried(sandbox, cell).why == "more than 512 MB of memory"


def test_memory_that_nobody_can_count_is_refused(sandbox):
    assert tried(sandbox, UNNAMED).printed.split() == ["refused", "refused"]


def test_pages_that_children_share_count_once(sandbox):
    shared = "import os, time\nheld = bytearray(os.urandom(1 << 20)) * 200\n"
    forks = "for _ in range(6):\n    if os.fork() == 0: time.sleep(60)\ntime.sleep(0.5)\nprint('had it')"
    assert tried(sandbox, shared + forks).printed.strip() == "had it"


def test_the_whole_time_ends_a_cell_whose_own_alarm_is_deaf(sandbox):
    start = time.monotonic()
    assert "3 seconds for the whole notebook" in tried(sandbox, DEAF + FOREVER).why
    assert time.monotonic() - start < SMALL.total_seconds + 2


# Its end ----------------------------------------------------------------------------------------------------

STUBBORN = {
    "closes_its_wire": CLOSED + FOREVER,
    "daemons": DAEMON * 3 + CLOSED,
    "stopped": STOPPED,
    "bomb": BOMB,
    "stops_reading": "time.sleep(60)",
}


@pytest.mark.parametrize("name", STUBBORN)
def test_nothing_is_left_when_the_end_returns(sandbox, name):
    assert tried(sandbox, DEAF + STUBBORN[name], SHORT).seconds < 2


@pytest.mark.parametrize("name", ["closes_its_wire", "daemons", "stopped"])
def test_without_a_sandbox_nothing_is_left_either(unwalled, name):
    assert tried(unwalled, DEAF + STUBBORN[name], SHORT).seconds < 3


SHORT = Limits(memory=512 << 20, processes=64, cell_seconds=0.2, total_seconds=30)


def test_the_next_student_finds_time_and_memory_as_the_first_did(sandbox):
    for name in ("daemons", "bomb"):
        tried(sandbox, DEAF + STUBBORN[name], SHORT)
    honest = "held = bytearray(300 << 20)\nfor k in range(0, len(held), 4096): held[k] = 1\nprint('had it')"
    assert tried(sandbox, honest).printed.strip() == "had it"


def test_a_supervisor_that_is_killed_takes_the_learners_processes_along(sandbox):
    before = processes_of(sandbox)
    child = sandbox.spawn(SMALL, 0)
    run(child, DEAF + DAEMON)
    supervisor = min(processes_of(sandbox) - before)
    os.kill(supervisor, signal.SIGKILL)
    child.end()
    assert not living(sandbox, before)
