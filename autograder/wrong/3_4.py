# %% given
import numpy as np

from autograder.experiments import nb03
from rslib.theory import best_of_n_estimate

NS, TEMPERATURES = list(nb03.SWEEP_NS), list(nb03.TEMPERATURES)
rewards_at = nb03.sweep_rewards(tuple(range(20)), 7)
task = {"ns": NS, "temperatures": TEMPERATURES}


def best_of_n_mean(scores, n, values=None):
    return float(best_of_n_estimate(scores, n, values)[0])


def median_of_n(scores, n):
    return float(nb03.median_curve(np.atleast_2d(scores), [n])[0, 0])


def sweep_of(best, median):
    return {
        t: {
            "max": [float(np.mean([best(r, n) for r in rewards_at[t]])) for n in NS],
            "median": [float(np.mean([median(r, n) for r in rewards_at[t]])) for n in NS],
        }
        for t in TEMPERATURES
    }


sweep = sweep_of(best_of_n_mean, median_of_n)
best_temperature = max(TEMPERATURES, key=lambda t: sweep[t]["max"][NS.index(16)])

# %% correct: from a table of the engine
sweep = nb03.sweep_table(rewards_at)

# %% correct: as arrays
sweep = {t: {"max": np.array(s["max"]), "median": np.array(s["median"])} for t, s in sweep.items()}

# %% correct: the neighbour that is not separably worse
best_temperature = {0.7: 1.0, 1.0: 0.7, 1.3: 1.3}[best_temperature]

# %% wrong: one response, whatever n is | idea: F05 | fails at: gives the curve of the best | points: 1
sweep = sweep_of(lambda r, n: r[0], median_of_n)

# %% wrong: the best of the whole pool | idea: F45 | fails at: gives the curve of the best | points: 1
sweep = sweep_of(lambda r, n: r.max(), median_of_n)

# %% wrong: the lowest | idea: F03 | fails at: gives the curve of the best | points: 1
sweep = sweep_of(lambda r, n: -best_of_n_mean(-r, n), median_of_n)

# %% wrong: two medians | idea: median for max | fails at: gives the curve of the best | points: 1
sweep = sweep_of(median_of_n, median_of_n)

# %% wrong: two bests | idea: max for median | fails at: gives the curve of the median | points: 2
sweep = sweep_of(best_of_n_mean, best_of_n_mean)

# %% wrong: temperature not passed on | idea: F06 | fails at: gives the curve of the best
sweep = dict.fromkeys(TEMPERATURES, sweep[1.0])

# %% wrong: rows under other temperatures | idea: rows reversed | fails at: gives the curve of the best
sweep = {t: sweep[other] for t, other in zip(TEMPERATURES, TEMPERATURES[::-1], strict=True)}

# %% wrong: the coldest | idea: F06 | fails at: chooses for n = 16 | points: 2
best_temperature = TEMPERATURES[0]

# %% wrong: the hottest | idea: F07 | fails at: chooses for n = 16 | points: 2
best_temperature = TEMPERATURES[-1]
