"""Who is in a class: a list from a learning platform, known by its header, and whose a submission is."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.grading.intake import Submission
from rslib.errors import DataError

MAX_BYTES = 20 << 20
CANVAS, MOODLE, PLAIN = "Canvas", "Moodle", "plain"
NEEDED = {
    CANVAS: ("id", "section"),
    MOODLE: ("identifier", "grade", "last modified (grade)"),
    PLAIN: ("id",),
}
"""Columns by which a list is known, the first that fits."""
FIX = (
    "Give a gradebook that Canvas exported, a grading worksheet that Moodle gave out in English, or a CSV "
    "with the columns id, first_name, last_name, email, lms_user_id of `nbgrader db student import`."
)


@dataclass(frozen=True)
class Person:
    """A row of the list. number: the platform's, as downloads carry it. cells: by header in lower case."""

    name: str
    number: str
    cells: Mapping[str, str]
    first_name: str = ""
    last_name: str = ""
    email: str = ""

    def ids(self) -> Iterator[str]:
        """Everything that may be this person's id in a submitted/ tree."""
        for column in (
            "id",
            "sis login id",
            "sis user id",
            "id number",
            "username",
            "email address",
            "email",
        ):
            if self.cells.get(column):
                yield self.cells[column]


@dataclass(frozen=True)
class Roster:
    """A class list: its kind, its header, its people in their order. possible: points by Canvas's column."""

    kind: str
    header: tuple[str, ...]
    people: tuple[Person, ...]
    possible: Mapping[str, str] = field(default_factory=dict)

    def match(self, numbers: Mapping[str, str]) -> dict[str, Person]:
        """Whom each student is, where it is beyond doubt. numbers: the platform's, or "", by student's id."""
        by_number = _unique((p.number, p) for p in self.people)
        by_id = _unique((text.casefold(), p) for p in self.people for text in p.ids())
        by_mail = _unique((p.email.partition("@")[0].casefold(), p) for p in self.people if "@" in p.email)
        people: dict[str, Person] = {}
        for student, number in numbers.items():
            name = student.casefold()
            person = by_number.get(number) or by_id.get(name) or by_mail.get(name)
            if person is not None:
                people[student] = person
        times = [id(person) for person in people.values()]
        return {student: person for student, person in people.items() if times.count(id(person)) == 1}


def _unique(pairs: Iterable[tuple[str, Person]]) -> dict[str, Person]:
    """By key, where the key belongs to one person."""
    owners: dict[str, list[Person]] = {}
    for key, person in pairs:
        if key and person not in owners.setdefault(key, []):
            owners[key].append(person)
    return {key: some[0] for key, some in owners.items() if len(some) == 1}


def settle(
    submissions: Sequence[Submission],
    records: Iterable[Mapping[str, Any]],
    listed: Roster | None,
    mails: Mapping[str, str],
) -> list[str]:
    """Give a person who was graded before his old id; sentences on those to whom that happened.

    A platform's number stays when a name changes. Moodle's number is of one assignment, so that there a
    worksheet's e-mail address tells who it is. mails: addresses by student in the gradebook.
    """
    known = {}
    for record in records:
        if record.get("number"):
            scope = record["assignment"] if record["platform"] == MOODLE else ""
            known[record["platform"], scope, record["number"]] = record["student"]
    by_mail = {mail.casefold(): student for student, mail in mails.items()}
    people = {p.number: p for p in listed.people} if listed and listed.kind == MOODLE else {}
    taken = {(submission.student, submission.assignment) for submission in submissions}
    warnings = []
    for submission in submissions:
        moodle = submission.platform == MOODLE
        scope = submission.assignment if moodle else ""
        student = known.get((submission.platform, scope, submission.number))  # none is kept under ""
        if student is None and moodle and submission.number in people:
            student = by_mail.get(people[submission.number].email.casefold())
        if student not in (None, submission.student) and (student, submission.assignment) not in taken:
            warnings.append(f"{submission.student} is {student}, who was graded before.")
            taken.add((student, submission.assignment))
            submission.student = student
    return warnings


def read(path: Path) -> Roster:
    """The class list in a file. Raises DataError, which says what is known."""
    try:
        content = path.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise DataError(f"the roster cannot be read: {error.strerror}", where=str(path), fix=FIX) from error
    if len(content) > MAX_BYTES:
        raise DataError(f"the roster is larger than {MAX_BYTES >> 20} MB", where=str(path), fix=FIX)
    text = _decoded(content)
    first = text.splitlines()[0] if text.strip() else ""
    mark = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=mark) if any(row)]
    except csv.Error as error:
        raise DataError(f"the roster is no CSV: {error}", where=str(path), fix=FIX) from error
    return _roster(rows, path)


def _roster(rows: Sequence[Sequence[str]], path: Path) -> Roster:
    header = tuple(cell.strip() for cell in rows[0]) if rows else ()
    low = [cell.casefold() for cell in header]
    kind = next((kind for kind, needed in NEEDED.items() if set(needed) <= set(low)), "")
    if kind == PLAIN and "id" not in header:  # another program's ID, which is no student's of nbgrader
        kind = ""
    if not kind or len(set(low)) < len(low):
        shown = ", ".join(header)[:200]
        problem = f"the roster's columns are not known, or one stands twice: {shown}"
        raise DataError(problem, where=str(path), fix=FIX)
    points = next((row for row in rows if kind == CANVAS and "Points Possible" in row[0]), ())
    return Roster(kind, header, tuple(_people(kind, low, rows[1:])), dict(zip(header, points, strict=False)))


def _decoded(content: bytes) -> str:
    for name in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(name)
        except UnicodeDecodeError:
            continue
    return content.decode("utf-8", "replace")


def _people(kind: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Person]:
    make = {CANVAS: _canvas, MOODLE: _moodle, PLAIN: _plain}[kind]
    for row in rows:
        cells = dict.fromkeys(header, "") | {n: c.strip() for n, c in zip(header, row, strict=False)}
        if cells["identifier" if kind == MOODLE else "id"]:  # Canvas's rows on posting and points have none
            yield make(cells)


def _moodle(cells: Mapping[str, str]) -> Person:
    """`Identifier` is "Participant 7"; a worksheet for marking without names has no others."""
    number = re.search(r"\d+$", cells["identifier"])
    name = cells.get("full name", "")
    email = cells.get("email address", "")
    return Person(name, number[0] if number else "", cells, email=email, **_names(name))


def _plain(cells: Mapping[str, str]) -> Person:
    first, last = cells.get("first_name", ""), cells.get("last_name", "")
    name = f"{last}, {first}".strip(", ")
    return Person(name, cells.get("lms_user_id", ""), cells, first, last, cells.get("email", ""))


def _canvas(cells: Mapping[str, str]) -> Person:
    """`Student` is "Smith, John" or "John Smith"; where the account has it so, LastName and FirstName."""
    name = cells.get("student") or f"{cells.get('lastname', '')}, {cells.get('firstname', '')}"
    login = cells.get("sis login id", "")
    return Person(name, cells["id"], cells, email=login if "@" in login else "", **_names(name))


def _names(name: str) -> dict[str, str]:
    """First and last name of "Smith, John" or "John Smith".

    >>> _names("Smith, John"), _names("Ada King Lovelace")
    ({'first_name': 'John', 'last_name': 'Smith'}, {'first_name': 'Ada King', 'last_name': 'Lovelace'})
    """
    last, comma, first = name.partition(",")
    if not comma:
        first, _, last = name.rpartition(" ")
    return {"first_name": first.strip(), "last_name": last.strip()}
