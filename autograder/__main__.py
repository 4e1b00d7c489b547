"""`python -m autograder`: check a notebook from a shell, build the notebooks, measure the thresholds."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from rslib.errors import RSError

COMMANDS = {
    "check": ("shell", "grade a notebook's exercises as its own check cells do"),
    "notebooks": ("notebooks", "copy the course's notebooks to where they are worked on"),
    "release": ("build.release", "build notebooks/ from solutions/"),
    "learner": ("build.learner", "write the package that a class gets, without keys"),
    "course": ("build.course", "build an nbgrader course directory"),
    "solutions": ("build.rendering", "run the solved notebooks and render them as HTML"),
    "calibrate": ("calibrate", "measure the thresholds of the experiments"),
    "grade": ("grading.grade", "grade untrusted submissions into nbgrader's gradebook"),
    "check-course": (
        "grading.check_course",
        "grade the instructor's own solutions: is every assignment graded rightly here?",
    ),
    "feedback": ("grading.feedback", "write feedback pages anew, with scores and comments given by hand"),
    "doctor": ("grading.doctor", "try every protection of the sandbox on this machine"),
    "report": (
        "grading.report",
        "a page on a graded assignment: pass rates, wrong ideas, work that is the same",
    ),
}
"""Command -> (its module, what it does)."""


def _module(command: str) -> str:
    return f"autograder.{COMMANDS[command][0]}"


def _installed(command: str) -> bool:
    """Whether the command is part of this installation; the package for learners leaves most of them out."""
    return (Path(__file__).parents[1] / f"{_module(command).replace('.', '/')}.py").is_file()


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors of the project become one message and exit code 2."""
    arguments = sys.argv[1:] if argv is None else argv
    commands = {name: text for name, (_, text) in COMMANDS.items() if _installed(name)}
    if not arguments or arguments[0] not in commands:
        print("usage: python -m autograder COMMAND ...\n")
        print("\n".join(f"  {name:12} {text}" for name, text in commands.items()))
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    name = arguments[0]
    # nbgrader calls a program of this environment by its name (alembic), also where nobody activated it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        return importlib.import_module(_module(name)).main(arguments[1:])
    except RSError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. What was stored so far is kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
