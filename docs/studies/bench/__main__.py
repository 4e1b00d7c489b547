"""The command: which works, how many rounds, where the results go."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from docs.studies.bench.measuring import machine, measure, merge_results, render
from docs.studies.bench.works import WORKS
from rslib.cache import atomic_write, make_folder, read_json
from rslib.config import unknown_name
from rslib.progress import note


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m docs.studies.bench [--work W1,W2] [--rounds 5] [--threads 1] [--out docs/results]`.

    Writes bench-<device>.json into the folder and prints the table; works that were not asked for keep the
    results that the file has. Raises ConfigError for an unknown work,
    StoreError for a folder that cannot be made, before anything is measured.
    """
    parser = argparse.ArgumentParser(prog="python -m docs.studies.bench", description=main.__doc__)
    parser.add_argument(
        "--work", default=",".join(WORKS), help="comma-separated: W1 sampling, W2 scoring, ..."
    )
    parser.add_argument("--case", default="", help="only cases whose name contains this text")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds after a warm-up")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of torch")
    parser.add_argument("--out", default="docs/results", help="folder of the results file")
    args = parser.parse_args(arguments)
    names = args.work.split(",")
    for name in names:
        if name not in WORKS:
            raise unknown_name("work", name, WORKS, where="--work")
    if args.threads:
        torch.set_num_threads(args.threads)
    facts = machine("cuda" if torch.cuda.is_available() else "cpu", torch.get_num_threads())
    path = make_folder(Path(args.out)) / f"bench-{facts['device']}.json"  # refused before it measures
    cases = [make for name in names for case, make in WORKS[name].items() if args.case in case]
    for make in cases:
        work = make()
        note(f"{work.name}: {work.case}")
        old = read_json(path) if path.is_file() else {}
        results = merge_results(old, facts, measure(work, args.rounds))
        atomic_write(path, json.dumps(results, indent=1) + "\n")
    note(render(read_json(path)) if path.is_file() else "nothing was measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
