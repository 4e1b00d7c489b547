"""Every exercise of the course, by id. A module `nbNN` here defines those of notebook NN in its EXERCISES."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache

from autograder.exercise import Exercise
from rslib.errors import ConfigError


@cache
def _all() -> dict[str, Exercise]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if re.fullmatch(r"nb\d\d", m.name))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {e.id: e for module in modules for e in module.EXERCISES}


def __getattr__(name: str) -> dict[str, Exercise]:
    """`EXERCISES`, read when first asked for."""
    if name == "EXERCISES":
        return _all()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find(exercise: str) -> Exercise:
    """The exercise with this id. Raises ConfigError for an unknown one."""
    known = _all()
    if exercise not in known:
        raise ConfigError(
            f"there is no exercise {exercise!r}. The exercises are {', '.join(known) or 'none yet'}."
        )
    return known[exercise]


def of_notebook(notebook: str) -> list[Exercise]:
    """The exercises of a notebook ("01"), in order; none for an ungraded or unknown one."""
    return [e for e in _all().values() if e.notebook == notebook]
