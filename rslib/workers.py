"""Worker processes on this machine: parts of a table side by side, for small models on CPUs.

A small model works on one thread (see `rslib.decoding.fitting_threads`), so processes use the cores.
What a part becomes depends on that part alone: the rows are those of one process, to the last bit. A large
model uses torch's threads in one process instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import wait
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
    """Processes that sample and score, each with models of its own; they end with this object.

    count: None: one a core that this process may use, at most 8. start_up: they are started once the work
    that is left would take one process longer than so many seconds, as its first part tells; then they stay.
    """

    def __init__(self, count: int | None = None, start_up: float = _START_UP) -> None:
        self.count, self.start_up = count or min(_cores(), _MOST), start_up
        self._pool: ProcessPoolExecutor | None = None

    def each(
        self, work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, Dataset, float]]:
        """As `rslib.store.in_turn`, in the order in which the parts are finished.

        Raises the errors of the work. A worker that dies is replaced, and its part is done again.
        """
        left = dict(parts)
        if self.count == 1 or len(left) == 1 or not _travels(work):
            yield from in_turn(work, left)
            return
        if self._pool is None:
            number = next(iter(left))
            [first] = in_turn(work, {number: left.pop(number)})
            yield first
            if first[2] * len(left) < self.start_up:
                yield from in_turn(work, left)
                return
        for _ in range(_TRIES):
            try:
                for number, content, seconds in self._finished(work, left):
                    del left[number]
                    yield number, table_from(content), seconds
                return
            except BrokenProcessPool:
                self._pool = None
                note(f"a worker process was lost: the {len(left)} parts that are not finished go on")
        yield from in_turn(work, left)

    def _finished(
        self, work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, bytes, float]]:
        if self._pool is None:
            # Started afresh, not forked: a fork would copy locks that another thread holds.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, context, initializer=_begin)
        futures: list[Future] = []
        try:
            for number, part in parts.items():
                futures.append(self._pool.submit(_done, work, number, table_bytes(part)))
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _travels(work: Callable[[Dataset], Dataset]) -> bool:
    """Whether it is the work of a small model on a CPU; what a flaw replaces stays in this process."""
    if not isinstance(work, ModelWork) or work.path is None or hasattr(work.function, "__self__"):
        return False
    model = work.model().model
    return model.device.type == "cpu" and is_small(model)


# In a worker ------------------------------------------------------------------------------------------

_models: list[Models] = []
"""The first work's: models that are loaded serve the parts and stages to come."""


def _begin() -> None:
    """Leave interrupts to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _done(work: ModelWork, number: int, part: bytes) -> tuple[int, bytes, float]:
    """The part's number, the table that it became, and the seconds that took."""
    if not _models:
        _models.append(work.models)
    [(_, table, seconds)] = in_turn(replace(work, models=_models[0]), {number: table_from(part)})
    return number, table_bytes(table), seconds
