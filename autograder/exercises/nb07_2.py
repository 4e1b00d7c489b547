"""Exercise 7.2: what a method asks of a team, read from the engine; graded on methods nobody has seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder.exercise import Exercise, Misconception, Part, diagnose, require, short
from autograder.handouts import nb07_methods
from autograder.handouts.nb07_made_up import Draws, Memory, Pull, Search, clip, weigh
from autograder.handouts.nb07_methods import Evidence
from autograder.work import Work
from rslib.arena import UNTUNED, Arm, code_lines

KEYS = ("models", "settings", "lines", "negatives", "sensitivity")
FORM = "returns the five entries"
MODELS, SETTINGS, LINES = "counts models at the peak", "counts what is tuned", "counts lines of code"
NEGATIVES, SENSITIVITY, TABLE = "sees negatives", "measures the range of gold", "has the engine's table"


def described(arm: Arm, runs: Any, trials: Any, table: np.ndarray) -> dict[str, Any]:
    """The right entries."""
    gold = [one["means"]["gold"] for one in trials if "means" in one]
    return {
        "models": max(one["ledger"]["models"] for one in runs),
        "settings": arm.hyper_parameters(),
        "lines": code_lines(arm.own),
        "negatives": bool((table < 0).any()),
        "sensitivity": max(gold) - min(gold) if gold else 0.0,
    }


# Methods that nobody has seen -----------------------------------------------------------------------------


def hidden(rng: np.random.Generator, trained: bool) -> Evidence:
    """A made-up method with runs, trials and coefficients; every known mistake gives it another entry."""
    codes = (weigh, clip, Memory)
    order = rng.permutation(3)
    own, shared = [codes[k] for k in order[:2]], [codes[order[2]]]
    kinds = [(Draws, Search), (Search, Pull), (Draws, Pull)][int(rng.integers(3))]
    more = [f"extra_{k}" for k in range(int(rng.integers(1, 4)))]
    arm = Arm("made_up", "made up", settings=kinds, more=more, own=own, shared=shared)
    held = rng.permutation([2, 3, 5]) if rng.random() < 0.5 else rng.permutation([1, 4, 6])
    if held[-1] == held.max():
        held = np.roll(held, 1)
    runs = [{"arm": "made_up", "seed": s, "ledger": {"models": int(m)}} for s, m in enumerate(held)]
    return arm, runs, _trials(rng) if trained else [], _table(rng, trained)


def _trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Six trials, all of gold above 1, and one that stopped."""
    gold = rng.permutation(1.5 + np.cumsum(rng.uniform(0.2, 0.6, 6)))
    found: list[dict[str, Any]] = [
        {
            "setting": {"learning_rate": 1e-4 * 3.0**k},
            "means": {"gold": round(float(value), 3), "proxy": round(float(rng.normal(0, 3)), 3)},
        }
        for k, value in enumerate(gold)
    ]
    found.insert(int(rng.integers(7)), {"setting": {"learning_rate": 1e-2}, "failed": "the loss is NaN"})
    return found


def _table(rng: np.random.Generator, trained: bool) -> np.ndarray:
    """Coefficients (6, 4) of which one row pushes down, though their sum is above 0; (0, 4) untrained."""
    if not trained:
        return np.zeros((0, 4))
    table = np.abs(rng.normal(2, 0.5, (6, 1))) * np.ones((6, 4))
    table[int(rng.integers(1, 6))] = -0.3
    return np.round(table, 3)


def _ideas(evidence: Evidence) -> dict[str, list[Misconception]]:
    """For each entry, what known mistakes make of it."""
    arm, runs, trials, table = evidence
    held = [one["ledger"]["models"] for one in runs]
    fields = [[f for f in kind.__dataclass_fields__] for kind in arm.settings]
    everything = sum(map(len, fields)) + len(arm.more)
    tuned = [name for names in fields for name in names if name not in UNTUNED]
    gold = [one["means"]["gold"] for one in trials if "means" in one]
    proxy = [one["means"]["proxy"] for one in trials if "means" in one]
    spread = float(np.std(gold)) if gold else 0.0
    return {
        "models": [
            Misconception(
                "one run",
                "These are the models of one run. The most that any run held is asked for.",
                held[-1],
            ),
            Misconception(
                "one run", "These are the models of one run. The most of all runs is asked for.", held[0]
            ),
            Misconception(
                "sum", "The models of all runs are added. They were never in memory together.", sum(held)
            ),
            Misconception("mean", "A mean over runs: memory has to hold the peak.", float(np.mean(held))),
        ],
        "settings": [
            Misconception(
                "untuned", "Seeds, budgets and memory settings are counted. Nobody tunes them.", everything
            ),
            Misconception(
                "more", "Settings outside of the dataclasses are missing: see `arm.more`.", len(tuned)
            ),
            Misconception(
                "F36", "That is the number of dataclasses, not of their fields.", len(arm.settings)
            ),
        ],
        "lines": [
            Misconception("raw lines", "Blank lines, comments and docstrings are counted.", _raw(arm.own)),
            Misconception(
                "shared",
                "Code that several methods share is counted in.",
                code_lines([*arm.own, *arm.shared]),
            ),
            Misconception("shared", "This is the code that the method shares.", code_lines(arm.shared)),
        ],
        "negatives": [
            Misconception(
                "mean sign", "Whether *any* token is pushed down is asked, not whether most are.", False
            ),
        ],
        "sensitivity": [
            Misconception(
                "F16",
                "This is the range of the reward, the judge who chose.",
                np.ptp(proxy) if proxy else 0.0,
            ),
            Misconception(
                "F32", "A trial that stopped counts as gold 0. It has no gold.", max(gold, default=0.0)
            ),
            Misconception("spread", "This is a standard deviation. The range is asked for.", spread),
        ],
    }


def _raw(parts: Any) -> int:
    import inspect

    return sum(len(inspect.getsource(part).splitlines()) for part in parts)


def checked(found: Any) -> dict[str, Any]:
    """The learner's entries by name."""
    good = isinstance(found, dict) and set(KEYS) <= set(found)
    require(good, FORM, f"`describe` returns a dict with {', '.join(KEYS)}.", got=short(found))
    return found


CHECKS = dict(zip(KEYS, (MODELS, SETTINGS, LINES, NEGATIVES, SENSITIVITY), strict=True))
OTHERWISE = {
    "models": "The most models that a ledger of its runs has noted is asked for.",
    "settings": "Fields of the dataclasses in `arm.settings` that somebody tunes, and `arm.more`.",
    "lines": "Lines with code of `arm.own`, as `rslib.arena.code_lines` counts them.",
    "negatives": "Does any coefficient push a token's probability down?",
    "sensitivity": "Highest minus lowest gold of the trials that have one; 0.0 without trials.",
}


def grade_entries(keys: tuple[str, ...], work: Work, rng: np.random.Generator) -> None:
    """Some entries of made-up methods, trained and not."""
    function = work.function("describe")
    for trained in (True, True, False):
        evidence = hidden(rng, trained)
        found, right, ideas = checked(function(*evidence)), described(*evidence), _ideas(evidence)
        for key in keys:
            if key == "negatives":
                message = "`negatives` is True or False."
                require(isinstance(found[key], bool | np.bool_), NEGATIVES, message, got=found[key])
            diagnose(
                CHECKS[key],
                bool(found[key]) if key == "negatives" else found[key],
                right[key],
                ideas=ideas[key],
                otherwise=Misconception("F32", OTHERWISE[key], None) if not trained else OTHERWISE[key],
                tolerance=1e-6,
                case=f"a made-up method, {'with' if trained else 'without'} trials",
                reveal=False,
            )


def grade_table(work: Work, rng: np.random.Generator) -> None:
    """The learner's table holds what the engine says of every method shown."""
    found = work.value("methods", dict)
    for name, evidence in nb07_methods.given(work.variant).items():
        message = f"`methods` has no entry for {name!r}."
        require(isinstance(found.get(name), dict), TABLE, message, got=list(found))
        right = described(*evidence)
        for key in KEYS:
            diagnose(
                TABLE,
                bool(found[name].get(key)) if key == "negatives" else found[name].get(key),
                right[key],
                otherwise=Misconception(
                    "F50", "The engine says something else. Let `describe` fill the table.", None
                ),
                tolerance=1e-6,
                case=f"{name}, {key}",
                reveal=False,
            )


EXERCISE = Exercise(
    "7.2",
    "What a method asks of you",
    2,
    10,
    ("describe", "methods"),
    (
        Part(
            "memory, settings, code", 1.0, lambda w, r: grade_entries(("models", "settings", "lines"), w, r)
        ),
        Part(
            "negatives and sensitivity", 1.0, lambda w, r: grade_entries(("negatives", "sensitivity"), w, r)
        ),
        Part("the table", 0.5, grade_table),
    ),
    given=nb07_methods.given,
)
