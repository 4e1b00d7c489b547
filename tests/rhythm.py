"""The rules of a notebook's form, each a function that yields what breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from IPython.core.inputtransformer2 import TransformerManager

from autograder.build.release import Cell
from autograder.exercise import Exercise
from tests.test_glossary import forbidden

ROW, LINES, WORDS = 3, 20, 90
EXERCISES = range(4, 8)
HINT = "<summary>Hint"
# Learners answer questions here, and follow instructions; of a policy both words stay forbidden.
LEARNERS_WORDS = {"answer", "instruction"}
# The notebooks about reinforcement learning use its words.
RL_NOTEBOOKS, RL_WORDS = {"06", "07"}, {"actor", "critic", "rollout", "trajectory"}
AMERICAN = (
    r"\b(?:behavior|color|favor|labeled|modeling|center)|(?:optim|normal|summar|general|penal|minim|maxim)iz"
)
RULES: dict[str, Callable[[Notebook], Iterator[str]]] = {}


@dataclass(frozen=True)
class Notebook:
    """A script's number, cells and exercises."""

    number: str
    cells: Sequence[Cell]
    exercises: Sequence[Exercise]

    @property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

    @property
    def text(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "markdown"]


def rule(function: Callable[[Notebook], Iterator[str]]) -> Callable[[Notebook], Iterator[str]]:
    RULES[function.__name__] = function
    return function


def bullets(text: str) -> int:
    return len(re.findall(r"^(?:[-*]|\d\.) ", text, flags=re.MULTILINE))


def prose(text: str) -> str:
    """The text without code, mathematics, links, tags, and without what is quoted or in italics."""
    for left_out in (
        r"```.*?```", r"\$\$.*?\$\$", r"`[^`]*`", r"\$[^$\n]*\$", r"\{\{.*?\}\}", r"<[^>]*>", r"\]\([^)]*\)",
        r'"[^"\n]*"', r"“[^”]*”", r"(?<![*\w])\*[^*\n]+\*(?!\*)",
    ):  # fmt: skip
        text = re.sub(left_out, " ", text, flags=re.DOTALL)
    return text


def paragraphs(text: str) -> Iterator[str]:
    """Blocks of prose; every item of a list is one, tables and code are none."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if not block.lstrip().startswith("|"):
            yield re.sub(r"<[^>]*>", " ", block)


def code_lines(source: str) -> int:
    """Lines that are neither blank, nor the marks of a solution, nor a docstring."""
    lines = {n for n, line in enumerate(source.splitlines(), 1) if line.strip() and "SOLUTION" not in line}
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def parsed(source: str) -> ast.Module:
    """The cell's tree, magics included."""
    return ast.parse(TransformerManager().transform_cell(source))


def calls(cell: Cell, name: str) -> list[str]:
    """The first argument of every call of this function, as source text."""
    nodes = (node for node in ast.walk(parsed(cell.source)) if isinstance(node, ast.Call))
    found = [node for node in nodes if isinstance(node.func, ast.Name) and node.func.id == name]
    return [ast.unparse(node.args[0]) if node.args else "" for node in found]


@rule
def opens_with_three_bullets_minutes_and_points(nb: Notebook) -> Iterator[str]:
    first = nb.cells[0].source
    if nb.cells[0].kind != "markdown" or bullets(first) != 3:
        yield "the first cell is text with 3 bullets: what you will be able to do"
    if not re.search(r"\b\d+ minutes", first):
        yield "the first cell says how many minutes the notebook takes"
    total = sum(exercise.points for exercise in nb.exercises)
    if nb.exercises and not re.search(rf"(?<![\d.]){total:g} points", first):
        yield f"the first cell says `{total:g} points`, the sum of the exercises"


@rule
def sets_up_in_the_second_cell(nb: Notebook) -> Iterator[str]:
    if len(nb.cells) < 2 or nb.cells[1].role != "setup":
        yield 'the second cell is `# %% role="setup"`'


@rule
def closes_with_what_you_now_know(nb: Notebook) -> Iterator[str]:
    last = [cell for cell in nb.cells if cell.source.strip() != "progress()"][-1]
    if not re.match(r"#+ What you now know\n", last.source) or bullets(last.source) != 3:
        yield "the last text is `## What you now know` with 3 bullets"
    if nb.exercises and nb.cells[-1].source.strip() != "progress()":
        yield "the last cell is `progress()`"


@rule
def has_few_code_cells_in_a_row(nb: Notebook) -> Iterator[str]:
    for kind, group in groupby(nb.cells, key=lambda cell: cell.kind):
        row = list(group)
        if kind == "code" and len(row) > ROW:
            yield f"{row[0].where}: {len(row)} code cells in a row; at most {ROW}"


@rule
def has_short_code_cells(nb: Notebook) -> Iterator[str]:
    for cell in nb.code:
        if (count := code_lines(cell.source)) > LINES:
            yield f"{cell.where}: {count} lines of code; at most {LINES}"


@rule
def has_short_paragraphs(nb: Notebook) -> Iterator[str]:
    for cell in nb.text:
        for block in paragraphs(cell.source):
            if (count := len(block.split())) > WORDS:
                yield f"{cell.where}: a paragraph of {count} words ({block.strip()[:30]!r}); at most {WORDS}"


@rule
def has_its_exercises_in_order(nb: Notebook) -> Iterator[str]:
    checked = [cell.exercise for cell in nb.cells if cell.role == "check"]
    if checked != [exercise.id for exercise in nb.exercises]:
        yield f"the exercises checked are {checked}; defined are {[exercise.id for exercise in nb.exercises]}"
    if nb.number != "00" and len(nb.exercises) not in EXERCISES:
        yield f"{len(nb.exercises)} exercises; a notebook has 4 to 7"


@rule
def gives_every_exercise_a_card_and_a_folded_hint(nb: Notebook) -> Iterator[str]:
    for exercise in nb.exercises:
        at = [n for n, cell in enumerate(nb.cells) if f"{{{{card:{exercise.id}}}}}" in cell.source]
        own = [n for n, cell in enumerate(nb.cells) if cell.exercise == exercise.id]
        if len(at) != 1 or not own or at[0] > own[0]:
            yield f"exercise {exercise.id} has one card, before its cells"
            continue
        following = [n for n, cell in enumerate(nb.cells) if "{{card:" in cell.source and n > at[0]]
        section = nb.cells[at[0] : min(following, default=len(nb.cells))]
        if not any("<details" in cell.source and HINT in cell.source for cell in section):
            yield f"exercise {exercise.id} has a hint: <details><summary>Hint</summary> ... </details>"


@rule
def compares_every_prediction_later(nb: Notebook) -> Iterator[str]:
    for at, cell in enumerate(nb.cells):
        if cell.role == "predict":
            name = repr(cell.name)
            if name not in calls(cell, "predict"):
                yield f"{cell.where}: the cell calls predict({name}, ...)"
            if not any(name in calls(later, "compare") for later in nb.cells[at:] if later.kind == "code"):
                yield f"{cell.where}: nothing compares the prediction {name} later"


@rule
def keeps_to_the_glossary(nb: Notebook) -> Iterator[str]:
    words = {word: term for word, term in forbidden().items() if word not in LEARNERS_WORDS}
    if nb.number in RL_NOTEBOOKS:
        words = {word: term for word, term in words.items() if word not in RL_WORDS}
    for cell in nb.text:
        for word, term in words.items():
            if re.search(rf"\b{word.replace('_', ' ')}s?\b", prose(cell.source), flags=re.IGNORECASE):
                yield f"{cell.where}: '{word}'; the house word is '{term}' (or quote it, as a paper's word)"


@rule
def is_spelled_in_the_house_way(nb: Notebook) -> Iterator[str]:
    for cell in nb.text:
        text = prose(cell.source)
        if found := re.search(AMERICAN, text, flags=re.IGNORECASE):
            yield f"{cell.where}: '{found[0]}...' is American spelling"
        if re.search(r"\w!(?:\s|$)", text):
            yield f"{cell.where}: an exclamation mark"


@rule
def shows_figures_through_rslib_alone(nb: Notebook) -> Iterator[str]:
    for cell in nb.code:
        names = {
            ast.unparse(node) for node in ast.walk(parsed(cell.source)) if isinstance(node, ast.Attribute)
        }
        names |= {node.id for node in ast.walk(parsed(cell.source)) if isinstance(node, ast.Name)}
        if "pyplot" in cell.source or names & {"plt", "plt.show", "Image", "display"}:
            yield f"{cell.where}: show figures with rslib.plots.show, which prints their summary"


@rule
def installs_and_calls_nothing_by_shell(nb: Notebook) -> Iterator[str]:
    for cell in nb.code:
        if re.search(r"^\s*(?:!|%pip|%conda|%%)", cell.source, flags=re.MULTILINE):
            yield f"{cell.where}: a shell command or an install; the setup cell does what is needed"


def longest_gap(shown: Sequence[bool]) -> int:
    """How many cells in a row have nothing to look at.

    >>> longest_gap([False, True, False, False, True])
    2
    """
    places = [-1, *(at for at, seen in enumerate(shown) if seen), len(shown)]
    return max(after - before - 1 for before, after in pairwise(places))
