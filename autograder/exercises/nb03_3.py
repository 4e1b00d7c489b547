"""Exercise 3.3: where gold turns while the reward still climbs, in a pool that the learner drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

import rslib
from autograder import calibration
from autograder.exercise import (
    ANSWERED,
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    diagnose,
    numbers,
    require,
    same,
)
from autograder.experiments.nb03 import (
    MODELS,
    NS,
    gains,
    matrices,
    policy,
    reward_model,
    with_replacement,
)
from autograder.handouts import nb03_given
from autograder.work import Work
from rslib import tables, theory
from rslib.errors import RSError
from rslib.sampling import response_seed

if TYPE_CHECKING:
    from datasets import Dataset

Arrays = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(rewards, gold, intents) per reward model."""
POOL, MATCHED, DRAWN, SCORED = (
    "hands in a whole pool",
    "scores the same responses twice",
    "draws from the policy",
    "keeps rewards in their rows",
)
CURVES, PEAK, FALL, HUMP, SPREAD = (
    "averages every subset of the pool",
    "finds where gold turns",
    "measures the fall",
    "says what the data separate",
    "has something to select from",
)
FEWEST = 32
"""Fewest prompts of a pool."""
AGAIN = 32
"""How many rows are scored again, and how many responses to one prompt are drawn again."""
REDRAWN = 0.9
"""Share of rows that must come out again: all of them on one machine, nearly all on another."""
CLOSE = 0.05
"""Two rewards of one row that differ by less are the same on another machine."""
ROUNDED = 0.006
"""Numbers may be rounded to two decimals."""
WIDTHS = (0.7, 1.6)
"""Widths that an interval may have, against the bootstrap over intents, or that over prompts, whichever is
nearer: a t interval, two standard errors or a level of 99 % lie within, one standard error does not."""


def both_pools(work: Work) -> dict[str, Dataset]:
    """The learner's two scored tables. CheckFailed if one is missing or no table of the right kind."""
    from datasets import Dataset

    found = work.object("scored")
    example = '{"tiny": table, "tiny-unbiased": table}'
    require(isinstance(found, dict) and set(found) >= set(MODELS), ANSWERED, f"`scored` should be {example}.")
    for name in MODELS:
        require(
            isinstance(found[name], Dataset), ANSWERED, f"scored[{name!r}] should be a table of rslib.score."
        )
    return {name: found[name] for name in MODELS}


_JUDGED: WeakKeyDictionary[Dataset, tuple] = WeakKeyDictionary()


def checked(work: Work) -> Arrays:
    """(rewards, gold, intents) per reward model, of a pool that is large enough and the same for both."""
    found = both_pools(work)
    first, second = found.values()
    try:
        if first not in _JUDGED:  # gold takes a second to judge, and every part asks for it
            _JUDGED[first] = matrices(_known(first))
        rewards = tables.reward_matrix(second)[1]
    except RSError as err:
        text = f"The table cannot be read as a scored pool of validation prompts: {err.what}."
        raise CheckFailed(POOL, text) from err
    arrays = _JUDGED[first]
    prompts, size = arrays[0].shape
    require(
        prompts >= FEWEST and size >= NS[-1],
        POOL,
        f"The pool should hold at least {FEWEST} prompts with {NS[-1]} responses each. With few prompts the "
        "interval is wider than the effect.",
        idea="F34",
        got=f"{prompts} prompts, {size} responses each",
    )
    columns = ("prompt_id", "prompt", "sample_id", "response")
    require(
        all(first[column][:] == second[column][:] for column in columns),
        MATCHED,
        "The two tables hold different responses. Draw one pool and score it with both reward models: only "
        "then does nothing but the reward model differ.",
        idea="F33",
    )
    require(
        not np.array_equal(arrays[0], rewards),
        MATCHED,
        "Both tables hold the rewards of one and the same reward model.",
        idea="F16",
    )
    return {MODELS[0]: arrays, MODELS[1]: (rewards, *arrays[1:])}


def _known(table: Dataset) -> Dataset:
    """The table, if its prompts are those of the validation split. Raises DataError."""
    known = dict(_validation())
    for prompt_id, prompt in set(zip(table["prompt_id"][:], table["prompt"][:], strict=True)):
        if known.get(prompt_id) != prompt:
            fix = 'Use rslib.load_prompts("tiny", split="validation").'
            raise rslib.errors.DataError(f"{prompt_id!r} is not a validation prompt", fix=fix)
    return table


def _validation() -> list[tuple[str, str]]:
    prompts = rslib.load_prompts("tiny", split="validation")
    return list(zip(prompts["prompt_id"][:], prompts["prompt"][:], strict=True))


_VERIFIED: WeakKeyDictionary[Dataset, tuple[Dataset, int]] = WeakKeyDictionary()


def verified(work: Work, rng: np.random.Generator) -> Arrays:
    """As `checked`, for a pool that is the policy's own; tables that have passed are not looked at again."""
    arrays = checked(work)
    (first, second), seed = both_pools(work).values(), nb03_given.pool(work.variant)["seed"]
    before = _VERIFIED.get(first)
    if before is None or before[0] is not second or before[1] != seed:
        _verify(work, arrays, rng)
        _VERIFIED[first] = second, seed
    return arrays


def _verify(work: Work, arrays: Arrays, rng: np.random.Generator) -> None:
    """The pool is the policy's, the rewards are the reward models', and there is something to select."""
    found = both_pools(work)
    _grade_rewards(found, rng)
    rewards, gold = [arrays[name][0] for name in MODELS], arrays[MODELS[0]][1]
    for statistic, value in gains(rewards, rewards, gold).items():
        require(
            value >= calibration.threshold("3.3", statistic),
            SPREAD,
            "Choosing among all responses buys next to nothing here: look at the temperature, and at how "
            "many different responses a prompt has.",
            idea="F06",
            got=f"{statistic}: {value:.2f}",
        )
    _grade_draws(found[MODELS[0]], nb03_given.pool(work.variant)["seed"], rng)


def _grade_rewards(found: Mapping[str, Dataset], rng: np.random.Generator) -> None:
    for name, table in found.items():
        rows = np.sort(rng.choice(len(table), AGAIN, replace=False))
        part = tables.take(table, rows)
        again = np.array(rslib.score(reward_model(name), part, show_progress=False)["reward"][:])
        agree = np.mean(np.abs(again - np.array(part["reward"][:])) <= CLOSE)
        require(
            agree >= REDRAWN,
            SCORED,
            f"Scored again by {name!r}, the rows get other rewards than those that stand in the table: the "
            "rewards are another model's, or stand in other rows.",
            idea="F09",
            got=f"{agree:.0%} of {AGAIN} rows agree",
        )


def _grade_draws(table: Dataset, seed: int, rng: np.random.Generator) -> None:
    """The responses to one prompt, drawn again with the seed of the learner."""
    names, _, places = tables.reward_matrix(table)
    part = tables.take(table, places[int(rng.integers(len(names)))][:AGAIN])
    wanted = [
        response_seed(seed, p, s) for p, s in zip(part["prompt_id"][:], part["sample_id"][:], strict=True)
    ]
    require(
        wanted == part["seed"][:],
        DRAWN,
        'The pool was not drawn with the seed of given("3.3"): it is another learner\'s, or an older one.',
        idea="F20",
    )
    prompts = rslib.load_prompts("tiny", split="validation")
    wanted_ids = set(part["prompt_id"][:])
    prompts = prompts.select([k for k, p in enumerate(prompts["prompt_id"][:]) if p in wanted_ids])
    n = max(part["sample_id"][:]) + 1
    drawn = rslib.sample(policy(), prompts, n=n, seed=seed, show_progress=False)
    keys = {
        (p, s): r
        for p, s, r in zip(*(drawn[c][:] for c in ("prompt_id", "sample_id", "response")), strict=True)
    }
    again = [keys[p, s] for p, s in zip(part["prompt_id"][:], part["sample_id"][:], strict=True)]
    agree = np.mean([a == b for a, b in zip(again, part["response"][:], strict=True)])
    require(
        agree >= REDRAWN,
        DRAWN,
        "Drawn again with the same seed, the policy writes other responses: the pool comes from other "
        "settings (temperature 1 and all tokens allowed are asked for), or was edited.",
        idea="F06",
        got=f"{agree:.0%} of {len(again)} responses come out again",
    )


def right_curves(arrays: Mapping[str, tuple]) -> dict[str, dict[str, np.ndarray]]:
    """Per reward model: `reward` and `gold` of the best of n, per prompt, `(len(NS), M)`."""
    return {
        name: {"reward": theory.best_of_n_curve(r, NS), "gold": theory.best_of_n_curve(r, NS, gold)}
        for name, (r, gold, _) in arrays.items()
    }


def grade_curves(work: Work, rng: np.random.Generator) -> None:
    """The learner's curves against those of the learner's own pool, which must be the policy's."""
    compared_curves(work, rng)


def compared_curves(work: Work, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """The right curves per prompt, once the learner's agree with their means."""
    said = work.value("curves", dict)
    arrays = verified(work, rng)
    right = right_curves(arrays)
    for name in MODELS:
        for column in ("reward", "gold"):
            got = said.get(name, {}).get(column) if isinstance(said.get(name), dict) else None
            require(
                got is not None and len(np.atleast_1d(got)) == len(NS),
                ANSWERED,
                f"curves[{name!r}][{column!r}] should be a list of {len(NS)} numbers, one for each n of "
                f"{list(NS)}.",
            )
            expected = right[name][column].mean(axis=1).tolist()
            if not same(got, expected, ROUNDED):  # the wrong ideas' curves take a while
                text = f"This is not your estimator's mean over the prompts: {column}, chosen by {name}."
                diagnose(
                    CURVES,
                    got,
                    expected,
                    ideas=_curve_ideas(*arrays[name][:2], column),
                    otherwise=text,
                    tolerance=ROUNDED,
                    case=f"curves[{name!r}][{column!r}]",
                    reveal=False,
                )
    return right


def _curve_ideas(rewards: np.ndarray, gold: np.ndarray, column: str) -> list[Misconception]:
    values = rewards if column == "reward" else gold
    first = [values[np.arange(len(rewards)), rewards[:, :n].argmax(axis=1)].mean() for n in NS]
    plug_in = [np.mean([with_replacement(r, n, v) for r, v in zip(rewards, values, strict=True)]) for n in NS]
    return [
        Misconception(
            "F45",
            "You look at the first n responses of each prompt. Use your estimator: every subset counts.",
            first,
        ),
        Misconception("F45", "You draw with replacement: at large n the curve comes out too low.", plug_in),
        Misconception(
            "F16",
            "Gold chooses here. The reward chooses, and gold is what the chosen response is worth.",
            theory.best_of_n_curve(gold, NS, values).mean(axis=1),
        ),
        Misconception(
            "values ignored",
            "This is the curve of the reward, not of gold: pass gold as `values`.",
            theory.best_of_n_curve(rewards, NS).mean(axis=1),
        ),
        Misconception(
            "one pool",
            "You throw all prompts into one pool. Choose within each prompt, then average over prompts.",
            theory.best_of_n_curve(rewards.ravel(), NS, values.ravel())[:, 0],
        ),
        Misconception(
            "F03", "The lowest reward is kept.", theory.best_of_n_curve(-rewards, NS, values).mean(axis=1)
        ),
    ]


def crossed_fall(gold: np.ndarray, intents: np.ndarray) -> np.ndarray:
    """Gold at the largest n minus gold at the peak, per prompt; each half is judged at the other's peak.

    This is how `rslib.evaluation.best_of_n_table` does it: a peak that is found and judged on the same
    prompts flatters itself.
    """
    names = np.unique(intents)
    half = np.isin(intents, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    found = np.empty(gold.shape[1])
    for mine in (half, ~half):
        found[mine] = (gold[-1] - gold[gold[:, ~mine].mean(axis=1).argmax()])[mine]
    return found


def accepted_peaks(gold: np.ndarray, intents: np.ndarray) -> list[int]:
    """Every n whose gold is not separably below the peak: the 95 % paired interval reaches 0."""
    peak = gold[gold.mean(axis=1).argmax()]
    highs = [theory.paired_interval(row, peak, clusters=intents)[1] for row in gold]
    return [n for n, high in zip(NS, highs, strict=True) if high >= 0]


def grade_peaks(work: Work, rng: np.random.Generator) -> None:
    """`n_star`, read off curves that are right; so they must be right first."""
    _read_peaks(work, rng)


def _read_peaks(work: Work, rng: np.random.Generator) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """The right curves and the intents, once `n_star` fits them."""
    said, right = work.value("n_star", dict), compared_curves(work, rng)
    intents = checked(work)[MODELS[0]][2]
    for name in MODELS:
        _grade_peak(name, said.get(name), right[name], intents)
    return right, intents


def grade_fall(work: Work, rng: np.random.Generator) -> None:
    """`fall` from the learner's own `n_star`, and `no_hump` by the learner's own interval."""
    peaks, falls, flat = work.value("n_star", dict), work.value("fall", dict), work.object("no_hump")
    right, intents = _read_peaks(work, rng)
    ends = {name: _grade_fall(name, falls.get(name), peaks[name], right[name], intents) for name in MODELS}
    require(
        isinstance(flat, list | tuple | set) and set(flat) <= set(MODELS),
        ANSWERED,
        f"`no_hump` should be a list with none, one or both of {list(MODELS)}.",
    )
    for name in MODELS:
        _grade_claim(name, *ends[name], name in flat)


def _grade_claim(name: str, low: float, high: float, flat: bool) -> None:
    """Whether `no_hump` says what the learner's interval says; one that ends at 0 may be read both ways."""
    at_zero = low < -ROUNDED and abs(high) <= ROUNDED
    require(
        flat or high < 0 or at_zero,
        HUMP,
        f"You say that gold falls under {name}, and your own interval of the fall reaches 0: the two are not "
        "separable in your pool.",
        idea="F34",
        got=f"from {low:.2f} to {high:.2f}",
    )
    require(
        not flat or high >= 0 or at_zero,
        HUMP,
        f"You say that gold shows no fall under {name}, and your own interval of the fall lies below 0 as a "
        "whole, while the reward went on climbing.",
        idea="F16",
        got=f"from {low:.2f} to {high:.2f}",
    )


def _grade_fall(
    name: str, said: Any, n_star: int, right: Mapping[str, np.ndarray], intents: np.ndarray
) -> tuple[float, float]:
    """Both ends of the learner's interval, once it fits the pool."""
    mean, low, high = _three_numbers(name, said)
    gold, at = right["gold"], NS.index(int(n_star))
    ways = [gold[-1] - gold[at], crossed_fall(gold, intents)]
    fitting = [way for way in ways if same(mean, way.mean(), 2 * ROUNDED)]
    if not fitting:
        text = (
            f"This is not gold of the best of {NS[-1]} minus gold of the best of {n_star}, chosen by {name}."
        )
        ideas, expected = _fall_ideas(right, at), ways[0].mean()
        diagnose(FALL, mean, expected, ideas=ideas, otherwise=text, tolerance=2 * ROUNDED, reveal=False)
    ratio = _width_ratio(high - low, fitting, intents)
    require(ratio > WIDTHS[0], FALL, TOO_SURE, idea="F34", case=f"fall[{name!r}]", got=said)
    require(ratio < WIDTHS[1], FALL, TOO_WIDE, idea="spread", case=f"fall[{name!r}]", got=said)
    return low, high


def _three_numbers(name: str, said: Any) -> tuple[float, float, float]:
    """(difference, low, high), from a sequence or from a row of the engine's table."""
    if isinstance(said, Mapping):
        said = [said.get(key) for key in ("difference", "low", "high")]
    found = numbers(said)
    form = f"fall[{name!r}] should be three numbers: (difference, low, high)."
    require(found is not None and found.shape == (3,) and np.isfinite(found).all(), ANSWERED, form, got=said)
    mean, low, high = found.tolist()
    inside = low - ROUNDED <= mean <= high + ROUNDED
    require(inside, FALL, f"{form} The difference lies in its interval.", idea="order", got=said)
    return mean, low, high


def _width_ratio(width: float, ways: Sequence[np.ndarray], intents: np.ndarray) -> float:
    """The width against the nearest of the intervals that are right; both may be rounded."""
    known = [np.ptp(theory.bootstrap_interval(way, clusters=by)) for way in ways for by in (intents, None)]
    ratios = [(width + 4 * ROUNDED) / (right + 4 * ROUNDED) for right in known]
    return min(ratios, key=lambda ratio: abs(np.log(ratio)))


TOO_SURE = (
    "The interval is too narrow. A 95 % interval reaches about two standard errors to each side, and its "
    "sample is the prompts: every prompt gives one difference."
)
TOO_WIDE = (
    "The interval is too wide. It says how well the mean of the differences is known, not how far single "
    "prompts lie apart."
)


def _fall_ideas(right: Mapping[str, np.ndarray], at: int) -> list[Misconception]:
    gold, reward = (right[column].mean(axis=1) for column in ("gold", "reward"))
    turned = "The sign is turned round: the fall is gold at the largest n minus gold at n_star."
    proxy = "This is the difference of the reward. Gold says whether the responses became worse."
    gain = "This is the difference to one response. The fall is measured from n_star."
    return [
        Misconception("sign", turned, gold[at] - gold[-1]),
        Misconception("F16", proxy, reward[-1] - reward[at]),
        Misconception("F05", gain, gold[-1] - gold[0]),
    ]


def _grade_peak(name: str, said: Any, right: Mapping[str, np.ndarray], intents: np.ndarray) -> None:
    require(
        isinstance(said, int | float | np.number) and said in NS,
        ANSWERED,
        f"n_star[{name!r}] should be one of {list(NS)}.",
        got=said,
    )
    means = {column: NS[int(curve.mean(axis=1).argmax())] for column, curve in right.items()}
    if int(said) in accepted_peaks(right["gold"], intents):
        return
    if same(int(said), means["reward"]):
        raise CheckFailed(
            PEAK,
            f"For {name} that is where the reward is highest. Gold is what the work is about: where is gold "
            "highest?",
            idea="F16",
            got=str(said),
        )
    text = "more responses still help gold" if int(said) < means["gold"] else "gold has already fallen"
    idea = "F14" if int(said) > means["gold"] else "F05"
    raise CheckFailed(
        PEAK, f"For {name}, at this n {text}, separably in your own paired data.", idea=idea, got=str(said)
    )


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
)
