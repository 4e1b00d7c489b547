"""What is said of the arena, and whether the intervals bear it out.

Every claim says that a difference is above 0. It is "supported" when the interval of the difference lies
above 0, "contradicted" when it lies below, else "not separable". The intervals are Bonferroni's: with m
claims each has level 1 - 0.05 / m, so the chance that any of them misses the truth is at most 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from docs.studies.arena.measuring import BUDGETS, TRIED
from docs.studies.arena.summary import difference, paired, trials_of
from rslib.arena import ARMS
from rslib.errors import DataError
from rslib.intervals import Interval, over_both, verdict_of

RISK = 0.05
EQUAL = {"responses": "equal responses", "flops": "equal FLOPs", "cpu_seconds": "equal seconds"}
WORDS = {
    "gold": "points of gold",
    "proxy": "reward",
    "flops": "FLOPs",
    "cpu_seconds": "CPU seconds",
    "memory": "MiB above the libraries",
    "models": "models",
}
Content = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """text: the sentence. arms, budget: of which it speaks. unit: of the difference.

    find(content, level) gives the interval of the difference. rates: how many learning rates of each arm it
    has to find among the trials.
    """

    text: str
    arms: tuple[str, str]
    budget: str
    unit: str
    find: Callable[[Content, float], Interval]
    rates: int = 0


def _against(text: str, first: str, second: str, budget: str, metric: str = "gold") -> Claim:
    """`first` has more of a metric than `second`, both in one kind of budget."""
    names = {"first": ARMS[first].label, "second": ARMS[second].label, "equal": EQUAL[budget]}

    def find(content: Content, level: float) -> Interval:
        return difference(content, first, second, budget, metric, level)

    return Claim(text.format(**names), (first, second), budget, WORDS[metric], find)


def _sensitivity(words: str, at: int, budget: str) -> Claim:
    """PPO loses more gold than RS-1 when its rate is the lowest (at 0) or the highest (2) of three."""

    def find(content: Content, level: float) -> Interval:
        return rate_contrast(content, "ppo", "rs1", budget, at, level)

    text = f"{words} the learning rate costs PPO more gold than RS-1 (trials at {EQUAL[budget]}, one seed)"
    return Claim(text, ("ppo", "rs1"), budget, WORDS["gold"], find, rates=3)


def all_claims() -> list[Claim]:
    """Every claim, in the order of the page."""
    found: list[Claim] = []
    for first in ("ppo", "rs3", "dpo", "onlinerft", "rloo"):
        text = "{first} has more gold than {second} at {equal}"
        found += [_against(text, first, "rs1", unit) for unit in BUDGETS]
    text = "{first} has more gold than its {second} at {equal}"
    found += [_against(text, "rs1", "random", unit) for unit in BUDGETS]
    for first in ("ppo", "dpo", "rloo", "grpo", "reinforce"):
        text = "{first} has more gold than {second}, trained at {equal}"
        found.append(_against(text, first, "base", "responses"))
    for first in ("rs1", "ppo"):
        text = "{first} has more gold than {second}, trained at {equal}"
        found.append(_against(text, first, "best_of_n", "responses"))
    cost = "{first} needs more " + "%s than {second} at {equal}"
    for metric, unit in (("flops", "responses"), ("cpu_seconds", "responses"), ("cpu_seconds", "flops")):
        found.append(_against(cost % WORDS[metric], "ppo", "rs1", unit, metric))
    found.append(_against("{first} holds more models than {second}", "ppo", "rs1", "responses", "models"))
    found.append(_against("{first} needs more memory than {second}", "ppo", "rs1", "responses", "memory"))
    text = "{first} has more reward than {second} at {equal}"
    found.append(_against(text, "rs3", "rs1", "responses", "proxy"))
    for unit in TRIED:
        found += [_sensitivity(words, at, unit) for words, at in (("Tripling", 2), ("A third of", 0))]
    return found


def rate_contrast(content: Content, first: str, second: str, unit: str, at: int, level: float) -> Interval:
    """How much more gold `first` loses than `second` when its rate is the lowest (0) or highest (2) of three.

    The loss is gold at the middle rate minus gold at the other, averaged over the second setting. One seed:
    the interval knows of the prompts alone.
    """
    lost = [_lost(content, arm, unit, at) for arm in (first, second)]
    found = paired(*lost, "validation")
    return over_both([found["difference"]], found["standard_error"], found["clusters"], level)


def _lost(content: Content, arm: str, unit: str, at: int) -> np.ndarray:
    """Gold lost at each validation prompt (M,); DataError when all trials at one of the rates failed."""
    trials = trials_of(content, arm, unit)
    rates, found = rates_of(trials), []
    for rate in (rates[1], rates[at]):
        ended = [one["gold"] for one in trials if one["setting"]["learning_rate"] == rate and "gold" in one]
        if not ended:
            what = f"no trial of {arm} at learning rate {rate:g} has ended"
            raise DataError(what, where="arena", fix="Lower the arm's middle learning rate.")
        found.append(np.mean(ended, axis=0))
    return found[0] - found[1]


def rates_of(trials: Sequence[Mapping[str, Any]]) -> list[float]:
    """The learning rates that were tried, from the lowest."""
    return sorted({one["setting"]["learning_rate"] for one in trials})


def judged(content: Content) -> list[dict[str, Any]]:
    """Every claim about measured arms and budgets, with its interval and verdict, as plain data."""
    claims = [claim for claim in all_claims() if _is_measured(claim, content)]
    level = 1 - RISK / max(1, len(claims))
    found = []
    for claim in claims:
        interval = claim.find(content, level)
        entry = {"claim": claim.text, "unit": claim.unit, "verdict": verdict_of(interval)}
        found.append(entry | {name: float(f"{value:.6g}") for name, value in interval.items()})
    return found


def _is_measured(claim: Claim, content: Content) -> bool:
    plan = content["plan"]
    if not set(claim.arms) <= set(plan["arms"]) or claim.budget not in plan["budgets"]:
        return False
    trials = [trials_of(content, arm, claim.budget) for arm in claim.arms] if claim.rates else []
    return all(len(rates_of(one)) >= claim.rates for one in trials)
