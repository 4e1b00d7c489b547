"""From a percent script of `solutions/` to the notebook that students open.

    python -m autograder release                            every script; what `make notebooks` does
    python -m autograder release solutions/01_one.py        one script
    python -m autograder release --solved --out build/x     with the solutions in place

The student version is made by the preprocessors of nbgrader, in its own order and with the settings of
`nbgrader_config.py`, so it equals what `nbgrader generate_assignment` makes from the course directory.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbgrader.nbgraderformat import ValidationError
from nbgrader.preprocessors import SaveCells
from traitlets.config import PyFileConfigLoader

import autograder
from autograder import exercises
from autograder.build.placeholders import ROOT, colab_line, expand, gpu_line, install_cell, words_line
from autograder.course import LAZY, processed, release_steps
from autograder.exercise import Exercise
from rslib.errors import ConfigError

SOLUTIONS, NOTEBOOKS = ROOT / "solutions", ROOT / "notebooks"
CONFIG = Path(__file__).with_name("nbgrader_config.py")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
ROLES = ("setup", "predict", "answer", "check", "memo")
KEYS = {"role", "exercise", "name", "gpu"}
MARKER = re.compile(r"\s*#\s*%%(\s|$)")
SETUP = """\
import sys

if "google.colab" in sys.modules:
    {install}
from autograder import {names}
runs = begin("{notebook}", student=""{salt})"""
HAND_IN = """\
---
**Hand in.** Exercises {first} to {last} are graded from this file: your answers are in it. Run it once from
top to bottom, save it, then *File → Download* (in Colab: *Download .ipynb*). Keep the name `{name}.ipynb`,
and hand it in where your course says. What the cells computed is in `runs`, and comes again when they run."""
NO_HAND_IN = """\
---
There is nothing to hand in. What the cells computed is in `runs`, and comes again when they run."""


@dataclass(frozen=True)
class Cell:
    """One cell of a percent script: its kind, its text, what its marker says, and where it stands."""

    kind: str
    source: str
    where: str
    role: str = ""
    exercise: str = ""
    name: str = ""
    gpu: str = ""

    @property
    def grade_id(self) -> str:
        """The name that nbgrader knows the cell by; "" for a cell that it does not know.

        >>> Cell("code", "", "", role="answer", exercise="1.3", name="b").grade_id
        '1_3_b'
        """
        if self.role == "predict":
            return f"predict_{self.name}"
        tail = self.role if self.role in ("check", "memo") else self.name
        return "_".join(filter(None, (self.exercise.replace(".", "_"), tail)))

    def wrong(self, what: str, fix: str) -> ConfigError:
        """The error of this cell."""
        return ConfigError(what, where=self.where, fix=fix)


def read(script: Path) -> list[Cell]:
    """The cells of a percent script, each checked by itself and all of them together.

    Raises ConfigError: an unknown role or key, a name that is missing or used twice, an exercise without an
    answer or check cell, a solution region in another cell, a cell that is not Python, a marker in a string.
    """
    text = script.read_text(encoding="utf-8")
    lines = _marker_lines(text, script)
    nodes = jupytext.reads(text, fmt="py:percent").cells
    if len(nodes) != len(lines):
        fix = "Begin the script with a marker, and write every marker as `# %%` at the start of a line."
        raise ConfigError(f"{len(lines)} markers but {len(nodes)} cells", where=str(script), fix=fix)
    cells = [_cell(node, _at(script, line)) for node, line in zip(nodes, lines, strict=True)]
    for cell in cells:
        _check_cell(cell)
    _check_script(cells, script)
    return cells


def _marker_lines(text: str, script: Path) -> list[int]:
    """Numbers of the lines with a cell marker. A marker inside of a string would split its cell."""
    lines = text.splitlines()
    try:
        tree = ast.parse(text)
    except SyntaxError as err:
        raise ConfigError(f"not Python: {err.msg}", where=_at(script, err.lineno)) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            for number in range(node.lineno + 1, node.end_lineno + 1):
                if MARKER.match(lines[number - 1]):
                    fix = "Write the text in another way; `# %%` at the start of a line begins a cell."
                    raise ConfigError("a cell marker in a string", where=_at(script, number), fix=fix)
    return [number for number, line in enumerate(lines, start=1) if MARKER.match(line)]


def _at(script: Path, line: int | None) -> str:
    return f"{script.name}, line {line}"


def _cell(node: NotebookNode, where: str) -> Cell:
    facts = {key: str(value) for key, value in node.metadata.items() if key != "lines_to_next_cell"}
    if extra := facts.keys() - KEYS:
        fix = f'A marker may say {", ".join(sorted(KEYS))}, as in `# %% exercise="1.3" role="check"`.'
        raise ConfigError(f"unknown words in the marker: {', '.join(sorted(extra))}", where=where, fix=fix)
    return Cell(node.cell_type, node.source, where, **facts)


def _check_cell(cell: Cell) -> None:
    if cell.role not in ("", *ROLES):
        raise cell.wrong(f"unknown role '{cell.role}'", f"The roles are {', '.join(ROLES)}.")
    if cell.role and (cell.kind == "code") == (cell.role == "memo"):
        raise cell.wrong(
            f"role '{cell.role}' on such a cell", "A memo is a cell of text, the others of code."
        )
    if cell.gpu and cell.role != "setup":
        raise cell.wrong("gpu on another cell than the set-up", 'Write `# %% role="setup" gpu="A heading"`.')
    if cell.role == "setup" and cell.source.strip():
        raise cell.wrong("the setup cell has a body", "Leave it empty; the builder writes it.")
    _check_name(cell)
    if (cell.role in ("answer", "check", "memo")) != bool(cell.exercise):
        raise cell.wrong(
            "a role without an exercise, or the other way round",
            'Write exercise="1.3" with role="answer", "check" or "memo", and only with them.',
        )
    if cell.exercise:
        _exercise(cell)
    if cell.role == "check" and cell.source.strip() != f'check("{cell.exercise}")':
        raise cell.wrong("a check cell with another body", f'Its whole body is check("{cell.exercise}").')
    region, solvable = "BEGIN SOLUTION" in cell.source, cell.role in ("answer", "predict")
    if region and not solvable:
        raise cell.wrong("a solution region outside of an answer or predict cell", "Give the cell its role.")
    if solvable and not region:  # nbgrader would replace the whole cell
        raise cell.wrong(f"the {cell.role} cell has no solution region", "Put one around what is removed.")


def _check_name(cell: Cell) -> None:
    if cell.role == "predict" and not cell.name:
        raise cell.wrong("a predict cell without a name", 'Write `# %% role="predict" name="gap"`.')
    if not f"_{cell.name}".isidentifier():  # it becomes the end of grade and cell ids
        raise cell.wrong(f"'{cell.name}' is no name", 'Use letters, digits and _, as in name="gap_in_gold".')


def _exercise(cell: Cell) -> Exercise:
    try:
        return exercises.find(cell.exercise)
    except ConfigError as err:
        raise cell.wrong(err.what, "Define it in autograder/exercises/.") from None


def _check_script(cells: Sequence[Cell], script: Path) -> None:
    counts = Counter(cell.grade_id or cell.role for cell in cells if cell.role)
    for cell in cells:
        if counts[called := cell.grade_id or cell.role] > 1:
            raise cell.wrong(f"two cells are called '{called}'", 'Tell them apart with name="b".')
    for exercise in sorted({cell.exercise for cell in cells if cell.exercise}):
        for role in ("answer", "check"):
            if not any(cell.exercise == exercise and cell.role == role for cell in cells):
                fix = f'Add a cell `# %% exercise="{exercise}" role="{role}"`.'
                raise ConfigError(f"exercise {exercise} has no {role} cell", where=script.name, fix=fix)


def instructor(script: Path, course: str = "") -> NotebookNode:
    """The notebook of a script with its solutions in place and nbgrader's metadata; `course` is the salt."""
    cells = read(script)
    nb = nbformat.v4.new_notebook(metadata=KERNEL | {"autograder": {LAZY: True}})
    seen: Counter[str] = Counter()
    for cell in cells:
        node = _node(cell, script, course)
        seen[node.id] += 1
        node.id += f"-{seen[node.id]}" if seen[node.id] > 1 else ""
        nb.cells.append(node)
    _check_syntax(nb, cells)
    return _framed(nb, cells, script.stem, course)


def _framed(nb: NotebookNode, cells: Sequence[Cell], name: str, course: str) -> NotebookNode:
    """The notebook with where it runs below its title, and with how to hand it in at its end.

    A course's own notebooks (`course`) are handed out by it: its link would lead to the common variant.
    """
    section = next((cell.gpu for cell in cells if cell.gpu), "")
    lines = [*([] if course else [colab_line(name)]), gpu_line(section), words_line()]
    nb.cells[0].source += f"\n\n{' '.join(lines)}"
    graded = sorted({cell.exercise for cell in cells if cell.exercise})
    text = HAND_IN.format(first=graded[0], last=graded[-1], name=name) if graded else NO_HAND_IN
    nb.cells.append(nbformat.v4.new_markdown_cell(text, id="hand_in"))
    return nb


def _node(cell: Cell, script: Path, course: str) -> NotebookNode:
    # An id from the text as written: it moves neither with a number in the text nor with the salt.
    identity = cell.grade_id or cell.role or hashlib.sha256(cell.source.encode()).hexdigest()[:8]
    metadata = {"nbgrader": _metadata(cell)} if cell.grade_id else {}
    if cell.kind == "markdown":
        text = expand(cell.source, cell.where)
        return nbformat.v4.new_markdown_cell(text, id=identity, metadata=metadata)
    source = _setup(script, course) if cell.role == "setup" else cell.source
    return nbformat.v4.new_code_cell(source, id=identity, metadata=metadata)


def _setup(script: Path, course: str) -> str:
    return SETUP.format(
        install=install_cell(),
        names=", ".join(sorted(autograder.__all__)),
        notebook=script.name[:2],
        salt=f", course={json.dumps(course)}" if course else "",
    )


def _metadata(cell: Cell) -> dict[str, str | bool | int | float]:
    graded, by_hand = cell.role == "check", cell.role == "memo"
    flags = {
        "grade": graded,
        "locked": graded or by_hand,
        "solution": not (graded or by_hand),
        "task": by_hand,
    }
    points = {}
    if graded or by_hand:
        points = {"points": _exercise(cell).points if graded else _exercise(cell).by_hand}
    return {"grade_id": cell.grade_id, "schema_version": 3, **flags, **points}


def student_text(nb: NotebookNode) -> str:
    """The student's notebook as text: what `nbgrader generate_assignment` makes of the instructor's `nb`."""
    config = PyFileConfigLoader(CONFIG.name, CONFIG.parent).load_config()
    steps = [step for step in release_steps(config) if step is not SaveCells]  # that writes the gradebook
    return processed(nb, steps, config)


def _check_syntax(nb: NotebookNode, cells: Sequence[Cell]) -> None:
    """Every code cell must be Python, also where jupytext took a comment (`# copy it`) for a magic."""
    transform = TransformerManager().transform_cell
    for node, cell in zip(nb.cells, cells, strict=False):  # the builder adds a last one
        try:
            ast.parse(transform(node.source) if cell.kind == "code" else "")
        except SyntaxError as err:
            fix = f"Look at {err.text!r}. (A comment such as `# copy it` is taken for a command: reword it.)"
            raise cell.wrong(f"the cell is not Python: {err.msg}", fix) from None


def release(script: Path) -> str:
    """The text of the student's notebook of a script."""
    try:
        text = student_text(instructor(script))
    except (RuntimeError, ValidationError) as err:  # nbgrader's: a region in another or without end
        raise ConfigError(
            str(err), where=script.name, fix="Look at its markers and solution regions."
        ) from err
    _check_syntax(nbformat.reads(text, as_version=4), read(script))
    return text


def solved(script: Path, course: str = "") -> str:
    """The text of the instructor's notebook of a script."""
    return nbformat.writes(instructor(script, course)) + "\n"


def scripts(folder: Path = SOLUTIONS) -> list[Path]:
    """The percent scripts of the course, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def main(argv: Sequence[str] | None = None) -> int:
    """Build notebooks from percent scripts."""
    parser = argparse.ArgumentParser(prog="python -m autograder release", description="Build the notebooks.")
    parser.add_argument("scripts", nargs="*", type=Path, help="percent scripts (default: all of solutions/)")
    parser.add_argument(
        "--out", type=Path, default=NOTEBOOKS, help="folder to write to (default: notebooks/)"
    )
    parser.add_argument("--solved", action="store_true", help="keep the solutions")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    for script in options.scripts or scripts():
        target = options.out / f"{script.stem}.ipynb"
        text = solved(script) if options.solved else release(script)
        target.write_text(text, encoding="utf-8", newline="\n")
        print(f"{target}: {target.stat().st_size / 1000:.0f} KB")
    return 0
