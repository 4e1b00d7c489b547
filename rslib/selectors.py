"""The rules of selection: each maps a pool, and its options, to the rows that are kept.

Every rule takes a `Pool` and gives row numbers, each once, in any order. *Ties* are broken at random, never
by position: a fixed random number belongs to each (seed, prompt_id, sample_id). *Order* does not matter: a
permuted table gives the same responses. *NaN and infinite rewards* never get here: `selection.select`
refuses or drops them.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rslib import tables
from rslib.config import require

if TYPE_CHECKING:
    from datasets import Dataset


class Pool:
    """What a selector sees: the rows of a scored table as arrays `(rows,)`, all rewards finite."""

    def __init__(self, table: Dataset, seed: int = 0) -> None:
        self.table, self.seed = table, int(seed)
        self.prompts = tables.rows_of(table).prompt

    def __len__(self) -> int:
        return len(self.table)

    @functools.cached_property
    def rewards(self) -> np.ndarray:
        """The rewards, float64 `(rows,)`."""
        return tables.reward_column(self.table)

    def random_keys(self, purpose: str) -> np.ndarray:
        """One number in (0, 1) per row, uniform, fixed by seed, purpose, prompt_id, sample_id (and round)."""
        keys = tables.rows_of(self.table).keys
        digests = (hashlib.blake2b(repr((self.seed, purpose, *key)).encode(), digest_size=8) for key in keys)
        numbers = np.array([int.from_bytes(digest.digest(), "little") >> 11 for digest in digests])
        return (numbers + 0.5) * 2.0**-53

    @functools.cached_property
    def texts(self) -> np.ndarray:
        """Number of each row's response text: equal texts of the whole pool share a number."""
        return np.unique(np.array(self.table["response"][:], dtype=object), return_inverse=True)[1]

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each response; words where the table has no token_ids."""
        rows = tables.rows_of(self.table)
        return rows.words if rows.lengths is None else rows.lengths

    def per_prompt(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """`ufunc` (np.maximum, np.add, ...) over the rows of each prompt, one number per prompt `(M,)`."""
        order = np.argsort(self.prompts, kind="stable")
        return ufunc.reduceat(values[order], np.searchsorted(self.prompts[order], np.arange(self.size)))

    @property
    def size(self) -> int:
        """Number of prompts, M."""
        return int(self.prompts.max()) + 1

    def best(self, values: np.ndarray, k: int = 1, among: np.ndarray | None = None) -> np.ndarray:
        """Rows of the k highest `values` of each prompt, of the rows `among` if given; ties at random."""
        rows = np.arange(len(self)) if among is None else among
        keys = self.random_keys("ties")
        rows = rows[np.lexsort((keys[rows], -values[rows], self.prompts[rows]))]
        prompts = self.prompts[rows]
        rank = np.arange(len(rows)) - np.searchsorted(prompts, prompts)
        return rows[rank < k]


def pool_of(rewards: ArrayLike, seed: int = 0, **columns: Sequence[Any]) -> Pool:
    """A pool with the given `rewards (M, n)`, for trying a selector by hand; rows count line by line.

    >>> pool_of([[1.0, 3.0], [5.0, 4.0]]).prompts.tolist()
    [0, 0, 1, 1]
    """
    from datasets import Dataset

    rewards = np.atleast_2d(np.asarray(rewards, dtype=float))
    prompts, n = rewards.shape
    numbers = range(prompts * n)
    table = {
        "prompt_id": [f"p{number // n}" for number in numbers],
        "prompt": [f"prompt {number // n}" for number in numbers],
        "sample_id": [number % n for number in numbers],
        "response": [f"response {number}" for number in numbers],
        "reward": rewards.ravel().tolist(),
    }
    return Pool(Dataset.from_dict(table | columns), seed)


# Selectors that keep the best --------------------------------------------------------------------------


def best_of_n(pool: Pool) -> np.ndarray:
    """The response with the highest reward of each prompt. Ties at random; only the order of rewards counts.

    >>> best_of_n(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])).tolist()
    [1, 3]
    """
    return pool.best(pool.rewards)


def top_k_per_prompt(pool: Pool, *, k: int) -> np.ndarray:
    """The k highest rewards of each prompt, all where a prompt has fewer. Ties at the border at random.

    >>> sorted(top_k_per_prompt(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), k=2).tolist())
    [1, 2, 3, 4]
    """
    return pool.best(pool.rewards, check_count(k, "k"))


def unique(pool: Pool, *, k: int) -> np.ndarray:
    """The k highest rewards of each prompt among its distinct texts; fewer where it has fewer texts.

    A text is represented by its row of the highest reward. Ties at random.

    >>> pool = pool_of([[3.0, 3.0, 2.0]], response=["same", "same", "other"])
    >>> len(unique(pool, k=3))
    2
    """
    return pool.best(pool.rewards, check_count(k, "k"), among=_distinct(pool))


def top_fraction(pool: Pool, *, fraction: float) -> np.ndarray:
    """The highest rewards of the whole pool, ceil(fraction x rows) of them; ties at the border at random.

    Prompts compete with each other: easy ones crowd out hard ones, so look at the coverage (F29).

    >>> sorted(top_fraction(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), fraction=1 / 3).tolist())
    [3, 4]
    """
    check_number(fraction, "fraction", above=0, at_most=1)
    return np.lexsort((pool.random_keys("ties"), -pool.rewards))[: _ceil(fraction * len(pool))]


def threshold(pool: Pool, *, minimum: float) -> np.ndarray:
    """Every reward >= minimum, whatever its prompt; ties do not matter. Hard prompts may vanish (F30).

    >>> threshold(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), minimum=3.0).tolist()
    [1, 3, 4]
    """
    check_number(minimum, "minimum")
    return np.flatnonzero(pool.rewards >= minimum)


def percentile(pool: Pool, *, percentile: float, round: int = 1, rise: float = 0.0) -> np.ndarray:
    """Every reward at or above its own prompt's percentile, 0 to 100; between two rewards the higher counts.

    The bar is `percentile + rise * (round - 1)`, at most 100, so that it can rise from round to round as in
    ReST (arXiv 2308.08998). Each prompt keeps at least its best; rewards that tie at the bar are all kept.

    >>> sorted(percentile(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), percentile=50).tolist())
    [1, 2, 3, 4]
    """
    check_number(percentile, "percentile", at_least=0, at_most=100)
    check_number(rise, "rise", at_least=0)
    bar = min(100.0, percentile + rise * (check_count(round, "round") - 1))
    return np.concatenate([_above(pool, rows, bar / 100) for rows in tables.groups(pool.table).values()])


def _above(pool: Pool, rows: np.ndarray, share: float) -> np.ndarray:
    rewards = pool.rewards[rows]
    return rows[rewards >= np.sort(rewards)[_ceil(share * (len(rows) - 1))]]


def decidable(pool: Pool, *, tolerance: float = 0.0) -> np.ndarray:
    """Best-of-n, only for prompts whose rewards differ by more than `tolerance`; the others drop out.

    Where all rewards are alike the reward model has no opinion. Ties at random.

    >>> decidable(pool_of([[1.0, 3.0], [4.0, 4.0]])).tolist()
    [1]
    """
    check_number(tolerance, "tolerance", at_least=0)
    spread = pool.per_prompt(np.maximum, pool.rewards) - pool.per_prompt(np.minimum, pool.rewards)
    return pool.best(pool.rewards, among=np.flatnonzero((spread > tolerance)[pool.prompts]))


# Controls ----------------------------------------------------------------------------------------------


def random(pool: Pool, *, k: int = 1, like: Dataset | None = None) -> np.ndarray:
    """Random responses, k of each prompt or all where it has fewer; rewards are not looked at.

    The control of best-of-n. With `like`, a selected table, as many of each prompt as that one has: the
    control of any selector. Its random numbers are independent of those that break ties elsewhere.

    >>> len(random(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])))
    2
    """
    keys = pool.random_keys("random")
    if like is None:
        return pool.best(keys, check_count(k, "k"))
    wanted = {prompt_id: len(rows) for prompt_id, rows in tables.groups(like).items()}
    groups = tables.groups(pool.table).items()
    kept = [rows[np.argsort(keys[rows])][: wanted.get(prompt_id, 0)] for prompt_id, rows in groups]
    return np.concatenate(kept)


def random_overall(pool: Pool, *, count: int) -> np.ndarray:
    """`count` random rows of the whole pool, whatever their prompts and ties: the control of `top_fraction`.

    Raises ConfigError when the pool has fewer rows.

    >>> len(random_overall(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), count=4))
    4
    """
    fix = f"The pool has {len(pool)} rows: ask for at most that many."
    require(check_count(count, "count") <= len(pool), f"count is {count}", "random_overall", fix)
    return np.argsort(pool.random_keys("random"))[:count]


def worst(pool: Pool) -> np.ndarray:
    """The response with the lowest reward of each prompt: best-of-n with a wrong sign (F03). Ties at random.

    >>> worst(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])).tolist()
    [0, 5]
    """
    return pool.best(-pool.rewards)


def everything(pool: Pool) -> np.ndarray:
    """All rows, ties and all: no selection (F02).

    >>> everything(pool_of([[1.0, 3.0]])).tolist()
    [0, 1]
    """
    return np.arange(len(pool))


# Helpers -------------------------------------------------------------------------------------------------


def _distinct(pool: Pool) -> np.ndarray:
    """One row for each text of a prompt: the one of the highest reward, ties at random."""
    order = np.lexsort((pool.random_keys("ties"), -pool.rewards, pool.prompts))
    keys = pool.prompts[order] * (int(pool.texts.max()) + 1) + pool.texts[order]
    return order[np.unique(keys, return_index=True)[1]]


def _ceil(value: float) -> int:
    return math.ceil(round(value, 6))  # 0.1 * 30 is meant to be 3, not 3.0000000000000004


def check_count(value: Any, name: str) -> int:
    """The option `name` as an int. Raises ConfigError unless it is a whole number >= 1."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    require(whole and value >= 1, f"{name} is {value!r}", f"select(..., {name}=)", "Use a whole number >= 1.")
    return int(value)


def check_number(
    value: Any,
    name: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> None:
    """Raise ConfigError unless the option `name` is a finite number within its bounds."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    good = number and math.isfinite(value) and value > above and at_least <= value <= at_most
    bounds = [f"> {above:g}"] if above > -math.inf else []
    bounds += [f">= {at_least:g}"] if at_least > -math.inf else []
    bounds += [f"<= {at_most:g}"] if at_most < math.inf else []
    fix = " ".join(["Use a finite number", " and ".join(bounds)]).strip() + "."
    require(good, f"{name} is {value!r}", f"select(..., {name}=)", fix)
