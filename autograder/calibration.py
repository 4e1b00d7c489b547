"""Thresholds of the measured exercises, and how they were found.

Every threshold lives in calibration.json, with the values that it was derived from: for each statistic of an
experiment, one number per seed and arm. The arms are `honest` (the reference solution) and those that must
not pass (`do_nothing`, `random`, ...). A higher value is always the better one. The chance that a new run
falls on the wrong side of a threshold is the tail of Student's t for one more draw from the same arm, so it
allows for the mean and the spread being estimated from few seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rslib.errors import ConfigError

FILE = Path(__file__).parent / "calibration.json"
HONEST = "honest"
HONEST_FAILS = 1e-3
"""Largest chance, by the calibration, that an honest solution fails."""
OTHERS_PASS = 1e-4
"""Largest chance, by the calibration, that doing nothing or picking at random passes."""


@cache
def stored() -> dict[str, Any]:
    """The content of calibration.json."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def threshold(exercise: str, statistic: str) -> float:
    """The calibrated threshold of a statistic. Raises ConfigError if none was measured."""
    try:
        return float(stored()["exercises"][exercise][statistic]["threshold"])
    except (KeyError, FileNotFoundError):
        raise ConfigError(
            f"no calibrated threshold {statistic!r} for exercise {exercise}: run make calibrate"
        ) from None


def t_tail(t: float, dof: int) -> float:
    """P(T > t) for Student's t with `dof` degrees of freedom, by integrating cos^(dof-1).

    >>> round(t_tail(0.0, 5), 6), round(t_tail(2.015, 5), 4)
    (0.5, 0.05)
    """
    start = np.arctan(t / np.sqrt(dof))
    whole, tail = (np.linspace(low, np.pi / 2, 100_001) for low in (-np.pi / 2, start))
    area = [np.trapezoid(np.cos(grid) ** (dof - 1), grid) for grid in (tail, whole)]
    return float(area[0] / area[1])


def chance_below(values: Sequence[float], limit: float) -> float:
    """The chance that one more draw from the arm that gave `values` (two or more) is below `limit`.

    >>> chance_below([1.0, 1.0], 0.5), chance_below([0.0, 0.0], 0.5)
    (0.0, 1.0)
    """
    mean, count = float(np.mean(values)), len(values)
    spread = np.std(values, ddof=1) * np.sqrt(1 + 1 / count)
    return t_tail((mean - limit) / spread, count - 1) if spread else float(mean < limit)


def best_threshold(arms: Mapping[str, Sequence[float]]) -> float:
    """The limit whose two kinds of error are in the proportion of what is allowed of each.

    arms: values per arm; `honest` must lie above the others. Bisection between the highest mean of the other
    arms and the honest mean; rounded to three digits.
    """
    others = {name: values for name, values in arms.items() if name != HONEST}
    low, high = max(float(np.mean(v)) for v in others.values()), float(np.mean(arms[HONEST]))
    for _ in range(60):
        middle = (low + high) / 2
        fails = chance_below(arms[HONEST], middle) / HONEST_FAILS
        passes = max(1 - chance_below(v, middle) for v in others.values()) / OTHERS_PASS
        low, high = (middle, high) if passes > fails else (low, middle)
    return float(f"{high:.3g}")


def risks(arms: Mapping[str, Sequence[float]], limit: float) -> dict[str, float]:
    """The chance that each arm is judged wrongly at this limit: honest below it, another above it."""
    return {
        name: chance_below(v, limit) if name == HONEST else 1 - chance_below(v, limit)
        for name, v in arms.items()
    }
