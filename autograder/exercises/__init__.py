"""Every exercise of the course, by id. A module `nbNN` here defines those of notebook NN in its EXERCISES.

A notebook loads its own module alone: what another notebook's graders need is not imported.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from importlib.util import find_spec

from autograder.exercise import Exercise
from rslib.errors import ConfigError


def _notebooks() -> list[str]:
    """The notebooks that have exercises: "01", "02", ..."""
    names = (m.name for m in pkgutil.iter_modules(__path__))
    return sorted(name[2:] for name in names if re.fullmatch(r"nb\d\d", name))


def can_mark() -> bool:
    """Whether exercises can be marked here: a submission's process has what they hand out, and no more."""
    return bool(_notebooks())


@cache
def of_notebook(notebook: str) -> tuple[Exercise, ...]:
    """The exercises of a notebook ("01"), in order; none for an ungraded or unknown one."""
    # Not by listing the folder: a process that judges a submission may import modules of it and no more.
    if not re.fullmatch(r"\d\d", notebook) or find_spec(f"{__name__}.nb{notebook}") is None:
        return ()
    return tuple(importlib.import_module(f"{__name__}.nb{notebook}").EXERCISES)


def __getattr__(name: str) -> dict[str, Exercise]:
    """`EXERCISES`: all of them by id, read when asked for."""
    if name == "EXERCISES":
        return {e.id: e for notebook in _notebooks() for e in of_notebook(notebook)}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find(exercise: str) -> Exercise:
    """The exercise with this id. Raises ConfigError for an unknown one."""
    number = exercise.split(".")[0] if isinstance(exercise, str) else ""
    for found in of_notebook(number.zfill(2)):
        if found.id == exercise:
            return found
    known = ", ".join(__getattr__("EXERCISES"))
    raise ConfigError(f"there is no exercise {exercise!r}", fix=f"The exercises are {known or 'none yet'}.")
