"""Selectors that few runs need, loaded when named: by chance, without trust in the reward, from more rows.

select(scored, "reference", references=table)    `add_references` puts a scored table of references in
select(scored, "replay", earlier=[table, ...])   `merge_rounds` puts the scored tables of earlier rounds in
reference_responses(prompts)                     the column `reference` as responses, to be scored
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rslib import tables
from rslib.config import require, unknown_name
from rslib.errors import DataError
from rslib.progress import note
from rslib.prompts import check_prompts
from rslib.selection import Pool, check_count, check_number, unique
from rslib.theory import pessimistic_optimum, poisson_probs

if TYPE_CHECKING:
    from datasets import Dataset

# Selectors that follow a distribution -----------------------------------------------------------------


def acceptance(pool: Pool, *, beta: float) -> np.ndarray:
    """Statistical rejection sampling: each row is kept with probability exp((reward - r_max) / beta).

    `r_max` is the highest reward of the row's own prompt, so each prompt keeps at least its best (and what
    ties with it). As n grows the kept rows follow the policy tilted by exp(reward / beta)
    (`theory.tilted_optimum`); a small beta keeps the best alone, a large one everything. Source: RSO,
    arXiv 2309.06657, in one pass over the pool.

    >>> from rslib.selection import pool_of
    >>> acceptance(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), beta=0.001).tolist()
    [1, 3]
    """
    check_number(beta, "beta", above=0)
    highest = pool.per_prompt(np.maximum, pool.rewards)[pool.prompts]
    return np.flatnonzero(np.log(pool.random_keys("acceptance")) <= (pool.rewards - highest) / beta)


def soft_best_of_n(pool: Pool, *, temperature: float, k: int = 1) -> np.ndarray:
    """A draw of k rows of each prompt, without replacement, by softmax(reward / temperature).

    Temperature to 0 gives best-of-n, to infinity a random pick; what ties is equally likely. The draw adds
    Gumbel noise to reward / temperature and keeps the highest. Source: Verdun et al., arXiv 2505.03156
    (k = 1; lemma 1 is its distribution).

    >>> from rslib.selection import pool_of
    >>> soft_best_of_n(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), temperature=0.001).tolist()
    [1, 3]
    """
    check_number(temperature, "temperature", above=0)
    noise = -np.log(-np.log(pool.random_keys("soft_best_of_n")))
    return pool.best(pool.rewards + temperature * noise, check_count(k, "k"))


def best_of_poisson(pool: Pool, *, mu: float) -> np.ndarray:
    """The best of 1 + Poisson(mu) responses of each prompt, drawn from its rows, at most all; ties at random.

    Its distribution is close to the policy tilted by exp(reward / beta), at a cost that `mu` sets. Source:
    Khalaf et al., arXiv 2506.19248.

    >>> from rslib.selection import pool_of
    >>> len(best_of_poisson(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), mu=1.5))
    2
    """
    check_number(mu, "mu", at_least=0)
    drawn = pool.best(pool.random_keys("best_of_poisson"), len(pool))  # the rows of each prompt, shuffled
    prompts = pool.prompts[drawn]
    starts, sizes = np.unique(prompts, return_index=True, return_counts=True)[1:]
    chances = pool.random_keys("best_of_poisson count")[drawn[starts]]
    counts = 1 + np.searchsorted(np.cumsum(poisson_probs(mu, int(sizes.max()))), chances)
    rank = np.arange(len(drawn)) - starts[prompts]
    return pool.best(pool.rewards, among=drawn[rank < counts[prompts]])


def pessimistic(pool: Pool, *, beta: float, k: int = 1) -> np.ndarray:
    """A draw of k rows of each prompt, without replacement, by `theory.pessimistic_optimum` over its rows.

    Beta to 0 gives best-of-n; a large one a nearly random pick. A row far below the best has no chance at
    all, and none has more than (range of rewards) / beta + 1 times its share. Rows that tie are equally
    likely; where fewer than k rows have a chance, those are kept. Source: Huang et al., arXiv 2503.21878,
    who take the level from n responses and accept or reject n new ones; here one pool serves for both.

    >>> from rslib.selection import pool_of
    >>> pessimistic(pool_of([[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]), beta=0.001).tolist()
    [1, 3]
    """
    check_number(beta, "beta", above=0)
    weights = np.zeros(len(pool))
    for rows in tables.groups(pool.table).values():
        weights[rows] = pessimistic_optimum(np.full(len(rows), 1 / len(rows)), pool.rewards[rows], beta)
    possible = np.flatnonzero(weights)
    with np.errstate(divide="ignore"):
        keys = np.log(weights) - np.log(-np.log(pool.random_keys("pessimistic")))
    return pool.best(keys, check_count(k, "k"), among=possible)


# Selectors that follow the other responses ----------------------------------------------------------------


def self_consistency(pool: Pool, *, conclusions: str = "conclusion") -> np.ndarray:
    """The best of each prompt among the rows that reach its most frequent conclusion; ties at random.

    `conclusions` names a column of what each response comes to: text or a number, equal where they agree.
    Source: Wang et al., arXiv 2203.11171. Raises DataError when the column is missing.

    >>> from rslib.selection import pool_of
    >>> self_consistency(pool_of([[1.0, 2.0, 9.0]], conclusion=["4", "4", "5"])).tolist()
    [1]
    """
    if conclusions not in pool.table.column_names:
        fix = "Add it with `with_column`, or name another with conclusions=."
        raise DataError(f"there is no column '{conclusions}'", where="select(..., conclusions=)", fix=fix)
    numbers = np.unique([repr(conclusion) for conclusion in pool.table[conclusions][:]], return_inverse=True)[
        1
    ]
    pairs = np.stack([pool.prompts, numbers])
    _, groups, votes = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    tie = np.zeros(len(votes))  # below 1: it decides between conclusions of equally many votes
    np.maximum.at(tie, groups, pool.random_keys("conclusions"))
    share = (votes + tie)[groups]
    return pool.best(
        pool.rewards, among=np.flatnonzero(share == pool.per_prompt(np.maximum, share)[pool.prompts])
    )


def minimum_bayes_risk(pool: Pool) -> np.ndarray:
    """The row of each prompt that has most words in common with its other rows; the reward is not asked.

    Agreement of two responses: F1 of their words, counted as often as they occur. The mean over the other
    rows of the prompt is what a row is chosen by; ties at random. Source: Kumar and Byrne, "Minimum
    Bayes-Risk Decoding for Statistical Machine Translation", 2004, with this gain.

    >>> from rslib.selection import pool_of
    >>> texts = ["boil rice", "boil rice well", "boil rice very well"]
    >>> minimum_bayes_risk(pool_of([[0.0, 0.0, 9.0]], response=texts)).tolist()
    [1]
    """
    bags = [Counter(text.lower().split()) for text in pool.table["response"][:]]
    gains = np.zeros(len(pool))
    for rows in tables.groups(pool.table).values():
        for i, row in enumerate(rows):
            for other in rows[i + 1 :]:
                gains[[row, other]] += _f1(bags[row], bags[other]) / max(1, len(rows) - 1)
    return pool.best(gains.round(9))  # sums in another order still tie


def _f1(first: Counter[str], second: Counter[str]) -> float:
    size = first.total() + second.total()
    return 2 * (first & second).total() / size if size else 1.0


# Selectors that distrust the reward -----------------------------------------------------------------------

_COMBINATIONS = ("mean", "min", "uncertainty", "vote")


def ensemble(
    pool: Pool, *, rewards: Sequence[str], combine: str = "mean", penalty: float = 1.0
) -> np.ndarray:
    """Best-of-n by the columns `rewards`, one per reward model, as one number. Ties at random.

    mean         the mean of the columns
    min          the lowest of them: worst-case optimisation
    uncertainty  mean - penalty * variance over the columns: uncertainty-weighted optimisation
    vote         the share of columns that rank this row first in its prompt; a tied column splits its vote

    Reward models have no common unit, so each column is first brought to mean 0 and standard deviation 1
    over the table (a vote does not need it). The kept rows still carry the reward that they had. Source:
    Coste et al., arXiv 2310.02743.

    Raises ConfigError for an unknown combination or fewer than two columns, DataError for a missing column,
    RewardError for NaN and infinite values.

    >>> from rslib.selection import pool_of
    >>> pool = pool_of([[0.0, 1.0, 2.0]], second=[1.0, 2.0, -9.0])
    >>> ensemble(pool, rewards=["reward", "second"], combine="min").tolist()
    [1]
    """
    return pool.best(_combined_rewards(pool, rewards, combine, penalty))


def _combined_rewards(pool: Pool, names: Sequence[str], combine: str, penalty: float) -> np.ndarray:
    if combine not in _COMBINATIONS:
        raise unknown_name("combination", str(combine), _COMBINATIONS, "select(..., combine=)")
    several = not isinstance(names, str) and len(set(names)) >= 2
    require(several, f"rewards is {names!r}", "select(..., rewards=)", "Name at least two different columns.")
    check_number(penalty, "penalty", at_least=0)
    columns = np.stack([tables.finite_column(pool.table, name) for name in names])
    if combine == "vote":
        return np.mean([_votes(pool, column) for column in columns], axis=0)
    spread = columns.std(axis=1, keepdims=True)
    columns = (columns - columns.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    if combine == "min":
        return columns.min(axis=0)
    return columns.mean(axis=0) - (penalty * columns.var(axis=0) if combine == "uncertainty" else 0.0)


def _votes(pool: Pool, values: np.ndarray) -> np.ndarray:
    first = values == pool.per_prompt(np.maximum, values)[pool.prompts]
    return first / pool.per_prompt(np.add, first.astype(float))[pool.prompts]


def length_controlled(pool: Pool, *, within: bool = True) -> np.ndarray:
    """Best-of-n by what is left of the reward after a straight line in the length (tokens, else words).

    The slope is fitted to deviations from each prompt's mean (`within`), or over the pool as it is: there
    prompts that ask for long responses and are scored high would count as length bias. Ties at random.

    >>> from rslib.selection import pool_of
    >>> pool = pool_of([[1.0, 2.0, 3.5], [1.0, 2.0, 2.9]], response=["a", "a a", "a a a"] * 2)
    >>> length_controlled(pool).tolist()
    [2, 3]
    """
    return pool.best(pool.rewards - length_slope(pool, within=within) * pool.lengths)


def length_slope(pool: Pool, *, within: bool = True) -> float:
    """Reward that one more token (else word) goes with, by least squares; 0.0 where all lengths are equal.

    `within`: of deviations from each prompt's mean; else over the pool as it is.

    >>> from rslib.selection import pool_of
    >>> round(length_slope(pool_of([[1.0, 2.0, 3.0]], response=["a", "a a", "a a a"])), 6)
    1.0
    """
    reward, length = pool.rewards, pool.lengths
    if within:
        means = tables.rows_of(pool.table).prompt_means
        reward, length = (values - means(values)[pool.prompts] for values in (reward, length))
    centred = length - length.mean()
    spread = float(centred @ centred)
    return float(centred @ reward) / spread if spread > 0 else 0.0


# Known-good responses, and earlier rounds, compete as well ------------------------------------------------

_NOT_DRAWN = {"token_ids": [], "token_logprobs": [], "logprob": 0.0, "finish_reason": "eos", "seed": -1}


def reference_responses(prompts: Dataset) -> Dataset:
    """The texts in the column `reference` of a prompts table as responses, one per prompt, to be scored.

    They were not drawn: sample_id and seed are -1, logprob is 0 and there are no tokens. Raises DataError
    without the column, or where it is empty.

    >>> from rslib.prompts import load_prompts
    >>> prompts = load_prompts([{"prompt": "2 + 2?", "reference": "4"}])
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


def reference(pool: Pool) -> np.ndarray:
    """Best-of-n where known-good responses compete with sampled ones (`add_references`). Ties at random.

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


def replay(pool: Pool, *, k: int = 1) -> np.ndarray:
    """The k highest rewards of each prompt over all rounds (`merge_rounds`), no text twice. Ties at random.

    Keeps what earlier rounds did well and the last one forgot (Llama 2, arXiv 2307.09288, section 3.2.3).
    Rewards of all rounds must come from one reward model.
    """
    return unique(pool, k=k)
