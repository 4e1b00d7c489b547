"""What notebook 07 reads of the committed comparisons: runs, trials, and cells of evidence.

    python -m autograder.exercises.nb07_results     writes autograder/comparisons.json from docs/results/

The file is cut from arena.json and rl.json, so that it travels with the package. A test holds them together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rslib.arena.intervals import Interval, over_both, paired
from rslib.arena.summary import by_seed, key_of
from rslib.store import atomic_write

FILE = Path(__file__).parents[1] / "comparisons.json"
RESULTS = Path(__file__).parents[2] / "docs" / "results"
METHODS = ("best_of_n", "rs1", "dpo", "rloo", "grpo", "ppo")
"""The methods of the table in 7.2."""
EQUAL = {
    "flops": "equal FLOPs",
    "responses": "equal responses",
    "cpu_seconds": "equal seconds",
    "": "no equal budgets",
}
METRICS = {
    "gold": "gold",
    "proxy": "reward",
    "models": "models held",
    "flops": "FLOPs spent",
}


@dataclass(frozen=True)
class Cell:
    """A difference that was measured: first minus second, in a metric; budget "" is rl.json's, unequal."""

    first: str
    second: str
    metric: str
    budget: str

    @property
    def key(self) -> str:
        """Its name in the file."""
        return "/".join((self.first, self.second, self.metric, self.budget))


NAMES = {
    "base": "base",
    "random": "random control",
    "rs1": "RS-1",
    "rs3": "RS-3",
    "rs": "RS-1",
    "best_of_n": "best-of-16 serving",
    "dpo": "DPO",
    "rloo": "RLOO",
    "ppo": "PPO",
    "ppo_without_kl": "PPO without KL",
}
CELLS = (
    Cell("best_of_n", "ppo", "gold", "flops"),
    Cell("best_of_n", "ppo", "proxy", "flops"),
    Cell("ppo", "dpo", "flops", "responses"),
    Cell("ppo", "dpo", "gold", "flops"),
    Cell("ppo", "dpo", "models", "responses"),
    Cell("ppo", "rs", "gold", ""),
    Cell("ppo", "rs1", "gold", "flops"),
    Cell("ppo_without_kl", "base", "gold", ""),
    Cell("ppo_without_kl", "base", "reward", ""),
    Cell("rs1", "base", "gold", "cpu_seconds"),
    Cell("rs1", "random", "gold", "cpu_seconds"),
    Cell("rs3", "rs1", "gold", "cpu_seconds"),
    Cell("rs3", "rs1", "proxy", "cpu_seconds"),
)
"""By the alphabet: which of them tests which sentence of 7.3 is among the keys."""


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


@cache
def content() -> dict[str, Any]:
    """The file's content."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def interval(cell: Cell, level: float) -> Interval:
    """Mean, low and high of a cell's difference, over seeds and prompts."""
    found = content()["cells"][cell.key]
    return over_both(found["by_seed"], found["prompt_error"], found["clusters"], level)


def words(cell: Cell) -> str:
    """A cell in words, without its numbers."""
    names = f"{NAMES[cell.first]} minus {NAMES[cell.second]}"
    return f"{names}: {METRICS.get(cell.metric, cell.metric)}, {EQUAL[cell.budget]}"


def sources() -> list[dict[str, Any]]:
    """The committed arena.json and rl.json."""
    return [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("arena", "rl")]


def main() -> None:
    """Write the package's copy anew."""
    atomic_write(FILE, json.dumps(cut(*sources()), sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
