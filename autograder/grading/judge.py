"""The template of examining processes, from the outside: start it, give it a job, wait for the answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autograder.grading import bounds
from autograder.grading.inside.frames import Channel, WireError
from autograder.grading.sandbox import CALM, START_SECONDS, Child, Ended, ForkServer
from autograder.grading.troubles import is_full
from autograder.grading.visible import PACKAGE
from rslib.errors import ConfigError, StoreError

SPARE = 60.0
"""Seconds beyond a submission's own that judging may take."""
SPACE = "Free some space, then run again: what was graded is kept."


AROUND = """PATH HOME USER LOGNAME LANG LC_ALL LC_CTYPE TZ TMPDIR TMP TEMP LD_LIBRARY_PATH MPLCONFIGDIR
    XDG_CACHE_HOME XDG_CONFIG_HOME HF_HOME VIRTUAL_ENV PYTHONHOME CUDA_VISIBLE_DEVICES"""
"""What a test finds of the instructor's environment: a name that a learner chose must not fetch a key."""


def _full() -> StoreError:
    return StoreError("no disk space left for temporary files", where=tempfile.gettempdir(), fix=SPACE)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A new folder, the only one that a fork may change. Raises StoreError where there is no room for it."""
    try:
        folder = tempfile.mkdtemp(prefix="examine-")
    except OSError as error:
        if is_full(error):
            raise _full() from error
        raise
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Judge(ForkServer):
    """A running template of examining processes."""

    what = "the examining process"
    modules: Sequence[str] = ()
    label: str = "-"

    def start(self) -> None:
        """Start the template; it imports while others start too."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        call = [sys.executable, "-P", "-s", "-m", "autograder.grading.examine"]
        call += [str(theirs.fileno()), ",".join(self.modules), self.label]
        settings = CALM | {"PYTHONPATH": str(PACKAGE.parent), "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
        settings["NBGRADER_EXECUTION"] = "autograde"
        around = {name: os.environ[name] for name in AROUND.split() if name in os.environ} | settings
        self.process = subprocess.Popen(
            call, pass_fds=[theirs.fileno()], env=around, stdin=subprocess.DEVNULL, cwd="/"
        )
        theirs.close()
        ours.settimeout(START_SECONDS)
        self.control, self.ready = ours, False

    def _wait(self) -> None:
        """Wait until the template has imported what it should; one that ended is started again first."""
        with self.turn:
            if not self.alive():
                self.stop()
                self.start()
            if not self.ready and self.control.recv(64) != b"ready":
                raise ConfigError("the examining process did not start")
            self.ready = True

    def read(self, outline: Mapping[str, Any], content: bytes) -> dict[str, Any]:
        """A notebook as `reading.read` takes it apart; {"failed": sentence} if that took too long."""
        job = {"outline": outline, "processor": bounds.READING}
        return self._ask(job, [content], [], SPARE, "Taking the notebook apart took too much memory or time.")

    def examine(self, job: Mapping[str, Any], child: Child, extras: Sequence[bytes] = ()) -> dict[str, Any]:
        """What came of a job on a learner's process; {"failed": sentence} if the examination itself ended.

        extras: the contents of the learner's files that the job names.
        """
        seconds = job["limits"]["total_seconds"] + SPARE
        late = "Judging it took too much memory or time."
        with _folder() as folder:  # the fork cannot take it away: it reaches what is below alone
            most = dict(job) | {"processor": bounds.JUDGING, "folder": folder}
            return self._ask(most, extras, [child.wire.fileno()], seconds, late)

    def _ask(
        self,
        job: Mapping[str, Any],
        blobs: Sequence[bytes],
        descriptors: Sequence[int],
        seconds: float,
        late: str,
    ) -> dict[str, Any]:
        """The answer of a fork of the template. One that gives none in time is ended, whatever it does."""
        self._wait()
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self.send(b"job", [theirs.fileno(), *descriptors])
            channel, fork = Channel(ours.fileno(), ours.fileno(), limited=False), None
            try:
                fork = bounds.Fork(channel.receive(SPARE)[0]["pid"])
                channel.send(job, blobs, seconds=SPARE)
                answer, _ = channel.receive(seconds)
            except WireError:  # how exactly it ended may hold a hidden test's inputs
                if self._gone():
                    raise Ended("the examining process ended while this notebook was judged") from None
                return {"failed": late}
            finally:
                if fork:
                    fork.end()
                    fork.close()
        if answer.get("full"):
            raise _full()
        return answer

    def _gone(self) -> bool:
        """Whether the template ended; a moment is left for its end to become known."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.2)
        return not self.alive()
