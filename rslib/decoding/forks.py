"""All cores for a small model: threads, and forks of this process, each of which runs every so-many-th batch.

A small model works on one thread (see `fitting_threads`). A fork has the model, its settings and
the rows in memory already, so it starts within some hundredths of a second, and what it finds is what this
process would have found, to the last bit. Where a fork is lost or fails, this process runs its batches.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe, wait
from types import FrameType
from typing import Any, TypeVar

import torch

_Part, _Found = TypeVar("_Part"), TypeVar("_Found")

_SMALL = 20_000_000
"""Parameters up to which a product is done before a second thread has begun."""
_MOST = 8
"""Forks that are made at most: beyond that, memory is what they wait for."""
_END_WITH_PARENT = 1
"""prctl's PR_SET_PDEATHSIG."""


# Threads --------------------------------------------------------------------------------------------------


def is_small(model: torch.nn.Module) -> bool:
    """Whether each product is done on one thread of a CPU; cores then work on different rows."""
    return sum(weight.numel() for weight in model.parameters()) <= _SMALL


def cores_for(model: torch.nn.Module) -> int:
    """Cores that may work on this model side by side: 1 on a GPU and for a large one, whose products share.

    Else as many as torch may use threads (OMP_NUM_THREADS, torch.set_num_threads) and this process cores.
    """
    if next(model.parameters()).device.type != "cpu" or not is_small(model):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), cores)


def on_cores(cores: int, function: Callable[[_Part], _Found], parts: Sequence[_Part]) -> list[_Found]:
    """`function` of each part, in order, computed by a thread a core, each of which torch's products keep to.

    Gradients and autocast are settings of a thread: `function` makes its own.
    """
    if cores == 1 or len(parts) < 2:
        return list(map(function, parts))
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        return list(threads.map(function, parts))


@contextlib.contextmanager
def fitting_threads(model: torch.nn.Module) -> Iterator[None]:
    """While it is open, a small model on a CPU works on one thread; larger ones on as many as torch has.

    torch's threads meet after every product. Beside another busy process each meeting may take a time slice:
    two threads were then 40 times slower than on quiet cores, one thread twice.
    """
    threads = torch.get_num_threads()
    if threads == 1 or next(model.parameters()).device.type != "cpu" or not is_small(model):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# Forks ----------------------------------------------------------------------------------------------------


def forks_for(model: torch.nn.Module) -> int:
    """How many processes may work on this model side by side (see `cores_for`), at most 8.

    1 where there are no forks, and on macOS, whose libraries forbid them.
    """
    return min(cores_for(model), _MOST) if sys.platform == "linux" else 1


def forked(
    run: Callable[[_Part], _Found], parts: Sequence[_Part], count: int
) -> Iterator[tuple[int, _Found]]:
    """Numbers of parts and what `run` found for them, in the order in which `count` forks finish them.

    Those of a fork that is lost, or in which `run` raises, are left out. What is found is pickled, so it
    should be plain or numpy. All forks have ended when the iterator has, however it ends.
    """
    forks: dict[Connection, int] = {}
    writing: set[Connection] = set()
    try:
        with _uninterrupted():
            for first in range(min(count, len(parts))):
                ours, theirs = Pipe(duplex=False)
                try:
                    pid = _fork()
                except OSError:  # as many processes as the user may have: their parts are left out
                    break
                if pid == 0:
                    _work(run, parts, range(first, len(parts), count), theirs)
                theirs.close()
                forks[ours] = pid
            writing |= set(forks)
        while writing:
            for connection in wait(writing):
                try:
                    yield pickle.loads(connection.recv_bytes())
                except (EOFError, OSError):
                    writing.remove(connection)
    finally:
        with _uninterrupted():
            _end(forks, writing)


def _end(forks: Mapping[Connection, int], writing: AbstractSet[Connection]) -> None:
    """End those that are still `writing`, and wait for all; somebody else may have done that already."""
    for connection in writing:
        with contextlib.suppress(ProcessLookupError):
            os.kill(forks[connection], signal.SIGKILL)
    for connection, pid in forks.items():
        connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits for the end of the block: no fork is half made, forgotten, or lets one pass."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


def _fork() -> int:
    with warnings.catch_warnings():
        # Newer Pythons warn of other threads, whose locks stay shut in the fork. It computes, and writes to a
        # pipe; it prints nothing and closes nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _work(
    run: Callable[[_Part], Any], parts: Sequence[_Part], numbers: Sequence[int], connection: Connection
) -> None:
    """In the fork: run the parts, send what they gave, and leave without any of the parent's goodbyes."""
    try:
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)  # with it goes the lock of its run folder
        gc.disable()  # else what belongs to the parent (sockets, files) could be closed here
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        torch.set_num_threads(1)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # their threads were not copied
        for number in numbers:
            connection.send_bytes(pickle.dumps((number, run(parts[number]))))
    finally:  # an error is met again by the parent, which runs the part itself
        os._exit(0)
