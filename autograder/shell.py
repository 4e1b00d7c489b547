"""`python -m autograder check NOTEBOOK`: run a notebook as Jupyter would and print its verdicts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autograder import exercises
from autograder.verdict import MIME, Verdict
from rslib.errors import ConfigError, DataError

CELL_SECONDS = 900


def main(argv: Sequence[str] | None = None) -> int:
    """Print every exercise's verdict; exit code 0 if all points were reached, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m autograder check", description="grade a notebook's exercises"
    )
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args(argv).notebook
    verdicts, errors = run(path)
    for verdict in verdicts:
        print(verdict.text(), end="\n\n")
    for error in errors:
        print(f"a cell stopped: {error}")
    expected = exercises.of_notebook(path.stem[:2])
    counted = {exercise.id for exercise in expected}  # a practice panel has points that nobody counts
    missing = sorted(counted - {v.exercise for v in verdicts})
    if missing:
        print(f"not checked, because the check cell is gone or stopped: {', '.join(missing)}")
    reached = sum(v.points for v in verdicts if v.exercise in counted)
    possible = sum(exercise.points for exercise in expected)
    print(f"{path.name}: {reached:g} of {possible:g} points")
    return 0 if reached == possible and not errors else 1


def run(path: Path) -> tuple[list[Verdict], list[str]]:
    """Execute the notebook in a fresh kernel, going on after errors; its verdicts and the cells' errors.

    Raises DataError for a file that is no notebook and ConfigError where nbclient is not installed.
    """
    client = _client(path)
    client.execute()
    verdicts: dict[str, Verdict] = {}
    errors = []
    for output in (o for c in client.nb.cells if c.cell_type == "code" for o in c.outputs):
        if output.output_type == "error":
            errors.append(f"{output.ename}: {output.evalue}")
        elif MIME in output.get("data", {}):
            verdict = Verdict.from_dict(output["data"][MIME])
            verdicts[verdict.exercise] = verdict
    return list(verdicts.values()), errors


def _client(path: Path) -> Any:
    try:
        import nbformat
        from nbclient import NotebookClient
    except ImportError:
        raise ConfigError(
            "checking a notebook from a shell needs the course packages: pip install 'rslib-course[course]'"
        ) from None
    if not path.is_file():
        raise DataError(f"there is no notebook {path}")
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:
        raise DataError(f"{path} is not a notebook: {error}") from error
    resources = {"metadata": {"path": str(path.resolve().parent)}}
    return NotebookClient(notebook, timeout=CELL_SECONDS, allow_errors=True, resources=resources)
