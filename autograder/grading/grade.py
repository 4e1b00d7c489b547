"""`python -m autograder grade SUBMISSIONS --course DIR`: untrusted submissions into nbgrader's gradebook."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from traitlets.config import PyFileConfigLoader

from autograder.grading import engine as results
from autograder.grading.container import Containers, engine
from autograder.grading.inside.isolate import Limits
from autograder.grading.needed import imports, tree_of
from autograder.grading.roster import read as read_roster
from autograder.grading.sandbox import (
    BUBBLEWRAP,
    NONE,
    UNPROTECTED,
    Sandbox,
    choose,
    label_of,
    modules_for,
)
from autograder.grading.troubles import told

WARM = ("numpy", "IPython")
"""What every notebook needs beside its own imports."""


def main(argv: Sequence[str] | None = None) -> int:
    """Grade, print a summary, write results.csv, canvas.csv and, for Moodle, moodle.csv."""
    options = _parser().parse_args(argv)
    with told(options.course):
        _grade(options)
    return 0


def _grade(options: argparse.Namespace) -> None:
    listed = read_roster(options.roster) if options.roster else None
    sandbox = sandbox_of(options)
    if sandbox.isolation == NONE:
        print(UNPROTECTED, file=sys.stderr)
    limits = limits_of(options)
    with sandbox, results.forgotten(options.course, sandbox.isolation):
        from autograder.grading.run import (
            grade_course,  # nbgrader takes two seconds; the sandbox starts meanwhile
        )

        grade_course(
            options.course,
            options.submissions,
            options.assignment,
            sandbox,
            limits,
            workers=options.workers,
            skip_check=options.skip_check,
            listed=listed,
        )


def sandbox_of(options: argparse.Namespace) -> Sandbox | Containers:
    """What submissions are run in, by options and machine. Raises ConfigError where there is no sandbox."""
    warm = modules_for([*WARM, *_imports(options.course, options.assignment)])
    if options.container:
        return Containers(warm, options.container, engine(options.container), results.prepare(options.course))
    isolation = choose(options.isolation, options.trust_submissions)
    hidden = [p.absolute() for p in (options.course, options.submissions, *_exchange(options.course))]
    results_folder = results.prepare(options.course) if isolation != NONE else None
    return Sandbox(warm, isolation, label_of(options.course), hidden, results_folder)


def _exchange(course: Path) -> list[Path]:
    """The exchange that the settings of a course name, if any. Broken settings are told of later."""
    with contextlib.suppress(Exception):
        root = PyFileConfigLoader("nbgrader_config.py", str(course)).load_config().Exchange.root
        return [Path(root).expanduser()] if isinstance(root, str) and root else []
    return []


def _imports(course: Path, assignment: str) -> list[str]:
    """Modules that the notebooks of a course import; those that cannot be read are told of later."""
    modules: list[str] = []
    for path in sorted(course.glob(f"source/{assignment}*/*.ipynb")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                code = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
                modules += imports([tree_of(code)])
    return list(dict.fromkeys(modules))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autograder grade", description="Grade submissions.")
    parser.add_argument("submissions", type=Path, help="submitted/ tree, folder of notebooks, or zip")
    parser.add_argument("--course", type=Path, required=True, help="nbgrader course directory")
    parser.add_argument("--assignment", default="", help="name, or its number (default: all)")
    parser.add_argument("--roster", type=Path, help="class list of Canvas, Moodle or nbgrader, for exports")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    parser.add_argument(
        "--trust-submissions", action="store_true", help="run them as you where there is no sandbox"
    )
    parser.add_argument(
        "--skip-check", action="store_true", help="grade though the instructor's own solution falls short"
    )
    add_sandbox(parser)
    return parser


def add_sandbox(parser: argparse.ArgumentParser) -> None:
    """Options on what notebooks are run in, and on what they may use."""
    parser.add_argument("--container", default="", metavar="IMAGE", help="docker or podman, not bubblewrap")
    parser.add_argument(
        "--isolation", choices=("auto", BUBBLEWRAP, NONE), default="auto", help="default: auto"
    )
    parser.add_argument("--cell-seconds", type=float, default=Limits.cell_seconds, help="for each cell")
    parser.add_argument("--total-seconds", type=float, default=Limits.total_seconds, help="for each notebook")
    parser.add_argument("--memory", type=int, default=Limits.memory >> 20, help="MB for each submission")


def limits_of(options: argparse.Namespace) -> Limits:
    """The bounds that the command line names."""
    return Limits(
        memory=options.memory << 20, cell_seconds=options.cell_seconds, total_seconds=options.total_seconds
    )
