"""Other instructors' courses: the grader gives the marks of stock nbgrader, or refuses and names the cell.

`tests/courses/NAME/stock.json` holds what stock nbgrader gave;
`python -m tests.courses.build NAME` writes it anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytest.importorskip("nbgrader")

from tests.courses.build import (
    HERE,
    described,
    graded,
    marks,
    names,
    set_due_dates,
    write_copy,
    write_notebook,
)
from tests.grading import grade, needs_walls

pytestmark = needs_walls


PARTS = ("scores", "late", "by_hand")


def flat(part: dict[str, Any]) -> dict[str, Any]:
    """STUDENT/ASSIGNMENT/NOTEBOOK/CELL to score; STUDENT/ASSIGNMENT to what is not by cell."""
    works = {f"{student}/{name}": work for student, works in part.items() for name, work in works.items()}
    cells = {
        f"{key}/{cell}": mark
        for key, work in works.items()
        if isinstance(work, dict)
        for cell, mark in work.items()
    }
    return {key: work for key, work in works.items() if not isinstance(work, dict)} | cells


def differences(stock: dict[str, Any], ours: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not the same, as (stock's, ours); "absent" where there is no such mark."""
    pairs = [(part, flat(stock[part]), flat(ours[part])) for part in PARTS]
    return {
        f"{part} {key}": (theirs.get(key, "absent"), mine.get(key, "absent"))
        for part, theirs, mine in pairs
        for key in sorted(theirs.keys() | mine.keys())
        if theirs.get(key, "absent") != mine.get(key, "absent")
    }


def refused_cells(course: Path) -> set[str]:
    """ASSIGNMENT/NOTEBOOK/CELL that the grader may refuse, as the course declares with its reasons."""
    declared = course / "refused.json"
    return set(json.loads(declared.read_text())) if declared.exists() else set()


def named_cells(stock: dict[str, Any], assignments: set[str], told: str) -> set[str]:
    """The graded cells, as ASSIGNMENT/NOTEBOOK/CELL, whose ids stand in what the grader said."""
    cells = {key.split("/", 1)[1] for key in flat(stock["scores"])}
    return {
        cell
        for cell in cells
        if cell.split("/")[0] in assignments and re.search(rf"\b{re.escape(cell.split('/')[-1])}\b", told)
    }


def without(stock: dict[str, Any], refused: set[str]) -> dict[str, Any]:
    """Stock's marks without these assignments."""
    return {
        part: {
            student: {name: marks for name, marks in work.items() if name not in refused}
            for student, work in stock[part].items()
            if work.keys() - refused
        }
        for part in PARTS
    }


def mended(stock: dict[str, Any], ours: dict[str, Any], twins: dict[str, str]) -> dict[str, Any]:
    """Stock's marks; for a damaged submission its undamaged twin's, where the grader gave just these."""
    taken = {name: twin for name, twin in twins.items() if ours["scores"].get(name) == stock["scores"][twin]}
    return {
        part: {
            name: stock[part][taken.get(name, name)]
            for name in {*stock[part], *taken}
            if taken.get(name, name) in stock[part]
        }
        for part in PARTS
    }


def without_unread(stock: dict[str, Any], ours: dict[str, Any], told: str) -> dict[str, Any]:
    """Our marks without students whose folder holds no notebook: stock lists none, here all are 0."""
    more = ours["scores"].keys() - stock["scores"].keys()
    none = {
        name
        for name in more
        if name in told and not any(mark for work in ours["scores"][name].values() for mark in work.values())
    }
    return {part: {name: work for name, work in ours[part].items() if name not in none} for part in PARTS}


def trust_inside(course: Path, cells: set[str]) -> None:
    """Do what a refusal advises: let these cells be judged in the student's process."""
    for path in course.glob("source/*/*.ipynb"):
        made = nbformat.read(path, 4)
        for cell in made.cells:
            if f"{path.parent.name}/{path.stem}/{graded(cell)}" in cells:
                cell.source = "# trust: inside\n" + cell.source
        write_notebook(made, path)


def check_refusal(stock: dict[str, Any], refused: set[str], may_refuse: set[str], told: str) -> None:
    """A refusal names cells, and none that the course does not declare."""
    named = named_cells(stock, refused, told)
    assert named, f"{refused} without marks, and no cell is named\n{told}"
    assert named <= may_refuse, f"refused, undeclared: {named - may_refuse}\n{told}"


def compare(course: Path, stock: dict[str, Any], twins: dict[str, str], may_refuse: set[str]) -> set[str]:
    """Grade the course in a folder and hold its marks to stock's; return the assignments it refused."""
    run = grade(course)
    told, ours = run.stdout + run.stderr, marks(course)
    assert "Traceback" not in told, told
    stock = mended(stock, ours, twins)
    marked = {name for work in ours["scores"].values() for name in work}
    refused = {name for work in stock["scores"].values() for name in work} - marked
    if refused:
        assert run.returncode, f"{refused} without marks, and no refusal\n{told}"
        check_refusal(stock, refused, may_refuse, told)
    wrong = differences(without(stock, refused), without_unread(stock, ours, told))
    table = "\n".join(f"{key}: stock {theirs}, grader {mine}" for key, (theirs, mine) in wrong.items())
    assert not wrong, f"{len(wrong)} differences\n{table}\n{told}"
    return refused


# Each course costs some five processor seconds. All of them: pytest -m "" tests/test_any_course.py
SAMPLE = {
    "quickstart": [],
    **dict.fromkeys(("statistics", "first_year", "objects", "files", "kinds"), [pytest.mark.long]),
}
"""What `make test` and, with a mark, `make test-all` grades; the others are graded with `pytest -m slow`."""
COURSES = [pytest.param(name, marks=SAMPLE.get(name, [pytest.mark.slow]), id=name) for name in names()]


@pytest.mark.parametrize("name", COURSES)
def test_a_course_gets_the_marks_of_stock_nbgrader(name: str, tmp_path: Path, record_property: Any):
    course, may_refuse = tmp_path / name, refused_cells(HERE / name)
    write_copy(name, course)
    stock = json.loads((HERE / name / "stock.json").read_text())
    set_due_dates(course, stock["due"])
    twins = {student: made.twin for student, made in described(name).students.items() if made.twin}
    refused = compare(course, stock, twins, may_refuse)
    record_property("refused", sorted(refused))
    if refused:
        trust_inside(course, may_refuse)
        assert not compare(course, stock, twins, set())
