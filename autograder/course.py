"""Where a course meets nbgrader: its steps of a release, and two changes to its `autograde`.

A course's `nbgrader_config.py` names the changes. `RefuseUnsandboxed`: autograde runs notebooks with the
rights of whoever started it, so it needs a setting that says that these are trusted. `RestoreChecks`:
notebooks come back with check cells deleted, copied, or without the metadata by which nbgrader knows them;
stock nbgrader then gives 0 without a word, or stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool
from traitlets.config import Config
from traitlets.utils.importstring import import_item

LAZY = "skip_unneeded"
"""Key in a notebook's metadata: `grade` may leave out released cells that no answer needs."""
REFUSED = (
    "nbgrader would run these notebooks with your own rights, outside of any sandbox, so nothing was run. "
    "Use `python -m autograder grade submitted --course .`, which runs them in one. For notebooks of people "
    "whom you trust: `c.RefuseUnsandboxed.trust_submissions = True` in nbgrader_config.py."
)


def processed(nb: NotebookNode, steps: Sequence[type], config: Config, resources: dict | None = None) -> str:
    """The text of a notebook after some of nbgrader's steps, with the settings of a course."""
    exporter = NotebookExporter(config=Config(Exporter={"default_preprocessors": []}, **config))
    for step in steps:
        exporter.register_preprocessor(step)
    return exporter.from_notebook_node(nb, resources)[0]


def release_steps(config: Config) -> list[type]:
    """What `nbgrader generate_assignment` does to a notebook, in its order, with the settings of a course."""
    known = config.get("GenerateAssignment", {}).get("preprocessors")
    steps = known if known is not None else GenerateAssignment.class_traits()["preprocessors"].default()
    return [import_item(step) if isinstance(step, str) else step for step in steps]


class RefuseUnsandboxed(NotebookExporter):
    """Nbgrader's exporter of graded notebooks; without `trust_submissions` it cannot be made.

    nbgrader makes its exporter before it reads, removes or runs anything, so a refusal leaves all as it was.
    `c.Autograde.exporter_class` sets it, for the command as for the bolt in formgrader.
    """

    export_from_notebook = None
    trust_submissions = Bool(False, help="Whether notebooks may be run without a sandbox.").tag(config=True)

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if not self.trust_submissions:
            self.log.error(REFUSED)
            raise NbGraderException(REFUSED)


class RestoreChecks(NbGraderPreprocessor):
    """Give a submission its check cells as released, and say in it what was done. Answers are never touched.

    A check cell is known by its text where its metadata is gone; one that is gone altogether is put at the
    end, where all answers have run. Points come from the gradebook.
    """

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """The notebook with every check cell of its assignment; nbgrader calls this before it runs a cell."""
        for cell in nb.cells:
            if not cell.metadata.get("nbgrader", True):  # nbgrader empties a copy, and then stops at it
                del cell.metadata["nbgrader"]
        where = resources["nbgrader"]
        named = {cell.metadata.get("nbgrader", {}).get("grade_id") for cell in nb.cells}
        with Gradebook(where["db_url"]) as book:
            notebook = book.find_notebook(where["notebook"], where["assignment"])
            sources = {cell.name: cell.source for cell in notebook.source_cells}
            checks = {cell.name: cell.max_score for cell in notebook.grade_cells}
        for name in sorted(checks.keys() - named):
            self._restore(nb, name, checks[name], sources[name])
        for cell in nb.cells:
            known = cell.metadata.get("nbgrader", {})
            if known.get("grade_id") in checks:  # a tag could keep it from running, and no output earns all
                cell.metadata = NotebookNode(nbgrader=known)
        return nb, resources

    def _restore(self, nb: NotebookNode, name: str, points: float, source: str) -> None:
        same = [c for c in nb.cells if c.source.strip() == source and "nbgrader" not in c.metadata]
        what = "had lost its nbgrader metadata and was known by its text" if same else "was missing"
        cell = same[-1] if same else new_code_cell(source)
        flags = {"grade": True, "locked": True, "solution": False, "task": False, "schema_version": 3}
        cell.metadata["nbgrader"] = flags | {"grade_id": name, "points": points, "cell_type": "code"}
        if not same:
            nb.cells.append(cell)
        note = f"*The check cell `{source}` {what}. It was restored for marking.*"
        nb.cells.insert(nb.cells.index(cell), new_markdown_cell(note))
        self.log.warning("The check cell %s %s; it was restored.", name, what)
