"""The run panels of notebook 05: measured rows of runs with one flaw or none.

`panels.json` holds what the notebook shows with the flaw's name beside it: three runs of each class, the gold
of five, all healthy ones, and what `rslib.flaws` says of each flaw, so that the clinic needs no torch. Whose
the six panels of 5.1 are is among the keys, in `autograder/keys/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from autograder.exercise import Variant

FILE = Path(__file__).with_name("panels.json")

STAGES: dict[str, tuple[str, ...]] = {
    "sample": ("n1", "temperature_zero", "truncated_as_finished"),
    "score": ("prompt_blind_scoring", "shuffled_rewards", "swapped_reward_model"),
    "select": ("random_selection", "worst", "top_k_overall"),
    "train": ("no_prompt_mask", "wrong_role", "tune_reward_model"),
    "judge": ("evaluate_on_training_prompts", "tiny_test", "greedy_evaluation"),
}
"""Where the notebook's flaws sit. Every two of them are told apart by a metric in every measured seed."""
HEALTHY = "healthy"
LETTERS = "ABCDEF"
SEEDS = ("0", "1", "2", "3", "4")

METRICS: dict[str, tuple[str, str]] = {
    "gold": ("gold.best_of_n", "points: the tuned policy on held-out prompts"),
    "gold_of_control": ("gold.random", "points: the arm that was tuned on a random pick"),
    "gold_of_base": ("gold.base", "points: the policy that the run began with"),
    "reward": ("proxy.best_of_n", "mean reward on held-out prompts"),
    "kl": ("kl.best_of_n", "nats per response, from the first policy"),
    "length": ("length.best_of_n", "tokens of a held-out response"),
    "judged_prompts": ("prompts.best_of_n", "held-out prompts that the policy was judged on"),
    "judged_unique": (
        "unique_ratio.best_of_n",
        "share of distinct texts among the held-out responses to a prompt",
    ),
    "trained_on": ("judged_prompts_trained_on", "share of held-out rows whose prompt is in the pool"),
    "pool_rows": ("pool_rows", "responses that were drawn"),
    "pool_unique": ("pool_unique_ratio", "share of distinct texts among the responses to a prompt"),
    "reweigh_error": (
        "reweigh_error",
        "nats: gap between the stored log-probability of a response and the policy's own",
    ),
    "rescore_error": (
        "rescore_error",
        "gap between the stored reward of a response and one that is scored again",
    ),
    "prompt_effect": (
        "prompt_effect",
        "change of a response's reward when it is scored under another prompt",
    ),
    "reward_accuracy": (
        "reward_accuracy",
        "share of pairs of one prompt's responses that reward and gold order alike",
    ),
    "coverage": ("coverage", "share of prompts with a kept row"),
    "kept_best": ("kept_best", "share of kept rows with their prompt's highest reward"),
    "kept_without_end": ("kept_without_end", "share of kept responses without a final full stop"),
    "selection_gap": ("selection_gap.best_of_n", "mean reward of the kept rows minus that of the pool"),
    "learned_tokens": ("learned_tokens", "tokens in the loss divided by tokens of the kept responses"),
    "first_loss": ("first_loss", "nats per token in the first three steps"),
    "policy_changed": ("policy_changed", "1 when the tuned policy has other weights"),
}
"""Metric -> (its column in the results file, what it is)."""

GROUPS: dict[str, tuple[str, ...]] = {
    "sample": ("pool_rows", "pool_unique", "reweigh_error"),
    "score": ("rescore_error", "prompt_effect", "reward_accuracy"),
    "select": ("coverage", "kept_best", "kept_without_end", "selection_gap"),
    "train": ("learned_tokens", "first_loss", "policy_changed"),
    "judge": ("judged_prompts", "judged_unique", "trained_on"),
    "outcome": ("gold", "gold_of_control", "gold_of_base", "reward", "kl", "length"),
}
"""The metrics by the stage that they ask, in the order of the pipeline; outcomes are moved by every stage."""

Run = dict[str, float | None]
Rows = dict[str, dict[str, Run]]
"""Flaw (or "healthy") -> seed -> panel."""


@dataclass(frozen=True)
class Panels:
    """The panels of an exercise as learners have them.

    file: holds the decks, and what is said of each flaw. stages: the flaws by where they sit. metrics: what
    each is, by name. groups: the metrics by the stage that they ask.
    """

    file: Path
    stages: Mapping[str, Sequence[str]]
    metrics: Mapping[str, Any]
    groups: Mapping[str, Sequence[str]]

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the file holds."""
        return json.loads(self.file.read_text(encoding="utf-8"))

    def names(self) -> list[str]:
        """Every flaw, stage by stage."""
        return [flaw for flaws in self.stages.values() for flaw in flaws]

    def stage_of(self, flaw: str) -> str:
        """The stage that a flaw sits in."""
        return next(stage for stage, flaws in self.stages.items() if flaw in flaws)

    def decks(self) -> list[dict[str, Any]]:
        """Six panels each, by the alphabet of their values, and the healthy range to read them by."""
        return self.content["decks"]

    def flaws(self) -> dict[str, dict[str, str]]:
        """`id` and `description` of every flaw, by name."""
        return self.content["flaws"]

    def described(self) -> list[tuple[str, str]]:
        """(flaw, what it does) for every flaw."""
        return [(name, self.flaws()[name]["description"]) for name in self.names()]

    def run_of(self, values: Sequence[float | None]) -> Run:
        """The panel with these values, in the order of the metrics."""
        return dict(zip(self.metrics, values, strict=True))

    def drawn(self, variant: Variant) -> tuple[int, dict[str, int]]:
        """A learner's deck, and for each letter the panel of it."""
        rng = variant.rng("panels")
        deck = int(rng.integers(len(self.decks())))
        return deck, dict(zip(LETTERS, map(int, rng.permutation(len(LETTERS))), strict=True))


PANELS = Panels(FILE, STAGES, METRICS, GROUPS)
names, stage_of, flaws, described = PANELS.names, PANELS.stage_of, PANELS.flaws, PANELS.described


def rows() -> Rows:
    """The panels that the notebook shows with their names; of a flaw's seeds "3" and "4" what plots show."""
    return PANELS.content["rows"]


def span(
    name: str, metric: str, seeds: Iterable[str] | None = None, table: Rows | None = None
) -> tuple[float, float] | None:
    """The lowest and the highest value of a metric over the seeds of one class; None where it has none.

    table: the panels to look at, by default those that the notebook shows. seeds: by default all of them.
    """
    runs = (table or rows())[name]
    values = [runs[seed].get(metric) for seed in (runs if seeds is None else seeds)]
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None


def apart(first: str, second: str, metric: str, table: Rows | None = None) -> bool:
    """Whether every seed of one class lies on one side of every seed of the other, or only one has values."""
    left, right = span(first, metric, table=table), span(second, metric, table=table)
    if left is None or right is None:
        return (left is None) != (right is None)
    return left[0] > right[1] or left[1] < right[0]


def outside(run: Run, seeds: Sequence[str] = SEEDS) -> Run:
    """The metrics of a panel that lie outside the healthy range, or have no value."""
    outliers: Run = {}
    for metric, value in run.items():
        low, high = span(HEALTHY, metric, seeds) or (0.0, 0.0)
        if value is None or not low <= value <= high:
            outliers[metric] = value
    return outliers


def shown(value: float | None) -> str:
    """A value as a panel prints it."""
    return "-" if value is None else f"{round(value, 4) + 0.0:.4g}"  # + 0.0: no minus before a zero
