"""The fork server inside the outer sandbox, and the supervisor of each learner's process.

    python -P -s -m autograder.grading.inside.server CONTROL MODE MODULE,MODULE USER LABEL
    python -P -s -m autograder.grading.inside.server once REQUEST MODULE,MODULE      in a container of its own

It imports what notebooks import, once, and then forks for every submission. It never runs a cell, never
computes with torch (a second thread would hang the forks), and holds nothing worth reading. A supervisor
stands between server and learner: it watches memory, time and the grader, and ends everything that is left.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from autograder.grading.inside import isolate, processes
from autograder.grading.inside.isolate import Limits

FULL, PLAIN = "full", "plain"
"""Protections of a learner's process: namespaces, limits and filter; or limits and filter alone."""
LOOK = 0.02
"""Seconds between two looks at a learner's processes."""


def main(argv: list[str]) -> None:
    """Import, say so, fork for each request until the control socket is closed."""
    if argv[0] == "once":
        return once(json.loads(argv[1]), argv[2].split(","))
    control = socket.socket(fileno=int(argv[0]))
    mode, modules, user = argv[1], argv[2].split(","), int(argv[3])
    if user >= 0:
        _become(user)
    shell = _warm(modules, argv)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    isolate.prctl(isolate.DUMPABLE, 0)
    isolate.prctl(isolate.SUBREAPER, 1)  # what a supervisor leaves that was killed comes here
    control.send(json.dumps({"ready": os.getpid()}).encode())
    supervisors: set[int] = set()
    while True:
        content, descriptors, *_ = socket.recv_fds(control, 65536, 2)
        supervisors &= processes.end_strays(supervisors) if mode == PLAIN else supervisors
        if not content:
            return
        _alone()
        pid = os.fork()
        if pid == 0:
            control.close()
            _supervise(json.loads(content), *descriptors, mode, shell)
        supervisors.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)


def once(request: dict[str, Any], modules: list[str]) -> None:
    """Be the learner's process itself, over standard input and output: the container is its sandbox."""
    from autograder.grading.inside import kernel
    from autograder.grading.inside.frames import Channel

    reader, writer = os.dup(0), os.dup(1)
    os.makedirs(os.environ["TMPDIR"], exist_ok=True)
    os.makedirs(os.environ["IPYTHONDIR"], exist_ok=True)
    shell, limits = kernel.make_shell(), Limits(**request["limits"])
    for name in modules:
        _import(name)
    isolate.shut_in(limits)
    kernel.run(shell, Channel(reader, writer, limited=False), limits, request["seed"])


def _become(user: int) -> None:
    """Leave root for a user that owns nothing: only then do the limits on processes hold."""
    if os.getuid() == user:
        return
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _warm(modules: list[str], argv: list[str]) -> Any:
    from autograder.grading.inside.kernel import make_shell

    os.makedirs(os.environ["IPYTHONDIR"], exist_ok=True)
    shell = make_shell()
    load(modules, "autograder.grading.inside.server", argv)
    return shell


def load(modules: list[str], program: str, argv: list[str]) -> None:
    """Import what can be imported without starting a thread, and keep the collector off what is there.

    After a module that starts a thread nothing could be forked, so the program begins anew without it.
    """
    for name in modules:
        _import(name)
        if threads() > 1:
            left = ",".join(other for other in modules if other != name)
            again = [left if word == ",".join(modules) else word for word in argv]
            os.execv(sys.executable, [sys.executable, "-P", "-s", "-m", program, *again])
    gc.collect()
    gc.freeze()  # else the first collection of every child would copy all of it


def _import(name: str) -> None:
    """Import a module; one that cannot be imported is the business of the cell that wants it."""
    with contextlib.suppress(Exception):
        importlib.import_module(name)


def threads() -> int:
    """Threads of this process."""
    return len(os.listdir("/proc/self/task"))


def _alone() -> None:
    """A fork copies one thread; with a second one its locks would stay shut in the child."""
    if threads() != 1:
        raise SystemExit("the server has more than one thread")


def _supervise(request: dict[str, Any], wire: int, monitor: int, mode: str, shell: Any) -> None:
    """Start the learner's process, watch it, say on the monitor socket how it ended, and leave.

    This process keeps its own mounts, so its /proc shows all that the learner's process starts.
    """
    os.setsid()
    os.sched_setaffinity(0, {request["core"]})
    limits, child = Limits(**request["limits"]), 0
    isolate.prctl(isolate.SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    why = "the sandbox could not be built"
    try:
        isolate.prctl(isolate.DUMPABLE, 1)  # else /proc/self, where namespaces are set up, belongs to root
        if mode == FULL:
            isolate.new_namespaces(isolate.ALL_NEW & ~isolate.NEW_NS)
        folders, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            os.close(monitor)
            _learner(request, wire, theirs, mode, shell)
        isolate.prctl(isolate.DUMPABLE, 0)
        os.close(wire)
        theirs.close()
        why = _watch(child, monitor, limits, _received(folders))
    except OSError as error:
        why = f"the sandbox could not be built: {error}"
    finally:
        left = processes.end_all(child)
        why += f"; {left} of its processes could not be ended" if left else ""
        with contextlib.suppress(OSError):
            os.write(monitor, json.dumps({"ended": why}).encode())
        os._exit(0)


def _received(folders: socket.socket) -> list[int]:
    """The file systems in memory that the learner's process has made, as descriptors."""
    with folders:
        folders.settimeout(30)
        return socket.recv_fds(folders, 1, 8)[1]


def _learner(request: dict[str, Any], wire: int, folders: socket.socket, mode: str, shell: Any) -> None:
    """Build the inner sandbox, then become the kernel."""
    from autograder.grading.inside import kernel
    from autograder.grading.inside.frames import Channel

    limits = Limits(**request["limits"])
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if mode == FULL:
            made = isolate.own_file_systems(limits.disk)
            socket.send_fds(folders, [b"."], [os.open(path, os.O_PATH) for path in made])
        else:
            os.chdir(request["folder"])
            folders.send(b".")
        isolate.own_limits(limits)
        isolate.drop_rights()
        isolate.prctl(isolate.PDEATHSIG, signal.SIGKILL)  # nobody would watch it without its supervisor
        isolate.filter_calls()
        _close_others(wire)
    except BaseException as error:
        os.write(2, f"sandbox: {error}\n".encode())
        os._exit(3)
    kernel.run(shell, Channel(wire, wire, limited=False), limits, request["seed"])


def _close_others(wire: int) -> None:
    """No descriptor but the wire and the three standard ones survives."""
    os.closerange(3, wire)
    os.closerange(wire + 1, 4096)


def _watch(child: int, monitor: int, limits: Limits, folders: Sequence[int]) -> str:
    """Wait for the child's end, or for a reason to bring it about; in words."""
    end = time.monotonic() + limits.total_seconds
    poll = select.poll()
    poll.register(monitor, select.POLLIN)  # nothing is ever sent on it: it wakes when the grader hangs up
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "it ended by itself" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
        if poll.poll(1000 * LOOK):
            return "it was no longer needed"
        if time.monotonic() > end:
            return f"the time of {limits.total_seconds:g} seconds for the whole notebook was over"
        if processes.memory(folders, limits.memory) > limits.memory:
            return f"more than {limits.memory >> 20} MB of memory"


if __name__ == "__main__":
    main(sys.argv[1:])
