"""What a method asks of those who read and set it: lines of code, counted, and hyper-parameters."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from collections.abc import Iterable
from typing import Any

BARE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(parts: Iterable[Any]) -> int:
    """Lines of modules, classes and functions that hold code: no blank line, comment or docstring."""
    return sum(code_lines_of(textwrap.dedent(inspect.getsource(part))) for part in parts)


def code_lines_of(source: str) -> int:
    r"""Lines of a source text that hold code.

    >>> code_lines_of('def f():\n    "Say it."\n\n    # why\n    return (1,\n            2)\n')
    3
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {at for t in tokens if t.type not in BARE for at in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)
