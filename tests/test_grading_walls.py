"""The sandbox against a notebook that has a shell in it: what it may use, its end, what it can read."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from autograder.grading import doctor, grade, places
from autograder.grading import sandbox as sandbox_module
from autograder.grading.examine import hello
from autograder.grading.inside import processes
from autograder.grading.inside.isolate import Limits
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
STRANGE_NAME = """
import ctypes
ctypes.CDLL(None).prctl(15, b"\\xff) R 1 \\xfe", 0, 0, 0)
"""
"""The process's own name is not text, and looks like what the kernel says of it."""
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
    grading.needs_bubblewrap()
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
            parent = int(Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()[1])
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
    """Processes of a sandbox beside those of before; five seconds to end, what is missed stays."""
    limit = time.monotonic() + 5
    while left := [pid for pid in processes_of(sandbox) - before if state(pid) not in ("", "Z", "X")]:
        if time.monotonic() > limit:
            return left
    return []


def state(pid: int) -> str:
    """The letter of a process's state; "" if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    return ""


# What one submission may use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [CHILDREN, STRANGE_NAME + CHILDREN, FILES, SOCKETS],
    ids=["children", "strange_name", "files", "sockets"],
)
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


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_a_submission_keeps_to_one_core_so_that_its_neighbour_keeps_another(sandbox):
    cell = """
import os
own = os.sched_getaffinity(0)
try: os.sched_setaffinity(0, range(64))
except OSError: pass
print(*own, *os.sched_getaffinity(0))
"""
    pair = [sandbox.spawn(SMALL, 0) for _ in range(2)]
    cores = [set(run(child, cell).split()) for child in pair]
    for child in pair:
        child.end()
    assert [len(some) for some in cores] == [1, 1] and cores[0] != cores[1]
    assert not sandbox.taken


# Its end ----------------------------------------------------------------------------------------------------

STUBBORN = {
    "strange_name": STRANGE_NAME + DAEMON + FOREVER,
    "closes_its_wire": CLOSED + FOREVER,
    "daemons": DAEMON * 3 + CLOSED,
    "stopped": STOPPED,
    "bomb": BOMB,
    "stops_reading": "time.sleep(60)",
}


@pytest.mark.parametrize("name", STUBBORN)
def test_nothing_is_left_when_the_end_returns(sandbox, name):
    assert tried(sandbox, DEAF + STUBBORN[name], SHORT).seconds < 2


@pytest.mark.parametrize("name", ["closes_its_wire", "daemons", "stopped", "strange_name"])
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


def test_without_a_sandbox_what_a_killed_supervisor_leaves_is_ended_before_the_next_student(unwalled):
    unwalled.spawn(SMALL, 0).end()
    before = processes_of(unwalled)
    child = unwalled.spawn(SHORT, 0)
    run(child, DEAF + DAEMON + "os.kill(os.getppid(), signal.SIGKILL)", 0.2)
    child.end()
    unwalled.spawn(SMALL, 0).end()
    assert not living(unwalled, before)


def test_a_look_during_which_a_process_ended_is_taken_again(monkeypatch):
    """What it left has another parent by then, and would be missed."""
    read, ended = processes.stat, [os.getpid()]
    monkeypatch.setattr(processes, "stat", lambda pid: [] if ended == [pid] and ended.pop() else read(pid))
    assert os.getpid() in processes._children(2)[os.getppid()] and not ended


def test_a_process_that_ends_is_told_from_one_that_runs():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a process that has ended
    assert processes._ending(ended.pid) and not processes._ending(os.getpid())
    ended.wait()
    assert not processes._ending(ended.pid)


# What it can read -------------------------------------------------------------------------------------------

WALK = """
import os
for folder, _, names in os.walk({top!r}):
    for name in names: print(os.path.join(folder, name))
"""


def filled(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a classmate's work")


def seen(monkeypatch, top: Path, bound: list[Path], hidden: list[Path]) -> set[str]:
    """The files below `top` that a submission sees where `bound` are parts of Python."""
    grading.needs_bubblewrap()
    paths = [*places.python_paths(), *map(str, bound)]
    monkeypatch.setattr(sandbox_module, "python_paths", lambda: paths)
    places._strange.cache_clear()
    with Sandbox(("numpy",), hidden=hidden) as running:
        printed = tried(running, WALK.format(top=str(top))).printed
    return {str(Path(line).relative_to(top)) for line in printed.splitlines()}


def test_an_exchange_a_course_and_what_others_may_write_are_hidden_wherever_they_lie(monkeypatch, tmp_path):
    lib, course = tmp_path / "lib", tmp_path / "lib" / "people" / "course"
    filled(lib / "ours.so", lib / "share" / "exchange" / "c" / "inbound" / "alice" / "a.ipynb")
    filled(lib / "share" / "exchange" / "c" / "outbound" / "a.ipynb", lib / "any" / "gradebook.db")
    filled(lib / "open" / "note", course / "submitted" / "alice" / "a.ipynb", lib / "people" / "read")
    filled(course / ".venv" / "lib" / "needed.py", tmp_path / "home" / "diary")
    (lib / "open").chmod(0o777)
    names = seen(monkeypatch, tmp_path, [lib, course / ".venv" / "lib"], [course])
    assert names == {"lib/ours.so", "lib/people/read", "lib/people/course/.venv/lib/needed.py"}


def test_a_hidden_folder_is_hidden_behind_a_link_too(monkeypatch, tmp_path):
    filled(tmp_path / "real" / "exchange" / "alice", tmp_path / "real" / "ours.py")
    (tmp_path / "link").symlink_to("real")
    hidden = [tmp_path / "real" / "exchange"]
    assert seen(monkeypatch, tmp_path, [tmp_path / "link"], hidden) == {"link/ours.py"}


@pytest.mark.parametrize(
    ("prefix", "mark", "shown"),
    [
        ("opt/conda", "conda-meta", {"bin", "lib", "share", "etc", "ssl"}),
        ("home/teacher/.pyenv/versions/3.11.7", "", {"bin", "lib"}),
        ("home/teacher/.local", "", {"bin", "lib"}),
        ("home/teacher/course/.venv", "pyvenv.cfg", {"bin", "lib", "share", "etc", "ssl", "pyvenv.cfg"}),
    ],
)
def test_of_a_python_only_its_own_parts_are_shown(monkeypatch, tmp_path, prefix, mark, shown):
    root = tmp_path / prefix
    for name in ("bin", "lib", "share", "etc", "ssl", "course", "submitted", "envs", "pkgs"):
        (root / name).mkdir(parents=True)
    (root / (mark or "other")).touch()
    for name in ("prefix", "exec_prefix"):
        monkeypatch.setattr(sys, name, str(root))
    below = {Path(p).relative_to(root) for p in places.python_paths() if Path(p).is_relative_to(root)}
    assert {str(path) for path in below} == shown


def test_beside_a_python_in_usr_local_only_programs_and_libraries_are_shown(monkeypatch):
    for name in ("prefix", "base_prefix", "exec_prefix", "base_exec_prefix"):
        monkeypatch.setattr(sys, name, "/usr/local")
    paths = [*places.system_paths(), *places.python_paths()]
    kept = {"bin", "include", "lib", "lib32", "lib64", "libexec"}
    assert {Path(p).parts[3] for p in paths if p.startswith("/usr/local/")} <= kept
    assert "/usr" not in paths and "/usr/local" not in paths


def test_a_tree_that_is_open_to_all_keeps_what_python_imports_from(monkeypatch, tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "numpy").mkdir(parents=True)
    (tmp_path / "lib" / "spool").mkdir()
    for folder in (tmp_path / "lib").rglob("*"):
        folder.chmod(0o777)
    monkeypatch.setattr(places.site, "getsitepackages", lambda: [str(packages)])
    places._strange.cache_clear()
    assert places.covers([str(tmp_path / "lib")], []) == [str(tmp_path / "lib" / "spool")]


def test_a_submission_is_nobodys_user(sandbox):
    printed = tried(sandbox, "import os\nprint(os.getuid(), os.getgid(), os.getgroups())").printed
    assert printed.split()[:2] == [str(sandbox_module.SUBMISSION_USER)] * 2
    assert "0" not in printed.split("[")[1].strip("]\n").split(", ")


def test_the_grader_hides_the_course_what_was_handed_in_and_the_exchange_of_its_settings(tmp_path):
    call = [str(tmp_path / "handed"), "--course", str(tmp_path), "--trust-submissions", "--isolation", "none"]
    settings = tmp_path / "nbgrader_config.py"
    found = []
    for text in ("c = get_config()\nc.Exchange.root = '/srv/x'\n", "c = get_config()\n", "not python ("):
        settings.write_text(text)
        found.append(grade.sandbox_of(grade._parser().parse_args(call)).hidden)
    usual = [tmp_path, tmp_path / "handed"]
    assert found == [[*usual, Path("/srv/x")], usual, usual]


# The doctor sees it where a protection is missing -----------------------------------------------------------


class Endless(Sandbox):
    """A sandbox that forgets the limits of time and memory."""

    def spawn(self, limits: Limits, seed: int) -> Child:
        return super().spawn(replace(limits, total_seconds=60, memory=8 << 30), seed)


class Left(Sandbox):
    """A sandbox whose processes are never ended."""

    def spawn(self, limits: Limits, seed: int) -> Child:
        child = super().spawn(limits, seed)
        child.end = lambda: ""
        self.kept = [*getattr(self, "kept", []), child]
        return child


def probe(name: str) -> doctor.Probe:
    return next(probe for probe in doctor.probes() if probe.name == name)


BREACHES = {
    "files of the grader cannot be read": doctor.SECRET,
    "/etc/x cannot be written": "wrote",
    "there is no network": "",
    "the environment holds nothing of the grader's": f"environ({{'DOCTOR_PROBE': '{doctor.SECRET}'}})",
    "processes of others are not seen": "57",
    "no capability is held": "['0000000000000000', '000001ffffffffff']",
    "no right can be won": "['0']",
    "system calls are filtered": "['0']",
    "tracing and mounting are refused": "-1 0 -1",
    "memory is bounded": "had it",
    "processes are bounded": "200",
    "the disk is bounded": "200",
    "output is bounded": "x" * 10**6,
    "a cell's time is bounded": "slept",
    "classmates' work cannot be read": "/srv/exchange\nend",
}


@pytest.mark.parametrize("name", BREACHES)
def test_the_doctor_knows_a_wall_that_does_not_hold_by_what_is_printed(name, monkeypatch):
    monkeypatch.setattr(doctor, "printed", lambda *_: BREACHES[name])
    assert not probe(name).holds(None)


@pytest.mark.long
def test_the_doctor_finds_missing_limits_of_a_whole_notebook():
    grading.needs_bubblewrap()
    with Endless(("numpy",)) as running:
        assert not doctor.time_is_bounded(running)
        assert not probe("the memory of all its processes together is bounded").holds(running)


@pytest.mark.long
def test_the_doctor_finds_processes_that_are_left():
    grading.needs_bubblewrap()
    with Left(("numpy",)) as running:
        assert not doctor.nothing_is_left(running)


def test_the_doctor_finds_an_exchange_that_can_be_read(monkeypatch, tmp_path):
    grading.needs_bubblewrap()
    filled(tmp_path / "exchange" / "course" / "inbound" / "alice.ipynb")
    filled(tmp_path / "exchange" / "course" / "outbound" / "one.ipynb")
    shown = [*places.python_paths(), str(tmp_path / "exchange")]
    monkeypatch.setattr(sandbox_module, "python_paths", lambda: shown)
    with Sandbox(("numpy",)) as running:
        assert probe("classmates' work cannot be read").holds(running)
    monkeypatch.setattr(sandbox_module, "covers", lambda bound, hidden: [])
    with Sandbox(("numpy",)) as running:
        assert not probe("classmates' work cannot be read").holds(running)
