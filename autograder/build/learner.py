"""The package that a class gets: questions and self-checks, without keys: `make learner`.

    make learner OUT=build/learner        a folder to install: `pip install build/learner`

There `given` hands out the same, code is checked as ever, and the check of a question notes that it has an
answer. Nothing of `autograder/keys/`, of the catalogue of wrong answers or of the grader is in it.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from autograder.build.placeholders import ROOT
from autograder.grading.visible import PACKAGE, to_a_class
from rslib.errors import ConfigError

AROUND = ("pyproject.toml", "README.md", "LICENSE")


def files() -> list[str]:
    """The files of the package for learners, relative to the repository."""
    return [path.relative_to(PACKAGE.parent).as_posix() for path in to_a_class()]


def build(out: Path) -> Path:
    """Write the folder anew and return it. Raises ConfigError for a folder that holds something else."""
    if out.exists() and any(out.iterdir()) and not (out / "autograder" / "handouts").exists():
        raise ConfigError(f"{out} holds something else", fix="Name a new folder: --out FOLDER.")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "rslib", out / "rslib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*files(), *AROUND):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, out / name)
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Write the package for learners."""
    parser = argparse.ArgumentParser(prog="python -m autograder learner", description="A class's package.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "learner", help="default: build/learner")
    out = build(parser.parse_args(argv).out.expanduser())
    print(f"{out}: install it with `pip install {out}`, or make a wheel with `pip wheel --no-deps {out}`.")
    return 0
