"""Whether stock nbgrader and `grade` give the catalogue the same marks: docs/results/same_marks.json.

    python -m docs.studies.same_marks 1.3 8.1       these exercises alone

Of each exercise one notebook is made and handed in: the reference and every answer of its catalogue, each in
an answer cell with the exercise's check behind it. Stock `nbgrader autograde` marks it in a kernel, `grade`
behind its walls, with one difference: there answers see the package whole, as some look their keys up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from autograder import exercises
from autograder.build import catalogue
from autograder.build.catalogue import Answer
from autograder.build.release import CONFIG, KERNEL
from autograder.exercise import Exercise
from docs.studies.results import DOCS, read, write

NAME, STUDENT = "catalogue", "ada"
_FIRST = 'from autograder import begin, check, given\nruns = begin("{notebook}", student="")'
_FORGET = "for _name in {names!r}:\n    globals().pop(_name, None)\n__name__ = 'answer'\n"
_OURS = """
import sys
from autograder.grading import grade, visible
visible.FRONT = (*visible.FRONT, *(path.name for path in visible.PACKAGE.glob("*.*")))
visible.FOLDERS = ("handouts", "grading/inside", "keys", "exercises", "experiments", "build", "wrong")
sys.exit(grade.main(["submitted", "--course", ".", "--workers", "1", "--skip-check"]))
"""
_STOCK = ["-m", "nbgrader", "autograde", NAME, "--RefuseUnsandboxed.trust_submissions=True"]


def answers(exercise: str) -> list[Answer]:
    """The reference and all of the catalogue."""
    return [catalogue.reference(exercises.find(exercise)), *catalogue.answers(exercise)]


def _cells(exercise: Exercise, some: Sequence[Answer], solved: bool) -> list[Any]:
    """A notebook's cells; without `solved` its answers are blank."""
    flags = {"schema_version": 3, "locked": False, "task": False, "solution": False, "grade": False}
    cells = [new_code_cell(_FIRST.format(notebook=exercise.notebook), id="setup")]
    for k, answer in enumerate(some):
        known = flags | {"grade_id": f"answer_{k}", "solution": True}
        text = _FORGET.format(names=exercise.names) + answer.code if solved else "..."
        cells.append(new_code_cell(text, id=f"answer_{k}", metadata={"nbgrader": known}))
        known = flags | {"grade_id": f"check_{k}", "grade": True, "locked": True, "points": exercise.points}
        text = f'check("{exercise.id}")'
        cells.append(new_code_cell(text, id=f"check_{k}", metadata={"nbgrader": known}))
    return cells


def _course(root: Path, catalogues: Mapping[str, Sequence[Answer]]) -> None:
    for folder, solved in ((root / "source" / NAME, False), (root / "submitted" / STUDENT / NAME, True)):
        folder.mkdir(parents=True)
        for id, some in catalogues.items():
            nb = new_notebook(cells=_cells(exercises.find(id), some, solved), metadata=KERNEL)
            nbformat.write(nb, folder / f"{_notebook(id)}.ipynb")
    shutil.copyfile(CONFIG, root / "nbgrader_config.py")


def _notebook(exercise: str) -> str:
    return f"answers_{exercise.replace('.', '_')}"


def _run(root: Path, *arguments: str) -> None:
    """Run Python in the course. Raises CalledProcessError, with what was said."""
    settings = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    settings |= {"PYTHONPATH": str(DOCS.parent), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    settings |= {"JUPYTER_CONFIG_DIR": str(root / ".jupyter"), "IPYTHONDIR": str(root / ".ipython")}
    call = [sys.executable, *arguments]
    done = subprocess.run(call, cwd=root, env=os.environ | settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def _marks(root: Path, exercise: str, count: int) -> list[float]:
    """The points of each check of an exercise in the course's gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root}/gradebook.db") as book:
        grades = [book.find_grade(f"check_{k}", _notebook(exercise), NAME, STUDENT) for k in range(count)]
        return [float(grade.auto_score) for grade in grades]


def compared(catalogues: Mapping[str, Sequence[Answer]]) -> dict[str, list[tuple[float, float]]]:
    """Of each exercise its answers' points, by stock nbgrader and by `grade`."""
    marks: list[dict[str, list[float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _course(root, catalogues)
        _run(root, "-m", "nbgrader", "generate_assignment", NAME)
        shutil.copyfile(root / "gradebook.db", root / "released.db")
        for call in (_STOCK, ["-c", _OURS]):
            shutil.copyfile(root / "released.db", root / "gradebook.db")
            _run(root, *call)
            marks.append({id: _marks(root, id, len(some)) for id, some in catalogues.items()})
            shutil.rmtree(root / "autograded")
    stock, ours = marks
    return {id: list(zip(stock[id], ours[id], strict=True)) for id in catalogues}


def row(exercise: str, marks: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """What came of an exercise: how many answers, those whose marks differ or are not the catalogue's."""
    some, most = answers(exercise), exercises.find(exercise).points
    differ = {a.name: list(both) for a, both in zip(some, marks, strict=True) if both[0] != both[1]}
    expected = [most if answer.correct else answer.points for answer in some]
    unlike = {a.name: [x, y[0]] for a, x, y in zip(some, expected, marks, strict=True) if x != y[0]}
    return {"answers": len(some), "stock and grade differ": differ, "catalogue and stock differ": unlike}


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print and write the results."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.same_marks", description=__doc__)
    parser.add_argument("exercises", nargs="*", default=list(exercises.EXERCISES), help="default: all")
    known = parser.parse_args(argv).exercises
    for _, some in groupby(known, lambda id: exercises.find(id).notebook):
        marks = compared({id: answers(id) for id in some})
        rows = {id: row(id, both) for id, both in marks.items()}
        write("same_marks", read("same_marks") | rows)
        print(*rows.items(), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
