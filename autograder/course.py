"""An nbgrader course directory, for an instructor: `make course`.

    make course                                     build/course
    make course OUT=~/rsft COURSE_SALT=2026-spring  elsewhere, with variants that only this course has

`source/` holds the notebooks with their solutions; nbgrader's `generate_assignment` makes what students get
and `python -m autograder grade` marks it. An existing gradebook in the folder stays as it is.

The course's settings change two things in `nbgrader autograde`. `RefuseUnsandboxed`: it runs notebooks with
the rights of whoever started it, so it needs a setting that says that these are trusted. `RestoreChecks`:
notebooks come back with check cells deleted, copied, or without the metadata by which nbgrader knows them;
stock nbgrader then gives 0 without a word, or stops.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool

from autograder.numbers import ROOT
from autograder.release import CONFIG, SOLUTIONS, scripts, solved

README = """\
Release: `nbgrader generate_assignment NAME`, then hand out release/NAME.
Grade: `python -m autograder grade HANDED_IN --course .` (a folder or a zip, as downloaded) runs every
notebook in a sandbox and fills gradebook.db, results.csv, canvas.csv and feedback/.
`python -m autograder doctor` tries beforehand whether the sandbox holds on this machine, and
`python -m autograder check-course .` whether the solutions in source/ get all points.
By hand: `jupyter lab` in this folder, menu Nbgrader > Formgrader > Manual Grading. Afterwards
`python -m autograder feedback --course .` writes feedback/ and the tables anew with what you gave there.
`python -m autograder report --course .` writes a page on each assignment.
`nbgrader autograde`, and the bolt in formgrader, would run strangers' notebooks with your rights: refused.
`c.RefuseUnsandboxed.trust_submissions = True` in nbgrader_config.py allows it, for people whom you trust.
Run these with the environment that holds rslib activated: nbgrader needs its tools on the PATH.
"""


def build(out: Path, salt: str = "", solutions: Path = SOLUTIONS) -> list[Path]:
    """Write the course directory and return its notebooks; `salt` goes into the setup cells."""
    found = [_notebook(script, out, salt) for script in scripts(solutions)]
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(CONFIG, out / "nbgrader_config.py")
    (out / "README.md").write_text(README, encoding="utf-8")
    return found


def _notebook(script: Path, out: Path, salt: str) -> Path:
    text = solved(script, salt)
    target = out / "source" / script.stem / f"{script.stem}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


REFUSED = (
    "nbgrader would run these notebooks with your own rights, outside of any sandbox, so nothing was run. "
    "Use `python -m autograder grade submitted --course .`, which runs them in one. For notebooks of people "
    "whom you trust: `c.RefuseUnsandboxed.trust_submissions = True` in nbgrader_config.py."
)


class RefuseUnsandboxed(NotebookExporter):
    """Nbgrader's exporter of graded notebooks; without `trust_submissions` it cannot be made.

    nbgrader makes its exporter before it reads, removes or runs anything, so a refusal leaves all as it was.
    `c.Autograde.exporter_class` sets it, for the command as for the bolt in formgrader.
    """

    export_from_notebook = None
    trust_submissions = Bool(False, help="Whether notebooks may be run without a sandbox.").tag(config=True)

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if not self.trust_submissions:
            self.log.error(REFUSED)
            raise NbGraderException(REFUSED)


class RestoreChecks(NbGraderPreprocessor):
    """Give a submission its check cells as released, and say in it what was done. Answers are never touched.

    A check cell is known by its text where its metadata is gone; one that is gone altogether is put at the
    end, where all answers have run. Points come from the gradebook.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """The notebook with every check cell of its assignment; nbgrader calls this before it runs a cell."""
        for cell in nb.cells:
            if not cell.metadata.get("nbgrader", True):  # nbgrader empties a copy, and then stops at it
                del cell.metadata["nbgrader"]
        where = resources["nbgrader"]
        named = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in nb.cells}
        with Gradebook(where["db_url"]) as book:
            notebook = book.find_notebook(where["notebook"], where["assignment"])
            sources = {cell.name: cell.source for cell in notebook.source_cells}
            checks = {cell.name: cell.max_score for cell in notebook.grade_cells}
        for name in sorted(checks.keys() - named):
            self._restore(nb, name, checks[name], sources[name])
        for cell in nb.cells:
            known = cell.metadata.get("nbgrader", {})
            if known.get("grade_id") in checks:  # a tag could keep it from running, and no output earns all
                cell.metadata = NotebookNode(nbgrader=known)
        return nb, resources

    def _restore(self, nb: NotebookNode, name: str, points: float, source: str) -> None:
        same = [c for c in nb.cells if c.source.strip() == source and "nbgrader" not in c.metadata]
        what = "had lost its nbgrader metadata and was known by its text" if same else "was missing"
        cell = same[-1] if same else new_code_cell(source)
        flags = {"grade": True, "locked": True, "solution": False, "task": False, "schema_version": 3}
        cell.metadata["nbgrader"] = flags | {"grade_id": name, "points": points, "cell_type": "code"}
        if not same:
            nb.cells.append(cell)
        note = f"*The check cell `{source}` {what}. It was restored for marking.*"
        nb.cells.insert(nb.cells.index(cell), new_markdown_cell(note))
        self.log.warning("The check cell %s %s; it was restored.", name, what)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the course directory."""
    parser = argparse.ArgumentParser(prog="python -m autograder course", description="An nbgrader course.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "course", help="default: build/course")
    parser.add_argument("--salt", default="", help="a text that draws this course's variants")
    options = parser.parse_args(argv)
    found = build(options.out.expanduser(), options.salt)
    print(f"{len(found)} notebooks in {options.out}; its README.md names the commands.")
    return 0
