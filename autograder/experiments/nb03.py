"""Notebook 03: pools of many responses, statistics of exercises 3.3 and 3.4, and the calibration of 3.3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import rslib
from autograder.handouts.models import base_policy
from autograder.handouts.nb03_given import NS, SWEEP_NS, TEMPERATURES
from rslib import tables, theory

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import RewardModel

MODELS = ("tiny", "tiny-unbiased")
"""The reward models of 3.3: the first learned from the biased labeller, the second from an unbiased one."""
REDRAWN = 0.9
"""Share of rows that must come out again: all of them on one machine, nearly all on another."""
CLOSE = 0.05
"""Two rewards of one row that differ by less are the same on another machine."""
ROUNDED = 0.006
"""Numbers may be rounded to two decimals."""
PROMPTS = 40
"""Prompts of the pool of 3.3 that calibration draws."""


@cache
def reward_model(name: str) -> RewardModel:
    """An embedded reward model, loaded once."""
    return rslib.load_reward_model(name)


def unsafe_prompts(count: int, seed: int) -> Dataset:
    """Validation prompts that ask for something unsafe, drawn by `seed`."""
    prompts = rslib.load_prompts("tiny", split="validation")
    rows = np.flatnonzero(np.array(prompts["kind"][:]) == "unsafe")
    return prompts.select(np.sort(np.random.default_rng(seed).choice(rows, count, replace=False)))


@cache
def pool(seed: int, prompts: int = PROMPTS, n: int = NS[-1]) -> dict[str, Dataset]:
    """What an honest learner hands in as `scored`: one pool, scored by both reward models, with gold."""
    drawn = rslib.sample(base_policy(), unsafe_prompts(prompts, seed), n=n, seed=seed, show_progress=False)
    drawn = tables.with_column(drawn, "gold", rslib.world.gold_scores(drawn))
    return {name: rslib.score(reward_model(name), drawn, show_progress=False) for name in MODELS}


def matrices(table: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rewards, gold, intents) of a scored pool: `(M, N)`, `(M, N)` and `(M,)`; gold is judged afresh."""
    _, rewards, rows = tables.reward_matrix(table)
    gold = rslib.world.gold_scores(table)[rows]
    return rewards, gold, np.array(table["intent"][:])[rows[:, 0]]


def with_replacement(scores: Sequence[float], n: int, values: Sequence[float] | None = None) -> float:
    """The plug-in estimator: the best of n draws with replacement from the pool."""
    ranks = np.arange(len(scores) + 1) / len(scores)
    order = np.argsort(scores, kind="stable")
    return float(np.asarray(scores if values is None else values)[order] @ np.diff(ranks**n))


def gains(
    rewards: Sequence[np.ndarray], chosen_by: Sequence[np.ndarray], gold: np.ndarray
) -> dict[str, float]:
    """What choosing among all N buys over one response: the smaller gain in reward, the last's in gold."""
    ends = [
        theory.best_of_n_curve(by, [1, by.shape[1]], r).mean(axis=1)
        for by, r in zip(chosen_by, rewards, strict=True)
    ]
    single, every = theory.best_of_n_curve(chosen_by[-1], [1, gold.shape[1]], gold).mean(axis=1)
    return {"proxy_gain": float(min(high - low for low, high in ends)), "gold_gain": float(every - single)}


def measure_pool(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """3.3: an honest pool; the same response n times; and responses chosen by rewards of other rows."""
    pool.cache_clear()
    arrays = [matrices(table) for table in pool(seed).values()]
    rewards, gold = [r for r, _, _ in arrays], arrays[0][1]
    rng = np.random.default_rng(seed)
    same = [np.repeat(r[:, :1], r.shape[1], axis=1) for r in rewards]
    arms = {
        "honest": gains(rewards, rewards, gold),
        "do_nothing": gains(same, same, np.repeat(gold[:, :1], gold.shape[1], axis=1)),
        "random": gains(rewards, [rng.permuted(r, axis=1) for r in rewards], gold),
    }
    return {name: {arm: values[name] for arm, values in arms.items()} for name in arms["honest"]}


@cache
def sweep_rewards(prompt_rows: tuple[int, ...], seed: int) -> dict[float, np.ndarray]:
    """Rewards by `tiny`, `(M, 32)`, of responses to these validation prompts, at each temperature.

    As the notebook draws them for a learner with this seed, whichever prompts are drawn together.
    """
    prompts = rslib.load_prompts("tiny", split="validation").select(prompt_rows)
    rewards = {}
    for temperature in TEMPERATURES:
        drawn = rslib.sample(
            base_policy(), prompts, n=SWEEP_NS[-1], seed=seed, temperature=temperature, show_progress=False
        )
        scored = rslib.score(reward_model("tiny"), drawn, show_progress=False)
        rewards[temperature] = tables.reward_matrix(scored)[1]
    return rewards


def middle_ranks(n: int) -> tuple[int, ...]:
    """The ranks, from 1, whose mean is the median of n: one middle, or two that share.

    >>> middle_ranks(3), middle_ranks(4)
    ((2,), (2, 3))
    """
    return (n // 2 + 1,) if n % 2 else (n // 2, n // 2 + 1)


def median_curve(
    rewards: np.ndarray, ns: Sequence[int], ranks: Callable[[int], tuple[int, ...]] = middle_ranks
) -> np.ndarray:
    """Expected median of n of the N rewards, `(len(ns), M)`: the mean over all subsets.

    ranks: of n, the ranks in the subset that count, each as much as the others.
    """
    ascending = np.sort(rewards, axis=1)
    return np.stack([ascending @ _rank_chances(rewards.shape[1], n, ranks(n)) for n in ns])


@cache
def _rank_chances(pool_size: int, n: int, ranks: tuple[int, ...]) -> np.ndarray:
    """Chance that the k-th lowest of the pool is at one of these ranks of n, `(pool_size,)`; sums to 1."""
    counts = [
        sum(math.comb(k - 1, j - 1) * math.comb(pool_size - k, n - j) for j in ranks)
        for k in range(1, pool_size + 1)
    ]
    return np.array([count / sum(counts) for count in counts])


EXPERIMENTS = {"3.3": measure_pool}
