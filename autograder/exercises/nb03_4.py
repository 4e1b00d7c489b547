"""Exercise 3.4: the temperature, chosen on validation prompts by max and median reward against n."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from autograder.checks import NEAR, Ideas
from autograder.exercise import (
    ANSWERED,
    UNREADABLE,
    Exercise,
    Misconception,
    Part,
    diagnose,
    require,
    same,
    short,
)
from autograder.experiments.nb03 import (
    CLOSE,
    REDRAWN,
    ROUNDED,
    median_curve,
    sweep_rewards,
    with_replacement,
)
from autograder.handouts import nb03_given
from autograder.handouts.nb03_given import CHOSEN_N, SWEEP_NS, SWEEP_PROMPTS, TEMPERATURES
from autograder.work import Work, is_column, kind_of
from rslib import theory

IDEAS = Ideas("""
equal (F06): Every temperature has the same numbers: was each row computed from its own `rewards_at[t]`?
median for max: These are the numbers of the median.
max for median: These are the numbers of the max.
mean (F02): This is the mean reward of the pool, whatever n is: nothing is selected.
mean for median: This is the mean of the rewards, whatever n is. The median of n is the middle one of n.
lowest (F03): The lowest reward is kept.
one response (F05): The first response of each prompt is looked at, whatever n is.
whole pool (F45): All of a prompt's responses are looked at, whatever n is. What if only n of them were drawn?
first n (F45): You look at the first n responses of each prompt. Every subset of n counts: use the functions.
blocks (F45): You cut each prompt's responses into blocks of n. Every subset of n counts: use the functions.
put back (F45): You draw with replacement: at large n the curve of the best comes out too low.
one pool: You throw the responses of all prompts into one pool. Choose within each prompt, then average over
    the prompts.
across prompts: The two axes changed places: you choose among the prompts, for each number of a response.
ns reversed (F09): Each row stands the wrong way round: one number for each n of `ns`, in its order.
median over prompts / median of the best: Over the prompts the mean is asked for; you took the median.
sum: This is the sum over the prompts. The mean is asked for.
gain: The mean of the pool was taken off. The reward itself is asked for.
lower middle / upper middle (middle): Where n is even, the median is half-way between the two middle rewards.
every n: These are the values for n = 1, 2, 3 and so on. The ns stand in `task["ns"]`.
rows reversed: The rows stand under the wrong temperatures.
shifted: The shape of your curves is right, and every number is off by the same amount.
not these rewards: At n = 1 these numbers are not the mean of `rewards_at`, where nothing is chosen. Were
    they made from another table, such as gold?
another table (): These are not the numbers of the {name} of n responses to a prompt, for `rewards_at` as it
    stands. Choose within a prompt, then average over the prompts.

edited (F50): The responses to two prompts, drawn and scored again with the seed of given("3.4"), get other
    rewards than those in `rewards_at`. Run its cell again, without changes.
too cold (F06): So cold a policy writes nearly the same response again: too little to choose from.
too hot (F07): So hot a pool holds many different responses, and most of them are worse.
""")
CHECKS = {"max": "gives the curve of the best", "median": "gives the curve of the median"}
POOL, CHOICE = "keeps the rewards as they were drawn", "chooses for n = 16"
AGAIN = 2
"""Prompts whose responses are drawn and scored again, at every temperature."""
FEW = 0.08
"""As near as this to the right table is a simulation; a wrong idea of the list is farther, or told before."""
Rewards = dict[float, np.ndarray]
"""Rewards (M, N) by temperature."""


# What the learner has -------------------------------------------------------------------------------------


def learners_rewards(work: Work) -> Rewards:
    """The learner's `rewards_at`: an array `(32, 32)` of finite rewards for each temperature."""
    found, shape = work.value("rewards_at", dict), (SWEEP_PROMPTS, SWEEP_NS[-1])
    rewards = {t: _array(found.get(t)) for t in TEMPERATURES}
    for temperature, array in rewards.items():
        form = (
            f"rewards_at[{temperature}] should be an array of {shape[0]} prompts by {shape[1]} rewards: "
            "run the cell that draws the pools again."
        )
        fits = array.shape == shape and np.isfinite(array).all()
        require(fits, ANSWERED, form, got=f"a {kind_of(found.get(temperature))} of shape {array.shape}")
    return rewards


def read_table(work: Work, name: str) -> np.ndarray:
    """The learner's `sweep` for "max" or "median": temperatures by n."""
    sweep = work.value("sweep", dict)
    rows = [sweep[t].get(name) if hasattr(sweep.get(t), "get") else None for t in TEMPERATURES]
    for temperature, row in zip(TEMPERATURES, rows, strict=True):
        form = (
            f"sweep[{temperature}][{name!r}] should be a list of {len(SWEEP_NS)} finite numbers, one for "
            f"each n of {list(SWEEP_NS)}."
        )
        array = _array(row)
        fits = array.shape == (len(SWEEP_NS),) and np.isfinite(array).all()
        require(fits, ANSWERED, form, got=short(row))
    return np.array([_array(row) for row in rows])


def _array(value: Any) -> np.ndarray:
    """A list, array or tensor of numbers as float64; empty if it is something else."""
    try:
        value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        value = value.to_numpy() if is_column(value) else value
        if not isinstance(value, list | tuple | np.ndarray):
            return np.zeros(0)
        array = np.asarray([getattr(x, "tolist", lambda x=x: x)() for x in value])
    except UNREADABLE:  # also rows of different lengths
        return np.zeros(0)
    return array.astype(float) if array.dtype.kind in "iuf" else np.zeros(0)


_DRAWN: set[tuple[bytes, int]] = set()


def check_drawn(work: Work, rng: np.random.Generator, rewards: Rewards) -> None:
    """Some prompts' responses, drawn and scored again; rewards that have passed are not looked at again."""
    seed = nb03_given.sweep(work.variant)["seed"]
    key = np.stack([rewards[t] for t in TEMPERATURES]).tobytes(), seed
    if key in _DRAWN:
        return
    rows = tuple(np.sort(rng.choice(SWEEP_PROMPTS, AGAIN, replace=False)).tolist())
    again = sweep_rewards(rows, seed)
    apart = np.array([np.abs(rewards[t][list(rows)] - again[t]) for t in TEMPERATURES])
    agree = float(np.mean(apart <= CLOSE))
    require(agree >= REDRAWN, POOL, IDEAS["edited"], got=f"{agree:.0%} of {apart.size} rewards agree")
    _DRAWN.add(key)


# The tables -----------------------------------------------------------------------------------------------


def grade_table(work: Work, rng: np.random.Generator, *, name: str) -> None:
    """The table of "max" or "median" against the learner's own rewards, which must be the policy's."""
    table = read_table(work, name)
    rewards = learners_rewards(work)
    right = right_table(rewards, name)
    if not same(table, right, ROUNDED):  # the wrong ideas' tables take a while
        diagnose(
            CHECKS[name],
            table,
            right,
            ideas=IDEAS.of(table_slips(rewards, name) | _whatever_the_rewards(table, right)),
            otherwise=_unexplained(table, right, name),
            tolerance=ROUNDED,
            case=f"{len(TEMPERATURES)} temperatures by {len(SWEEP_NS)} n",
            reveal=False,
        )
    check_drawn(work, rng, rewards)


def _unexplained(table: np.ndarray, right: np.ndarray, name: str) -> Misconception:
    """The idea for a table that no other explains; at n = 1 it should be the mean of the rewards."""
    if same(table, right, FEW):
        return NEAR
    if not same(table[:, 0], right[:, 0], 0.5):  # numbers read off by eye are nearer
        return IDEAS["not these rewards"]
    return IDEAS.filled("another table", name={"max": "best"}.get(name, name))


def _whatever_the_rewards(table: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The learner's own table under the ideas that no single table stands for."""
    off = table - right
    equal, shifted = np.ptp(table, axis=0).max() <= ROUNDED, np.ptp(off) <= 2 * ROUNDED
    return ({"equal": table} if equal else {}) | ({"shifted": table} if shifted else {})


def right_table(rewards: Rewards, name: str) -> np.ndarray:
    """Mean over the prompts of the best, or the median, of n: temperatures by n."""
    curve = theory.best_of_n_curve if name == "max" else median_curve
    return np.array([curve(rewards[t], SWEEP_NS).mean(axis=1) for t in TEMPERATURES])


def table_slips(rewards: Rewards, name: str) -> dict[str, Any]:
    """What wrong ideas give for the table of "max" or "median"."""
    right, pools = right_table(rewards, name), [rewards[t] for t in TEMPERATURES]
    curve, best, other = theory.best_of_n_curve, np.max, "median"
    if name == "median":
        curve, best, other = median_curve, np.median, "max"
    flat = {"mean" if name == "max" else "mean for median": [r.mean() for r in pools]}
    flat |= {
        "one response": [r[:, 0].mean() for r in pools],
        "whole pool": [best(r, axis=1).mean() for r in pools],
    }
    shared = {
        f"{other} for {name}": right_table(rewards, other),
        "first n": [[best(r[:, :n], axis=1).mean() for n in SWEEP_NS] for r in pools],
        "blocks": [[best(r.reshape(len(r), -1, n), axis=2).mean() for n in SWEEP_NS] for r in pools],
        "one pool": [curve(r.reshape(1, -1), SWEEP_NS)[:, 0] for r in pools],
        "across prompts": [curve(r.T, SWEEP_NS).mean(axis=1) for r in pools],
        "median over prompts": [np.median(curve(r, SWEEP_NS), axis=1) for r in pools],
        "sum": right * SWEEP_PROMPTS,
        "gain": right - np.array([[r.mean()] for r in pools]),
        "every n": [curve(r, range(1, len(SWEEP_NS) + 1)).mean(axis=1) for r in pools],
        "rows reversed": right[::-1],
        "ns reversed": right[:, ::-1],
    }
    tables = {idea: np.repeat(np.array(row)[:, None], len(SWEEP_NS), 1) for idea, row in flat.items()}
    tables |= shared | (_max_slips(pools) if name == "max" else _median_slips(pools))
    return {idea: np.array(table, float) for idea, table in tables.items()}


def _max_slips(pools: list[np.ndarray]) -> dict[str, Any]:
    """Wrong ideas of the best alone."""
    return {
        "put back": [[np.mean([with_replacement(row, n) for row in r]) for n in SWEEP_NS] for r in pools],
        "lowest": [-theory.best_of_n_curve(-r, SWEEP_NS).mean(axis=1) for r in pools],
    }


def _median_slips(pools: list[np.ndarray]) -> dict[str, Any]:
    """Wrong ideas of the median alone: of two middle ones the lower, or the upper."""
    ranks = {"lower middle": lambda n: ((n + 1) // 2,), "upper middle": lambda n: (n // 2 + 1,)}
    best = [np.median(theory.best_of_n_curve(r, SWEEP_NS), axis=1) for r in pools]
    return {"median of the best": best} | {
        idea: [median_curve(r, SWEEP_NS, middle).mean(axis=1) for r in pools]
        for idea, middle in ranks.items()
    }


# The choice -----------------------------------------------------------------------------------------------


def grade_choice(work: Work, rng: np.random.Generator) -> None:
    """The temperature, judged by the learner's own rewards; the table that it rests on must be right."""
    chosen = work.value("best_temperature", (int, float))
    form = f"`best_temperature` should be one of {list(TEMPERATURES)}."
    require(chosen in TEMPERATURES, ANSWERED, form, got=chosen)
    grade_table(work, rng, name="max")
    best_of = {t: theory.best_of_n_estimate(pool, CHOSEN_N) for t, pool in learners_rewards(work).items()}
    best = max(best_of, key=lambda t: best_of[t].mean())
    idea = IDEAS["too cold" if chosen < best else "too hot"]
    not_separable = theory.paired_interval(best_of[float(chosen)], best_of[best])[1] >= 0
    below = (best_of[float(chosen)] - best_of[best]).mean()
    require(not_separable, CHOICE, idea, got=f"{chosen}: {below:+.2f} against the best temperature")


EXERCISE = Exercise(
    "3.4",
    "Choose the temperature",
    2,
    12,
    ("rewards_at", "sweep", "best_temperature"),
    (
        Part("the best of n, per temperature", 1.0, partial(grade_table, name="max")),
        Part("the median of n, per temperature", 1.0, partial(grade_table, name="median")),
        Part("the temperature for n = 16", 1.0, grade_choice),
    ),
    given=nb03_given.sweep,
    measured=True,
    seconds=10,
    needs_torch=True,
)
