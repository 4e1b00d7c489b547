"""What a submission's process sees of this package, and what a class gets of it.

A file's folder decides: what stands in `handouts/` and in `grading/inside/` is seen, with the few modules of
FRONT that a notebook's session is made of. Everything else is unseen by submissions: exercises with their
checks, keys, wrong answers, experiments, makers of notebooks, the grader itself, and whatever is added.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FRONT = (
    "__init__.py",
    "blanks.py",
    "exercise.py",
    "exercises/__init__.py",
    "grading/__init__.py",
    "session.py",
    "verdict.py",
    "work.py",
)
"""What stands in no visible folder and is seen all the same: a notebook's session, and packages' names."""
FOLDERS = ("handouts", "grading/inside")
"""Folders that a submission's process sees, with what stands in them and below."""
CLASS_FRONT = (
    "__main__.py",
    "calibration.json",
    "calibration.py",
    "checks.py",
    "ordering_run.py",
    "shell.py",
)
CLASS_FOLDERS = ("exercises", "experiments")
"""What a learner's own check needs beside what a submission sees. Keys are in neither."""
KINDS = {".py", ".json", ".txt"}
"""Sources and texts; what Python compiled lies beside them and is not shown."""


def to_submissions() -> list[Path]:
    """Every file of this package that a submission's process sees, sorted; its folders decide."""
    return _files(FRONT, FOLDERS)


def to_a_class() -> list[Path]:
    """Every file of this package that goes into the package for learners, sorted."""
    front = [name for name in FRONT if not name.startswith("grading/")]
    return _files([*front, *CLASS_FRONT], [FOLDERS[0], *CLASS_FOLDERS])


def _files(front: Iterable[str], folders: Iterable[str]) -> list[Path]:
    """These files, and all regular files of a known kind in these folders, but no links."""
    below = (path for name in folders for path in (PACKAGE / name).rglob("*"))
    files = {path for path in below if path.suffix in KINDS and path.is_file() and not path.is_symlink()}
    return sorted(files | {PACKAGE / name for name in front})
