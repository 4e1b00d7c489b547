"""What a grader sees of a learner's work: the names that the exercise asks for, and nothing else.

A function of the learner is called with copies of plain data, its prints are dropped, and whatever it raises
becomes a `CheckFailed` of the check "runs".
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import ctypes
import inspect
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autograder.exercise import ANSWERED, RUNS, CheckFailed, Variant, of_pandas, short, words_of


class Work:
    """The learner's names for one exercise, with the variant that they were given and their work folder."""

    def __init__(self, names: Mapping[str, Any], variant: Variant, folder: str | Path = "runs") -> None:
        self._names = names
        self.variant = variant
        self.folder = Path(folder)
        self._class_rngs: dict[str, np.random.Generator] = {}

    def value(self, name: str, kind: type | tuple[type, ...] | None = None) -> Any:
        """A copy of the learner's variable. CheckFailed if missing, still the stub, or not of `kind`."""
        value = self.object(name)
        if isinstance(value, list | dict | str | tuple) and not value:
            raise CheckFailed(ANSWERED, _not_filled_in(name))
        if kind is not None and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            message = f"`{name}` should be a {names}, and is a {kind_of(value)}."
            raise CheckFailed(ANSWERED, message, got=short(value))
        return _copied(value)

    def object(self, name: str) -> Any:
        """The learner's object itself, not copied: a table, a path, a model."""
        value = self._names.get(name, ...)
        if value is ... or value is None:
            raise CheckFailed(ANSWERED, _not_filled_in(name))
        return value

    def function(self, name: str, patience: float | None = None) -> Callable[..., Any]:
        """The learner's function, guarded as the module says. CheckFailed if it is missing or no function.

        patience: processor seconds after which a call is stopped with `TimedOut`; by default it may go on.
        """
        function = self._names.get(name, ...)
        if function is ... or function is None:
            message = f"There is no `{name}` yet. Run the cell that defines it, then this one."
            raise CheckFailed(ANSWERED, message)
        if not callable(function):
            message = f"`{name}` should be a function, and is a {kind_of(function)}."
            raise CheckFailed(ANSWERED, message, got=short(function))

        def guarded(*args: Any, **options: Any) -> Any:
            with contextlib.nullcontext() if patience is None else limited(patience):
                return _called(name, function, args, options)

        return guarded

    def other_session(self, salt: int) -> contextlib.AbstractContextManager[None]:
        """Calls in this context see the hashes that another start of Python would give them."""
        return other_session(salt)

    def processor_seconds(self) -> float:
        """Processor seconds so far where the learner's functions run; only differences mean anything."""
        return time.process_time()

    def class_rng(self, rng: np.random.Generator, purpose: str) -> np.random.Generator:
        """The generator for what is measured alike for a whole class; in a self-check for all its parts."""
        return copy.deepcopy(self._class_rngs.setdefault(purpose, copy.deepcopy(rng)))

    def model_folder(self, path: str | Path) -> Path:
        """The folder of a model that the learner names, where this process can read it."""
        return Path(path)


def _not_filled_in(name: str) -> str:
    return f"`{name}` is not filled in yet. Run the cell that defines it, then this one."


def kind_of(value: Any) -> str:
    """The name of a value's class, or of the nearest one that is not a learner's own.

    What a learner calls a class is never shown: a process that is being marked could say anything with it.

    >>> kind_of(3), kind_of(type("Mine", (list,), {"__module__": "__main__"})())
    ('int', 'list')
    """
    learners = ("__main__", "answer")
    return next(base.__name__ for base in type(value).__mro__ if base.__module__ not in learners)


def is_column(value: Any) -> bool:
    """Whether a value is a column of pandas, which has labels as a dict has keys."""
    return of_pandas(value) and getattr(value, "ndim", 0) == 1 and hasattr(value, "to_dict")


class TimedOut(Exception):
    """A function was stopped because it ran too long."""

    def __init__(self, seconds: float | str = "") -> None:
        super().__init__(f"it was still at work after {seconds} seconds")


ASLEEP = 20
"""So many times its processor seconds a block may take by the clock, on a busy machine or asleep."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TimedOut in this thread if the block computes longer; only between two steps of Python code.

    Processor seconds of this process count, so that a right answer on a busy machine has the time it needs.
    """
    done, thread = threading.Event(), threading.get_ident()
    watcher = threading.Thread(target=_watch, args=(thread, seconds, done), daemon=True)
    watcher.start()
    try:
        yield
    except TimedOut:
        raise TimedOut(f"{seconds:g}") from None
    finally:
        done.set()


def _watch(thread: int, seconds: float, done: threading.Event) -> None:
    start, began = time.process_time(), time.monotonic()
    while not done.wait(0.1):
        if time.process_time() - start > seconds or time.monotonic() - began > ASLEEP * seconds:
            stop = ctypes.pythonapi.PyThreadState_SetAsyncExc
            stop(ctypes.c_ulong(thread), ctypes.py_object(TimedOut))
            return


HASH = hash


class SaltedStr(str):
    """A text whose hash depends on `salt`, as if Python had been started anew."""

    __slots__ = ()
    salt = 0

    def __hash__(self) -> int:
        return HASH((SaltedStr.salt, str(self)))


@contextlib.contextmanager
def other_session(salt: int) -> Iterator[None]:
    """Python's hash as in a new session: another one for texts and what holds them, the same for numbers."""

    def salted(value: Any) -> int:
        holds_text = isinstance(value, str | bytes | tuple | frozenset) and re.search(r"['\"]", repr(value))
        return HASH((salt, value)) if holds_text else HASH(value)

    before = builtins.hash, SaltedStr.salt
    builtins.hash, SaltedStr.salt = salted, salt
    try:
        yield
    finally:
        builtins.hash, SaltedStr.salt = before


def _called(name: str, function: Callable[..., Any], args: tuple, options: dict) -> Any:
    """The function's result on copies of its arguments; every failure is a CheckFailed."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = function(*(_copied(a) for a in args), **{k: _copied(v) for k, v in options.items()})
    except (Exception, SystemExit, GeneratorExit) as error:
        words = f": {words_of(error)}" if words_of(error) else ""
        shown = ", ".join([short(a, 120) for a in args] + [f"{k}={short(v, 60)}" for k, v in options.items()])
        raise CheckFailed(
            RUNS, f"`{name}` stopped with {type(error).__name__}{words}", case=f"{name}({shown})"
        ) from error
    if inspect.iscoroutine(result):
        result.close()  # else Python complains on standard error that nobody waited for it
        message = f"`{name}` is an `async def`, so it returns before it has begun. Take the `async` away."
        raise CheckFailed(RUNS, message)
    if result is None or result is ...:
        raise CheckFailed(
            ANSWERED, f"`{name}` returned {result!r}: it has no `return` yet, or not on every path."
        )
    return result


def _copied(value: Any) -> Any:
    """A deep copy where one can be made; models, tables and functions go as they are."""
    if isinstance(value, bool | int | float | str | list | dict | tuple | set) or hasattr(value, "dtype"):
        with contextlib.suppress(Exception):
            return copy.deepcopy(value)
    return value
