# %% given
import numpy as np


def advantages(rewards):
    rewards = np.asarray(rewards, float)
    spread = rewards.std(1, ddof=1, keepdims=True)
    return np.where(
        spread > 0, (rewards - rewards.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1), 0.0
    )


def silent(p, n):
    return np.asarray(p, float) ** n + (1 - np.asarray(p, float)) ** n


def groups_drawn(p, n):
    mixed = 1 - silent(p, n)
    with np.errstate(divide="ignore"):
        return 1 / np.asarray(mixed)


# %% correct: numpy


# %% correct: epsilon in the denominator, torch
def advantages(rewards):
    import torch

    rewards = torch.as_tensor(np.asarray(rewards), dtype=torch.float32)
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)


# %% correct: plain Python
def advantages(rewards):
    import statistics

    found = []
    for row in rewards:
        row = [float(x) for x in row]
        mean, spread = statistics.fmean(row), statistics.stdev(row)
        found.append([(x - mean) / spread if spread else 0.0 for x in row])
    return found


def silent(p, n):
    if np.ndim(p):
        return [silent(float(x), n) for x in p]
    return p**n + (1 - p) ** n


def groups_drawn(p, n):
    if np.ndim(p):
        return [groups_drawn(float(x), n) for x in p]
    mixed = 1 - p**n - (1 - p) ** n
    return 1 / mixed if mixed > 0 else float("inf")


# %% correct: single precision
def advantages(rewards):
    rewards = np.asarray(rewards, dtype=np.float32)
    return (rewards - rewards.mean(1, keepdims=True)) / (
        rewards.std(1, ddof=1, keepdims=True) + np.float32(1e-6)
    )


def silent(p, n):
    p = np.asarray(p, dtype=np.float32)
    return np.exp(n * np.log(np.clip(p, 1e-30, 1))) + np.exp(n * np.log(np.clip(1 - p, 1e-30, 1)))


# %% wrong: no care for equal rewards | idea: equal rewards | fails at: stays finite | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    with np.errstate(invalid="ignore"):
        return (rewards - rewards.mean(1, keepdims=True)) / rewards.std(1, ddof=1, keepdims=True)


# %% wrong: one group of all | idea: F06 | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return (rewards - rewards.mean()) / rewards.std(ddof=1)


# %% wrong: centred alone | idea: not scaled | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return rewards - rewards.mean(1, keepdims=True)


# %% wrong: scaled alone | idea: not centred | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return rewards / np.maximum(rewards.std(1, ddof=1, keepdims=True), 1e-6)


# %% wrong: deviation over n | idea: population | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return (rewards - rewards.mean(1, keepdims=True)) / np.maximum(rewards.std(1, keepdims=True), 1e-6)


# %% wrong: all right alone | idea: all right | fails at: gives the chance | points: 0.5
def silent(p, n):
    return np.asarray(p, float) ** n


# %% wrong: all wrong alone | idea: all wrong | fails at: gives the chance | points: 0.5
def silent(p, n):
    return (1 - np.asarray(p, float)) ** n


# %% wrong: a product | idea: product | fails at: gives the chance | points: 0.5
def silent(p, n):
    p = np.asarray(p, float)
    return p**n * (1 - p) ** n


# %% wrong: two responses | idea: pairs | fails at: gives the chance | points: 0.5
def silent(p, n):
    p = np.asarray(p, float)
    return p**2 + (1 - p) ** 2


# %% wrong: the chance itself | idea: chance | fails at: counts groups | points: 0.5
def groups_drawn(p, n):
    return 1 - silent(p, n)


# %% wrong: the groups thrown away | idea: silent groups | fails at: counts groups | points: 0.5
def groups_drawn(p, n):
    return silent(p, n) / (1 - silent(p, n))


# %% wrong: waiting for silence | idea: one over silent | fails at: counts groups | points: 0.5
def groups_drawn(p, n):
    return 1 / silent(p, n)


# %% wrong: a limit at certain problems | idea: never | fails at: counts groups | points: 0.5
def groups_drawn(p, n):
    return 1 / np.maximum(1 - silent(p, n), 1e-6)


# %% wrong: RLOO's | idea: own baseline | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return rewards - (rewards.sum(1, keepdims=True) - rewards) / (rewards.shape[1] - 1)


# %% wrong: down the columns | idea: axis | fails at: centres and scales each problem | points: 1
right = advantages


def advantages(rewards):
    return right(np.asarray(rewards).T).T


# %% wrong: over the variance | idea: variance | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    spread = rewards.var(1, ddof=1, keepdims=True)
    return (rewards - rewards.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)


# %% wrong: the mean less the reward | idea: sign | fails at: centres and scales each problem | points: 1
right = advantages


def advantages(rewards):
    return -right(rewards)


# %% wrong: the chance of a difference | idea: mixed | fails at: gives the chance | points: 0.5
def silent(p, n):
    p = np.asarray(p, float)
    return 1 - p**n - (1 - p) ** n


# %% wrong: responses for groups | idea: responses | fails at: counts groups | points: 0.5
right = groups_drawn


def groups_drawn(p, n):
    return n * right(p, n)


# %% wrong: one number for all | idea: one number | fails at: counts groups | points: 0.5
right = groups_drawn


def groups_drawn(p, n):
    return float(np.mean(right(p, n)))


# %% wrong: a hundredth on top | idea: epsilon | fails at: centres and scales each problem | points: 1
def advantages(rewards):
    rewards = np.asarray(rewards, float)
    return (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, ddof=1, keepdims=True) + 0.01)


# %% wrong: the others', scaled | idea: own baseline | fails at: centres and scales each problem | points: 1
_centred = advantages


def advantages(rewards):
    size = np.shape(rewards)[1]
    return _centred(rewards) * size / (size - 1)


# %% wrong: the chance at the mean | idea: one number | fails at: gives the chance | points: 0.5
def silent(p, n):
    return np.mean(p) ** n + (1 - np.mean(p)) ** n


# %% wrong: enough in 95 of 100 cases | idea: in all likelihood | fails at: counts groups | points: 0.5
def groups_drawn(p, n):
    return np.ceil(np.log(0.05) / np.log(silent(np.asarray(p, float), n)))
