"""How large the house is: `python tests/house.py` prints the table that CONTRIBUTING speaks of.

Nothing here fails a build. The goals stand beside the counts, so that whoever adds something sees its cost.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROAD = (
    "pipeline prompts sampling scoring selection finetuning evaluation reporting stages tables "
    "store config errors progress"
).split()
"""The files of the road, in reading order."""
VAGUE = frozenset("found at said told own one here place".split())
"""Names that say nothing about what they hold."""
ONE_ROUND = """
import sys, rslib
rslib.run(out=sys.argv[1], n=2, prompts=4, eval_prompts=4, eval_samples_per_prompt=1, max_new_tokens=8,
          eval_max_new_tokens=8, show_progress=False)
print(sum(name.split(".")[0] == "rslib" for name in sys.modules))
"""


def files(*folders: str, without: Iterable[str] = ()) -> list[Path]:
    """Python files below folders of the repository, those below a folder named in `without` left out."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if not set(path.relative_to(ROOT).parts) & set(without)]


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def lines(paths: Iterable[Path]) -> int:
    """Lines of some files, blank ones and comments counted."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def road() -> list[Path]:
    """The files of the road that are there."""
    return [path for name in ROAD if (path := ROOT / "rslib" / f"{name}.py").exists()]


def imported_by_one_round() -> int:
    """Modules of rslib that a run of one round loads, the package itself among them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", ONE_ROUND, folder]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def public_names(paths: Iterable[Path]) -> Iterator[ast.stmt | ast.expr]:
    """Functions, classes and constants of modules whose names do not begin with an underscore."""
    for node in (node for path in paths for node in tree(path).body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [(node.name, node)]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [(target.id, target) for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (named for name, named in names if not name.startswith("_"))


def functions(paths: Iterable[Path]) -> list[ast.FunctionDef]:
    """Every function and method, inner ones too."""
    return [node for path in paths for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]


def length(function: ast.FunctionDef) -> int:
    """Lines of a function with its signature, its docstring left out."""
    whole = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    return whole - (function.body[0].end_lineno - function.body[0].lineno + 1)


def documented(paths: Iterable[Path]) -> tuple[int, int]:
    """Public functions and classes of modules, and how many of them have a docstring and all annotations."""
    nodes = [n for n in public_names(paths) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return len(nodes), sum(bool(ast.get_docstring(node)) and _annotated(node) for node in nodes)


def _annotated(node: ast.FunctionDef | ast.ClassDef) -> bool:
    if isinstance(node, ast.ClassDef):
        return True
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return node.returns is not None and all(argument.annotation for argument in arguments)


def bindings(paths: Iterable[Path]) -> list[str]:
    """Every name that some code binds: variables and arguments."""
    nodes = [node for path in paths for node in ast.walk(tree(path))]
    stored = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return stored + [n.arg for n in nodes if isinstance(n, ast.arg)]


def vague(paths: Iterable[Path]) -> float:
    """Per cent of bindings that are vague."""
    names = bindings(paths)
    return 100 * sum(name in VAGUE for name in names) / len(names)


def table() -> list[tuple[str, str, str]]:
    """Rows of (what is counted, the count, the goal)."""
    engine, grader = files("rslib"), files("autograder", without=("wrong",))
    both = [*engine, *grader]
    many, good = documented(both)
    lengths = [length(function) for function in functions(both)]
    return [
        ("lines of rslib", f"{lines(engine):,} in {len(engine)} files", "10,500"),
        ("lines of the road", f"{lines(road()):,} in {len(road())} files", "4,300"),
        ("lines of autograder without wrong/", f"{lines(grader):,} in {len(grader)} files", "17,500"),
        ("lines of docs/", f"{lines(files('docs')):,}", "2,500"),
        ("files of rslib that one round imports", str(imported_by_one_round()), "30"),
        ("public names of rslib", str(len(list(public_names(engine)))), "350"),
        ("lines of a function, median", f"{statistics.median(lengths):.0f}", "8"),
        ("lines of a function, longest", str(max(lengths)), "50"),
        ("public names documented and annotated", f"{good} of {many}", "all"),
        ("vague names in rslib, % of bindings", f"{vague(engine):.2f}", "1"),
        ("vague names in autograder, % of bindings", f"{vague(grader):.2f}", "1"),
    ]


def main() -> None:
    """Print the table."""
    for what, count, goal in [("what", "now", "goal"), *table()]:
        print(f"{what:<42} {count:>24}   {goal}")


if __name__ == "__main__":
    main()
