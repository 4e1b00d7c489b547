"""Every public thing says what it is; functions stay annotated, short and with few arguments."""

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The catalogue's files are answers of learners, and nbgrader's settings are no module.
LEARNERS = (ROOT / "autograder" / "wrong").glob("*.py")
AUTOGRADER = {*(ROOT / "autograder").rglob("*.py")} - {
    *LEARNERS,
    ROOT / "autograder" / "build" / "nbgrader_config.py",
}
SOURCES = sorted([*(ROOT / "rslib").rglob("*.py"), *AUTOGRADER])
Function = ast.FunctionDef | ast.AsyncFunctionDef
by_file = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function but the kernels: their arguments are those of a launch, and Triton knows their types."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, Function))
    yield from (n for n in nodes if "triton.jit" not in map(ast.unparse, n.decorator_list))


def public_definitions(tree: ast.Module, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public classes, functions and methods of a module (not what is nested in a function)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.ClassDef, *Function.__args__)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node, f"{node.name}.")


def arguments(node: Function) -> list[ast.arg]:
    """The arguments a caller can give by name or place; self and cls are none."""
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [arg for arg in named if arg.arg not in ("self", "cls")]


def code_lines(node: Function) -> int:
    """Lines from `def` to the last statement, the docstring left out.

    >>> code_lines(next(functions(ast.parse('def f():\\n    "doc"\\n    return 1'))))
    2
    """
    head = node.body[0]
    docstring = head.end_lineno - head.lineno + 1 if ast.get_docstring(node) is not None else 0
    return node.end_lineno - node.lineno + 1 - docstring


@by_file
def test_a_module_opens_with_its_docstring(path):
    assert ast.get_docstring(parse(path)), "say in one line what the module is for"


@by_file
def test_every_public_name_has_a_docstring(path):
    missing = [
        f"line {n.lineno}: {name}" for name, n in public_definitions(parse(path)) if not ast.get_docstring(n)
    ]
    assert not missing, "\n".join(missing)


@by_file
def test_every_function_is_fully_annotated(path):
    wrong = []
    for node in functions(parse(path)):
        variadic = [arg for arg in (node.args.vararg, node.args.kwarg) if arg is not None]
        bare = [arg.arg for arg in (*arguments(node), *variadic) if arg.annotation is None]
        if bare or node.returns is None:
            wrong.append(f"line {node.lineno}: {node.name} lacks {', '.join(bare) or 'its return type'}")
    assert not wrong, "\n".join(wrong)


@by_file
def test_no_function_takes_more_than_eight_arguments(path):
    wide = [
        f"line {n.lineno}: {n.name} takes {k}" for n in functions(parse(path)) if (k := len(arguments(n))) > 8
    ]
    assert not wide, "\n".join(wide)


@by_file
def test_no_function_is_longer_than_sixty_lines(path):
    # A list of wrong ideas, each with the value that it gives, is data: splitting it would help nobody.
    code = (node for node in functions(parse(path)) if not node.name.endswith(("_ideas", "_wrong_values")))
    counted = [(node, code_lines(node)) for node in code]
    long = [f"line {node.lineno}: {node.name} has {count}" for node, count in counted if count > 60]
    assert not long, "\n".join(long)


def test_most_functions_are_short():
    lengths = sorted(code_lines(node) for path in SOURCES for node in functions(parse(path)))
    assert statistics.median(lengths) <= 12, f"median {statistics.median(lengths)}"
    p90 = lengths[int(0.9 * len(lengths))]
    assert p90 <= 35, f"90th percentile {p90}"
