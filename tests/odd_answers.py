"""Answers that nobody should give and somebody will: wrong types, NaN, empty, huge, wrong shapes, broken.

`drawn(exercise, rng, right)` gives one answer: the exercise's names with odd values, odd functions, or the
right values of `right` with one of them made odd.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class Broken:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __iter__(self) -> Any:
        raise RuntimeError("no iteration")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    __hash__ = None


class Text(str):
    """A text of a class of one's own."""


def _loop() -> list:
    loop: list = []
    loop.append(loop)
    return loop


def odd_values() -> list[Any]:
    """One of each kind, made anew: a check may change them."""
    import torch

    numbers = [
        0,
        1,
        -1,
        3,
        2.5,
        -0.0,
        float("nan"),
        float("inf"),
        -float("inf"),
        10**400,
        1e308,
        1 + 2j,
        True,
    ]
    texts = ["", "x", "A1", "supported", "HIGHER", "a" * 100_000, "\x00\ud800", "1", Text("B2"), b"x"]
    arrays = [
        np.array([]),
        np.array(3.0),
        np.zeros((2, 3)),
        np.full((3, 4, 5), np.nan),
        np.array([None, "a"]),
        np.array(["a", "b"]),
        np.float32(2),
        np.int64(5),
        np.zeros((0, 4)),
        np.arange(10_000.0),
        torch.zeros(0),
        torch.tensor(2.0),
        torch.zeros(2, 3),
        torch.full((4,), float("nan")),
    ]
    lists = [[], [[]], [0], [None], [1, "a"], ["a"] * 50, [[1], [2, 3]], list(range(10_000)), _loop()]
    lists += [[{}], [{"response": 3}], [("a",)], [(0, 0), (1,)], [Broken()]]
    others = [(), (1,), (1, 2, 3), ("a", "b"), (None, None), (float("nan"),) * 3, set(), {1, 2}, range(5)]
    dicts = [{}, {"a": None}, {"a": "A1", "b": ["B2"]}, {1: 2}, {None: {}}, {"low": 0, "high": 0}]
    dicts += [{"difference": float("nan"), "low": None, "high": "x"}, {"a": {"a": {}}}]
    objects = [iter([1, 2]), (k for k in range(3)), object(), Broken(), int, np, len, Broken, None, ...]
    return [*numbers, *texts, *arrays, *lists, *others, *dicts, *objects]


def _raises(kind: type[BaseException]) -> Callable[..., Any]:
    def function(*args: Any, **options: Any) -> Any:
        raise kind("odd")

    return function


def _generator(*args: Any, **options: Any) -> Any:
    yield 1


def _first(*args: Any, **options: Any) -> Any:
    return args[0] if args else None


def _changes(*args: Any, **options: Any) -> Any:
    """Takes its first argument apart."""
    for value in args:
        if isinstance(value, list | dict):
            value.clear()
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value[...] = np.nan
    return args[0] if args else None


ERRORS = (ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError, MemoryError, StopIteration)
FUNCTIONS: list[Callable[..., Any]] = [
    *map(_raises, ERRORS),
    *(_generator, _first, _changes, print, dict, sum, np.mean),
    *(lambda: 1, lambda a: a, lambda a, b, c, d, e, f, g, h: 1, lambda *args: args, lambda *args: None),
    lambda *args: [args] * 3,
    lambda *args: np.asarray(args[0]) * 2 if args else 0,
]


def drawn(
    names: tuple[str, ...], rng: np.random.Generator, right: Mapping[str, Any] | None
) -> dict[str, Any]:
    """An odd answer to an exercise with these names."""
    kind = rng.integers(5 if right else 3)
    if kind < 3:
        return {name: (_odd, _odd_function, _odd_structure)[kind](rng) for name in names}
    answer = {name: right[name] for name in names if name in right}
    name = names[rng.integers(len(names))]
    answer[name] = _odd(rng) if kind == 3 else _bent(answer.get(name), rng)
    return answer


def _odd(rng: np.random.Generator) -> Any:
    values = odd_values()
    return values[rng.integers(len(values))]


def _odd_function(rng: np.random.Generator) -> Callable[..., Any]:
    if rng.random() < 0.5:
        return FUNCTIONS[rng.integers(len(FUNCTIONS))]
    value = _odd(rng)
    return lambda *args, **options: value


def _odd_structure(rng: np.random.Generator) -> Any:
    """A dict or list of odd values, with keys that exercises ask for."""
    keys = [
        "a",
        "b",
        "c",
        "A",
        "B",
        "best",
        "random",
        "all",
        "ppo",
        "rloo",
        "tiny",
        2,
        3,
        0.7,
        "team",
        "gold",
    ]
    if rng.random() < 0.3:
        return [_odd(rng) for _ in range(rng.integers(1, 6))]
    return {keys[k]: _odd(rng) for k in rng.choice(len(keys), rng.integers(1, 8), replace=False)}


def _bent(value: Any, rng: np.random.Generator) -> Any:
    """A right value with one of its leaves made odd, its texts in other case, or its length changed."""
    if callable(value):
        return _bent_function(value, rng)
    if isinstance(value, str):
        return [value.upper(), value.title(), f" {value}\n", value * 50, [value], value.encode()][
            rng.integers(6)
        ]
    if isinstance(value, dict) and value:
        key = list(value)[rng.integers(len(value))]
        bent = value | {key: _odd(rng) if rng.random() < 0.5 else _bent(value[key], rng)}
        return bent if rng.random() < 0.8 else {k: v for k, v in bent.items() if k != key}
    if isinstance(value, list | tuple) and value:
        place = rng.integers(len(value))
        bent = [_odd(rng) if k == place else v for k, v in enumerate(value)]
        return type(value)(bent) if type(value) in (list, tuple) else bent
    return _odd(rng)


def _bent_function(function: Callable[..., Any], rng: np.random.Generator) -> Callable[..., Any]:
    """A right function whose result is odd now and then, or bent."""
    kind, value, seed = rng.integers(4), _odd(rng), int(rng.integers(2**31))

    def bent(*args: Any, **options: Any) -> Any:
        if kind == 0:
            return value
        result = function(*args, **options)
        if kind == 1:
            return [result]
        if kind == 2:
            return _bent(copy.deepcopy(result), np.random.default_rng(seed))
        return str(result)

    return bent
