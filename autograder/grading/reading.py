"""A submission's notebook is taken apart in a process of its own, which the system ends after a time.

Python's parser, JSON and the search for what belongs where all work on a submission's text: a text that keeps
one of them busy, or brings it down, costs a few seconds and that one submission.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autograder.grading import intake
from autograder.grading.rebuild import rebuild


@dataclass(frozen=True)
class Place:
    """What is known of an instructor's cell where a submission is taken apart."""

    place: int
    kind: str
    role: str
    grade_id: str
    id: str
    source: str
    release: str
    names: tuple[str, ...]

    def reads(self) -> tuple[str, ...]:
        """The learner's names that a test cell looks at."""
        return self.names


@dataclass(frozen=True)
class Outline:
    """The instructor's notebook as far as it is needed here: its cells, and whether some are left out."""

    cells: tuple[Place, ...]
    lazy: bool

    @property
    def answers(self) -> list[Place]:
        """The learner's cells."""
        return [cell for cell in self.cells if cell.role == "answer"]


def outlined(notebook: Any) -> dict[str, Any]:
    """A notebook of a plan as JSON, for `read`."""
    kept = ("place", "kind", "role", "grade_id", "id", "source", "release")
    cells = [
        {name: getattr(cell, name) for name in kept} | {"names": cell.reads() if cell.role == "test" else []}
        for cell in notebook.cells
    ]
    return {"cells": cells, "lazy": notebook.lazy}


def read(outline: Mapping[str, Any], content: bytes) -> dict[str, Any]:
    """The notebook to be graded as JSON: the fields of `Rebuilt`, and a problem in one sentence or ""."""
    warnings.simplefilter("ignore")  # Python's remarks on a learner's text are nobody's business here
    known = Outline(tuple(Place(**cell) for cell in outline["cells"]), outline["lazy"])
    problem, raw, notes = "", [], []
    try:
        raw, notes = intake.cells(content)
    except intake.Unreadable as error:
        problem = str(error)
    found = rebuild(known, raw)
    steps = [[s.cell.place if s.cell else None, s.kind, s.source, s.changed, s.run] for s in found.steps]
    told = [] if problem else [*notes, *found.notes]
    return {
        "steps": steps,
        "blank": sorted(found.blank),
        "notes": told,
        "answers": dict(found.answers),
        "problem": problem,
    }
