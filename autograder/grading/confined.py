"""What trusted tests may do with a learner's texts, bytes and files: read them, never run them.

A test that evaluates a learner's text would run it with the instructor's rights. So `eval`, `exec` and
`compile` take texts of the course alone, pickles of a learner build plain data alone, and no program is
started. Files that only the learner's process has are fetched as bytes when a test opens them.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from autograder.grading.inside.isolate import WORK
from autograder.grading.reach import NotOutside, Reach
from autograder.grading.remote import Remote

Lacking = Callable[[Any], str | None]
"""What names the path to ask the learner's process for; None for any other."""

UNPICKLED = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("collections", "deque"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("_codecs", "encode"),
    *(("builtins", name) for name in ("set", "frozenset", "complex", "slice", "range", "bytearray")),
}
"""What a pickle may name: makers of plain data."""


LEARNERS = (WORK, "/tmp", "/dev/shm")
"""Where a learner's process keeps files of its own."""


def confine(texts: Sequence[str], folder: Path, remote: Remote, reach: Reach) -> None:
    """Confine this process, for good: it examines one submission. texts: all that the instructor wrote.

    folder: holds the course's files; what a test opens there by a relative path and does not find is fetched.
    reach: the files of this machine that are reached from now on.
    """
    for name in ("eval", "exec", "compile"):
        setattr(builtins, name, _of_the_course(getattr(builtins, name), "\n".join(texts), str(folder)))
    sys.addaudithook(_audit)
    reach.close()
    lacking = partial(_lacking, folder=os.path.realpath(folder), reach=reach)
    builtins.open = io.open = _fetching(builtins.open, lacking, remote)
    os.path.exists = _known(os.path.exists, lacking, remote)
    os.path.isfile = _known(os.path.isfile, lacking, remote)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and tuple(args) not in UNPICKLED:
        raise NotOutside(f"unpickling `{args[0]}.{args[1]}`")


def _of_the_course(real: Callable[..., Any], texts: str, folder: str) -> Callable[..., Any]:
    """`eval`, `exec` or `compile` that takes from a test cell only what stands in the course's own text."""

    def confined(source: Any, *args: Any, **options: Any) -> Any:
        frame = sys._getframe(1)
        ours = frame.f_code.co_filename in ("<test>", "<course>") or frame.f_code.co_filename.startswith(
            folder
        )
        if real.__name__ != "compile" and not args and not options:
            args = frame.f_globals, frame.f_locals
        if not ours:
            return real(source, *args, **options)
        text = source.decode("utf-8", "replace") if isinstance(source, bytes | bytearray) else source
        if isinstance(text, str) and text.strip() not in texts:
            raise NotOutside(f"`{real.__name__}` of a text that is not the course's own")
        return real(source, *args, **options)

    return confined


def _lacking(path: Any, folder: str, reach: Reach) -> str | None:
    """A path that only the learner's process may know: below the folder, relative to it, or in LEARNERS."""
    try:
        text = os.fspath(path)
        full = os.path.abspath(text) if isinstance(text, str) else ""
        if not full or os.access(text, os.F_OK):
            return None
    except (TypeError, ValueError):
        return None
    if full.startswith(f"{folder}/"):
        return os.path.relpath(full, folder)
    theirs = any(full.startswith(f"{root}/") for root in LEARNERS)
    return full if theirs and not reach.may(full) else None


def _fetching(real: Callable[..., Any], lacking: Lacking, remote: Remote) -> Callable[..., Any]:
    """`open` that gives a copy of the learner's file where the course has none of that name."""

    def confined(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        name = None if isinstance(file, int) or mode.strip("bt") != "r" else lacking(file)
        if name is None or remote.lost:
            return real(file, mode, *args, **options)
        content = remote.value({"do": "file", "path": name})
        if not isinstance(content, bytes):
            raise FileNotFoundError(f"no such file: {name}")
        if "b" in mode:
            return io.BytesIO(content)
        encoding, errors = options.get("encoding"), options.get("errors")
        newline = options.get("newline")
        return io.TextIOWrapper(io.BytesIO(content), encoding or "utf-8", errors, newline)

    return confined


def _known(real: Callable[..., bool], lacking: Lacking, remote: Remote) -> Callable[..., bool]:
    """`exists` or `isfile` that knows the learner's files too."""

    def confined(path: Any) -> bool:
        name = None if real(path) else lacking(path)
        if name is None or remote.lost:
            return real(path)
        return remote.value({"do": "exists", "path": name}) is True

    return confined
