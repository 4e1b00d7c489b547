"""`python -m autograder feedback --course DIR`: pages and tables with what a person gave in formgrader.

That is scores, credit and comments; penalties for lateness are there too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import SubmittedAssignment

from autograder.grading import pages
from autograder.grading.book import Book, Journal, write
from autograder.grading.exports import export
from autograder.grading.pages import Mark, Marks
from autograder.grading.plan import Course, asked_for
from autograder.grading.roster import read as read_roster
from rslib.errors import DataError


def marks_of(submission: SubmittedAssignment | None) -> Marks:
    """What the gradebook holds of a submission beside the points that a program gave."""
    if submission is None:
        return Marks()
    cells, comments = {}, {}
    for notebook in submission.notebooks:
        for grade in notebook.grades:
            stale = bool(grade.needs_manual_grade)
            cells[f"{notebook.name}/{grade.name}"] = Mark(
                grade.manual_score, grade.extra_credit or 0.0, stale
            )
        for comment in notebook.comments:
            if comment.manual_comment:
                comments[f"{notebook.name}/{comment.name}"] = comment.manual_comment
    return Marks(cells, comments, sum(n.late_submission_penalty or 0.0 for n in submission.notebooks))


def rewrite(book: Book, records: Iterable[Mapping[str, Any]], *, only_given: bool) -> list[str]:
    """Write the feedback pages of these records anew; a sentence for each that could not be written.

    only_given: leave out submissions to which no person and no lateness has changed anything.
    """
    troubles = []
    for record in records:
        marks = marks_of(book.submission(record["assignment"], record["student"]))
        if not only_given or marks.given:
            try:
                _write(book, record, marks)
            except (DataError, OSError, ValueError) as error:  # nbformat's own are of ValueError
                troubles.append(f"{record['assignment']}, {record['student']}: {error}")
    return troubles


def _write(book: Book, record: Mapping[str, Any], marks: Marks) -> None:
    graded = book.course.path("autograded", record["student"], record["assignment"])
    target = book.course.path("feedback", record["student"], record["assignment"])
    names = {cell["where"].rpartition("/")[0] for cell in record["cells"].values()}
    for name in sorted(names or {record["notebook"]}):
        nb = nbformat.read(graded / f"{name}.ipynb", as_version=4)
        if not pages.is_ours(nb):
            raise DataError("its notebook in autograded/ is not from this grader; grade it again")
        write(target / f"{name}.html", pages.feedback(record, nb, name, marks))


def main(argv: Sequence[str] | None = None) -> int:
    """Write feedback/ and the tables of `grade` anew from journal and gradebook; nothing is graded.

    0, or 1 where a page could not be written. Raises DataError where nothing was graded.
    """
    parser = argparse.ArgumentParser(
        prog="python -m autograder feedback", description="Feedback with scores and comments given by hand."
    )
    parser.add_argument("--course", type=Path, required=True, help="nbgrader course directory")
    parser.add_argument("--assignment", default="", help="name or number (default: all)")
    parser.add_argument("--roster", type=Path, help="class list, as for `grade`")
    options = parser.parse_args(argv)
    listed = read_roster(options.roster) if options.roster else None
    course = Course.open(options.course)
    journal = Journal(course.root)
    pairs = graded(journal, options.assignment)
    if not pairs:
        fix = "Run `python -m autograder grade SUBMISSIONS --course DIR` first."
        raise DataError("nothing was graded yet", where=str(course.root), fix=fix)
    now = sorted({assignment for assignment, _ in pairs})
    with journal.locked(), Book(course) as book:
        book.assign_penalties(now)
        records = {pair: journal.read(*pair) for pair in pairs}
        troubles = [f"{a}, {s}: its record cannot be read" for (a, s), r in records.items() if r is None]
        troubles += rewrite(book, [r for r in records.values() if r is not None], only_given=False)
        tables, warnings = export(course.root, book.gradebook, journal.everything(), listed, now)
    print(f"{len(pairs) - len(troubles)} of {len(pairs)} feedback pages written")
    print("\n".join([*(f"  not written: {trouble}" for trouble in troubles), *warnings, *map(str, tables)]))
    return 1 if troubles else 0


def graded(journal: Journal, only: str) -> list[tuple[str, str]]:
    """(assignment, student) of every record, of one assignment if `only` names it or its number."""
    pairs = sorted((path.parent.name, path.stem) for path in journal.folder.glob("*/*.json"))
    return [pair for pair in pairs if asked_for(pair[0], only)]
