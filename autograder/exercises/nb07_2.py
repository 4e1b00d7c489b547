"""Exercise 7.2: what a method asks of a team, read from the engine; graded on methods nobody has seen."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.checks import Check, Ideas, Learner, graded
from autograder.exercise import Exercise, Misconception, Part, diagnose, require, short
from autograder.handouts import nb07_methods
from autograder.handouts.nb07_made_up import Draws, Memory, Pull, Search, clip, weigh
from autograder.handouts.nb07_methods import Evidence
from autograder.work import Work

if TYPE_CHECKING:
    from rslib.arena import Arm

IDEAS = Ideas("""
models (): The most models that a ledger of its runs has noted is asked for.
last run (one run): These are the models of one run. The most that any run held is asked for.
first run (one run): These are the models of one run. The most of all runs is asked for.
sum: The models of all runs are added. They were never in memory together.
mean: A mean over runs: memory has to hold the peak.

settings (): Fields of the dataclasses in `arm.settings` that somebody tunes, and `arm.more`.
untuned: Seeds, budgets and memory settings are counted. Nobody tunes them.
more: Settings outside of the dataclasses are missing: see `arm.more`.
dataclasses (F36): That is the number of dataclasses, not of their fields.

lines (): Lines with code of `arm.own`, as `rslib.arena.code_lines` counts them.
raw lines: Blank lines, comments and docstrings are counted.
all code (shared): Code that several methods share is counted in.
shared: This is the code that the method shares.

negatives (): Does any coefficient push a token's probability down?
mean sign: Whether *any* token is pushed down is asked, not whether most are.

sensitivity (): Highest minus lowest gold of the trials that have one; 0.0 without trials.
range of reward (F16): This is the range of the reward, the judge who chose.
gold 0 (F32): A trial that stopped counts as gold 0. It has no gold.
spread: This is a standard deviation. The range is asked for.

table (F50): The engine says something else. Let `describe` fill the table.
""")
FORM, TABLE = "returns the five entries", "has the engine's table"
CHECKS = {
    "models": "counts models at the peak",
    "settings": "counts what is tuned",
    "lines": "counts lines of code",
    "negatives": "sees negatives",
    "sensitivity": "measures the range of gold",
}
KEYS = tuple(CHECKS)


def described(arm: Arm, runs: Any, trials: Any, table: np.ndarray) -> dict[str, Any]:
    """The right entries."""
    from rslib.arena import code_lines

    gold = [trial["means"]["gold"] for trial in trials if "means" in trial]
    return {
        "models": max(run["ledger"]["models"] for run in runs),
        "settings": arm.hyper_parameters(),
        "lines": code_lines(arm.own),
        "negatives": bool((table < 0).any()),
        "sensitivity": max(gold) - min(gold) if gold else 0.0,
    }


# Methods that nobody has seen -----------------------------------------------------------------------------


def hidden(rng: np.random.Generator, trained: bool) -> Evidence:
    """A made-up method with runs, trials and coefficients; every known mistake gives it another entry."""
    from rslib.arena import Arm

    codes = (weigh, clip, Memory)
    order = rng.permutation(3)
    private, shared = [codes[k] for k in order[:2]], [codes[order[2]]]
    kinds = [(Draws, Search), (Search, Pull), (Draws, Pull)][int(rng.integers(3))]
    more = [f"extra_{k}" for k in range(int(rng.integers(1, 4)))]
    arm = Arm("made_up", "made up", settings=kinds, more=more, own=private, shared=shared)
    held = rng.permutation([2, 3, 5]) if rng.random() < 0.5 else rng.permutation([1, 4, 6])
    if held[-1] == held.max():
        held = np.roll(held, 1)
    runs = [{"arm": "made_up", "seed": s, "ledger": {"models": int(m)}} for s, m in enumerate(held)]
    return arm, runs, _trials(rng) if trained else [], _table(rng, trained)


def _trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Six trials, all of gold above 1, and one that stopped."""
    gold = rng.permutation(1.5 + np.cumsum(rng.uniform(0.2, 0.6, 6)))
    trials: list[dict[str, Any]] = [
        {
            "setting": {"learning_rate": 1e-4 * 3.0**k},
            "means": {"gold": round(float(value), 3), "proxy": round(float(rng.normal(0, 3)), 3)},
        }
        for k, value in enumerate(gold)
    ]
    trials.insert(int(rng.integers(7)), {"setting": {"learning_rate": 1e-2}, "failed": "the loss is NaN"})
    return trials


def _table(rng: np.random.Generator, trained: bool) -> np.ndarray:
    """Coefficients (6, 4) of which one row pushes down, though their sum is above 0; (0, 4) untrained."""
    if not trained:
        return np.zeros((0, 4))
    table = np.abs(rng.normal(2, 0.5, (6, 1))) * np.ones((6, 4))
    table[int(rng.integers(1, 6))] = -0.3
    return np.round(table, 3)


def slips(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """For each entry, what known mistakes make of it."""
    from rslib.arena import UNTUNED, code_lines

    arm, runs, trials, _ = evidence
    held = [run["ledger"]["models"] for run in runs]
    fields = [name for kind in arm.settings for name in kind.__dataclass_fields__]
    gold, proxy = (
        [trial["means"][name] for trial in trials if "means" in trial] for name in ("gold", "proxy")
    )
    return {
        "models": {
            "last run": held[-1],
            "first run": held[0],
            "sum": sum(held),
            "mean": float(np.mean(held)),
        },
        "settings": {
            "untuned": len(fields) + len(arm.more),
            "more": sum(name not in UNTUNED for name in fields),
            "dataclasses": len(arm.settings),
        },
        "lines": {
            "raw lines": sum(len(inspect.getsource(part).splitlines()) for part in arm.own),
            "all code": code_lines([*arm.own, *arm.shared]),
            "shared": code_lines(arm.shared),
        },
        "negatives": {"mean sign": False},
        "sensitivity": {
            "range of reward": np.ptp(proxy) if proxy else 0.0,
            "gold 0": max(gold, default=0.0),
            "spread": float(np.std(gold)) if gold else 0.0,
        },
    }


# The exercise ---------------------------------------------------------------------------------------------


def checks(*keys: str) -> Check:
    """The check of some entries on made-up methods, trained and not."""

    def check(describe: Learner, rng: np.random.Generator) -> None:
        for trained in (True, True, False):
            evidence = hidden(rng, trained)
            entries, right, wrong = described_by(describe, evidence), described(*evidence), slips(evidence)
            case = f"a made-up method, {'with' if trained else 'without'} trials"
            for key in keys:
                otherwise = IDEAS[key] if trained else Misconception("F32", IDEAS[key].message, None)
                entry, ideas = entries[key], IDEAS.of(wrong[key])
                if key == "negatives":
                    boolean = isinstance(entry, bool | np.bool_)
                    require(boolean, CHECKS[key], "`negatives` is True or False.", got=entry)
                compare(CHECKS[key], key, entry, right, ideas=ideas, otherwise=otherwise, case=case)

    return check


def described_by(describe: Learner, evidence: Evidence) -> dict[str, Any]:
    """The learner's entries by name."""
    entries = describe(*evidence)
    good = isinstance(entries, dict) and set(KEYS) <= set(entries)
    require(good, FORM, f"`describe` returns a dict with {', '.join(KEYS)}.", got=short(entries))
    return entries


def compare(check: str, key: str, entry: Any, right: dict[str, Any], **known: Any) -> None:
    """CheckFailed unless the entry of this name is right; `known` goes to `diagnose`."""
    single = getattr(entry, "shape", ()) == ()
    value = bool(entry) if key == "negatives" and single else entry
    diagnose(check, value, right[key], tolerance=1e-6, reveal=False, **known)


def grade_table(work: Work, rng: np.random.Generator) -> None:
    """The learner's table holds what the engine says of every method shown."""
    methods = work.value("methods", dict)
    for name, evidence in nb07_methods.given(work.variant).items():
        message = f"`methods` has no entry for {name!r}."
        require(isinstance(methods.get(name), dict), TABLE, message, got=list(methods))
        right = described(*evidence)
        for key in KEYS:
            entry, case = methods[name].get(key), f"{name}, {key}"
            compare(TABLE, key, entry, right, otherwise=IDEAS["table"], case=case)


EXERCISE = Exercise(
    "7.2",
    "What a method asks of you",
    2,
    10,
    ("describe", "methods"),
    (
        Part("memory, settings, code", 1.0, graded("describe", IDEAS, checks("models", "settings", "lines"))),
        Part("negatives and sensitivity", 1.0, graded("describe", IDEAS, checks("negatives", "sensitivity"))),
        Part("the table", 0.5, grade_table),
    ),
    given=nb07_methods.given,
    needs_torch=True,
)
