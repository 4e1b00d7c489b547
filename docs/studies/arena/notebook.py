"""What notebook 07 reads of the comparisons: runs, trials, and cells of evidence.

python -m docs.studies.arena.notebook     writes autograder/comparisons.json from arena.json and rl.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autograder.handouts.nb07_results import CELLS, FILE, METHODS, Cell
from docs.studies.arena.summary import by_seed, key_of, paired
from rslib.store import atomic_write

RESULTS = Path(__file__).parents[2] / "results"


def cut(arena: Mapping[str, Any], rl: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebook needs of the two result files."""
    runs = [
        _short(one) for one in arena["finals"] if one["arm"] in METHODS and one["unit"] in (None, "flops")
    ]
    trials = [_short(one) for one in arena["trials"] if one["arm"] in METHODS and one["unit"] == "flops"]
    cells = {cell.key: _from_arena(arena, cell) if cell.budget else _from_rl(rl, cell) for cell in CELLS}
    return {"runs": runs, "trials": trials, "cells": cells}


def _short(one: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: one[name] for name in ("arm", "seed", "setting")} | {"ledger": one["ledger"]}
    means = {name: one["means"][name] for name in ("gold", "proxy")} if "means" in one else None
    return found | ({"means": means} if means else {})


def _from_arena(arena: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Differences by seed, and what other prompts would change."""
    arms = (cell.first, cell.second)
    values = [by_seed(arena, arm, cell.budget, cell.metric) for arm in arms]
    found = {"by_seed": [float(v) for v in values[0] - values[1]], "prompt_error": 0.0, "clusters": 2}
    if cell.metric in ("gold", "proxy"):
        prompts = [arena["prompts"][key_of(arm, cell.budget)][cell.metric] for arm in arms]
        own = paired(*prompts, "test")
        found |= {"prompt_error": float(own["standard_error"]), "clusters": int(own["clusters"])}
    return found


def _from_rl(rl: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Differences by seed. The error over prompts is at most the sum of both arms' errors over base."""
    seeds = rl["results"].values()
    apart = [one[cell.first][cell.metric] - one[cell.second][cell.metric] for one in seeds]
    over = [[one[arm][f"{cell.metric}_over_base"] for one in seeds] for arm in (cell.first, cell.second)]
    error = sum(float(np.mean([found["standard_error"] for found in arm])) for arm in over)
    return {"by_seed": apart, "prompt_error": error, "clusters": int(over[0][0]["clusters"])}


def sources() -> list[dict[str, Any]]:
    """The committed arena.json and rl.json."""
    return [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("arena", "rl")]


def main() -> None:
    """Write the package's copy anew."""
    atomic_write(FILE, json.dumps(cut(*sources()), sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
