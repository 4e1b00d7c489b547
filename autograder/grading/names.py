"""Whose a name of a notebook is: the instructor's, repeated beside the tests, or the learner's, lent to them.

What a plain or locked cell gives is the instructor's, whatever a learner makes of the name. A name is asked
of the learner where an answer cell gives it, as released or as solved, and no later cell of the instructor's
gives it again. What a test cell gives is never taken from the learner.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from autograder.grading.needed import Effects, assigned, binds, effects, tree_of

if TYPE_CHECKING:
    from autograder.grading.plan import Cell

CHANCE = re.compile(r"rand|shuffle|time|now\(|input\(|get_ipython|given\(|begin\(|predict\(")
"""What gives another value each time, or belongs to the learner's session."""
SEEDED = re.compile(r"(default_rng|RandomState|manual_seed)\(\s*\d")
SEED = re.compile(r"^[\w.]*\b(seed|manual_seed)\(\d+\)$")
"""A statement after which numbers by chance are the same each time."""
IMPORTS = ast.Import | ast.ImportFrom
GIVEN = IMPORTS | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
INSTRUCTORS = ("plain", "locked")
REPEATED = (
    ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.For | ast.While | ast.With | ast.If | ast.Try
)


def statements(cell: Cell, text: str | None = None) -> list[ast.stmt]:
    """The statements of a code cell as released, or of another text of it; lines with magics are left out."""
    return tree_of(cell.release if text is None else text).body if cell.kind == "code" else []


def asked(cells: Sequence[Cell]) -> frozenset[str]:
    """The names that a learner is asked to define. An answer that imports a name does not define it."""
    names: set[str] = set()
    for cell in cells:
        if cell.role == "answer":
            for text in (cell.release, cell.solution):
                names |= assigned(statements(cell, text), imported=False)
        elif cell.role in INSTRUCTORS:
            names -= assigned(statements(cell))
    return frozenset(names)


def of_tests(cells: Sequence[Cell]) -> frozenset[str]:
    """The names that test cells give a value to, and that no learner is asked for."""
    names: set[str] = set()
    for cell in cells:
        if cell.role == "test":
            names |= assigned(statements(cell, cell.source))
    return frozenset(names - asked(cells))


def offered(cells: Sequence[Cell]) -> tuple[list[str], frozenset[str]]:
    """The instructor's statements that can be repeated beside the tests, and the names that cannot.

    Imports, functions and classes always can; values where all that they read can. Of the learner's cells the
    instructor's own imports count.
    """
    theirs, known = asked(cells), set(dir(builtins))
    repeated: list[str] = []
    lost: set[str] = set()
    for cell in cells:
        for text, repeats in _texts(cell, known):
            names = binds(text)
            if names & theirs:
                continue
            if repeats:
                repeated.append(text)
                known |= names
                lost -= names
            elif names:
                known -= names
                lost |= names
    return repeated, frozenset(lost)


def shared(cells: Sequence[Cell]) -> tuple[frozenset[str], frozenset[str]]:
    """Names that functions of the instructor's own answers take from the notebook, and those they change.

    A function that only calls itself takes no name from the notebook.
    """
    read: set[str] = set()
    written: set[str] = set()
    for cell in cells:
        for node in statements(cell, cell.solution) if cell.role == "answer" else []:
            effect = effects(ast.unparse(node)) or Effects()
            late = effect.late - assigned([node])
            read |= late
            declared = {name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names}
            written |= declared | (late & _changed_within(node))
    return frozenset(read | written), frozenset(written)


def texts(cells: Sequence[Cell]) -> frozenset[str]:
    """Short texts in the instructor's own answers: some of them name files."""
    nodes = [n for c in cells if c.role == "answer" for s in statements(c, c.solution) for n in ast.walk(s)]
    strings = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return frozenset(text for text in strings if 0 < len(text) < 200 and text.isprintable())


def _changed_within(node: ast.stmt) -> set[str]:
    """Names whose objects the functions of a statement change."""
    bodies = [n.body for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    parts = [effects(ast.unparse(statement)) for body in bodies for statement in body]
    return {name for part in parts if part for name in part.writes}


def _texts(cell: Cell, known: set[str]) -> Iterator[tuple[str, bool]]:
    """The statements of a cell, and whether each can be repeated; all from a seed on are one.

    `known` may grow while they come.
    """
    if cell.role == "answer":
        for text in (cell.release, cell.solution):
            yield from (
                (ast.unparse(node), True) for node in statements(cell, text) if isinstance(node, IMPORTS)
            )
    if cell.role not in INSTRUCTORS:
        return
    nodes = [(node, ast.unparse(node)) for node in statements(cell)]
    seed = next((index for index, (_, text) in enumerate(nodes) if SEED.search(text)), len(nodes))
    block = "\n".join(text for _, text in nodes[seed:])
    if block and _all_repeat(nodes[seed:], known):
        yield from ((text, _repeats(node, text, known)) for node, text in nodes[:seed])
        yield block, True
    else:
        yield from ((text, _repeats(node, text, known)) for node, text in nodes)


def _all_repeat(nodes: Sequence[tuple[ast.stmt, str]], known: set[str]) -> bool:
    """Whether statements behind a seed can be repeated one after the other."""
    grown = set(known)
    for node, text in nodes:
        if not _repeats(node, text, grown, seeded=True):
            return False
        grown |= binds(text)
    return True


def _repeats(node: ast.stmt, text: str, known: set[str], seeded: bool = False) -> bool:
    """Whether a statement can be run again beside the tests, with the same outcome."""
    if isinstance(node, GIVEN):
        return True
    effect = effects(text) if isinstance(node, REPEATED) else None
    by_chance = not seeded and CHANCE.search(text) and not SEEDED.search(text)
    return effect is not None and (effect.reads | effect.late) - _inner(node) <= known and not by_chance


def _inner(node: ast.stmt) -> set[str]:
    """Names that a statement gives a value to before it reads them: of comprehensions, loops and blocks."""
    simple = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr
    parts = [n.target for n in ast.walk(node) if isinstance(n, ast.comprehension)]
    targets = (
        [inner for part in parts for inner in ast.walk(part)] if isinstance(node, simple) else ast.walk(node)
    )
    return {n.id for n in targets if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
