"""Exercise 9.3: which responses rejection sampling fine-tunes on, when a checker says what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autograder.checks import Agrees, Corner, Ideas, Rng, Unchanged, graded
from autograder.exercise import Exercise, Part
from autograder.exercises.kept_rows import Table, keep, rows_of, table

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
