"""A submission put together anew: the instructor's notebook, with the learner's text in the learner's places.

Learners delete, copy, move and rename; platforms drop metadata. So a learner's cell is known by its grade id,
else by its cell id, by a comment `# exercise: ID`, or by the names that it defines. A repair is a sentence.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autograder.grading.intake import Raw
from autograder.grading.needed import binds, needed
from autograder.grading.plan import Cell, Notebook

MAX_EXTRA = 300
"""Cells of a learner's own that are kept."""
MARKER = re.compile(r"^\s*#\s*exercise:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
ALIKE = 0.6
"""So similar is a changed cell to the released one."""


@dataclass(frozen=True)
class Step:
    """One cell of the rebuilt notebook: where its text comes from, and whether it is run."""

    cell: Cell | None
    kind: str
    source: str
    changed: bool
    run: bool = True

    @property
    def role(self) -> str:
        """The role of the instructor's cell; "extra" for one of the learner's own."""
        return self.cell.role if self.cell else "extra"


@dataclass(frozen=True)
class Rebuilt:
    """The steps, the grade ids of answers that are as released, and sentences about what was repaired."""

    steps: tuple[Step, ...]
    blank: frozenset[str]
    notes: tuple[str, ...]


def rebuild(notebook: Notebook, raw: Sequence[Raw]) -> Rebuilt:
    """The notebook to be graded."""
    notes: list[str] = []
    places = _answers(notebook, raw, notes)
    places |= _others(notebook, raw, places)
    owner = {row: place for place, row in places.items()}
    steps = [
        _step(cell, raw[places[cell.place]] if cell.place in places else None) for cell in notebook.cells
    ]
    known = {c.grade_id for c in notebook.cells if c.grade_id}
    extras = [k for k, cell in enumerate(raw) if k not in owner and cell.grade_id not in known]
    extras = [k for k in extras if raw[k].source.strip() and not _copied(raw[k], notebook)]
    if len(extras) > MAX_EXTRA:
        notes.append(f"Only the first {MAX_EXTRA} of your own cells were kept.")
    blank = frozenset(
        s.cell.grade_id for s in steps if s.role == "answer" and same_text(s.source, s.cell.release)
    )
    placed = _placed(steps, extras[:MAX_EXTRA], raw, owner)
    if notebook.lazy:
        placed = _needed(placed)
    _tell_missing(notebook, raw, places, notes)
    return Rebuilt(tuple(placed), blank, tuple(notes))


def same_text(one: str, other: str) -> bool:
    """Whether two cells say the same, blanks at the ends of lines left out."""
    return [x.rstrip() for x in one.strip().split("\n")] == [x.rstrip() for x in other.strip().split("\n")]


def _copied(cell: Raw, notebook: Notebook) -> bool:
    """Whether a cell without a place is a second copy of an instructor's cell."""
    return any(same_text(cell.source, c.release) for c in notebook.cells if c.role != "plain")


def _step(cell: Cell, raw: Raw | None) -> Step:
    takes = raw is not None and (cell.role == "answer" or (cell.role == "plain" and cell.kind == "code"))
    source = raw.source if takes else cell.release
    if cell.role in ("test", "locked"):
        source = cell.source
    return Step(cell, cell.kind, source, takes and not same_text(raw.source, cell.release))


# Which cell is which ----------------------------------------------------------------------------------------


def _answers(notebook: Notebook, raw: Sequence[Raw], notes: list[str]) -> dict[int, int]:
    """Place in the instructor's notebook -> place in the learner's, for the learner's cells."""
    found: dict[int, int] = {}
    for cell in notebook.answers:
        rows = [k for k, r in enumerate(raw) if r.grade_id == cell.grade_id and r.kind == cell.kind]
        if rows:
            found[cell.place] = _best(rows, raw, cell)
            if len(rows) > 1:
                notes.append(
                    f"There were {len(rows)} copies of the cell {cell.grade_id}; the last filled one counts."
                )
    for name, test in (
        ("its cell id", _by_id),
        ("its comment", _by_marker),
        ("the names that it defines", _by_names),
    ):
        for cell in notebook.answers:
            if cell.place not in found:
                free = [k for k in range(len(raw)) if k not in found.values() and raw[k].kind == cell.kind]
                rows = [k for k in free if not raw[k].grade_id and test(cell, raw[k])]
                if rows:
                    found[cell.place] = _best(rows, raw, cell)
                    notes.append(f"The cell {cell.grade_id} had lost its metadata and was known by {name}.")
    return found


def _best(rows: Sequence[int], raw: Sequence[Raw], cell: Cell) -> int:
    """The last copy that says something of its own, else the last."""
    filled = [k for k in rows if raw[k].source.strip() and not same_text(raw[k].source, cell.release)]
    return (filled or list(rows))[-1]


def _by_id(cell: Cell, raw: Raw) -> bool:
    return bool(cell.id) and raw.id == cell.id


def _by_marker(cell: Cell, raw: Raw) -> bool:
    return any(m in (cell.grade_id, cell.grade_id.replace("_", ".")) for m in MARKER.findall(raw.source))


def _by_names(cell: Cell, raw: Raw) -> bool:
    wanted = binds(cell.release)
    return bool(wanted) and wanted <= binds(raw.source)


def _others(notebook: Notebook, raw: Sequence[Raw], taken: dict[int, int]) -> dict[int, int]:
    """The same for the instructor's cells: by grade id or cell id, by text, at last by likeness."""
    found: dict[int, int] = {}
    rest = [cell for cell in notebook.cells if cell.place not in taken and cell.role != "answer"]
    tests = (
        lambda cell, r: bool(cell.grade_id) and r.grade_id == cell.grade_id,
        lambda cell, r: same_text(r.source, cell.release),
        lambda cell, r: bool(cell.id) and r.id == cell.id and not r.grade_id,
        lambda cell, r: cell.role == "plain" and cell.kind == "code" and _alike(cell.release, r.source),
    )
    for test in tests:
        for cell in rest:
            if cell.place in found:
                continue
            used = {*taken.values(), *found.values()}
            rows = [k for k, r in enumerate(raw[: MAX_EXTRA * 2]) if k not in used and r.kind == cell.kind]
            row = next((k for k in rows if test(cell, raw[k])), None)
            if row is not None:
                found[cell.place] = row
    return found


def _alike(one: str, other: str) -> bool:
    a, b = one[:1500], other[:1500]
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return (
        bool(b.strip())
        and matcher.real_quick_ratio() > ALIKE
        and matcher.quick_ratio() > ALIKE
        and matcher.ratio() > ALIKE
    )


def _placed(
    steps: list[Step], extras: Sequence[int], raw: Sequence[Raw], owner: dict[int, int]
) -> list[Step]:
    """The learner's own cells among the instructor's: behind the known cell before them, or before the next.

    Whichever comes first: a helper must stand before the answer that it helps, wherever that was moved.
    """
    before: dict[int, list[int]] = {}
    for row in extras:
        last = next((owner[k] + 1 for k in range(row - 1, -1, -1) if k in owner), 0)
        following = next((owner[k] for k in range(row + 1, len(raw)) if k in owner), len(steps))
        before.setdefault(min(last, following), []).append(row)
    found: list[Step] = []
    for place in range(len(steps) + 1):
        found += [Step(None, raw[k].kind, raw[k].source, True) for k in before.get(place, [])]
        found += steps[place : place + 1]
    return found


def _tell_missing(notebook: Notebook, raw: Sequence[Raw], places: dict[int, int], notes: list[str]) -> None:
    for cell in notebook.cells:
        row = places.get(cell.place)
        if cell.role == "answer" and row is None:
            notes.append(f"The cell {cell.grade_id} was not found; it counts as not answered.")
        elif cell.role == "test" and row is None:
            notes.append(f"The check cell {cell.grade_id} was missing; it was restored.")
        elif cell.role == "test" and not same_text(raw[row].source, cell.release):
            notes.append(f"The check cell {cell.grade_id} had been changed; the original was used.")


# Which cells are run ----------------------------------------------------------------------------------------


def _needed(steps: Sequence[Step]) -> list[Step]:
    """The steps, with those marked that nothing needs. The first code cell always runs: it sets up."""
    code = [k for k, s in enumerate(steps) if s.kind == "code"]
    reads = [set(steps[k].cell.reads()) if steps[k].role == "test" else None for k in code]
    free = [steps[k].role == "plain" and not steps[k].changed and k != code[0] for k in code]
    wanted = {code[k] for k in needed([steps[k].source for k in code], reads, free)}
    return [replace(s, run=k in wanted or s.kind != "code") for k, s in enumerate(steps)]
