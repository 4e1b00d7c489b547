"""Exercise 7.1: an interval over seeds and prompts, a verdict, the learner's own arena and what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.exercise import CheckFailed, Exercise, Misconception, Part, numbers, require, same, short
from autograder.handouts import nb07_arena
from autograder.handouts.models import base_policy
from autograder.handouts.nb07_arena import ARMS, BASE, CLAIMS, LABELS, SERVED, TRAINED, table_of
from autograder.work import Work
from rslib.errors import RSError
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, verdict_of
from rslib.theory import student_quantile

if TYPE_CHECKING:
    from rslib.models import Policy

DIFFERENCE, WIDTH = "is first minus second", "lies around its difference"
PAIRED, SEEDS, PROMPTS = "pairs by prompt", "knows of seeds", "knows of prompts"
LEVEL, ONE_SEED, EQUAL = (
    "is as sure as it is asked to be",
    "claims nothing from one seed",
    "copes with equals",
)
WORD, TRUTH = "gives one of three verdicts", "finds what is true"
FORM, COMPLETE, BUDGET = "hands in one row a run", "ran every arm with every seed", "spent equal budgets"
CHANGED, JUDGED = "changed the weights that it should", "agrees with a new measurement"
ALL, AGREES, FOLLOWS = "answers every claim", "follows from the rows", "says what the interval says"
SLACK = 0.07
FEWEST_SEEDS, FEWEST_PROMPTS, SERVED_AGAIN = 3, 24, 6
KEYS = ("arm", "seed", "policy", "ledger", "gold", "reward", "kl")
Three = tuple[float, float, float]


# The interval ---------------------------------------------------------------------------------------------


def parts(apart: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of differences (S, M) that seeds explain, and that prompts explain."""
    seeds, prompts = apart.shape
    over_seeds = apart.mean(1).var(ddof=1) / seeds if seeds > 1 else math.inf
    return float(over_seeds), float(apart.mean(0).var(ddof=1) / prompts)


def accepted_halves(apart: np.ndarray, level: float) -> tuple[float, float]:
    """The narrowest and the widest half that is right.

    Degrees of freedom by Satterthwaite or, with caution, S - 1; with what both variances share taken off once
    or not.
    """
    seeds, prompts = apart.shape
    one, two = parts(apart)
    rest = apart - apart.mean(1, keepdims=True) - apart.mean(0) + apart.mean()
    shared = float((rest**2).sum() / ((seeds - 1) * (prompts - 1)) / apart.size)
    found = []
    for variance in (one + two, max(one + two - shared, one, two)):
        satterthwaite = (one + two) ** 2 / (one**2 / (seeds - 1) + two**2 / (prompts - 1))
        for degrees in (satterthwaite, seeds - 1):
            found.append(math.sqrt(variance) * student_quantile((1 - level) / 2, degrees))
    return (1 - SLACK) * min(found), (1 + SLACK) * max(found)


def _half(apart: np.ndarray, level: float) -> float:
    """Half the width of the interval that the notebook describes."""
    one, two = parts(apart)
    degrees = (one + two) ** 2 / (one**2 / (len(apart) - 1) + two**2 / (apart.shape[1] - 1))
    return math.sqrt(one + two) * student_quantile((1 - level) / 2, degrees)


def wrong_halves(first: np.ndarray, second: np.ndarray, level: float) -> list[Misconception]:
    """Half-widths that known ideas give."""
    apart = first - second
    (seeds, prompts), (one, two) = apart.shape, parts(apart)
    t = student_quantile((1 - level) / 2, seeds - 1)
    normal = student_quantile((1 - level) / 2, 1e6)
    own = sum(sum(parts(table)) for table in (first, second))
    return [
        Misconception(
            "F34", "Its width is that of the prompts alone: other seeds would tune other policies.", h
        )
        for h in (normal * math.sqrt(two), student_quantile((1 - level) / 2, prompts - 1) * math.sqrt(two))
    ] + [
        Misconception(
            "F34", "Its width is that of the seeds alone: other prompts judge otherwise.", t * one**0.5
        ),
        Misconception(
            "pooled rows",
            "Every cell of the table counts as a measurement of its own. The cells of a row share their "
            "policy, those of a column their prompt.",
            normal * float(apart.std(ddof=1)) / math.sqrt(apart.size),
        ),
        Misconception(
            "unpaired",
            "The spread of each arm is taken by itself. Both arms met the same prompts: subtract first.",
            t * math.sqrt(own),
        ),
        Misconception("one error", "This is one standard error to either side.", math.sqrt(one + two)),
        Misconception(
            "normal",
            "1.96 and its kin hold for many seeds. With a few, the spread itself is a guess: Student's.",
            normal * math.sqrt(one + two),
        ),
    ]


def check_interval(found: Any, first: np.ndarray, second: np.ndarray, level: float, check: str) -> Three:
    """(difference, low, high) of the learner, if they are right; else the idea that explains them."""
    case = f"first {first.shape}, second {second.shape}, level {level:g}"
    got = three(found, case)
    apart = float((first - second).mean())
    scale = float((first - second).std()) or 1.0
    if not abs(got[0] - apart) <= 1e-6 * max(1.0, abs(apart), scale):
        turned = abs(got[0] + apart) <= 1e-6 * max(1.0, abs(apart))
        message = "The sign is turned: first minus second is asked for." if turned else "The mean is another."
        raise CheckFailed(DIFFERENCE, message, idea="sign" if turned else "", case=case, got=short(got))
    low, high = accepted_halves(first - second, level)
    halves = (got[0] - got[1], got[2] - got[0])
    if all(low <= half <= high for half in halves):
        return got
    explained = [
        idea
        for idea in wrong_halves(first, second, level)
        if all(same(half, idea.value, 0.01) for half in halves)
    ]
    other = 0.95 if level > 0.97 else 0.99
    if not explained and all(same(half, _half(first - second, other), 0.2) for half in halves):
        explained = [Misconception("level", f"This is the interval of another level than {level:g}.", 0.0)]
    too = "narrow" if min(halves) < low else "wide"
    message = f"It is too {too} for a table in which seeds and prompts spread as they do here."
    known = explained[0] if explained else Misconception("F34", message, 0.0)
    raise CheckFailed(check, known.message, idea=known.id, case=case, got=short(got))


def three(found: Any, case: str) -> Three:
    """Three numbers with the first between the others, or a CheckFailed."""
    values = [found[key] for key in ("difference", "low", "high")] if _is_dict(found) else found
    array = numbers(list(values)) if isinstance(values, list | tuple | np.ndarray) else None
    good = array is not None and array.shape == (3,) and not np.isnan(array).any()
    message = "Three numbers are asked for: the difference, the lower end, the upper end."
    require(good, WIDTH, message, case=case, got=found)
    difference, low, high = (float(value) for value in array)
    require(low <= difference <= high, WIDTH, message, case=case, got=found)
    return difference, low, high


def _is_dict(found: Any) -> bool:
    return isinstance(found, Mapping) and {"difference", "low", "high"} <= set(found)


def _centred(rng: np.random.Generator, many: int, spread: float) -> np.ndarray:
    """Values with mean 0 and exactly this standard deviation."""
    values = rng.normal(size=many)
    values = values - values.mean()
    return values * spread / values.std(ddof=1)


def table(
    rng: np.random.Generator, shape: tuple[int, int], mean: float, seeds: float, prompts: float, levels: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gold of two arms (S, M) whose differences spread by exactly these amounts.

    seeds, prompts: standard deviations of the difference over seeds and over prompts; levels: of what both
    arms have in common at a prompt.
    """
    many, wide = shape
    rest = rng.normal(0, prompts / 2, shape)
    rest -= rest.mean(1, keepdims=True) + rest.mean(0) - rest.mean()
    apart = mean + _centred(rng, many, seeds)[:, None] + _centred(rng, wide, prompts) + rest
    common = rng.normal(3, 1) + _centred(rng, wide, levels) + 0.2 * rng.normal(size=shape)
    return common + apart, common


KINDS: tuple[tuple[str, tuple[int, int], dict[str, float]], ...] = (
    (PAIRED, (4, 30), {"seeds": 0.3, "prompts": 0.8, "levels": 6.0}),
    (SEEDS, (3, 60), {"seeds": 1.0, "prompts": 1.2, "levels": 1.0}),
    (PROMPTS, (5, 24), {"seeds": 0.1, "prompts": 2.0, "levels": 1.0}),
)
"""What each table tells apart, its shape, and how it spreads."""


def grade_interval(work: Work, rng: np.random.Generator) -> None:
    """Three tables of known spread, two levels, one seed, two equal arms."""
    function = work.function("interval")
    for check, shape, spread in KINDS:
        size = float(rng.uniform(0.5, 2.0))
        exact = {name: size * value for name, value in spread.items()}
        first, second = table(rng, shape, float(rng.choice([-1, 1]) * rng.uniform(0.5, 2)), **exact)
        check_interval(function(first, second, 0.95), first, second, 0.95, check)
        check_interval(function(first, second, 0.99), first, second, 0.99, LEVEL)
    _check_edges(function, rng)


def _check_edges(function: Callable[..., Any], rng: np.random.Generator) -> None:
    first, second = table(rng, (3, 12), 1.0, 0.5, 1.0, 1.0)
    low, high = three(function(first[:1], second[:1], 0.95), "one seed")[1:]
    message = (
        "One seed was run, and the interval has ends. How far another seed would lie from this one "
        "cannot be known from one: the docstring says what to give."
    )
    unknown = low == -math.inf and high == math.inf
    require(unknown, ONE_SEED, message, idea="F34", case="tables (1, 12)", got=(low, high))
    found = three(function(first, first, 0.95), "an arm against itself")
    message = "An arm against itself differs by 0, and nothing spreads: both ends are 0 as well."
    zero = all(abs(value) < 1e-9 for value in found)
    require(zero, EQUAL, message, idea="F42", case="first = second", got=found)


# The verdict ----------------------------------------------------------------------------------------------


def grade_verdict(work: Work, rng: np.random.Generator) -> None:
    """Ends of which the verdict is plain, then tables with a known truth through the learner's interval."""
    verdict, interval = work.function("verdict"), work.function("interval")
    scale = float(rng.uniform(0.1, 5))
    nan = float("nan")
    for low, high in (
        (0.2, 1.0),
        (-1.0, -0.2),
        (-0.1, 2.0),
        (-2.0, 0.1),
        (0.0, 1.0),
        (-1.0, 0.0),
        (nan, nan),
    ):
        _check_word(verdict(low * scale, high * scale), low * scale, high * scale)
    for case in rng.permutation(len(KINDS) * 3):
        (_, shape, spread), truth = KINDS[case // 3], (SUPPORTED, OPEN, CONTRADICTED)[case % 3]
        first, second = known(rng, shape, spread, truth)
        got = three(interval(first, second, 0.95), f"a table whose truth is {truth}")
        said = verdict(got[1], got[2])
        message = (
            "In this table the truth is known, and your two functions together say something else. The "
            "interval is the place to look."
        )
        require(said == truth, TRUTH, message, idea="F34", case=short(got), expected=truth, got=said)


def known(
    rng: np.random.Generator, shape: tuple[int, int], spread: Mapping[str, float], truth: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two arms whose difference is well outside of every right interval's half-width, or well inside."""
    first, second = table(rng, shape, 0.0, **spread)
    low, high = accepted_halves(first - second, 0.95)
    sign = float(rng.choice([-1, 1]))
    mean = {SUPPORTED: 1.2 * high, CONTRADICTED: -1.2 * high, OPEN: sign * 0.9 * low}[truth]
    return first + mean, second


def _check_word(said: Any, low: float, high: float) -> None:
    right = verdict_of({"low": low, "high": high})
    form = isinstance(said, str) and said in (SUPPORTED, OPEN, CONTRADICTED)
    message = f'A verdict is "{SUPPORTED}", "{OPEN}" or "{CONTRADICTED}".'
    require(form, WORD, message, got=said)
    if said == right:
        return
    idea, message = "F34", "The interval has 0 in it or at its end: the sign of the difference is open."
    if right != OPEN:
        idea, message = "no difference", "The whole interval lies on one side of 0: that is an answer."
        if said != OPEN:
            idea, message = "sign", "The interval lies on the other side of 0."
    raise CheckFailed(WORD, message, idea=idea, case=f"low {low:.3g}, high {high:.3g}", got=said)


# The runs -------------------------------------------------------------------------------------------------


def checked_rows(work: Work) -> list[dict[str, Any]]:
    """The learner's rows, if their form is right and nothing is missing."""
    rows = work.value("results", list)
    for one in rows:
        good = isinstance(one, Mapping) and set(KEYS) <= set(one) and one["arm"] in ARMS
        require(good, FORM, f"Every row is a dict with {', '.join(KEYS)}.", got=one)
        columns = [numbers(one[name]) for name in ("gold", "reward")]
        plain = all(c is not None and c.ndim == 1 and np.isfinite(c).all() for c in columns)
        message = "`gold` and `reward` are lists with a number for each judging prompt, the same in all rows."
        require(plain and len({len(c) for c in columns}) == 1, FORM, message, idea="F15", got=one["arm"])
    lengths = {len(one["gold"]) for one in rows}
    message = f"All rows are judged on the same prompts, {FEWEST_PROMPTS} or more."
    require(len(lengths) == 1 and min(lengths) >= FEWEST_PROMPTS, FORM, message, idea="F34", got=lengths)
    seeds = {arm: sorted(one["seed"] for one in rows if one["arm"] == arm) for arm in ARMS}
    missing = [LABELS[arm] for arm, found in seeds.items() if not found]
    message = f"No run of: {', '.join(missing)}."
    require(not missing, COMPLETE, message, idea="F49" if "random control" in missing else "F35")
    message = f"Every arm runs once with each of at least {FEWEST_SEEDS} seeds, the same for all arms."
    alike = all(found == seeds[BASE] and len(set(found)) == len(found) for found in seeds.values())
    require(alike and len(seeds[BASE]) >= FEWEST_SEEDS, COMPLETE, message, idea="F34", got=seeds)
    return [dict(one) | {"policy": str(work.model_folder(str(one["policy"])))} for one in rows]


def grade_runs(work: Work, rng: np.random.Generator) -> None:
    """Ledgers, weights, and a new measurement of some rows."""
    rows = checked_rows(work)
    _check_budgets(rows)
    policies = _check_weights(rows)
    for arms in (("random", "rs1", "dpo"), ("rloo", "ppo")):
        mine = [one for one in rows if one["arm"] in arms]
        one = mine[int(rng.integers(len(mine)))]
        _check_judged(one, policies[one["policy"]], 1, len(one["gold"]))
    for arm, n, many in ((BASE, 1, len(rows[0]["gold"])), (SERVED, nb07_arena.N, SERVED_AGAIN)):
        mine = [one for one in rows if one["arm"] == arm]
        _check_judged(mine[int(rng.integers(len(mine)))], base_policy(), n, many)


def _check_budgets(rows: Sequence[Mapping[str, Any]]) -> None:
    spent = {}
    for one in rows:
        flops = one["ledger"].get("flops") if isinstance(one["ledger"], Mapping) else None
        message = "`ledger` is the dict that `arena.tune` returned."
        require(isinstance(flops, int | float), FORM, message, idea="F33", got=one["ledger"])
        if one["arm"] in TRAINED:
            spent[LABELS[one["arm"]], one["seed"]] = float(flops)
    middle = float(np.median(list(spent.values())))
    off = {key: value for key, value in spent.items() if not 0.6 * middle <= value <= 1.7 * middle}
    message = "The trained arms have not spent alike, so a difference may be one of money."
    got = ", ".join(f"{arm}, seed {seed}: {value:.2g} FLOPs" for (arm, seed), value in off.items())
    require(middle > 0 and not off, BUDGET, message, idea="F33", got=got)


def _check_weights(rows: Sequence[Mapping[str, Any]]) -> dict[str, Policy]:
    """The policy of every row by its folder."""
    found, prints = {}, {}
    for one in rows:
        policy = loaded(str(one["policy"]))
        found[one["policy"]], prints[one["arm"], one["seed"]] = policy, policy.fingerprint()
    base = base_policy().fingerprint()
    for (arm, _), print_ in prints.items():
        if arm in TRAINED:
            message = f"The weights of {LABELS[arm]} are those of the base policy: nothing was learned."
            require(print_ != base, CHANGED, message, idea="F01")
        else:
            message = f"{LABELS[arm]} trains nothing, and its weights are not those of the base policy."
            require(print_ == base, CHANGED, message, idea="F35")
    trained = [print_ for (arm, _), print_ in prints.items() if arm in TRAINED]
    message = (
        "Two runs have the same weights. A seed that changes nothing is no further seed, and a folder that "
        "is written twice keeps its last run alone."
    )
    require(len(set(trained)) == len(trained), CHANGED, message, idea="F20")
    return found


@cache
def loaded(folder: str) -> Policy:
    """A policy of the learner; CheckFailed where there is none."""
    from rslib.models import load_policy

    try:
        return load_policy(folder)
    except (RSError, OSError, ValueError) as error:
        raise CheckFailed(FORM, f"`policy` is the folder of the policy that was judged: {error}") from None


@cache
def _judged_again(folder: str, seed: int, n: int, prompts: int) -> dict[str, Any]:
    return nb07_arena.judged(loaded(folder), seed, n, prompts)


def _check_judged(one: Mapping[str, Any], policy: Policy, n: int, prompts: int) -> None:
    """Gold and reward of a row, measured again on its first prompts."""
    again = _judged_again(policy.path, one["seed"], n, prompts)
    gold, reward = (np.array(one[name][:prompts], dtype=float) for name in ("gold", "reward"))
    case = f"{LABELS[one['arm']]}, seed {one['seed']}"
    message = "Judged again, the row's own policy gives other numbers."
    idea = "F50"
    if close(gold, again["reward"]):
        idea, message = "F16", "The column `gold` holds rewards. The judge is not the one who chose."
    elif n > 1 and close(gold, _judged_again(policy.path, one["seed"], 1, prompts)["gold"]):
        idea, message = "F35", "One response was judged where the best of 16 is served: `n` says how many."
    good = close(gold, again["gold"]) and close(reward, again["reward"])
    require(good, JUDGED, message, idea=idea, case=case, got=short(gold[:6]))


def close(found: Any, again: Any) -> bool:
    """Equal but for one prompt in six, where rounding may turn a token."""
    return float(np.mean(np.abs(np.subtract(found, again)) < 1e-3)) >= 5 / 6


# What they show -------------------------------------------------------------------------------------------


def grade_findings(work: Work, rng: np.random.Generator) -> None:
    """Every claim's interval from the learner's rows at the level of five claims, and its verdict."""
    rows, found, interval = checked_rows(work), work.value("findings", dict), work.function("interval")
    missing = [name for name in CLAIMS if not _is_dict(found.get(name))]
    message = "Each claim has a dict with difference, low, high and verdict. Missing: " + ", ".join(missing)
    require(not missing, ALL, message, idea="F34")
    for name, arms in CLAIMS.items():
        tables = [table_of(rows, arm) for arm in arms]
        got = three(found[name], name)
        _check_finding(name, got, tables, interval)
        right = verdict_of({"low": got[1], "high": got[2]})
        said = found[name].get("verdict")
        message = "The verdict is not what the interval beside it says. Open is an answer."
        require(said == right, FOLLOWS, message, idea="F34", case=name, got=said)


def _check_finding(name: str, got: Three, tables: Sequence[np.ndarray], interval: Callable[..., Any]) -> None:
    """That these numbers are the learner's own, right interval of these tables at the level of all claims."""
    level = 1 - 0.05 / len(CLAIMS)
    own = three(interval(*tables, level), name)
    if not near(got, own):
        single = near(got, three(interval(*tables, 0.95), name))
        turned = near(got, three(interval(*tables[::-1], level), name))
        idea, message = "F50", "Your rows and your own `interval` give other numbers."
        if single:
            idea, message = (
                "many claims",
                f"At 95 % each, one of {len(CLAIMS)} claims misses the truth more often than in one arena of "
                "twenty. Share the 5 % among them.",
            )
        elif turned:
            idea, message = "sign", "First and second have changed places."
        raise CheckFailed(AGREES, message, idea=idea, case=name, got=short(got))
    check_interval(own, *tables, level, AGREES)


def near(got: Three, other: Three) -> bool:
    """Equal up to rounding to two digits after the point."""
    return all(abs(g - o) <= 0.011 for g, o in zip(got, other, strict=True))


EXERCISE = Exercise(
    "7.1",
    "An arena of your own",
    3,
    15,
    ("interval", "verdict", "results", "findings"),
    (
        Part("the interval", 1.5, grade_interval),
        Part("the verdict", 0.5, grade_verdict),
        Part("the runs", 1.5, grade_runs),
        Part("the findings", 1.5, grade_findings),
    ),
    given=nb07_arena.given,
)
