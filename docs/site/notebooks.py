"""The notebooks of the course as pages: the cells that students get, with the outputs of the solved notebook.

The site is read by those who learn, so no cell that is solved or graded shows more than the student's form of
it, and a cell that would print an answer shows its figures alone. Instructors have `make solutions-html`.
"""

from __future__ import annotations

import ast
import hashlib
from html import escape
from pathlib import Path

import nbformat
from filelock import FileLock
from nbformat import NotebookNode, v4

from autograder.build import rendering
from autograder.build.placeholders import ROOT
from autograder.build.release import NOTEBOOKS, solved
from docs.site.pages import Page, highlighted, rendered, roomy, title_of
from rslib.cache import atomic_write, versions
from rslib.errors import DataError

EXECUTED = ROOT / "build" / "executed"
LEFT_OUT = "(What is printed here rests on your answers: run the notebook to see it.)"


def page(script: Path, run: bool) -> Page:
    """The page of a percent script: the released notebook; `run` adds the solved one's outputs."""
    source = NOTEBOOKS / f"{script.stem}.ipynb"
    outputs = _outputs(executed(script)) if run else {}
    notebook = nbformat.read(source, 4)
    cells = [_cell(cell, outputs.get(cell.id, []), source) for cell in notebook.cells]
    name = source.relative_to(ROOT)
    take = f'<p><a href="file:{name}" download>The notebook itself</a>, to open in Jupyter or on Colab.</p>'
    return Page(
        f"course/{script.stem}.html", title_of(notebook.cells[0].source), "\n".join([*cells, take]), source
    )


def executed(script: Path) -> NotebookNode:
    """The solved notebook after a run; build/executed/ keeps it until its source or the engine changes."""
    text = solved(script)
    graders = sorted(
        path
        for part in (".", "exercises", "handouts", "keys")
        for path in (ROOT / "autograder" / part).glob("*.py")
    )
    parts = [text, versions()["rslib"], *(path.read_text(encoding="utf-8") for path in graders)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = EXECUTED / f"{script.stem}-{key}.ipynb"
    EXECUTED.mkdir(parents=True, exist_ok=True)
    with FileLock(EXECUTED / f"{script.stem}.lock"):  # its run folders serve one process at a time
        if not path.exists():
            about = "running it (up to some minutes; kept until its source changes)"
            print(f"{script.stem}: {about} ...", flush=True)
            notebook = rendering.execute(script, rendering.BUILD / "runs")
            if faults := list(rendering.problems(notebook)):
                fix = "Mend the script, then build again."
                raise DataError("\n".join(faults), where=str(script), fix=fix)
            atomic_write(path, nbformat.writes(notebook))
    return nbformat.read(path, 4)


def _outputs(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """What each cell showed, by the cell's id: nothing of a cell that is solved or graded.

    Of a cell that reads what an answer holds, or what was made of it, the figures alone: its text and its
    tables would say the answer. A line stands in their place.
    """
    shown: dict[str, list[NotebookNode]] = {}
    answers: set[str] = set()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        graded, tree = cell.metadata.get("nbgrader"), ast.parse(cell.source)
        bound = _names(tree, ast.Store) | {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
        tells = bool(answers & (_names(tree, ast.Load) - bound))
        answers = answers | bound if tells else answers - bound
        if graded is None:
            shown[cell.id] = _figures(cell.outputs) if tells else list(cell.outputs)
        elif graded.solution and not graded.grade_id.startswith("predict"):
            answers |= _assigned(tree)
    return shown


def _figures(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The figures among outputs, below a line where anything else was left out."""
    figures = [output for output in outputs if _is_figure(output)]
    return figures if len(figures) == len(outputs) else [v4.new_output("stream", text=LEFT_OUT), *figures]


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    """The names that some code reads (Load) or binds (Store)."""
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}


def _assigned(tree: ast.Module) -> set[str]:
    """The names of the values that an answer gives; functions are called, and what they give is no answer."""
    targets = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return {name for target in targets for name in _names(target, ast.Store)}


def _is_figure(output: NotebookNode) -> bool:
    return "image/png" in output.get("data", {})


def _cell(cell: NotebookNode, outputs: list[NotebookNode], source: Path) -> str:
    if cell.cell_type == "markdown":
        return rendered(cell.source, source)
    kind = "cell yours" if "nbgrader" in cell.metadata else "cell"
    shown = "".join(f'<div class="output">{_output(output)}</div>' for output in _joined(outputs))
    return f'<div class="{kind}">{highlighted(cell.source, "python")}{shown}</div>'


def _joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs, where what was printed in several pieces is one text."""
    joined: list[NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1] = NotebookNode(joined[-1] | {"text": joined[-1].text + output.text})
        else:
            joined.append(output)
    return joined


def _output(output: NotebookNode) -> str:
    """One output as HTML: an image with its alt text, the table that the engine made, else its text."""
    data = output.get("data", {})
    if _is_figure(output):
        alt = escape(output.metadata.get("image/png", {}).get("alt", ""))
        image = f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">'
        return f'<div class="figure" tabindex="0">{image}</div>'
    if "text/html" in data:
        html = data["text/html"]
        return f'<div class="scroll" tabindex="0">{html if "rs-browse" in html else roomy(html)}</div>'
    lines = (output.get("text") or data.get("text/plain", "")).split("\n")
    return f'<pre tabindex="0">{chr(10).join(map(_line, lines))}</pre>'


def _line(text: str) -> str:
    """A line of printed text; a sentence, which unlike a row of a table has no wide gaps, may be broken."""
    return escape(text) if "  " in text else f"<span>{escape(text)}</span>"
