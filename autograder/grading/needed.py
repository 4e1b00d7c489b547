"""Which released cells a submission needs: those that give a value to a name which a cell that runs reads.

Most cells of a course notebook show something and are read by people alone. Running them for every student
costs minutes. A cell is left out only if nobody changed it and its effect can be read off its text.
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import io
import re
import symtable
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

OPAQUE = re.compile(
    r"\b(exec|eval|globals|locals|vars|get_ipython|__main__|user_ns|importlib|setattr|inspect|chdir|environ)\b"
    r"|seed\(|import\s*\*|^[ \t]*[%!]",
    re.MULTILINE,
)
"""What cannot be read off a cell: names made from texts, magics, seeds, settings of the process."""
CHANGES = {
    "append",
    "extend",
    "insert",
    "update",
    "add",
    "pop",
    "remove",
    "clear",
    "sort",
    "reverse",
    "setdefault",
}
"""Methods that change the object before the dot."""
BODIES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
BRANCHES = ast.If | ast.For | ast.While | ast.Try | ast.Match | ast.AsyncFor


@dataclass
class Effects:
    """What a cell reads and writes. `late`: read inside of functions, whenever these are called."""

    reads: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    surely: set[str] = field(default_factory=set)


MAGIC = re.compile(r"^[ \t]*(%%?\w*|!|\?)|^[ \t]*[\w.]+\?{1,2}[ \t]*$", re.MULTILINE)
LINES = (
    "time",
    "matplotlib",
    "load_ext",
    "reload_ext",
    "config",
    "autoreload",
    "precision",
    "xmode",
    "pylab",
)
CELLS = ("time", "capture")
"""Magics that leave a cell's meaning as it is."""


def _is_python(source: str) -> bool:
    """Whether a text has no magics: none of its lines looks like one, or Python reads it as it is."""
    if not MAGIC.search(source):
        return True
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _cell_magic(source: str) -> list[str]:
    """The words of a cell magic, or none."""
    first = source.lstrip().split("\n", 1)[0]
    return first[2:].split() or [""] if first.startswith("%%") else []


def without_magics(source: str) -> str:
    r"""A cell's text without lines of magics, as Python; nothing where a magic gives it another meaning.

    >>> without_magics("%matplotlib inline\n%time x = 1\nf?"), without_magics("%%bash\nls")
    ('\nx = 1\n', '')
    """
    if _is_python(source):
        return source
    words = _cell_magic(source)
    if words and words[0] not in CELLS:
        return ""
    quoted = _quoted(source)
    return "\n".join(
        _without_magic(line) if MAGIC.match(line) and number not in quoted else line
        for number, line in enumerate(source.split("\n"), 1)
    )


def tree_of(source: str) -> ast.Module:
    """The syntax tree of a cell's text without magics; an empty one where it is no Python."""
    try:
        return ast.parse(without_magics(source))
    except SyntaxError:
        return ast.Module([], type_ignores=[])


def _quoted(source: str) -> set[int]:
    """The numbers of lines that start inside of a text."""
    numbers: set[int] = set()
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            numbers.update(range(token.start[0] + 1, token.end[0] + 1))
    return numbers


def _without_magic(line: str) -> str:
    """What is left of a line with a magic, at its place."""
    indent = line[: len(line) - len(line.lstrip())]
    if line.lstrip().startswith("%time "):
        return indent + line.lstrip()[6:].lstrip()
    return f"{indent}pass" if indent else ""


def strange_magics(source: str) -> list[str]:
    r"""The magics of a cell that change its meaning, and commands of the system.

    >>> strange_magics("%matplotlib inline\n%run x.py\n!ls")
    ['%run', '!']
    """
    if _is_python(source):
        return []
    quoted = _quoted(source)
    lines = [line for k, line in enumerate(source.split("\n"), 1) if k not in quoted]
    words = [match[1] for line in lines if (match := MAGIC.match(line)) and match[1]]
    known = {"?", "%%", *(f"%{name}" for name in LINES), *(f"%%{name}" for name in CELLS)}
    return [word for word in words if word not in known]


def captured(source: str) -> str | None:
    """The name under which `%%capture` keeps what a cell prints, "" for none; None without that magic."""
    words = _cell_magic(source)
    if _is_python(source) or words[:1] != ["capture"]:
        return None
    names = [word for word in words[1:] if not word.startswith("-")]
    return names[-1] if names else ""


def imports(trees: Sequence[ast.AST]) -> list[str]:
    """Modules that are imported, by their full names."""
    modules: dict[str, None] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            modules |= dict.fromkeys(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules[node.module] = None
    return list(modules)


def effects(source: str) -> Effects | None:
    r"""The effects of a code cell, or None where it is no Python.

    >>> result = effects("y = f(x)\nx = [1 for k in y]")
    >>> sorted(result.reads), sorted(result.surely)
    (['f', 'x'], ['x', 'y'])
    """
    text = without_magics(source)
    try:
        tree, scopes = ast.parse(text), symtable.symtable(text, "<cell>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    result = Effects()
    for statement in tree.body:
        nodes = _top(statement)
        changed = _changed(nodes)
        written = _bound(nodes) | changed
        result.reads |= _loads(nodes) - result.surely
        result.writes |= written
        if not isinstance(statement, BRANCHES):
            result.surely |= written - changed
    result.late = _globals(scopes) - result.surely
    return result


def _top(node: ast.AST) -> list[ast.AST]:
    """A node and all in it that runs with it: bodies of functions do not."""
    nodes, front = [], [node]
    while front:
        current = front.pop()
        nodes.append(current)
        if isinstance(current, BODIES):
            front += [
                *getattr(current, "decorator_list", []),
                *getattr(getattr(current, "args", None), "defaults", []),
            ]
            front += current.body if isinstance(current, ast.ClassDef) else []
        else:
            front += list(ast.iter_child_nodes(current))
    return nodes


def _loads(nodes: Sequence[ast.AST]) -> set[str]:
    """Names that a statement reads when it runs; a name that it also writes first is read all the same."""
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return names | {
        n.target.id for n in nodes if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """Names that a statement gives a value to, or deletes."""
    names: set[str] = set()
    inner: list[ast.AST] = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    inner += [part for node in nodes if isinstance(node, ast.ClassDef) for part in node.body]
    inner_nodes = _within(inner)  # no names of the notebook
    for node in (node for node in nodes if id(node) not in inner_nodes):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs) and node.name:
            names.add(node.name)
    return names


def _within(front: list[ast.AST]) -> set[int]:
    """What hangs below these nodes, each looked at once."""
    seen: set[int] = set()
    while front:
        node = front.pop()
        if id(node) not in seen:
            seen.add(id(node))
            front += ast.iter_child_nodes(node)
    return seen


def _changed(nodes: Sequence[ast.AST]) -> set[str]:
    """Names whose object a statement changes: `x[0] = 1`, `x.a = 1`, `x.append(1)`."""
    names = set()
    for node in nodes:
        target = None
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            target = node.func.value if _changes(node.func.attr) else None
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
        names |= {target.id} if isinstance(target, ast.Name) else set()
    return names


def _changes(method: str) -> bool:
    return method in CHANGES or (method.endswith("_") and not method.startswith("_"))


def _globals(scope: symtable.SymbolTable) -> set[str]:
    """Names that inner scopes take from the notebook."""
    names, front = set(), list(scope.get_children())
    while front:
        child = front.pop()
        names |= {s.get_name() for s in child.get_symbols() if s.is_global() and s.is_referenced()}
        front += child.get_children()
    return names


def binds(source: str) -> set[str]:
    r"""The names that a cell gives a value to at its top level; empty for text that is no Python.

    >>> sorted(binds("import os\ndef f():\n    x = 1\na, b = 1, 2"))
    ['a', 'b', 'f', 'os']
    """
    effect = effects(source)
    return set() if effect is None else effect.writes


def assigned(statements: Iterable[ast.stmt], *, imported: bool = True) -> set[str]:
    r"""The names that statements give a value to; `imported`: those of imports too.

    A change of an object (`x.append(1)`) gives its name no value.

    >>> sorted(assigned(ast.parse("import os\nx = 1\nif x:\n    y = x\nz.append(1)").body))
    ['os', 'x', 'y']
    """
    kinds = () if imported else (ast.Import, ast.ImportFrom)
    return {name for node in statements if not isinstance(node, kinds) for name in _bound(_top(node))}


def needed(sources: Sequence[str], reads: Sequence[set[str] | None], free: Sequence[bool]) -> set[int]:
    """Places of the cells to run, of the code cells in `sources`; the first always does: it sets up.

    reads: the names that a test cell asks for, None for other cells. free: whether a cell may be left out.
    All run where the text of another one that must run cannot be understood.
    """
    every = set(range(len(sources)))
    if any(k and not free[k] and reads[k] is None and OPAQUE.search(sources[k]) for k in every):
        return every
    known = [
        effects(source) if read is None else Effects(read)
        for source, read in zip(sources, reads, strict=True)
    ]
    if any(effect is None and not free[k] for k, effect in enumerate(known)):
        return every
    wanted = {k for k in every if not free[k] or known[k] is None or OPAQUE.search(sources[k])}
    writers = _writers(known)
    front = list(wanted)
    while front:
        new = _providers(front.pop(), known, writers) - wanted
        wanted |= new
        front += new
    return wanted


def _writers(known: Sequence[Effects | None]) -> dict[str, list[int]]:
    """Places of the cells that write each name, in their order."""
    writers: dict[str, list[int]] = {}
    for index, effect in enumerate(known):
        for name in effect.writes if effect else ():
            writers.setdefault(name, []).append(index)
    return writers


def _providers(
    reader: int, known: Sequence[Effects | None], writers: Mapping[str, Sequence[int]]
) -> set[int]:
    """Cells whose values a cell reads: the nearest before it, and all that functions may meet later."""
    mine, providers = known[reader], set()
    if mine is None:
        return set(range(reader))
    for name in mine.reads & writers.keys():
        for index in reversed(writers[name][: bisect.bisect_left(writers[name], reader)]):
            providers.add(index)
            if name in known[index].surely:
                break
    for name in mine.late & writers.keys():
        providers |= {index for index in writers[name] if index != reader}
    return providers
