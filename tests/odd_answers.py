"""Answers that nobody should give and somebody will: wrong types, NaN, empty, huge, wrong shapes, broken.

`drawn(names, rng, right)` gives one answer: the exercise's names with odd values, odd functions, or the right
values of `right` with one of them made odd.
"""

from __future__ import annotations

import collections
import copy
import datetime
import functools
import itertools
import operator
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch

MOST = 100_000
"""So many values of an endless iterator may be read; who reads on would never have come to an end."""


class Endless:
    """Iterates without end. `read` counts those of which more than MOST values were asked for."""

    read = 0

    def __iter__(self) -> Iterator[int]:
        yield from range(MOST)
        Endless.read += 1
        raise RuntimeError("without end")


def _no(*args: Any, **options: Any) -> Any:
    raise RuntimeError("no")


SPECIAL = """getattr repr str eq ne lt gt len iter next bool contains getitem setitem add sub mul float int
    index complex abs neg round array call format fspath enter reduce_ex deepcopy""".split()
Broken = type("Broken", (), {f"__{name}__": _no for name in SPECIAL} | {"__hash__": None})
"""Raises whatever is asked of it."""


class BrokenDict(dict):
    """A dict that cannot be read."""

    __getitem__ = __iter__ = __len__ = __contains__ = get = items = keys = values = __repr__ = _no


class BrokenList(list):
    """A list that cannot be read."""

    __getitem__ = __iter__ = __len__ = __repr__ = __eq__ = _no
    __hash__ = None


class BrokenFloat(float):
    """A number that cannot be compared."""

    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __sub__ = __rsub__ = __abs__ = __float__ = __repr__ = _no
    __hash__ = None


class Text(str):
    """A text of a class of one's own."""


class Unsayable(ValueError):
    """An error whose text cannot be had."""

    __str__ = __repr__ = _no


# Values, made anew each time: a check may change them -----------------------------------------------------


def _numbers() -> list[Any]:
    plain = [0, 1, -1, 3, 2.5, -0.0, float("nan"), float("inf"), -float("inf"), True, 1e308]
    huge = [10**400, -(10**30), 2**63, Decimal("1e999999"), Decimal("NaN"), Decimal("sNaN"), Fraction(1, 3)]
    numpys = [np.float32(2), np.int64(5), np.float16("nan"), np.bool_(False), np.complex64(1j), np.uint8(255)]
    return [*plain, *huge, *numpys, 1 + 2j, BrokenFloat(2), np.datetime64("NaT"), datetime.timedelta(1)]


def _texts() -> list[Any]:
    words = ["", "x", "A1", "supported", "HIGHER", "1", "nan", "٣", "{0} %s {x}", "<script>", "\n\t"]
    return [*words, "a" * 100_000, "b" * 10_000_000, "\x00\ud800", Text("B2"), b"x", bytearray(3), Path("/")]


def _arrays() -> list[Any]:
    shapes = [np.array([]), np.array(3.0), np.zeros((2, 3)), np.full((3, 4, 5), np.nan), np.zeros((0, 4))]
    kinds = [np.array([None, "a"]), np.array(["a", "b"]), np.array([1, [2], {}], dtype=object)]
    kinds += [
        np.array([1j]),
        np.zeros(2, "i4,f8"),
        np.ma.masked_all(3),
        np.array(["NaT"], "M8[s]"),
        np.matrix(1),
    ]
    return [*shapes, *kinds, np.arange(10_000.0), np.zeros((300, 1000)), np.full(4, 1e308), np.eye(3) > 0]


def _tensors() -> list[Any]:
    plain = [torch.zeros(0), torch.tensor(2.0), torch.zeros(2, 3), torch.full((4,), float("nan"))]
    grad = [torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True) * 2]
    kinds = [torch.eye(2).to_sparse(), torch.zeros(2, device="meta"), torch.ones(2, dtype=torch.bfloat16)]
    return [*plain, *grad, *kinds, torch.tensor([1j]), torch.tensor([True, False]), torch.arange(3)]


DEEP: list[Any] = functools.reduce(lambda inner, _: [inner], range(3000), [])


def _lists() -> list[Any]:
    plain = [[], [[]], [0], [None], [1, "a"], ["a"] * 50, [[1], [2, 3]], list(range(10_000)), [Broken()]]
    loop: list[Any] = [1]
    loop.append(loop)
    rows = [[{}], [{"response": 3}], [("a",)], [(0, 0), (1,)], [{"a": 1}] * 3, [np.zeros(2), np.zeros(3)]]
    return [*plain, *rows, loop, DEEP, [0.0] * 200_000, BrokenList([1, 2]), collections.deque([1]), [10**400]]


def _others() -> list[Any]:
    tuples = [(), (1,), (1, 2, 3), ("a", "b"), (None, None), (float("nan"),) * 3, ([], []), ({}, None)]
    sets = [set(), {1, 2}, frozenset("ab"), range(5), range(10**12), slice(1), memoryview(b"ab"), {}.keys()]
    reads = [iter([1, 2]), (k for k in range(3)), Endless(), map(int, "ab"), reversed([1]), enumerate("a")]
    return [*tuples, *sets, *reads]


def _dicts() -> list[Any]:
    plain = [{}, {"a": None}, {"a": "A1", "b": ["B2"]}, {1: 2}, {None: {}}, {"low": 0, "high": 0}]
    rows = [
        {"difference": float("nan"), "low": None, "high": "x"},
        {"a": {"a": {}}},
        {float("nan"): Broken()},
    ]
    loop: dict[Any, Any] = {}
    loop["a"] = loop
    kinds = [
        BrokenDict(a=1),
        collections.defaultdict(list),
        collections.Counter("aab"),
        types.MappingProxyType({}),
    ]
    return [*plain, *rows, *kinds, loop, {(1, 2): 3, "a": 4}, dict.fromkeys(range(10_000))]


@functools.cache
def _tables() -> list[Any]:
    """Made once: they are dear, and nobody changes them."""
    made = datasets.Dataset.from_dict
    rows = {"prompt": ["a", "b"], "prompt_id": ["1", "2"], "response": ["x", None], "reward": [1.0, None]}
    frames = [pd.DataFrame(), pd.DataFrame(rows), pd.Series([1.0, None]), pd.Series(["a"]), pd.NA, pd.NaT]
    return [
        *frames,
        made({}),
        made({"a": [1]}),
        made(rows),
        made(rows | {"reward": ["x", ""]}),
        pd.Index([1]),
    ]


def _objects() -> list[Any]:
    things = [object(), Broken(), int, np, len, Broken, None, ..., Endless, ValueError("x"), Unsayable("y")]
    return [
        *things,
        NotImplemented,
        np.random.default_rng(0),
        types.SimpleNamespace(a=1),
        torch.nn.Linear(1, 1),
    ]


KINDS = (_numbers, _texts, _arrays, _tensors, _lists, _others, _dicts, _tables, _objects)


def _odd(rng: np.random.Generator) -> Any:
    values = KINDS[rng.integers(len(KINDS))]()
    return values[rng.integers(len(values))]


# Functions ------------------------------------------------------------------------------------------------


def _raises(error: BaseException) -> Callable[..., Any]:
    def function(*args: Any, **options: Any) -> Any:
        raise error

    return function


def _generator(*args: Any, **options: Any) -> Any:
    yield 1


async def _later(*args: Any) -> int:
    return 1


def _itself(*args: Any) -> Any:
    return _itself(*args)


def _changes(*args: Any, **options: Any) -> Any:
    """Takes its first argument apart."""
    for value in args:
        if isinstance(value, list | dict):
            value.clear()
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value[...] = np.nan
    return args[0] if args else None


def _loud(*args: Any) -> int:
    warnings.warn("odd", stacklevel=1)
    print("odd", file=sys.stderr)
    return 0


ERRORS = (ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError, MemoryError, StopIteration)
RAISED = [
    *(kind("odd") for kind in ERRORS),
    SystemExit(1),
    GeneratorExit(),
    Unsayable(),
    ValueError("x" * 10**6),
]
RAISED += [ValueError(object()), KeyError(Broken()), OSError(2, "odd"), StopAsyncIteration(), Warning("odd")]
FUNCTIONS: list[Callable[..., Any]] = [
    *map(_raises, RAISED),
    *(
        _generator,
        _later,
        _itself,
        _changes,
        _loud,
        print,
        dict,
        sum,
        np.mean,
        Broken,
        torch.tensor,
        np.array,
    ),
    *(lambda: 1, lambda a: a, lambda a, b, c, d, e, f, g, h: 1, lambda *args: args, lambda *args: None),
    lambda *args: args[0] if args else None,
    lambda *args: args[-1] if args else None,
    lambda *args: [args] * 3,
    lambda *args: np.asarray(args[0]) * 2 if args else 0,
    lambda *args: np.random.default_rng().random(np.random.default_rng().integers(4)),
    functools.partial(operator.mul, 2),
]


def _odd_function(rng: np.random.Generator) -> Callable[..., Any]:
    if rng.random() < 0.5:
        return FUNCTIONS[rng.integers(len(FUNCTIONS))]
    value = _odd(rng)
    return lambda *args, **options: value


# Answers --------------------------------------------------------------------------------------------------


def drawn(names: tuple[str, ...], rng: np.random.Generator, right: Mapping[str, Any]) -> dict[str, Any]:
    """An odd answer to an exercise with these names; mostly of the kind that the right one has."""
    functions = any(callable(right.get(name)) for name in names)
    kind = rng.choice(5, p=(0.1, 0.4, 0.05, 0.15, 0.3) if functions else (0.1, 0.05, 0.2, 0.2, 0.45))
    if kind < 3:
        return {name: (_odd, _odd_function, _odd_structure)[kind](rng) for name in names}
    answer = {name: right[name] for name in names if name in right}
    name = names[rng.integers(len(names))]
    odd = _odd_function if callable(answer.get(name)) else _odd
    answer[name] = odd(rng) if kind == 3 else _bent(answer.get(name), rng)
    return answer


KEYS = ("a", "b", "c", "A", "B", "best", "random", "all", "ppo", "rloo", "tiny", 2, 3, 0.7, "team", "gold")
"""Keys that exercises ask for."""


def _odd_structure(rng: np.random.Generator) -> Any:
    """A dict or list of odd values."""
    if rng.random() < 0.3:
        return [_odd(rng) for _ in range(rng.integers(1, 6))]
    return {KEYS[k]: _odd(rng) for k in rng.choice(len(KEYS), rng.integers(1, 8), replace=False)}


def _bent(value: Any, rng: np.random.Generator) -> Any:
    """A right value with one of its leaves made odd, its texts in other case, or its shape changed."""
    if callable(value):
        return _bent_function(value, rng)
    if isinstance(value, str):
        others = [
            value.upper(),
            value.title(),
            f" {value}\n",
            value * 50,
            [value],
            value.encode(),
            value[:-1],
        ]
        return others[rng.integers(len(others))]
    if isinstance(value, dict) and value:
        key = list(value)[rng.integers(len(value))]
        bent = value | {key: _odd(rng) if rng.random() < 0.5 else _bent(value[key], rng)}
        return bent if rng.random() < 0.8 else {k: v for k, v in bent.items() if k != key}
    if isinstance(value, list | tuple) and value:
        place = rng.integers(len(value))
        leaf = _odd(rng) if rng.random() < 0.5 else _bent(value[place], rng)
        bent = [leaf if k == place else v for k, v in enumerate(value)]
        return type(value)(bent) if type(value) in (list, tuple) else bent
    if isinstance(value, np.ndarray | torch.Tensor) and value.ndim:
        return _bent_array(value, rng)
    return _bent_table(value, rng) if isinstance(value, datasets.Dataset) else _odd(rng)


def _bent_array(value: Any, rng: np.random.Generator) -> Any:
    """A right array or tensor in another shape or of another kind."""
    numbers = value.detach().numpy() if isinstance(value, torch.Tensor) else value
    others = [value[:-1], value[None], value.reshape(-1)[::2], value * float("nan"), value + 0j]
    others += [
        numbers.astype(object),
        numbers.astype(str),
        iter(numbers),
        torch.as_tensor(numbers).to_sparse(),
    ]
    return others[rng.integers(len(others))]


def _bent_table(table: datasets.Dataset, rng: np.random.Generator) -> Any:
    """A right table without a column, without rows, with rows in other places or with an odd column."""
    column, kind = table.column_names[rng.integers(len(table.column_names))], rng.integers(5)
    if kind < 3:
        rows = [range(0), range(0, len(table), 2), rng.permutation(len(table))][kind]
        return table.select(rows)
    rest = table.remove_columns(column)
    fills = [None, 0.5, "x", float("nan"), [1], -1, 10**12]
    return rest if kind == 3 else rest.add_column(column, [fills[rng.integers(len(fills))]] * len(table))


def _bent_function(function: Callable[..., Any], rng: np.random.Generator) -> Callable[..., Any]:
    """A right function whose result is odd, bent, or odd now and then."""
    kind, value, seed, calls = rng.integers(5), _odd(rng), int(rng.integers(2**31)), itertools.count()
    every = int(rng.integers(1, 4))

    def bent(*args: Any, **options: Any) -> Any:
        if kind == 0 and next(calls) % every == every - 1:
            return value
        result = function(*args, **options)
        if kind == 1:
            return [result]
        if kind == 2:
            return _bent(copy.deepcopy(result), np.random.default_rng(seed))
        return (result, result) if kind == 3 else str(result) if kind == 4 else result

    return bent
