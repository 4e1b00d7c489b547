"""Intervals over seeds, over prompts, and over both at once.

A mean over S seeds and M prompts (the same prompts for every seed) has two sources of chance: another seed
would tune another policy, other prompts would judge it otherwise. The variance of the mean is at most the sum
of the two that one finds when one averages the other way first (crossed random effects; what both share is
counted twice, so the sum errs on the wide side). Its degrees of freedom are Satterthwaite's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rslib.evaluation import compare
from rslib.prompts import EMBEDDED, load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

Interval = dict[str, float]
GRID = 20_001


def student_quantile(tail: float, degrees: float) -> float:
    """The t that Student's law with `degrees` (real, > 0) exceeds with probability `tail` < 0.5.

    By integrating cos^(degrees - 1) over the angle atan(t / sqrt(degrees)), and bisection.

    >>> round(student_quantile(0.025, 4), 3), round(student_quantile(0.025, 1e4), 2)
    (2.776, 1.96)
    """
    # The angle from the far end, so that the tail keeps its digits: cos of it is sin of what is left.
    places = np.linspace(0, math.pi / 2, GRID) ** 2 / (math.pi / 2)
    density = np.sin(places) ** (degrees - 1) if degrees != 1 else np.ones(GRID)
    steps = (density[1:] + density[:-1]) / 2 * np.diff(places)
    share = np.concatenate([[0.0], np.cumsum(steps)]) / (2 * steps.sum())
    angle = float(np.interp(tail, share, places))
    return math.sqrt(degrees) / math.tan(angle)


def over_seeds(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of the mean of one value per seed; one seed, or equal values, has no width.

    >>> found = over_seeds([1.0, 2.0, 3.0])
    >>> round(found["low"], 2), found["mean"], round(found["high"], 2)
    (-0.48, 2.0, 4.48)
    """
    found = np.asarray(values, dtype=float)
    variance = _variance(found)
    return _interval(float(found.mean()), variance, len(found) - 1, level)


def over_both(by_seed: Sequence[float], prompt_error: float, clusters: int, level: float = 0.95) -> Interval:
    """The interval of a mean that another seed and other prompts would change.

    by_seed: the mean over prompts of each seed. prompt_error: standard error over prompts of the means over
    seeds, with `clusters` independent groups of prompts. Without any spread it has no width.
    """
    found = np.asarray(by_seed, dtype=float)
    parts = [(_variance(found), len(found) - 1), (prompt_error**2, clusters - 1)]
    variance = sum(part for part, _ in parts)
    weights = sum(part**2 / degrees for part, degrees in parts if part)
    return _interval(float(found.mean()), variance, variance**2 / weights if weights else 1.0, level)


def _variance(values: np.ndarray) -> float:
    """Of the mean of the values; 0 for one alone."""
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0


def _interval(mean: float, variance: float, degrees: float, level: float) -> Interval:
    half = math.sqrt(variance) * student_quantile((1 - level) / 2, degrees) if variance else 0.0
    return {"mean": mean, "low": mean - half, "high": mean + half}


def paired(first: Sequence[float], second: Sequence[float], split: str) -> dict[str, float]:
    """What `evaluation.compare` says of two lists of values, one for each of the first prompts of a split."""
    return compare(*(_as_table(values, split) for values in (first, second)), "value")


def _as_table(values: Sequence[float], split: str) -> Dataset:
    table = load_prompts(EMBEDDED, split, len(values))
    return table.select_columns(["prompt_id", "intent", "kind"]).add_column("value", list(values))
