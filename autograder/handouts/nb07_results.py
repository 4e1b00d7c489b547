"""What notebook 07 reads of the committed comparisons: runs, trials, tables of gold, and cells of evidence.

autograder/comparisons.json is cut from arena.json and rl.json, so that it travels with the package:
docs/studies/arena/notebook.py makes it. A test holds them together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

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
_CLAIMS = {
    "PPO has more gold than RS-1": ("ppo", "rs1"),
    "RS-1 gains gold from the corrected reward": ("rs1_length", "rs1"),
    "PPO gains gold from the corrected reward": ("ppo_length", "ppo"),
    "corrected RS-1 has more gold than plain PPO": ("rs1_length", "ppo"),
    "both corrected, PPO has more gold than RS-1": ("ppo_length", "rs1_length"),
}
STORED = {
    f"{claim} at {EQUAL[budget]}": (*arms, budget)
    for claim, arms in _CLAIMS.items()
    for budget in ("responses", "flops", "cpu_seconds")
}
"""Claim -> (first arm, second arm, budget): what 7.1 reads, where it was measured."""
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
POINTS = (
    "base",
    "random",
    "rs1",
    "rs1_length",
    "best_of_n",
    "best_of_n_length",
    "dpo",
    "rloo",
    "grpo",
    "ppo",
    "ppo_length",
)
"""The arms of the figure of gold against KL."""


@cache
def content() -> dict[str, Any]:
    """The file's content."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def stored_claims() -> list[str]:
    """The claims of STORED whose two arms were measured in the claim's budget."""
    tables = content()["tables"]
    return [
        claim for claim, (*arms, budget) in STORED.items() if all(f"{arm} {budget}" in tables for arm in arms)
    ]


def tables_of(claim: str) -> tuple[np.ndarray, np.ndarray]:
    """Gold of a stored claim's two arms, each (S, M): a row a seed, a column a test prompt."""
    first, second, budget = STORED[claim]
    return gold_table(first, budget), gold_table(second, budget)


def gold_table(arm: str, budget: str) -> np.ndarray:
    """Gold of an arm in a budget (S, M), from what is stored: its row means and its column means.

    The result file keeps the mean of every seed and the mean of every prompt, which is all that an interval
    over seeds and prompts reads. A cell here is row mean + column mean - mean of all.
    """
    stored = content()["tables"][f"{arm} {budget}"]
    by_seed, by_prompt = np.array(stored["by_seed"]), np.array(stored["by_prompt"])
    return by_seed[:, None] + by_prompt - by_prompt.mean()


def interval(cell: Cell, level: float) -> Interval:
    """Mean, low and high of a cell's difference, over seeds and prompts."""
    measured = content()["cells"][cell.key]
    return over_both(measured["by_seed"], measured["prompt_error"], measured["clusters"], level)


def words(cell: Cell) -> str:
    """A cell in words, without its numbers."""
    names = f"{NAMES[cell.first]} minus {NAMES[cell.second]}"
    return f"{names}: {METRICS.get(cell.metric, cell.metric)}, {EQUAL[cell.budget]}"
