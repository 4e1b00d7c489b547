"""What 9.3 and 9.5 share: the rows that rejection sampling keeps, and a table to keep them of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.checks import Rng
from autograder.exercise import UNREADABLE, numbers

Table = tuple[list[str], list[float], list[Any], int]


def keep(prompt_ids: Sequence[str], rewards: Sequence[float], paths: Sequence[Any], most: int) -> list[int]:
    """Row numbers, in order: right, a new path of their problem, and `most` of a problem at most."""
    seen: dict[str, set[Any]] = {}
    rows = []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths, strict=True)):
        known = seen.setdefault(problem, set())
        if reward == 1 and path not in known and len(known) < most:
            known.add(path)
            rows.append(row)
    return rows


def table(rng: Rng) -> Table:
    """Four problems with 8 responses each, from four paths; two problems share theirs, one is right once."""
    paths = [((a, "+", b, a + b),) for a, b in rng.integers(2, 40, (8, 2)).tolist()]
    ids, rewards, taken = [], [], []
    for problem in range(4):
        own = paths[:4] if problem < 2 else paths[problem : problem + 4]
        ids += [f"p{problem}"] * 8
        few = rng.permutation([1.0] + [0.0] * 7)  # fewer right rows than `most`
        rewards += (few if problem == 3 else rng.choice([0.0, 1.0], 8, p=[0.3, 0.7])).tolist()
        taken += [own[k] for k in rng.integers(0, 4, 8)]
    return ids, rewards, taken, int(rng.integers(2, 4))


def row_numbers(result: Any) -> np.ndarray | None:
    """What a list, an array, a set or a range holds, as float64; None for anything else."""
    try:
        return numbers(list(result) if isinstance(result, set | range) else result)
    except UNREADABLE:  # a range of more numbers than there is room for
        return None


def rows_of(result: Any, *_: Any) -> Any:
    """Row numbers as a sorted list, whatever holds them: a list, an array, a set."""
    values = row_numbers(result)
    return result if values is None or values.ndim != 1 else sorted(values.tolist())
