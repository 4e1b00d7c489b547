"""Write the courses and what stock nbgrader gives for them: ``python -m tests.courses.build [NAME ...]``.

Each ``NAME/description.py`` holds a ``COURSE``. From it are written ``source/``, ``submitted/`` (made from
the real release) and ``stock.json``, the marks in the gradebook after ``nbgrader autograde``.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import nbgrader as installed
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions, ComputeChecksums, LockCells
from nbgrader.utils import parse_utc

from tests.courses.cells import MODEL, Cell, Course, Student, clean

HERE = Path(__file__).parent
EXAMPLE = Path(installed.__file__).parent / "docs" / "source" / "user_guide"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def names() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/description.py"))


def described(name: str) -> Course:
    return importlib.import_module(f"tests.courses.{name}.description").COURSE


def write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def node(cell: Cell, number: int) -> nbformat.NotebookNode:
    make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[cell.cell_type]
    return make(cell.source, id=f"cell-{number}", metadata=cell.metadata())


def notebook(cells: list[Cell]) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(
        cells=[node(cell, number) for number, cell in enumerate(cells)], metadata=KERNEL
    )


def write_notebook(made: nbformat.NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)


def write_example(course: Course, folder: Path) -> None:
    """Write nbgrader's own example as `nbgrader quickstart` does, and what the students hand in for it.

    Neither is kept in this repository: the text is nbgrader's.
    """
    shutil.copytree(EXAMPLE / "source" / course.example, folder / "source" / "ps1")
    shutil.copy(EXAMPLE / "source" / "header.ipynb", folder / "source")
    if course.example == "ps1_autotest":
        shutil.copy(EXAMPLE / "autotests.yml", folder)
    config = 'c = get_config()\nc.IncludeHeaderFooter.header = "source/header.ipynb"\n'
    write_text(folder / "nbgrader_config.py", config + f'c.CourseDirectory.course_id = "{folder.name}"\n')
    for path in sorted((folder / "source" / "ps1").glob("*.ipynb")):
        made = nbformat.read(path, 4)
        model = {graded(cell): Cell(cell.source) for cell in made.cells}
        for step in (LockCells, ClearSolutions, ClearHiddenTests, ComputeChecksums):
            made, _ = step().preprocess(made, {})
        for name, student in course.students.items():
            filled = deepcopy(made)
            fill(filled, student, model)
            write_notebook(filled, folder / "submitted" / name / "ps1" / path.name)


def write_course(course: Course, folder: Path) -> None:
    """Write the instructor's side of a course."""
    for name in ("source", "submitted", "release", "nbgrader_config.py"):
        old = folder / name
        if old.exists():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, cells in course.notebooks.items():
        write_notebook(notebook(cells), folder / "source" / f"{name}.ipynb")
    for name, content in course.files.items():
        write_text(folder / name, clean(content) + "\n")
    if course.config:
        write_text(folder / "nbgrader_config.py", "c = get_config()  # noqa\n" + clean(course.config) + "\n")


PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def nbgrader(folder: Path, *options: str) -> None:
    """Run stock nbgrader; that single submissions fail is part of what it gives."""
    environment = {**os.environ, "PATH": PATH, "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "nbgrader", *options]
    ran = subprocess.run(call, cwd=folder, capture_output=True, text=True, env=environment)
    if ran.returncode:
        print(ran.stderr[-3000:])


@contextmanager
def gradebook(folder: Path) -> Iterator[Gradebook]:
    """The open gradebook of a course; nbgrader calls `alembic` to make one that is not there."""
    with patch.dict(os.environ, PATH=PATH), Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        yield book


def set_due_dates(folder: Path, due: dict[str, str]) -> None:
    """Give the assignments of the gradebook their due dates."""
    if not due:
        return
    with gradebook(folder) as book:
        for assignment, date in due.items():
            book.update_or_create_assignment(assignment, duedate=parse_utc(date))


def graded(cell: nbformat.NotebookNode) -> str:
    """The grade id of a cell, or ""."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def solved(cell: Cell) -> str:
    """The instructor's answer without its marks."""
    return "\n".join(line for line in cell.source.split("\n") if not line.strip().startswith("### "))


def fill(made: nbformat.NotebookNode, student: Student, model: dict[str, Cell]) -> None:
    """Fill a student's answers into a released notebook, in place."""
    cells = []
    for cell in made.cells:
        grade_id = graded(cell)
        given = student.answers.get(grade_id)
        if given is not None:
            cell.source = solved(model[grade_id]) if given is MODEL else clean(given)
        extra = [where.get(grade_id) for where in (student.before, student.after)]
        own = [
            code and nbformat.v4.new_code_cell(clean(code), id=f"own-{len(cells)}-{at}")
            for at, code in enumerate(extra)
        ]
        cells += [new for new in (own[0], cell, own[1]) if new]
    made.cells = cells
    if student.edit:
        student.edit(made)


def hand_in(course: Course, name: str, released: Path, folder: Path) -> None:
    """Write one student's folder."""
    student = course.students[name]
    for path in (path for path in course.notebooks if not {path, path.split("/")[0]} & set(student.absent)):
        made = nbformat.read(released / f"{path}.ipynb", 4)
        fill(made, student, {cell.grade_id: cell for cell in course.notebooks[path]})
        write_notebook(made, folder / name / f"{path}.ipynb")
    for path, content in student.files.items():
        write_text(folder / name / path, clean(content) + "\n")
    for assignment, date in student.late.items():
        write_text(folder / name / assignment / "timestamp.txt", date)


def marks(folder: Path) -> dict[str, Any]:
    """The gradebook as data: scores, penalties above zero, cells that a person has to mark."""
    scores: dict[str, Any] = {}
    late: dict[str, Any] = {}
    by_hand: dict[str, Any] = {}
    with gradebook(folder) as book:
        handed_in = [work for assignment in book.assignments for work in assignment.submissions]
        for work in sorted(handed_in, key=lambda work: (work.student.id, work.assignment.name)):
            grades = {f"{part.name}/{grade.name}": grade for part in work.notebooks for grade in part.grades}
            student, assignment = work.student.id, work.assignment.name
            scores.setdefault(student, {})[assignment] = {
                name: grade.auto_score for name, grade in sorted(grades.items())
            }
            if work.late_submission_penalty:
                late.setdefault(student, {})[assignment] = work.late_submission_penalty
            if waiting := sorted(name for name, grade in grades.items() if grade.needs_manual_grade):
                by_hand.setdefault(student, {})[assignment] = waiting
    return {"scores": scores, "late": late, "by_hand": by_hand}


def autograde(work: Path, course: Course, name: str) -> dict[str, Any]:
    """Release and grade a course by stock nbgrader; return the marks."""
    assignments = sorted({path.split("/")[0] for path in course.notebooks}) or ["ps1"]
    for assignment in assignments:
        nbgrader(work, "generate_assignment", assignment, "--create")
    set_due_dates(work, course.due)
    if not course.example:
        for student in course.students:
            hand_in(course, student, work / "release", HERE / name / "submitted")
        shutil.copytree(HERE / name / "submitted", work / "submitted")
    for assignment in assignments:
        nbgrader(work, "autograde", assignment)
    return {"due": course.due, **marks(work)}


def build(name: str) -> dict[str, Any]:
    """Write a course anew and return what stock nbgrader gives for it."""
    course = described(name)
    if not course.example:
        write_course(course, HERE / name)
    with tempfile.TemporaryDirectory() as temporary:
        write_copy(name, Path(temporary) / name)
        stock = autograde(Path(temporary) / name, course, name)
    (HERE / name / "stock.json").write_text(json.dumps(stock, indent=1, sort_keys=True) + "\n")
    return stock


def write_copy(name: str, target: Path) -> None:
    """Write what an instructor's course folder holds, and nothing that tells the right marks."""
    if (course := described(name)).example:
        write_example(course, target)
        return
    hidden = shutil.ignore_patterns("description.py", "stock.json", "refused.json", "__pycache__")
    shutil.copytree(HERE / name, target, ignore=hidden)


if __name__ == "__main__":
    for name in sys.argv[1:] or names():
        print(name, json.dumps(build(name)["scores"], indent=1))
