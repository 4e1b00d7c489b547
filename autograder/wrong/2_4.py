# %% given
import math

import numpy as np

Z2 = 1.96**2


def wilson(p, n, side=-1):
    half = 1.96 * math.sqrt(p * (1 - p) / n + Z2 / (4 * n * n))
    return (p + Z2 / (2 * n) + side * half) / (1 + Z2 / n)


def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs), wilson(accuracy, pairs) > floor


def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return next(n for n in range(1, 10**6) if wilson(accuracy, n) > floor)


# %% correct: a formula and a search
pass


# %% correct: the root of the quadratic, and bisection
def gate(accuracy, pairs, floor=0.6):
    w = Z2 / pairs
    lower = min(np.roots([1 + w, -(2 * accuracy + w), accuracy**2]).real)
    return [float(lower), bool(lower > floor)]


def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    low, high = 0, 10**6
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wilson(accuracy, middle) > floor else (middle, high)
    return high


# %% correct: solved for n
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    # (p - q)^2 = z^2 q (1 - q) / n at the end q of the interval
    return math.floor(Z2 * floor * (1 - floor) / (accuracy - floor) ** 2) + 1


# %% correct: the exact quantile, a tensor, a million tries
def gate(accuracy, pairs, floor=0.6):
    from statistics import NormalDist

    import torch

    z, p = NormalDist().inv_cdf(0.975), torch.tensor(accuracy, dtype=torch.float64)
    half = z * torch.sqrt(p * (1 - p) / pairs + z * z / (4 * pairs * pairs))
    lower = (p + z * z / (2 * pairs) - half) / (1 + z * z / pairs)
    return lower, lower > floor


def pairs_needed(accuracy, floor=0.6):
    for n in range(1, 10**6):
        if wilson(accuracy, n) > floor:
            return n
    raise ValueError("no number of pairs up to a million")


# %% correct: all numbers at once
def pairs_needed(accuracy, floor=0.6):
    if not accuracy > floor:
        raise ValueError("never")
    n = np.arange(1, 200_000, dtype=float)
    half = 1.96 * np.sqrt(accuracy * (1 - accuracy) / n + Z2 / (4 * n**2))
    return n[(accuracy + Z2 / (2 * n) - half) / (1 + Z2 / n) > floor][0]


# %% wrong: the accuracy itself | idea: F34 | fails at: finds the lower end | points: 0
def gate(accuracy, pairs, floor=0.6):
    return accuracy, accuracy > floor


def pairs_needed(accuracy, floor=0.6):
    return 1


# %% wrong: width 0 for three of three | idea: wald | fails at: finds the lower end | points: 0
def gate(accuracy, pairs, floor=0.6):
    lower = accuracy - 1.96 * math.sqrt(accuracy * (1 - accuracy) / pairs)
    return lower, lower > floor


def pairs_needed(accuracy, floor=0.6):
    return math.floor(Z2 * accuracy * (1 - accuracy) / (accuracy - floor) ** 2) + 1


# %% wrong: the upper end | idea: upper-end | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs, 1), wilson(accuracy, pairs, 1) > floor


# %% wrong: decides by the accuracy | idea: F34 | fails at: decides by the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs), accuracy > floor


# %% wrong: opens for what is uncertain | idea: F03 | fails at: decides by the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs), wilson(accuracy, pairs) < floor


# %% wrong: the decision alone | fails at: returns the lower end and the decision | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs) > floor


# %% wrong: pairs by the other interval | idea: wald | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    return math.floor(Z2 * accuracy * (1 - accuracy) / (accuracy - floor) ** 2) + 1


# %% wrong: stops one too early | idea: off-by-one | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    n = 1
    while wilson(accuracy, n + 1) <= floor:
        n += 1
    return n


# %% wrong: proof of anything | idea: more-is-proof | fails at: refuses what cannot be shown | points: 1
def pairs_needed(accuracy, floor=0.6):
    return next((n for n in range(1, 10**5) if wilson(accuracy, n) > floor), 10**5)


# %% wrong: searches for ever | idea: endless | fails at: comes to an end | points: 1
def pairs_needed(accuracy, floor=0.6):
    n = 1
    while wilson(accuracy, n) <= floor:
        n += 1
    return n


# %% wrong: gives up at a thousand | fails at: runs | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    return next(n for n in range(1, 1000) if wilson(accuracy, n) > floor)


# %% wrong: infinity for never | idea: more-is-proof | fails at: refuses what cannot be shown | points: 1
_needed = pairs_needed


def pairs_needed(accuracy, floor=0.6):
    return _needed(accuracy, floor) if accuracy > floor else math.inf


# %% wrong: a one-sided z | idea: other-z | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    z = 1.645
    half = z * math.sqrt(accuracy * (1 - accuracy) / pairs + z * z / (4 * pairs * pairs))
    lower = (accuracy + z * z / (2 * pairs) - half) / (1 + z * z / pairs)
    return lower, lower > floor


# %% wrong: the decision as text | fails at: returns the lower end and the decision | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs), str(wilson(accuracy, pairs) > floor)


# %% wrong: the decision first | fails at: returns the lower end and the decision | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs) > floor, wilson(accuracy, pairs)


# %% correct: single precision throughout
def gate(accuracy, pairs, floor=0.6):
    p, n, z2 = np.float32(accuracy), np.float32(pairs), np.float32(Z2)
    half = np.float32(1.96) * np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    lower = (p + z2 / (2 * n) - half) / (1 + z2 / n)
    return lower, lower > np.float32(floor)


def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    return np.int64(next(n for n in range(1, 10**6) if wilson(accuracy, n) > floor))


# %% correct: fractions of the fraction, a while
def gate(accuracy, pairs, floor=0.6):
    a = accuracy + Z2 / 2 / pairs
    b = 1.96 / pairs * (accuracy * (1 - accuracy) * pairs + Z2 / 4) ** 0.5
    lower = (a - b) / (1 + Z2 / pairs)
    return (lower, not lower <= floor)


def pairs_needed(accuracy, floor=0.6):
    if not accuracy > floor:
        raise ValueError("not above the floor")
    pairs = 1
    while not gate(accuracy, pairs, floor)[1]:
        pairs += 1
    return float(pairs)


# %% wrong: z forgotten under the root | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / pairs)
    lower = (accuracy + Z2 / (2 * pairs) - half) / (1 + Z2 / pairs)
    return lower, lower > floor


# %% wrong: one standard error | idea: one-z | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    half = math.sqrt(accuracy * (1 - accuracy) / pairs + 1 / (4 * pairs * pairs))
    lower = (accuracy + 1 / (2 * pairs) - half) / (1 + 1 / pairs)
    return lower, lower > floor


# %% wrong: the denominator forgotten | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    lower = wilson(accuracy, pairs) * (1 + Z2 / pairs)
    return lower, lower > floor


# %% wrong: the floor for the lower end | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    return floor, wilson(accuracy, pairs) > floor


# %% wrong: a dict | fails at: returns the lower end and the decision | points: 1
def gate(accuracy, pairs, floor=0.6):
    return {"lower": wilson(accuracy, pairs), "open": wilson(accuracy, pairs) > floor}


# %% wrong: one pair is enough | idea: F34 | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    return 1


# %% wrong: one pair too many | idea: off-by-one | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    return 1 + next(n for n in range(1, 10**6) if wilson(accuracy, n) > floor)


# %% wrong: round hundreds | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("never")
    return 100 * math.ceil(next(n for n in range(1, 10**6) if wilson(accuracy, n) > floor) / 100)


# %% correct: the closed form for the fewest pairs
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return math.floor(Z2 * floor * (1 - floor) / (accuracy - floor) ** 2) + 1


# %% wrong: n not squared | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    p, n = accuracy, pairs
    low = (p + Z2 / (2 * n) - 1.96 * math.sqrt(p * (1 - p) / n + Z2 / (4 * n))) / (1 + Z2 / n)
    return low, low > floor


# %% wrong: z not squared | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    p, n = accuracy, pairs
    low = (p + 1.96 / (2 * n) - 1.96 * math.sqrt(p * (1 - p) / n + Z2 / (4 * n * n))) / (1 + Z2 / n)
    return low, low > floor


# %% wrong: one pair fewer | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    low = wilson(accuracy, max(pairs - 1, 1))
    return low, low > floor


# %% wrong: always 0.6 | idea: floor ignored | fails at: decides by the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    return wilson(accuracy, pairs), wilson(accuracy, pairs) > 0.6


# %% wrong: powers of two | idea: doubled | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    n = 1
    while wilson(accuracy, n) <= floor:
        n *= 2
    return n


# %% wrong: floor not handed on | idea: floor ignored | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return next(n for n in range(1, 10**6) if gate(accuracy, n)[1])


# %% wrong: ends at 1,000 | idea: limit | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return next((n for n in range(1, 1000) if wilson(accuracy, n) > floor), 1000)


# %% wrong: whole right pairs | idea: whole accuracy | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    whole = (n for n in range(1, 10**6) if abs(n * accuracy - round(n * accuracy)) < 1e-9)
    return next(n for n in whole if wilson(accuracy, n) > floor)


# %% wrong: not whole | idea: off-by-one | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return Z2 * floor * (1 - floor) / (accuracy - floor) ** 2


# %% wrong: z once under the root | idea: formula | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    root = math.sqrt(accuracy * (1 - accuracy) / pairs + 1.96 / (4 * pairs**2))
    low = (accuracy + Z2 / (2 * pairs) - 1.96 * root) / (1 + Z2 / pairs)
    return low, low > floor


# %% wrong: two digits | idea: rounded | fails at: finds the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    low = round(wilson(accuracy, pairs), 2)
    return low, low > floor


# %% wrong: open at the floor itself | idea: off-by-one | fails at: decides by the lower end | points: 1
def gate(accuracy, pairs, floor=0.6):
    low = wilson(accuracy, pairs)
    return low, low >= floor


# %% correct: rounded for the eye, compared as it is
def gate(accuracy, pairs, floor=0.6):
    low = wilson(accuracy, pairs)
    return round(low, 6), low > floor


# %% correct: in single precision
def gate(accuracy, pairs, floor=0.6):
    low = np.float32(wilson(accuracy, pairs))
    return low, bool(low > np.float32(floor))


# %% wrong: in steps of ten | idea: off-by-one | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return next(n for n in range(10, 10**6, 10) if wilson(accuracy, n) > floor)


# %% wrong: rounded pairs | idea: whole accuracy | fails at: counts the pairs that are enough | points: 1
def pairs_needed(accuracy, floor=0.6):
    if accuracy <= floor:
        raise ValueError("no number of pairs can show that")
    return next(n for n in range(1, 10**6) if wilson(round(accuracy * n) / n, n) > floor)
