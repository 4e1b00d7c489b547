# %% given
import math

import numpy as np

from autograder.experiments.nb07 import quick
from rslib.theory import student_quantile

arena, runs = quick(), quick().folder


def interval(first, second, level):
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    apart = first - second
    seeds, prompts = apart.shape
    mean = float(apart.mean())
    if seeds < 2:
        return mean, -math.inf, math.inf
    a, b = apart.mean(1).var(ddof=1) / seeds, apart.mean(0).var(ddof=1) / prompts
    if a + b == 0:
        return mean, mean, mean
    degrees = (a + b) ** 2 / (a**2 / (seeds - 1) + b**2 / (prompts - 1))
    half = math.sqrt(a + b) * student_quantile((1 - level) / 2, degrees)
    return mean, mean - half, mean + half


def within(half_of):
    """An interval with another half-width; for one seed without ends."""

    def interval(first, second, level):
        apart = np.subtract(first, second)
        half = half_of(apart, *apart.shape, (1 - level) / 2) if len(apart) > 1 else math.inf
        return apart.mean(), apart.mean() - half, apart.mean() + half

    return interval


def verdict(low, high):
    return "supported" if low > 0 else "contradicted" if high < 0 else "not separable"


results = quick().rows()


def column(arm, name="gold", rows=None):
    return np.array([one[name] for one in (rows or results) if one["arm"] == arm])


def judge_claims(level=0.99, name="gold", decide=None, rows=None):
    found = {}
    for claim, (first, second) in arena.claims.items():
        numbers = interval(column(first, name, rows), column(second, name, rows), level)
        entry = dict(zip(("difference", "low", "high"), numbers))
        found[claim] = entry | {"verdict": (decide or verdict)(*numbers[1:])}
    return found


def changed(arm, **entries):
    return [one | (entries if one["arm"] == arm else {}) for one in results]


def read_stored(level=None, tables=None, decide=None):
    found = {}
    for claim, (first, second) in (tables or arena.stored).items():
        numbers = interval(first, second, level or 1 - 0.05 / len(arena.stored))
        entry = dict(zip(("difference", "low", "high"), numbers))
        found[claim] = entry | {"verdict": (decide or verdict)(*numbers[1:])}
    return found


findings, stored = judge_claims(), read_stored()


# %% correct: Student with S - 1 degrees, loops, a dict instead of three numbers
def interval(first, second, level=0.95):
    seeds, prompts = len(first), len(first[0])
    rows = [[float(a) - float(b) for a, b in zip(one, two)] for one, two in zip(first, second)]
    by_seed = [sum(row) / prompts for row in rows]
    by_prompt = [sum(row[m] for row in rows) / seeds for m in range(prompts)]
    mean = sum(by_seed) / seeds
    if seeds == 1:
        return {"difference": mean, "low": float("-inf"), "high": float("inf")}

    def squared_error(values):
        return sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)

    error = (squared_error(by_seed) + squared_error(by_prompt)) ** 0.5
    half = error * student_quantile((1 - level) / 2, seeds - 1)
    return {"difference": mean, "low": mean - half, "high": mean + half}


findings, stored = {}, {}
for claim, (first, second) in arena.claims.items():
    found = interval(column(first), column(second), 0.99)
    findings[claim] = {k: round(v, 2) for k, v in found.items()}
    findings[claim]["verdict"] = verdict(findings[claim]["low"], findings[claim]["high"])
for claim, (first, second) in arena.stored.items():
    stored[claim] = interval(first, second, 1 - 0.05 / len(arena.stored))
    stored[claim]["verdict"] = verdict(stored[claim]["low"], stored[claim]["high"])

# %% correct: the engine's own interval, numpy numbers, rows in another order
from rslib.intervals import over_both


def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    if len(apart) < 2:
        return np.array([apart.mean(), -np.inf, np.inf])
    error = apart.mean(0).std(ddof=1) / np.sqrt(apart.shape[1])
    found = over_both(apart.mean(1), error, apart.shape[1], level)
    return np.array([found["mean"], found["low"], found["high"]])


def verdict(low, high):
    if low <= 0 <= high or math.isnan(low + high):
        return "not separable"
    return "supported" if low > 0 else "contradicted"


results = sorted(results, key=lambda one: (one["seed"], one["arm"]))[::-1]


# %% correct: what seeds and prompts share is counted once
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    seeds, prompts = apart.shape
    if seeds == 1:
        return apart.mean(), -math.inf, math.inf
    a, b = apart.mean(1).var(ddof=1) / seeds, apart.mean(0).var(ddof=1) / prompts
    rest = apart - apart.mean(1, keepdims=True) - apart.mean(0) + apart.mean()
    once = max(a + b - (rest**2).sum() / (seeds - 1) / (prompts - 1) / apart.size, a, b)
    degrees = (a + b) ** 2 / max(a**2 / (seeds - 1) + b**2 / (prompts - 1), 1e-30)
    half = math.sqrt(once) * student_quantile((1 - level) / 2, degrees) if once else 0.0
    return apart.mean(), apart.mean() - half, apart.mean() + half


findings, stored = judge_claims(), read_stored()

# %% correct: torch, single precision, verdicts in capitals
import torch


def interval(first, second, level):
    apart = torch.as_tensor(np.asarray(first)).float() - torch.as_tensor(np.asarray(second)).float()
    seeds, prompts = apart.shape
    if seeds == 1:
        return torch.tensor([float(apart.mean()), -math.inf, math.inf])
    a, b = apart.mean(1).var() / seeds, apart.mean(0).var() / prompts
    if a + b < 1e-12:
        return torch.stack([apart.mean()] * 3)
    degrees = (a + b) ** 2 / (a**2 / (seeds - 1) + b**2 / (prompts - 1))
    half = (a + b).sqrt() * student_quantile((1 - level) / 2, float(degrees))
    return torch.stack([apart.mean(), apart.mean() - half, apart.mean() + half])


def verdict(low, high):
    if low > 0:
        return "Supported"
    return "Contradicted " if high < 0 else "Not separable"


findings, stored = judge_claims(), read_stored()

# %% correct: statistics of the standard library; the folder of the run is named, and seeds are numpy's
import statistics


def interval(first, second, level):
    rows = [[float(x) - float(y) for x, y in zip(a, b)] for a, b in zip(first, second)]
    by_seed, by_prompt = [statistics.fmean(row) for row in rows], [statistics.fmean(c) for c in zip(*rows)]
    middle = statistics.fmean(by_seed)
    if len(rows) < 2:
        return [middle, -math.inf, math.inf]
    spread = statistics.variance(by_seed) / len(by_seed) + statistics.variance(by_prompt) / len(by_prompt)
    half = math.sqrt(spread) * student_quantile(0.5 - level / 2, len(rows) - 1)
    return [middle, middle - half, middle + half]


def outer(one):
    trained = one["arm"] in ("random", "rs1", "rs1_length", "ppo")
    return str(Path(one["policy"]).parent) if trained else one["policy"]


from pathlib import Path

results = [one | {"policy": outer(one), "seed": np.int64(one["seed"])} for one in results]
findings, stored = judge_claims(), read_stored()


# %% wrong: over prompts alone | idea: F34 | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    by_prompt = (np.asarray(first) - np.asarray(second)).mean(0)
    error = by_prompt.std(ddof=1) / len(by_prompt) ** 0.5
    half = student_quantile((1 - level) / 2, len(by_prompt) - 1) * error
    return by_prompt.mean(), by_prompt.mean() - half, by_prompt.mean() + half


findings, stored = judge_claims(), read_stored()


# %% wrong: over seeds alone | idea: F34 | fails at: knows of prompts | points: 1
def interval(first, second, level):
    by_seed = (np.asarray(first) - np.asarray(second)).mean(1)
    if len(by_seed) < 2:
        return by_seed.mean(), -math.inf, math.inf
    half = student_quantile((1 - level) / 2, len(by_seed) - 1) * by_seed.std(ddof=1) / len(by_seed) ** 0.5
    return by_seed.mean(), by_seed.mean() - half, by_seed.mean() + half


findings = {}


# %% wrong: every cell for itself | idea: pooled rows | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    half = student_quantile((1 - level) / 2, 1e6) * apart.std(ddof=1) / apart.size**0.5
    return apart.mean(), apart.mean() - half, apart.mean() + half


findings = {}


# %% wrong: each arm by itself | idea: unpaired | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    both = [np.asarray(first), np.asarray(second)]
    variance = sum(t.mean(1).var(ddof=1) / len(t) + t.mean(0).var(ddof=1) / t.shape[1] for t in both)
    half = student_quantile((1 - level) / 2, len(first) - 1) * variance**0.5
    mean = np.mean(first) - np.mean(second)
    return mean, mean - half, mean + half


findings = {}

# %% wrong: one standard error | idea: one error | fails at: pairs by prompt | points: 1
_right = interval


def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    error = (apart.mean(1).var(ddof=1) / len(apart) + apart.mean(0).var(ddof=1) / apart.shape[1]) ** 0.5
    return apart.mean(), apart.mean() - error, apart.mean() + error


findings = {}


# %% wrong: 1.96 for three seeds | idea: normal | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    error = (apart.mean(1).var(ddof=1) / len(apart) + apart.mean(0).var(ddof=1) / apart.shape[1]) ** 0.5
    half = error * student_quantile((1 - level) / 2, 1e6)
    return apart.mean(), apart.mean() - half, apart.mean() + half


findings = {}

# %% wrong: always 95 % | idea: level | fails at: is as sure as it is asked to be | points: 1.5
_right = interval


def interval(first, second, level):
    return _right(first, second, 0.95)


findings, stored = judge_claims(), read_stored()


# %% wrong: second minus first | idea: sign | fails at: is first minus second | points: 1
_right = interval


def interval(first, second, level):
    return _right(second, first, level)


# %% wrong: one seed has no width | idea: F34 | fails at: claims nothing from one seed | points: 3.5
_right = interval


def interval(first, second, level):
    found = _right(first, second, level)
    return found if len(first) > 1 else (found[0], found[0], found[0])


# %% wrong: equal arms give NaN | fails at: lies around its difference | points: 3.5
_right = interval


def interval(first, second, level):
    found = _right(first, second, level)
    return found if found[2] > found[1] else (0.0, float("nan"), float("nan"))


# %% wrong: the sign decides | idea: F34 | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "supported" if low + high > 0 else "contradicted"


# %% wrong: nothing is ever found | idea: no difference | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "not separable"


# %% wrong: exchanged | idea: sign | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "contradicted" if low > 0 else "supported" if high < 0 else "not separable"


# %% wrong: open means contradicted | idea: F34 | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "supported" if low > 0 else "contradicted"


# %% wrong: NaN counts as above | idea: F34 | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "contradicted" if high < 0 else "not separable" if low <= 0 else "supported"


# %% wrong: one seed | idea: F34 | fails at: ran every arm with every seed | points: 3
results = [one for one in results if one["seed"] == arena.seeds[0]]

# %% wrong: one seed under three names | idea: F20 | fails at: changed the weights that it should | points: 4
kept = [one for one in results if one["seed"] == arena.seeds[0]]
results = [one | {"seed": seed} for one in kept for seed in arena.seeds]
findings = judge_claims()

# %% wrong: without the control | idea: F49 | fails at: ran every arm with every seed | points: 3
results = [one for one in results if one["arm"] != "random"]

# %% wrong: PPO got three times the budget | idea: F33 | fails at: spent equal budgets | points: 4
results = [
    one | ({"ledger": one["ledger"] | {"flops": 3 * one["ledger"]["flops"]}} if one["arm"] == "ppo" else {})
    for one in results
]

# %% wrong: PPO was never trained | idea: F01 | fails at: changed the weights that it should | points: 4
base = next(one for one in results if one["arm"] == "base")
results = changed("ppo", policy=base["policy"])

# %% wrong: a tuned base | idea: F35 | fails at: changed the weights that it should | points: 4
tuned = next(one for one in results if one["arm"] == "rs1")
results = changed("best_of_n", policy=tuned["policy"])

# %% wrong: rewards in the place of gold | idea: F16 | fails at: agrees with a new measurement | points: 4
results = [one | {"gold": one["reward"]} for one in results]
findings = judge_claims()

# %% wrong: typed gold for PPO and RS-1 | idea: F50 | fails at: agrees with a new measurement | points: 4
results = [
    one
    | (
        {"gold": [4.0 + m / 10 for m in range(len(one["gold"]))]}
        if one["arm"] in ("ppo", "rs1", "random", "rs1_length")
        else {}
    )
    for one in results
]
findings = judge_claims()

# %% wrong: one response is served | idea: F35 | fails at: agrees with a new measurement | points: 3
base = {one["seed"]: one for one in results if one["arm"] == "base"}
results = [
    one | ({k: base[one["seed"]][k] for k in ("gold", "reward")} if one["arm"] == "best_of_n" else {})
    for one in results
]
findings = {}

# %% wrong: each claim at 95 % | idea: many claims | fails at: follows from the rows | points: 4
findings = judge_claims(0.95)

# %% wrong: claims about the reward | idea: F16 | fails at: follows from the rows | points: 4
findings = judge_claims(name="reward")

# %% wrong: more is better | idea: F34 | fails at: says what the interval says | points: 4
findings = judge_claims(decide=lambda low, high: "supported" if low + high > 0 else "contradicted")

# %% wrong: only the claims that came out well | idea: F34 | fails at: answers every claim | points: 4
findings = {name: found for name, found in findings.items() if name in ("serving helps", "choosing helps")}


# %% wrong: the sum of both spreads, not of the means' | idea: F34 | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    if len(apart) < 2:
        return apart.mean(), -math.inf, math.inf
    error = (apart.mean(1).var(ddof=1) + apart.mean(0).var(ddof=1)) ** 0.5
    half = error * student_quantile((1 - level) / 2, len(apart) - 1)
    return apart.mean(), apart.mean() - half, apart.mean() + half


# %% wrong: all 5 % in one tail | idea: one tail | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    seeds, prompts = apart.shape
    if seeds < 2:
        return apart.mean(), -math.inf, math.inf
    a, b = apart.mean(1).var(ddof=1) / seeds, apart.mean(0).var(ddof=1) / prompts
    degrees = (a + b) ** 2 / max(a**2 / (seeds - 1) + b**2 / (prompts - 1), 1e-30)
    half = math.sqrt(a + b) * student_quantile(1 - level, degrees) if a + b else 0.0
    return apart.mean(), apart.mean() - half, apart.mean() + half


# %% wrong: degrees of all cells | idea: normal | fails at: pairs by prompt | points: 1
def interval(first, second, level):
    apart = np.asarray(first) - np.asarray(second)
    error = (apart.mean(1).var(ddof=1) / len(apart) + apart.mean(0).var(ddof=1) / apart.shape[1]) ** 0.5
    half = error * student_quantile((1 - level) / 2, apart.size - 1)
    return apart.mean(), apart.mean() - half, apart.mean() + half


# %% wrong: the median in the middle | fails at: is first minus second | points: 1.5
_right = interval


def interval(first, second, level):
    middle, low, high = _right(first, second, level)
    other = float(np.median(np.asarray(first) - np.asarray(second)))
    return other, low + other - middle, high + other - middle


# %% wrong: a verdict is true or false | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return low > 0


# %% wrong: NaN contradicts | idea: F34 | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "supported" if low > 0 else "not separable" if low <= 0 <= high else "contradicted"


# %% wrong: an end on 0 decides | idea: F34 | fails at: gives one of three verdicts | points: 4.5
def verdict(low, high):
    return "supported" if low >= 0 else "contradicted" if high <= 0 else "not separable"


# %% wrong: stored claims at 95 % each | idea: many claims | fails at: reads the stored tables | points: 4
stored = read_stored(0.95)

# %% wrong: stored claims at 99 % each | idea: other count | fails at: reads the stored tables | points: 4
stored = read_stored(0.99)

# %% wrong: stored arms exchanged | idea: sign | fails at: reads the stored tables | points: 4
stored = read_stored(tables={claim: pair[::-1] for claim, pair in arena.stored.items()})

# %% wrong: FLOPs read for responses | idea: F33 | fails at: reads the stored tables | points: 4
claims = list(arena.stored)
stored = stored | {claims[0]: stored[claims[1]]}

# %% wrong: every stored claim supported | idea: F34 | fails at: says what the interval says | points: 4
stored = {claim: found | {"verdict": "supported"} for claim, found in stored.items()}

# %% wrong: equal responses alone | idea: F34 | fails at: answers every claim | points: 4
stored = {claim: found for claim, found in stored.items() if "responses" in claim}

# %% wrong: the mean for the list of gold | idea: F15 | fails at: hands in one row a run | points: 3
results = [one | {"gold": float(np.mean(one["gold"]))} for one in results]

# %% wrong: no such folder | idea: F01 | fails at: hands in tables, folders and numbers | points: 4
results = changed("ppo", policy="nowhere")

# %% wrong: a ledger without FLOPs | idea: F33 | fails at: hands in one row a run | points: 4
results = changed("rs1", ledger={"responses": 512})

# %% wrong: the control's weights | idea: F20 | fails at: changed the weights that it should | points: 4
control = {one["seed"]: one["policy"] for one in results if one["arm"] == "random"}
results = [one | ({"policy": control[one["seed"]]} if one["arm"] == "rs1" else {}) for one in results]


# %% wrong: over n for both | idea: population | fails at: knows how few seeds there are | points: 3
@within
def interval(apart, seeds, prompts, tail):
    error = math.sqrt(apart.mean(1).var() / seeds + apart.mean(0).var() / prompts)
    return student_quantile(tail, seeds - 1) * error


findings, stored = judge_claims(), read_stored()


# %% wrong: degrees of the prompts | idea: normal | fails at: is as sure as it is asked to be | points: 1
@within
def interval(apart, seeds, prompts, tail):
    error = math.sqrt(apart.mean(1).var(ddof=1) / seeds + apart.mean(0).var(ddof=1) / prompts)
    return student_quantile(tail, prompts - 1) * error


findings, stored = judge_claims(), read_stored()


# %% wrong: standard errors are added | idea: errors added | fails at: pairs by prompt | points: 1
@within
def interval(apart, seeds, prompts, tail):
    errors = apart.mean(1).std(ddof=1) / math.sqrt(seeds) + apart.mean(0).std(ddof=1) / math.sqrt(prompts)
    return student_quantile(tail, seeds - 1) * errors


findings, stored = judge_claims(), read_stored()


# %% wrong: NaN for one seed | idea: F34 | fails at: claims nothing from one seed | points: 3.5
of_several = interval


def interval(first, second, level):
    if len(first) > 1:
        return of_several(first, second, level)
    mean = float(np.subtract(first, second).mean())
    return mean, math.nan, math.nan


# %% wrong: the interval was mended later | idea: F50 | fails at: reads the stored tables | points: 3
def interval(first, second, level):
    apart = np.subtract(first, second)
    seeds, prompts = apart.shape
    if seeds < 2:
        return apart.mean(), -math.inf, math.inf
    error = math.sqrt(apart.mean(1).var(ddof=1) / seeds + apart.mean(0).var(ddof=1) / prompts)
    half = student_quantile((1 - level) / 2, seeds - 1) * error
    return apart.mean(), apart.mean() - half, apart.mean() + half


# %% wrong: 0.05 over m as the level | idea: many claims | fails at: reads the stored tables | points: 4
stored = read_stored(0.05 / len(arena.stored))

# %% correct: pandas, hyphens
import pandas as pd

_three = interval


def interval(first, second, level):
    return pd.Series(_three(first, second, level), index=["difference", "low", "high"])


def verdict(low, high):
    return "supported" if low > 0 else "contradicted" if high < 0 else "not-separable"
