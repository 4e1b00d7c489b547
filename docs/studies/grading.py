"""How fast grading is beside stock `nbgrader autograde`: `make bench-grading`, docs/results/grading.json.

Two small notebooks, one that imports torch and transformers and trains for a second and one that only
imports, and notebooks 01, 04, 06 and 07 of the course. Processor seconds of a whole command are those of the
whole machine, so run it on a quiet one; a student's are of the processes that ran and judged the notebook.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from autograder.build.course import build
from autograder.build.release import KERNEL
from autograder.grading.doctor import milliseconds
from autograder.grading.sandbox import Sandbox
from docs.studies.results import DOCS, read, write

_CONFIG = 'c = get_config()\nc.ClearSolutions.code_stub = {"python": "..."}\n'
_TRAINS = """
import time
import torch, transformers
layer = torch.nn.Linear(256, 256)
optimiser = torch.optim.AdamW(layer.parameters())
end = time.process_time() + 1.0
while time.process_time() < end:
    optimiser.zero_grad()
    layer(torch.randn(64, 256)).square().mean().backward()
    optimiser.step()
"""
_IMPORTS = "import torch, transformers, datasets, matplotlib.pyplot"
_KINDS = {"trains for a second": _TRAINS, "imports only": _IMPORTS}
_STUDENTS = 20
_GRADE = (sys.executable, "-m", "autograder", "grade", "submitted", "--course", ".")


def _notebook(first: str) -> nbformat.NotebookNode:
    flags = {"schema_version": 3, "locked": False, "task": False, "solution": False, "grade": False}
    answer = {"nbgrader": flags | {"grade_id": "double", "solution": True}}
    test = {"nbgrader": flags | {"grade_id": "test", "grade": True, "locked": True, "points": 1}}
    solved = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    new = nbformat.v4.new_code_cell
    cells = [new(first), new(solved, metadata=answer), new("assert double(2) == 4", metadata=test)]
    return nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)


def _course(root: Path, first: str, students: int) -> None:
    """A course with one assignment and so many submissions of it, each with a line of its own."""
    source = root / "source" / "hw" / "hw.ipynb"
    source.parent.mkdir(parents=True)
    nb = _notebook(first)
    nbformat.write(nb, source)
    (root / "nbgrader_config.py").write_text(_CONFIG)
    for k in range(students):
        target = root / "submitted" / f"s{k:03d}" / "hw" / "hw.ipynb"
        target.parent.mkdir(parents=True)
        nb.cells[1].source = f"number = {k}\ndef double(x):\n    return 2 * x"
        nbformat.write(nb, target)


def _busy() -> float:
    """Processor seconds that this machine has spent on programs so far."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _timed(command: Sequence[str], cwd: Path) -> dict[str, float]:
    """Seconds by the clock and of the processors that a command takes. Raises CalledProcessError."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(DOCS.parent), "HF_HUB_OFFLINE": "1"}
    start, before = time.monotonic(), _busy()
    subprocess.run(command, cwd=cwd, env=os.environ | settings, check=True, capture_output=True)
    return {"wall": round(time.monotonic() - start, 2), "cpu": round(_busy() - before, 2)}


def _released(root: Path) -> None:
    """Have nbgrader know the assignments, and keep that gradebook."""
    for folder in sorted((root / "source").iterdir()):
        _timed([sys.executable, "-m", "nbgrader", "generate_assignment", folder.name, "--force"], root)
    shutil.copyfile(root / "gradebook.db", root / "released.db")


def _fresh(root: Path) -> None:
    """The course as it was released: nothing is graded yet."""
    shutil.copyfile(root / "released.db", root / "gradebook.db")
    for name in (".grading", "autograded", "feedback"):
        shutil.rmtree(root / name, ignore_errors=True)


def _ours(root: Path, workers: int) -> dict[str, float]:
    """`grade` on a course of which nothing is graded."""
    _fresh(root)
    return _timed([*_GRADE, "--workers", str(workers)], root)


def _compared(first: str, students: int = _STUDENTS) -> dict[str, Any]:
    """Stock nbgrader, one worker and two on the same submissions; `marginal` leaves the start out."""
    with tempfile.TemporaryDirectory() as folder:
        root, small = Path(folder, "all"), Path(folder, "one")
        _course(root, first, students)
        _course(small, first, 1)
        _released(root)
        _released(small)
        times = {"one worker": _ours(root, 1), "two workers": _ours(root, 2), "start": _ours(small, 1)}
        for path, name in ((root, "stock"), (small, "stock, start")):
            _fresh(path)
            times[name] = _timed([sys.executable, "-m", "nbgrader", "autograde", "hw"], path)
    rest = students - 1
    mine = (times["one worker"]["cpu"] - times["start"]["cpu"]) / rest
    theirs = (times["stock"]["cpu"] - times["stock, start"]["cpu"]) / rest
    return times | {
        "cpu, times": round(times["stock"]["cpu"] / times["one worker"]["cpu"], 2),
        "wall with two, times": round(times["stock"]["wall"] / times["two workers"]["wall"], 2),
        "cpu of one more submission": {"ours": round(mine, 3), "stock": round(theirs, 3)},
        "cpu of one more, times": round(theirs / mine, 2),
    }


# Notebooks of the course ------------------------------------------------------------------------------------

_CLASS = {"01": 200, "04": 5, "06": 5, "07": 5}
"""Notebook -> students whose right answers are graded. 04, 06 and 07 train and judge policies."""
_OTHER_SEEDS = {"04": ("seed=0", "seed=7"), "06": ("seed=1_000_003", "seed=7")}
"""What a student writes who keeps to no seed that the task names: nothing of theirs was computed before."""
_TRUSTED = "--RefuseUnsandboxed.trust_submissions=True"


def _assignment(root: Path, number: str) -> str:
    """Write a course that has this notebook of ours alone; the name of its assignment."""
    build(root)
    [kept] = root.glob(f"source/{number}_*")
    for other in (root / "source").iterdir():
        if other != kept:
            shutil.rmtree(other)
    _released(root)
    return kept.name


def _hand_in(root: Path, name: str, student: str, change: tuple[str, str] = ("", "")) -> None:
    """The solved notebook as this student's: with their id, and words of their own in every answer."""
    nb = nbformat.read(root / "source" / name / f"{name}.ipynb", as_version=4)
    for cell in nb.cells:
        cell.source = cell.source.replace('student=""', f'student="{student}"')
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = f"{cell.source.replace(*change)}\n# {student}"
    target = root / "submitted" / student / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True)
    nbformat.write(nb, target)


def _graded(root: Path, name: str, students: Sequence[str], workers: int) -> dict[str, Any]:
    """Grade what is new: the whole command's seconds, and the students' own processor seconds and points."""
    whole = _timed([*_GRADE, "--workers", str(workers)], root)
    records = [json.loads((root / ".grading" / name / f"{s}.json").read_text()) for s in students]
    seconds = [record["processor"] for record in records]
    mean = {part: round(sum(s[part] for s in seconds) / len(seconds), 2) for part in seconds[0]}
    return whole | {
        "students": len(students),
        "a student": mean,
        "the slowest": round(max(sum(s.values()) for s in seconds), 2),
        "points": min(record["points"] for record in records) / records[0]["out_of"],
    }


def _course_notebook(number: str, students: int, stock: bool = True) -> dict[str, Any]:
    """A class with the right answers of a notebook: the first one alone, then one worker, then two.

    The first one pays for the instructor's solution, which is tried before anybody is graded.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, times = Path(folder, "course"), {}
        name = _assignment(root, number)
        classes = {"the first": (["first"], 1), "one worker": ([f"a{k:03d}" for k in range(students)], 1)}
        classes["two workers"] = [f"b{k:03d}" for k in range(students)], 2
        for title, (some, workers) in classes.items():
            for student in some:
                _hand_in(root, name, student)
            times[title] = _graded(root, name, some, workers)
        if number in _OTHER_SEEDS:
            _hand_in(root, name, "other", _OTHER_SEEDS[number])
            times["other seeds"] = _graded(root, name, ["other"], 1)
        if stock:
            _fresh(root)  # else it would skip what is graded
            call = [sys.executable, "-m", "nbgrader", "autograde", name, "--student", "first", _TRUSTED]
            times["stock"] = _timed(call, root)
    return times


_HEAD = """
Processor seconds of one student (mean of the class, the slowest, one who keeps to no named seed, and the same
notebook by stock nbgrader), and the clock of the class with two workers:

notebook  its cells   tests  slowest  other seeds    stock  students  seconds"""


def _line(number: str, times: dict[str, Any]) -> str:
    """A notebook's figures, below _HEAD."""
    single, two = times["one worker"], times["two workers"]
    mean = single["a student"]
    other = f"{sum(times['other seeds']['a student'].values()):.1f}" if "other seeds" in times else ""
    stock = f"{times['stock']['cpu']:.1f}" if "stock" in times else ""
    parts = f"{mean.get('notebook', 0):10.2f} {mean['tests']:7.2f} {single['the slowest']:8.2f} {other:>12}"
    return f"{number:9} {parts} {stock:>8} {two['students']:9} {two['wall']:8.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.grading", description=__doc__)
    parser.add_argument(
        "--only", nargs="*", default=[*_KINDS, *_CLASS], help="what to measure (default: all)"
    )
    parser.add_argument("--students", type=int, help="in each class (default: 200 for 01, 5 for the others)")
    parser.add_argument("--no-stock", action="store_true", help="leave stock nbgrader out of the notebooks")
    options = parser.parse_args(argv)
    content = read("grading")
    content["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    with Sandbox(("numpy",)) as sandbox:
        content["a process with one cell, ms"] = round(milliseconds(sandbox, 41), 1)
    for name in (name for name in options.only if name in _KINDS):
        content[name] = _compared(_KINDS[name])
        print(name, json.dumps(content[name], indent=1), flush=True)
        write("grading", content)
    print(_HEAD, flush=True)
    for number in (number for number in options.only if number in _CLASS):
        many = options.students or _CLASS[number]
        content[f"notebook {number}"] = _course_notebook(number, many, stock=not options.no_stock)
        print(_line(number, content[f"notebook {number}"]), flush=True)
        write("grading", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
