"""Exercise 9.5: training sets with their controls, a verdict by interval, and the learner's own round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Learner, Rng, Unchanged, as_list, graded, in_turn
from autograder.exercise import CheckFailed, Exercise, Part, as_dict, numbers, require, short
from autograder.exercises.artefacts import (
    AGREES,
    FORM,
    HASH,
    INTERVAL,
    ends_of,
    is_near,
    memoize,
    tuned_policies,
    word_of,
)
from autograder.exercises.kept_rows import Table, keep, rows_of, table
from autograder.work import Work
from rslib import tables
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, verdict_of
from rslib.progress import Progress
from rslib.world import arithmetic

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

START = "start"
ARMS = ("right", "random", "all", "GRPO")
QUESTIONS = {
    "right over start": ("right", START),
    "random over start": ("random", START),
    "right over random": ("right", "random"),
    "right over all": ("right", "all"),
    "right over GRPO": ("right", "GRPO"),
}
"""What the notebook compares: the first arm minus the second, in the share of right responses."""
LEARNERS_HELDOUT = 150
"""Validation problems that the notebook measures on; the grader takes others."""
HIDDEN_PROBLEMS, HIDDEN_SAMPLES = 200, 4
IDEAS = Ideas("""
form (): A dict with the entries "right", "random" and "all", each the numbers of rows.
mask (): These are True and False for each row; the numbers of the rows are asked for.
right: `right` is to hold the rows that your `keep` gives.
all rows: `all` is to hold every row once, whatever its reward.
count (F49): The control has another number of rows than `right`. Then more than the choice differs.
twice (F29): Some rows of the control occur twice: rows are drawn without putting them back.
outside: The control holds numbers that no row has.
not seeded: Called twice with one seed, the control is another. Nobody could repeat the run.
one seed: Another seed gives the same control: it is not drawn at random.
looked (F49): Over many seeds the control's rows are right more often than those of the table: the choice
    looked at the rewards.
avoided (F03): Over many seeds the control's rows are right less often than those of the table: right ones
    were left out.

compared (): A dict with `difference`, `low`, `high` and `verdict`. The first three are the mean of first
    minus second, and its 95 % interval over problems.
turned (sign): The sign is turned: first minus second is asked for.
unpaired: The spread of each policy is taken by itself. Both answered the same problems: subtract first.
of responses: Every response counts as a measurement of its own; those to one problem are alike.
overlap (unpaired): The outer ends of two intervals are taken. Both answered the same problems: subtract
    first.
cut: The ends are cut at 0 or 1. A difference of shares can lie below 0.
relative: The difference is divided by a share. The plain difference is asked for.
signs: This counts the problems on which one is ahead. By how much belongs to it.
one error: This is one standard error to either side.
overlapping (decided): The intervals of the two policies overlap, and that of their difference lies above 0.
    Both answered the same problems: the verdict reads the interval of the difference.
deviation: This is the spread of the problems. The mean of many is surer than one.
equal (F42): A policy against itself differs by 0 on every problem: both ends are 0 too.
words (): A verdict is "supported", "contradicted" or "not separable".
open (F34): The interval has 0 in it: on other problems the sign may be another.
itself (F42): A policy against itself: both ends are 0, and that decides nothing.
decided: The whole interval lies on one side of 0: that is an answer.
other side (sign): The interval lies on the other side of 0.

untuned (F01): Two policies have the very same weights: nothing was tuned between, or a wrong folder is
    named.
missing (): A comparison is missing.
width (F34): An interval lies around its difference, and is about as wide as the problems make it.
other number (F50): Your policies, measured on other problems, differ by another amount.
follows (F34): Its verdict is not what its interval says.
""")
SETS, CONTROL, SEEDED = "builds the three sets", "draws a fair control", "draws by the seed"
PAIRED, EQUAL, WORD = "pairs by problem", "copes with equals", "gives one of three verdicts"
ALL, FOLLOWS = "answers every question", "says what the interval says"
_SEEDS = 300
"""Controls that are drawn to see whether they look at the rewards; a fair one fails in 1 of 2,000,000."""
_ENDS = ("difference", "low", "high")


# The three sets -------------------------------------------------------------------------------------------


def arms(
    prompt_ids: Sequence[str], rewards: Sequence[float], paths: Sequence[Any], most: int, seed: int
) -> dict[str, Any]:
    """Row numbers of right responses by `keep`, of as many random ones, and of all."""
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng(seed).permutation(len(rewards))[: len(right)]
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


def _drawn(rng: Rng) -> tuple[Any, ...]:
    return (*table(rng), int(rng.integers(1000)))


def _entry(name: str) -> Any:
    """Turns a result into the row numbers of one set."""

    def rows_in(result: Any, *_: Any) -> Any:
        known = isinstance(result, Mapping) and {"right", "random", "all"} <= result.keys()
        require(known, SETS, IDEAS["form"], got=short(result))
        rows = result[name]
        is_mask = numbers(rows) is not None and np.asarray(rows).dtype.kind == "b"
        require(not is_mask, SETS, IDEAS["mask"], got=rows)
        return rows_of(rows)

    return rows_in


def _set(name: str, idea: str) -> Agrees:
    entry = _entry(name)
    return Agrees(SETS, _drawn, lambda *args: entry(arms(*args)), idea, count=2, of=entry)


def _control(learner: Learner, args: tuple[Any, ...]) -> list[int]:
    """The control's rows, as many as are right, in the table and each once."""
    result = learner(*args)
    rows, right = _entry("random")(result), _entry("right")(result)
    case, size = learner.call(args), len(args[0])
    plain = all(isinstance(entry, list) and all(map(np.isfinite, entry)) for entry in (rows, right))
    require(plain, CONTROL, IDEAS["form"], case=case, got=rows)
    inside = all(row == int(row) and 0 <= row < size for row in rows)
    require(inside, CONTROL, IDEAS["outside"], case=case, got=short(rows))
    require(len(rows) == len(right), CONTROL, IDEAS["count"], case=case, got=f"{len(rows)} for {len(right)}")
    require(len(set(rows)) == len(rows), CONTROL, IDEAS["twice"], case=case, got=short(rows))
    require(rows != right, CONTROL, IDEAS["looked"], case=case, got=short(rows))
    return [int(row) for row in rows]


def fair_control(learner: Learner, rng: Rng) -> None:
    """As many rows as are right, drawn by the seed, with no look at the rewards."""
    known = _drawn(rng)[:-1]
    first = _control(learner, (*known, 0))
    require(first == _control(learner, (*known, 0)), SEEDED, IDEAS["not seeded"], got=short(first))
    controls = [first, *(_control(learner, (*known, seed)) for seed in range(1, _SEEDS))]
    require(len({tuple(rows) for rows in controls}) > 1, SEEDED, IDEAS["one seed"], got=short(first))
    _not_looked(controls, known)


def _not_looked(controls: Sequence[Sequence[int]], known: Table) -> None:
    """Right rows among all controls: hypergeometric, five standard errors are allowed."""
    right, size, count = np.array(known[1]) == 1, len(known[1]), len(controls[0])
    share = right.mean()
    error = np.sqrt(share * (1 - share) / count * (size - count) / (size - 1) / len(controls))
    measured = np.mean([right[list(rows)].mean() for rows in controls])
    got = f"{measured:.0%} right, {share:.0%} in the table"
    require(measured - share <= 5 * error, CONTROL, IDEAS["looked"], got=got)
    require(share - measured <= 5 * error, CONTROL, IDEAS["avoided"], got=got)


# The verdict ----------------------------------------------------------------------------------------------


def compared(first: Any, second: Any) -> dict[str, float]:
    """Mean, low and high of first minus second, paired by problem."""
    return _interval(np.subtract(first, second))


def _interval(gaps: np.ndarray, error: float | None = None) -> dict[str, float]:
    error = float(gaps.std(ddof=1) / len(gaps) ** 0.5) if error is None else error
    mean = float(gaps.mean())
    return {"difference": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}


def _shares(rng: Rng, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of 4 right responses to 60 problems, two policies that find the same problems easy."""
    ease = rng.beta(1, 2, 60)
    chances = (np.clip(ease + shift, 0.02, 0.98), np.clip(ease, 0.02, 0.98))
    first, second = (rng.binomial(4, chance) / 4 for chance in chances)
    return first, second


def _slips(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    gaps, size = first - second, len(first)
    apart = float(np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / size))
    binomial = float(np.sqrt(sum(s.mean() * (1 - s.mean()) for s in (first, second)) / (4 * size)))
    error, right = float(gaps.std(ddof=1)), _interval(gaps)
    one, other = _interval(first), _interval(second)
    outer = {"low": one["low"] - other["high"], "high": one["high"] - other["low"]}
    readings = {
        "turned": _interval(-gaps),
        "unpaired": _interval(gaps, apart),
        "of responses": _interval(gaps, binomial),
        "one error": _interval(gaps, error / size**0.5 / 1.96),
        "deviation": _interval(gaps, error),
        "overlap": {**right, **outer},
        "relative": _interval(gaps / second.mean()),
        "signs": _interval(np.sign(gaps)),
    }
    if right["low"] < 0:
        readings["cut"] = {**right, "low": 0.0, "high": min(right["high"], 1.0)}
    return {name: [*ends.values()] for name, ends in readings.items()}


def _ends(result: Any, *_: Any) -> Any:
    """Mean, low and high of a result; whatever is no dict of three goes on as it came."""
    result = as_dict(result)
    if not isinstance(result, Mapping) or not {*_ENDS} <= result.keys():
        raise CheckFailed(FORM, IDEAS["compared"].message, got=short(result))
    return as_list([result[key] for key in _ENDS])


def says(learner: Learner, rng: Rng) -> None:
    """Policies that differ upwards, downwards and not at all get their words."""
    wanted = {SUPPORTED: 0.5, CONTRADICTED: -0.5, OPEN: 0.0}
    for verdict, shift in wanted.items():
        first, second = _shares(rng, abs(shift))
        if shift < 0:
            first, second = second, first
        if verdict == OPEN:  # as many up as down, and one more: a mean above 0 that says nothing
            first = second + np.resize([0.25, -0.25], len(second))
            first[1] += 0.25
        result = as_dict(learner(first, second))
        _ends(result)
        claim = word_of(result.get("verdict"))
        require(claim in wanted, WORD, IDEAS["words"], got=short(result.get("verdict")))
        idea = "open" if verdict == OPEN else "decided" if claim == OPEN else "other side"
        require(claim == verdict, WORD, IDEAS[idea], got=short(dict(result)))
    second = np.minimum(_shares(rng)[0], 0.75)
    result = as_dict(learner(second + np.resize([0.25, 0.0, 0.0], len(second)), second))
    _ends(result)
    ahead = word_of(result.get("verdict")) == SUPPORTED
    require(ahead, WORD, IDEAS["overlapping"], got=short(dict(result)))
    itself = as_dict(learner(*[_shares(rng)[0]] * 2))
    _ends(itself)
    claim = word_of(itself.get("verdict"))
    require(claim not in (SUPPORTED, CONTRADICTED), WORD, IDEAS["itself"], got=short(dict(itself)))


# The learner's own round ----------------------------------------------------------------------------------


@cache
def start() -> Policy:
    """The embedded policy of arithmetic."""
    from rslib.models import load_policy

    return load_policy("tiny-arithmetic")


def hidden(rng: Rng) -> Dataset:
    """Validation problems that the notebook leaves."""
    problems = arithmetic.load_problems("validation")
    rows = rng.permutation(np.arange(LEARNERS_HELDOUT, len(problems)))[:HIDDEN_PROBLEMS]
    return tables.take(problems, np.sort(rows))


@memoize
def shares(policy: Policy, problems: Dataset, seed: int) -> np.ndarray:
    """The share of right responses to each problem."""
    from rslib.sampling import sample
    from rslib.scoring import score

    drawn = sample(policy, problems, n=HIDDEN_SAMPLES, seed=seed, show_progress=False)
    return tables.reward_matrix(score(arithmetic.correct, drawn, show_progress=False))[1].mean(1)


def _measured(policies: Mapping[str, Policy], rng: Rng) -> dict[str, np.ndarray]:
    problems, seed = hidden(rng), int(rng.integers(2**31))
    measured = {}
    with Progress(len(policies), "the check draws anew", "policies") as progress:
        for arm, policy in policies.items():
            measured[arm] = shares(policy, problems, seed)
            progress.advance()
    return measured


def grade_round(work: Work, rng: Rng) -> None:
    """Every comparison agrees with policies that are measured anew, and its verdict with its interval."""
    evidence = work.value("evidence", dict)
    for name in QUESTIONS:
        finding = as_dict(evidence.get(name))
        require(isinstance(finding, Mapping), ALL, IDEAS["missing"], case=name, got=short(finding))
        _check_verdict(name, finding)
    policies = {START: start()} | tuned_policies(work, ARMS)
    prints = {policy.fingerprint() for policy in policies.values()}
    require(len(prints) == len(policies), HASH, IDEAS["untuned"])
    measured = _measured(policies, work.class_rng(rng, "held out"))
    for name, (first, second) in QUESTIONS.items():
        _check_numbers(name, as_dict(evidence[name]), compared(measured[first], measured[second]))


def _check_verdict(name: str, finding: Mapping[str, Any]) -> None:
    difference, low, high = ends_of(finding, f"{name}: difference, low and high are asked for.")
    got = f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    require(low < difference < high, INTERVAL, IDEAS["width"], case=name, got=got)
    right = word_of(finding.get("verdict")) == verdict_of({"low": low, "high": high})
    require(right, FOLLOWS, IDEAS["follows"], case=name, got=f"{got}, {short(finding.get('verdict'))}")


def _check_numbers(name: str, finding: Mapping[str, Any], ours: Mapping[str, float]) -> None:
    difference, width = float(finding["difference"]), float(finding["high"]) - float(finding["low"])
    error, got = (ours["high"] - ours["low"]) / 3.92, f"{difference:+.3f}, {width:.3f} wide"
    require(error < width < 16 * error, INTERVAL, IDEAS["width"], case=name, got=got)
    near = is_near(difference, width, {**ours, "standard_error": error})
    require(near, AGREES, IDEAS["other number"], case=name, got=got)


_SETS = graded(
    "arms", IDEAS, _set("right", "right"), _set("all", "all rows"), fair_control, Unchanged(_drawn)
)
_VERDICT = graded(
    "compared",
    IDEAS,
    Agrees(
        PAIRED, _shares, lambda *args: [*compared(*args).values()], "compared", _slips, 2, 2e-3, 6e-3, _ends
    ),
    Corner(EQUAL, (np.array([0.5, 0.25, 0.0]),) * 2, [0.0, 0.0, 0.0], "equal", of=_ends),
    says,
)

EXERCISE = Exercise(
    "9.5",
    "A round with a checker, beside its controls",
    3,
    15,
    ("arms", "compared", "tuned", "evidence"),
    (
        Part("sets and verdict", 1.5, in_turn(_SETS, _VERDICT)),
        Part("your round, measured anew", 1.5, grade_round),
    ),
    measured=True,
    seconds=10,
    needs_torch=True,
)
