# %% given
import math
import statistics

import numpy as np

from autograder.exercise import Variant
from autograder.experiments import nb03
from autograder.handouts.nb03_given import sweep as handed_out
from rslib.theory import best_of_n_estimate, paired_interval

task = handed_out(Variant("", "", "3.4"))
NS, TEMPERATURES = task["ns"], task["temperatures"]
rewards_at = dict(nb03.sweep_rewards(tuple(range(32)), task["seed"]))


def best_of_n_mean(scores, n, values=None):
    return float(best_of_n_estimate(scores, n, values)[0])


def median_of_n(scores, n):
    return float(nb03.median_curve(np.atleast_2d(scores), [n])[0, 0])


def sweep_of(best=best_of_n_mean, median=median_of_n, rewards=rewards_at):
    return {
        t: {
            "max": [float(np.mean([best(r, n) for r in rewards[t]])) for n in NS],
            "median": [float(np.mean([median(r, n) for r in rewards[t]])) for n in NS],
        }
        for t in TEMPERATURES
    }


def right_row(t, curve):
    return curve(rewards_at[t], NS).mean(axis=1).tolist()


def best_curve(rewards, ns):
    return np.stack([best_of_n_estimate(rewards, n) for n in ns])


sweep = {
    t: {"max": right_row(t, best_curve), "median": right_row(t, nb03.median_curve)} for t in TEMPERATURES
}
best_temperature = max(TEMPERATURES, key=lambda t: sweep[t]["max"][NS.index(16)])


def other(name, row_of):
    """The right table with another row under this name."""
    return {t: {**sweep[t], name: row_of(t)} for t in TEMPERATURES}


# %% correct: as arrays in single precision, the rewards too
sweep = {t: {k: np.array(row, np.float32) for k, row in s.items()} for t, s in sweep.items()}
rewards_at = {t: r.astype(np.float32) for t, r in rewards_at.items()}

# %% correct: rounded to two decimals, rewards as lists
sweep = {t: {k: [round(x, 2) for x in row] for k, row in s.items()} for t, s in sweep.items()}
rewards_at = {t: r.tolist() for t, r in rewards_at.items()}

# %% correct: torch tensors
import torch

sweep = {t: {k: torch.tensor(row) for k, row in s.items()} for t, s in sweep.items()}
best_temperature = float(torch.tensor(best_temperature, dtype=torch.float64))


# %% correct: plain Python, subset by subset where there are few
def plain_best(row, n):
    row = sorted(row.tolist())
    return sum(x * math.comb(k, n - 1) / math.comb(len(row), n) for k, x in enumerate(row))


sweep = other("max", lambda t: [statistics.fmean(plain_best(row, n) for row in rewards_at[t]) for n in NS])

# %% correct: the function of each prompt, more keys than asked for
sweep = {t: {**s, "mean": 0.0} for t, s in sweep_of().items()}

# %% correct: a neighbour that cannot be told from the best
at16 = {t: best_of_n_estimate(r, 16) for t, r in rewards_at.items()}
best_temperature = min(
    TEMPERATURES, key=lambda t: (paired_interval(at16[t], at16[best_temperature])[1] < 0, t)
)

# %% wrong: the first n | idea: F45 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [rewards_at[t][:, :n].max(axis=1).mean() for n in NS])

# %% wrong: put back | idea: F45 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [np.mean([nb03.with_replacement(r, n) for r in rewards_at[t]]) for n in NS])

# %% wrong: all prompts in one pool | idea: one pool | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [best_of_n_mean(rewards_at[t].ravel(), n) for n in NS])

# %% wrong: mean for median | idea: mean for median | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: [rewards_at[t].mean() for n in NS])

# %% wrong: right values plus a little | idea: shifted | fails at: gives the curve of the best
sweep = {t: {k: [x + 0.3 for x in row] for k, row in s.items()} for t, s in sweep.items()}

# %% wrong: numbers by eye | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [round(x * 2) / 2 for x in sweep[t]["max"]])

# %% wrong: random subsets | idea: near | fails at: gives the curve of the best | points: 1
rng = np.random.default_rng(0)
sweep = other(
    "max",
    lambda t: [
        np.mean([np.max(rng.choice(r, n, replace=False)) for _ in range(50) for r in rewards_at[t]])
        for n in NS
    ],
)

# %% wrong: the sum over the prompts | idea: sum | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [32 * x for x in sweep[t]["max"]])

# %% wrong: among the prompts | idea: across prompts | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [np.mean([best_of_n_mean(r, n) for r in rewards_at[t].T]) for n in NS])

# %% wrong: median of prompts | idea: median over prompts | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [np.median([best_of_n_mean(r, n) for r in rewards_at[t]]) for n in NS])

# %% wrong: what selection adds | idea: gain | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [x - rewards_at[t].mean() for x in sweep[t]["max"]])

# %% wrong: n of one to six | idea: every n | fails at: gives the curve of the best
NS = [1, 2, 3, 4, 5, 6]
sweep = sweep_of()

# %% wrong: blocks of n | idea: F45 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [rewards_at[t].reshape(32, -1, n).max(axis=2).mean() for n in NS])

# %% wrong: the lower middle | idea: middle | fails at: gives the curve of the median | points: 2
sweep = other(
    "median", lambda t: nb03.median_curve(rewards_at[t], NS, lambda n: ((n + 1) // 2,)).mean(axis=1)
)

# %% wrong: the upper middle | idea: middle | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: nb03.median_curve(rewards_at[t], NS, lambda n: (n // 2 + 1,)).mean(axis=1))

# %% wrong: the median of the first n | idea: F45 | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: [np.median(rewards_at[t][:, :n], axis=1).mean() for n in NS])

# %% wrong: the median of the whole pool | idea: F45 | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: [np.median(rewards_at[t], axis=1).mean() for n in NS])

# %% wrong: one response, whatever n is | idea: F05 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [rewards_at[t][:, 0].mean() for n in NS])

# %% wrong: the mean of the pool | idea: F02 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [rewards_at[t].mean() for n in NS])

# %% wrong: the best of the whole pool | idea: F45 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: [rewards_at[t].max(axis=1).mean() for n in NS])

# %% wrong: the lowest | idea: F03 | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: (-best_curve(-rewards_at[t], NS)).mean(axis=1))

# %% wrong: two medians | idea: median for max | fails at: gives the curve of the best | points: 1
sweep = other("max", lambda t: sweep[t]["median"])

# %% wrong: two bests | idea: max for median | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: sweep[t]["max"])

# %% wrong: one temperature for all | idea: F06 | fails at: gives the curve of the best
sweep = dict.fromkeys(TEMPERATURES, sweep[1.0])

# %% wrong: rows under other temperatures | idea: rows reversed | fails at: gives the curve of the best
sweep = {t: sweep[u] for t, u in zip(TEMPERATURES, TEMPERATURES[::-1], strict=True)}

# %% wrong: rewards made up | idea: F50 | fails at: keeps the rewards as they were drawn
rewards_at = {t: r + 0.3 for t, r in rewards_at.items()}
sweep = {t: {k: [x + 0.3 for x in row] for k, row in s.items()} for t, s in sweep.items()}

# %% wrong: temperature not passed on | idea: F50 | fails at: keeps the rewards as they were drawn
rewards_at = dict.fromkeys(TEMPERATURES, rewards_at[1.0])
sweep = dict.fromkeys(TEMPERATURES, sweep[1.0])

# %% wrong: too few prompts | fails at: is answered
rewards_at = {t: r[:8] for t, r in rewards_at.items()}

# %% wrong: the coldest | idea: F06 | fails at: chooses for n = 16 | points: 2
best_temperature = TEMPERATURES[0]

# %% wrong: the hottest | idea: F07 | fails at: chooses for n = 16 | points: 2
best_temperature = TEMPERATURES[-1]

# %% wrong: a place in the list | fails at: is answered | points: 2
best_temperature = 2

# %% wrong: from the largest n down | idea: F09 | fails at: gives the curve of the best
sweep = {t: {key: values[::-1] for key, values in row.items()} for t, row in sweep.items()}


# %% correct: a table of pandas for each temperature
import pandas as pd

sweep = {t: pd.DataFrame(rows, index=NS) for t, rows in sweep.items()}

# %% wrong: gold in place of the reward | idea: not these rewards | fails at: gives the curve of the best
sweep = sweep_of(rewards={t: np.tanh(r) * 10 for t, r in rewards_at.items()})

# %% wrong: best, by median | idea: median over prompts | fails at: gives the curve of the median | points: 2
sweep = other("median", lambda t: np.median(best_curve(rewards_at[t], NS), axis=1).tolist())
