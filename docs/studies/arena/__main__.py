"""The command of the arena: measure what is missing, judge the claims, draw the figures, write the page."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docs.studies.arena import figures
from docs.studies.arena.claims import judged
from docs.studies.arena.measuring import QUICK, Plan, measure
from docs.studies.arena.page import page
from docs.studies.arena.summary import content_of, joined
from docs.studies.results import read, text_by_record, write
from rslib import plots
from rslib.arena import ARMS
from rslib.cache import atomic_write, make_folder

_PROGRAM = "python -m docs.studies.arena"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, judge and publish. Finished runs in --out are kept."""
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small plan that shows that everything works")
    parser.add_argument("--workers", type=int, default=1, help="runs side by side (default: 1)")
    parser.add_argument("--out", default="runs/arena", help="where the runs lie (default: runs/arena)")
    where = "where results/, figures/ and the page go (default: --out)"
    parser.add_argument("--docs", metavar="DIR", help=where)
    add = "measure these arms alone and add them to results/arena.json, whose seconds stay another day's"
    parser.add_argument("--arms", nargs="+", metavar="ARM", choices=ARMS, help=add)
    within = "what to hold equal for --arms (default: responses flops)"
    budgets = ("responses", "flops")
    parser.add_argument("--budgets", nargs="+", choices=budgets, default=budgets, help=within)
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else Plan()
    if options.arms:
        plan = dataclasses.replace(plan, arms=tuple(options.arms), budgets=tuple(options.budgets))
    results = measure(plan, options.out, workers=options.workers)
    content = content_of(results, plan, _command(options))
    docs = Path(options.docs or options.out)
    if options.arms:
        content = joined(read("arena", docs / "results"), content)
    publish(content | {"claims": judged(content)}, docs)
    return 0


def _command(options: argparse.Namespace) -> str:
    """The call that measures this again."""
    added = f" --arms {' '.join(options.arms)} --budgets {' '.join(options.budgets)}" if options.arms else ""
    return f"{_PROGRAM}{' --quick' * options.quick}{added} --workers {options.workers}"


def publish(content: dict[str, Any], docs: Path) -> None:
    """Write results/arena.json, the figures and the page that is made of them; print the claims."""
    axes = {
        "gold_kl": figures.gold_against_kl(content),
        "cost": figures.cost_quality(content),
        "sensitivity": figures.sensitivity(content),
    }
    for name, panels in axes.items():
        plots.save(panels, make_folder(docs / "figures") / f"arena_{name}.svg")
    content = content | {"summaries": {name: plots.summary_of(panels) for name, panels in axes.items()}}
    write("arena", content, docs / "results", text_by_record)
    # As it was stored: the page follows the file.
    atomic_write(docs / "arena.md", page(read("arena", docs / "results")))
    for claim in content["claims"]:
        print(f"{claim['verdict']:<14} {claim['claim']}")
    print(f"page: {docs / 'arena.md'}")


if __name__ == "__main__":
    sys.exit(main())
