"""What a grader sees of a learner's work: the names that the exercise asks for, and nothing else.

A function of the learner is called with copies of plain data, its prints are dropped, and whatever it raises
becomes a `Wrong` of the check "runs".
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autograder.exercise import ANSWERED, RUNS, Variant, Wrong, short


class Work:
    """The learner's names for one exercise, with the variant that they were given and their work folder."""

    def __init__(self, names: Mapping[str, Any], variant: Variant, folder: str | Path = "runs") -> None:
        self._names = names
        self.variant = variant
        self.folder = Path(folder)

    def value(self, name: str, kind: type | tuple[type, ...] | None = None) -> Any:
        """A copy of the learner's variable. Wrong if it is missing, still the stub, or not of `kind`."""
        found = self._names.get(name, ...)
        if found is ... or found is None or (isinstance(found, list | dict | str | tuple) and not found):
            raise Wrong(
                ANSWERED, f"`{name}` is not filled in yet. Run the cell that defines it, then this one."
            )
        if kind is not None and (
            not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool)
        ):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise Wrong(
                ANSWERED, f"`{name}` should be a {wanted}, and is a {type(found).__name__}.", got=short(found)
            )
        return _copied(found)

    def object(self, name: str) -> Any:
        """The learner's object itself, not copied: a table, a path, a model."""
        found = self._names.get(name, ...)
        if found is ... or found is None:
            raise Wrong(
                ANSWERED, f"`{name}` is not filled in yet. Run the cell that defines it, then this one."
            )
        return found

    def function(self, name: str) -> Callable[..., Any]:
        """The learner's function, guarded as the module says. Wrong if it is missing or no function."""
        found = self._names.get(name, ...)
        if found is ... or found is None:
            raise Wrong(ANSWERED, f"There is no `{name}` yet. Run the cell that defines it, then this one.")
        if not callable(found):
            raise Wrong(
                ANSWERED, f"`{name}` should be a function, and is a {type(found).__name__}.", got=short(found)
            )

        def guarded(*args: Any, **options: Any) -> Any:
            return _called(name, found, args, options)

        return guarded


def _called(name: str, function: Callable[..., Any], args: tuple, options: dict) -> Any:
    """The function's result on copies of its arguments; every failure is a Wrong."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = function(*(_copied(a) for a in args), **{k: _copied(v) for k, v in options.items()})
    except Exception as error:
        shown = ", ".join([short(a, 120) for a in args] + [f"{k}={short(v, 60)}" for k, v in options.items()])
        raise Wrong(
            RUNS, f"`{name}` stopped with {type(error).__name__}: {error}", case=f"{name}({shown})"
        ) from error
    if result is None or result is ...:
        raise Wrong(ANSWERED, f"`{name}` returned {result!r}: it has no `return` yet, or not on every path.")
    return result


def _copied(value: Any) -> Any:
    """A deep copy where one can be made; models, tables and functions go as they are."""
    if isinstance(value, bool | int | float | str | list | dict | tuple | set) or hasattr(value, "dtype"):
        with contextlib.suppress(Exception):
            return copy.deepcopy(value)
    return value
