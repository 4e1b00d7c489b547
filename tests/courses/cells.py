"""How a course is described: notebooks as lists of cells, students as answers by grade id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import dedent

from nbformat import NotebookNode

SOLVED = "### BEGIN SOLUTION\n{}\n### END SOLUTION"
MODEL = object()  # an answer that is the instructor's own


@dataclass(frozen=True)
class Cell:
    """One cell of the instructor's notebook; without a grade id it belongs to nobody."""

    source: str
    grade_id: str = ""
    cell_type: str = "code"
    points: float | None = None
    grade: bool = False
    solution: bool = False
    locked: bool = False
    task: bool = False

    def metadata(self) -> dict:
        if not self.grade_id:
            return {}
        kept = {name: getattr(self, name) for name in ("grade", "solution", "locked", "task", "grade_id")}
        points = {} if self.points is None else {"points": self.points}
        return {"nbgrader": {**kept, **points, "schema_version": 3, "cell_type": self.cell_type}}


@dataclass
class Student:
    """What a student hands in."""

    answers: dict[str, object] = field(default_factory=dict)  # by grade id; what is missing stays blank
    files: dict[str, str] = field(default_factory=dict)  # ASSIGNMENT/FILE: text
    before: dict[str, str] = field(default_factory=dict)  # the student's own cell before that grade id
    after: dict[str, str] = field(default_factory=dict)  # ... after it
    late: dict[str, str] = field(default_factory=dict)  # ASSIGNMENT: text of timestamp.txt
    absent: tuple[str, ...] = ()  # ASSIGNMENT or ASSIGNMENT/NOTEBOOK that is not handed in
    edit: Callable[[NotebookNode], None] | None = None  # what else was done to each notebook
    twin: str = ""  # who answered the same in whole, quiet notebooks: stock trips over damage and noise


@dataclass
class Course:
    """A course and who takes it."""

    notebooks: dict[str, list[Cell]]  # ASSIGNMENT/NOTEBOOK: cells
    students: dict[str, Student]
    files: dict[str, str] = field(default_factory=dict)  # path below the course: text
    config: str = ""
    due: dict[str, str] = field(default_factory=dict)  # ASSIGNMENT: due date
    example: str = ""  # the source is nbgrader's example of this name, and none of ours


def clean(source: str) -> str:
    return dedent(source).strip("\n")


def text(source: str) -> Cell:
    return Cell(clean(source), cell_type="markdown")


def plain(source: str) -> Cell:
    """A cell that nbgrader knows nothing of."""
    return Cell(clean(source))


def locked(grade_id: str, source: str, cell_type: str = "code") -> Cell:
    return Cell(clean(source), grade_id, cell_type, locked=True)


def answer(grade_id: str, source: str) -> Cell:
    """A cell for the answer; without marks of its own, all of it is the solution."""
    source = clean(source)
    return Cell(source if "BEGIN SOLUTION" in source else SOLVED.format(source), grade_id, solution=True)


def test(grade_id: str, points: float, source: str) -> Cell:
    return Cell(clean(source), grade_id, points=points, grade=True, locked=True)


def essay(grade_id: str, points: float, source: str) -> Cell:
    return Cell(SOLVED.format(clean(source)), grade_id, "markdown", points, grade=True, solution=True)


def code_by_hand(grade_id: str, points: float, source: str) -> Cell:
    """Code that a person marks."""
    return Cell(SOLVED.format(clean(source)), grade_id, points=points, grade=True, solution=True)


def task(grade_id: str, points: float, source: str) -> Cell:
    return Cell(clean(source), grade_id, "markdown", points, locked=True, task=True)
