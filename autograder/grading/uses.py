"""What a test cell does with the learner's values, held against what it did with the instructor's own.

A test names a method because the solution returns something that has it: `table().equals(expected)` is right
of a table, but of a learner's object it would ask the object for its own mark. Which classes of a learner's
own a task wants is seen where the instructor's solution goes through the same cell, before a class is graded:
methods that the cell called on objects of classes which do not cross as data, arrays without elements that it
got, masked ones, and comparisons of something with nothing. A learner's cell that does more than that is
refused, whatever it gives. Data stays data: a list's or a table's subclass crosses as a list or a table, an
attribute that holds data may be read of any object, and a returned function may be called.

Where the solution did not run before (`--skip-check`), nothing is known and nothing is refused.
"""

from __future__ import annotations

import functools
import operator
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rslib.errors import RSError

EMPTY, MASKED = "an array without elements", "a masked array"
VACUOUS = "a comparison of nothing with something"
CHANCE = re.compile(r"\brand|\bshuffle|\bsample|\bchoice|\bnow\(|default_rng\(\)|hypothesis")
SEEDED = re.compile(r"seed\w*\(|(default_rng|RandomState)\(\s*\d")
NUMPY = ("allclose", "isclose")
NUMPY_TESTING = (
    "assert_allclose",
    "assert_almost_equal",
    "assert_approx_equal",
    "assert_array_almost_equal",
    "assert_array_almost_equal_nulp",
    "assert_array_equal",
    "assert_array_less",
    "assert_array_max_ulp",
    "assert_equal",
)
TORCH = ("allclose", "isclose", "eq", "equal")


class UnlikeSolution(RSError):
    """A test cell does with a learner's value what it did not do with the solution's."""

    def __init__(self, use: str) -> None:
        super().__init__(f"the instructor's solution needs no such thing here: {use}")


class Uses:
    """The uses of one test cell; `allowed` are those of the solution, None where these are not known."""

    def __init__(self) -> None:
        self.begin(None)
        self.allowed = None

    def begin(self, allowed: Iterable[str] | None) -> None:
        """A test cell starts."""
        self.seen: set[str] = set()
        self.refused = ""
        self.allowed = None if allowed is None else frozenset(allowed)

    def note(self, use: str) -> bool:
        """Whether a use is allowed; one that is not fails the cell at its end, caught or not."""
        self.seen.add(use)
        if self.allowed is None or use in self.allowed:
            return True
        self.refused = self.refused or use
        return False

    def need(self, use: str) -> None:
        """Raise UnlikeSolution for a use that is not allowed."""
        if not self.note(use):
            raise UnlikeSolution(use)

    def unwanted(self, name: str) -> bool:
        """Whether it is known that no task wants a method of this name."""
        return self.allowed is not None and method(name) not in self.allowed

    def end(self) -> None:
        """Raise UnlikeSolution if anything was refused."""
        if self.refused:
            raise UnlikeSolution(self.refused)

    def attribute(self, name: str, value: Any) -> Any:
        """What an object of a learner's has under a name; UnlikeSolution where it acts and should not."""
        if callable(value):
            self.need(method(name))
        return value

    def arrived(self, value: Any) -> None:
        """Note of a value that came from the learner's process what no comparison should meet unawares."""
        if type(value) in (list, tuple) and not value:
            self.seen.add(EMPTY)  # a learner may as well give an array
        elif hasattr(type(value), "_fields"):
            for name, item in zip(type(value)._fields, value, strict=False):
                if callable(item):
                    self.note(method(name))
        elif isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            self.note(MASKED)
        elif _is_array(value) and size(value) == 0:
            self.note(EMPTY)
        elif type(value).__name__ in ("Series", "DataFrame") and _is_array(value) and _acts(value):
            self.note("a table of functions")

    def compared(self, name: str, left: Any, right: Any) -> Any:
        """An operator of the module `operator` on two values, as in `one == other`. Raises as `meets`."""
        if _is_array(left) or _is_array(right):
            self.meets(left, right)
        return getattr(operator, name)(left, right)

    def meets(self, left: Any, right: Any) -> None:
        """Raise UnlikeSolution if one of two values is empty and the other is not, unless that is allowed."""
        sizes = size(left), size(right)
        if 0 in sizes and None not in sizes and any(sizes):
            self.need(VACUOUS)

    def watch(self) -> None:
        """Have functions that compare arrays ask `meets` first, while this process lives."""
        _watch(np, NUMPY, self)
        _watch(np.testing, NUMPY_TESTING, self)
        if torch := sys.modules.get("torch"):
            _watch(torch, TORCH, self)
            _watch(torch.testing, ("assert_close",), self)


def method(name: str) -> str:
    """The use of a method."""
    return f"the method `{name}`"


def size(value: Any) -> int | None:
    """How many numbers a value consists of, or None for what is no number, list or array.

    >>> size([[], []]), size(np.zeros((0, 3))), size(4.5), size({"a": 1})
    (0, 0, 1, None)
    """
    if type(value).__module__ in ("_pytest.approx", "_pytest.python_api"):
        value = value.expected
    if hasattr(type(value), "_plain"):  # a learner's list or number of a class of their own
        value = value._plain()
    if type(value) in (bool, int, float, complex):
        return 1
    if type(value) in (list, tuple):
        return sum(1 if (inner := size(item)) is None else inner for item in value)
    return int(np.prod(value.shape)) if _is_array(value) else None


def _is_array(value: Any) -> bool:
    """Whether a value is an array, a tensor, or a series or table; a learner's own objects are not asked."""
    library = type(value).__module__.partition(".")[0]
    return library in ("numpy", "torch", "pandas") and isinstance(getattr(value, "shape", None), tuple)


def _acts(table: Any) -> bool:
    """Whether a series or a table holds what can be called."""
    columns = [table] if table.ndim == 1 else [table.iloc[:, k] for k in range(table.shape[1])]
    return any(callable(item) for column in columns if column.dtype == object for item in column)


def _watch(module: Any, names: Iterable[str], uses: Uses) -> None:
    for name in names:
        setattr(module, name, _watched(getattr(module, name), uses))


def _watched(real: Callable[..., Any], uses: Uses) -> Callable[..., Any]:
    @functools.wraps(real)
    def compare(*args: Any, **options: Any) -> Any:
        both = [*args, *options.values()][:2]
        if len(both) == 2:
            uses.meets(*both)
        return real(*args, **options)

    return compare


def allowed(source: str, cell: str, known: dict[str, list[str]] | None) -> list[str] | None:
    """What a test cell may do, of the uses of the solution by cell; None where these are not known.

    What depends on chance may go another way than with the solution: there the uses of all cells count, and
    arrays may be empty.

    >>> allowed("f() == 3", "hw/a", {"hw/a": ["the method `pop`"]}), allowed("f()", "hw/a", None)
    (['the method `pop`'], None)
    """
    if known is None:
        return None
    if CHANCE.search(source) and not SEEDED.search(source):
        return sorted({EMPTY}.union(*known.values()))
    return known.get(cell, [])
