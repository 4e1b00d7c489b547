"""The reference: every public name of rslib with its signature and docstring, in the order of the road."""

from __future__ import annotations

import ast
import doctest
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from autograder.build.placeholders import ROOT
from docs.site.pages import Page, highlighted, rendered
from rslib import _HOME

MAP = ROOT / "docs" / "architecture.md"
_Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
_LONG = 12
"""Lines of a constant beyond which the reference shows its beginning only."""


@dataclass(frozen=True)
class Entry:
    """A public name: its dotted name below the module, its definition and its docstring."""

    name: str
    node: _Definition
    text: str


def entries(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[Entry]:
    """The public names that a module or a class defines, methods after their class.

    >>> [entry.name for entry in entries(ast.parse("class A: b = 1"))]
    ['A', 'A.b']
    """
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        for name in _names(node):
            if not name.startswith("_"):
                yield Entry(prefix + name, node, _docstring(node, after))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from entries(node, f"{prefix}{node.name}.")


def _names(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.Assign():
            return [target.id for target in node.targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _docstring(node: ast.stmt, after: ast.stmt | None) -> str:
    """A function's or class's docstring; for a constant, the string that follows it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ast.get_docstring(node) or ""
    match after:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return ""


def _code_of(node: _Definition, lines: list[str]) -> str:
    """A definition as it is written, without its body; the beginning of a long constant."""
    start = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", []))]) - 1
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return "\n".join(lines[start : max(node.body[0].lineno - 1, start + 1)]).removesuffix(":")
    more = ["..."] if node.end_lineno - start > _LONG else []
    return "\n".join([*lines[start : node.end_lineno][:_LONG], *more])


def described(text: str, source: Path) -> str:
    """A docstring as HTML: its examples as code, the rest as Markdown."""
    parts = doctest.DocTestParser().parse(text)
    lines = [part if isinstance(part, str) else f"\n\0{_example(part)}\0\n" for part in parts]
    joined = re.sub(r"\0\s*\0", "", "".join(lines))
    pieces = joined.split("\0")
    html = [
        rendered(p, source, tags=False) if k % 2 == 0 else highlighted(p, "pycon")
        for k, p in enumerate(pieces)
    ]
    return "".join(html)


def _example(example: doctest.Example) -> str:
    first, *more = example.source.splitlines()
    return "\n".join([f">>> {first}", *(f"... {line}" for line in more), example.want])


def page_of(modules: list[Path], path: str, title: str, group: str, what: str) -> Page:
    """The page of one file of the engine, or of the files of one folder."""
    single = len(modules) == 1
    body = [] if single else [f"<h1>{title}</h1>", f"<p>{escape(what)}</p>"]
    for module in modules:
        text = module.read_text(encoding="utf-8")
        tree, lines = ast.parse(text), text.splitlines()
        name = module.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        level = "h1" if single else "h2"
        body.append(f'<section><{level} id="{name}">{name}{_anchor(name)}</{level}>')
        body.append(described(ast.get_docstring(tree) or "", module))
        body += [_entry_html(entry, name, module, lines) for entry in entries(tree)]
        body.append("</section>")
    return Page(path, title, "\n".join(body), modules[0], group)


def _anchor(name: str) -> str:
    return f' <a class="header-anchor" href="#{name}" aria-label="Link to this place">#</a>'


def _entry_html(entry: Entry, module: str, source: Path, lines: list[str]) -> str:
    anchor = f"{module}.{entry.name}"
    head = f'<h3 id="{anchor}"><code>{entry.name}</code>{_anchor(anchor)}</h3>'
    code = highlighted(textwrap.dedent(_code_of(entry.node, lines)), "python")
    return f'<div class="entry">{head}{code}{described(entry.text, source)}</div>'


def pages() -> Iterator[Page]:
    """The first page of the reference, then one a row of the tables of docs/architecture.md."""
    text = MAP.read_text(encoding="utf-8")
    made = []
    for group in ("The road", "Beside it"):
        table = text.split(f"## {group}\n")[1].split("\n## ")[0]
        for name, what in re.findall(r"^\| `(rslib/[\w./]+)`[^|]* \| (.+) \|$", table, flags=re.M):
            path = ROOT / name
            modules = [path] if path.is_file() else sorted(path.glob("*.py"))
            title = name.removeprefix("rslib/").removesuffix(".py").strip("/").replace("/", ".")
            made.append(page_of(modules, f"api/{title}.html", title, group, what.replace("`", "")))
    yield Page("api/index.html", "Reference", _index(made), ROOT / "rslib" / "__init__.py")
    yield from made


def _index(made: list[Page]) -> str:
    """Where to find what: the names of `import rslib`, then each page with its line."""
    names = "".join(
        f'<li><a href="{home}.html#rslib.{_module_of(name, home)}.{name}"><code>rslib.{name}</code></a></li>'
        for name, home in _HOME.items()
    )
    return (
        "<h1>Reference</h1><p>Made from the docstrings of the engine. <code>import rslib</code> gives:</p>"
        f"<ul>{names}</ul><p>Every file has its page; they stand in the order of the road, as in "
        '<a href="repo:docs/architecture.md">the house, file by file</a>.</p>'
    )


def _module_of(name: str, home: str) -> str:
    """The module below which a public name is defined; `rslib.models` collects those of its files."""
    folder = ROOT / "rslib" / home
    if not folder.is_dir():
        return home
    owner = next(path for path in folder.glob("*.py") if f"\ndef {name}(" in path.read_text(encoding="utf-8"))
    return f"{home}.{owner.stem}"
