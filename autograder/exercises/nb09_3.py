"""Exercise 9.3: which responses rejection sampling fine-tunes on, when a checker says what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Rng, Unchanged, graded
from autograder.exercise import Exercise, Part, numbers

IDEAS = Ideas("""
kept (): These are not the right responses, one for each path of a problem and `most` of a problem at
    most.
wrong kept (F04): Responses that the checker refused are among the kept ones.
only wrong (F03): You keep what the checker refused. Look at the sign.
repeats (F29): Two right responses of a problem with one path are kept. The second teaches what the first
    did.
across problems: Two problems may well share a path. A path is a repeat within its problem alone.
refused first: A path counts as seen though its first response was refused: a right one with it must be
    kept.
one each: One response of each problem is kept. Up to `most` different paths are asked for.
no limit: A problem gives more than `most` rows: easy problems then fill the batch.
limit of all: `most` is the limit of each problem, not of the table.
limit on responses: The first `most` right responses are looked at, and then repeats go. Different paths
    behind them are lost.
nothing right: Where nothing is right, nothing is kept: an empty list.
""")
NAME, KEEPS, EMPTY = "keep", "keeps what is worth it", "keeps nothing where nothing is right"
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
    """Four problems with 8 responses each, from four paths; two problems share theirs."""
    paths = [((a, "+", b, a + b),) for a, b in rng.integers(2, 40, (8, 2)).tolist()]
    ids, rewards, taken = [], [], []
    for problem in range(4):
        own = paths[:4] if problem < 2 else paths[problem : problem + 4]
        ids += [f"p{problem}"] * 8
        rewards += rng.choice([0.0, 1.0], 8, p=[0.3, 0.7]).tolist()
        taken += [own[k] for k in rng.integers(0, 4, 8)]
    return ids, rewards, taken, int(rng.integers(2, 4))


def shuffled(rng: Rng) -> Table:
    """The rows of a table in any order."""
    ids, rewards, paths, most = table(rng)
    order = rng.permutation(len(ids)).tolist()
    return [ids[k] for k in order], [rewards[k] for k in order], [paths[k] for k in order], most


def _slips(ids: list[str], rewards: list[float], paths: list[Any], most: int) -> dict[str, list[int]]:
    right = [row for row, reward in enumerate(rewards) if reward == 1]
    rows = range(len(ids))

    def first_of(names: list[Any], among: Sequence[int], limit: int = 10**6) -> list[int]:
        kept, count = {}, {}
        for row in among:
            if names[row] not in kept and count.get(ids[row], 0) < limit:
                kept[names[row]] = row
                count[ids[row]] = count.get(ids[row], 0) + 1
        return list(kept.values())

    pairs = list(zip(ids, paths, strict=True))
    unlimited = first_of(pairs, right)
    early = [row for row in right if sum(ids[r] == ids[row] for r in right if r < row) < most]
    return {
        "wrong kept": first_of(pairs, rows, most),
        "only wrong": keep(ids, [1 - reward for reward in rewards], paths, most),
        "repeats": early,
        "across problems": first_of(paths, right, most),
        "refused first": [row for row in first_of(pairs, rows) if rewards[row] == 1],
        "one each": first_of(ids, right),
        "no limit": unlimited,
        "limit of all": unlimited[:most],
        "limit on responses": first_of(pairs, early),
    }


def rows_of(result: Any, *_: Any) -> Any:
    """Row numbers as a sorted list, whatever holds them: a list, an array, a mask of the rows, a set."""
    if isinstance(result, set | range):
        result = sorted(result)
    values = numbers(result)
    if values is None or values.ndim != 1:
        return result
    is_mask = np.asarray(result).dtype.kind == "b"
    return np.flatnonzero(values).tolist() if is_mask else sorted(values.tolist())


EXERCISE = Exercise(
    "9.3",
    "What is worth training on",
    1,
    10,
    (NAME,),
    (
        Part(
            "right and different",
            1.5,
            graded(
                NAME,
                IDEAS,
                Agrees(KEEPS, table, keep, "kept", _slips, 3, apart=0.5, of=rows_of),
                Agrees(KEEPS, shuffled, keep, "kept", _slips, 2, apart=0.5, of=rows_of),
                Corner(EMPTY, (["p0", "p0"], [0.0, 0.0], [(1,), (2,)], 4), [], "nothing right", of=rows_of),
                Unchanged(table),
            ),
        ),
    ),
)
