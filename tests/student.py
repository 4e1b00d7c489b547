"""The students' notebooks as a learner would work through them: filled with right answers, or left blank.

An answer cell is filled from the catalogue: the last right answer of the exercise that is not the model
solution. It runs in a space of its own, and only the names that the cell and the exercise ask for come out of
it, so that no released cell can live on a name which a learner would not have.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from symtable import symtable
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from autograder import blanks, exercises
from autograder.build import catalogue
from autograder.build.release import read, release

ROOT = Path(__file__).resolve().parents[1]
DOTS = re.compile(r"^[ \t]*\.\.\.  # your code here\n?", re.MULTILINE)


def blank(script: Path) -> NotebookNode:
    """The notebook as it is handed out."""
    return nbformat.reads(release(script), as_version=4)


def filled(script: Path) -> NotebookNode:
    """The notebook with every answer cell filled and every prediction made."""
    nb, cells = blank(script), read(script)
    last = {cell.exercise: cell for cell in cells if cell.role == "answer"}
    for node, cell in zip(nb.cells, cells, strict=False):  # the builder adds a last one
        if cell.role == "predict":
            node.source = cell.source
        elif cell.role == "answer":
            wanted = made_by(node.source)
            if cell is last[cell.exercise]:
                wanted |= set(exercises.find(cell.exercise).names)
            node.source = f"{DOTS.sub('', node.source)}\n{_filling(cell.exercise, sorted(wanted))}"
    return nb


def _filling(exercise: str, names: list[str]) -> str:
    return (
        "from tests.student import answered as _answered\n"
        f"globals().update(_answered({exercise!r}, {names!r}))\ndel _answered"
    )


def answered(exercise: str, names: list[str]) -> dict[str, Any]:
    """What the chosen answer gives under these names; in the kernel of a notebook."""
    space = _space(exercise)
    return {name: space[name] for name in names if name in space}


@cache
def _space(exercise: str) -> dict[str, Any]:
    return chosen(exercise).names()


def chosen(exercise: str) -> catalogue.Answer:
    """The catalogue's last right answer."""
    return [answer for answer in catalogue.answers(exercise) if answer.correct][-1]


# Names -----------------------------------------------------------------------------------------------


def _table(source: str) -> Any:
    return symtable(TransformerManager().transform_cell(source), "cell", "exec")


def made_by(source: str) -> set[str]:
    """The names that a cell assigns, defines or imports."""
    symbols = _table(source).get_symbols()
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}


def missing_names(script: Path) -> Iterator[str]:
    """What released cells read that no cell before them makes and no exercise before them asks for."""
    known = {*dir(builtins), "get_ipython"}
    for node, cell in zip(blank(script).cells, read(script), strict=False):
        if node.cell_type == "code":
            made = made_by(node.source)
            if gone := sorted(blanks._read(_table(node.source)) - made - known):
                yield f"{cell.where} reads {', '.join(gone)}"
            known |= made
            if cell.role == "answer":
                known |= set(exercises.find(cell.exercise).names)
