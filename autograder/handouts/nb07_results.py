"""What notebook 07 reads of the committed comparisons: runs, trials, and cells of evidence.

autograder/comparisons.json is cut from arena.json and rl.json, so that it travels with the package:
docs/studies/arena/notebook.py makes it. A test holds them together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rslib.intervals import Interval, over_both

FILE = Path(__file__).with_name("comparisons.json")
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


@cache
def content() -> dict[str, Any]:
    """The file's content."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def interval(cell: Cell, level: float) -> Interval:
    """Mean, low and high of a cell's difference, over seeds and prompts."""
    measured = content()["cells"][cell.key]
    return over_both(measured["by_seed"], measured["prompt_error"], measured["clusters"], level)


def words(cell: Cell) -> str:
    """A cell in words, without its numbers."""
    names = f"{NAMES[cell.first]} minus {NAMES[cell.second]}"
    return f"{names}: {METRICS.get(cell.metric, cell.metric)}, {EQUAL[cell.budget]}"
