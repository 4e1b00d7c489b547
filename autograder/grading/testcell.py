"""A test cell as code that runs outside of the learner's process, and what it may ask about their text.

Harmless magics do what they do in a notebook; others are refused by name, so that the instructor hears of
them before a class is graded. Source text comes from the submission's cells, never from its process.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from autograder.grading.needed import assigned, captured, strange_magics, without_magics
from autograder.grading.reach import NotOutside
from autograder.grading.standins import RemoteObject

ASKED = "_of_a_function"
"""The name under which code asks for what a function's attributes tell about its text."""
SAME = "_is_the_same"
COMPARED = "_compared"
COMPARISONS = {ast.Eq: "eq", ast.NotEq: "ne"}
TEXTUAL = ("__code__", "__globals__", "__closure__", "__annotations__", "__defaults__", "__kwdefaults__")
REFUSED = ("dis", "tracemalloc", "gc")
"""Modules that look into a process: here they would look into the wrong one."""


class _Attributes(ast.NodeTransformer):
    """Has attributes of functions that a stand-in cannot have asked for by a call; `is` and `==` likewise."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`a is b` and `a == b` become calls: two stand-ins may stand for one object, arrays may be empty."""
        self.generic_visit(node)
        if len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
            name = ast.Constant(COMPARISONS[type(node.ops[0])])
            both = [node.left, *node.comparators]
            return ast.copy_location(ast.Call(ast.Name(COMPARED, ast.Load()), [name, *both], []), node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Is | ast.IsNot):
            return node
        same: ast.expr = ast.Call(ast.Name(SAME, ast.Load()), [node.left, *node.comparators], [])
        same = same if isinstance(node.ops[0], ast.Is) else ast.UnaryOp(ast.Not(), same)
        return ast.copy_location(same, node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`a - b` becomes a call: the norm of a difference of nothing and something is 0."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Sub):
            return node
        called = ast.Call(ast.Name(COMPARED, ast.Load()), [ast.Constant("sub"), node.left, node.right], [])
        return ast.copy_location(called, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`f.__code__` becomes a question about `f`."""
        self.generic_visit(node)
        if node.attr not in TEXTUAL or not isinstance(node.ctx, ast.Load):
            return node
        name = ast.Name(ASKED, ast.Load())
        return ast.copy_location(ast.Call(name, [node.value, ast.Constant(node.attr)], []), node)


def compiled(source: str) -> list[types.CodeType]:
    """A cell as statements, and its last expression apart if it ends with one. Raises NotOutside."""
    if strange := strange_magics(source):
        raise NotOutside(f"`{strange[0]}`")
    tree = ast.parse(without_magics(source), "<test>")
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        if refused := [name for name in names if name in REFUSED]:
            raise NotOutside(f"the module `{refused[0]}`")
    tree = ast.fix_missing_locations(_Attributes().visit(tree))
    if (name := captured(source)) is not None:
        target = ast.Name(name, ast.Store()) if name else None
        item = ast.withitem(ast.Call(ast.Name("_captured", ast.Load()), [], []), target)
        tree = ast.fix_missing_locations(ast.Module([ast.With([item], tree.body)], type_ignores=[]))
    last = tree.body[-1] if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if last is None or source.rstrip().endswith(";"):
        return [_code(tree, "exec")]
    body = ast.Module(tree.body[:-1], type_ignores=[])
    return [_code(body, "exec"), _code(ast.Expression(last.value), "eval")]


def _code(tree: Any, mode: str) -> types.CodeType:
    return compile(tree, "<test>", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def value_of(code: types.CodeType, space: dict[str, Any]) -> Any:
    """Run a part of a cell; the value of an expression."""
    result = eval(code, space)
    return asyncio.run(result) if code.co_flags & inspect.CO_COROUTINE else result


def is_the_same(first: Any, other: Any) -> bool:
    """Whether two values are one object, here or in the learner's process."""
    theirs = isinstance(first, RemoteObject) and isinstance(other, RemoteObject)
    return first is other or (theirs and first._reference == other._reference)


class Captured:
    """What `%%capture` keeps of a cell."""

    def __init__(self) -> None:
        self.stdout = self.stderr = ""

    def show(self) -> None:
        """Nothing is shown."""


@contextlib.contextmanager
def capture() -> Iterator[Captured]:
    """Keep what the block prints."""
    record, streams = Captured(), (io.StringIO(), io.StringIO())
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            yield record
    finally:
        record.stdout, record.stderr = (stream.getvalue() for stream in streams)


class Sources:
    """The texts of the cells that ran, for tests that look at how something is written."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        find_source = inspect.findsource
        inspect.findsource = lambda value: self._lines(value) or find_source(value)

    def latest(self, name: str) -> str | None:
        """The last statement that gives a name its value, where that is a definition or an assignment."""
        for text in reversed(self.texts):
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                text = without_magics(text)
                for node in reversed(ast.parse(text).body):
                    if name in assigned([node]):
                        return _segment(text, node)
        return None

    def _lines(self, value: Any) -> tuple[list[str], int] | None:
        name = named(value)
        if name is None:
            return None
        text = self.latest(name)
        if text is None:
            raise OSError("could not get source code")
        return text.splitlines(keepends=True), 0

    def of_function(self, value: Any, attribute: str) -> Any:
        """An attribute of a function; of a learner's only its code, from its text. Raises NotOutside."""
        if not hasattr(value, "_reference") and not hasattr(value, "_reference_of_class"):
            return getattr(value, attribute)
        text = self.latest(named(value) or "") if attribute == "__code__" else None
        codes = _codes(compile(text, "<submission>", "exec")) if text else []
        if not codes:
            raise NotOutside(f"`{attribute}` of a learner's function")
        return codes[0]


def _segment(text: str, node: ast.stmt) -> str | None:
    if not isinstance(
        node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
    ):
        return None
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno]) + "\n"


def _codes(code: types.CodeType) -> Sequence[types.CodeType]:
    return [part for part in code.co_consts if isinstance(part, types.CodeType)]


def name_it(value: Any, name: str) -> None:
    """Note under which name a function or class of the learner's was lent."""
    if hasattr(value, "_reference") and isinstance(value, types.FunctionType):
        value._named = name
    elif isinstance(value, type) and "_reference_of_class" in vars(value):
        type.__setattr__(value, "_named", name)


def named(value: Any) -> str | None:
    """The name under which a stand-in was lent, or None for what is none or has none."""
    name: Callable[..., Any] | None = vars(value).get("_named") if hasattr(value, "__dict__") else None
    return name if isinstance(name, str) else None
