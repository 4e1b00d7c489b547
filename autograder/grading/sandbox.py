"""Start the fork server in a sandbox, and learners' processes in it.

Which sandbox there is, is found out by trying, never by the name of a system: `bubblewrap`, else a container,
else none, and none only where the caller says that he trusts what he runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from autograder.grading.inside.frames import Channel
from autograder.grading.inside.isolate import SETTINGS, WORK, Limits
from autograder.grading.inside.server import FULL, PLAIN
from autograder.grading.places import covers, mounts, python_paths, system_paths
from autograder.grading.visible import PACKAGE, to_submissions
from rslib import cache
from rslib.errors import ConfigError, RSError

BUBBLEWRAP, CONTAINER, NONE = "bubblewrap", "container", "none"
COURSE = "/course"
RESULTS = f"{COURSE}/.engine"
"""Where a learner's process finds results of the engine."""
SUBMISSION_USER = 61_184
"""The user that a submission is in the sandbox."""
START_SECONDS = 180.0
SO_PASSCRED = 16
REFUSAL = (
    "submissions are not trusted, and bubblewrap, which would be their sandbox, {why}: install it "
    "(Debian, Ubuntu: apt install bubblewrap), or let docker or podman do it with --container IMAGE, or run "
    "notebooks of your own with --trust-submissions"
)
UNPROTECTED = (
    "WARNING: --trust-submissions runs every notebook as you, without a sandbox. Unprotected are: your files "
    "(they can be read, changed and deleted), the network, other processes of yours, other students' work. "
    "Points and the gradebook are still guarded: tests run in another process, and a changed gradebook is "
    "put back."
)


class Ended(RSError):
    """A process of the grader's ended while it was needed: no fault of the notebook's."""


@dataclass
class Child:
    """A learner's process: the wire to it, the monitor that ends it, and what is called after its end."""

    wire: socket.socket
    monitor: socket.socket
    folder: str = ""
    freed: Callable[[], None] = lambda: None

    def channel(self) -> Channel:
        """Frames to and from the process."""
        return Channel(self.wire.fileno(), self.wire.fileno())

    def end(self) -> str:
        """End the process and everything that it started; how it ended, in words."""
        self.wire.close()
        with contextlib.suppress(OSError):
            self.monitor.shutdown(socket.SHUT_WR)
        why = ""
        with contextlib.suppress(OSError, ValueError):
            self.monitor.settimeout(30)
            why = json.loads(self.monitor.recv(4096) or b"{}").get("ended", "")
        self.monitor.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.freed()
        return why


@dataclass
class ForkServer:
    """A process that imports once and forks for every job on its control socket. A context manager."""

    what: ClassVar[str]
    process: subprocess.Popen | None = field(default=None, init=False)
    control: socket.socket | None = field(default=None, init=False)
    turn: threading.Lock = field(default_factory=threading.Lock, init=False)
    ready: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """End the process, and with it its forks."""
        if self.process is not None:
            self.control.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            self.process.kill()
            self.process.wait()

    def send(self, content: bytes, descriptors: Sequence[int]) -> None:
        """Have the process fork for a job. Raises Ended."""
        try:
            socket.send_fds(self.control, [content], descriptors)
        except OSError as error:
            self.process.kill()  # else it could count as alive for a moment
            self.process.wait()
            raise Ended(f"{self.what} ended ({error})") from error


@dataclass
class Sandbox(ForkServer):
    """A running fork server of learners' processes.

    label: tells it from others in a list of processes. hidden: folders that no submission may see, wherever
    they lie; courses and exchanges of nbgrader are hidden in any case.
    results: a folder with results of the engine that every submission may read.
    """

    what = "the server of the sandbox"
    modules: Sequence[str] = ()
    isolation: str = BUBBLEWRAP
    label: str = "-"
    hidden: Sequence[Path] = ()
    results: Path | None = None
    home: str = field(default="", init=False)
    taken: list[int] = field(default_factory=list, init=False)

    def start(self) -> None:
        """Start the server; it imports while the grader does other things."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mode = FULL if self.isolation == BUBBLEWRAP else PLAIN
        user = SUBMISSION_USER if mode == FULL and os.getuid() == 0 else -1
        call = [sys.executable, "-P", "-s", "-m", "autograder.grading.inside.server"]
        call += [str(theirs.fileno()), mode, ",".join(self.modules), str(user), self.label]
        self.home = tempfile.mkdtemp(prefix="home-") if mode == PLAIN else f"{WORK}/.home"
        around = environment(COURSE if mode == FULL else str(PACKAGE.parent), self.home)
        wrapped = [*bubblewrap(around, self.hidden, self.results), *call] if mode == FULL else call
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            wrapped,
            pass_fds=[theirs.fileno()],
            env=around,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            cwd="/",
        )
        theirs.close()
        self.control, self.ready = ours, False

    def _wait(self) -> None:
        """Wait until the server has imported everything. Raises ConfigError with its last words."""
        if self.ready:
            return
        self.control.settimeout(START_SECONDS)
        with contextlib.suppress(OSError):
            self.ready = bool(self.control.recv(4096))
        if not self.ready:
            words = self.said()
            self.stop()
            raise ConfigError(f"the fork server did not start: {words}")
        self.control.settimeout(None)

    def said(self) -> str:
        """The last words of the server."""
        self.log.seek(0)
        return self.log.read()[-800:].decode("utf-8", "replace").strip() or "it said nothing"

    def stop(self) -> None:
        """End the server and every learner's process."""
        super().stop()
        if self.process is not None:
            self.log.close()
            shutil.rmtree(self.home, ignore_errors=self.isolation == BUBBLEWRAP)

    def spawn(self, limits: Limits, seed: int) -> Child:
        """A new process for one submission; a server that ended is started again first. Raises Ended.

        All that it starts shares one core, the one that the fewest others have: however many processes a
        submission starts, its neighbour keeps its time.
        """
        wire, their_wire = socket.socketpair()
        wire.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)  # else who says hello early would be nobody
        monitor, their_monitor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = "" if self.isolation == BUBBLEWRAP else tempfile.mkdtemp(prefix="submission-")
        request = {"limits": limits.plain(), "seed": seed, "folder": folder}
        with their_wire, their_monitor, self.turn:
            core = min(sorted(os.sched_getaffinity(0)), key=self.taken.count)
            content = json.dumps(request | {"core": core}).encode()
            if not self.alive():
                self.stop()
                self.start()
            self._wait()
            self.send(content, [their_wire.fileno(), their_monitor.fileno()])
            self.taken.append(core)
        return Child(wire, monitor, folder, partial(self.taken.remove, core))


CALM = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Keeps libraries from starting threads of their own, after which nothing could be forked."""


def environment(path: str, home: str) -> dict[str, str]:
    """All that a notebook finds in its environment: nothing of the grader's."""
    walled = home.startswith(WORK)
    return CALM | {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "NBGRADER_EXECUTION": "autograde",  # as nbgrader's own autograde tells a notebook
        "HOME": home,
        "TMPDIR": f"{WORK}/.tmp" if walled else home,
        "IPYTHONDIR": f"/tmp/{SETTINGS}/ipython" if walled else f"{home}/ipython",
        "MPLCONFIGDIR": f"{home}/.mpl",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "XDG_CACHE_HOME": f"{home}/.cache",
        "HF_HOME": f"{home}/.hf",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "0",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def bubblewrap(around: dict[str, str], hidden: Sequence[Path] = (), results: Path | None = None) -> list[str]:
    """The command in front of the server: a read-only system, no network, no home, nothing else of ours.

    hidden: folders that stay unseen wherever they lie.
    results: a folder with results of the engine, shown read-only.
    """
    command = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    if os.getuid() == 0:  # it becomes a user that owns nothing as soon as it runs
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--uid", str(SUBMISSION_USER), "--gid", str(SUBMISSION_USER)]
        command += ["--cap-drop", "ALL"]
    known = {cache.READ: RESULTS} if results else {}
    for name, value in (around | known).items():
        command += ["--setenv", name, value]
    command += ["--proc", "/proc", "--dev", "/dev", "--dir", WORK]
    command += ["--perms", "1777", "--tmpfs", "/tmp", "--dir", "/dev/shm"]
    shown = [*system_paths(), *python_paths()]
    binds = [(path, path) for path in shown]
    binds += [(str(source), f"{COURSE}/{target}") for source, target in course_files()]
    binds += [(str(results), RESULTS)] if results else []
    command += mounts(binds, covers(shown, [*hidden, *own_folders()]))
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def course_files() -> list[tuple[Path, str]]:
    """The engine and what learners may import of this package, with the places that they get.

    Single files, never a folder of this package: beside the modules of a folder lies what Python compiled.
    """
    files = [(path, f"autograder/{path.relative_to(PACKAGE).as_posix()}") for path in to_submissions()]
    return [(PACKAGE.parent / "rslib", "rslib"), *files]


def own_folders() -> list[Path]:
    """Folders of this project that no submission may read, wherever it is installed."""
    names = ["autograder"]
    if (PACKAGE.parent / "pyproject.toml").exists():
        names += ["solutions", "tests", "docs", "build", ".git"]
    return [PACKAGE.parent / name for name in names]


def bubblewrap_works() -> str:
    """Why bubblewrap cannot build its sandbox here; the empty text if it can."""
    if shutil.which("bwrap") is None:
        return "is not installed"
    call = [*bubblewrap({"PATH": "/usr/bin:/bin"}), "true"]
    try:
        done = subprocess.run(call, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run ({type(error).__name__})"
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"is not allowed to work here ({text[-1][:160] if text else done.returncode})"
    return ""


def choose(asked: str, trust: bool) -> str:
    """The sandbox to use: the one that was asked for, or what there is ("auto").

    Raises ConfigError, in one sentence, where there are none and nobody said that he trusts what he runs.
    """
    why = "was not asked for" if asked == NONE else bubblewrap_works()
    if not why:
        return BUBBLEWRAP
    if trust and asked != BUBBLEWRAP:
        return NONE
    raise ConfigError(REFUSAL.format(why=why))


WITH = {
    "torch": ("torch._dynamo",),
    "matplotlib": ("matplotlib.pyplot", "matplotlib_inline.backend_inline"),
    "rslib": (
        "torch",
        "torch._dynamo",
        "transformers",
        "datasets",
        "rslib.models",
        "rslib.sampling",
        "rslib.finetuning",
    ),
}
"""What comes with an import as soon as it is used: an optimiser's first step, a figure, a model."""


def modules_for(names: Sequence[str]) -> list[str]:
    """What a template imports beforehand: what notebooks import and is installed here."""
    installed = []
    wanted = [each for name in names for each in (name, *WITH.get(name.split(".")[0], ()))]
    for name in dict.fromkeys(wanted):
        with contextlib.suppress(ImportError, ValueError, AttributeError):
            if importlib.util.find_spec(name.split(".")[0]) is not None:
                installed.append(name)
    return installed


def label_of(root: Path) -> str:
    """A short name for the processes of a course; it does not give the folder away."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
