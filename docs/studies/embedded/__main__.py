"""The command: `python -m docs.studies.embedded --seed 0 --out FOLDER`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from docs.studies.embedded import recipe
from rslib.models import ASSETS


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models into `--out`; without it the embedded ones are replaced."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.embedded", description=recipe.__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the corpus, the weights and the labels")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder for the models and manifest.json")
    parser.add_argument("--documents", type=int, help="size of a policy's corpus (default: its own)")
    options = parser.parse_args(arguments)
    recipe.build_world(options.out, options.seed, options.documents)


if __name__ == "__main__":
    main()
