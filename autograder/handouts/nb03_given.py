"""What exercises 3.3 and 3.4 hand out: a seed of one's own, the sizes, and how their answers are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autograder.exercise import Variant

NS = (1, 2, 4, 8, 16, 32, 64, 128)
TEMPERATURES = (0.3, 0.7, 1.0, 1.3, 1.7)
SWEEP_NS = (1, 2, 4, 8, 16, 32)
SWEEP_PROMPTS = 32
CHOSEN_N = 16
"""The n that the temperature of 3.4 is chosen for."""


def pool(variant: Variant) -> dict[str, Any]:
    """The seed of this learner's pool, and its size."""
    return {
        "seed": int(variant.rng("pool").integers(10_000, 99_999)),
        "prompts": 48,
        "n": NS[-1],
        "ns": list(NS),
    }


def sweep(variant: Variant) -> dict[str, Any]:
    """The temperatures and the n of the table, and the n that the temperature is chosen for."""
    seed = int(variant.rng("sweep").integers(10_000, 99_999))
    return {"temperatures": list(TEMPERATURES), "ns": list(SWEEP_NS), "choose_at": CHOSEN_N, "seed": seed}


def in_floats(
    tables: Mapping[Any, Any], names: Iterable[Any], columns: Sequence[str]
) -> dict[Any, dict[str, list[float]]]:
    """These columns of a learner's tables as lists of floats: tensors, fractions and pandas are right too.

    >>> in_floats({"tiny": {"gold": (1, 2)}}, ["tiny"], ["gold"])
    {'tiny': {'gold': [1.0, 2.0]}}
    """
    return {name: {column: list(map(float, tables[name][column])) for column in columns} for name in names}


def row_of(three: Any) -> dict[str, float]:
    """A learner's (difference, low, high), or a table's row that has them, as a row of floats."""
    keys = ("difference", "low", "high")
    values = [three[key] for key in keys] if isinstance(three, Mapping) else three
    return dict(zip(keys, map(float, values), strict=True))
