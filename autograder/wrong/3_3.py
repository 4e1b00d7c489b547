# %% given
import numpy as np

import rslib
from autograder.exercise import Variant
from autograder.experiments import nb03
from autograder.handouts.nb03_given import pool as handed_out
from rslib import tables, theory
from rslib.theory import best_of_n_estimate

NS = list(nb03.NS)
ns = NS
scored = dict(nb03.pool(handed_out(Variant("", "", "3.3"))["seed"]))
pool = scored["tiny"]


def by_prompt(table, column):
    return np.array(table[column][:])[np.stack(list(tables.groups(table).values()))]


def best_of_n_mean(scores, n, values=None):
    return float(best_of_n_estimate(scores, n, values)[0])


def curve(table, column, estimate=best_of_n_mean):
    _, rewards, places = tables.reward_matrix(table)
    values = np.array(table[column][:])[places]
    return [float(np.mean([estimate(r, n, v) for r, v in zip(rewards, values, strict=True)])) for n in NS]


def curves_with(estimate):
    return {
        name: {"reward": curve(table, "reward", estimate), "gold": curve(table, "gold", estimate)}
        for name, table in scored.items()
    }


def peaks(curves):
    return {name: NS[int(np.argmax(c["gold"]))] for name, c in curves.items()}


def right_curve(table, column):
    values = by_prompt(table, column)
    return theory.best_of_n_curve(by_prompt(table, "reward"), NS, values).mean(axis=1).tolist()


curves = {name: {c: right_curve(t, c) for c in ("reward", "gold")} for name, t in scored.items()}
n_star = peaks(curves)
INTENTS = intents = by_prompt(pool, "intent")[:, 0]


def golds(name, n):
    table = scored[name]
    return best_of_n_estimate(by_prompt(table, "reward"), n, by_prompt(table, "gold"))


def falls(clusters=INTENTS):
    found = {}
    for name in scored:
        last, peak = golds(name, 128), golds(name, n_star[name])
        found[name] = (np.mean(last - peak), *theory.paired_interval(last, peak, clusters=clusters))
    return found


fall = falls()
no_hump = ["tiny-unbiased"]


def with_reward(table, rewards):
    return tables.with_column(table, "reward", rewards)


# %% correct: rounded to two decimals, numbers as arrays
curves = {name: {k: np.round(c, 2) for k, c in found.items()} for name, found in curves.items()}
n_star = {name: np.int64(n) for name, n in n_star.items()}
fall = {name: np.round(three, 2) for name, three in fall.items()}
no_hump = ("tiny-unbiased",)

# %% correct: rows in another order
places = np.random.default_rng(0).permutation(len(scored["tiny"]))
scored = {name: tables.take(table, places) for name, table in scored.items()}
curves = curves_with(best_of_n_mean)

# %% correct: by rslib's own table
sets = {name: rslib.evaluation.best_of_n_table(t, NS) for name, t in scored.items()}
curves = {
    name: {"reward": [r["proxy"]["mean"] for r in t["rows"]], "gold": [r["gold"]["mean"] for r in t["rows"]]}
    for name, t in sets.items()
}
n_star = {name: t["peak_n"] for name, t in sets.items()}
fall = {name: t["rows"][-1]["below_peak"] for name, t in sets.items()}
no_hump = [name for name, three in fall.items() if three["high"] >= 0]

# %% correct: an interval over prompts, by two standard errors
fall = {}
for name in scored:
    differences = golds(name, 128) - golds(name, n_star[name])
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    fall[name] = [mean, mean - 2 * error, mean + 2 * error]
no_hump = {name for name, three in fall.items() if three[2] >= 0}

# %% correct: a peak that cannot be told from the highest
n_star = {"tiny": 32, "tiny-unbiased": 64}
fall = falls()
no_hump = [name for name, three in fall.items() if three[2] >= 0]

# %% wrong: rewards in other rows | idea: F09 | fails at: keeps rewards in their rows
shuffle = np.random.default_rng(1)
scored = {name: with_reward(t, shuffle.permutation(t["reward"][:])) for name, t in scored.items()}

# %% wrong: one reward model twice | idea: F16 | fails at: scores the same responses twice
scored = dict.fromkeys(scored, scored["tiny"])

# %% wrong: two pools | idea: F33 | fails at: scores the same responses twice
other = scored["tiny-unbiased"]
scored["tiny-unbiased"] = tables.take(other, range(len(other) - 1, -1, -1))

# %% wrong: too few prompts | idea: F34 | fails at: hands in a whole pool
scored = {name: tables.take(table, range(10 * 128)) for name, table in scored.items()}

# %% wrong: training prompts | fails at: hands in a whole pool
scored = {
    name: tables.with_column(t, "prompt_id", [f"x{p}" for p in t["prompt_id"][:]])
    for name, t in scored.items()
}

# %% wrong: another learner's pool | idea: F20 | fails at: draws from the policy
scored = {name: tables.with_column(t, "seed", [s + 1 for s in t["seed"][:]]) for name, t in scored.items()}

# %% wrong: one response n times | idea: F06 | fails at: has something to select from
first = np.repeat(np.arange(0, len(scored["tiny"]), 128), 128)
for name, table in scored.items():
    copied = {c: np.array(table[c][:], dtype=object)[first].tolist() for c in ("response", "reward")}
    scored[name] = with_reward(tables.with_column(table, "response", copied["response"]), copied["reward"])

# %% wrong: the first n | idea: F45 | fails at: averages every subset of the pool
curves = curves_with(lambda r, n, v: v[np.argmax(r[:n])])

# %% wrong: with replacement | idea: F45 | fails at: averages every subset of the pool
curves = curves_with(lambda r, n, v: v[np.argsort(r)] @ np.diff((np.arange(129) / 128) ** n))

# %% wrong: gold chooses | idea: F16 | fails at: averages every subset of the pool
curves = curves_with(lambda r, n, v: best_of_n_mean(v, n))

# %% wrong: no gold | idea: values ignored | fails at: averages every subset of the pool
curves = {name: dict.fromkeys(("reward", "gold"), c["reward"]) for name, c in curves.items()}

# %% wrong: all prompts in one pool | idea: one pool | fails at: averages every subset of the pool
for name, table in scored.items():
    rewards, gold = np.array(table["reward"][:]), np.array(table["gold"][:])
    curves[name]["gold"] = [best_of_n_mean(rewards, n, gold) for n in NS]
    curves[name]["reward"] = [best_of_n_mean(rewards, n) for n in NS]

# %% wrong: the peak of the reward | idea: F16 | fails at: finds where gold turns | points: 2
n_star = dict.fromkeys(n_star, 128)

# %% wrong: far too few | idea: F05 | fails at: finds where gold turns | points: 2
n_star = dict.fromkeys(n_star, 4)

# %% wrong: the peak minus the end | idea: sign | fails at: measures the fall | points: 2.5
difference, low, high = fall["tiny"]
fall["tiny"] = (-difference, -high, -low)

# %% wrong: the difference in the middle | idea: order | fails at: measures the fall | points: 2.5
fall = {name: (low, difference, high) for name, (difference, low, high) in fall.items()}

# %% wrong: the difference of the reward | idea: F16 | fails at: measures the fall | points: 2.5
ends = [curves["tiny"]["reward"][NS.index(n)] for n in (128, n_star["tiny"])]
fall["tiny"] = (ends[0] - ends[1], ends[0] - ends[1] - 0.3, ends[0] - ends[1] + 0.3)

# %% wrong: against one response | idea: F05 | fails at: measures the fall | points: 2.5
gain = curves["tiny"]["gold"][-1] - curves["tiny"]["gold"][0]
fall["tiny"] = (gain, gain - 0.5, gain + 0.5)

# %% wrong: one standard error | idea: F34 | fails at: measures the fall | points: 2.5
differences = golds("tiny", 128) - golds("tiny", n_star["tiny"])
error = differences.std() / np.sqrt(len(differences))
fall["tiny"] = (differences.mean(), differences.mean() - error, differences.mean() + error)

# %% wrong: the spread of the prompts | idea: spread | fails at: measures the fall | points: 2.5
differences = golds("tiny", 128) - golds("tiny", n_star["tiny"])
fall["tiny"] = (differences.mean(), *np.quantile(differences, (0.025, 0.975)))

# %% wrong: every response a sample of its own | idea: F34 | fails at: measures the fall | points: 2.5
differences = golds("tiny", 128) - golds("tiny", n_star["tiny"])
error = 2 * differences.std() / np.sqrt(128 * len(differences))
fall["tiny"] = (differences.mean(), differences.mean() - error, differences.mean() + error)

# %% wrong: numbers by eye | fails at: measures the fall | points: 2.5
fall["tiny"] = (-2.5, -3.0, -2.0)

# %% wrong: no reward model has a hump | idea: F16 | fails at: says what the data separate | points: 2.5
no_hump = ["tiny", "tiny-unbiased"]

# %% wrong: every reward model has a hump | idea: F34 | fails at: says what the data separate | points: 2.5
no_hump = []

# %% correct: tensors in single precision
import torch

curves = {m: {k: torch.tensor(c, dtype=torch.float32) for k, c in both.items()} for m, both in curves.items()}
fall = {name: torch.tensor(np.array(three), dtype=torch.float32) for name, three in fall.items()}

# %% correct: plain Python, prompt by prompt
import math


def plain(scores, n, values):
    shared, total = {}, 0.0
    for s, v in zip(scores.tolist(), values.tolist()):
        shared.setdefault(s, []).append(v)
    for k, s in enumerate(sorted(scores.tolist())):
        total += math.comb(k, n - 1) / math.comb(len(scores), n) * sum(shared[s]) / len(shared[s])
    return total


curves["tiny"]["gold"] = curve(scored["tiny"], "gold", plain)

# %% wrong: right curves plus a little | fails at: averages every subset of the pool
curves = {m: {k: [x + 0.3 for x in c] for k, c in both.items()} for m, both in curves.items()}

# %% wrong: the sum over the prompts | idea: sum | fails at: averages every subset of the pool
curves = {m: {k: [40 * x for x in c] for k, c in both.items()} for m, both in curves.items()}

# %% wrong: the mean of the pool for every n | idea: F02 | fails at: averages every subset of the pool
curves["tiny"]["gold"] = [curves["tiny"]["gold"][0]] * 8

# %% wrong: one reward model's curves for both | idea: F09 | fails at: averages every subset of the pool
curves["tiny-unbiased"] = curves["tiny"]

# %% wrong: the columns changed places | idea: values ignored | fails at: averages every subset of the pool
curves["tiny"]["gold"] = curves["tiny"]["reward"]

# %% wrong: seven numbers | fails at: is answered
curves["tiny"]["gold"] = curves["tiny"]["gold"][:7]

# %% wrong: a place in the list for n | idea: F05 | fails at: finds where gold turns | points: 2
n_star["tiny"] = NS.index(n_star["tiny"])

# %% wrong: an n that was not drawn | fails at: is answered | points: 2
n_star["tiny"] = 20


# %% wrong: the other model's curves | idea: F09 | fails at: averages every subset of the pool
curves = dict(zip(curves, list(curves.values())[::-1], strict=True))


# %% wrong: the median prompt | idea: median | fails at: averages every subset of the pool
def of_the_median_prompt(table, column):
    rewards, values = by_prompt(table, "reward"), by_prompt(table, column)
    return np.median(theory.best_of_n_curve(rewards, NS, values), axis=1).tolist()


curves = {name: {c: of_the_median_prompt(t, c) for c in ("reward", "gold")} for name, t in scored.items()}


# %% wrong: reward and gold changed places | idea: F09 | fails at: averages every subset of the pool
curves = {name: {"reward": both["gold"], "gold": both["reward"]} for name, both in curves.items()}

# %% wrong: a number for each prompt | fails at: averages every subset of the pool
curves["tiny"]["reward"] = [golds("tiny", n) for n in NS]

# %% wrong: the best of the whole pool, eight times | idea: F45 | fails at: averages every subset of the pool
curves["tiny"]["reward"] = [curves["tiny"]["reward"][-1]] * len(NS)

# %% wrong: two separate intervals | idea: spread | fails at: measures the fall | points: 2.5
for name in scored:
    last, peak = golds(name, 128), golds(name, n_star[name])
    ends = [theory.bootstrap_interval(row, clusters=intents) for row in (last, peak)]
    fall[name] = (np.mean(last - peak), ends[0][0] - ends[1][1], ends[0][1] - ends[1][0])

# %% correct: tables of pandas
import pandas as pd

curves = {name: pd.DataFrame(columns, index=NS) for name, columns in curves.items()}
no_hump = set(no_hump)
