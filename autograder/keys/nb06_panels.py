"""Every measured panel of exercise 6.5 with its flaw, which metrics decide, and the decks.

    python -m autograder.keys.nb06_panels     writes both rl_panels.json from docs/results/rl_flaws.json

A test holds the files together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autograder.handouts import nb05_panels
from autograder.handouts import nb06_panels as shown_panels
from autograder.handouts.nb05_panels import HEALTHY, Rows, Run
from autograder.handouts.nb06_panels import GROUPS, METRICS, STAGES, names
from autograder.keys.nb05_panels import deck, telling_metrics
from rslib.cache import atomic_write

FILE = Path(__file__).with_name("rl_panels.json")
RESULTS = Path(__file__).parents[2] / "docs" / "results" / "rl_flaws.json"
SEEDS = ("0", "1", "2")
"""Seeds that every flaw was measured with; healthy runs have more."""
DECKS = 60


def cut(rows: Mapping[str, Mapping[str, Run]]) -> Rows:
    """The rows of the results file, cut to what the exercise shows."""
    return {
        name: {seed: {metric: row[metric] for metric in METRICS} for seed, row in sorted(rows[name].items())}
        for name in (HEALTHY, *names())
    }


@cache
def rows() -> Rows:
    """Every measured panel."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def span(name: str, metric: str) -> tuple[float, float] | None:
    """The lowest and the highest value of a metric over the measured runs of a class; None: it has none."""
    return nb05_panels.span(name, metric, table=rows())


@cache
def decisive(flaw: str) -> frozenset[str]:
    """The metrics that tell a flaw from healthy runs and from every other flaw, alone.

    A metric of the flaw's own part decides as well where only flaws of earlier parts share its values:
    whoever goes through the parts in their order has let those go before. Outcomes never decide.
    """
    stages = list(STAGES)
    first = next(number for number, stage in enumerate(stages) if flaw in STAGES[stage])
    later = {HEALTHY, *(name for stage in stages[first:] for name in STAGES[stage])}
    kept = {name: by_seed for name, by_seed in rows().items() if name in later}
    own = telling_metrics(flaw, kept, GROUPS[stages[first]])
    probes = [metric for metric in METRICS if metric not in GROUPS["outcome"]]
    return frozenset([*telling_metrics(flaw, rows(), probes), *own])


@cache
def dealt(number: int) -> tuple[dict[str, Any], list[str], str]:
    """A deck as learners have it, the flaw of each of its panels, and the seed that no range holds."""
    return deck(np.random.default_rng([65, number]), rows(), STAGES, list(METRICS), SEEDS)


def content() -> dict[str, Any]:
    """What the learners' file holds."""
    from rslib.rl.flaws import FLAWS

    flaws = {name: {"id": name, "description": FLAWS[name].description} for name in names()}
    return {"decks": [dealt(number)[0] for number in range(DECKS)], "flaws": flaws}


def main() -> None:
    """Write the package's copies anew."""
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    atomic_write(FILE, json.dumps(cut(measured), indent=1, sort_keys=True) + "\n")
    rows.cache_clear()
    atomic_write(shown_panels.FILE, json.dumps(content(), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
