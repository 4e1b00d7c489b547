"""Support of the grading tests: a course in a folder, a run of the grader, the gradebook as data."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests import hostile

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("--cell-seconds", "3", "--total-seconds", "10")


def walls() -> str:
    """Why there are no walls on this machine, or ""."""
    from autograder.grading.sandbox import bubblewrap_works

    return bubblewrap_works()


needs_walls = pytest.mark.skipif(bool(walls()), reason=f"bubblewrap {walls()}")


def needs_bubblewrap() -> None:
    """Skip the test that calls this where there is no sandbox."""
    if why := walls():
        pytest.skip(f"bubblewrap {why}")


def command(course: Path, *options: str, submissions: Path | None = None) -> list[str]:
    """The grader's command line."""
    where = submissions or course / "submitted"
    return [sys.executable, "-m", "autograder", "grade", str(where), "--course", str(course), *options]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def grade(
    course: Path, *options: str, submissions: Path | None = None, **more: str
) -> subprocess.CompletedProcess:
    """Run the grader to its end."""
    call = command(course, *options, submissions=submissions)
    return subprocess.run(
        call, capture_output=True, text=True, env=environment(**more), cwd=course, timeout=550
    )


def course(root: Path, *attacks: hostile.Attack) -> Path:
    """A course with these submissions."""
    hostile.write_course(root)
    for attack in attacks:
        attack.write(root / "submitted")
    return root


def records(course: Path, assignment: str = "hw") -> dict[str, dict[str, Any]]:
    """The journal by student."""
    found = (course / ".grading" / assignment).glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in found}


def answer(name: str, text: str, points: float | None = None, kind: str = "code") -> dict[str, Any]:
    """A cell of the student's; with points it is graded by hand."""
    return _cell(kind, text, name, points, solution=True)


def check_cell(name: str, text: str, points: float = 1.0) -> dict[str, Any]:
    return _cell("code", text, name, points, solution=False)


def plain(text: str, kind: str = "code") -> dict[str, Any]:
    return _cell(kind, text)


def _cell(
    kind: str, text: str, name: str = "", points: float | None = None, *, solution: bool = False
) -> Any:
    make = {"code": new_code_cell, "markdown": new_markdown_cell}[kind]
    if not name:
        return make(text, id=f"cell-{zlib.crc32(text.encode()):x}")
    known = {"grade_id": name, "schema_version": 3, "solution": solution, "grade": points is not None}
    known |= {"locked": not solution, "task": False} | ({} if points is None else {"points": points})
    return make(text, id=name, metadata={"nbgrader": known})


def write_source(
    root: Path, *cells: Any, assignment: str = "hw", notebook: str = "hw", config: str = ""
) -> Path:
    """An instructor's notebook in a course directory."""
    folder = root / "source" / assignment
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{notebook}.ipynb")
    (root / "nbgrader_config.py").write_text(f"c = get_config()\n{config}", encoding="utf-8")
    return root


def hand_in(root: Path, student: str, *cells: Any, assignment: str = "hw", notebook: str = "hw") -> Path:
    """A student's notebook, with the cells that are given."""
    folder = root / "submitted" / student / assignment
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{notebook}.ipynb")
    return folder


GRADES = """
select submitted_assignment.student_id, notebook.name, base_cell.name, grade.auto_score, grade.manual_score,
       grade.extra_credit, grade.needs_manual_grade
from grade join submitted_notebook on grade.notebook_id = submitted_notebook.id
join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id
join notebook on submitted_notebook.notebook_id = notebook.id join base_cell on grade.cell_id = base_cell.id
order by 1, 2, 3
"""
COMMENTS = """
select submitted_assignment.student_id, base_cell.name, comment.auto_comment, comment.manual_comment
from comment join submitted_notebook on comment.notebook_id = submitted_notebook.id
join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id
join base_cell on comment.cell_id = base_cell.id order by 1, 2
"""


def gradebook(course: Path) -> list[Any]:
    """All grades and comments, without ids and times."""
    with sqlite3.connect(course / "gradebook.db") as base:
        return [base.execute(query).fetchall() for query in (GRADES, COMMENTS)]


def left_processes(course: Path) -> list[str]:
    """Processes of this course's grader, or of a submission to it, that still run."""
    from autograder.grading.sandbox import label_of

    lines, label = [], label_of(course)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            lines += [f"{path.parent.name} {words}"] if label in words else []
    return sorted(lines, key=lambda line: int(line.split()[0]))
