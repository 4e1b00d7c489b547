# %% given
import numpy as np

from autograder.exercises.kept_rows import keep
from autograder.experiments.nb09 import folders, quick_shares


def interval(values):
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half


def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng(seed).choice(len(rewards), len(right), replace=False)
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


def compared(first, second):
    difference, low, high = interval(np.asarray(first, float) - np.asarray(second, float))
    words = {1: "supported", -1: "contradicted", 0: "not separable"}
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "verdict": words[int(low > 0) - int(high < 0)],
    }


def around(difference, half, word):
    return {"difference": difference, "low": difference - half, "high": difference + half, "verdict": word}


def worded(verdict):
    def compared(first, second):
        difference, low, high = interval(np.asarray(first) - np.asarray(second))
        return {"difference": difference, "low": low, "high": high, "verdict": verdict(difference, low, high)}

    return compared


def answered(tuned):
    """Evidence of these policies, as the notebook's cell writes it."""
    measured = {arm: quick_shares(folder) for arm, folder in ({"start": None} | tuned).items()}
    pairs = [
        ("right", "start"),
        ("random", "start"),
        ("right", "random"),
        ("right", "all"),
        ("right", "GRPO"),
    ]
    return {f"{a} over {b}": compared(measured[a], measured[b]) for a, b in pairs}


tuned = folders()
evidence = answered(tuned)

# %% correct: numpy, choice without putting back


# %% correct: plain Python
def arms(prompt_ids, rewards, paths, most, seed):
    import random

    right = keep(prompt_ids, rewards, paths, most)
    rows = list(range(len(rewards)))
    return {"right": list(right), "random": random.Random(seed).sample(rows, len(right)), "all": rows}


def compared(first, second):
    from math import sqrt
    from statistics import mean, stdev

    gaps = [float(a) - float(b) for a, b in zip(first, second)]
    middle, half = mean(gaps), 1.96 * stdev(gaps) / sqrt(len(gaps))
    word = "not separable"
    if middle - half > 0:
        word = "supported"
    elif middle + half < 0:
        word = "contradicted"
    return dict(difference=middle, low=middle - half, high=middle + half, verdict=word)


# %% correct: torch, and a set
def arms(prompt_ids, rewards, paths, most, seed):
    import torch

    right = set(keep(prompt_ids, rewards, paths, most))
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))
    return {"right": right, "random": order[: len(right)], "all": torch.arange(len(rewards))}


def compared(first, second):
    import torch

    gaps = torch.as_tensor(np.asarray(first)).float() - torch.as_tensor(np.asarray(second)).float()
    half = 1.96 * gaps.std() / len(gaps) ** 0.5
    low, high = float(gaps.mean() - half), float(gaps.mean() + half)
    word = "Supported" if low > 0 else "Contradicted" if high < 0 else "Not separable"
    return {"difference": gaps.mean(), "low": low, "high": high, "verdict": word}


# %% correct: single precision, Student's quantile
def compared(first, second):
    from rslib.theory import student_quantile

    gaps = np.subtract(first, second, dtype=np.float32)
    half = np.float32(student_quantile(0.025, len(gaps) - 1)) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    low, high = gaps.mean() - half, gaps.mean() + half
    word = "supported" if low > 0 else "contradicted" if high < 0 else "not separable"
    return {"difference": gaps.mean(), "low": low, "high": high, "verdict": word}


# %% correct: more than was asked for
evidence = evidence | {"GRPO over start": None}
tuned = tuned | {"another": tuned["right"]}


# %% wrong: every right response | idea: right | fails at: builds the three sets | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = np.flatnonzero(np.array(rewards) == 1)
    random = np.random.default_rng(seed).permutation(len(rewards))[: len(right)]
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


# %% wrong: all but the right ones | idea: all rows | fails at: builds the three sets | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng(seed).permutation(len(rewards))[: len(right)]
    return {"right": right, "random": random, "all": np.setdiff1d(np.arange(len(rewards)), right)}


# %% wrong: put back | idea: F29 | fails at: draws a fair control | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng(seed).integers(0, len(rewards), len(right))
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


# %% wrong: a control of another size | idea: F49 | fails at: draws a fair control | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    random = np.random.default_rng(seed).permutation(len(rewards))[: len(rewards) // 4]
    return {"right": keep(prompt_ids, rewards, paths, most), "random": random, "all": np.arange(len(rewards))}


# %% wrong: the control is not seeded | idea: not seeded | fails at: draws by the seed | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng().permutation(len(rewards))[: len(right)]
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


# %% wrong: the first rows | idea: one seed | fails at: draws by the seed | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    return {"right": right, "random": range(len(right)), "all": np.arange(len(rewards))}


# %% wrong: the seed is fixed | idea: one seed | fails at: draws by the seed | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    random = np.random.default_rng(0).permutation(len(rewards))[: len(right)]
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


# %% wrong: a control of what was not kept | idea: F03 | fails at: draws a fair control | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    others = np.setdiff1d(np.arange(len(rewards)), right)
    random = np.random.default_rng(seed).permutation(others)[: len(right)]
    return {"right": right, "random": random, "all": np.arange(len(rewards))}


# %% wrong: the kept ones in another order | idea: F49 | fails at: draws a fair control | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    return {
        "right": right,
        "random": np.random.default_rng(seed).permutation(right),
        "all": np.arange(len(rewards)),
    }


# %% wrong: a mask | fails at: builds the three sets | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = np.isin(np.arange(len(rewards)), keep(prompt_ids, rewards, paths, most))
    random = np.random.default_rng(seed).permutation(right)
    return {"right": right, "random": random, "all": np.ones(len(rewards), bool)}


# %% wrong: three lists | fails at: builds the three sets | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    right = keep(prompt_ids, rewards, paths, most)
    return right, range(len(right)), range(len(rewards))


# %% wrong: second minus first | idea: sign | fails at: pairs by problem | points: 1.5
def compared(first, second):
    difference, low, high = interval(np.asarray(second) - np.asarray(first))
    return {"difference": difference, "low": low, "high": high, "verdict": "not separable"}


# %% wrong: each policy by itself | idea: unpaired | fails at: pairs by problem | points: 1.5
def compared(first, second):
    half = 1.96 * np.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / len(first))
    difference = np.mean(first) - np.mean(second)
    return around(difference, half, "supported")


# %% wrong: the interval of a coin | idea: of responses | fails at: pairs by problem | points: 1.5
def compared(first, second):
    variances = [np.mean(s) * (1 - np.mean(s)) / (4 * len(s)) for s in (first, second)]
    half, difference = 1.96 * np.sqrt(sum(variances)), np.mean(first) - np.mean(second)
    return around(difference, half, "supported")


# %% wrong: one standard error | idea: one error | fails at: pairs by problem | points: 1.5
def compared(first, second):
    gaps = np.asarray(first) - np.asarray(second)
    error = gaps.std(ddof=1) / len(gaps) ** 0.5
    return around(gaps.mean(), error, "not separable")


# %% wrong: the spread of problems | idea: deviation | fails at: pairs by problem | points: 1.5
def compared(first, second):
    gaps = np.asarray(first) - np.asarray(second)
    half = 1.96 * gaps.std(ddof=1)
    return around(gaps.mean(), half, "supported")


# %% wrong: a tuple | fails at: hands in tables, folders and numbers | points: 1.5
def compared(first, second):
    return interval(np.asarray(first) - np.asarray(second))


# %% wrong: NaN where both are alike | idea: F42 | fails at: copes with equals | points: 1.5
def compared(first, second):
    difference, low, high = interval(np.asarray(first) - np.asarray(second))
    if low == high:
        low = high = float("nan")
    word = "supported" if low > 0 else "contradicted" if high < 0 else "not separable"
    return {"difference": difference, "low": low, "high": high, "verdict": word}


# %% wrong: the sign of the mean | idea: F34 | fails at: gives one of three verdicts | points: 1.5
compared = worded(lambda difference, low, high: "supported" if difference > 0 else "contradicted")


# %% wrong: not supported is contradicted | idea: F34 | fails at: gives one of three verdicts | points: 1.5
compared = worded(lambda difference, low, high: "supported" if low > 0 else "contradicted")


# %% wrong: nothing is ever contradicted | idea: decided | fails at: gives one of three verdicts | points: 1.5
compared = worded(lambda difference, low, high: "supported" if low > 0 else "not separable")


# %% wrong: exchanged words | idea: sign | fails at: gives one of three verdicts | points: 1.5
compared = worded(
    lambda difference, low, high: "contradicted" if low > 0 else "supported" if high < 0 else "not separable"
)


# %% wrong: words of one's own | fails at: gives one of three verdicts | points: 1.5
compared = worded(lambda difference, low, high: "better")


# %% wrong: one policy for two arms | idea: F01 | fails at: the policy changed | points: 1.5
tuned = tuned | {"random": tuned["right"]}

# %% wrong: arms exchanged | idea: F50 | fails at: the numbers agree with a new measurement | points: 1.5
evidence = {
    name: one | {"difference": one["difference"] + 0.4, "low": one["low"] + 0.4, "high": one["high"] + 0.4}
    for name, one in evidence.items()
}
for one in evidence.values():
    one["verdict"] = "supported"

# %% wrong: percent | idea: F34 | fails at: every difference has its interval | points: 1.5
evidence = {
    name: one | {key: 100 * one[key] for key in ("difference", "low", "high")}
    for name, one in evidence.items()
}

# %% wrong: no interval | idea: F34 | fails at: every difference has its interval | points: 1.5
evidence = {name: {"difference": one["difference"]} for name, one in evidence.items()}

# %% wrong: every verdict alike | idea: F34 | fails at: says what the interval says | points: 1.5
evidence = {
    name: one | {"verdict": "supported" if one["low"] <= 0 else "contradicted"}
    for name, one in evidence.items()
}

# %% wrong: a question is missing | fails at: answers every question | points: 1.5
evidence = {name: one for name, one in evidence.items() if name != "right over GRPO"}

# %% wrong: no such folder | idea: F01 | fails at: hands in tables, folders and numbers | points: 1.5
tuned = tuned | {"GRPO": "nowhere"}

# %% correct: tensors without dimension
import torch


def compared(first, second):
    gaps = torch.tensor(np.array(first)) - torch.tensor(np.array(second))
    mean, half = gaps.float().mean(), 1.96 * gaps.float().std() / len(gaps) ** 0.5
    word = "supported" if mean > half else "contradicted" if mean < -half else "not-separable"
    return {"difference": mean, "low": mean - half, "high": mean + half, "verdict": word}


evidence = answered(tuned)


# %% wrong: so many rows of each problem | idea: F49 | fails at: draws a fair control | points: 1.5
def arms(prompt_ids, rewards, paths, most, seed):
    rng, ids = np.random.default_rng(seed), np.asarray(prompt_ids)
    rows = [rng.permutation(np.flatnonzero(ids == problem))[:most] for problem in dict.fromkeys(prompt_ids)]
    right = keep(prompt_ids, rewards, paths, most)
    return {"right": right, "random": np.concatenate(rows), "all": np.arange(len(rewards))}


# %% wrong: an end on 0 supports | idea: F42 | fails at: gives one of three verdicts | points: 1.5
def compared(first, second):
    difference, low, high = interval(np.asarray(first) - np.asarray(second))
    word = "supported" if low >= 0 else "contradicted" if high <= 0 else "not separable"
    return {"difference": difference, "low": low, "high": high, "verdict": word}


# %% wrong: two intervals laid side by side | idea: unpaired | fails at: pairs by problem | points: 1.5
def compared(first, second):
    (one, low, high), (other, lower, higher) = interval(np.asarray(first)), interval(np.asarray(second))
    ends = {"difference": one - other, "low": low - higher, "high": high - lower}
    word = "supported" if ends["low"] > 0 else "contradicted" if ends["high"] < 0 else "not separable"
    return ends | {"verdict": word}


# %% wrong: a difference that cannot be below 0 | idea: cut | fails at: pairs by problem | points: 1.5
_right = compared


def compared(first, second):
    found = _right(first, second)
    return found | {"low": max(found["low"], 0.0), "high": min(found["high"], 1.0)}


# %% wrong: a relative gain | idea: relative | fails at: pairs by problem | points: 1.5
_right = compared


def compared(first, second):
    found, share = _right(first, second), np.mean(second)
    return found | {key: found[key] / share for key in ("difference", "low", "high")}


# %% wrong: problems won less problems lost | idea: signs | fails at: pairs by problem | points: 1.5
_right = compared


def compared(first, second):
    return _right(np.sign(np.asarray(first) - np.asarray(second)), np.zeros(len(first)))


# %% wrong: two intervals that overlap | idea: decided | fails at: gives one of three verdicts | points: 1.5
_known = compared


def compared(first, second):
    (_, low, high), (_, below, above) = interval(np.asarray(first)), interval(np.asarray(second))
    word = "supported" if low > above else "contradicted" if high < below else "not separable"
    return {**_known(first, second), "verdict": word}


# %% correct: a named column of pandas
_dict = compared


def compared(first, second):
    import pandas as pd

    return pd.Series(_dict(first, second), dtype=object)
