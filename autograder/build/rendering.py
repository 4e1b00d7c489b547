"""Run the solved notebooks and render them as HTML: `make solutions-html`.

Each notebook runs in a kernel and a folder of its own, without network. What it computes stays in the runs
folder, so a second build is quick.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from html import escape
from pathlib import Path

from nbclient import NotebookClient
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from autograder.build.placeholders import ROOT
from autograder.build.release import instructor, scripts
from autograder.session import RUNS
from rslib.errors import DataError

BUILD = ROOT / "build"
OFFLINE = """\
import sys

def _offline(event, values):
    address = values[1] if event == "socket.connect" else None
    if event == "socket.getaddrinfo" or isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1"):
        raise OSError(f"no network in a solved notebook: {event}")

sys.addaudithook(_offline)
"""
REGION = re.compile(r"^\s*### (?:BEGIN|END) SOLUTION\n?", flags=re.MULTILINE)


def execute(script: Path, runs: Path, timeout: int = 600) -> NotebookNode:
    """The solved notebook of a script with its outputs, run without network; errors stay in the outputs."""
    return run(instructor(script), runs, timeout)


def run(nb: NotebookNode, runs: Path, timeout: int = 600, **environment: str) -> NotebookNode:
    """The notebook itself with its outputs, otherwise as `execute`; `environment` joins the kernel's."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            nb,
            timeout=timeout,
            allow_errors=True,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--IPKernelApp.log_level=40"],  # the kernel's own advice is not the notebook's
        )
        client.execute(env=_environment(Path(folder), runs) | environment)
    return nb


def _environment(folder: Path, runs: Path) -> dict[str, str]:
    """The variables of the kernel: no settings of the user, no network, results in `runs`."""
    startup = folder / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "offline.py").write_text(OFFLINE, encoding="utf-8")
    settings = {"IPYTHONDIR": str(folder / ".ipython"), RUNS: str(runs.resolve()), "HF_HUB_OFFLINE": "1"}
    return os.environ | settings


def problems(nb: NotebookNode) -> Iterator[str]:
    """What a solved notebook must not hold: errors, text on stderr, widgets, checks short of full points."""
    if "widgets" in nb.metadata:
        yield "the notebook holds widget state"
    for cell in nb.cells:
        yield from (f"cell {cell.id}: {problem}" for problem in _problems(cell))


def _problems(cell: NotebookNode) -> Iterator[str]:
    outputs = cell.get("outputs", [])
    for output in outputs:
        if output.output_type == "error":
            yield f"{output.ename}: {output.evalue}"
        elif output.get("name") == "stderr":
            yield f"stderr: {output.text.strip()}"
        elif any("widget" in kind for kind in output.get("data", {})):
            yield "a widget"
    known = cell.metadata.get("nbgrader", {})
    points = None if known.get("task") else known.get("points")  # a person gives those of a task
    reached = [output.data["text/plain"] for output in outputs if output.output_type == "execute_result"]
    if points is not None and (len(reached) != 1 or float(reached[0]) != points):
        yield f"{' '.join(reached) or 'no'} points of {points:g}"


def html(nb: NotebookNode) -> str:
    """The executed notebook as one HTML page, without nbgrader's marks and with the figures' alt texts."""
    nb = deepcopy(nb)
    for cell in nb.cells:
        cell.source = REGION.sub("", cell.source)
        for output in cell.get("outputs", []):
            _describe(output)
    return HTMLExporter().from_notebook_node(nb)[0]


def _describe(output: NotebookNode) -> None:
    """Make a figure with an alt text an HTML image: nbconvert's page would leave the text out."""
    alt = output.get("metadata", {}).get("image/png", {}).get("alt")
    if alt:
        source = f"data:image/png;base64,{output.data['image/png'].strip()}"
        output.data = NotebookNode({"text/html": f'<img alt="{escape(alt)}" src="{source}">'})


def main(argv: Sequence[str] | None = None) -> int:
    """Run and render; DataError if a notebook did not run as it should."""
    parser = argparse.ArgumentParser(prog="python -m autograder solutions", description="Solved notebooks.")
    parser.add_argument("scripts", nargs="*", type=Path, help="percent scripts (default: all of solutions/)")
    parser.add_argument("--out", type=Path, default=BUILD / "solutions", help="default: build/solutions")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    wrong = [fault for script in options.scripts or scripts() for fault in _render(script, options.out)]
    if wrong:
        raise DataError("\n".join(wrong), where="solved notebooks", fix="Mend the scripts in solutions/.")
    return 0


def _render(script: Path, out: Path) -> list[str]:
    start = time.monotonic()
    nb = execute(script, BUILD / "runs")
    faults = [f"{script.stem}, {problem}" for problem in problems(nb)]
    target = out / f"{script.stem}.html"
    target.write_text(html(nb), encoding="utf-8")
    print(f"{target}: {time.monotonic() - start:.0f} s, {len(faults)} problems", flush=True)
    return faults
