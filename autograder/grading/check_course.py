"""`python -m autograder check-course DIR`: can every assignment of an nbgrader course be graded rightly here?

The instructor's own solution goes through the pipeline that grades students, and so does the release as it
is handed out. Nothing is written into the gradebook.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autograder.grading import guard, run
from autograder.grading.book import Journal
from autograder.grading.grade import add_sandbox, limits_of, sandbox_of
from autograder.grading.needed import tree_of
from autograder.grading.plan import Course, Plan
from autograder.grading.score import Grader
from autograder.grading.troubles import told

CANNOT_CROSS = {
    "get_ipython": "asks IPython, which runs in the student's process",
    "In": "reads the history of cells",
    "Out": "reads the history of cells",
    "_ih": "reads the history of cells",
    "_oh": "reads the history of cells",
    "globals": "looks at all names of the notebook",
    "locals": "looks at all names of the notebook",
    "vars": "looks into an object of the student's",
    "__globals__": "looks at all names of the notebook",
    "__closure__": "looks at compiled code of the student's",
    "stack": "looks at the frames of the student's process",
    "currentframe": "looks at the frames of the student's process",
    "settrace": "follows calls inside of the student's process",
}
"""What a test may use in nbgrader's own kernel and not outside of the student's process."""


def remarks(plan: Plan) -> Iterator[str]:
    """One sentence for each thing in a test cell that does not cross into the student's process."""
    for notebook in plan.notebooks:
        for cell in notebook.cells:
            if cell.role == "test":
                for name in sorted(_used(cell.source) & CANNOT_CROSS.keys()):
                    yield f"{notebook.name}, cell {cell.grade_id}: `{name}` {CANNOT_CROSS[name]}"


def _used(source: str) -> set[str]:
    """Names and attributes in a cell's text."""
    nodes = list(ast.walk(tree_of(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print what came of each assignment; 0 if all can be graded, 1 if one cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m autograder check-course", description="Grade the instructor's own solutions."
    )
    parser.add_argument("course", type=Path, help="nbgrader course directory")
    parser.add_argument("--assignment", default="", help="name, or its number (default: all)")
    add_sandbox(parser)
    options = parser.parse_args(argv)
    options.submissions = options.course
    options.trust_submissions = True  # a solution is the instructor's own work
    with told(options.course), sandbox_of(options) as sandbox:
        course = Course.open(options.course)
        plans = list(run.plans(course, options.assignment).values())
        limits = run.within(limits_of(options), course)
        with run.judge_of(plans, course.root) as judge:
            grader = Grader(sandbox, judge, Journal(course.root), limits)
            good = [_told(plan, grader) for plan in plans]
    print(f"\n{sum(good)} of {len(good)} assignments can be graded.")
    return 0 if all(good) else 1


def _told(plan: Plan, grader: Grader) -> bool:
    """Print what came of an assignment; whether it can be graded."""
    start = time.monotonic()
    short, uses = guard.tried(plan, grader)
    blank = guard.blank(plan, grader)["cells"] if uses else {}  # without its modules nothing is run
    free = [name for name, cell in blank.items() if cell["points"] and not cell["by_hand"]]
    print(f"{'NO  ' if short else 'ok  '}{plan.assignment} ({time.monotonic() - start:.1f} s)", flush=True)
    lines = guard.listed(short)
    lines += [f"note: {name}: the release gets points as it is handed out" for name in free]
    lines += [f"note: {line}" for line in remarks(plan)]
    print("".join(f"    {line}\n" for line in lines), end="")
    return not short
