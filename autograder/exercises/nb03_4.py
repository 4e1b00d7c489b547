"""Exercise 3.4: the temperature, chosen on validation prompts by max and median reward against n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from autograder import calibration
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

MAX, MEDIAN, CHOICE = "gives the curve of the best", "gives the curve of the median", "chooses for n = 16"
Hidden = dict[float, np.ndarray]


_HIDDEN: WeakKeyDictionary[Work, Hidden] = WeakKeyDictionary()


def hidden(work: Work, rng: np.random.Generator) -> Hidden:
    """Rewards on validation prompts of the grader's own, drawn on the spot, once for all parts of a check."""
    if work not in _HIDDEN:
        rows, seed = hidden_rows(rng), int(rng.integers(1_000_000, 2_000_000))
        _HIDDEN[work] = sweep_rewards(rows, seed)
    return _HIDDEN[work]


def table(work: Work, name: str) -> dict[float, list[float]]:
    """The learner's `sweep` for "max" or "median", with all temperatures and n."""
    said = work.value("sweep", dict)
    rows = {}
    for t in TEMPERATURES:
        row = said.get(t, {}).get(name) if isinstance(said.get(t), dict) else None
        numbers = np.asarray(row if _are_numbers(row) else [], float)
        require(
            numbers.shape == (len(SWEEP_NS),) and np.isfinite(numbers).all(),
            ANSWERED,
            f"sweep[{t}][{name!r}] should be a list of {len(SWEEP_NS)} numbers, one for each n of "
            f"{list(SWEEP_NS)}.",
        )
        rows[t] = numbers.tolist()
    return rows


def _are_numbers(row: Any) -> bool:
    return isinstance(row, list | tuple | np.ndarray) and all(
        isinstance(x, int | float | np.number) for x in row
    )


def grade_max(work: Work, rng: np.random.Generator) -> None:
    """The table of the best against the grader's own prompts."""
    said = table(work, "max")
    _check_curve(MAX, said, "max", hidden(work, rng))


def _check_curve(check: str, said: dict[float, list[float]], name: str, truth: Hidden) -> None:
    rows = list(said.values())
    require(
        not all(same(row, rows[0], 1e-3) for row in rows),
        check,
        "Every temperature has the same numbers: was the pool drawn anew, with temperature=... passed on?",
        idea="F06",
    )
    value = agreement({t: {name: row} for t, row in said.items()}, truth, name)
    if value >= calibration.threshold("3.4", f"{name}_table"):
        return
    message, idea = _explained(np.array(rows), truth, name)
    raise CheckFailed(
        check, message, idea=idea, got=f"agreement {value:.2f} with a table from other validation prompts"
    )


def _explained(said: np.ndarray, truth: Hidden, name: str) -> tuple[str, str]:
    """The wrong idea whose table lies nearest to the learner's, if that is nearer than the right one."""
    other = "median" if name == "max" else "max"
    right = sweep_table(truth)
    mine = np.array([right[t][name] for t in TEMPERATURES])
    ideas = [
        (
            np.array([right[t][other] for t in TEMPERATURES]),
            f"These are the numbers of the {other}.",
            f"{other} for {name}",
        ),
        (np.array([_lowest(truth[t]) for t in TEMPERATURES]), "The lowest reward is kept.", "F03"),
        (
            np.array([_first(truth[t]) for t in TEMPERATURES]),
            "One response per prompt is looked at, whatever n is.",
            "F05",
        ),
        (
            np.array([_whole(truth[t], name) for t in TEMPERATURES]),
            f"This is the {name} of the whole pool, whatever n is.",
            "F45",
        ),
        (mine[::-1], "The rows stand under the wrong temperatures.", "rows reversed"),
        (
            np.tile(mine[TEMPERATURES.index(1.0)], (len(mine), 1)),
            "Every temperature has about the same numbers: is temperature=... passed on?",
            "F06",
        ),
    ]
    distance = [float(np.sqrt(((said - table) ** 2).mean())) for table, _, _ in ideas]
    best = int(np.argmin(distance))
    if distance[best] < 0.6 and distance[best] < np.sqrt(((said - mine) ** 2).mean()):
        return ideas[best][1:]
    return (
        f"This is not the mean {name} reward of n of a prompt's responses. Choose within a prompt, average "
        "over prompts, use `tiny` as the reward model, and validation prompts as they come.",
        "",
    )


def _lowest(rewards: np.ndarray) -> Sequence[float]:
    return -np.array(sweep_table(dict.fromkeys(TEMPERATURES, -rewards))[1.0]["max"])


def _first(rewards: np.ndarray) -> Sequence[float]:
    return [float(rewards.mean())] * len(SWEEP_NS)


def _whole(rewards: np.ndarray, name: str) -> Sequence[float]:
    found = rewards.max(axis=1) if name == "max" else np.median(rewards, axis=1)
    return [float(found.mean())] * len(SWEEP_NS)


def grade_median(work: Work, rng: np.random.Generator) -> None:
    """The table of the median against the grader's own prompts."""
    said = table(work, "median")
    _check_curve(MEDIAN, said, "median", hidden(work, rng))


def grade_choice(work: Work, rng: np.random.Generator) -> None:
    """The temperature, judged on the grader's own prompts; the table that it rests on must be there."""
    said = table(work, "max")
    chosen = work.value("best_temperature", (int, float))
    require(
        chosen in TEMPERATURES,
        ANSWERED,
        f"`best_temperature` should be one of {list(TEMPERATURES)}.",
        got=chosen,
    )
    _check_curve(MAX, said, "max", hidden(work, rng))
    truth = hidden(work, rng)
    value = choice_value(float(chosen), truth)
    best = max(TEMPERATURES, key=lambda t: choice_value(t, truth))
    at16 = {t: theory.best_of_n_estimate(r, CHOSEN_N) for t, r in truth.items()}
    not_separable = theory.paired_interval(at16[float(chosen)], at16[best])[1] >= 0
    if not_separable or value >= calibration.threshold("3.4", "temperature"):
        return
    if chosen < best:
        message, idea = (
            "So cold a policy writes nearly the same response again: too little to choose from.",
            "F06",
        )
    else:
        message, idea = "So hot a pool holds many different responses, and most of them are worse.", "F07"
    raise CheckFailed(CHOICE, message, idea=idea, got=f"{chosen}: {value:+.2f} against the best temperature")


EXERCISE = Exercise(
    "3.4",
    "Choose the temperature",
    2,
    12,
    ("sweep", "best_temperature"),
    (
        Part("the best of n, per temperature", 1.0, grade_max),
        Part("the median of n, per temperature", 1.0, grade_median),
        Part("the temperature for n = 16", 1.0, grade_choice),
    ),
    given=nb03_given.sweep,
    measured=True,
)
