"""Exercise 3.3: where gold turns while the reward still climbs, in a pool that the learner drew."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

import rslib
from autograder.calibration import threshold
from autograder.checks import Ideas
from autograder.exercise import ANSWERED, CheckFailed, Exercise, Part, diagnose, numbers, require, same
from autograder.exercises.artefacts import memoize
from autograder.experiments.nb03 import (
    CLOSE,
    MODELS,
    NS,
    REDRAWN,
    ROUNDED,
    gains,
    matrices,
    reward_model,
    with_replacement,
)
from autograder.handouts import nb03_given
from autograder.handouts.models import base_policy
from autograder.work import Work
from rslib import tables, theory
from rslib.errors import DataError, RSError

if TYPE_CHECKING:
    from datasets import Dataset

IDEAS = Ideas("""
unreadable (): The table cannot be read as a scored pool of validation prompts: {what}.
few prompts (F34): The pool should hold at least {prompts} prompts with {n} responses each. With few prompts
    the interval is wider than the effect.
two pools (F33): The two tables hold different responses. Draw one pool and score it with both reward models:
    only then does nothing but the reward model differ.
one model (F16): Both tables hold the rewards of one and the same reward model.
other rows (F09): Scored again by {name!r}, the rows get other rewards than those that stand in the table: the
    rewards are another model's, or stand in other rows.
no spread (F06): Choosing among all responses buys next to nothing here: look at the temperature, and at how
    many different responses a prompt has.
another seed (F20): The pool was not drawn with the seed of given("3.3"): it is another learner's, or an older
    one.
other settings (F06): Drawn again with the same seed, the policy writes other responses: the pool comes from
    other settings (temperature 1 and all tokens allowed are asked for), or was edited.

curve (): This is not your estimator's mean over the prompts: {column}, chosen by {name}.
first n (F45): You look at the first n responses of each prompt. Use your estimator: every subset counts.
with replacement (F45): You draw with replacement: at large n the curve comes out too low.
gold chooses (F16): Gold chooses here. The reward chooses, and gold is what the chosen response is worth.
values ignored: This is the curve of the reward, not of gold: pass gold as `values`.
one pool: You throw all prompts into one pool. Choose within each prompt, then average over prompts.
mean (F02): This is the mean of the pool, whatever n is: nothing is selected.
lowest (F03): The lowest reward is kept.
other model (F09): These are the numbers of the other reward model.
per prompt (): {case} holds a number for each prompt. One number for each n is asked for: the mean over the
    prompts.
columns (F09): The numbers of reward and gold changed places.
best of all (F45): This is the best of the whole pool, whatever n is. What is the best if only n are drawn?
sum: This is the sum over the prompts. The mean is asked for.
median: This is the median over the prompts. The mean is asked for.

place (F05): For {name}, at this n more responses still help gold, separably in your own paired data. Is it an
    n, or the place of one in the list?
peak of the reward (F16): For {name} that is where the reward is highest. Gold is what the work is about:
    where is gold highest?
too few (F05): For {name}, at this n more responses still help gold, separably in your own paired data.
too many (F14): For {name}, at this n gold has already fallen, separably in your own paired data.

fall (): This is not gold of the best of {last} minus gold of the best of {n_star}, chosen by {name}.
order: {form} The difference lies in its interval.
sign: The sign is turned round: the fall is gold at the largest n minus gold at n_star.
of the reward (F16): This is the difference of the reward. Gold says whether the responses became worse.
to one response (F05): This is the difference to one response. The fall is measured from n_star.
too sure (F34): The interval is too narrow. A 95 % interval reaches about two standard errors to each side,
    and its sample is the prompts: every prompt gives one difference.
two intervals (spread): Each row got an interval of its own, and their ends were subtracted. A prompt that is
    hard for one is hard for the other: take the differences prompt by prompt, then one interval.
one row (spread): Your n_star is the largest n, so both rows are the same. Pair them prompt by prompt: how far
    can those differences reach?
spread: The interval is too wide. It says how well the mean of the differences is known, not how far single
    prompts lie apart.
no fall (F34): You say that gold falls under {name}, and your own interval of the fall reaches 0: the two are
    not separable in your pool.
no hump (F16): You say that gold shows no fall under {name}, and your own interval of the fall lies below 0 as
    a whole, while the reward went on climbing.
""")
POOL, MATCHED, DRAWN = "hands in a whole pool", "scores the same responses twice", "draws from the policy"
SCORED, SPREAD = "keeps rewards in their rows", "has something to select from"
CURVES, PEAK = "averages every subset of the pool", "finds where gold turns"
FALL, HUMP = "measures the fall", "says what the data separate"
FEWEST = 32
"""Fewest prompts of a pool."""
AGAIN = 32
"""How many rows are scored again, and how many responses to one prompt are drawn again."""
WIDTHS = (0.7, 1.6)
"""Widths that an interval may have, against the bootstrap over intents, or that over prompts, whichever is
nearer: a t interval, two standard errors or a level of 99 % lie within, one standard error does not."""

Arrays = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(rewards, gold, intents) per reward model."""
Curves = Mapping[str, np.ndarray]
"""`reward` and `gold` of the best of n, per prompt, `(len(NS), M)`."""


# The pool -------------------------------------------------------------------------------------------------


def both_pools(work: Work) -> dict[str, Dataset]:
    """The learner's two scored tables. CheckFailed if one is missing or no table of the right kind."""
    from datasets import Dataset

    pools = work.object("scored")
    example = '{"tiny": table, "tiny-unbiased": table}'
    require(isinstance(pools, dict) and set(pools) >= set(MODELS), ANSWERED, f"`scored` should be {example}.")
    for name in MODELS:
        message = f"scored[{name!r}] should be a table of rslib.score."
        require(isinstance(pools[name], Dataset), ANSWERED, message)
    return {name: pools[name] for name in MODELS}


def checked(work: Work) -> Arrays:
    """(rewards, gold, intents) per reward model, of a pool that is large enough and the same for both."""
    first, second = both_pools(work).values()
    try:
        arrays = _judged(first)
        rewards = tables.reward_matrix(second)[1]
    except RSError as error:
        raise CheckFailed(POOL, IDEAS.filled("unreadable", what=error.what).message) from error
    prompts, size = arrays[0].shape
    large, got = prompts >= FEWEST and size >= NS[-1], f"{prompts} prompts, {size} responses each"
    require(large, POOL, IDEAS.filled("few prompts", prompts=FEWEST, n=NS[-1]), got=got)
    columns = ("prompt_id", "prompt", "sample_id", "response")
    matched = all(first[column][:] == second[column][:] for column in columns)
    require(matched, MATCHED, IDEAS["two pools"])
    require(not np.array_equal(arrays[0], rewards), MATCHED, IDEAS["one model"])
    return {MODELS[0]: arrays, MODELS[1]: (rewards, *arrays[1:])}


@memoize
def _judged(table: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`matrices` of a pool of validation prompts. Raises DataError for others. Gold takes a second."""
    validation = rslib.load_prompts("tiny", split="validation")
    pairs = zip(table["prompt_id"][:], table["prompt"][:], strict=True)
    known = dict(zip(validation["prompt_id"][:], validation["prompt"][:], strict=True))
    for prompt_id, prompt in dict.fromkeys(pairs):
        if known.get(prompt_id) != prompt:
            fix = 'Use rslib.load_prompts("tiny", split="validation").'
            raise DataError(f"{prompt_id!r} is not a validation prompt", fix=fix)
    return matrices(table)


_VERIFIED: set[tuple] = set()


def verified(work: Work, rng: np.random.Generator) -> Arrays:
    """As `checked`, for a pool that is the policy's own; tables that have passed are not looked at again."""
    arrays, pools, seed = checked(work), both_pools(work), nb03_given.pool(work.variant)["seed"]
    key = (*map(tables.fingerprint, pools.values()), seed)
    if key not in _VERIFIED:
        _check_rewards(pools, rng)
        rewards, gold = [arrays[name][0] for name in MODELS], arrays[MODELS[0]][1]
        for statistic, value in gains(rewards, rewards, gold).items():
            enough, got = value >= threshold("3.3", statistic), f"{statistic}: {value:.2f}"
            require(enough, SPREAD, IDEAS["no spread"], got=got)
        _check_draws(pools[MODELS[0]], seed, rng)
        _VERIFIED.add(key)
    return arrays


def _check_rewards(pools: Mapping[str, Dataset], rng: np.random.Generator) -> None:
    """Some rows, scored again."""
    for name, table in pools.items():
        rows = tables.take(table, np.sort(rng.choice(len(table), AGAIN, replace=False)))
        again = rslib.score(reward_model(name), rows, show_progress=False)
        apart = np.abs(tables.reward_column(again) - tables.reward_column(rows))
        agree = np.mean(apart <= CLOSE)
        got = f"{agree:.0%} of {AGAIN} rows agree"
        require(agree >= REDRAWN, SCORED, IDEAS.filled("other rows", name=name), got=got)


def _check_draws(table: Dataset, seed: int, rng: np.random.Generator) -> None:
    """The responses to one prompt, drawn again with the seed of the learner."""
    from rslib.sampling import response_seed

    names, _, rows = tables.reward_matrix(table)
    number = int(rng.integers(len(names)))
    part = tables.take(table, rows[number][:AGAIN])
    seeds = [response_seed(seed, names[number], sample) for sample in part["sample_id"][:]]
    require(seeds == part["seed"][:], DRAWN, IDEAS["another seed"])
    prompts = rslib.load_prompts("tiny", split="validation")
    prompt = prompts.select([prompts["prompt_id"][:].index(names[number])])
    n = max(part["sample_id"][:]) + 1
    again = rslib.sample(base_policy(), prompt, n=n, seed=seed, show_progress=False)["response"][:]
    pairs = zip(part["sample_id"][:], part["response"][:], strict=True)
    agree = np.mean([again[sample] == response for sample, response in pairs])
    got = f"{agree:.0%} of {len(part)} responses come out again"
    require(agree >= REDRAWN, DRAWN, IDEAS["other settings"], got=got)


# The curves -----------------------------------------------------------------------------------------------


def right_curves(arrays: Arrays) -> dict[str, Curves]:
    """The curves of each reward model."""
    return {
        name: {"reward": theory.best_of_n_curve(r, NS), "gold": theory.best_of_n_curve(r, NS, gold)}
        for name, (r, gold, _) in arrays.items()
    }


def grade_curves(work: Work, rng: np.random.Generator) -> None:
    """The learner's curves against those of the learner's own pool, which must be the policy's."""
    curves = work.value("curves", dict)
    arrays = verified(work, rng)
    right = right_curves(arrays)
    for name, column in product(MODELS, ("reward", "gold")):
        case = f"curves[{name!r}][{column!r}]"
        got = curves[name].get(column) if hasattr(curves.get(name), "get") else None
        form = f"{case} should be a list of {len(NS)} numbers, one for each n of {list(NS)}."
        require(got is not None and len(np.atleast_1d(got)) == len(NS), ANSWERED, form)
        values = numbers(got)
        flat = values is None or values.ndim == 1
        require(flat, CURVES, IDEAS.filled("per prompt", case=case), case=case, got=got)
        expected = right[name][column].mean(axis=1).tolist()
        if not same(got, expected, ROUNDED):  # the wrong ideas' curves take a while
            rewards, gold, _ = arrays[name]
            [other] = {*MODELS} - {name}
            over_prompts = {
                "other model": right[other][column].mean(axis=1),
                "sum": right[name][column].sum(axis=1),
                "median": np.median(right[name][column], axis=1),
                "best of all": [expected[-1]] * len(NS),  # all pools have NS[-1] responses or more
            }
            if column == "reward":
                over_prompts["columns"] = right[name]["gold"].mean(axis=1)
            slips = curve_slips(rewards, gold, rewards if column == "reward" else gold)
            diagnose(
                CURVES,
                got,
                expected,
                ideas=IDEAS.of(over_prompts | slips),
                otherwise=IDEAS.filled("curve", column=column, name=name),
                tolerance=ROUNDED,
                case=case,
                reveal=False,
            )


def curve_slips(rewards: np.ndarray, gold: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """What wrong ideas give for the curve of these values."""
    rows, pairs = np.arange(len(rewards)), list(zip(rewards, values, strict=True))
    return {
        "first n": [values[rows, rewards[:, :n].argmax(axis=1)].mean() for n in NS],
        "with replacement": [np.mean([with_replacement(r, n, v) for r, v in pairs]) for n in NS],
        "gold chooses": theory.best_of_n_curve(gold, NS, values).mean(axis=1),
        "values ignored": theory.best_of_n_curve(rewards, NS).mean(axis=1),
        "one pool": theory.best_of_n_curve(rewards.ravel(), NS, values.ravel())[:, 0],
        "mean": [values.mean()] * len(NS),
        "lowest": theory.best_of_n_curve(-rewards, NS, values).mean(axis=1),
    }


# The peak -------------------------------------------------------------------------------------------------


def accepted_peaks(gold: np.ndarray, intents: np.ndarray) -> list[int]:
    """Every n whose gold is not separably below the peak: the 95 % paired interval reaches 0."""
    peak = gold[gold.mean(axis=1).argmax()]
    highs = [theory.paired_interval(row, peak, clusters=intents)[1] for row in gold]
    return [n for n, high in zip(NS, highs, strict=True) if high >= 0]


def grade_peaks(work: Work, rng: np.random.Generator) -> None:
    """`n_star`, read off curves that are right; so they must be right first."""
    peaks = work.value("n_star", dict)
    grade_curves(work, rng)
    arrays = checked(work)
    for name, right in right_curves(arrays).items():
        _check_peak(name, peaks.get(name), right, arrays[name][2])


def _check_peak(name: str, n_star: Any, right: Curves, intents: np.ndarray) -> None:
    known, form = (
        isinstance(n_star, int | float | np.number),
        f"n_star[{name!r}] should be one of {list(NS)}.",
    )
    require(known and n_star in NS, ANSWERED, form, got=n_star)
    highest = {column: NS[int(curve.mean(axis=1).argmax())] for column, curve in right.items()}
    idea = "too few" if n_star < highest["gold"] else "too many"
    if idea == "too few" and n_star == NS.index(highest["gold"]):
        idea = "place"
    if n_star == highest["reward"]:
        idea = "peak of the reward"
    accepted = n_star in accepted_peaks(right["gold"], intents)
    require(accepted, PEAK, IDEAS.filled(idea, name=name), got=n_star)


# The fall -------------------------------------------------------------------------------------------------


def grade_fall(work: Work, rng: np.random.Generator) -> None:
    """`fall` from the learner's own `n_star`, and `no_hump` by the learner's own interval."""
    peaks, falls, flat = work.value("n_star", dict), work.value("fall", dict), work.object("no_hump")
    grade_peaks(work, rng)
    arrays = checked(work)
    ends = {
        name: check_fall(name, falls.get(name), peaks[name], right, arrays[name][2])
        for name, right in right_curves(arrays).items()
    }
    known = isinstance(flat, list | tuple | set) and all(isinstance(n, str) and n in MODELS for n in flat)
    require(known, ANSWERED, f"`no_hump` should be a list with none, one or both of {list(MODELS)}.")
    for name, (low, high) in ends.items():
        at_zero = low < -ROUNDED and abs(high) <= ROUNDED  # may be read both ways
        got, falling = f"from {low:.2f} to {high:.2f}", name not in flat
        require(not falling or high < 0 or at_zero, HUMP, IDEAS.filled("no fall", name=name), got=got)
        require(falling or high >= 0 or at_zero, HUMP, IDEAS.filled("no hump", name=name), got=got)


def check_fall(
    name: str, answer: Any, n_star: int, right: Curves, intents: np.ndarray
) -> tuple[float, float]:
    """Both ends of the learner's interval, once it fits the pool."""
    mean, low, high = _three_numbers(name, answer)
    gold, row = right["gold"], NS.index(int(n_star))
    differences = [gold[-1] - gold[row], crossed_fall(gold, intents)]
    fitting = [values for values in differences if same(mean, values.mean(), 2 * ROUNDED)]
    if not fitting:
        diagnose(
            FALL,
            mean,
            differences[0].mean(),
            ideas=IDEAS.of(_nearest_first(fall_slips(right, row), mean)),
            otherwise=IDEAS.filled("fall", last=NS[-1], n_star=n_star, name=name),
            tolerance=2 * ROUNDED,
            reveal=False,
        )
    alike = not np.ptp(fitting[0]) if fitting else False
    require(
        not alike or high - low <= 4 * ROUNDED, FALL, IDEAS["one row"], case=f"fall[{name!r}]", got=answer
    )
    _check_ends(name, (low, high), (gold[-1], gold[row]), intents)
    known = [
        np.ptp(theory.bootstrap_interval(values, clusters=by)) for values in fitting for by in (intents, None)
    ]
    ratios = [(high - low + 4 * ROUNDED) / (width + 4 * ROUNDED) for width in known]  # both may be rounded
    ratio, case = min(ratios, key=lambda ratio: abs(np.log(ratio))), f"fall[{name!r}]"
    require(ratio > WIDTHS[0], FALL, IDEAS["too sure"], case=case, got=answer)
    require(ratio < WIDTHS[1], FALL, IDEAS["spread"], case=case, got=answer)
    return low, high


def _nearest_first(slips: Mapping[str, float], got: float) -> dict[str, float]:
    """Slips in the order of their distance from what was handed in: two may lie within the tolerance."""
    return dict(sorted(slips.items(), key=lambda slip: abs(slip[1] - got)))


def _check_ends(
    name: str, ends: tuple[float, float], rows: tuple[np.ndarray, np.ndarray], intents: np.ndarray
) -> None:
    """CheckFailed for ends that are, number by number, those of two intervals."""
    each = [[theory.bootstrap_interval(row, clusters=by) for row in rows] for by in (intents, None)]
    apart = [(last[0] - peak[1], last[1] - peak[0]) for last, peak in each]
    known = any(same(ends, value, ROUNDED) for value in apart)
    require(not known, FALL, IDEAS["two intervals"], case=f"fall[{name!r}]", got=ends)


def _three_numbers(name: str, answer: Any) -> tuple[float, float, float]:
    """(difference, low, high), from a sequence or from a row of the engine's table."""
    if isinstance(answer, Mapping):
        answer = [answer.get(key) for key in ("difference", "low", "high")]
    values = numbers(answer)
    form = f"fall[{name!r}] should be three numbers: (difference, low, high)."
    plain = values is not None and values.shape == (3,) and np.isfinite(values).all()
    require(plain, ANSWERED, form, got=answer)
    mean, low, high = values.tolist()
    inside = low - ROUNDED <= mean <= high + ROUNDED
    require(inside, FALL, IDEAS.filled("order", form=form), got=answer)
    return mean, low, high


def crossed_fall(gold: np.ndarray, intents: np.ndarray) -> np.ndarray:
    """Gold at the largest n minus gold at the peak, per prompt; each half is judged at the other's peak.

    This is how `rslib.evaluation.best_of_n_table` does it: a peak that is found and judged on the same
    prompts flatters itself.
    """
    names = np.unique(intents)
    half = np.isin(intents, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    falls = np.empty(gold.shape[1])
    for judged in (half, ~half):
        falls[judged] = (gold[-1] - gold[gold[:, ~judged].mean(axis=1).argmax()])[judged]
    return falls


def fall_slips(right: Curves, row: int) -> dict[str, float]:
    """What wrong ideas give for the fall from this row of NS."""
    gold, reward = (right[column].mean(axis=1) for column in ("gold", "reward"))
    return {
        "sign": gold[row] - gold[-1],
        "of the reward": reward[-1] - reward[row],
        "to one response": gold[-1] - gold[0],
    }


EXERCISE = Exercise(
    "3.3",
    "Where gold turns",
    3,
    15,
    ("scored", "curves", "n_star", "fall", "no_hump"),
    (
        Part("the curves, from a pool of your own", 2.0, grade_curves),
        Part("where gold is highest", 0.5, grade_peaks),
        Part("how far it falls, and whether the data can tell", 1.5, grade_fall),
    ),
    given=nb03_given.pool,
    measured=True,
    needs_torch=True,
)
