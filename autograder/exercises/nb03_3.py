"""Exercise 3.3: where gold turns while the reward still climbs, in a pool that the learner drew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

import rslib
from autograder import calibration
from autograder.exercise import ANSWERED, Exercise, Idea, Part, Variant, Wrong, diagnose, require, same
from autograder.exercises.nb03_1 import with_replacement
from autograder.experiments.nb03 import MODELS, NS, PROMPTS, gains, matrices, policy, reward_model
from autograder.work import Work
from rslib import schema, theory
from rslib.errors import RSError
from rslib.sampling import response_seed

if TYPE_CHECKING:
    from datasets import Dataset

POOL, MATCHED, DRAWN, SCORED = (
    "hands in a whole pool",
    "scores the same responses twice",
    "draws from the policy",
    "keeps rewards in their rows",
)
CURVES, PEAK, HUMP, SPREAD = (
    "averages every subset of the pool",
    "finds where gold turns",
    "says what the data separate",
    "has something to select from",
)
REDRAWN = 0.9
"""Share of responses that must come out again: all of them on one machine, nearly all on another."""
CLOSE = 0.05
"""Two rewards of one row that differ by less are the same on another machine."""
ROUNDED = 0.006
"""Curves may be rounded to two decimals."""


def given(variant: Variant) -> dict[str, Any]:
    """The seed of this learner's pool, and its size."""
    return {
        "seed": int(variant.rng("pool").integers(10_000, 99_999)),
        "prompts": 48,
        "n": NS[-1],
        "ns": list(NS),
    }


def tables(work: Work) -> dict[str, Dataset]:
    """The learner's two scored tables. Wrong if one is missing or no table of the right kind."""
    from datasets import Dataset

    found = work.object("scored")
    example = '{"tiny": table, "tiny-unbiased": table}'
    require(isinstance(found, dict) and set(found) >= set(MODELS), ANSWERED, f"`scored` should be {example}.")
    for name in MODELS:
        require(
            isinstance(found[name], Dataset), ANSWERED, f"scored[{name!r}] should be a table of rslib.score."
        )
    return {name: found[name] for name in MODELS}


def checked(work: Work) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(rewards, gold, intents) per reward model, of a pool that is large enough and the same for both."""
    found = tables(work)
    try:
        arrays = {name: matrices(_known(table)) for name, table in found.items()}
    except RSError as err:
        raise Wrong(
            POOL, f"The table cannot be read as a scored pool of validation prompts: {err.what}."
        ) from err
    prompts, size = arrays[MODELS[0]][0].shape
    require(
        prompts >= PROMPTS and size >= NS[-1],
        POOL,
        f"The pool should hold at least {PROMPTS} prompts with {NS[-1]} responses each. With few prompts the "
        f"interval "
        "is wider than the effect.",
        idea="F34",
        got=f"{prompts} prompts, {size} responses each",
    )
    first, second = (list(zip(t["prompt_id"][:], t["response"][:], strict=True)) for t in found.values())
    require(
        first == second,
        MATCHED,
        "The two tables hold different responses. Draw one pool and score it with both reward models: only "
        "then does "
        "nothing but the reward model differ.",
        idea="F33",
    )
    same_rewards = np.array_equal(*(a[0] for a in arrays.values()))
    require(
        not same_rewards,
        MATCHED,
        "Both tables hold the rewards of one and the same reward model.",
        idea="F16",
    )
    return arrays


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


_VERIFIED: WeakKeyDictionary[Work, Wrong | None] = WeakKeyDictionary()


def verified(work: Work, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """As `checked`, for a pool that is the policy's own: looked at once a check, asked for by every part."""
    arrays = checked(work)
    if work not in _VERIFIED:
        try:
            _verify(work, arrays, rng)
            _VERIFIED[work] = None
        except Wrong as wrong:
            _VERIFIED[work] = wrong
    if (wrong := _VERIFIED[work]) is not None:
        raise wrong
    return arrays


def grade_pool(work: Work, rng: np.random.Generator) -> None:
    """The pool is the policy's, the rewards are the reward models', and there is something to select."""
    verified(work, rng)


def _verify(work: Work, arrays: Mapping[str, tuple], rng: np.random.Generator) -> None:
    found = tables(work)
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
    _grade_draws(found[MODELS[0]], given(work.variant)["seed"], rng)


def _grade_rewards(found: Mapping[str, Dataset], rng: np.random.Generator) -> None:
    for name, table in found.items():
        rows = np.sort(rng.choice(len(table), 64, replace=False))
        part = schema.take(table, rows)
        again = np.array(rslib.score(reward_model(name), part, show_progress=False)["reward"][:])
        agree = np.mean(np.abs(again - np.array(part["reward"][:])) <= CLOSE)
        require(
            agree >= 0.95,
            SCORED,
            f"Scored again by {name!r}, the rows get other rewards than those that stand in the table: the "
            f"rewards are "
            "another model's, or stand in other rows.",
            idea="F09",
            got=f"{agree:.0%} of 64 rows agree",
        )


def _grade_draws(table: Dataset, seed: int, rng: np.random.Generator) -> None:
    """The responses to one prompt, drawn again with the seed of the learner."""
    names, _, places = schema.reward_matrix(table)
    part = schema.take(table, places[int(rng.integers(len(names)))])
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
    n = places.shape[1]
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
        "settings "
        "(temperature 1 and all tokens allowed are asked for), or was edited.",
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
    """The learner's curves against those of the learner's own pool."""
    compared_curves(work, rng)


def compared_curves(work: Work, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """The right curves per prompt, once the learner's agree with their means."""
    arrays = verified(work, rng)
    said = work.value("curves", dict)
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


def _curve_ideas(rewards: np.ndarray, gold: np.ndarray, column: str) -> list[Idea]:
    values = rewards if column == "reward" else gold
    first = [values[np.arange(len(rewards)), rewards[:, :n].argmax(axis=1)].mean() for n in NS]
    plug_in = [np.mean([with_replacement(r, n, v) for r, v in zip(rewards, values, strict=True)]) for n in NS]
    return [
        Idea(
            "F45",
            "You look at the first n responses of each prompt. Use your estimator: every subset counts.",
            first,
        ),
        Idea("F45", "You draw with replacement: at large n the curve comes out too low.", plug_in),
        Idea(
            "F16",
            "Gold chooses here. The reward chooses, and gold is what the chosen response is worth.",
            theory.best_of_n_curve(gold, NS, values).mean(axis=1),
        ),
        Idea(
            "values ignored",
            "This is the curve of the reward, not of gold: pass gold as `values`.",
            theory.best_of_n_curve(rewards, NS).mean(axis=1),
        ),
        Idea(
            "one pool",
            "You throw all prompts into one pool. Choose within each prompt, then average over prompts.",
            theory.best_of_n_curve(rewards.ravel(), NS, values.ravel())[:, 0],
        ),
        Idea("F03", "The lowest reward is kept.", theory.best_of_n_curve(-rewards, NS, values).mean(axis=1)),
    ]


def fall(gold: np.ndarray, intents: np.ndarray) -> tuple[bool, bool]:
    """(seen, sure): does gold at the largest n lie below its peak, by a generous look, and by a strict one?

    Generous: the 90 % interval of the difference to the peak of the same prompts is below 0. Strict: the 99 %
    interval is below 0 even where each half of the intents is judged at the peak of the other half.
    """
    last, peak = gold[-1], gold[gold.mean(axis=1).argmax()]
    seen = theory.paired_interval(last, peak, clusters=intents, level=0.90)[1] < 0
    names = np.unique(intents)
    half = np.isin(intents, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    crossed = np.empty(len(last))
    for mine in (half, ~half):
        crossed[mine] = gold[gold[:, ~mine].mean(axis=1).argmax()][mine]
    sure = theory.paired_interval(last, crossed, clusters=intents, level=0.99)[1] < 0
    return bool(seen), bool(sure)


def accepted_peaks(gold: np.ndarray, intents: np.ndarray) -> list[int]:
    """Every n whose gold is not separably below the peak: the 95 % paired interval reaches 0."""
    peak = gold[gold.mean(axis=1).argmax()]
    highs = [theory.paired_interval(row, peak, clusters=intents)[1] for row in gold]
    return [n for n, high in zip(NS, highs, strict=True) if high >= 0]


def grade_reading(work: Work, rng: np.random.Generator) -> None:
    """`n_star` and `no_hump`, read off curves that are right; so they must be right first."""
    right = compared_curves(work, rng)
    intents = checked(work)[MODELS[0]][2]
    said, flat = work.value("n_star", dict), work.object("no_hump")
    for name in MODELS:
        _grade_peak(name, said.get(name), right[name], intents)
    require(
        isinstance(flat, list | tuple | set) and set(flat) <= set(MODELS),
        ANSWERED,
        f"`no_hump` should be a list with none, one or both of {list(MODELS)}.",
    )
    for name in MODELS:
        seen, sure = fall(right[name]["gold"], intents)
        require(
            seen or name in flat,
            HUMP,
            f"You say that gold falls under {name}. In your pool its last point is not separable from its "
            f"peak: look at "
            "the interval of the paired difference, not at the two means.",
            idea="F34",
        )
        require(
            not sure or name not in flat,
            HUMP,
            f"You say that gold shows no fall under {name}. In your pool the paired difference between the "
            f"last point and "
            "the peak lies below 0 with its whole interval, while the reward went on climbing.",
            idea="F16",
        )


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
        raise Wrong(
            PEAK,
            f"For {name} that is where the reward is highest. Gold is what the work is about: where is gold "
            f"highest?",
            idea="F16",
            got=str(said),
        )
    text = "more responses still help gold" if int(said) < means["gold"] else "gold has already fallen"
    idea = "F14" if int(said) > means["gold"] else "F05"
    raise Wrong(
        PEAK, f"For {name}, at this n {text}, separably in your own paired data.", idea=idea, got=str(said)
    )


EXERCISE = Exercise(
    "3.3",
    "Where gold turns",
    3,
    15,
    ("scored", "curves", "n_star", "no_hump"),
    (
        Part("the pool is drawn and scored", 1.0, grade_pool),
        Part("the curves", 1.5, grade_curves),
        Part("the reading", 1.5, grade_reading),
    ),
    given=given,
    measured=True,
)
