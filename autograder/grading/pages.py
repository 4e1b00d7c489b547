"""Executed notebooks and feedback in which nothing of a learner's can act.

A browser shows them with the instructor's session, by way of nbconvert, MathJax and JupyterLab, each with its
own idea of markup. So nothing is taken out of what a learner wrote: it is shown as it was typed, with every
character as an entity that any of them could act on. Outputs are text and pictures, and there is a limit to
all that a notebook shows, because these programs take minutes for a megabyte. Our own pages forbid scripts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.grading.inside.outputs import clean, kept
from autograder.grading.plan import Notebook
from autograder.grading.rebuild import Rebuilt, Step, same_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
ACTIVE = re.compile(r"""["#$&*<>@\[\\\]^_`{|}~]""")
"""ASCII characters that HTML, markdown or TeX may act on, wherever in a line they stand."""
WRAPPED = "white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere"
OPEN = f'<pre class="tex2jax_ignore mathjax_ignore" style="{WRAPPED}">\n'
CLOSE = "\n</pre>"
INSIDE = "(This test ran in the sandbox, beside the work that it tests: it holds less than others.)"
LIMIT = 40_000
"""Characters of one cell that are shown."""
STYLE = """
body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;line-height:1.5}
body{color:#222;background:#fff}
pre{background:#f5f5f5;padding:.6em;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse}
th,td{text-align:left;padding:.3em .8em;border-bottom:1px solid #ccc;vertical-align:top}
.out{background:#fff;border-left:3px solid #999}.note{border-left:4px solid #b36b00;padding-left:1em}
img{max-width:100%}
"""


def as_typed(text: str) -> str:
    r"""Markdown that shows a text as it was typed, and in which nothing acts.

    >>> as_typed("<b> $x$").removeprefix(OPEN)
    '&#60;b&#62; &#36;x&#36;\n</pre>'
    """
    return OPEN + ACTIVE.sub(lambda character: f"&#{ord(character[0])};", text) + CLOSE


def typed(markdown: str) -> str:
    r"""The text that `as_typed` shows; other markdown as it is.

    >>> typed(as_typed("&lt; \\href")), typed("*x*")
    ('&lt; \\href', '*x*')
    """
    if not (markdown.startswith(OPEN) and markdown.endswith(CLOSE)):
        return markdown
    return unescape(markdown[len(OPEN) : -len(CLOSE)])


@dataclass
class Room:
    """How much of a learner's is still shown in a notebook: characters, outputs, bytes of pictures."""

    source: int = 200_000
    text: int = 400_000
    outputs: int = 1_000
    pictures: int = 20_000_000

    def take(self, source: str) -> str:
        """The beginning of a cell that is shown; what is left out is told at its end."""
        limit = max(0, min(LIMIT, self.source))
        self.source -= min(len(source), limit)
        return clean(source, limit)

    def shown(self, outputs: Sequence[Any]) -> list[NotebookNode]:
        """The outputs of a cell that are shown; what is left out is told in their place."""
        shown = kept(outputs, self.text, self.pictures, self.outputs)
        self.outputs -= len(shown)
        for output in shown:
            self.text -= len(shown_text(output))
            self.pictures -= len(output.get("data", {}).get("image/png", ""))
        return [nbformat.from_dict(output) for output in shown]


def executed(notebook: Notebook, rebuilt: Rebuilt, results: Mapping[str, Any]) -> NotebookNode:
    """The graded notebook, for nbgrader's formgrader and feedback: as released, without hidden tests."""
    kernel = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")}
    # Plain Python: the colours that nbconvert gives to IPython's magics take it minutes for some cells.
    language = dict(kernel.get("language_info", {"name": "python"})) | {"pygments_lexer": "python3"}
    nb = nbformat.v4.new_notebook(metadata=kernel | {"language_info": language})
    if rebuilt.notes:
        notes = "\n".join(("Before grading:", *(f"- {note}" for note in rebuilt.notes)))
        nb.cells.append(nbformat.v4.new_markdown_cell(as_typed(clean(notes, LIMIT)), id="before-grading"))
    room = Room()
    for index, step in enumerate(rebuilt.steps):
        nb.cells.append(_cell(index, step, results.get(str(index), {}), room))
    return nb


def _cell(index: int, step: Step, result: Mapping[str, Any], room: Room) -> NotebookNode:
    known = {"nbgrader": step.cell.metadata} if step.cell and step.cell.metadata else {}
    facts = {"id": f"cell-{index}", "metadata": known}
    theirs = step.cell is None or not (
        step.role in ("test", "locked", "task") or same_text(step.source, step.cell.release)
    )
    if step.kind == "code":
        source = _plain(room.take(step.source)) if theirs else step.cell.release
        return nbformat.v4.new_code_cell(source, outputs=room.shown(result.get("outputs", [])), **facts)
    if theirs:  # a raw cell too: nbconvert takes raw text for HTML
        return nbformat.v4.new_markdown_cell(as_typed(room.take(step.source)), **facts)
    make = nbformat.v4.new_markdown_cell if step.kind == "markdown" else nbformat.v4.new_raw_cell
    pictures = {"attachments": nbformat.from_dict(step.cell.attachments)} if step.cell.attachments else {}
    return make(step.cell.release, **facts, **pictures)


def _plain(source: str) -> str:
    """Code without blanks at the ends of lines, which cost a highlighter the square of their number."""
    return "\n".join(line.rstrip() for line in source.split("\n"))


def is_ours(nb: NotebookNode) -> bool:
    """Whether `executed` made a notebook; another one may hold hidden tests."""
    return all(re.fullmatch(r"before-grading|cell-\d+", cell.get("id", "")) for cell in nb.cells)


@dataclass(frozen=True)
class Mark:
    """What a person gave to a cell. score: in place of the automatic one, or None. stale: to be looked at."""

    score: float | None
    extra: float = 0.0
    stale: bool = False


@dataclass(frozen=True)
class Marks:
    """What the gradebook holds of a submission, by "notebook/grade id", and the penalty for its lateness."""

    cells: Mapping[str, Mark] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    penalty: float = 0.0

    @property
    def given(self) -> bool:
        """Whether there is anything that a page without these marks would lack."""
        by_hand = any(mark.score is not None or mark.extra for mark in self.cells.values())
        return bool(by_hand or self.comments or self.penalty)

    def of(self, cell: Mapping[str, Any]) -> Mark:
        """The mark of a cell of a record."""
        return self.cells.get(cell["where"], Mark(None))

    def points(self, cell: Mapping[str, Any]) -> float | None:
        """A cell's points without extra credit; None where a person has yet to look at it."""
        score = self.of(cell).score
        return cell["points"] if score is None else score

    def total(self, record: Mapping[str, Any]) -> float:
        """All points of a record with extra credit, less the penalty, at least 0."""
        cells = record["cells"].values()
        return max(0.0, sum((self.points(c) or 0.0) + self.of(c).extra for c in cells) - self.penalty)


def feedback(record: Mapping[str, Any], nb: NotebookNode, name: str, marks: Marks | None = None) -> str:
    """One student's page: points, reasons, what was repaired, and the notebook with outputs and comments."""
    marks = marks or Marks()
    title = f"{name}: {marks.total(record):g} of {record['out_of']:g} points"
    parts = [f"<h1>{escape(title)}</h1>"]
    missing = sum(marks.points(c) is None for c in record["cells"].values())
    if missing:
        parts.append(f"<p class='note'>Cells that are still to be scored by hand: {missing}.</p>")
    if record["problem"]:
        parts.append(f"<p class='note'>{escape(record['problem'])}</p>")
    if record["notes"]:
        items = "".join(f"<li>{escape(note)}</li>" for note in record["notes"])
        parts.append(f"<div class='note'><p>Before grading:</p><ul>{items}</ul></div>")
    rows = [_row(cell, known, marks) for cell, known in record["cells"].items()]
    if marks.penalty:
        rows.append(("late submission", f"-{marks.penalty:g}", "", ""))
    parts.append(table(("cell", "points", "of", "why"), rows))
    for cell in nb.cells:
        if cell.id != "before-grading":
            parts += [_shown(cell), _comment(cell, name, marks)]
    return document(title, parts)


def _row(cell: str, known: Mapping[str, Any], marks: Marks) -> tuple[str, str, str, str]:
    mark, points = marks.of(known), marks.points(known)
    shown = "by hand" if points is None else f"{points:g}"
    why = known["why"] if mark.score is None else "Scored by hand."
    if mark.score is not None and mark.stale:
        why = "Scored by hand; the work has changed since, and will be looked at again."
    if known.get("trust") == "inside":
        why = f"{why} {INSIDE}".strip()
    return cell, shown + (f" and {mark.extra:g} extra" if mark.extra else ""), f"{known['out_of']:g}", why


def _comment(cell: NotebookNode, name: str, marks: Marks) -> str:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
    text = marks.comments.get(f"{name}/{grade_id}", "")
    return f"<div class='note'><p>Comment:</p><pre>{escape(text)}</pre></div>" if text else ""


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


def _shown(cell: NotebookNode) -> str:
    if not cell.source.strip():
        return ""
    if cell.cell_type != "code":
        return f"<pre class='out'>{escape(typed(cell.source))}</pre>"
    return f"<pre>{escape(cell.source)}</pre>" + "".join(map(_output, cell.outputs))


def _output(output: Mapping[str, Any]) -> str:
    picture, text = output.get("data", {}).get("image/png"), shown_text(output)
    if picture:
        return f"<img alt='a figure of this cell' src='data:image/png;base64,{escape(picture)}'>"
    return f"<pre class='out'>{escape(text)}</pre>" if text else ""


def shown_text(output: Mapping[str, Any]) -> str:
    """The text of an output."""
    return (
        output.get("text")
        or "\n".join(output.get("traceback", []))
        or output.get("data", {}).get("text/plain", "")
    )
