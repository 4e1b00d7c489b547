"""Intervals over seeds, over prompts, and over both at once.

A mean over S seeds and M prompts (the same prompts for every seed) has two sources of chance: another seed
would tune another policy, other prompts would judge it otherwise. The variance of the mean is at most the sum
of the two that one finds when one averages the other way first (crossed random effects; what both share is
counted twice, so the sum errs on the wide side). Its degrees of freedom are Satterthwaite's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rslib.evaluation import OPEN as OPEN
from rslib.evaluation import verdict
from rslib.theory import student_quantile

Interval = dict[str, float]
SUPPORTED, CONTRADICTED = "supported", "contradicted"
"""Verdicts, beside OPEN, on a claim that a difference is above 0."""


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of the mean of one value per seed; one seed, or equal values, has no width.

    >>> interval = over_seeds([1.0, 2.0, 3.0])
    >>> round(interval["low"], 2), interval["mean"], round(interval["high"], 2)
    (-0.48, 2.0, 4.48)
    """
    numbers = np.asarray(values, dtype=float)
    return _interval(float(numbers.mean()), _variance(numbers), len(numbers) - 1, level)


def over_both(by_seed: Sequence[float], prompt_error: float, clusters: int, level: float = 0.95) -> Interval:
    """The interval of a mean that another seed and other prompts would change.

    by_seed: the mean over prompts of each seed. prompt_error: standard error over prompts of the means over
    seeds, with `clusters` independent groups of prompts. Without any spread it has no width.
    """
    means = np.asarray(by_seed, dtype=float)
    parts = [(_variance(means), len(means) - 1), (prompt_error**2, clusters - 1)]
    variance = sum(part for part, _ in parts)
    weights = sum(part**2 / degrees for part, degrees in parts if part)
    return _interval(float(means.mean()), variance, variance**2 / weights if weights else 1.0, level)


def _variance(values: np.ndarray) -> float:
    """Of the mean of the values; 0 for one alone."""
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _interval(mean: float, variance: float, degrees: float, level: float) -> Interval:
    half = math.sqrt(variance) * student_quantile((1 - level) / 2, degrees) if variance else 0.0
    return {"mean": mean, "low": mean - half, "high": mean + half}


def verdict_of(interval: Mapping[str, Any]) -> str:
    """What an interval of a difference says of the claim that it is above 0.

    >>> verdict_of({"low": 0.1, "high": 0.4}), verdict_of({"low": -0.1, "high": 0.4})
    ('supported', 'not separable')
    """
    return verdict(interval, SUPPORTED, CONTRADICTED)
