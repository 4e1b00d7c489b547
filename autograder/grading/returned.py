"""Feedback pages with what a person gave in formgrader (scores, credit, comments), and late penalties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import nbformat
from nbgrader.api import SubmittedAssignment

from autograder.grading import pages
from autograder.grading.book import Book, write
from autograder.grading.pages import Mark, Marks
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
