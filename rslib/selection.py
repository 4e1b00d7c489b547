"""The select stage: which responses are fine-tuned on.

    select(scored, "top_k_per_prompt", k=2, seed=0)    a scored table in, a selected table out
    SELECTORS                                          name -> rule; its keywords are the options

Rows that must not reach a rule are refused or dropped first: rewards that are NaN or infinite, and truncated
responses where the caller says so. Every rule takes a `Pool` and its options and gives row numbers, each
once, in any order. *Ties* are broken at random, never by position: a fixed random number belongs to each
(seed, prompt_id, sample_id). *Order* does not matter: a permuted table gives the same responses.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rslib import tables
from rslib.config import closest, require, unknown_name
from rslib.errors import ConfigError, DataError
from rslib.progress import note

if TYPE_CHECKING:
    from datasets import Dataset

_Selector = Callable[..., np.ndarray]
"""(pool, *, options) -> kept rows, each once, in any order."""


class Pool:
    """What a selector sees: the rows of a scored table as arrays `(rows,)`, all rewards finite."""

    def __init__(self, table: Dataset, seed: int = 0) -> None:
        self.table, self.seed = table, int(seed)
        self.prompts = tables.rows_of(table).prompt.copy()

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
        return (rows.words if rows.lengths is None else rows.lengths).copy()  # a rule may write on its pool

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


# The stage ----------------------------------------------------------------------------------------------

SELECTORS: dict[str, _Selector | str] = {
    "best_of_n": best_of_n,
    "top_k_per_prompt": top_k_per_prompt,
    "unique": unique,
    "top_fraction": top_fraction,
    "threshold": threshold,
    "percentile": percentile,
    "decidable": decidable,
    "random": random,
    "random_overall": random_overall,
    "worst": worst,
    "all": everything,
    "acceptance": "rslib.more_selectors:acceptance",
    "soft_best_of_n": "rslib.more_selectors:soft_best_of_n",
    "best_of_poisson": "rslib.more_selectors:best_of_poisson",
    "pessimistic": "rslib.more_selectors:pessimistic",
    "self_consistency": "rslib.more_selectors:self_consistency",
    "minimum_bayes_risk": "rslib.more_selectors:minimum_bayes_risk",
    "ensemble": "rslib.more_selectors:ensemble",
    "length_controlled": "rslib.more_selectors:length_controlled",
    "reference": "rslib.more_selectors:reference",
    "replay": "rslib.more_selectors:replay",
}
"""Name -> selector, or where it is loaded from; its keyword arguments are the options."""

_WIDENERS = {
    "reference": "rslib.more_selectors:add_references",
    "replay": "rslib.more_selectors:merge_rounds",
}
"""Name -> where to load what puts further rows into the pool before that selector looks at it."""


def selector_of(name: str) -> _Selector:
    """The function of a name in SELECTORS."""
    selector = SELECTORS[name]
    return pkgutil.resolve_name(selector) if isinstance(selector, str) else selector


def select(
    scored: Dataset,
    selector: str = "best_of_n",
    *,
    seed: int = 0,
    on_nan: str = "raise",
    truncated: str = "keep",
    **options: Any,
) -> Dataset:
    """The rows of a scored table that the selector keeps, as a table; prompts in the order of `scored`.

    selector   a name in SELECTORS; its options are the keywords of `selector_of(name)`, whose docstring says
               what it keeps (docs/selectors.md has all in a table).
    on_nan     "raise": a reward that is missing, NaN or infinite is an error. "drop": such rows are left out
               and a printed line says how many.
    truncated  "keep", or "drop": responses with finish_reason "length" are left out first. A prompt of which
               no row is left drops out; a printed line counts rows and prompts.

    Raises ConfigError for an unknown selector or option (with the closest name) or a missing one, DataError
    ("no reward column: run score first") as `tables.check_scored` and when nothing is left or kept,
    RewardError for NaN and infinite rewards.
    """
    check_selector(selector, options)
    if selector in _WIDENERS:
        widen = pkgutil.resolve_name(_WIDENERS[selector])
        scored = widen(scored, **{name: options.pop(name) for name in _options_of(widen)})
    pool = Pool(usable_rows(scored, on_nan=on_nan, truncated=truncated), seed)
    rows = selector_of(selector)(pool, **options)
    if not len(rows):
        span = f"{pool.rewards.min():.4g} to {pool.rewards.max():.4g}"
        raise DataError(
            f"the selector '{selector}' kept none of {len(pool)} rows",
            where=f"rewards from {span}",
            fix="Loosen its options.",
        )
    return tables.take(pool.table, rows[np.lexsort((rows, pool.prompts[rows]))])


def check_selector(selector: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for an unknown selector, an unknown option, or a missing one.

    >>> check_selector("top_k_per_prompt", {"k": 2})
    """
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS, "select")
    known = _options_of(selector_of(selector))
    if selector in _WIDENERS:
        known |= _options_of(pkgutil.resolve_name(_WIDENERS[selector]))
    given = set(options or {}) - {"on_nan", "truncated"}
    where = f"select(scored, '{selector}', ...)"
    allowed = f"Options of '{selector}': {', '.join(known) or 'none'}."
    for name in sorted(given - set(known)):
        near = closest(name, known)
        hint = f"Did you mean '{near}'? " if near else ""
        raise ConfigError(f"unknown option '{name}'", where=where, fix=hint + allowed)
    for name, option in known.items():
        if option.default is inspect.Parameter.empty and name not in given:
            raise ConfigError(f"the option '{name}' is missing", where=where, fix=f"Give it. {allowed}")


def _options_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: option for name, option in parameters.items() if option.kind is option.KEYWORD_ONLY}


def usable_rows(scored: Dataset, *, on_nan: str, truncated: str) -> Dataset:
    """The checked table without the rows that `on_nan` and `truncated` drop; see `select` for both.

    A printed line counts what is dropped. Raises as `select`.
    """
    for name, value, known in (
        ("on_nan", on_nan, ("raise", "drop")),
        ("truncated", truncated, ("keep", "drop")),
    ):
        if value not in known:
            raise unknown_name(f"value of {name}", str(value), known, "select")
    tables.check_scored(scored, finite=on_nan == "raise")
    if on_nan == "drop":
        scored = _without(scored, ~np.isfinite(tables.reward_column(scored)), "without a finite reward")
    if truncated == "drop":
        scored = _without(scored, tables.finish_reasons(scored) == "length", "cut at the length limit")
    return scored


def _without(table: Dataset, bad: np.ndarray, what: str) -> Dataset:
    if not bad.any():
        return table
    if bad.all():
        fix = "Mend the stage before, or keep these rows."
        raise DataError(f"all {len(bad)} responses are {what}", where="select", fix=fix)
    lost = sum(bool(bad[rows].all()) for rows in tables.groups(table).values())
    also = f"; {lost} prompts have none left" if lost else ""
    note(f"select: dropped {int(bad.sum())} of {len(bad)} responses {what}{also}")
    return tables.take(table, np.flatnonzero(~bad))
