"""Exercise 7.2: what a method asks of a team, read from the engine; graded on methods nobody has seen."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.checks import Check, Ideas, Learner, graded
from autograder.exercise import ANSWERED, Exercise, Misconception, Part, as_dict, diagnose, require, short
from autograder.exercises.artefacts import word_of
from autograder.handouts import nb07_methods
from autograder.handouts.nb07_made_up import Draws, Memory, Pull, Search, clip, weigh
from autograder.handouts.nb07_methods import Evidence
from autograder.work import Work
from rslib.intervals import OPEN

if TYPE_CHECKING:
    from rslib.arena import Arm

IDEAS = Ideas("""
models (): The most models that a ledger of its runs has noted is asked for.
last run (one run): These are the models of one run. The most that any run held is asked for.
first run (one run): These are the models of one run. The most of all runs is asked for.
sum: The models of all runs are added. They were never in memory together.
fewest: These are the fewest models. Memory has to hold the most.
mean: A mean over runs: memory has to hold the peak.

memory (): The most MiB that any run held beside the libraries: see `memory` of a run.
two runs / highest of each (two runs): The peak of one run less the libraries of another. Take the
    difference run by run.
libraries: The libraries are counted in. They are there before the first model is loaded, for every method.
memory of one / memory of the first (one run): This is the memory of one run. The most that any run held is
    asked for.
mean memory (mean): A mean over runs: the machine has to hold the peak.

settings (): Fields of the dataclasses in `arm.settings` that somebody tunes, and `arm.more`.
untuned: Seeds, budgets and memory settings are counted. Nobody tunes them.
more: Settings outside of the dataclasses are missing: see `arm.more`.
more whole (untuned): Of `arm.more`, too, what nobody tunes is left out.
varied: These are the settings that the trials varied. Others are tuned as well, or could be.
once / once whole (once): A name that two dataclasses share is counted once. Each of the two programs has
    its own setting.
dataclasses / kinds and more (F36): That is the number of dataclasses, not of their fields.

own_lines (): Lines with code of `arm.own`, as `rslib.arena.code_lines` counts them.
shared_lines (): Lines with code of `arm.shared`, as `rslib.arena.code_lines` counts them.
raw lines: Blank lines, comments and docstrings are counted.
all code (shared): Own and shared code are added. The table shows them apart, then their sum.
shared: Own and shared code have changed places.

draws (): The most draws that a run's `notes` tell of; 1 where they tell nothing, as one pool is one draw.
draws of one / draws of the first (one run): These are the draws of one run.
all draws (sum): The draws of all runs are added. The most of any run is asked for.
responses: That counts responses. A draw is a visit to the newest policy, however many responses it brings.
no draw: A run whose notes say nothing of draws has drawn its pool, once.

negatives (): Does any coefficient push a token's probability down?
first token: A response's first token is positive here, and a later one is not: look at every token.
zeros (zero): A coefficient of 0 leaves a token alone. Pushed down is what has one below 0.
mean sign: Whether *any* token is pushed down is asked, not whether most are.

sensitivity (): Highest minus lowest gold of the trials that have one; 0.0 without trials.
range of reward (F16): This is the range of the reward, the judge who chose.
gold 0 (F32): A trial that stopped counts as gold 0. It has no gold.
spread: This is a standard deviation. The range is asked for.
first and last / last and first: The first trial is held against the last. Highest and lowest are asked for.
nothing read (trials): No trial's gold was read here: it stands in the `means` of a trial, not of a run.

table (F50): The engine says something else. Let `describe` fill the table.

words (): One of these is asked for: simpler, not simpler, the same, not separable.
own lines alone (shared): A reader of the method has to read what it shares as well: add `shared_lines`.
headline: "Simpler" is not one property. Look at the two numbers of this row again: which is smaller?
turned (sign): It is the other way round: RS-1 is compared with the rival, not the rival with RS-1.
tie: The two entries are equal.
no tie: The two entries differ.
sensitivity open (F34): One range is wider, and it comes from one seed. What do the claims in
    `evidence.rate_claims` say?
measured (F34): This is counted, not estimated. Counts have no interval to be inside of.
""")
FORM, TABLE = "returns every entry", "has the engine's table"
SIMPLER = "says in what it is simpler"
CHECKS = {
    "models": "counts models at the peak",
    "memory": "measures memory at the peak",
    "settings": "counts what is tuned",
    "own_lines": "counts lines of code",
    "shared_lines": "counts shared lines",
    "draws": "counts draws",
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
        "memory": max(run["memory"]["peak"] - run["memory"]["libraries"] for run in runs),
        "settings": arm.hyper_parameters(),
        "own_lines": code_lines(arm.own),
        "shared_lines": code_lines(arm.shared),
        "draws": max(run["notes"].get("draws", 1) for run in runs),
        "negatives": bool((table < 0).any()),
        "sensitivity": max(gold) - min(gold) if gold else 0.0,
    }


# Methods that nobody has seen -----------------------------------------------------------------------------


def hidden(rng: np.random.Generator, trained: bool, pushes: int | None = 0) -> Evidence:
    """A made-up method with runs, trials and coefficients; every known mistake gives it another entry.

    pushes: from which token on a response has coefficients below 0; None: some are 0, and none below.
    """
    from rslib.arena import Arm

    codes = (weigh, clip, Memory)
    order = rng.permutation(3)
    private, shared = [codes[k] for k in order[:2]], [codes[order[2]]]
    kinds = [(Draws, Search), (Search, Pull), (Draws, Pull)][int(rng.integers(3))]
    untuned = ["check_every", "budget_unit", "gradient_checkpointing"]
    more = [f"extra_{k}" for k in range(int(rng.integers(1, 4)))] + untuned
    arm = Arm("made_up", "made up", settings=kinds, more=more, own=private, shared=shared)
    # Neither the first nor the last of either is an extreme.
    held = [3, 5, 2, 4] if rng.random() < 0.5 else [4, 1, 6, 3]
    draws = [8, 12, 5, 9] if rng.random() < 0.5 else [9, 5, 12, 8]
    runs = [
        {
            "arm": "made_up",
            "seed": seed,
            "ledger": {"models": models, "responses": int(rng.integers(100, 900))},
            "memory": {"libraries": 300.0 + 7 * seed, "peak": 400.0 + 25.0 * models},
            "notes": {"draws": draws[seed]} if trained else {},
        }
        for seed, models in enumerate(held)
    ]
    return arm, runs, _trials(rng) if trained else [], _table(rng, trained, pushes)


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


def _table(rng: np.random.Generator, trained: bool, pushes: int | None) -> np.ndarray:
    """Coefficients (6, 4), of sum above 0, one row below 0 from a token on, or 0; (0, 4) untrained."""
    if not trained:
        return np.zeros((0, 4))
    table = np.abs(rng.normal(2, 0.5, (6, 1))) * np.ones((6, 4))
    table[int(rng.integers(1, 6)), pushes or 0 :] = 0.0 if pushes is None else -0.3
    return np.round(table, 3)


def slips(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """For each entry, what known mistakes make of it."""
    arm, runs, trials, coefficients = evidence
    gold, proxy = (
        [trial["means"][name] for trial in trials if "means" in trial] for name in ("gold", "proxy")
    )
    others = {
        "negatives": {
            "mean sign" if (coefficients[:, :1] < 0).any() else "first token": False,
            "zeros": True,
        },
        "sensitivity": {
            "range of reward": np.ptp(proxy) if proxy else 0.0,
            "gold 0": max(gold, default=0.0),
            "spread": float(np.std(gold)) if gold else 0.0,
            "first and last": gold[0] - gold[-1] if gold else 0.0,
            "last and first": gold[-1] - gold[0] if gold else 0.0,
            "nothing read": 0.0,
        },
    }
    counted = _slips_of_code(arm)
    counted["settings"]["varied"] = len({name for trial in trials for name in trial["setting"]})
    return _slips_of_runs(runs) | counted | others


def _slips_of_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    held = [run["ledger"]["models"] for run in runs]
    peaks = [run["memory"]["peak"] for run in runs]
    memory = [run["memory"]["peak"] - run["memory"]["libraries"] for run in runs]
    draws = [run["notes"].get("draws", 1) for run in runs]
    return {
        "models": {
            "last run": held[-1],
            "first run": held[0],
            "sum": sum(held),
            "fewest": min(held),
            "mean": float(np.mean(held)),
        },
        "memory": {
            "libraries": max(peaks),
            "two runs": max(peaks) - min(run["memory"]["libraries"] for run in runs),
            "highest of each": max(peaks) - max(run["memory"]["libraries"] for run in runs),
            "memory of one": memory[-1],
            "memory of the first": memory[0],
            "mean memory": float(np.mean(memory)),
        },
        "draws": {
            "no draw": max(run["notes"].get("draws", 0) for run in runs),
            "draws of one": draws[-1],
            "draws of the first": draws[0],
            "all draws": sum(draws),
            "responses": max(run["ledger"]["responses"] for run in runs),
        },
    }


def _slips_of_code(arm: Any) -> dict[str, dict[str, Any]]:
    from rslib.arena import UNTUNED, code_lines

    fields = [name for kind in arm.settings for name in kind.__dataclass_fields__]
    everything = code_lines([*arm.own, *arm.shared])
    return {
        "settings": {
            "untuned": len(fields) + len(arm.more),
            "more": sum(name not in UNTUNED for name in fields),
            "more whole": sum(name not in UNTUNED for name in fields) + len(arm.more),
            "once": len({*fields, *arm.more} - UNTUNED),
            "once whole": len({*fields} - UNTUNED) + len(arm.more),
            "dataclasses": len(arm.settings),
            "kinds and more": len(arm.settings) + len(arm.more),
        },
        "own_lines": {
            "raw lines": _raw_lines(arm.own),
            "all code": everything,
            "shared": code_lines(arm.shared),
        },
        "shared_lines": {
            "raw lines": _raw_lines(arm.shared),
            "all code": everything,
            "shared": code_lines(arm.own),
        },
    }


def _told_apart(evidence: Evidence) -> bool:
    """Whether no two mistakes in counting settings give the same number, and none the right one."""
    counted = {**slips(evidence)["settings"], "": described(*evidence)["settings"]}
    return len(set(counted.values())) == len(counted)


def _raw_lines(parts: Any) -> int:
    return sum(len(inspect.getsource(part).splitlines()) for part in parts)


# The exercise ---------------------------------------------------------------------------------------------


def checks(*keys: str) -> Check:
    """The check of some entries on made-up methods, trained and not."""

    def check(describe: Learner, rng: np.random.Generator) -> None:
        for trained, pushes in ((True, 0), (True, 2), (True, None), (False, None)):
            evidence = hidden(rng, trained, pushes)
            while not _told_apart(evidence):
                evidence = hidden(rng, trained, pushes)
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
    entries = as_dict(describe(*evidence))
    good = isinstance(entries, dict) and set(KEYS) <= set(entries)
    lacking = [key for key in KEYS if isinstance(entries, dict) and key not in entries]
    message = f"`describe` returns a dict with {', '.join(KEYS)}." + f" Missing: {lacking}." * bool(lacking)
    require(good, FORM, message, got=short(entries))
    return entries


def compare(check: str, key: str, entry: Any, right: dict[str, Any], **known: Any) -> None:
    """CheckFailed unless the entry of this name is right; `known` goes to `diagnose`."""
    boolean = isinstance(entry, bool | np.bool_)
    value = bool(entry) if key == "negatives" and boolean else entry
    diagnose(check, value, right[key], tolerance=1e-5, reveal=False, **known)


def grade_table(work: Work, rng: np.random.Generator) -> None:
    """The learner's table holds what the engine says of every method shown."""
    methods = work.value("methods", dict)
    for name, evidence in nb07_methods.given(work.variant).items():
        message = f"`methods` has no entry for {name!r}."
        entries = as_dict(methods.get(name))
        require(isinstance(entries, dict), TABLE, message, got=list(methods))
        right = described(*evidence)
        for key in KEYS:
            entry, case = entries.get(key), f"{name}, {key}"
            compare(TABLE, key, entry, right, otherwise=IDEAS["table"], case=case)


# In what it is simpler ------------------------------------------------------------------------------------

SAME, LESS, MORE, OPEN_TIE = "the same", "simpler", "not simpler", OPEN
ASKED = {
    "ppo": ("models", "memory", "settings", "lines", "draws", "negatives", "sensitivity"),
    "rloo": ("models", "memory", "settings", "lines", "draws", "negatives"),
    "best_of_n": ("models", "settings", "lines", "draws", "negatives"),
}
"""Rival -> the rows in which RS-1 is compared with it. The memory of serving was not measured apart."""


def in_what(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Rival -> row -> whether RS-1 is simpler, from what `described` says of each method.

    Sensitivity rests on trials of one seed, and the arena's claims about it leave the sign open.
    """
    sums = {name: {**row, "lines": row["own_lines"] + row["shared_lines"]} for name, row in rows.items()}
    return {
        rival: {key: _compared(key, sums["rs1"], sums[rival]) for key in keys}
        for rival, keys in ASKED.items()
    }


def _compared(key: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    if key == "sensitivity":
        return OPEN_TIE
    gap = float(mine[key]) - float(other[key])
    return LESS if gap < 0 else MORE if gap > 0 else SAME


def grade_simpler(work: Work, rng: np.random.Generator) -> None:
    """In what RS-1 is simpler than each rival, by the engine's own numbers."""
    given = nb07_methods.given(work.variant)
    rows = {name: described(*evidence) for name, evidence in given.items()}
    answers, right = work.value("simpler", dict), in_what(rows)
    answers = {word_of(rival).replace(" ", "_"): row for rival, row in answers.items()}
    for rival, keys in ASKED.items():
        of_rival = answers.get(rival)
        form = isinstance(of_rival, dict) and set(keys) <= set(of_rival)
        require(form, SIMPLER, f"simpler[{rival!r}] has an entry for {', '.join(keys)}.", got=short(of_rival))
    asked = [(rival, key) for rival, keys in ASKED.items() for key in keys]
    asked.sort(key=lambda pair: pair[1] == "sensitivity")  # what is counted comes before what is estimated
    for rival, key in asked:
        _check_row(rival, key, answers[rival][key], right[rival][key], rows)


def _check_row(rival: str, key: str, answer: Any, right: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    word = word_of(answer) if isinstance(answer, str) else short(answer)
    word = SAME if word == "same" else word
    case = f"RS-1 against {rival}: {key}"
    blank = answer is ... or word == ""
    require(not blank, ANSWERED, f"simpler[{rival!r}][{key!r}] is not filled in yet.", case=case)
    require(word in (SAME, LESS, MORE, OPEN_TIE), SIMPLER, IDEAS["words"], case=case, got=word)
    idea = "turned" if {word, right} == {LESS, MORE} else "headline"
    if key == "lines" and word == _compared("own_lines", rows["rs1"], rows[rival]):
        idea = "own lines alone"
    elif right == OPEN_TIE:
        idea = "sensitivity open"
    elif word == OPEN_TIE:
        idea = "measured"
    elif SAME in (word, right):
        idea = "tie" if right == SAME else "no tie"
    elif word == LESS:
        idea = "headline"
    require(word == right, SIMPLER, IDEAS[idea], case=case, got=word)


EXERCISE = Exercise(
    "7.2",
    "What a method asks of you",
    2,
    10,
    ("describe", "methods", "simpler"),
    (
        Part("memory, settings, code", 1.0, graded("describe", IDEAS, checks(*KEYS[:5]))),
        Part("draws, negatives, sensitivity", 0.5, graded("describe", IDEAS, checks(*KEYS[5:]))),
        Part("the table", 0.5, grade_table),
        Part("simpler in what", 1.0, grade_simpler),
    ),
    given=nb07_methods.given,
    needs_torch=True,
)
