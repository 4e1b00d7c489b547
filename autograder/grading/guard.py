"""The guard: before a class is graded, the instructor's own solution goes through the very same pipeline.

A test that cannot be judged outside of the student's process, a module that is not installed, a file that is
not there would cost every student the same points, silently. Here they cost the instructor's solution points
first, and nothing is graded until that is mended.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from autograder.grading.book import VERSION, Journal, write
from autograder.grading.intake import File, Submission
from autograder.grading.needed import imports, tree_of
from autograder.grading.plan import Cell, Notebook, Plan
from autograder.grading.score import NO_NUMBER, Grader, prefix_of
from rslib.cache import versions
from rslib.errors import ConfigError

SOLUTION = "instructor's solution"
"""Stands for the student in the record of a solution; that record is not stored."""
CHECKED = "checked.json"
"""Which assignments passed, in the course's .grading/, and what their tests did with the solutions.

A change of the assignment is checked again.
"""
MEND = (
    "mend the test or the solution, or put the comment `# trust: inside` into the cell: it is then judged in "
    "the student's process, less safely"
)
MEND_NUMBER = (
    "let the cell end in a number of points (`float(...)` of a NumPy one) or in None, or put `;` behind its "
    "last expression"
)
NO_SOLUTION = "the source holds no solution; write it between ### BEGIN SOLUTION and ### END SOLUTION"


@dataclass(frozen=True)
class Shortfall:
    """A cell at which an assignment cannot be graded rightly, why, and what to do."""

    cell: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.cell}: {self.why}"


def listed(short: Sequence[Shortfall]) -> list[str]:
    """A line for each cell, and behind them what to do, each way once."""
    return [*map(str, short), *(f"-> {fix}" for fix in dict.fromkeys(shortfall.fix for shortfall in short))]


@dataclass(frozen=True)
class Written(File):
    """A file whose content is known."""

    content: bytes = b""

    def read(self) -> bytes:
        """Its bytes."""
        return self.content


def handed_in(plan: Plan, text: Callable[[Cell], str]) -> Submission:
    """The instructor's notebooks as if a student had handed them in, with `text` in each cell."""
    source = Path("source", plan.assignment)
    files = {n.name: Written(n.name, source, content=_written(n, text)) for n in plan.notebooks}
    extras: dict[str, File] = {n: File(n, plan.files[n]) for n in plan.left_to_students & plan.files.keys()}
    return Submission(SOLUTION, plan.assignment, files, extras=extras)


def _written(notebook: Notebook, text: Callable[[Cell], str]) -> bytes:
    cells = []
    for cell in notebook.cells:
        known = {"nbgrader": cell.metadata} if cell.metadata else {}
        cells.append({"cell_type": cell.kind, "source": text(cell), "metadata": known})
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def _solved(plan: Plan, grader: Grader) -> dict[str, Any]:
    """The record of the instructor's own solution, by the pipeline that grades students."""
    submission = handed_in(plan, lambda cell: cell.solution)
    return replace(grader, explain=True).grade(plan, submission, {"submission": SOLUTION}).record


def blank(plan: Plan, grader: Grader) -> dict[str, Any]:
    """The record of the release as it is handed out."""
    return grader.grade(plan, handed_in(plan, lambda cell: cell.release), {"submission": "release"}).record


def _shortfalls(plan: Plan, record: Mapping[str, Any]) -> list[Shortfall]:
    """Where the instructor's own solution, with this record, gets less than all points."""
    names = {prefix_of(plan, n) + c.grade_id: (n, c) for n in plan.notebooks for c in n.cells if c.grade_id}
    short = [
        _shortfall(plan, *names[name], row)
        for name, row in record["cells"].items()
        if not row["by_hand"] and row["points"] < row["out_of"]
    ]
    if record["problem"] and not short:
        short.append(Shortfall(plan.assignment, record["problem"], "look at source/"))
    return short


def tried(plan: Plan, grader: Grader) -> tuple[list[Shortfall], dict[str, list[str]]]:
    """All that keeps an assignment from being graded rightly, and what its tests did with the solution.

    Modules that are missing are told alone, as without them nothing is run.
    """
    if missing := list(_missing_modules(plan)):
        return missing, {}
    record = _solved(plan, grader)
    return _shortfalls(plan, record), record["uses"]


def _shortfall(plan: Plan, notebook: Notebook, cell: Cell, row: Mapping[str, Any]) -> Shortfall:
    unsolved = [a for a in notebook.answers if a.kind == "code" and a.place < cell.place and _unsolved(a)]
    why = f"{row['points']:g} of {row['out_of']:g} points. {row['why']}"
    where = f"{plan.assignment}/{notebook.name}, cell {cell.grade_id}"
    if unsolved:
        return Shortfall(where, f"{why} ({unsolved[-1].grade_id}: as released)", NO_SOLUTION)
    return Shortfall(where, why, MEND_NUMBER if NO_NUMBER in row["why"] else MEND)


def _unsolved(answer: Cell) -> bool:
    return answer.solution.strip() == answer.release.strip()


def _missing_modules(plan: Plan) -> Iterator[Shortfall]:
    """Imports of the instructor's notebooks that neither this machine nor a file of the course can serve."""
    beside = {part for name in plan.files for part in PurePosixPath(name).with_suffix("").parts}
    for notebook in plan.notebooks:
        written = "\n".join(cell.solution for cell in notebook.cells)
        for cell in notebook.cells:
            for name in _imported(cell):
                # A cell may write the file itself, and a course may lead the search to any of its folders.
                if name not in beside and f"{name}.py" not in written and not _installed(name):
                    where = f"{plan.assignment}/{notebook.name}, cell {cell.grade_id or cell.place + 1}"
                    fix = f"install {name} here, for students' work needs it too, or take the import out"
                    yield Shortfall(where, f"the module {name!r} is not installed on this machine", fix)


def _imported(cell: Cell) -> list[str]:
    """The top-level packages that a code cell imports; an import inside of `try` is allowed to fail."""
    tree = tree_of(cell.solution if cell.kind == "code" else "")
    guarded = {id(n) for t in ast.walk(tree) if isinstance(t, ast.Try) for n in ast.walk(t)}
    statements = [
        n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and id(n) not in guarded
    ]
    return list(dict.fromkeys(name.split(".")[0] for name in imports(statements)))


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


# Before a class is graded -----------------------------------------------------------------------------------


def require(plans: Sequence[Plan], grader: Grader, workers: int) -> dict[str, dict[str, list[str]]]:
    """What the tests of each assignment did with its solution, by cell; see `uses`.

    Raises ConfigError, naming every cell, unless the instructor's solutions get all points. An assignment
    that passed is not tried again until it, or the grader, changes.
    """
    passed = _read(grader.journal)
    keys = {plan.assignment: _key(plan, grader) for plan in plans}
    todo = [plan for plan in plans if passed.get(plan.assignment, {}).get("key") != keys[plan.assignment]]
    with ThreadPoolExecutor(workers) as pool:
        results = dict(zip(todo, pool.map(lambda plan: tried(plan, grader), todo), strict=True))
    for plan, (short, uses) in results.items():
        if not short:
            passed[plan.assignment] = {"key": keys[plan.assignment], "uses": uses}
    if todo:
        write(grader.journal.folder / CHECKED, json.dumps(passed, indent=1) + "\n")
    lines = listed([shortfall for short, _ in results.values() for shortfall in short])
    if lines:
        what = "the instructor's own solution does not get all points, so nothing was graded:"
        fix = "`python -m autograder check-course DIR` tries again; --skip-check grades all the same."
        raise ConfigError("\n  ".join([what, *lines]), fix=fix)
    return {name: passed[name]["uses"] for name in keys}


def _read(journal: Journal) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads((journal.folder / CHECKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = known if isinstance(known, dict) else {}
    return {name: facts for name, facts in known.items() if isinstance(facts, dict) and "uses" in facts}


def _key(plan: Plan, grader: Grader) -> str:
    """Changes with everything that a solution's marks depend on."""
    solutions = [cell.solution for notebook in plan.notebooks for cell in notebook.cells]
    facts = [plan.digest, solutions, VERSION, versions(), grader.limits.plain()]
    return hashlib.sha256(json.dumps([*facts, grader.sandbox.isolation]).encode()).hexdigest()
