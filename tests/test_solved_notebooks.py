"""Every solved notebook runs from top to bottom without network, quietly, and its checks give all points."""

import re
import time
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from nbformat import NotebookNode

from autograder.build import rendering
from autograder.build.release import scripts
from docs.site import notebooks
from rslib.errors import DataError
from tests.rhythm import longest_gap
from tests.toy_course import toy_script

pytestmark = pytest.mark.long

SECONDS = 600
"""The goal is 180 s on two quiet cores; a busy machine must not fail it."""
SILENT = 12
"""Twice and a half the five seconds that a cell may be silent on two quiet cores."""
CELLS = 12
every_script = pytest.mark.parametrize("script", scripts(), ids=lambda p: p.stem)


@cache
def executed(script: Path) -> tuple[NotebookNode, float]:
    """The solved notebook and the seconds of its run; none where the site's pages have just run it."""
    start = time.monotonic()
    return notebooks.executed(script), time.monotonic() - start


def printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stdout")


def shows_something(cell: NotebookNode) -> bool:
    """Whether the cell has a figure or a table: an image, HTML, or three printed lines in columns."""
    if cell.cell_type == "markdown":
        return re.search(r"^\|[ :-]*--|<img|!\[", cell.source, flags=re.MULTILINE) is not None
    data = [output.data for output in cell.outputs if "data" in output]
    if any("image/png" in found or "<table" in found.get("text/html", "") for found in data):
        return True
    return len(re.findall(r"^.*\S {2,}\S.* {2,}\S", printed(cell), flags=re.MULTILINE)) >= 3


@every_script
def test_a_solved_notebook_runs_quietly_and_gets_all_points(script, record_property):
    nb, seconds = executed(script)
    record_property("seconds", round(seconds))
    print(f"{script.stem}: {seconds:.0f} s")
    assert not list(rendering.problems(nb))
    assert seconds <= SECONDS


def speaks(cell: NotebookNode) -> bool:
    """Whether the cell has a progress line, or printed something."""
    return bool(printed(cell)) or any(set(o.get("data", {})) == {"text/plain"} for o in cell.outputs)


def duration(cell: NotebookNode) -> float:
    """Seconds that the kernel worked on the cell."""
    times = cell.metadata.get("execution", {})
    began, ended = (times.get(name) for name in ("iopub.execute_input", "shell.execute_reply"))
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds() if ended else 0.0


@every_script
def test_no_cell_is_silent_for_long(script):
    cells = [cell for cell in executed(script)[0].cells if cell.cell_type == "code"]
    assert any(duration(cell) for cell in cells)
    silent = [
        f"{cell.id}: {duration(cell):.0f} s" for cell in cells if duration(cell) > SILENT and not speaks(cell)
    ]
    assert not silent, "Show progress here: " + "; ".join(silent)


@every_script
def test_every_figure_prints_its_summary_and_carries_it_as_alt_text(script):
    for cell in executed(script)[0].cells:
        for output in cell.get("outputs", []):
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                alt = output.metadata.get("image/png", {}).get("alt")
                said = " ".join(printed(cell).split())
                assert alt and " ".join(alt.split()) in said, f"cell {cell.id}: show it with rslib.plots.show"


@every_script
def test_there_is_a_figure_or_a_table_at_least_every_twelve_cells(script):
    assert longest_gap([shows_something(cell) for cell in executed(script)[0].cells]) < CELLS


# The runner itself


@pytest.fixture
def run(tmp_path):
    """run(cell): the toy executed with one more cell at its end."""
    with toy_script(tmp_path) as script:

        def execute(cell: str) -> NotebookNode:
            script.write_text(f"{script.read_text(encoding='utf-8')}\n# %%\n{cell}\n", encoding="utf-8")
            return rendering.execute(script, tmp_path / "runs")

        yield execute


FIGURE = """\
from matplotlib.figure import Figure
from rslib import plots
panel = Figure().subplots()
plots.show(panel, "a <line> that rises")
"""


def test_a_good_notebook_has_no_problems_and_its_page_has_alt_texts_and_no_marks(run, tmp_path):
    nb = run(FIGURE)
    assert not list(rendering.problems(nb))
    page = rendering.html(nb)
    assert 'alt="a &lt;line&gt; that rises"' in page
    assert "SOLUTION" not in page and "90.1 Twice: 2 of 2 points" in page
    assert "BEGIN SOLUTION" in str(nb)
    assert (tmp_path / "runs" / "90").is_dir()


def test_noise_errors_network_and_lost_points_are_problems(run):
    nb = run(
        """\
import sys, urllib.request
print("careful", file=sys.stderr)
double = abs
"""
        + '\n# %%\nurllib.request.urlopen("http://example.org", timeout=5)\n# %%\nurllib.request.urlopen("http://192.0.2.1/")'
    )
    nb.cells[-1].metadata.nbgrader = {"points": 2.0}
    nb.metadata.widgets = {}
    found = "\n".join(rendering.problems(nb))
    assert "widget state" in found and "stderr: careful" in found and "no points of 2" in found
    assert found.count("no network in a solved notebook") == 2


def test_a_problem_stops_the_build_after_the_page_is_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rendering, "BUILD", tmp_path / "build")
    run("1 / 0")
    with pytest.raises(DataError, match="90_toy, cell .*ZeroDivisionError"):
        rendering.main([str(tmp_path / "solutions" / "90_toy.py"), "--out", str(tmp_path / "pages")])
    assert (tmp_path / "pages" / "90_toy.html").is_file()
    assert re.search(r"90_toy.html: \d+ s, 1 problems", capsys.readouterr().out)
