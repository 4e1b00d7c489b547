"""`python -m autograder notebooks FOLDER`: the course's notebooks, copied to where they are worked on."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rslib.errors import ConfigError, DataError

_CLONE = Path(__file__).resolve().parents[1]


def shipped() -> list[Path]:
    """The notebooks of this clone or of the installed wheel, in order.

    Raises DataError where neither has any.
    """
    if (_CLONE / "pyproject.toml").is_file():
        paths = list((_CLONE / "notebooks").glob("*.ipynb"))
    else:
        packed = metadata.files("rslib-course") or []
        paths = [Path(file.locate()).resolve() for file in packed if file.suffix == ".ipynb"]
    if not paths:
        raise DataError("this installation has no notebooks", fix="Ask for them where you got it.")
    return sorted(paths, key=lambda path: path.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Copy the notebooks. Raises ConfigError where one of them is there: it may hold somebody's work."""
    parser = argparse.ArgumentParser(prog="python -m autograder notebooks", description="Copy the notebooks.")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("rslib-course"), help="rslib-course")
    folder = parser.parse_args(argv).folder.expanduser()
    sources = shipped()
    if taken := [path.name for path in sources if (folder / path.name).exists()]:
        raise ConfigError(f"{folder / taken[0]} is there already", fix="Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sources:
        shutil.copyfile(path, folder / path.name)
    print(f"{len(sources)} notebooks in {folder}; next: jupyter lab {folder / sources[0].name}")
    return 0
