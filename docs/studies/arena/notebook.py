"""What notebook 07 reads of the comparisons: runs, trials, tables of gold, and cells of evidence.

python -m docs.studies.arena.notebook     writes autograder/comparisons.json from arena.json and rl.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.handouts.nb07_results import CELLS, FILE, METHODS, POINTS, STORED, Cell
from docs.studies.arena.summary import by_seed, key_of, paired, runs_of
from docs.studies.results import read
from rslib.cache import atomic_write
from rslib.intervals import over_seeds


def cut(arena: Mapping[str, Any], rl: Mapping[str, Any]) -> dict[str, Any]:
    """What the notebook needs of the two result files."""
    finals, trials = ([run for run in arena[kind] if run["arm"] in METHODS] for kind in ("finals", "trials"))
    runs = [_short(run) for run in finals if run["unit"] in (None, "flops")]
    trials = [_short(trial) for trial in trials if trial["unit"] == "flops"]
    cells = {cell.key: _from_arena(arena, cell) if cell.budget else _from_rl(rl, cell) for cell in CELLS}
    arms = {(arm, budget) for *pair, budget in STORED.values() for arm in pair}
    return {
        "runs": runs,
        "trials": trials,
        "cells": cells,
        "tables": {
            f"{arm} {budget}": _table(arena, arm, budget)
            for arm, budget in sorted(arms)
            if runs_of(arena, arm, budget)
        },
        "points": {arm: _point(arena, arm) for arm in POINTS},
        "rates": [claim for claim in arena["claims"] if "learning rate" in claim["claim"]],
    }


def _table(arena: Mapping[str, Any], arm: str, budget: str) -> dict[str, list[float]]:
    """Gold of an arm: the mean of each seed, and of each prompt."""
    by_prompt = arena["prompts"][key_of(arm, budget)]["gold"]
    return {"by_seed": [float(v) for v in by_seed(arena, arm, budget, "gold")], "by_prompt": by_prompt}


def _point(arena: Mapping[str, Any], arm: str) -> dict[str, dict[str, float]]:
    """Gold, reward and KL of an arm at equal FLOPs, over seeds."""
    values = {name: by_seed(arena, arm, "flops", name) for name in ("gold", "proxy", "kl")}
    return {
        name: {end: round(value, 4) for end, value in over_seeds(v).items()} for name, v in values.items()
    }


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    short = {name: run[name] for name in ("arm", "seed", "setting", "ledger", "memory", "notes")}
    if "means" in run:
        short["means"] = {name: run["means"][name] for name in ("gold", "proxy")}
    return short


def _from_arena(arena: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Differences by seed, and what other prompts would change."""
    arms = (cell.first, cell.second)
    values = [by_seed(arena, arm, cell.budget, cell.metric) for arm in arms]
    evidence = {"by_seed": [float(v) for v in values[0] - values[1]], "prompt_error": 0.0, "clusters": 2}
    if cell.metric in ("gold", "proxy"):
        prompts = [arena["prompts"][key_of(arm, cell.budget)][cell.metric] for arm in arms]
        pair = paired(*prompts, "test")
        evidence |= {"prompt_error": float(pair["standard_error"]), "clusters": int(pair["clusters"])}
    return evidence


def _from_rl(rl: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Differences by seed. The error over prompts is at most the sum of both arms' errors over base."""
    seeds = rl["results"].values()
    apart = [seed[cell.first][cell.metric] - seed[cell.second][cell.metric] for seed in seeds]
    over = [[seed[arm][f"{cell.metric}_over_base"] for seed in seeds] for arm in (cell.first, cell.second)]
    error = sum(float(np.mean([pair["standard_error"] for pair in arm])) for arm in over)
    return {"by_seed": apart, "prompt_error": error, "clusters": int(over[0][0]["clusters"])}


def sources() -> list[dict[str, Any]]:
    """The committed arena.json and rl.json."""
    return [read(name) for name in ("arena", "rl")]


def main() -> None:
    """Write the package's copy anew."""
    atomic_write(FILE, json.dumps(cut(*sources()), sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
