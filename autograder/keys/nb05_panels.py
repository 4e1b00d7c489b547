"""Every measured panel of notebook 05 with its flaw, which metrics decide, and the panels of 5.1.

    python -m autograder.keys.nb05_panels     writes both panels.json from docs/results/

The rows are those of docs/results/signatures.json, cut to the flaws and metrics of the notebook, so that they
travel with the package. A test holds the files together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autograder.handouts import nb05_panels as shown_panels
from autograder.handouts.nb05_panels import HEALTHY, METRICS, PANELS, SEEDS, Panels, Rows, Run, names
from rslib.cache import atomic_write

RESULTS = Path(__file__).parents[2] / "docs" / "results"
NAMED_SEEDS = ("0", "1", "2")
"""Seeds of flawed runs that learners get with their names."""
OUTCOMES = ("gold", "gold_of_base", "reward", "kl", "selection_gap", "pool_unique")
"""What the exhibit of 5.4 shows of every greedy run."""
DECKS = 60


@dataclass(frozen=True)
class Keys:
    """Every measured panel of an exercise with its flaw.

    panels: what learners have of them. results: the file of docs/results/ that they are cut from; columns:
    its columns by metric. file: the package's copy. seeds: of which every flaw has a run. number: of the
    exercise, 51 for 5.1; it draws the decks. probes: the metrics that may decide. no_evidence: pairs of flaw
    and metric that differ without saying why.
    """

    panels: Panels
    results: Path
    columns: Mapping[str, str]
    file: Path
    seeds: Sequence[str]
    number: int
    probes: Sequence[str]
    no_evidence: frozenset[tuple[str, str]] = frozenset()

    def cut(self, rows: Mapping[str, Mapping[str, Run]]) -> Rows:
        """The rows of the results file, cut to what the exercise shows."""
        columns = self.columns.items()
        return {
            name: {s: {metric: row[column] for metric, column in columns} for s, row in rows[name].items()}
            for name in (HEALTHY, *self.panels.names())
        }

    @cached_property
    def _rows(self) -> Rows:
        return json.loads(self.file.read_text(encoding="utf-8"))

    def rows(self) -> Rows:
        """Every measured panel."""
        return self._rows

    def span(self, name: str, metric: str, seeds: Sequence[str] | None = None) -> tuple[float, float] | None:
        """As in the notebook, of all measured panels."""
        return shown_panels.span(name, metric, seeds, self.rows())

    def decisive(self, flaw: str) -> frozenset[str]:
        """The metrics that, alone, tell a flaw from the healthy run and from every other flaw.

        A metric of the flaw's own stage decides as well where it shares its values with flaws of earlier
        stages only: whoever goes through the panel stage by stage has let those go before.
        """
        stages, stage = list(self.panels.stages), self.panels.stage_of(flaw)
        later = [name for other in stages[stages.index(stage) :] for name in self.panels.stages[other]]
        telling = telling_metrics(flaw, self.rows(), self.probes)
        kept = {name: self.rows()[name] for name in (HEALTHY, *later)}
        telling += telling_metrics(flaw, kept, self.panels.groups[stage])
        return frozenset(m for m in telling if (flaw, m) not in self.no_evidence)

    def dealt(self, number: int) -> tuple[dict[str, Any], list[str], str]:
        """A deck as learners have it, the flaw of each of its panels, and the seed that no range holds.

        A healthy panel and one flaw of every stage. Each lies between two measured runs of its class, the
        same two of `seeds` and the same weight for all, so that it equals no panel that has a name beside it.
        """
        rng, table, metrics = np.random.default_rng([self.number, number]), self.rows(), self.panels.metrics
        pair = [str(seed) for seed in rng.permutation(self.seeds)[:2]]
        weight = float(rng.uniform(0.2, 0.8))
        flaws = [HEALTHY, *(str(rng.choice(flaws)) for flaws in self.panels.stages.values())]
        runs = {flaw: mixture(*(table[flaw][seed] for seed in pair), weight, metrics) for flaw in flaws}
        order = sorted(flaws, key=lambda flaw: json.dumps(list(runs[flaw].values())))
        others = [seed for seed in table[HEALTHY] if seed != pair[0]]
        healthy = [self.span(HEALTHY, metric, others) for metric in metrics]
        return {"healthy": healthy, "runs": [list(runs[flaw].values()) for flaw in order]}, order, pair[0]

    def content(self, flaws: Mapping[str, Mapping[str, str]], **more: Any) -> dict[str, Any]:
        """What the learners' file holds: these words on each flaw, the decks, and more."""
        decks = [self.dealt(number)[0] for number in range(DECKS)]
        return json.loads(json.dumps({"decks": decks, "flaws": flaws} | more))

    def cut_anew(self) -> None:
        """Write the package's copy of the results."""
        measured = json.loads(self.results.read_text(encoding="utf-8"))["rows"]
        atomic_write(self.file, json.dumps(self.cut(measured), indent=1, sort_keys=True) + "\n")
        vars(self).pop("_rows", None)


KEYS = Keys(
    PANELS,
    RESULTS / "signatures.json",
    {metric: column for metric, (column, _) in METRICS.items()},
    Path(__file__).with_name("panels.json"),
    SEEDS,
    51,
    list(METRICS),
    # A count of prompts does not tell which prompts they are, and an error of a millionth is rounding.
    frozenset({("evaluate_on_training_prompts", "judged_prompts"), ("temperature_zero", "reweigh_error")}),
)
rows, span, decisive = KEYS.rows, KEYS.span, KEYS.decisive


def apart(first: str, second: str, metric: str) -> bool:
    """As in the notebook, of all measured panels."""
    return shown_panels.apart(first, second, metric, rows())


def telling_metrics(flaw: str, table: Rows, metrics: Iterable[str]) -> list[str]:
    """The metrics that, alone, tell a flaw from every other class of a table of panels."""
    others = [name for name in table if name != flaw]
    known = [m for m in metrics if shown_panels.span(flaw, m, table=table) is not None]
    return [m for m in known if all(shown_panels.apart(flaw, other, m, table) for other in others)]


def between(name: str, rng: np.random.Generator, seeds: tuple[str, str] = ("3", "4")) -> Run:
    """A panel at a random place between two measured ones of a class; None where one has no value."""
    first, second = (rows()[name][seed] for seed in seeds)
    return mixture(first, second, float(rng.uniform()), METRICS)


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
    return KEYS.content(flaws, rows=named)


def main() -> None:
    """Write the package's copies anew."""
    KEYS.cut_anew()
    atomic_write(shown_panels.FILE, json.dumps(content(), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
