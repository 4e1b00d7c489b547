# %% given
import dataclasses
import inspect

import numpy as np

from autograder import given
from rslib.arena import UNTUNED, code_lines

evidence = given("7.2")


def describe(arm, runs, trials, coefficients):
    names = [f.name for kind in arm.settings for f in dataclasses.fields(kind)] + list(arm.more)
    gold = [one["means"]["gold"] for one in trials if "means" in one]
    return {
        "models": max(one["ledger"]["models"] for one in runs),
        "settings": sum(name not in UNTUNED for name in names),
        "lines": code_lines(arm.own),
        "negatives": bool((coefficients < 0).any()),
        "sensitivity": max(gold) - min(gold) if gold else 0.0,
    }


def values(trials, name):
    return [one["means"][name] for one in trials if "means" in one]


def span(numbers):
    return float(np.ptp(numbers)) if numbers else 0.0


def but(**changes):
    """`describe` with some entries made by other functions."""
    right = describe

    def changed(*evidence):
        return right(*evidence) | {key: change(*evidence) for key, change in changes.items()}

    return changed


def filled(function):
    return {name: function(*found) for name, found in evidence.items()}


methods = filled(describe)


# %% correct: numpy, sets, the engine's own count
def describe(arm, runs, trials, coefficients):
    gold = np.array([one["means"]["gold"] if "means" in one else np.nan for one in trials])
    return {
        "models": np.max([one["ledger"]["models"] for one in runs]),
        "settings": arm.hyper_parameters(),
        "lines": sum(code_lines([part]) for part in arm.own),
        "negatives": np.any(np.asarray(coefficients) < 0),
        "sensitivity": float(np.nanmax(gold) - np.nanmin(gold)) if gold.size else 0,
    }


methods = filled(describe)


# %% correct: loops, and more entries than asked for
def describe(arm, runs, trials, coefficients):
    models, low, high, count = 0, float("inf"), float("-inf"), len(arm.more)
    for one in runs:
        models = max(models, one["ledger"]["models"])
    for one in trials:
        value = one.get("means", {}).get("gold")
        if value is not None:
            low, high = min(low, value), max(high, value)
    for kind in arm.settings:
        count += len({f.name for f in dataclasses.fields(kind)} - UNTUNED)
    down = False
    for row in coefficients:
        down = down or any(value < 0 for value in row)
    return {
        "label": arm.label,
        "models": models,
        "settings": count,
        "lines": code_lines(arm.own),
        "negatives": down,
        "sensitivity": max(high - low, 0.0),
    }


methods = filled(describe)

# %% wrong: models of all runs together | idea: sum | fails at: counts models at the peak | points: 1.5
describe = but(models=lambda arm, runs, *_: sum(one["ledger"]["models"] for one in runs))

# %% wrong: models on average | idea: mean | fails at: counts models at the peak | points: 1.5
describe = but(models=lambda arm, runs, *_: np.mean([one["ledger"]["models"] for one in runs]))

# %% wrong: models of the last run | idea: one run | fails at: counts models at the peak | points: 1.5
describe = but(models=lambda arm, runs, *_: runs[-1]["ledger"]["models"])

# %% wrong: seeds are settings | idea: untuned | fails at: counts what is tuned | points: 1.5
describe = but(settings=lambda arm, *_: sum(len(dataclasses.fields(k)) for k in arm.settings) + len(arm.more))

# %% wrong: dataclasses alone | idea: more | fails at: counts what is tuned | points: 1.5
describe = but(
    settings=lambda arm, *_: sum(f.name not in UNTUNED for k in arm.settings for f in dataclasses.fields(k))
)

# %% wrong: lines of the file | idea: raw lines | fails at: counts lines of code | points: 1.5
describe = but(lines=lambda arm, *_: sum(inspect.getsource(part).count("\n") for part in arm.own))

# %% wrong: shared lines too | idea: shared | fails at: counts lines of code | points: 1.5
describe = but(lines=lambda arm, *_: code_lines([*arm.own, *arm.shared]))

# %% wrong: negative on the whole | idea: mean sign | fails at: sees negatives | points: 1.5
describe = but(negatives=lambda *found: bool(np.sum(found[3]) < 0))

# %% wrong: the first response stands for all | idea: mean sign | fails at: sees negatives | points: 1.5
describe = but(negatives=lambda *found: bool(len(found[3]) and found[3][0][0] < 0))

# %% wrong: range of the reward | idea: F16 | fails at: measures the range of gold | points: 1.5
describe = but(sensitivity=lambda arm, runs, trials, table: span(values(trials, "proxy")))

# %% wrong: a stopped trial is gold 0 | idea: F32 | fails at: measures the range of gold | points: 1.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: span([t.get("means", {}).get("gold", 0.0) for t in trials])
)

# %% wrong: the standard deviation | idea: spread | fails at: measures the range of gold | points: 1.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: float(np.std(values(trials, "gold"))) if trials else 0.0
)

# %% wrong: nothing for no trials | idea: F32 | fails at: measures the range of gold | points: 1.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: span(values(trials, "gold")) if trials else float("nan")
)

# %% wrong: a typed table | idea: F50 | fails at: has the engine's table | points: 2
row = {"models": 2, "settings": 10, "lines": 30, "negatives": True, "sensitivity": 1.0}
methods = {name: row for name in evidence}
