"""Marks for other programs: nbgrader's columns, Canvas's import of a gradebook, Moodle's grading worksheet.

What the systems read, by their own sources. Canvas (`lib/gradebook_importer.rb`): the columns Student, ID,
SIS User ID, SIS Login ID, Section, then one for each assignment, "NAME (NUMBER)" for one that exists; a row
with "Points Possible" in its first cell; a student by ID, else by SIS ids, else by name; an empty cell for no
mark. Moodle (`mod/assign/feedback/offline/importgradeslib.php`): the columns Identifier ("Participant 7"),
Grade and Last modified (grade) must be there; an empty grade is passed over, one above the maximum refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, Student, SubmittedAssignment

from autograder.grading import roster
from autograder.grading.book import write
from autograder.grading.roster import Person, Roster

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)
MARKUP = re.compile(r"""[<>&"`{}\\$\x00-\x1f\x7f-\x9f]+""")
"""What no name needs. People choose their names in some platforms, and formgrader takes names for HTML."""
CANVAS_COLUMNS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
MOODLE_COLUMNS = (
    "Identifier",
    "Full name",
    "Email address",
    "Status",
    "Grade",
    "Maximum Grade",
    "Grade can be changed",
    "Last modified (submission)",
    "Last modified (grade)",
    "Feedback comments",
)


@dataclass
class Marks:
    """What the gradebook holds, as far as files for other programs need it.

    scores: (score after penalties, most) by student and assignment. numbers: the platform and its number for
    a student, by student and assignment, as the names of his files carried them. warnings: sentences.
    """

    scores: dict[tuple[str, str], tuple[float, float]]
    students: Mapping[str, Student]
    numbers: Mapping[tuple[str, str], tuple[str, str]]
    people: dict[str, Person] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def assignments(self) -> list[str]:
        """Names of all assignments of which there are submissions."""
        return sorted({assignment for _, assignment in self.scores})

    def number(self, student: str, platform: str, assignment: str = "") -> str:
        """A platform's number for a student, in one assignment or, if none is named, in any."""
        for (owner, name), (where, number) in self.numbers.items():
            if owner == student and where == platform and assignment in ("", name):
                return number
        return ""


def export(
    root: Path,
    gradebook: Gradebook,
    records: Sequence[Mapping[str, Any]],
    listed: Roster | None = None,
    now: Sequence[str] = (),
) -> tuple[list[Path], list[str]]:
    """Write results.csv, canvas.csv and, for Moodle, moodle.csv; their paths, and what a person has to know.

    Args:
        root: the folder that gets them.
        gradebook: names and e-mail addresses that the roster has and it lacks are added to it.
        records: the journal, for the numbers that platforms gave to students.
        listed: the class list; students without a submission get an empty mark.
        now: names of the assignments that are graded in this run, one of which a worksheet is of.
    """
    submissions = gradebook.db.query(SubmittedAssignment).all()
    scores = {(s.student_id, s.assignment.name): (_score(s), s.max_score) for s in submissions}
    numbers = {(r["student"], r["assignment"]): (r.get("platform", ""), r.get("number", "")) for r in records}
    marks = Marks(scores, {s.student_id: s.student for s in submissions}, numbers)
    if listed is not None:
        _enlist(gradebook, marks, listed)
    tables = {
        "results.csv": [COLUMNS, *sorted([_cell_text(v) for v in _result(s)] for s in submissions)],
        "canvas.csv": canvas(marks, listed),
    }
    worksheet = moodle(marks, listed, now)
    if worksheet:
        tables["moodle.csv"] = worksheet
    for name, table in tables.items():
        _write_csv(root / name, table)
    return [root / name for name in tables], marks.warnings


def _score(submission: SubmittedAssignment) -> float:
    return max(0.0, submission.score - _penalty(submission))


def _penalty(submission: SubmittedAssignment) -> float:
    return sum(n.late_submission_penalty or 0.0 for n in submission.notebooks)


def _result(submission: SubmittedAssignment) -> tuple[Any, ...]:
    """A row in the columns of `nbgrader export`."""
    student, assignment = submission.student, submission.assignment
    front = (assignment.name, assignment.duedate, submission.timestamp, student.id, student.last_name)
    points = (submission.score, _penalty(submission), _score(submission), submission.max_score)
    return (*front, student.first_name, student.email, *points)


def _enlist(gradebook: Gradebook, marks: Marks, listed: Roster) -> None:
    """Find the students in the class list, and add to the gradebook what it does not know of them."""
    platforms = (listed.kind,) if listed.kind != roster.PLAIN else (roster.CANVAS, "Brightspace")
    numbers = {s: next(filter(None, (marks.number(s, p) for p in platforms)), "") for s in marks.students}
    marks.people = listed.match(numbers)
    for student in sorted(marks.students.keys() - marks.people.keys()):
        who = f"{student} is not in the roster, or fits several of its people"
        marks.warnings.append(f"{who}: last in canvas.csv, not in moodle.csv.")
    for student, person in marks.people.items():
        _fill(marks.students[student], person, listed.kind)
    for person in listed.people if listed.kind == roster.PLAIN else ():
        if gradebook.db.get(Student, person.cells["id"]) is None:
            known = Student(id=person.cells["id"])
            _fill(known, person, listed.kind)
            gradebook.db.add(known)
    gradebook.db.commit()
    absent = len(listed.people) - len(marks.people)
    if absent:
        marks.warnings.append(f"{absent} of the roster handed in nothing; their marks are empty, not 0.")


def _fill(known: Student, person: Person, kind: str) -> None:
    """Add names, address and number where there are none; Moodle's numbers are of one assignment alone."""
    for name in ("first_name", "last_name", "email"):
        if not getattr(known, name) and getattr(person, name):
            setattr(known, name, MARKUP.sub(" ", getattr(person, name)).strip()[:128])
    if not known.lms_user_id and person.number and kind != roster.MOODLE:
        known.lms_user_id = person.number[:128]


# Canvas -----------------------------------------------------------------------------------------------------


def canvas(marks: Marks, listed: Roster | None = None) -> list[list[str]]:
    """The rows of a file for Canvas's import of a gradebook; absent students have empty cells."""
    names = marks.assignments
    titles = [_canvas_title(name, listed) for name in names]
    most = [max(m for (_, a), (_, m) in marks.scores.items() if a == name) for name in names]
    rows = [[*CANVAS_COLUMNS, *titles], ["    Points Possible", "", "", "", "", *map(number_text, most)]]
    if listed and listed.kind == roster.CANVAS:
        marks.warnings += _canvas_differs(titles, most, listed)
    students = {id(person): student for student, person in marks.people.items()}
    for person in listed.people if listed else ():
        rows.append([*_canvas_person(person, listed), *_scores(marks, students.get(id(person), ""), names)])
    for student in sorted(marks.students.keys() - marks.people.keys()):
        rows.append([*_canvas_student(marks, student), *_scores(marks, student, names)])
    return rows


def _canvas_title(name: str, listed: Roster | None) -> str:
    """The column of an assignment: the one of Canvas's own export, which has a number, where there is one."""
    for column in listed.header if listed and listed.kind == roster.CANVAS else ():
        if re.sub(r" \(\d+\)$", "", column).casefold() == name.casefold():
            return column
    return name


def _canvas_differs(titles: Sequence[str], most: Sequence[float], listed: Roster) -> list[str]:
    """Sentences on what the import would make new or change in Canvas."""
    texts = []
    for title, points in zip(titles, most, strict=True):
        known = listed.possible.get(title, "").replace(",", ".")
        if title not in listed.header:
            texts.append(f"Canvas's export has no column {title!r}: the import would make a new assignment.")
        elif re.fullmatch(r"\s*\d+(\.\d+)?\s*", known) and abs(float(known) - points) > 1e-9:
            texts.append(f"{title}: {known} points in Canvas, {points:g} here; the import changes Canvas's.")
    return texts


def _canvas_person(person: Person, listed: Roster) -> list[str]:
    cells = person.cells
    if listed.kind == roster.CANVAS:
        ids = [person.number, cells.get("sis user id", ""), cells.get("sis login id", ""), cells["section"]]
    else:
        ids = [person.number if listed.kind == roster.PLAIN else "", "", cells.get("id", ""), ""]
    return [_canvas_name(person.name or cells.get("id", "")), *map(_cell_text, ids)]


def _canvas_student(marks: Marks, student: str) -> list[str]:
    known, number = marks.students[student], marks.number(student, roster.CANVAS)
    number = number if number.isdigit() else known.lms_user_id or ""
    name = ", ".join(part for part in (known.last_name, known.first_name) if part)
    numbered = any(owner == student and platform for (owner, _), (platform, _) in marks.numbers.items())
    login = "" if numbered else student
    return [_canvas_name(name or student), _cell_text(number), "", _cell_text(login), ""]


def _canvas_name(name: str) -> str:
    """A name that Canvas does not take for the row of points."""
    return _cell_text(name.replace("Points Possible", "Points possible"))


def _scores(marks: Marks, student: str, names: Sequence[str]) -> list[str]:
    return [number_text(marks.scores[student, n][0]) if (student, n) in marks.scores else "" for n in names]


# Moodle -----------------------------------------------------------------------------------------------------


def moodle(marks: Marks, listed: Roster | None, now: Sequence[str]) -> list[list[str]]:
    """The rows of Moodle's grading worksheet with its grades filled in, or [] where nothing is of Moodle."""
    wanted = [name for name in now or marks.assignments if name in marks.assignments]
    if listed is None or listed.kind != roster.MOODLE:
        return _moodle_alone(marks, wanted)
    if len(wanted) != 1:
        marks.warnings.append("A worksheet of Moodle is of one assignment: name it with --assignment.")
        return []
    students = {id(person): student for student, person in marks.people.items()}
    low = [column.casefold() for column in listed.header]
    rows, scaled = [list(listed.header)], False
    for person in listed.people:
        score = marks.scores.get((students.get(id(person), ""), wanted[0]))
        cells = dict(person.cells)
        if score is not None:
            cells["grade"], other = _moodle_grade(*score, cells.get("maximum grade", ""))
            scaled = scaled or other
        rows.append([_cell_text(cells.get(column, "")) for column in low])
    if scaled:
        marks.warnings.append("Moodle's maximum grade is not the notebooks'; grades were scaled to it.")
    return rows


def _moodle_grade(score: float, most: float, maximum: str) -> tuple[str, bool]:
    """A grade out of Moodle's maximum with its decimal sign, and whether it had to be scaled.

    >>> _moodle_grade(3.0, 4.0, "100,00"), _moodle_grade(3.0, 4.0, "4.00"), _moodle_grade(3.0, 4.0, "")
    (('75,00', True), ('3.00', False), ('3.00', False))
    """
    try:
        target = float(maximum.replace(",", "."))
    except ValueError:
        target = most
    scaled = most > 0 and target > 0 and abs(target - most) > 1e-9
    grade = f"{min(score * target / most, target) if scaled else score:.2f}"
    return grade.replace(".", ",") if "," in maximum else grade, scaled


def _moodle_alone(marks: Marks, wanted: Sequence[str]) -> list[list[str]]:
    """A worksheet from the numbers that the names of files carried, for the one assignment that has such."""
    names = [name for name in wanted if any(marks.number(s, roster.MOODLE, name) for s in marks.students)]
    if len(names) != 1:
        return []
    rows = [list(MOODLE_COLUMNS)]
    for student in sorted(marks.students):
        number = marks.number(student, roster.MOODLE, names[0])
        if number and (student, names[0]) in marks.scores:
            score, most = marks.scores[student, names[0]]
            known = marks.students[student]
            name = f"{known.first_name or ''} {known.last_name or ''}".strip()
            name = name or student.removesuffix(f"_{number}")
            front = [f"Participant {number}", name, known.email or "", "Submitted for grading"]
            rows.append([*map(_cell_text, front), f"{score:.2f}", f"{most:.2f}", "Yes", "-", "-", ""])
    return rows


# Cells ------------------------------------------------------------------------------------------------------


def number_text(value: float) -> str:
    """A number of points with at most four decimals and always a point.

    >>> number_text(6.0), number_text(1 / 3)
    ('6.0', '0.3333')
    """
    return str(round(float(value), 4))


def _cell_text(value: Any) -> str:
    """A value for a spreadsheet, which would take a text that begins with = + - @ for a formula."""
    text = re.sub(r"[\x00-\x1f\x7f]+", " ", "" if value is None else str(value))
    begin = text.lstrip()
    number = re.fullmatch(r"-(\d+([.,]\d+)?)?", begin) is not None
    formula = begin[:1] in ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20") and not number
    return f"'{text}" if formula else text


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write(path, buffer.getvalue())
