"""Every measured panel of notebook 05 with its flaw, which metrics decide, and the panels of 5.1.

    python -m autograder.keys.nb05_panels     writes both panels.json from docs/results/

The rows are those of docs/results/signatures.json, cut to the flaws and metrics of the notebook, so that they
travel with the package. A test holds the files together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autograder.handouts import nb05_panels as shown_panels
from autograder.handouts.nb05_panels import (
    GROUPS,
    HEALTHY,
    METRICS,
    SEEDS,
    STAGES,
    Rows,
    Run,
    names,
    stage_of,
)
from rslib.cache import atomic_write

FILE = Path(__file__).with_name("panels.json")
SIGNATURES = Path(__file__).parents[2] / "docs" / "results" / "signatures.json"
NAMED_SEEDS = ("0", "1", "2")
"""Seeds of flawed runs that learners get with their names."""
OUTCOMES = ("gold", "gold_of_base", "reward", "kl", "selection_gap", "pool_unique")
"""What the exhibit of 5.4 shows of every greedy run."""
DECKS = 60


def cut(rows: Mapping[str, Mapping[str, Run]]) -> Rows:
    """The rows of a results file, cut to what the notebook shows."""
    return {
        name: {
            seed: {metric: row[column] for metric, (column, _) in METRICS.items()}
            for seed, row in rows[name].items()
        }
        for name in (HEALTHY, *names())
    }


@cache
def rows() -> Rows:
    """Every measured panel."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def span(name: str, metric: str, seeds: Sequence[str] = SEEDS) -> tuple[float, float] | None:
    """As in the notebook, of all measured panels."""
    return shown_panels.span(name, metric, seeds, rows())


def apart(first: str, second: str, metric: str) -> bool:
    """As in the notebook, of all measured panels."""
    return shown_panels.apart(first, second, metric, rows())


NO_EVIDENCE = {("evaluate_on_training_prompts", "judged_prompts"), ("temperature_zero", "reweigh_error")}
"""Metrics that differ without saying why: a count of prompts does not tell which prompts they are, and an
error of a millionth is rounding."""


@cache
def decisive(flaw: str) -> frozenset[str]:
    """The metrics that, alone, tell a flaw from the healthy run and from every other flaw of the notebook.

    A metric of the flaw's own stage decides as well where it shares its values with flaws of earlier stages
    only: whoever goes through the panel stage by stage has let those go before.
    """
    stages = list(STAGES)
    first = stages.index(stage_of(flaw))
    later = [HEALTHY, flaw, *(name for stage in stages[first:] for name in STAGES[stage])]
    telling = telling_metrics(flaw, rows(), METRICS)
    telling += telling_metrics(flaw, {name: rows()[name] for name in later}, GROUPS[stages[first]])
    return frozenset(m for m in telling if (flaw, m) not in NO_EVIDENCE)


def telling_metrics(flaw: str, table: Rows, metrics: Iterable[str]) -> list[str]:
    """The metrics that, alone, tell a flaw from every other class of a table of panels."""
    others = [name for name in table if name != flaw]
    known = [m for m in metrics if shown_panels.span(flaw, m, table=table) is not None]
    return [m for m in known if all(shown_panels.apart(flaw, other, m, table) for other in others)]


def between(name: str, rng: np.random.Generator, seeds: tuple[str, str] = ("3", "4")) -> Run:
    """A panel at a random place between two measured ones of a class; None where one has no value."""
    return mixed(name, seeds, float(rng.uniform()))


@cache
def dealt(number: int) -> tuple[dict[str, Any], list[str], str]:
    """A deck of 5.1 as learners have it, the flaw of each of its panels, and the seed that no range holds."""
    return deck(np.random.default_rng([51, number]), rows(), STAGES, list(METRICS), SEEDS)


def deck(
    rng: np.random.Generator,
    table: Rows,
    stages: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    seeds: Sequence[str],
) -> tuple[dict[str, Any], list[str], str]:
    """A deck of measured panels, the flaw of each, and the seed that no range holds.

    A healthy panel and one flaw of every stage. Each lies between two measured runs of its class, the same
    two of `seeds` and the same weight for all, so that it equals no panel that has a name beside it.
    """
    pair = [str(seed) for seed in rng.permutation(seeds)[:2]]
    weight = float(rng.uniform(0.2, 0.8))
    flaws = [HEALTHY, *(str(rng.choice(flaws)) for flaws in stages.values())]
    runs = {flaw: mixture(*(table[flaw][seed] for seed in pair), weight, metrics) for flaw in flaws}
    order = sorted(flaws, key=lambda flaw: json.dumps(list(runs[flaw].values())))
    others = [seed for seed in table[HEALTHY] if seed != pair[0]]
    healthy = [shown_panels.span(HEALTHY, metric, others, table) for metric in metrics]
    return {"healthy": healthy, "runs": [list(runs[flaw].values()) for flaw in order]}, order, pair[0]


def mixed(name: str, seeds: Sequence[str], weight: float) -> Run:
    """A panel between two measured ones of a class; None where one has no value."""
    return mixture(*(rows()[name][seed] for seed in seeds), weight, METRICS)


def mixture(first: Run, second: Run, weight: float, metrics: Iterable[str]) -> Run:
    """A panel of these metrics between two others; None where one has no value."""
    pairs = {metric: (first[metric], second[metric]) for metric in metrics}
    return {
        metric: None if None in pair else round(weight * pair[0] + (1 - weight) * pair[1], 6)
        for metric, pair in pairs.items()
    }


def beside(name: str) -> Sequence[str]:
    """The metrics that the notebook shows of every seed of a flaw."""
    return OUTCOMES if name == "temperature_zero" else OUTCOMES[:1]


def content() -> dict[str, Any]:
    """What the learners' panels.json holds."""
    from rslib.flaws import FLAWS

    named = {
        name: {
            seed: run if name == HEALTHY or seed in NAMED_SEEDS else {m: run[m] for m in beside(name)}
            for seed, run in by_seed.items()
        }
        for name, by_seed in rows().items()
    }
    flaws = {name: {"id": FLAWS[name].id, "description": FLAWS[name].description} for name in names()}
    decks = [dealt(number)[0] for number in range(DECKS)]
    return json.loads(json.dumps({"rows": named, "decks": decks, "flaws": flaws}))


def main() -> None:
    """Write the package's copies anew."""
    signatures = json.loads(SIGNATURES.read_text(encoding="utf-8"))["rows"]
    atomic_write(FILE, json.dumps(cut(signatures), indent=1, sort_keys=True) + "\n")
    rows.cache_clear()
    atomic_write(shown_panels.FILE, json.dumps(content(), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
