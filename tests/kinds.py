"""Support of the tests of kinds of test cells: a small notebook, graded here and as nbgrader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from autograder.grading.book import Journal
from autograder.grading.inside.isolate import Limits
from autograder.grading.intake import File, Submission
from autograder.grading.judge import Judge
from autograder.grading.plan import Course, Plan
from autograder.grading.sandbox import Sandbox
from autograder.grading.score import Grader
from tests.grading import ROOT
from tests.hostile import HIDDEN

POINTS = 2.0
MODULES = ("numpy", "pandas", "matplotlib.pyplot", "torch", "autograder", "pytest", "unittest.mock")


@dataclass(frozen=True)
class Kind:
    """A kind of test cell: the instructor's cells and answers of learners.

    cells: pairs of a role ("plain", "locked", "answer", "test") and a text; the text of an answer is its
    solution. answers: texts of the learner's answers by style, for each answer cell one; "solved" is the
    instructor's own. files: those beside the notebook.
    """

    name: str
    cells: tuple[tuple[str, str], ...]
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    stub: str = ""

    def source(self) -> Iterator[Any]:
        """The instructor's cells."""
        for place, (role, text) in enumerate(self.cells):
            name = f"{self.name}_{place}"
            known = {"grade_id": name, "schema_version": 3, "task": False, "locked": role != "answer"}
            known |= {"grade": role == "test", "solution": role == "answer"}
            known |= {"points": POINTS} if role == "test" else {}
            text = f"### BEGIN SOLUTION\n{text}\n### END SOLUTION" if role == "answer" else text
            text = f"{self.stub}\n{text}" if role == "answer" and self.stub else text
            yield new_code_cell(text, id=name, metadata={} if role == "plain" else {"nbgrader": known})

    def given(self, style: str) -> list[str]:
        """The texts of a learner's notebook."""
        answers = iter(self.answers.get(style, ()))
        return [
            next(answers) if role == "answer" and style != "solved" else text for role, text in self.cells
        ]

    def tests(self) -> list[str]:
        """The grade ids of the tests."""
        return [f"{self.name}_{k}" for k, (role, _) in enumerate(self.cells) if role == "test"]


def read(path: Path) -> list[Kind]:
    """The kinds in a file; parts start with `#%% kind NAME`, a role, `stub`, `file PATH` or `as STYLE`."""
    found: list[Kind] = []
    for part in path.read_text(encoding="utf-8").split("#%% ")[1:]:
        head, _, text = part.partition("\n")
        what, _, name = head.partition(" ")
        text = text.strip("\n")
        if what == "kind":
            found.append(Kind(name, ()))
        elif what == "file":
            found[-1].files[name] = f"{text}\n"
        elif what == "as":
            found[-1].answers[name] = (*found[-1].answers.get(name, ()), text)
        elif what == "stub":
            found[-1] = replace(found[-1], stub=text)
        else:
            found[-1] = replace(found[-1], cells=(*found[-1].cells, (what, text)))
    return found


def write(root: Path, kinds: Sequence[Kind]) -> Plan:
    """A course whose one assignment has a notebook for each of the kinds."""
    folder = root / "source" / "hw"
    folder.mkdir(parents=True)
    for kind in kinds:
        nbformat.write(new_notebook(cells=list(kind.source())), folder / f"{kind.name}.ipynb")
        for name, text in kind.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    return Course.open(root).plan("hw")


def hand_in(root: Path, kind: Kind, style: str) -> Submission:
    """A submission of one of the answers of a kind."""
    cells = []
    for (role, _), text, cell in zip(kind.cells, kind.given(style), kind.source(), strict=True):
        cell.source = text if role == "answer" else HIDDEN.sub("", cell.source)
        cells.append(cell)
    path = root / f"{kind.name}-{style}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return Submission(style, "hw", {kind.name: File(path.name, path)})


@contextmanager
def grader(root: Path, sandbox: Sandbox) -> Iterator[Grader]:
    """A grader with an examining process of its own."""
    with Judge(MODULES, "kinds") as judge:
        limits = Limits(cell_seconds=10, total_seconds=60)
        yield Grader(sandbox, judge, Journal(root), limits)


def graded(
    found: Grader,
    root: Path,
    plan: Plan,
    kind: Kind,
    style: str,
    extras: dict[str, bytes] | None = None,
    solved: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of one answer, and what its cells show; only the kind's own notebook and files count.

    solved: the record of the style "solved", where the uses of values that its tests made are to count.
    """
    [notebook] = [n for n in plan.notebooks if n.name == kind.name]
    files = {name: path for name, path in plan.files.items() if name in kind.files}
    small, one = Plan("hw", (notebook,), files, plan.left_to_students), hand_in(root, kind, style)
    for name, content in (extras or {}).items():
        (root / f"extra-{name}").write_bytes(content)
        one.extras[name] = File(name, root / f"extra-{name}")
    if style == "solved":
        found = replace(found, explain=True)
    elif solved is not None:
        found = replace(found, uses={"hw": solved["uses"]})
    made = found.grade(small, one, {"submission": "x"})
    return made.record | {"shown": [cell.get("outputs", []) for cell in made.notebooks[kind.name].cells]}


STOCK = """
import json, os, sys, tempfile
from autograder.grading.inside.kernel import make_shell
from autograder.grading.inside import kernel
shell, jobs = make_shell(), json.load(sys.stdin)
shell.run_cell("%matplotlib inline")
for name, (files, cells) in jobs.items():
    if os.fork():
        os.wait()
        continue
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    sys.path.insert(0, folder)
    for path, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        open(path, "w").write(text)
    out = sys.stdout
    sys.stdout, sys.stderr = (kernel.Stream(shell, n, 100_000) for n in ("stdout", "stderr"))
    found = []
    for text in cells:
        shell.outputs.clear()
        shell.run_cell(text, store_history=True)
        if "matplotlib.pyplot" in sys.modules:  # the backend of notebooks closes figures after each cell
            sys.modules["matplotlib.pyplot"].close("all")
        found.append([(o["output_type"], o.get("data", {}).get("text/plain", "")) for o in shell.outputs])
    out.write(json.dumps([name, found]) + "\\n")
    out.flush()
    os._exit(0)
"""


def stock(kinds: Sequence[Kind]) -> dict[tuple[str, str], list[float]]:
    """The marks that nbgrader's rule gives to what IPython makes of the cells, by kind and style."""
    jobs = {f"{k.name} {s}": [k.files, k.given(s)] for k in kinds for s in ("solved", *k.answers)}
    env = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    call = [sys.executable, "-c", STOCK]
    done = subprocess.run(call, input=json.dumps(jobs), capture_output=True, text=True, env=env, timeout=300)
    rows = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert rows.keys() == jobs.keys(), done.stderr[-2000:]
    return {
        (kind.name, style): [
            _mark(outputs)
            for (role, _), outputs in zip(kind.cells, rows[f"{kind.name} {style}"], strict=True)
            if role == "test"
        ]
        for kind in kinds
        for style in ("solved", *kind.answers)
    }


def _mark(outputs: Sequence[tuple[str, str]]) -> float:
    """As nbgrader's `determine_grade`, but for text on stderr, which costs nothing here."""
    if any(kind == "error" for kind, _ in outputs):
        return 0.0
    for kind, text in outputs:
        if kind == "execute_result":
            try:
                return float(text)
            except ValueError:
                continue
    return POINTS
