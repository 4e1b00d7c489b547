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
        "memory": max(one["memory"]["peak"] - one["memory"]["libraries"] for one in runs),
        "settings": sum(name not in UNTUNED for name in names),
        "own_lines": code_lines(arm.own),
        "shared_lines": code_lines(arm.shared),
        "draws": max(one["notes"].get("draws", 1) for one in runs),
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
ROWS = {
    "ppo": ("models", "memory", "settings", "lines", "draws", "negatives", "sensitivity"),
    "rloo": ("models", "memory", "settings", "lines", "draws", "negatives"),
    "best_of_n": ("models", "settings", "lines", "draws", "negatives"),
}


def worded(
    number=lambda row, key: row["own_lines"] + row["shared_lines"] if key == "lines" else row.get(key),
):
    """`simpler` by comparing the numbers of the table."""
    answers = {}
    for rival, keys in ROWS.items():
        answers[rival] = {}
        for key in keys:
            mine, other = number(methods["rs1"], key), number(methods[rival], key)
            answers[rival][key] = "simpler" if mine < other else "not simpler" if mine > other else "the same"
    answers["ppo"]["sensitivity"] = "not separable"
    return answers


def reworded(rival, key, word):
    answers = worded()
    answers[rival][key] = word
    return answers


simpler = worded()


# %% correct: numpy, sets, the engine's own count
def describe(arm, runs, trials, coefficients):
    gold = np.array([one["means"]["gold"] if "means" in one else np.nan for one in trials])
    return {
        "models": np.max([one["ledger"]["models"] for one in runs]),
        "memory": np.max([one["memory"]["peak"] - one["memory"]["libraries"] for one in runs]),
        "settings": arm.hyper_parameters(),
        "own_lines": sum(code_lines([part]) for part in arm.own),
        "shared_lines": sum(code_lines([part]) for part in arm.shared),
        "draws": np.max([one["notes"].get("draws", 1) for one in runs]),
        "negatives": np.any(np.asarray(coefficients) < 0),
        "sensitivity": float(np.nanmax(gold) - np.nanmin(gold)) if gold.size else 0,
    }


methods = filled(describe)
simpler = {rival: {key: word.upper() for key, word in row.items()} for rival, row in worded().items()}


# %% correct: loops, and more entries than asked for
def describe(arm, runs, trials, coefficients):
    models, memory, draws = 0, 0.0, 1
    low, high, count = float("inf"), float("-inf"), len(set(arm.more) - UNTUNED)
    for one in runs:
        models = max(models, one["ledger"]["models"])
        memory = max(memory, one["memory"]["peak"] - one["memory"]["libraries"])
        if "draws" in one["notes"]:
            draws = max(draws, one["notes"]["draws"])
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
        "memory": memory,
        "settings": count,
        "own_lines": code_lines(arm.own),
        "shared_lines": code_lines(arm.shared),
        "lines": code_lines([*arm.own, *arm.shared]),
        "draws": draws,
        "negatives": down,
        "sensitivity": max(high - low, 0.0),
    }


methods = filled(describe)

# %% correct: torch, single precision
import torch


def describe(arm, runs, trials, coefficients):
    gold = torch.tensor([one["means"]["gold"] for one in trials if "means" in one])
    sizes = torch.tensor([one["memory"]["peak"] - one["memory"]["libraries"] for one in runs])
    names = [f.name for kind in arm.settings for f in dataclasses.fields(kind)] + [*arm.more]
    return {
        "models": torch.tensor([one["ledger"]["models"] for one in runs]).max(),
        "memory": sizes.max(),
        "settings": len([name for name in names if name not in UNTUNED]),
        "own_lines": code_lines(arm.own),
        "shared_lines": code_lines(arm.shared),
        "draws": max([one["notes"].get("draws", 1) for one in runs]),
        "negatives": bool((torch.as_tensor(coefficients) < 0).any()),
        "sensitivity": (gold.max() - gold.min()) if len(gold) else torch.tensor(0.0),
    }


methods = filled(describe)


# %% correct: written by hand, with blanks
simpler = {rival: {key: f" {word} " for key, word in row.items()} for rival, row in worded().items()}


# %% correct: sorted lists; more rivals and rows than asked for
def describe(arm, runs, trials, coefficients):
    fields = sorted(f.name for kind in arm.settings for f in dataclasses.fields(kind)) + sorted(arm.more)
    reached = sorted(values(trials, "gold")) or [0]
    return dict(
        models=sorted(one["ledger"]["models"] for one in runs)[-1],
        memory=sorted(one["memory"]["peak"] - one["memory"]["libraries"] for one in runs)[-1],
        settings=len([*filter(lambda name: name not in UNTUNED, fields)]),
        own_lines=code_lines(arm.own),
        shared_lines=code_lines(arm.shared),
        draws=sorted(one["notes"].get("draws", 1) for one in runs)[-1],
        negatives=min(map(min, coefficients), default=0) < 0,
        sensitivity=reached[-1] - reached[0],
    )


methods = filled(describe)
simpler = worded() | {"grpo": {"models": "simpler"}}

# %% wrong: models of all runs together | idea: sum | fails at: counts models at the peak | points: 2
describe = but(models=lambda arm, runs, *_: sum(one["ledger"]["models"] for one in runs))

# %% wrong: models on average | idea: mean | fails at: counts models at the peak | points: 2
describe = but(models=lambda arm, runs, *_: np.mean([one["ledger"]["models"] for one in runs]))

# %% wrong: models of the last run | idea: one run | fails at: counts models at the peak | points: 2
describe = but(models=lambda arm, runs, *_: runs[-1]["ledger"]["models"])

# %% wrong: memory with the libraries | idea: libraries | fails at: measures memory at the peak | points: 2
describe = but(memory=lambda arm, runs, *_: max(one["memory"]["peak"] for one in runs))

# %% wrong: memory on average | idea: mean | fails at: measures memory at the peak | points: 2
describe = but(
    memory=lambda arm, runs, *_: np.mean([o["memory"]["peak"] - o["memory"]["libraries"] for o in runs])
)

# %% wrong: seeds are settings | idea: untuned | fails at: counts what is tuned | points: 2
describe = but(settings=lambda arm, *_: sum(len(dataclasses.fields(k)) for k in arm.settings) + len(arm.more))

# %% wrong: dataclasses alone | idea: more | fails at: counts what is tuned | points: 2
describe = but(
    settings=lambda arm, *_: sum(f.name not in UNTUNED for k in arm.settings for f in dataclasses.fields(k))
)

# %% wrong: how many dataclasses | idea: F36 | fails at: counts what is tuned | points: 2
describe = but(settings=lambda arm, *_: len(arm.settings))

# %% wrong: lines of the file | idea: raw lines | fails at: counts lines of code | points: 2
describe = but(own_lines=lambda arm, *_: sum(inspect.getsource(part).count("\n") for part in arm.own))

# %% wrong: shared lines added to the own | idea: shared | fails at: counts lines of code | points: 2
describe = but(own_lines=lambda arm, *_: code_lines([*arm.own, *arm.shared]))

# %% wrong: comments of shared code | idea: raw lines | fails at: counts shared lines | points: 2
describe = but(shared_lines=lambda arm, *_: sum(inspect.getsource(p).count("\n") for p in arm.shared))

# %% wrong: own lines for shared ones | idea: shared | fails at: counts shared lines | points: 2
describe = but(shared_lines=lambda arm, *_: code_lines(arm.own))

# %% wrong: responses are draws | idea: responses | fails at: counts draws | points: 2.5
describe = but(draws=lambda arm, runs, *_: max(one["ledger"]["responses"] for one in runs))

# %% wrong: a pool is no draw | idea: no draw | fails at: counts draws | points: 2.5
describe = but(draws=lambda arm, runs, *_: max(one["notes"].get("draws", 0) for one in runs))

# %% wrong: draws of the last run | idea: one run | fails at: counts draws | points: 2.5
describe = but(draws=lambda arm, runs, *_: runs[-1]["notes"].get("draws", 1))

# %% wrong: negative on the whole | idea: mean sign | fails at: sees negatives | points: 2.5
describe = but(negatives=lambda *found: bool(np.sum(found[3]) < 0))

# %% wrong: the first response stands for all | idea: mean sign | fails at: sees negatives | points: 2.5
describe = but(negatives=lambda *found: bool(len(found[3]) and found[3][0][0] < 0))

# %% wrong: range of the reward | idea: F16 | fails at: measures the range of gold | points: 2.5
describe = but(sensitivity=lambda arm, runs, trials, table: span(values(trials, "proxy")))

# %% wrong: a stopped trial is gold 0 | idea: F32 | fails at: measures the range of gold | points: 2.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: span([t.get("means", {}).get("gold", 0.0) for t in trials])
)

# %% wrong: the standard deviation | idea: spread | fails at: measures the range of gold | points: 2.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: float(np.std(values(trials, "gold"))) if trials else 0.0
)

# %% wrong: nothing for no trials | idea: F32 | fails at: measures the range of gold | points: 2.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: span(values(trials, "gold")) if trials else float("nan")
)

# %% wrong: a typed table | idea: F50 | fails at: has the engine's table | points: 2.5
row = {"models": 2, "memory": 200.0, "settings": 10, "own_lines": 30, "shared_lines": 90, "draws": 1}
methods = {name: row | {"negatives": True, "sensitivity": 1.0} for name in evidence}

# %% wrong: an entry is missing | fails at: returns every entry | points: 1.5
_right = describe


def describe(*evidence):
    return {key: value for key, value in _right(*evidence).items() if key != "shared_lines"}


# %% wrong: simpler in everything | idea: headline | fails at: says in what it is simpler | points: 2
simpler = {rival: dict.fromkeys(keys, "simpler") for rival, keys in ROWS.items()}
simpler["ppo"]["sensitivity"] = "not separable"

# %% wrong: RS-1 is the more sensitive | idea: F34 | fails at: says in what it is simpler | points: 2
simpler = reworded("ppo", "sensitivity", "not simpler")

# %% wrong: own lines alone | idea: shared | fails at: says in what it is simpler | points: 2
simpler = worded(lambda row, key: row["own_lines"] if key == "lines" else row.get(key))

# %% wrong: the rival's point of view | idea: sign | fails at: says in what it is simpler | points: 2
swapped = {"simpler": "not simpler", "not simpler": "simpler"}
simpler = {rival: {k: swapped.get(w, w) for k, w in row.items()} for rival, row in worded().items()}

# %% wrong: counts are not separable | idea: F34 | fails at: says in what it is simpler | points: 2
simpler = reworded("rloo", "settings", "not separable")

# %% wrong: two models are simpler than two | idea: tie | fails at: says in what it is simpler | points: 2
simpler = reworded("best_of_n", "models", "simpler")

# %% wrong: four models are the same as two | idea: no tie | fails at: says in what it is simpler | points: 2
simpler = reworded("ppo", "models", "the same")

# %% wrong: yes and no | fails at: says in what it is simpler | points: 2
simpler = {rival: {key: word == "simpler" for key, word in row.items()} for rival, row in worded().items()}

# %% wrong: more is counted whole | idea: untuned | fails at: counts what is tuned | points: 2
describe = but(
    settings=lambda arm, *_: (
        sum(f.name not in UNTUNED for kind in arm.settings for f in dataclasses.fields(kind)) + len(arm.more)
    )
)

# %% wrong: a shared name counts once | idea: once | fails at: counts what is tuned | points: 2
describe = but(
    settings=lambda arm, *_: len(
        {*arm.more, *(f.name for kind in arm.settings for f in dataclasses.fields(kind))} - UNTUNED
    )
)

# %% wrong: 0 pushes down | idea: zero | fails at: sees negatives | points: 2.5
describe = but(negatives=lambda arm, runs, trials, table: bool((table <= 0).any()))

# %% wrong: the fewest models | idea: fewest | fails at: counts models at the peak | points: 2
describe = but(models=lambda arm, runs, *_: min(one["ledger"]["models"] for one in runs))

# %% wrong: first and last trial | idea: first and last | fails at: measures the range of gold | points: 2.5
describe = but(
    sensitivity=lambda arm, runs, trials, table: (
        abs(values(trials, "gold")[-1] - values(trials, "gold")[0]) if trials else 0.0
    )
)

# %% wrong: the first token alone | idea: first token | fails at: sees negatives | points: 2.5
describe = but(negatives=lambda arm, runs, trials, table: bool((np.asarray(table)[:, :1] < 0).any()))

# %% wrong: what the trials varied | idea: varied | fails at: counts what is tuned | points: 2
describe = but(
    settings=lambda arm, runs, trials, table: len({name for one in trials for name in one["setting"]})
)

# %% wrong: simpler in every row | idea: headline | fails at: says in what it is simpler | points: 2
simpler = {rival: dict.fromkeys(row, "simpler") for rival, row in worded().items()}

# %% wrong: the draws of the first run | idea: one run | fails at: counts draws | points: 2.5
describe = but(draws=lambda arm, runs, trials, table: runs[0]["notes"].get("draws", 1))

# %% wrong: the highest of each | idea: two runs | fails at: measures memory at the peak | points: 2
describe = but(
    memory=lambda arm, runs, trials, table: (
        max(one["memory"]["peak"] for one in runs) - max(one["memory"]["libraries"] for one in runs)
    )
)

# %% correct: a named column of pandas
_dict = describe


def describe(*found):
    import pandas as pd

    return pd.Series(_dict(*found), dtype=object)


methods = filled(describe)

# %% wrong: a set, but all of more | idea: once | fails at: counts what is tuned | points: 2
describe = but(
    settings=lambda arm, runs, trials, table: (
        len({f.name for kind in arm.settings for f in dataclasses.fields(kind)} - UNTUNED) + len(arm.more)
    )
)

# %% correct: rivals in capitals, hyphens, "same" alone
simpler = {
    rival.upper().replace("_", "-"): {key: word.removeprefix("the ") for key, word in row.items()}
    for rival, row in worded().items()
}
