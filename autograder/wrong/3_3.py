# %% given
import numpy as np

import rslib
from autograder.exercise import Variant
from autograder.exercises.nb03_3 import given as handed_out
from autograder.experiments import nb03
from rslib import schema, theory
from rslib.theory import best_of_n_estimate

NS = list(nb03.NS)
ns = NS
scored = dict(nb03.pool(handed_out(Variant("", "", "3.3"))["seed"]))


def by_prompt(table, column):
    return np.array(table[column][:])[np.stack(list(schema.groups(table).values()))]


def best_of_n_mean(scores, n, values=None):
    return float(best_of_n_estimate(scores, n, values)[0])


def curve(table, column, estimate=best_of_n_mean):
    _, rewards, places = schema.reward_matrix(table)
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
no_hump = ["tiny-unbiased"]


def with_reward(table, rewards):
    return schema.with_column(table, "reward", rewards)


# %% correct: rounded to two decimals, numbers as arrays
curves = {name: {k: np.round(c, 2) for k, c in found.items()} for name, found in curves.items()}
n_star = {name: np.int64(n) for name, n in n_star.items()}
no_hump = ("tiny-unbiased",)

# %% correct: rows in another order
places = np.random.default_rng(0).permutation(len(scored["tiny"]))
scored = {name: schema.take(table, places) for name, table in scored.items()}
curves = curves_with(best_of_n_mean)

# %% correct: by rslib's own table
tables = {name: rslib.evaluation.best_of_n_table(t, NS) for name, t in scored.items()}
curves = {
    name: {"reward": [r["proxy"]["mean"] for r in t["rows"]], "gold": [r["gold"]["mean"] for r in t["rows"]]}
    for name, t in tables.items()
}
n_star = {name: t["peak_n"] for name, t in tables.items()}
no_hump = [name for name, t in tables.items() if t["rows"][-1]["below_peak"]["high"] >= 0]

# %% wrong: rewards in other rows | idea: F09 | fails at: keeps rewards in their rows
shuffle = np.random.default_rng(1)
scored = {name: with_reward(t, shuffle.permutation(t["reward"][:])) for name, t in scored.items()}

# %% wrong: one reward model twice | idea: F16 | fails at: scores the same responses twice
scored = dict.fromkeys(scored, scored["tiny"])

# %% wrong: two pools | idea: F33 | fails at: scores the same responses twice
other = scored["tiny-unbiased"]
scored["tiny-unbiased"] = schema.take(other, range(len(other) - 1, -1, -1))

# %% wrong: too few prompts | idea: F34 | fails at: hands in a whole pool
scored = {name: schema.take(table, range(10 * 128)) for name, table in scored.items()}

# %% wrong: training prompts | fails at: hands in a whole pool
scored = {
    name: schema.with_column(t, "prompt_id", [f"x{p}" for p in t["prompt_id"][:]])
    for name, t in scored.items()
}

# %% wrong: another learner's pool | idea: F20 | fails at: draws from the policy
scored = {name: schema.with_column(t, "seed", [s + 1 for s in t["seed"][:]]) for name, t in scored.items()}

# %% wrong: one response n times | idea: F06 | fails at: has something to select from
first = np.repeat(np.arange(0, len(scored["tiny"]), 128), 128)
for name, table in scored.items():
    copied = {c: np.array(table[c][:], dtype=object)[first].tolist() for c in ("response", "reward")}
    scored[name] = with_reward(schema.with_column(table, "response", copied["response"]), copied["reward"])

# %% wrong: the first n | idea: F45 | fails at: averages every subset of the pool | points: 1
curves = curves_with(lambda r, n, v: v[np.argmax(r[:n])])

# %% wrong: with replacement | idea: F45 | fails at: averages every subset of the pool | points: 1
curves = curves_with(lambda r, n, v: v[np.argsort(r)] @ np.diff((np.arange(129) / 128) ** n))

# %% wrong: gold chooses | idea: F16 | fails at: averages every subset of the pool | points: 1
curves = curves_with(lambda r, n, v: best_of_n_mean(v, n))

# %% wrong: no gold | idea: values ignored | fails at: averages every subset of the pool | points: 1
curves = {name: dict.fromkeys(("reward", "gold"), c["reward"]) for name, c in curves.items()}

# %% wrong: all prompts in one pool | idea: one pool | fails at: averages every subset of the pool | points: 1
for name, table in scored.items():
    rewards, gold = np.array(table["reward"][:]), np.array(table["gold"][:])
    curves[name]["gold"] = [best_of_n_mean(rewards, n, gold) for n in NS]
    curves[name]["reward"] = [best_of_n_mean(rewards, n) for n in NS]

# %% wrong: the peak of the reward | idea: F16 | fails at: finds where gold turns | points: 2.5
n_star = dict.fromkeys(n_star, 128)

# %% wrong: far too few | idea: F05 | fails at: finds where gold turns | points: 2.5
n_star = dict.fromkeys(n_star, 4)

# %% wrong: no reward model has a hump | idea: F16 | fails at: says what the data separate | points: 2.5
no_hump = ["tiny", "tiny-unbiased"]

# %% wrong: every reward model has a hump | idea: F34 | fails at: says what the data separate | points: 2.5
no_hump = []
