"""How fast grading is beside stock `nbgrader autograde`: `make bench-grading`, docs/results/grading.json.

Three notebooks: one that imports torch and transformers and trains for a second, one that only imports, and
notebook 01 of the course. Processor seconds are those of the whole machine, so run it on a quiet one.
"""

from __future__ import annotations

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

from autograder.course import build
from autograder.doctor import milliseconds
from autograder.grading.sandbox import Sandbox
from autograder.numbers import RESULTS, ROOT

CONFIG = 'c = get_config()\nc.ClearSolutions.code_stub = {"python": "..."}\n'
TRAINS = """
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
IMPORTS = "import torch, transformers, datasets, matplotlib.pyplot"
KINDS = {"trains for a second": TRAINS, "imports only": IMPORTS}
STUDENTS = 20


def _notebook(first: str) -> nbformat.NotebookNode:
    flags = {"schema_version": 3, "locked": False, "task": False}
    answer = {"nbgrader": flags | {"grade_id": "double", "solution": True, "grade": False}}
    test = {
        "nbgrader": flags
        | {"grade_id": "test", "solution": False, "grade": True, "locked": True, "points": 1}
    }
    solved = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    new = nbformat.v4.new_code_cell
    cells = [new(first), new(solved, metadata=answer), new("assert double(2) == 4", metadata=test)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def course(root: Path, first: str, students: int) -> None:
    """A course with one assignment and so many submissions of it, each with a line of its own."""
    source = root / "source" / "hw" / "hw.ipynb"
    source.parent.mkdir(parents=True)
    nb = _notebook(first)
    nbformat.write(nb, source)
    (root / "nbgrader_config.py").write_text(CONFIG)
    for k in range(students):
        target = root / "submitted" / f"s{k:03d}" / "hw" / "hw.ipynb"
        target.parent.mkdir(parents=True)
        nb.cells[1].source = f"number = {k}\ndef double(x):\n    return 2 * x"
        nbformat.write(nb, target)


def busy() -> float:
    """Processor seconds that this machine has spent on programs so far."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def timed(command: Sequence[str], cwd: Path) -> dict[str, float]:
    """Seconds by the clock and of the processors that a command takes. Raises CalledProcessError."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    start, before = time.monotonic(), busy()
    subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True)
    return {"wall": round(time.monotonic() - start, 2), "cpu": round(busy() - before, 2)}


def released(root: Path) -> None:
    """Have nbgrader know the assignments, and keep that gradebook."""
    for folder in sorted((root / "source").iterdir()):
        timed([sys.executable, "-m", "nbgrader", "generate_assignment", folder.name, "--force"], root)
    shutil.copyfile(root / "gradebook.db", root / "released.db")


def fresh(root: Path) -> None:
    """The course as it was released: nothing is graded yet."""
    shutil.copyfile(root / "released.db", root / "gradebook.db")
    for name in (".grading", "autograded", "feedback"):
        shutil.rmtree(root / name, ignore_errors=True)


def ours(root: Path, workers: int) -> dict[str, float]:
    """`grade` on a course of which nothing is graded."""
    fresh(root)
    call = [
        sys.executable,
        "-m",
        "autograder",
        "grade",
        "submitted",
        "--course",
        ".",
        "--workers",
        str(workers),
    ]
    return timed(call, root)


def compared(first: str, students: int = STUDENTS) -> dict[str, Any]:
    """Stock nbgrader, one worker and two on the same submissions; `marginal` leaves the start out."""
    with tempfile.TemporaryDirectory() as folder:
        root, small = Path(folder, "all"), Path(folder, "one")
        course(root, first, students)
        course(small, first, 1)
        released(root)
        released(small)
        found = {"one worker": ours(root, 1), "two workers": ours(root, 2), "start": ours(small, 1)}
        for path, name in ((root, "stock"), (small, "stock, start")):
            fresh(path)
            found[name] = timed([sys.executable, "-m", "nbgrader", "autograde", "hw"], path)
    rest = students - 1
    mine = (found["one worker"]["cpu"] - found["start"]["cpu"]) / rest
    theirs = (found["stock"]["cpu"] - found["stock, start"]["cpu"]) / rest
    return found | {
        "cpu, times": round(found["stock"]["cpu"] / found["one worker"]["cpu"], 2),
        "wall with two, times": round(found["stock"]["wall"] / found["two workers"]["wall"], 2),
        "cpu of one more submission": {"ours": round(mine, 3), "stock": round(theirs, 3)},
        "cpu of one more, times": round(theirs / mine, 2),
    }


def notebook_01(students: int = 200) -> dict[str, Any]:
    """So many solved copies of notebook 01 with two workers."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        build(root)
        [source] = root.glob("source/01_*/*.ipynb")
        for other in (root / "source").iterdir():
            if other != source.parent:
                shutil.rmtree(other)
        released(root)
        for k in range(students):
            target = root / "submitted" / f"s{k:03d}" / source.parent.name / source.name
            target.parent.mkdir(parents=True)
            target.write_text(
                source.read_text(encoding="utf-8").replace("2 * x", f"2 * x  # {k}"), encoding="utf-8"
            )
        return ours(root, 2) | {"students": students}


def main() -> int:
    """Measure, print, and write the results."""
    found: dict[str, Any] = {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    with Sandbox(("numpy",)) as sandbox:
        found["a process with one cell, ms"] = round(milliseconds(sandbox, 41), 1)
    for name, first in KINDS.items():
        found[name] = compared(first)
        print(name, json.dumps(found[name], indent=1), flush=True)
    found["notebook 01"] = notebook_01()
    target = RESULTS / "grading.json"
    target.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found["notebook 01"]), target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
