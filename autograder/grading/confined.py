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
from pathlib import Path
from typing import Any

from autograder.grading.remote import Remote
from rslib.errors import RSError

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
)
"""Audit events of starting a program: no test of values needs one."""
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


class NotOutside(RSError):
    """Something that a test cell asks for and that is not done outside of the learner's process."""

    def __init__(self, what: str) -> None:
        fix = "Write the line `# trust: inside` into the cell: it is then run in the sandbox, and holds less."
        super().__init__(f"{what} is not done outside of the learner's process", fix=fix)


def confine(texts: Sequence[str], folder: Path, remote: Remote) -> None:
    """Confine this process, for good: it examines one submission. texts: all that the instructor wrote.

    folder: holds the course's files; what a test opens there by a relative path and does not find is fetched.
    """
    for name in ("eval", "exec", "compile"):
        setattr(builtins, name, _of_the_course(getattr(builtins, name), "\n".join(texts), str(folder)))
    sys.addaudithook(_audit)
    opened = _fetching(builtins.open, folder, remote)
    builtins.open = io.open = opened
    os.path.exists = _known(os.path.exists, folder, remote)
    os.path.isfile = _known(os.path.isfile, folder, remote)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        raise NotOutside("starting a program")
    if event == "pickle.find_class" and tuple(args) not in UNPICKLED:
        raise NotOutside(f"unpickling `{args[0]}.{args[1]}`")


def _of_the_course(real: Callable[..., Any], texts: str, folder: str) -> Callable[..., Any]:
    """`eval`, `exec` or `compile` that takes from a test cell only what stands in the course's own text."""

    def confined(source: Any, *args: Any, **options: Any) -> Any:
        frame = sys._getframe(1)
        ours = frame.f_code.co_filename in ("<test>", "<course>") or frame.f_code.co_filename.startswith(
            folder
        )
        if not ours:
            return real(source, *args, **options)
        text = source.decode("utf-8", "replace") if isinstance(source, bytes | bytearray) else source
        if isinstance(text, str) and text.strip() not in texts:
            raise NotOutside(f"`{real.__name__}` of a text that is not the course's own")
        if real.__name__ != "compile" and not args and not options:
            args = frame.f_globals, frame.f_locals
        return real(source, *args, **options)

    return confined


def _relative(path: Any, folder: Path) -> str | None:
    """A path below the folder that is not there, relative to it; None for any other."""
    try:
        text = os.fspath(path)
        inside = os.path.relpath(os.path.abspath(text), folder) if isinstance(text, str) else ".."
    except (TypeError, ValueError):
        return None
    return None if inside.startswith("..") or os.access(text, os.F_OK) else inside


def _fetching(real: Callable[..., Any], folder: Path, remote: Remote) -> Callable[..., Any]:
    """`open` that gives a copy of the learner's file where the course has none of that name."""

    def confined(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        name = None if isinstance(file, int) or mode.strip("bt") != "r" else _relative(file, folder)
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


def _known(real: Callable[..., bool], folder: Path, remote: Remote) -> Callable[..., bool]:
    """`exists` or `isfile` that knows the learner's files too."""

    def confined(path: Any) -> bool:
        name = None if real(path) else _relative(path, folder)
        if name is None or remote.lost:
            return real(path)
        return remote.value({"do": "exists", "path": name}) is True

    return confined
