"""What a notebook does about answers that are not there yet: a cell that needs one says so and is not run.

`watch` hangs a `Blanks` into the kernel. A cell is not run while it reads a name that is still its stub:
`...`, a function whose body is `...`, or an empty list, dict or text that an exercise asks for; nor while it
reads what such a cell would have made. So "Run all" on a blank notebook comes to its end, and no cell of a
notebook guards itself.
"""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Iterator, Mapping
from symtable import SymbolTable, symtable
from typing import Any


class Blanks(ast.NodeTransformer):
    """Looks at every cell before it is run. `asked`: name -> id of the exercise that asks for it."""

    def __init__(self, names: Mapping[str, Any], asked: Mapping[str, str]) -> None:
        self._names = names
        self._asked = dict(asked)
        self._missing: dict[str, str] = {}
        """What cells that were not run would have made -> the name that they need."""

    def visit_Module(self, cell: ast.Module) -> ast.Module:
        """The cell as it is, or a line that says what it needs."""
        try:
            table = symtable(ast.unparse(cell), "cell", "exec")
        except SyntaxError:  # an await outside of a function, which a notebook allows
            return cell
        made = {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}
        needs = self._needs(cell, table, made)
        if needs is not None:
            return self._not_run(cell, needs, made)
        for name in made:
            self._missing.pop(name, None)
        if any(map(_is_dots, cell.body)):
            self._asked |= {name: self._asked.get(name, "") for name in made}
            cell.body = [statement for statement in cell.body if not _is_dots(statement)]  # else "Ellipsis"
        return cell

    def _not_run(self, cell: ast.Module, needs: str, made: set[str]) -> ast.Module:
        """What is left of a cell that is not run: its imports, definitions, and a line for the rest."""
        line = ast.parse(f"print({self._line(needs)!r})").body
        kept = [statement for statement in cell.body if isinstance(statement, _DEFINES)]
        defined = symtable(ast.unparse(ast.Module(kept, [])), "cell", "exec").get_identifiers()
        self._missing |= dict.fromkeys(made - set(defined) - self._names.keys(), needs)
        return ast.Module([*kept, *line], [])

    def _needs(self, cell: ast.Module, table: SymbolTable, made: set[str]) -> str | None:
        """The first name, in the order of the alphabet, that the cell needs and that is not there yet."""
        if all(isinstance(statement, _DEFINES) for statement in cell.body):
            return None
        needed = (self._blank(name, set()) for name in sorted(_read(table) - made - _filled_by(cell)))
        return next((name for name in needed if name), None)

    def _blank(self, name: str, seen: set[str]) -> str:
        """The unanswered name that `name` is or rests on; "" where there is none."""
        if name in seen:
            return ""
        seen.add(name)
        if name not in self._names:
            return self._missing.get(name, "")
        value = self._names[name]
        if value is ... or name in self._asked and is_empty(value):
            return name
        if not isinstance(value, types.FunctionType) or value.__globals__ is not self._names:
            return ""
        if _is_stub(value):
            return name
        return next(filter(None, (self._blank(used, seen) for used in sorted(_used(value.__code__)))), "")

    def _line(self, name: str) -> str:
        exercise = self._asked.get(name)
        which = f"`{name}` of exercise {exercise}" if exercise else f"`{name}`"
        if name in self._names and not self._blank(name, set()):
            return f"Not run: it needs what an earlier cell makes of {which}. Run that cell, then this one."
        return f"Not run: it needs {which}. Write your answer, run its cell, then this one."


_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _is_dots(statement: ast.stmt) -> bool:
    """Whether a statement is `...`, what stands where an answer goes."""
    return isinstance(statement, ast.Expr) and getattr(statement.value, "value", None) is ...


def _filled_by(cell: ast.Module) -> set[str]:
    """The names that a cell writes into, as in `tuned["best"] = ...` and `pools.append(...)`."""
    nodes = list(ast.walk(cell))
    written = [
        node.value
        for node in nodes
        if isinstance(node, ast.Subscript | ast.Attribute)
        and (isinstance(node.ctx, ast.Store) or isinstance(node, ast.Attribute) and node.attr in _FILLS)
    ]
    return {node.id for node in written if isinstance(node, ast.Name)}


_FILLS = {"append", "extend", "update", "setdefault", "insert"}


def is_empty(value: Any, depth: int = 4) -> bool:
    """Whether nothing is in a list, dict, tuple or text, or nothing but what is empty itself, so many deep.

    >>> is_empty({"a": "", "b": ("", "")}), is_empty({}), is_empty([0]), is_empty(None)
    (True, True, False, True)
    """
    if isinstance(value, dict | list | tuple):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(is_empty(item, depth - 1) for item in inner)
    return value is None or value is ... or (isinstance(value, str) and not value)


def _is_stub(function: types.FunctionType) -> bool:
    """Whether a function does nothing but return None: its body is `...`, perhaps below a docstring."""
    steps = [step for step in dis.get_instructions(function) if step.opname not in ("RESUME", "NOP")]
    return all(step.opname in _RETURNS and step.argval is None for step in steps)


_RETURNS = {"LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}


def _read(table: SymbolTable) -> set[str]:
    """The names of the notebook that a cell reads, inside its functions too."""
    top = table.get_type() == "module"
    symbols = (s for s in table.get_symbols() if s.is_referenced() and (top or s.is_global()))
    return {symbol.get_name() for symbol in symbols}.union(*map(_read, table.get_children()))


def _used(code: types.CodeType) -> Iterator[str]:
    """The names outside of it that a function's code reads, those of its inner functions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _used(constant)


def watch(shell: Any, asked: Mapping[str, str]) -> None:
    """From now on the shell's cells are looked at; a second call begins anew."""
    kept = [other for other in shell.ast_transformers if not isinstance(other, Blanks)]
    shell.ast_transformers[:] = [*kept, Blanks(shell.user_ns, asked)]
