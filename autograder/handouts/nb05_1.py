"""Exercise 5.1: six panels, one of them healthy; name each flaw and the one metric that decides."""

from __future__ import annotations

from collections.abc import Iterable

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts.locked import locked
from autograder.handouts.nb05_panels import PANELS, STAGES, Panels, Run, shown

NAME = "diagnoses"


class Clinic:
    """The six panels as a learner sees them, beside the range of the other healthy runs."""

    panels: Panels = PANELS

    def __init__(self, variant: Variant) -> None:
        deck, places = self.panels.drawn(variant)
        known = self.panels.decks()[deck]
        self.runs: dict[str, Run] = {
            letter: self.panels.run_of(known["runs"][k]) for letter, k in places.items()
        }
        self._healthy = dict(zip(self.panels.metrics, known["healthy"], strict=True))

    def healthy(self, metric: str) -> tuple[float, float]:
        """The lowest and the highest value of a metric in four other healthy runs."""
        low, high = self._healthy[metric] or (float("nan"), float("nan"))
        return low, high

    def groups(self) -> dict[str, list[list[str]]]:
        """Stage -> a line for each of its metrics: its name, the healthy range, the six values."""
        groups = self.panels.groups.items()
        return {stage: [self._line(metric) for metric in metrics] for stage, metrics in groups}

    def _line(self, metric: str) -> list[str]:
        low, high = self.healthy(metric)
        known = " to ".join(dict.fromkeys(map(shown, (low, high))))
        return [metric, known, *(_marked(run[metric], low, high) for run in self.runs.values())]

    def __repr__(self) -> str:
        lines = [_LEGEND]
        for stage, rows in self.groups().items():
            lines += ["", stage.upper(), *map(_text, [["metric", "healthy", *self.runs], *rows])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for each stage, narrow enough for a phone; a table that is too wide scrolls by itself."""
        head = ("metric", "healthy", *self.runs)
        tables = (table(stage, rows, head) for stage, rows in self.groups().items())
        body = "".join(f"<div style='overflow-x:auto;font-size:85%'>{part}</div>" for part in tables)
        return f"<p>{_LEGEND}</p>{body}"


_LEGEND = "Each run beside the range of healthy ones: ▲ is above the range, ▼ below it, ∅ has no value."


def _marked(value: float | None, low: float, high: float) -> str:
    """A value with a sign where it lies outside of a range."""
    if value is None:
        return "∅"
    sign = "▲" if value > high else "▼" if value < low else ""
    return f"{shown(value)}{sign}"


def _text(line: list[str]) -> str:
    return f"{line[0]:<16} {line[1]:>18} " + " ".join(f"{cell:>9}" for cell in line[2:])


def parts(name: str, module: str, stages: Iterable[str]) -> tuple[Part, ...]:
    """Half a point for the flaw of each stage, one for no false alarm; `module` of the keys marks them."""
    flaws = (
        Part(f"the flaw in `{stage}`", 0.5, locked(name, module, "grade_stage", stage)) for stage in stages
    )
    return (*flaws, Part("no false alarm", 1.0, locked(name, module, "grade_healthy")))


EXERCISE = Exercise(
    "5.1",
    "Six panels, one of them healthy",
    3,
    15,
    (NAME,),
    parts(NAME, "nb05_1", STAGES),
    given=Clinic,
)
