"""Exercise 7.1: an interval over seeds and prompts, a verdict, the learner's own arena and what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.checks import Check, Ideas, Learner, as_list, graded
from autograder.exercise import CheckFailed, Exercise, Misconception, Part, numbers, require, same, short
from autograder.exercises import artefacts
from autograder.handouts import nb07_arena, nb07_results
from autograder.handouts.models import base_policy
from autograder.handouts.nb07_arena import ARMS, BASE, CLAIMS, LABELS, SERVED, TRAINED, table_of
from autograder.work import Work
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, over_both, verdict_of
from rslib.progress import Progress
from rslib.theory import student_quantile

if TYPE_CHECKING:
    from rslib.models import Policy

IDEAS = Ideas("""
turned (sign): The sign is turned: first minus second is asked for.
mean (): The mean is another.
prompts alone (F34): Its width is that of the prompts alone: other seeds would tune other policies.
seeds alone (F34): Its width is that of the seeds alone: other prompts judge otherwise.
pooled rows: Every cell of the table counts as a measurement of its own. The cells of a row share their
    policy, those of a column their prompt.
unpaired: The spread of each arm is taken by itself. Both arms met the same prompts: subtract first.
one error: This is one standard error to either side.
one tail: The 5 % all lie in one tail. An interval leaves half of them on either side.
population: The variances divide by the number of values. A sample's divides by one less, and of three seeds
    that is a third.
singles (F34): This is the spread of single seeds and prompts. The mean of several scatters less.
errors added: The standard errors are added. Add the variances, then take the root.
no root: The variance stands where its root belongs.
axes: Seeds and prompts have changed places: the variance over seeds is divided by the number of seeds.
degrees (normal): The degrees of freedom are too many: with a few seeds the spread itself is a guess.
normal: 1.96 and its kin hold for many seeds, as does Student's t with a degree for every cell. With a few
    seeds the spread itself is a guess: it is the seeds that count.
level: This is the interval of another level than {level}.
width (F34): It is too {too} for a table in which seeds and prompts spread as they do here.
three numbers (): Three numbers are asked for: the difference, the lower end, the upper end.
one seed NaN (F34): With one seed the spread over seeds is NaN. The docstring says what to give.
one seed (F34): One seed was run, and the interval has ends. How far another seed would lie from this one
    cannot be known from one: the docstring says what to give.
equal arms (F42): An arm against itself differs by 0, and nothing spreads: both ends are 0 as well.

words (): A verdict is "supported", "not separable" or "contradicted".
not known (F34): The ends are NaN: nothing is known, and so nothing is decided.
open (F34): The interval has 0 in it or at its end: the sign of the difference is open.
no difference: The whole interval lies on one side of 0: that is an answer.
other side (sign): The interval lies on the other side of 0.
truth (F34): In this table the truth is known, and your two functions together say something else. The
    interval is the place to look.

not the judge (F16): The column `gold` holds rewards. The judge is not the one who chose.
one response (F35): One response was judged where the best of 16 is served: `n` says how many.
typed (F50): Judged again, the row's own policy gives other numbers.
many claims: At 95 % each, one of {claims} claims misses the truth more often than in one arena of twenty.
    Share the 5 % among them.
other count: This is the level of another number of claims. Here {claims} claims share the 5 %.
share for level (many claims): The share that may miss was passed as the level. The level is 1 minus it.
not of now (F50): The middle is right, and the ends are not those of your `interval` at this level. Run the
    cell that fills them again.
of the reward (F16): This is the interval of the reward. The claims speak of gold.
exchanged (sign): First and second have changed places.
other numbers (F50): The tables and your own `interval` give other numbers.
crossed claims (F33): These are the numbers of another claim: look at its two arms, and at what is held equal.
""")
DIFFERENCE, WIDTH = "is first minus second", "lies around its difference"
PAIRED, SEEDS, PROMPTS = "pairs by prompt", "knows of seeds", "knows of prompts"
FEW = "knows how few seeds there are"
LEVEL, ONE_SEED = "is as sure as it is asked to be", "claims nothing from one seed"
EQUAL, WORD, TRUTH = "copes with equals", "gives one of three verdicts", "finds what is true"
STORED_AGREES = "reads the stored tables"
FORM, COMPLETE, BUDGET = "hands in one row a run", "ran every arm with every seed", "spent equal budgets"
CHANGED, JUDGED = "changed the weights that it should", "agrees with a new measurement"
ALL, AGREES, FOLLOWS = "answers every claim", "follows from the rows", "says what the interval says"
SLACK = 0.07
FEWEST_SEEDS, FEWEST_PROMPTS = 3, 24
JUDGED_AGAIN, SERVED_AGAIN = 12, 6
"""Judging prompts that a row is measured again on: enough to tell whose policy it is."""
_SINGLE = 1e-5
"""Relative rounding of sums in single precision."""
KEYS = ("arm", "seed", "policy", "ledger", "gold", "reward", "kl")
Three = tuple[float, float, float]
Halves = tuple[float, float]
"""How far the lower and the upper end lie from the difference."""


# The interval ---------------------------------------------------------------------------------------------


def variances(apart: np.ndarray) -> tuple[float, float]:
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
    of_seeds, of_prompts = variances(apart)
    both = of_seeds + of_prompts
    if not both:
        return 0.0, 0.0
    rest = apart - apart.mean(1, keepdims=True) - apart.mean(0) + apart.mean()
    shared = float((rest**2).sum() / ((seeds - 1) * (prompts - 1)) / apart.size)
    halves = [
        math.sqrt(variance) * student_quantile((1 - level) / 2, degrees)
        for variance in (both, max(both - shared, of_seeds, of_prompts))
        for degrees in (_satterthwaite(apart), seeds - 1)
    ]
    return (1 - SLACK) * min(halves), (1 + SLACK) * max(halves)


def _satterthwaite(apart: np.ndarray) -> float:
    """Degrees of freedom of the sum of both variances."""
    return degrees_of(*variances(apart), *apart.shape)


def degrees_of(of_seeds: float, of_prompts: float, seeds: int, prompts: int) -> float:
    """Satterthwaite's degrees of freedom of the sum of two variances."""
    return (of_seeds + of_prompts) ** 2 / (of_seeds**2 / (seeds - 1) + of_prompts**2 / (prompts - 1))


def described_half(apart: np.ndarray, level: float) -> float:
    """Half the width of the interval that the notebook describes."""
    error = math.sqrt(variances(apart)[1])
    return over_both(apart.mean(1), error, apart.shape[1], level)["high"] - float(apart.mean())


def wrong_halves(first: np.ndarray, second: np.ndarray, level: float) -> list[tuple[str, float]]:
    """Names of ideas, and the half-widths that they give."""
    apart = first - second
    (seeds, prompts), (of_seeds, of_prompts) = apart.shape, variances(apart)
    t, t_prompts, normal = (student_quantile((1 - level) / 2, n) for n in (seeds - 1, prompts - 1, 1e6))
    each = tuple(sum(pair) for pair in zip(variances(first), variances(second), strict=True))
    turned = of_seeds * seeds / prompts, of_prompts * prompts / seeds
    error, t_seeds = math.sqrt(of_seeds + of_prompts), student_quantile((1 - level) / 2, seeds)
    t_each, t_turned, t_satterthwaite = (
        student_quantile((1 - level) / 2, degrees_of(*pair, seeds, prompts))
        for pair in (each, turned, (of_seeds, of_prompts))
    )
    of_all = math.sqrt(of_seeds * (seeds - 1) / seeds + of_prompts * (prompts - 1) / prompts)
    cells = float(apart.std(ddof=1)) / math.sqrt(apart.size)
    return [
        *(("population", factor * of_all) for factor in (t, t_satterthwaite)),
        ("singles", t * math.sqrt(of_seeds * seeds + of_prompts * prompts)),
        *(("errors added", f * (math.sqrt(of_seeds) + math.sqrt(of_prompts))) for f in (t, t_satterthwaite)),
        ("no root", t * (of_seeds + of_prompts)),
        *(("axes", factor * math.sqrt(sum(turned))) for factor in (t, t_turned)),
        *(("degrees", factor * error) for factor in (t_prompts, t_seeds)),
        ("prompts alone", normal * math.sqrt(of_prompts)),
        ("prompts alone", t_prompts * math.sqrt(of_prompts)),
        ("seeds alone", t * math.sqrt(of_seeds)),
        *(("pooled rows", factor * cells) for factor in (normal, t, t_satterthwaite, t_prompts)),
        *(("unpaired", factor * math.sqrt(sum(each))) for factor in (t, t_each)),
        ("one error", math.sqrt(of_seeds + of_prompts)),
        ("normal", normal * math.sqrt(of_seeds + of_prompts)),
        ("normal", student_quantile((1 - level) / 2, apart.size - 1) * math.sqrt(of_seeds + of_prompts)),
        *(("one tail", student_quantile(1 - level, n) * error) for n in (_satterthwaite(apart), seeds - 1)),
    ]


def check_interval(
    result: Any, first: np.ndarray, second: np.ndarray, level: float, check: str, also: Any = None
) -> Three:
    """(difference, low, high) of the learner, if they are right; else the idea that explains them.

    also: the learner's result at the other level, 99 or 95 %, for the same tables: where that is right and as
    wide, the level plays no part, and else what explains both widths comes first.
    """
    case = f"first {first.shape}, second {second.shape}, level {level:g}"
    got = three(result, case)
    mean = float((first - second).mean())
    turned = abs(got[0] + mean) <= _SINGLE * max(1.0, abs(mean), level_of(first))
    right = abs(got[0] - mean) <= _SINGLE * max(1.0, abs(mean), level_of(first))
    require(right, DIFFERENCE, IDEAS["turned" if turned else "mean"], case=case, got=short(got))
    halves = _halves(got)
    if not _accepted(halves, first - second, level):
        others = None if also is None else _halves(three(also, case))
        idea = _width_idea(halves, others, first, second, level)
        raise CheckFailed(check, idea.message, idea=idea.id, case=case, got=short(got))
    return got


def _halves(got: Three) -> Halves:
    return got[0] - got[1], got[2] - got[0]


def _accepted(halves: Halves, apart: np.ndarray, level: float) -> bool:
    low, high = accepted_halves(apart, level)
    return all(low <= half <= high for half in halves)


def _other(level: float) -> float:
    """The other of the two levels at which intervals are asked for."""
    return 0.95 if level > 0.97 else 0.99


def level_of(table: np.ndarray) -> float:
    """The size of a table's numbers: what is added up in single precision is off by a share of it."""
    return float(np.abs(table).max())


def _width_idea(
    halves: Halves, others: Halves | None, first: np.ndarray, second: np.ndarray, level: float
) -> Misconception:
    """What explains wrong half-widths. others: those of the other level, None where none were asked for."""
    apart, other = first - second, _other(level)
    of_other_level = IDEAS.filled("level", level=f"{level:g}")
    if others and same(halves, others, 1e-6) and _accepted(others, apart, other):
        return of_other_level
    names = _width_ideas(halves, first, second, level)
    both = _width_ideas(others, first, second, other) if names and others else []
    if names:
        return IDEAS[next((name for name in names if name in both), names[0])]
    if all(same(half, described_half(apart, other), 0.02) for half in halves):
        return of_other_level
    too = "narrow" if min(halves) < accepted_halves(apart, level)[0] else "wide"
    return IDEAS.filled("width", too=too)


def _width_ideas(halves: Halves, first: np.ndarray, second: np.ndarray, level: float) -> list[str]:
    """Names of the ideas that give these half-widths."""
    wrong = wrong_halves(first, second, level)
    return [name for name, value in wrong if all(same(half, value, 0.01) for half in halves)]


def three(result: Any, case: str) -> Three:
    """Three numbers with the first between the others, or a CheckFailed."""
    values = [result[key] for key in ("difference", "low", "high")] if _is_dict(result) else result
    array = numbers(as_list(values))
    good = array is not None and array.shape == (3,) and not np.isnan(array).any()
    require(good, WIDTH, IDEAS["three numbers"], case=case, got=result)
    difference, low, high = (float(value) for value in array)
    require(low <= difference <= high, WIDTH, IDEAS["three numbers"], case=case, got=result)
    return difference, low, high


def _is_dict(result: Any) -> bool:
    return isinstance(result, Mapping) and {"difference", "low", "high"} <= set(result)


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
    (FEW, (3, 40), {"seeds": 1.5, "prompts": 0.4, "levels": 1.0}),
)
"""What each table tells apart, its shape, and how it spreads."""


def knows(check: str, shape: tuple[int, int], spread: Mapping[str, float]) -> Check:
    """The check of an interval on a table of this shape and spread, at two levels."""

    def check_both(interval: Learner, rng: np.random.Generator) -> None:
        size = float(rng.uniform(0.5, 2.0))
        exact = {name: size * value for name, value in spread.items()}
        first, second = table(rng, shape, float(rng.choice([-1, 1]) * rng.uniform(0.5, 2)), **exact)
        narrow, wide = interval(first, second, 0.95), interval(first, second, 0.99)
        check_interval(narrow, first, second, 0.95, check, wide)
        check_interval(wide, first, second, 0.99, LEVEL, narrow)

    return check_both


def check_edges(interval: Learner, rng: np.random.Generator) -> None:
    """The interval of one seed, and of an arm against itself."""
    first, second = table(rng, (3, 12), 1.0, 0.5, 1.0, 1.0)
    result = interval(first[:1], second[:1], 0.95)
    ends = numbers(list(result.values()) if isinstance(result, dict) else result)
    unknown = ends is not None and ends.size == 3 and np.isnan(ends).any()
    require(not unknown, ONE_SEED, IDEAS["one seed NaN"], case="tables (1, 12)", got=result)
    low, high = three(result, "one seed")[1:]
    unknown = low == -math.inf and high == math.inf
    require(unknown, ONE_SEED, IDEAS["one seed"], case="tables (1, 12)", got=(low, high))
    result = three(interval(first, first, 0.95), "an arm against itself")
    zero = all(abs(value) < 1e-6 for value in result)
    require(zero, EQUAL, IDEAS["equal arms"], case="first = second", got=result)


grade_interval = graded("interval", IDEAS, *(knows(*kind) for kind in KINDS), check_edges)


# The verdict ----------------------------------------------------------------------------------------------

NAN = float("nan")
ENDS = ((0.2, 1.0), (-1.0, -0.2), (-0.1, 2.0), (-2.0, 0.1), (0.0, 1.0), (-1.0, 0.0), (NAN, NAN))


def grade_verdict(work: Work, rng: np.random.Generator) -> None:
    """Ends of which the verdict is plain, then tables with a known truth through the learner's interval."""
    verdict, interval = work.function("verdict"), work.function("interval")
    scale = float(rng.uniform(0.1, 5))
    for low, high in ENDS:
        _check_word(verdict(low * scale, high * scale), low * scale, high * scale)
    for case in rng.permutation(len(KINDS) * 3):
        (_, shape, spread), truth = KINDS[case // 3], (SUPPORTED, OPEN, CONTRADICTED)[case % 3]
        first, second = known(rng, shape, spread, truth)
        got = three(interval(first, second, 0.95), f"a table whose truth is {truth}")
        word = _word(verdict(got[1], got[2]))
        require(word == truth, TRUTH, IDEAS["truth"], case=short(got), expected=truth, got=word)


def known(
    rng: np.random.Generator, shape: tuple[int, int], spread: Mapping[str, float], truth: str
) -> tuple[np.ndarray, np.ndarray]:
    """Two arms whose difference is well outside of every right interval's half-width, or well inside."""
    first, second = table(rng, shape, 0.0, **spread)
    low, high = accepted_halves(first - second, 0.95)
    sign = float(rng.choice([-1, 1]))
    mean = {SUPPORTED: 1.2 * high, CONTRADICTED: -1.2 * high, OPEN: sign * 0.9 * low}[truth]
    return first + mean, second


def _word(word: Any) -> str:
    """A verdict without case and outer blanks; what is no text is none."""
    return artefacts.word_of(word) if isinstance(word, str) else short(word)


def _check_word(word: Any, low: float, high: float) -> None:
    word = _word(word)
    require(word in (SUPPORTED, OPEN, CONTRADICTED), WORD, IDEAS["words"], got=word)
    right = verdict_of({"low": low, "high": high})
    unsure = "not known" if math.isnan(low) else "open"
    idea = unsure if right == OPEN else "no difference" if word == OPEN else "other side"
    require(word == right, WORD, IDEAS[idea], case=f"low {low:.3g}, high {high:.3g}", got=word)


# The runs -------------------------------------------------------------------------------------------------


def checked_rows(work: Work) -> list[dict[str, Any]]:
    """The learner's rows, if their form is right and nothing is missing."""
    rows = work.value("results", list)
    for row in rows:
        good = isinstance(row, Mapping) and set(KEYS) <= set(row) and _names_a_run(row)
        require(good, FORM, f"Every row is a dict with {', '.join(KEYS)}.", got=short(row))
        columns = [numbers(row[name]) for name in ("gold", "reward")]
        plain = all(c is not None and c.ndim == 1 and np.isfinite(c).all() for c in columns)
        message = "`gold` and `reward` are lists with a number for each judging prompt, the same in all rows."
        require(plain and len({len(c) for c in columns}) == 1, FORM, message, idea="F15", got=row["arm"])
    lengths = {len(row["gold"]) for row in rows}
    require(rows, FORM, "`results` is empty: no run is handed in.")
    message = f"All rows are judged on the same prompts, {FEWEST_PROMPTS} or more."
    require(len(lengths) == 1 and min(lengths) >= FEWEST_PROMPTS, FORM, message, idea="F34", got=lengths)
    seeds = {arm: sorted(row["seed"] for row in rows if row["arm"] == arm) for arm in ARMS}
    missing = [LABELS[arm] for arm, of_arm in seeds.items() if not of_arm]
    message = f"No run of: {', '.join(missing)}."
    require(not missing, COMPLETE, message, idea="F49" if "random control" in missing else "F35")
    message = f"Every arm runs once with each of at least {FEWEST_SEEDS} seeds, the same for all arms."
    alike = all(of_arm == seeds[BASE] and len(set(of_arm)) == len(of_arm) for of_arm in seeds.values())
    require(alike and len(seeds[BASE]) >= FEWEST_SEEDS, COMPLETE, message, idea="F34", got=seeds)
    _check_served([dict(row) for row in rows])
    return [dict(row) for row in rows]


def _names_a_run(row: Mapping[str, Any]) -> bool:
    whole = isinstance(row["seed"], int | np.integer) and not isinstance(row["seed"], bool)
    return isinstance(row["arm"], str) and row["arm"] in ARMS and whole


def _check_served(rows: Sequence[Mapping[str, Any]]) -> None:
    """Served rows are not those of the base policy, which is the same policy without a choice."""
    for row in (row for row in rows if row["arm"] == SERVED):
        base = next(other for other in rows if (other["arm"], other["seed"]) == (BASE, row["seed"]))
        alike = len(base["gold"]) == len(row["gold"]) and close(row["gold"], base["gold"])
        require(not alike, JUDGED, IDEAS["one response"], case=f"{LABELS[SERVED]}, seed {row['seed']}")


def grade_runs(work: Work, rng: np.random.Generator) -> None:
    """Ledgers, weights, and a new measurement of some rows."""
    rows = checked_rows(work)
    _check_budgets(rows)
    again = ((("random", "rs1", "rs1_length"), 1), (("ppo",), 1), ((BASE,), 1), ((SERVED,), nb07_arena.N))
    with Progress(len(rows) + len(again), "check 7.1, the runs", "steps") as progress:
        policies = _check_weights(work, rows, progress)
        for arms, n in again:
            some = [k for k, row in enumerate(rows) if row["arm"] in arms]
            k = some[int(rng.integers(len(some)))]
            _check_judged(rows[k], policies[k], n, JUDGED_AGAIN if n == 1 else SERVED_AGAIN)
            progress.advance()


def _check_budgets(rows: Sequence[Mapping[str, Any]]) -> None:
    spent = {}
    for row in rows:
        flops = row["ledger"].get("flops") if isinstance(row["ledger"], Mapping) else None
        message = "`ledger` is the dict that `arena.tune` returned."
        number = isinstance(flops, int | float | np.number) and math.isfinite(flops)
        require(number, FORM, message, idea="F33", got=short(row["ledger"]))
        if row["arm"] in TRAINED:
            spent[LABELS[row["arm"]], row["seed"]] = float(flops)
    middle = float(np.median(list(spent.values())))
    off = {key: value for key, value in spent.items() if not 0.6 * middle <= value <= 1.7 * middle}
    message = "The trained arms have not spent alike, so a difference may be one of money."
    got = ", ".join(f"{arm}, seed {seed}: {value / 1e9:,.0f} GFLOPs" for (arm, seed), value in off.items())
    require(middle > 0 and not off, BUDGET, message, idea="F33", got=got)


def _check_weights(work: Work, rows: Sequence[Mapping[str, Any]], progress: Progress) -> list[Policy]:
    """The policy of every row; trained arms have weights of their own, the others those of base."""
    policies: list[Policy] = []
    for row in rows:
        policies.append(artefacts.loaded(work, _inner_folder(work, row["policy"]), "policy"))
        progress.advance()
    base, trained = base_policy().fingerprint(), []
    for row, policy in zip(rows, policies, strict=True):
        label, unchanged = LABELS[row["arm"]], policy.fingerprint() == base
        if row["arm"] in TRAINED:
            message = f"The weights of {label} are those of the base policy: nothing was learned."
            require(not unchanged, CHANGED, message, idea="F01")
            trained.append(policy.fingerprint())
        else:
            message = f"{label} trains nothing, and its weights are not those of the base policy."
            require(unchanged, CHANGED, message, idea="F35")
    message = (
        "Two runs have the same weights. A seed that changes nothing is no further seed, and a folder that "
        "is written twice keeps its last run alone."
    )
    require(len(set(trained)) == len(trained), CHANGED, message, idea="F20")
    return policies


def _inner_folder(work: Work, path: Any) -> str:
    """The folder of a row's policy; where that of the whole run is given, the one policy inside it."""
    text = str(path)
    try:
        folder = work.model_folder(text)
        inside = nb07_arena.policy_folder(folder).relative_to(folder)
    except (OSError, ValueError):  # a path may be too long, or hold a null character
        return text
    return str(Path(text) / inside)


_judged = artefacts.memoize(nb07_arena.judged)


def _check_judged(row: Mapping[str, Any], policy: Policy, n: int, prompts: int) -> None:
    """Gold and reward of a row, measured again on its first prompts."""
    again = _judged(policy, row["seed"], n, prompts)
    gold, reward = (np.array(row[name][:prompts], dtype=float) for name in ("gold", "reward"))
    idea = "typed"
    if close(gold, again["reward"]):
        idea = "not the judge"
    elif n > 1 and close(gold, _judged(policy, row["seed"], 1, prompts)["gold"]):
        idea = "one response"
    good = close(gold, again["gold"]) and close(reward, again["reward"])
    case = f"{LABELS[row['arm']]}, seed {row['seed']}"
    require(good, JUDGED, IDEAS[idea], case=case, got=short(gold[:6]))


def close(values: Any, again: Any) -> bool:
    """Equal but for one prompt in six, where rounding may turn a token."""
    return float(np.mean(np.abs(np.subtract(values, again)) < 1e-3)) >= 5 / 6


# What they show -------------------------------------------------------------------------------------------


Tables = Mapping[str, Sequence[np.ndarray]]
"""Claim -> gold of its first arm and of its second, each (S, M)."""


def grade_findings(work: Work, rng: np.random.Generator) -> None:
    """Every claim's interval from the learner's rows at the level of five claims, and its verdict."""
    rows = checked_rows(work)
    tables, rewards = (
        {name: [table_of(rows, arm, column) for arm in arms] for name, arms in CLAIMS.items()}
        for column in ("gold", "reward")
    )
    _check_claims(work, "findings", tables, AGREES, rewards)


def grade_stored(work: Work, rng: np.random.Generator) -> None:
    """What the learner's own interval finds in the tables of the large arena."""
    tables = {name: nb07_results.tables_of(name) for name in nb07_results.stored_claims()}
    _check_claims(work, "stored", tables, STORED_AGREES)


def _check_claims(work: Work, name: str, tables: Tables, check: str, rewards: Tables | None = None) -> None:
    """The dict `name` of the learner has each claim's interval, at the level of all claims, and verdict.

    rewards: the tables of the reward, where there are such.
    """
    findings, interval = work.value(name, dict), work.function("interval")
    missing = [claim for claim in tables if not _is_dict(findings.get(claim))]
    message = f"`{name}` has a dict with difference, low, high and verdict for each claim. Missing: "
    require(not missing, ALL, message + "; ".join(missing), idea="F34")
    for claim in tables:
        got = three(findings[claim], claim)
        _check_finding(claim, got, tables, interval, check, rewards)
        right, word = verdict_of({"low": got[1], "high": got[2]}), _word(findings[claim].get("verdict"))
        message = "The verdict is not what the interval beside it says. Open is an answer."
        require(word == right, FOLLOWS, message, idea="F34", case=claim, got=word)


def _check_finding(
    claim: str,
    got: Three,
    tables: Tables,
    interval: Callable[..., Any],
    check: str,
    rewards: Tables | None,
) -> None:
    """That these numbers are the learner's own, right interval of the claim at the level of all claims."""
    level, both = 1 - 0.05 / len(tables), tables[claim]
    right = three(interval(*both, level), claim)
    if not near(got, right):
        idea = _finding_idea(claim, got, tables, interval)
        if rewards and near(got, three(interval(*rewards[claim], level), claim)):
            idea = IDEAS["of the reward"]
        raise CheckFailed(check, idea.message, idea=idea.id, case=claim, got=short(got))
    check_interval(right, *both, level, check)


def _finding_idea(claim: str, got: Three, tables: Tables, interval: Callable[..., Any]) -> Misconception:
    """What explains a wrong interval: its level, the order of its arms, or another claim."""
    both, count = tables[claim], len(tables)
    if near(got, three(interval(*both, 0.95), claim)):
        return IDEAS.filled("many claims", claims=count)
    level = 1 - 0.05 / count
    if near(got, three(interval(*both[::-1], level), claim)):
        return IDEAS["exchanged"]
    if any(near(got, three(interval(*other, level), claim)) for other in tables.values()):
        return IDEAS["crossed claims"]
    if near(got, three(interval(*both, 0.05 / count), claim)):
        return IDEAS["share for level"]
    levels = [1 - 0.05 / other for other in range(2, 41)] + [0.9, 0.99]
    if any(near(got, three(interval(*both, other), claim)) for other in levels):
        return IDEAS.filled("other count", claims=count)
    same_middle = near((got[0],) * 3, (float((both[0] - both[1]).mean()),) * 3)
    return IDEAS["not of now" if same_middle else "other numbers"]


def near(got: Three, other: Three) -> bool:
    """Equal up to rounding to two digits after the point."""
    return all(abs(g - o) <= 0.011 for g, o in zip(got, other, strict=True))


EXERCISE = Exercise(
    "7.1",
    "An arena of your own",
    3,
    15,
    ("interval", "verdict", "stored", "results", "findings"),
    (
        Part("the interval", 1.5, grade_interval),
        Part("the verdict", 0.5, grade_verdict),
        Part("the stored tables", 1.0, grade_stored),
        Part("the findings", 1.0, grade_findings),
        Part("the runs", 1.0, grade_runs),
    ),
    given=nb07_arena.given,
    needs_torch=True,
)
