"""`python -m autograder feedback --course DIR`: feedback pages and tables with what was scored by hand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from autograder.grading.book import Book, Journal
from autograder.grading.exports import export
from autograder.grading.plan import Course
from autograder.grading.returned import rewrite
from autograder.grading.roster import read as read_roster
from rslib.errors import DataError


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
    return [pair for pair in pairs if not only or pair[0] == only or pair[0].split("_")[0] == only]
