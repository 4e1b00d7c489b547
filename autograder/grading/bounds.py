"""What work on one submission may cost the grader itself: processor time and memory, kept by the system.

A learner's text and values are looked at in processes of the grader's own, one for each submission. None of
them is trusted to end: the system counts their processor time, and ends the one that runs over.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

READING = 4
"""Processor seconds that taking one notebook apart may cost; an ordinary one costs a tenth of one."""
TEST = 90
"""Processor seconds that the tests of one cell may take here, beside the learner's process."""
JUDGING = 300
"""Processor seconds that judging one notebook may cost."""
GRACE = 15
"""Seconds more after which a test that heeds no signal is ended, with all that judges this notebook."""
TEXT, PICTURES = 3_000_000, 30_000_000
"""Characters and bytes of outputs that are kept of one notebook."""
ROOM = 900 << 20
"""Bytes of memory that work on one submission may take beyond what its process has."""


SHORTEST = 0.001
"""Seconds after which a timer rings whose time is over."""
_ends: dict[int, float] = {}
"""When the innermost block of each timer is over, by the clock of that."""
_SETTING = (__file__, contextlib.__file__)
"""Whose lines enter a block and leave it."""


class Overrun(BaseException):
    """A test took too long over a learner's values; no `except Exception` of a test keeps it."""


def limit(seconds: int) -> None:
    """Have the system end this process after so many processor seconds, and refuse it more than ROOM."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Raise Overrun in the block after so many processor seconds, and each second from then on.

    Between two steps of Python code only: a step in C that goes on beyond GRACE ends this process. A block
    in another one does not lengthen the time of that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    last = int(time.process_time() + seconds) + GRACE
    first = min(limit for limit in (last, soft, hard) if limit >= 0)
    resource.setrlimit(resource.RLIMIT_CPU, (first, hard))
    try:
        message = f"a test took more than {seconds:g} seconds of processor time"
        with _ringing(signal.SIGPROF, signal.ITIMER_PROF, time.process_time, seconds, message):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def wait(seconds: float, message: str) -> contextlib.AbstractContextManager[None]:
    """Raise Overrun in the block after so many seconds of the clock, and each second from then on."""
    return _ringing(signal.SIGALRM, signal.ITIMER_REAL, time.monotonic, seconds, message)


@contextlib.contextmanager
def _ringing(
    number: int, timer: int, clock: Callable[[], float], seconds: float, message: str
) -> Iterator[None]:
    """Raise Overrun in the block when a timer rings; that of a block around it goes on afterwards.

    In the block only: raised in the lines that set the timer or put it back, it would leave it ringing.
    """

    def ring(signum: int, frame: types.FrameType | None) -> None:
        if over:  # it rang while it was put back
            return
        if clock() >= end and frame is not None and frame.f_code.co_filename not in _SETTING:
            raise Overrun(message)
        _set(timer, end - clock())

    around, over = _ends.get(timer, math.inf), False
    if clock() >= around:  # short blocks, one after the other, set the timer anew before it can ring
        raise Overrun(message)
    end = min(clock() + seconds, around)  # noted, as the system rounds what a timer has left
    before = signal.signal(number, ring)
    _ends[timer] = end
    _set(timer, end - clock())
    try:
        yield
    finally:
        over = True
        signal.setitimer(timer, 0)
        signal.signal(number, before)
        _ends[timer] = around
        if around < math.inf:
            _set(timer, around - clock())


def _set(timer: int, seconds: float) -> None:
    """Have a timer ring after so many seconds, at once if they are over, and each second from then on."""
    signal.setitimer(timer, max(seconds, SHORTEST), 1)


class Fork:
    """A process of the grader's that can be ended, and no other that has its number later."""

    def __init__(self, pid: int) -> None:
        self.pid, self.handle = pid, -1
        with contextlib.suppress(AttributeError, OSError):  # an older system knows no handles
            self.handle = os.pidfd_open(pid)

    def end(self) -> None:
        """End the process if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            if self.handle < 0:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def close(self) -> None:
        """Forget the process."""
        if self.handle >= 0:
            os.close(self.handle)
