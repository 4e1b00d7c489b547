"""Which responses are fine-tuned on. A selector is a small function from a pool to the rows that it keeps.

    select(scored, "top_k_per_prompt", k=2, seed=0)    the stage: a scored table in, a selected table out
    SELECTORS                                          name -> function; its keywords are the options
    best_worst_pairs(scored)                           chosen and rejected responses, for preference training
    combine_rewards(scored, [...], "min")              several reward models' columns as one reward
    reference_responses(prompts)                       known-good responses as a table, to be scored

Three rules hold for all of them. *Ties* are broken by lot, never by position: a fair, fixed lot belongs to
each (seed, prompt_id, sample_id). *Order* does not matter: permuting the table permutes nothing but the
order of the prompts in the result, and rows stay in table order within a prompt. *NaN and infinite rewards*
never reach a selector: `select` raises, or drops them and says so.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rslib import tables
from rslib.config import closest, require, unknown_name
from rslib.errors import ConfigError, DataError
from rslib.progress import note
from rslib.prompts import check_prompts

if TYPE_CHECKING:
    from datasets import Dataset


class Pool:
    """What a selector sees: the rows of a scored table as arrays `(rows,)`, all rewards finite."""

    def __init__(self, table: Dataset, seed: int = 0) -> None:
        self.table, self.seed = table, int(seed)
        self.prompts = np.empty(len(table), dtype=np.int64)
        for number, rows in enumerate(tables.groups(table).values()):
            self.prompts[rows] = number

    def __len__(self) -> int:
        return len(self.table)

    @functools.cached_property
    def rewards(self) -> np.ndarray:
        """The rewards, float64 `(rows,)`."""
        return tables.reward_column(self.table)

    def lots(self, purpose: str) -> np.ndarray:
        """One number in (0, 1) per row, uniform, fixed by seed, purpose, prompt_id, sample_id (and round)."""
        named = [name for name in ("prompt_id", "sample_id", "round") if name in self.table.column_names]
        keys = zip(*(self.table[name][:] for name in named), strict=True)
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
        if "token_ids" in self.table.column_names:
            return np.array([len(ids or ()) for ids in self.table["token_ids"][:]], dtype=float)
        return np.array([len(text.split()) for text in self.table["response"][:]], dtype=float)

    def per_prompt(self, ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
        """`ufunc` (np.maximum, np.add, ...) over the rows of each prompt, one number per prompt `(M,)`."""
        order = np.argsort(self.prompts, kind="stable")
        return ufunc.reduceat(values[order], np.searchsorted(self.prompts[order], np.arange(self.size)))

    @property
    def size(self) -> int:
        """Number of prompts, M."""
        return int(self.prompts.max()) + 1

    def best(self, values: np.ndarray, k: int = 1, among: np.ndarray | None = None) -> np.ndarray:
        """Rows of the k highest `values` of each prompt, of the rows `among` if given; ties by lot."""
        rows = np.arange(len(self)) if among is None else among
        lots = self.lots("ties")
        rows = rows[np.lexsort((lots[rows], -values[rows], self.prompts[rows]))]
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


Selector = Callable[..., np.ndarray]
"""(pool, *, options) -> kept rows, each once, in any order."""

SELECTORS: dict[str, Selector] = {}
"""Name -> selector; the keyword arguments of the function are the selector's options."""

_WIDENERS: dict[str, Callable[..., Any]] = {}
"""Name -> what makes the pool larger before that selector looks at it."""


def _selector(name: str, widened_by: Callable[..., Any] | None = None) -> Callable[[Selector], Selector]:
    def register(function: Selector) -> Selector:
        SELECTORS[name] = function
        if widened_by is not None:
            _WIDENERS[name] = widened_by
        return function

    return register


# The stage ----------------------------------------------------------------------------------------------


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

    best_of_n, worst, all, random(k, like), random_overall(count), top_k_per_prompt(k), unique(k),
    top_fraction(fraction), threshold(minimum), percentile(percentile, round, rise), acceptance(beta),
    soft_best_of_n(temperature, k), ensemble(rewards, combine, penalty), length_controlled(within),
    decidable(tolerance), reference(references), replay(earlier, k): SELECTORS holds each with its docstring.

    on_nan     "raise": a reward that is missing, NaN or infinite is an error. "drop": such rows are left out
               and a printed line says how many (`count_nonfinite` counts them).
    truncated  "keep", or "drop": responses with finish_reason "length" are left out first. A prompt of which
               no row is left drops out; a printed line counts rows and prompts.

    Raises ConfigError for an unknown selector or option (with the closest name) or a missing one, DataError
    ("no reward column: run score first") as `tables.check_scored` and when nothing is left or kept,
    RewardError for NaN and infinite rewards.
    """
    check_selector(selector, options)
    widen = _WIDENERS.get(selector)
    if widen is not None:
        names = _options_of(widen)
        scored = widen(scored, **{name: options.pop(name) for name in list(options) if name in names})
    usable = _usable(scored, on_nan=on_nan, truncated=truncated)
    pool = Pool(usable, seed)
    rows = SELECTORS[selector](pool, **options)
    if not len(rows):
        span = f"{pool.rewards.min():.4g} to {pool.rewards.max():.4g}"
        raise DataError(
            f"the selector '{selector}' kept none of {len(pool)} rows",
            where=f"rewards from {span}",
            fix="Loosen its options.",
        )
    return tables.take(usable, rows[np.lexsort((rows, pool.prompts[rows]))])


def check_selector(selector: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for an unknown selector, an unknown option, or a missing one.

    >>> check_selector("top_k_per_prompt", {"k": 2})
    """
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS, "select")
    known = _options_of(SELECTORS[selector])
    known |= _options_of(_WIDENERS[selector]) if selector in _WIDENERS else {}
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


def count_nonfinite(scored: Dataset) -> int:
    """How many rewards are missing, NaN or infinite: what on_nan="drop" leaves out.

    Raises DataError without a reward column.
    """
    return int((~np.isfinite(tables.reward_column(scored))).sum())


def _options_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: one for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY}


def _usable(scored: Dataset, *, on_nan: str, truncated: str) -> Dataset:
    """The checked table without the rows that the caller wants dropped."""
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


# Selectors that keep the best --------------------------------------------------------------------------


@_selector("best_of_n")
def best_of_n(pool: Pool) -> np.ndarray:
    """The response with the highest reward of each prompt. Ties by lot; only the order of rewards counts.

    >>> best_of_n(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])).tolist()
    [1, 3]
    """
    return pool.best(pool.rewards)


@_selector("top_k_per_prompt")
def top_k_per_prompt(pool: Pool, *, k: int) -> np.ndarray:
    """The k highest rewards of each prompt, all of them where a prompt has fewer. Ties at the border by lot.

    >>> sorted(top_k_per_prompt(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), k=2).tolist())
    [1, 2, 3, 4]
    """
    return pool.best(pool.rewards, _count(k, "k"))


@_selector("unique")
def unique(pool: Pool, *, k: int) -> np.ndarray:
    """The k highest rewards of each prompt among its distinct texts; fewer where it has fewer texts.

    A text is represented by its row of the highest reward. Ties by lot.

    >>> pool = pool_of([[3.0, 3.0, 2.0]], response=["same", "same", "other"])
    >>> len(unique(pool, k=3))
    2
    """
    return pool.best(pool.rewards, _count(k, "k"), among=_distinct(pool))


@_selector("top_fraction")
def top_fraction(pool: Pool, *, fraction: float) -> np.ndarray:
    """The highest rewards of the whole pool, ceil(fraction x rows) of them; ties at the border by lot.

    Prompts compete with each other: easy ones crowd out hard ones, so look at the coverage (F29).

    >>> sorted(top_fraction(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), fraction=1 / 3).tolist())
    [3, 4]
    """
    _number(fraction, "fraction", above=0, at_most=1)
    return np.lexsort((pool.lots("ties"), -pool.rewards))[: _ceil(fraction * len(pool))]


@_selector("threshold")
def threshold(pool: Pool, *, minimum: float) -> np.ndarray:
    """Every reward >= minimum, whatever its prompt; ties do not matter. Hard prompts may vanish (F30).

    >>> threshold(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), minimum=3.0).tolist()
    [1, 3, 4]
    """
    _number(minimum, "minimum")
    return np.flatnonzero(pool.rewards >= minimum)


@_selector("percentile")
def percentile(pool: Pool, *, percentile: float, round: int = 1, rise: float = 0.0) -> np.ndarray:
    """Every reward at or above its own prompt's percentile, 0 to 100; between two rewards the higher counts.

    The bar is `percentile + rise * (round - 1)`, at most 100, so that it can rise from round to round as in
    ReST (arXiv 2308.08998). Each prompt keeps at least its best; rewards that tie at the bar are all kept.

    >>> sorted(percentile(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), percentile=50).tolist())
    [1, 2, 3, 4]
    """
    _number(percentile, "percentile", at_least=0, at_most=100)
    _number(rise, "rise", at_least=0)
    bar = min(100.0, percentile + rise * (_count(round, "round") - 1))
    return np.concatenate([_above(pool, rows, bar / 100) for rows in tables.groups(pool.table).values()])


def _above(pool: Pool, rows: np.ndarray, share: float) -> np.ndarray:
    rewards = pool.rewards[rows]
    return rows[rewards >= np.sort(rewards)[_ceil(share * (len(rows) - 1))]]


@_selector("decidable")
def decidable(pool: Pool, *, tolerance: float = 0.0) -> np.ndarray:
    """Best-of-n, only for prompts whose rewards differ by more than `tolerance`; the others drop out.

    Where all rewards are alike the reward model has no opinion. Ties by lot.

    >>> decidable(pool_of([[1.0, 3.0], [4.0, 4.0]])).tolist()
    [1]
    """
    _number(tolerance, "tolerance", at_least=0)
    spread = pool.per_prompt(np.maximum, pool.rewards) - pool.per_prompt(np.minimum, pool.rewards)
    return pool.best(pool.rewards, among=np.flatnonzero((spread > tolerance)[pool.prompts]))


# Controls ----------------------------------------------------------------------------------------------


@_selector("random")
def random(pool: Pool, *, k: int = 1, like: Dataset | None = None) -> np.ndarray:
    """Random responses, k of each prompt or all where it has fewer; rewards are not looked at.

    The control of best-of-n. With `like`, a selected table, as many of each prompt as that one has: the
    control of any selector. Its lots are independent of those that break ties elsewhere.

    >>> len(random(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])))
    2
    """
    lots = pool.lots("random")
    if like is None:
        return pool.best(lots, _count(k, "k"))
    wanted = {prompt_id: len(rows) for prompt_id, rows in tables.groups(like).items()}
    groups = tables.groups(pool.table).items()
    kept = [rows[np.argsort(lots[rows])][: wanted.get(prompt_id, 0)] for prompt_id, rows in groups]
    return np.concatenate(kept)


@_selector("random_overall")
def random_overall(pool: Pool, *, count: int) -> np.ndarray:
    """`count` random rows of the whole pool, whatever their prompts and ties: the control of `top_fraction`.

    Raises ConfigError when the pool has fewer rows.

    >>> len(random_overall(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), count=4))
    4
    """
    fix = f"The pool has {len(pool)} rows: ask for at most that many."
    require(_count(count, "count") <= len(pool), f"count is {count}", "random_overall", fix)
    return np.argsort(pool.lots("random"))[:count]


@_selector("worst")
def worst(pool: Pool) -> np.ndarray:
    """The response with the lowest reward of each prompt: best-of-n with the sign wrong (F03). Ties by lot.

    >>> worst(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]])).tolist()
    [0, 5]
    """
    return pool.best(-pool.rewards)


@_selector("all")
def everything(pool: Pool) -> np.ndarray:
    """All rows, ties and all: no selection (F02).

    >>> everything(pool_of([[1.0, 3.0]])).tolist()
    [0, 1]
    """
    return np.arange(len(pool))


# Selectors that follow a law -----------------------------------------------------------------------------


@_selector("acceptance")
def acceptance(pool: Pool, *, beta: float) -> np.ndarray:
    """Statistical rejection sampling: each row is kept with probability exp((reward - r_max) / beta).

    `r_max` is the highest reward of the row's own prompt, so each prompt keeps at least its best (and what
    ties with it). As n grows the kept rows follow the policy tilted by exp(reward / beta)
    (`theory.tilted_optimum`); a small beta keeps the best alone, a large one everything. Source: RSO,
    arXiv 2309.06657, in one pass over the pool.

    >>> acceptance(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), beta=0.001).tolist()
    [1, 3]
    """
    _number(beta, "beta", above=0)
    highest = pool.per_prompt(np.maximum, pool.rewards)[pool.prompts]
    return np.flatnonzero(np.log(pool.lots("acceptance")) <= (pool.rewards - highest) / beta)


@_selector("soft_best_of_n")
def soft_best_of_n(pool: Pool, *, temperature: float, k: int = 1) -> np.ndarray:
    """A draw of k rows of each prompt, without replacement, by softmax(reward / temperature).

    Temperature to 0 gives best-of-n, to infinity a random pick; what ties is equally likely. The draw adds
    Gumbel noise to reward / temperature and keeps the highest.

    >>> soft_best_of_n(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), temperature=0.001).tolist()
    [1, 3]
    """
    _number(temperature, "temperature", above=0)
    noise = -np.log(-np.log(pool.lots("soft_best_of_n")))
    return pool.best(pool.rewards + temperature * noise, _count(k, "k"))


# Selectors that distrust the reward -----------------------------------------------------------------------

COMBINATIONS = ("mean", "min", "uncertainty", "vote")


@_selector("ensemble")
def ensemble(
    pool: Pool, *, rewards: Sequence[str], combine: str = "mean", penalty: float = 1.0
) -> np.ndarray:
    """Best-of-n by several reward models' columns as one number; see `combine_rewards`. Ties by lot.

    The kept rows still carry the reward that they had.

    >>> pool = pool_of([[0.0, 1.0, 2.0]], second=[1.0, 2.0, -9.0])
    >>> ensemble(pool, rewards=["reward", "second"], combine="min").tolist()
    [1]
    """
    return pool.best(_combined(pool, rewards, combine, penalty))


def combine_rewards(
    scored: Dataset, rewards: Sequence[str], combine: str = "mean", *, penalty: float = 1.0
) -> Dataset:
    """The table with `reward` made of the columns `rewards`, one per reward model.

    mean         the mean of the columns
    min          the lowest of them: worst-case optimisation
    uncertainty  mean - penalty * variance over the columns: uncertainty-weighted optimisation
    vote         the share of columns that rank this row first in its prompt; a tied column splits its vote

    Reward models have no common unit, so each column is first brought to mean 0 and standard deviation 1
    over the table (a vote does not need it). Source: Coste et al., arXiv 2310.02743.

    Raises ConfigError for an unknown combination or fewer than two columns, DataError for a missing column,
    RewardError for NaN and infinite values.
    """
    return tables.with_column(scored, "reward", _combined(Pool(scored), rewards, combine, penalty))


def _combined(pool: Pool, names: Sequence[str], combine: str, penalty: float) -> np.ndarray:
    if combine not in COMBINATIONS:
        raise unknown_name("combination", str(combine), COMBINATIONS, "combine_rewards")
    several = not isinstance(names, str) and len(set(names)) >= 2
    require(several, f"rewards is {names!r}", "combine_rewards", "Name at least two different columns.")
    _number(penalty, "penalty", at_least=0)
    columns = np.stack([_finite_column(pool.table, name) for name in names])
    if combine == "vote":
        return np.mean([_votes(pool, column) for column in columns], axis=0)
    spread = columns.std(axis=1, keepdims=True)
    columns = (columns - columns.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    if combine == "min":
        return columns.min(axis=0)
    return columns.mean(axis=0) - (penalty * columns.var(axis=0) if combine == "uncertainty" else 0.0)


def _finite_column(table: Dataset, name: str) -> np.ndarray:
    values = tables.reward_column(table, name)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise tables.nonfinite_error(table, bad, name)
    return values


def _votes(pool: Pool, values: np.ndarray) -> np.ndarray:
    first = values == pool.per_prompt(np.maximum, values)[pool.prompts]
    return first / pool.per_prompt(np.add, first.astype(float))[pool.prompts]


@_selector("length_controlled")
def length_controlled(pool: Pool, *, within: bool = True) -> np.ndarray:
    """Best-of-n by what is left of the reward after a straight line in the length (tokens, else words).

    The slope is fitted to deviations from each prompt's mean (`within`), or over the pool as it is: there
    prompts that ask for long responses and are scored high would count as length bias. Ties by lot.

    >>> pool = pool_of([[1.0, 2.0, 3.5], [1.0, 2.0, 2.9]], response=["a", "a a", "a a a"] * 2)
    >>> length_controlled(pool).tolist()
    [2, 3]
    """
    reward, length = pool.rewards, pool.lengths
    if within:
        counts = np.bincount(pool.prompts)
        reward, length = (
            values - (np.bincount(pool.prompts, values) / counts)[pool.prompts] for values in (reward, length)
        )
    centred = length - length.mean()
    spread = float(centred @ centred)
    slope = float(centred @ reward) / spread if spread > 0 else 0.0
    return pool.best(pool.rewards - slope * pool.lengths)


# Selectors with a larger pool ------------------------------------------------------------------------------


_NOT_DRAWN = {"token_ids": [], "token_logprobs": [], "logprob": 0.0, "finish_reason": "eos", "seed": -1}


def reference_responses(prompts: Dataset) -> Dataset:
    """The texts in the column `reference` of a prompts table as responses, one per prompt, to be scored.

    They were not drawn: sample_id and seed are -1, logprob is 0 and there are no tokens. Raises DataError
    without the column, or where it is empty.

    >>> from rslib.prompts import as_prompts
    >>> prompts = as_prompts([{"prompt": "2 + 2?", "reference": "4"}])
    >>> reference_responses(prompts)["response"][:]
    ['4']
    """
    from datasets import Dataset

    check_prompts(prompts)
    if "reference" not in prompts.column_names:
        fix = "Carry a known-good response with each prompt, as 'reference'."
        raise DataError("no column 'reference'", where="prompts", fix=fix)
    columns = {name: prompts[name][:] for name in prompts.column_names}
    named = zip(columns["prompt_id"], columns["reference"], strict=True)
    empty = [prompt_id for prompt_id, text in named if not text]
    if empty:
        where = f"prompt_id {empty[0]!r}"
        raise DataError(f"{len(empty)} references are empty", where=where, fix="Leave these prompts out.")
    columns |= {name: [value] * len(prompts) for name, value in _NOT_DRAWN.items()}
    columns |= {"sample_id": [-1] * len(prompts), "response": columns["reference"]}
    return Dataset.from_dict(columns)


def add_references(scored: Dataset, *, references: Dataset) -> Dataset:
    """The pool with scored `references` in it; the new column `is_reference` marks them.

    `references` has prompt_id, response and reward, from the same reward model (`reference_responses` makes
    such a table, `score` completes it); every other column is taken from the prompt's first row. Its rows
    get the sample_ids -1, -2, ... of their prompt, finish_reason "eos", and no tokens.

    Raises DataError when a column is missing or a prompt_id is not in the pool.
    """
    missing = {"prompt_id", "response", "reward"} - set(references.column_names)
    if missing:
        fix = "References need prompt_id, response and reward; run score on them."
        raise DataError(f"no column {min(missing)!r}", where="references", fix=fix)
    first = {prompt_id: int(rows[0]) for prompt_id, rows in tables.groups(scored).items()}
    foreign = [prompt_id for prompt_id in references["prompt_id"][:] if prompt_id not in first]
    if foreign:
        what = f"{len(foreign)} references are for prompts outside the pool (first: {foreign[0]!r})"
        raise DataError(what, where="references", fix="Give references for the pool's prompts alone.")
    rows = _reference_rows(scored, references, first)
    drawn = tables.with_column(scored, "is_reference", [False] * len(scored))
    return tables.stack([drawn, tables.with_column(rows, "is_reference", [True] * len(rows))])


def _reference_rows(scored: Dataset, references: Dataset, first: Mapping[str, int]) -> Dataset:
    from datasets import Dataset

    seen: dict[str, int] = {}
    rows = []
    for given in references.select_columns(["prompt_id", "response", "reward"]):
        seen[given["prompt_id"]] = seen.get(given["prompt_id"], 0) + 1
        of_prompt = scored[first[given["prompt_id"]]]
        rows.append(of_prompt | _NOT_DRAWN | {"sample_id": -seen[given["prompt_id"]]} | given)
    return Dataset.from_dict(
        {name: [row[name] for row in rows] for name in scored.column_names}, features=scored.features
    )


@_selector("reference", widened_by=add_references)
def reference(pool: Pool) -> np.ndarray:
    """Best-of-n where known-good responses compete with the sampled ones; see `add_references`. Ties by lot.

    A printed line says how many prompts keep a reference: many mean that the policy is still worse than its
    references, so that n is too small or that they should be trained on as they are.
    """
    rows = pool.best(pool.rewards)
    kept = np.array(pool.table["is_reference"][:], dtype=bool)[rows]
    note(f"select: a reference response is kept for {int(kept.sum())} of {len(rows)} prompts")
    return rows


def merge_rounds(scored: Dataset, *, earlier: Sequence[Dataset]) -> Dataset:
    """One pool of the `earlier` scored tables, oldest first, and this one; `round` says whence a row is.

    Rounds count from 0 unless a table brings the column. Raises DataError when there is no earlier table or
    the columns do not fit together.
    """
    if hasattr(earlier, "column_names") or not len(earlier):
        what = "earlier is not a list of scored tables"
        raise DataError(what, where="select(scored, 'replay')", fix="Pass earlier=[round_0, round_1].")
    following, stage_tables = 0, []
    for table in (*earlier, scored):
        if "round" not in table.column_names:
            table = tables.with_column(table, "round", [following] * len(table))
        following = max(table["round"][:]) + 1
        stage_tables.append(table)
    return tables.stack(stage_tables)


@_selector("replay", widened_by=merge_rounds)
def replay(pool: Pool, *, k: int = 1) -> np.ndarray:
    """The k highest rewards of each prompt over all rounds (`merge_rounds`), no text twice. Ties by lot.

    Keeps what earlier rounds did well and the last one forgot (Llama 2, arXiv 2307.09288, section 3.2.3).
    Rewards of all rounds must come from one reward model.
    """
    return unique(pool, k=k)


# Pairs and statistics -------------------------------------------------------------------------------------


def best_worst_pairs(
    scored: Dataset,
    *,
    seed: int = 0,
    on_nan: str = "raise",
    truncated: str = "keep",
    margin: float = 0.0,
) -> Dataset:
    """For each prompt its best response as `chosen` and its worst as `rejected`, with both rewards.

    Columns: prompt_id, prompt, chosen, rejected, chosen_reward, rejected_reward. Ties by lot. A prompt whose
    rewards differ by no more than `margin` tells no preference: it is left out and a printed line counts
    these. `on_nan` and `truncated` as in `select`, and so the errors; DataError when no pair is left.
    """
    from datasets import Dataset

    _number(margin, "margin", at_least=0)
    pool = Pool(_usable(scored, on_nan=on_nan, truncated=truncated), seed)
    best, low = best_of_n(pool), worst(pool)
    clear = pool.rewards[best] - pool.rewards[low] > margin
    if not clear.any():
        fix = "Draw more responses per prompt, or lower the margin."
        raise DataError(
            f"no prompt's rewards differ by more than {margin}", where="best_worst_pairs", fix=fix
        )
    if not clear.all():
        note(f"pairs: {int((~clear).sum())} of {len(clear)} prompts have no preference and are left out")
    chosen, rejected = (tables.take(pool.table, rows[clear]) for rows in (best, low))
    return Dataset.from_dict(
        {
            "prompt_id": chosen["prompt_id"][:],
            "prompt": chosen["prompt"][:],
            "chosen": chosen["response"][:],
            "rejected": rejected["response"][:],
            "chosen_reward": chosen["reward"][:],
            "rejected_reward": rejected["reward"][:],
        }
    )


def selection_stats(scored: Dataset, kept: Dataset) -> dict[str, float]:
    """What a selection did to its pool, without intervals (`evaluation` adds them).

    selection_gap    mean reward of the kept rows - mean reward of the pool
    unique_ratio     distinct responses of the pool, counted per prompt / its rows
    coverage         share of the pool's prompts with a kept row
    truncation_rate  share of kept rows that met the length limit

    Raises as `tables.check_scored`.
    """
    for table in (scored, kept):
        tables.check_scored(table)
    distinct = set(zip(scored["prompt_id"][:], scored["response"][:], strict=True))
    prompts = set(scored["prompt_id"][:])
    return {
        "selection_gap": float(tables.reward_column(kept).mean() - tables.reward_column(scored).mean()),
        "unique_ratio": len(distinct) / len(scored),
        "coverage": len(prompts & set(kept["prompt_id"][:])) / len(prompts),
        "truncation_rate": float((tables.finish_reasons(kept) == "length").mean()),
    }


# Checks -------------------------------------------------------------------------------------------------


def _distinct(pool: Pool) -> np.ndarray:
    """One row for each text of a prompt: the one of the highest reward, ties by lot."""
    order = np.lexsort((pool.lots("ties"), -pool.rewards, pool.prompts))
    keys = pool.prompts[order] * (int(pool.texts.max()) + 1) + pool.texts[order]
    return order[np.unique(keys, return_index=True)[1]]


def _ceil(value: float) -> int:
    return math.ceil(round(value, 6))  # 0.1 * 30 is meant to be 3, not 3.0000000000000004


def _count(value: Any, name: str) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    require(whole and value >= 1, f"{name} is {value!r}", f"select(..., {name}=)", "Use a whole number >= 1.")
    return int(value)


def _number(
    value: Any,
    name: str,
    *,
    above: float = -math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> None:
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    good = number and math.isfinite(value) and value > above and at_least <= value <= at_most
    bounds = [f"> {above:g}"] if above > -math.inf else []
    bounds += [f">= {at_least:g}"] if at_least > -math.inf else []
    bounds += [f"<= {at_most:g}"] if at_most < math.inf else []
    fix = " ".join(["Use a finite number", " and ".join(bounds)]).strip() + "."
    require(good, f"{name} is {value!r}", f"select(..., {name}=)", fix)
