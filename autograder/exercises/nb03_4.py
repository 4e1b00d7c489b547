"""Exercise 3.4: the temperature, chosen on validation prompts by max and median reward against n."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from autograder.calibration import threshold
from autograder.checks import Ideas
from autograder.exercise import ANSWERED, CheckFailed, Exercise, Part, require, same
from autograder.experiments.nb03 import (
    CHOSEN_N,
    SWEEP_NS,
    TEMPERATURES,
    agreement,
    choice_value,
    hidden_rows,
    sweep_rewards,
    sweep_table,
)
from autograder.handouts import nb03_given
from autograder.work import Work
from rslib import theory

IDEAS = Ideas("""
equal (F06): Every temperature has the same numbers: was the pool drawn anew, with temperature=... passed on?
nearly equal (F06): Every temperature has about the same numbers: is temperature=... passed on?
median for max: These are the numbers of the median.
max for median: These are the numbers of the max.
lowest (F03): The lowest reward is kept.
one response (F05): One response per prompt is looked at, whatever n is.
whole pool (F45): This is the {name} of the whole pool, whatever n is.
rows reversed: The rows stand under the wrong temperatures.
another table (): This is not the mean {name} reward of n of a prompt's responses. Choose within a prompt,
    average over prompts, use `tiny` as the reward model, and validation prompts as they come.
too cold (F06): So cold a policy writes nearly the same response again: too little to choose from.
too hot (F07): So hot a pool holds many different responses, and most of them are worse.
""")
CHECKS = {"max": "gives the curve of the best", "median": "gives the curve of the median"}
CHOICE = "chooses for n = 16"
NEAR = 0.6
"""A wrong idea explains a table whose root mean square distance to the idea's table is below this."""
Hidden = dict[float, np.ndarray]
"""Rewards (M, N) by temperature."""
_HIDDEN: WeakKeyDictionary[Work, Hidden] = WeakKeyDictionary()


def hidden(work: Work, rng: np.random.Generator) -> Hidden:
    """Rewards on validation prompts of the grader's own, drawn on the spot, once for all parts of a check."""
    if work not in _HIDDEN:
        rows, seed = hidden_rows(rng), int(rng.integers(1_000_000, 2_000_000))
        _HIDDEN[work] = sweep_rewards(rows, seed)
    return _HIDDEN[work]


def read_table(work: Work, name: str) -> np.ndarray:
    """The learner's `sweep` for "max" or "median": temperatures by n."""
    sweep = work.value("sweep", dict)
    rows = [
        _numbers(sweep.get(t, {}).get(name) if isinstance(sweep.get(t), dict) else None) for t in TEMPERATURES
    ]
    for temperature, row in zip(TEMPERATURES, rows, strict=True):
        form = (
            f"sweep[{temperature}][{name!r}] should be a list of {len(SWEEP_NS)} numbers, one for each n of "
            f"{list(SWEEP_NS)}."
        )
        require(row.shape == (len(SWEEP_NS),) and np.isfinite(row).all(), ANSWERED, form)
    return np.array(rows)


def _numbers(row: Any) -> np.ndarray:
    """A row of numbers; empty if it is something else."""
    plain = isinstance(row, list | tuple | np.ndarray) and all(
        isinstance(x, int | float | np.number) for x in row
    )
    return np.asarray(row if plain else [], float)


def grade_table(work: Work, rng: np.random.Generator, *, name: str) -> None:
    """The table of "max" or "median" against the grader's own prompts."""
    table, truth = read_table(work, name), hidden(work, rng)
    equal = all(same(row, table[0], 1e-3) for row in table)
    require(not equal, CHECKS[name], IDEAS["equal"])
    value = agreement({t: {name: row} for t, row in zip(TEMPERATURES, table, strict=True)}, truth, name)
    if value < threshold("3.4", f"{name}_table"):
        got = f"agreement {value:.2f} with a table from other validation prompts"
        idea = IDEAS.filled(nearest_slip(table, truth, name), name=name)
        raise CheckFailed(CHECKS[name], idea.message, idea=idea.id, got=got)


def nearest_slip(table: np.ndarray, truth: Hidden, name: str) -> str:
    """Name of the idea whose table lies nearest to the learner's, if that is nearer than the right one."""
    tables = {"another table": _column(truth, name)} | table_slips(truth, name)
    distances = {idea: float(np.sqrt(np.mean((table - rows) ** 2))) for idea, rows in tables.items()}
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] < NEAR else "another table"


def table_slips(truth: Hidden, name: str) -> dict[str, Any]:
    """What wrong ideas give for the table of "max" or "median"."""
    other, best = ("median", np.max) if name == "max" else ("max", np.median)
    right, pools, every_n = _column(truth, name), list(truth.values()), np.ones(len(SWEEP_NS))
    return {
        f"{other} for {name}": _column(truth, other),
        "lowest": [-theory.best_of_n_curve(-rewards, SWEEP_NS).mean(axis=1) for rewards in pools],
        "one response": [every_n * rewards.mean() for rewards in pools],
        "whole pool": [every_n * best(rewards, axis=1).mean() for rewards in pools],
        "rows reversed": right[::-1],
        "nearly equal": np.tile(right[TEMPERATURES.index(1.0)], (len(right), 1)),
    }


def _column(truth: Hidden, name: str) -> np.ndarray:
    """The right table of "max" or "median": temperatures by n."""
    return np.array([row[name] for row in sweep_table(truth).values()])


def grade_choice(work: Work, rng: np.random.Generator) -> None:
    """The temperature, judged on the grader's own prompts; the table that it rests on must be there."""
    read_table(work, "max")
    chosen = work.value("best_temperature", (int, float))
    form = f"`best_temperature` should be one of {list(TEMPERATURES)}."
    require(chosen in TEMPERATURES, ANSWERED, form, got=chosen)
    grade_table(work, rng, name="max")
    truth = hidden(work, rng)
    value = choice_value(float(chosen), truth)
    best = max(TEMPERATURES, key=lambda temperature: choice_value(temperature, truth))
    rewards = {t: theory.best_of_n_estimate(pool, CHOSEN_N) for t, pool in truth.items()}
    not_separable = theory.paired_interval(rewards[float(chosen)], rewards[best])[1] >= 0
    idea = IDEAS["too cold" if chosen < best else "too hot"]
    got = f"{chosen}: {value:+.2f} against the best temperature"
    require(not_separable or value >= threshold("3.4", "temperature"), CHOICE, idea, got=got)


EXERCISE = Exercise(
    "3.4",
    "Choose the temperature",
    2,
    12,
    ("sweep", "best_temperature"),
    (
        Part("the best of n, per temperature", 1.0, partial(grade_table, name="max")),
        Part("the median of n, per temperature", 1.0, partial(grade_table, name="median")),
        Part("the temperature for n = 16", 1.0, grade_choice),
    ),
    given=nb03_given.sweep,
    measured=True,
    needs_torch=True,
)
