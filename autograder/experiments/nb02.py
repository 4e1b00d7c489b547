"""Experiment of notebook 02: how far apart the probes of good and bad reward models lie.

The arms are kinds of reward models. `honest` is the kind that a limit must let through; `do_nothing` and
`random` are those that lie nearest to it and must not pass. What is blind needs no limit: its reward does not
change under a foreign prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autograder.exercises import nb02_3
from autograder.exercises.nb02_3 import HIDDEN, LEARNER
from autograder.handouts import nb02_scorers

GOOD = ("tiny", "tiny-unbiased")
NOISE = tuple(f"noise{head}" for head in nb02_scorers.NOISE_HEADS)
MODELS = (*GOOD, "tiny-length", "tiny-swapped", *NOISE)


def measure(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """Both probes of every reward model on a learner's table and a hidden one, drawn from `seed`."""
    rows = tuple(np.random.default_rng(seed).permutation(nb02_3.validation_size()).tolist())
    learners = nb02_3.held_out_table(rows[:LEARNER], seed)
    hidden = nb02_3.held_out_table(rows[LEARNER : LEARNER + HIDDEN], seed + 1_000_003)
    probes = {name: _probes(name, learners, hidden) for name in MODELS}
    accuracy, slope = ({name: values[k] for name, values in probes.items()} for k in (0, 1))
    return {
        "usable": _arms(min(accuracy[name] for name in GOOD), [accuracy[name] for name in NOISE]),
        "swapped": _arms(1 - accuracy["tiny-swapped"], [1 - accuracy[name] for name in NOISE]),
        "length": _arms(
            slope["tiny-length"], [max(slope[name] for name in GOOD), max(slope[name] for name in NOISE)]
        ),
    }


def _probes(name: str, learners: nb02_3.Table, hidden: nb02_3.Table) -> np.ndarray:
    """Pair accuracy and length slope, pooled over both tables as the grader does."""
    scorer = nb02_scorers.Scorer(nb02_scorers.model(name))
    both = []
    for table in (learners, hidden):
        rewards = scorer(table["prompt"], table["response"])
        both.append([nb02_3.order_probe(rewards, table), nb02_3.length_probe(rewards, table)])
    return np.average(both, axis=0, weights=[LEARNER, HIDDEN])


def _arms(honest: float, others: Sequence[float]) -> dict[str, float]:
    return dict(zip(("honest", "do_nothing", "random"), map(float, (honest, *others)), strict=True))


EXPERIMENTS = {"2.3": measure}
