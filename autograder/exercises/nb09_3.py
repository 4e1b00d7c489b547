"""Exercise 9.3: which responses rejection sampling fine-tunes on, when a checker says what is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Rng, Unchanged, graded
from autograder.exercise import Exercise, Part, require, short
from autograder.exercises.kept_rows import Table, keep, row_numbers, rows_of, table

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
refused counted (refused first): A path counts as seen though its first response was refused: a right one with
    it must be kept.
one too many (no limit): A problem gives one row more than `most`.
shorter first (later first): Of several candidates those with the shortest paths are kept. The earlier
    rows are asked for.
later first: Of several candidates the later rows are kept. The earlier ones are asked for.
later repeat (later first): Of several right responses with one path the last is kept. The first one is asked
    for.
from 1 (off by one): Rows are counted from 1. The first row has the number 0.
neighbours: What was seen of a problem is forgotten when another one comes in between.
as long (repeats): Two paths of one length are taken for the same. Compare their equations.
in any order: Two paths with the same equations in another order are taken for the same. A path is a tuple:
    its order is part of it.
numbers (rows): The numbers of the rows are asked for, 0 for the first: the cells below take rows by number.
nothing right: Where nothing is right, nothing is kept: an empty list.
""")
NAME, KEEPS, EMPTY = "keep", "keeps what is worth it", "keeps nothing where nothing is right"


def shuffled(rng: Rng) -> Table:
    """The rows of a table in any order."""
    ids, rewards, paths, most = table(rng)
    order = rng.permutation(len(ids)).tolist()
    return [ids[k] for k in order], [rewards[k] for k in order], [paths[k] for k in order], most


def longer(table_of: Callable[[Rng], Table], rng: Rng) -> Table:
    """A table whose paths have one to three equations; some have the same in another order."""
    ids, rewards, paths, most = table_of(rng)
    names = list(dict.fromkeys(paths))
    steps = [step for (step,) in names]
    long = [(steps[0],), (steps[0], steps[1]), (steps[1], steps[0]), (steps[1],)]
    long += [(steps[k], steps[k - 1], steps[k - 2]) for k in range(2, len(steps))]
    renamed = dict(zip(names, long, strict=False))
    return ids, rewards, [renamed[path] for path in paths], most


def numbered(result: Any, *_: Any) -> Any:
    """Row numbers as a sorted list; a mask of the rows, or anything but numbers, is none."""
    values = row_numbers(result)
    empty = isinstance(result, list | tuple | set | range) and not result
    mask = values is not None and values.size and np.asarray(result).dtype.kind == "b"
    good = empty or (values is not None and values.ndim == 1 and not mask)
    require(good, KEEPS, IDEAS["numbers"], got=short(result))
    return [] if empty else rows_of(result)


TURNED = [((2, "+", 3, 5), (9, "-", 5, 4)), ((9, "-", 5, 4), (2, "+", 3, 5))]
"""Two paths with the same equations, each in another order."""


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
    recent = [
        f"{p} {sum(a != b for a, b in zip(ids[:r], ids[1 : r + 1], strict=True))}" for r, p in enumerate(ids)
    ]
    reverse = list(reversed(range(len(ids))))
    backwards = keep(*([values[r] for r in reverse] for values in (ids, rewards, paths)), most)
    new, last = set(first_of(pairs, rows)), {pairs[row]: row for row in right}
    return {
        "refused counted": keep(
            ids, [float(reward == 1 and r in new) for r, reward in enumerate(rewards)], paths, most
        ),
        "one too many": keep(ids, rewards, paths, most + 1),
        "later first": sorted(reverse[r] for r in backwards),
        "later repeat": sorted(last[pairs[row]] for row in keep(ids, rewards, paths, most)),
        "shorter first": sorted(_shorter_first(unlimited, ids, paths, most)),
        "from 1": [row + 1 for row in keep(ids, rewards, paths, most)],
        "neighbours": keep(recent, rewards, paths, most),
        "as long": keep(ids, rewards, [len(path) for path in paths], most),
        "in any order": keep(ids, rewards, [frozenset(path) for path in paths], most),
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


def _shorter_first(rows: list[int], ids: list[str], paths: list[Any], most: int) -> list[int]:
    """The rows of each problem with its shortest paths."""
    return [
        row
        for problem in dict.fromkeys(ids)
        for row in sorted((r for r in rows if ids[r] == problem), key=lambda r: len(paths[r]))[:most]
    ]


def _known(ids: list[str], rewards: list[float], paths: list[Any], most: int) -> dict[str, list[int]]:
    """The wrong ideas that give other rows here: an idea may not matter to a table."""
    right = keep(ids, rewards, paths, most)
    return {name: rows for name, rows in _slips(ids, rewards, paths, most).items() if sorted(rows) != right}


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
                Agrees(KEEPS, partial(longer, table), keep, "kept", _known, 3, apart=0.5, of=numbered),
                Agrees(KEEPS, partial(longer, shuffled), keep, "kept", _known, 2, apart=0.5, of=numbered),
                Corner(KEEPS, (["p0"] * 2, [1.0] * 2, TURNED, 4), [0, 1], "in any order", of=numbered),
                Corner(EMPTY, (["p0", "p0"], [0.0, 0.0], [(1,), (2,)], 4), [], "nothing right", of=numbered),
                Unchanged(table),
            ),
        ),
    ),
)
