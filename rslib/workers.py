"""Worker processes on this machine: parts of a table side by side, for small models on CPUs.

A small model works on one thread (see `rslib.decoding.fitting_threads`), so processes use the cores.
What a part becomes depends on that part alone: the rows are those of one process, to the last bit. A large
model uses torch's threads in one process instead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from rslib.decoding import is_small
from rslib.progress import note
from rslib.stages import Models, ModelWork
from rslib.store import in_turn, table_bytes, table_from

if TYPE_CHECKING:
    from datasets import Dataset

_START_UP = 10.0
"""Seconds of work from which on two processes are worth starting: each spends about 4 on its imports."""
_MOST = 8
"""Processes that are started unasked: each holds 400 MB of libraries."""
_TRIES = 3
"""How often lost workers are replaced before this process goes on alone."""


class Workers:
    """Processes that sample and score, each with models of its own; they end with this process.

    count: None: one a core that this process may use, at most 8. start_up: they are started once the work
    that is left would take one process longer than so many seconds, as its first part tells; then they stay.
    """

    def __init__(self, count: int | None = None, start_up: float = _START_UP) -> None:
        self.count, self.start_up = count or min(_cores(), _MOST), start_up
        self._idle: dict[Connection, BaseProcess] = {}
        self._lost = 0

    def each(
        self, work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, Dataset, float]]:
        """As `rslib.store.in_turn`, in the order in which the parts are finished.

        Raises the errors of the work. A worker that dies is replaced, and its part is done again.
        """
        left = dict(parts)
        if self.count > 1 and len(left) > 1 and self._lost < _TRIES and _travels(work):
            if not self._idle:
                number = next(iter(left))
                [first] = in_turn(work, {number: left.pop(number)})
                yield first
            if self._idle or first[2] * len(left) >= self.start_up:
                for number, content, seconds in self._finished(work, left):
                    part = left.pop(number)
                    if content is None:  # the work failed there: here its error is raised where it is seen
                        yield from in_turn(work, {number: part})
                    else:
                        yield number, table_from(content), seconds
        yield from in_turn(work, left)

    def _finished(
        self, work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, bytes | None, float]]:
        """Numbers, tables and seconds of the parts; without the last ones where workers keep dying.

        A table is None where the work raised an error.
        """
        waiting, busy = list(parts), {}
        try:
            while (waiting or busy) and self._lost < _TRIES:
                # All are started before the first one is sent its part, for which it has to be up.
                for _ in range(min(self.count, len(parts)) - len(self._idle) - len(busy)):
                    self._start()
                while waiting and self._idle:
                    (connection, process), number = self._idle.popitem(), waiting.pop(0)
                    busy[connection] = process, number
                    with contextlib.suppress(OSError):  # it has died meanwhile: nothing will be received
                        connection.send((work, number, table_bytes(parts[number])))
                for connection in wait(list(busy)):
                    process, number = busy.pop(connection)
                    try:
                        result = connection.recv()
                    except (EOFError, OSError):
                        self._lost += 1
                        waiting.insert(0, number)
                        note("a worker process was lost: another one does its part again")
                        continue
                    self._idle[connection] = process
                    yield result
        finally:
            for process, _ in busy.values():  # what they do is wanted no more
                process.kill()

    def _start(self) -> None:
        # Afresh, not by a fork, which would copy locks that another thread holds.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._idle[ours] = process


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _travels(work: Callable[[Dataset], Dataset]) -> bool:
    """Whether it is the work of a small model on a CPU; what a flaw replaces stays in this process."""
    if not (isinstance(work, ModelWork) and work.travels) or work.path is None:
        return False
    model = work.model().model
    return model.device.type == "cpu" and is_small(model)


# In a worker ------------------------------------------------------------------------------------------

_models: list[Models] = []
"""The first work's: models that are loaded serve the parts and stages to come."""


def _serve(connection: Connection) -> None:
    """Do one part after another, until the parent ends, however it ends; interrupts are left to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            work, number, part = connection.recv()
            try:
                result = _done(work, number, part)
            except Exception:
                result = number, None, 0.0
            connection.send(result)


def _done(work: ModelWork, number: int, part: bytes) -> tuple[int, bytes, float]:
    """The part's number, the table that it became, and the seconds that took."""
    if not _models:
        _models.append(work.models)
    [(_, table, seconds)] = in_turn(replace(work, models=_models[0]), {number: table_from(part)})
    return number, table_bytes(table), seconds
