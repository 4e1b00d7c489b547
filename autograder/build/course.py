"""An nbgrader course directory, for an instructor: `make course`.

    make course                                     build/course
    make course OUT=~/rsft COURSE_SALT=2026-spring  elsewhere, with variants that only this course has

`source/` holds the notebooks with their solutions; nbgrader's `generate_assignment` makes what students get
and `python -m autograder grade` marks it. An existing gradebook in the folder stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from autograder.build.placeholders import ROOT
from autograder.build.release import CONFIG, SOLUTIONS, scripts, solved

README = """\
Release: `nbgrader generate_assignment NAME`, then hand out release/NAME.
Grade: `python -m autograder grade HANDED_IN --course .` (a folder or a zip, as downloaded) runs every
notebook in a sandbox and fills gradebook.db, results.csv, canvas.csv and feedback/.
`python -m autograder doctor` tries beforehand whether the sandbox holds on this machine, and
`python -m autograder check-course .` whether the solutions in source/ get all points.
By hand: `jupyter lab` in this folder, menu Nbgrader > Formgrader > Manual Grading. Afterwards
`python -m autograder feedback --course .` writes feedback/ and the tables anew with what you gave there.
`python -m autograder report --course .` writes a page on each assignment.
`nbgrader autograde`, and the bolt in formgrader, would run untrusted notebooks with your rights: refused.
`c.RefuseUnsandboxed.trust_submissions = True` in nbgrader_config.py allows it, for people whom you trust.
Run these with the environment that holds rslib activated: nbgrader needs its tools on the PATH.
"""


def build(out: Path, salt: str = "", solutions: Path = SOLUTIONS) -> list[Path]:
    """Write the course directory and return its notebooks; `salt` goes into the setup cells."""
    notebooks = [_notebook(script, out, salt) for script in scripts(solutions)]
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CONFIG, out / "nbgrader_config.py")
    (out / "README.md").write_text(README, encoding="utf-8")
    return notebooks


def _notebook(script: Path, out: Path, salt: str) -> Path:
    text = solved(script, salt)
    target = out / "source" / script.stem / f"{script.stem}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Write the course directory."""
    parser = argparse.ArgumentParser(prog="python -m autograder course", description="An nbgrader course.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "course", help="default: build/course")
    parser.add_argument("--salt", default="", help="a text that draws this course's variants")
    options = parser.parse_args(argv)
    notebooks = build(options.out.expanduser(), options.salt)
    print(f"{len(notebooks)} notebooks in {options.out}; its README.md names the commands.")
    return 0
