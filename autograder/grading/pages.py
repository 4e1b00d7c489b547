"""Executed notebooks and feedback in which nothing of a learner's can act.

A browser shows them with the instructor's session. So outputs are text and pictures, a learner's markdown has
neither tags nor links, and the feedback page forbids scripts besides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.grading.outputs import clean
from autograder.grading.plan import Notebook
from autograder.grading.rebuild import Rebuilt, Step

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
TAG = re.compile(r"<(?=[A-Za-z/!?])")
MACRO = re.compile(
    r"\\(?=(href|url|unicode|class|cssId|style|require|html\w*|data|csname|def|let|newcommand|renewcommand"
    r"|newenvironment|includegraphics|mmlToken|ce|pu)\b)",
    re.IGNORECASE,
)
LIMIT = 20_000
STYLE = """
body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;line-height:1.5}
body{color:#222;background:#fff}
pre{background:#f5f5f5;padding:.6em;overflow-x:auto;white-space:pre-wrap}table{border-collapse:collapse}
th,td{text-align:left;padding:.3em .8em;border-bottom:1px solid #ccc;vertical-align:top}
.out{background:#fff;border-left:3px solid #999}.note{border-left:4px solid #b36b00;padding-left:1em}
img{max-width:100%}
"""


def tame(markdown: str) -> str:
    r"""A learner's markdown without tags, links, images and macros that act; the words stay.

    >>> tame("<b onclick=x> [a](javascript:b) $\\href{c}{d}$")
    '< b onclick=x> [a] (javascript:b) $href{c}{d}$'
    """
    text = TAG.sub("< ", clean(markdown, LIMIT))
    return MACRO.sub("", text.replace("](", "] (").replace("]:", "] :").replace("][", "] ["))


def executed(
    notebook: Notebook, rebuilt: Rebuilt, results: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]]
) -> NotebookNode:
    """The graded notebook, for nbgrader's formgrader and feedback: as released, without hidden tests."""
    kernel = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")}
    nb = nbformat.v4.new_notebook(metadata=kernel)
    if rebuilt.notes:
        told = "\n".join(f"- {tame(note)}" for note in rebuilt.notes)
        nb.cells.append(nbformat.v4.new_markdown_cell(f"**Before grading**\n\n{told}", id="before-grading"))
    for place, step in enumerate(rebuilt.steps):
        nb.cells.append(_cell(place, step, results.get(str(place), {}), scores))
    return nb


def _cell(place: int, step: Step, result: Mapping[str, Any], scores: Mapping[str, Any]) -> NotebookNode:
    metadata = {"nbgrader": step.cell.metadata} if step.cell and step.cell.metadata else {}
    theirs = step.cell is None or step.role == "answer"
    source = step.cell.release if step.role in ("test", "locked", "task") else step.source
    if step.kind == "code":
        outputs = [nbformat.from_dict(output) for output in result.get("outputs", [])]
        new = nbformat.v4.new_code_cell(clean(source, 10 * LIMIT), id=f"cell-{place}", metadata=metadata)
        new.outputs = outputs
        return new
    source = tame(source) if theirs else source
    make = nbformat.v4.new_markdown_cell if step.kind == "markdown" else nbformat.v4.new_raw_cell
    return make(source, id=f"cell-{place}", metadata=metadata)


def feedback(record: Mapping[str, Any], nb: NotebookNode, name: str) -> str:
    """One student's page: points, reasons, what was repaired, and the notebook with its outputs."""
    title = f"{name}: {record['points']:g} of {record['out_of']:g} points"
    parts = [f"<h1>{escape(title)}</h1>"]
    if record["problem"]:
        parts.append(f"<p class='note'>{escape(record['problem'])}</p>")
    if record["notes"]:
        items = "".join(f"<li>{escape(note)}</li>" for note in record["notes"])
        parts.append(f"<div class='note'><p>Before grading:</p><ul>{items}</ul></div>")
    cells = [
        (name, _points(c["points"]), f"{c['out_of']:g}", c["why"]) for name, c in record["cells"].items()
    ]
    parts.append(table(("cell", "points", "of", "why"), cells))
    parts += [_shown(cell) for cell in nb.cells if cell.id != "before-grading"]
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A page that stands alone and allows no script."""
    head = f"<meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{POLICY}\">"
    head += f"<title>{escape(title)}</title><style>{STYLE}</style>"
    return f"<!DOCTYPE html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """An HTML table of plain texts, the first column as headers."""
    top = "".join(f"<th scope='col'>{escape(word)}</th>" for word in head)
    lines = "".join(
        f"<tr><th scope='row'>{escape(first)}</th>" + "".join(f"<td>{escape(c)}</td>" for c in rest) + "</tr>"
        for first, *rest in body
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _points(points: float | None) -> str:
    return "by hand" if points is None else f"{points:g}"


def _shown(cell: NotebookNode) -> str:
    if not cell.source.strip():
        return ""
    if cell.cell_type != "code":
        return f"<pre class='out'>{escape(cell.source)}</pre>"
    return f"<pre>{escape(cell.source)}</pre>" + "".join(map(_output, cell.outputs))


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data", {})
    picture = data.get("image/png")
    text = output.get("text") or "\n".join(output.get("traceback", [])) or data.get("text/plain", "")
    shown = f"<pre class='out'>{escape(text)}</pre>" if text and not picture else ""
    return shown + (
        f"<img alt='a figure of this cell' src='data:image/png;base64,{picture}'>" if picture else ""
    )
