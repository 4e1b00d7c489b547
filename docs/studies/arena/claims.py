"""What is said of the arena, and whether the intervals bear it out.

Every claim says that a difference is above 0. It is "supported" when the interval of the difference lies
above 0, "contradicted" when it lies below, else "not separable". The intervals are Bonferroni's: with m
claims each has level 1 - 0.05 / m, so the chance that any of them misses the truth is at most 5 %. Claims
about the relatives and about the corrected reward are families of their own: they were made, and measured,
after the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from docs.studies.arena.measuring import BUDGETS, TRIED
from docs.studies.arena.summary import Content, difference, paired, runs_of, trials_of
from rslib.arena import ARMS
from rslib.errors import DataError
from rslib.intervals import Interval, over_both, verdict_of

RISK = 0.05
CORRECTED = "corrected reward"
RELATIVES = "relatives"
"""The families of claims about it and about them."""
EQUAL = {"responses": "equal responses", "flops": "equal FLOPs", "cpu_seconds": "equal seconds"}
_UNITS = {
    "gold": "points of gold",
    "proxy": "reward",
    "kl": "nats",
    "flops": "FLOPs",
    "cpu_seconds": "CPU seconds",
    "memory": "MiB above the libraries",
    "models": "models",
}


@dataclass(frozen=True)
class _Claim:
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


def _against(text: str, first: str, second: str, budget: str, metric: str = "gold") -> _Claim:
    """`first` has more of a metric than `second`, both in one kind of budget."""
    names = {"first": ARMS[first].label, "second": ARMS[second].label, "equal": EQUAL[budget]}

    def find(content: Content, level: float) -> Interval:
        return difference(content, first, second, budget, metric, level)

    return _Claim(text.format(**names), (first, second), budget, _UNITS[metric], find)


def _sensitivity(words: str, rank: int, budget: str) -> _Claim:
    """PPO loses more gold than RS-1 when its rate is the lowest (rank 0) or the highest (2) of three."""

    def find(content: Content, level: float) -> Interval:
        return _rate_contrast(content, "ppo", "rs1", budget, rank, level)

    text = f"{words} the learning rate costs PPO more gold than RS-1 (trials at {EQUAL[budget]}, one seed)"
    return _Claim(text, ("ppo", "rs1"), budget, _UNITS["gold"], find, rates=3)


def _all_claims() -> list[_Claim]:
    """Every claim, in the order of the page."""
    claims: list[_Claim] = []
    for first in ("ppo", "rs3", "dpo", "onlinerft", "rloo"):
        text = "{first} has more gold than {second} at {equal}"
        claims += [_against(text, first, "rs1", unit) for unit in BUDGETS]
    text = "{first} has more gold than its {second} at {equal}"
    claims += [_against(text, "rs1", "random", unit) for unit in BUDGETS]
    for first in ("ppo", "dpo", "rloo", "grpo", "reinforce"):
        text = "{first} has more gold than {second}, trained at {equal}"
        claims.append(_against(text, first, "base", "responses"))
    for first in ("rs1", "ppo"):
        text = "{first} has more gold than {second}, trained at {equal}"
        claims.append(_against(text, first, "best_of_n", "responses"))
    cost = "{first} needs more " + "%s than {second} at {equal}"
    for metric, unit in (("flops", "responses"), ("cpu_seconds", "responses"), ("cpu_seconds", "flops")):
        claims.append(_against(cost % _UNITS[metric], "ppo", "rs1", unit, metric))
    claims.append(_against("{first} holds more models than {second}", "ppo", "rs1", "responses", "models"))
    claims.append(_against("{first} needs more memory than {second}", "ppo", "rs1", "responses", "memory"))
    text = "{first} has more reward than {second} at {equal}"
    claims.append(_against(text, "rs3", "rs1", "responses", "proxy"))
    for unit in TRIED:
        claims += [_sensitivity(words, rank, unit) for words, rank in (("Tripling", 2), ("A third of", 0))]
    return claims


def _relatives_claims() -> list[_Claim]:
    """Every claim about a relative: against the method that it changes, and distillation against RS-1."""
    pairs = [("raft_pp", "onlinerft"), ("clip_higher", "grpo"), ("dr_grpo", "grpo"), ("gspo", "grpo")]
    text = "{first} has more gold than {second} at {equal}"
    pairs.append(("vbon", "rs1"))
    return [_against(text, *pair, unit) for pair in pairs for unit in TRIED]


def _corrected_claims() -> list[_Claim]:
    """Every claim about the corrected reward."""
    text = "{first} has more gold than {second} at {equal}"
    pairs = [
        ("rs1_length", "rs1"),
        ("ppo_length", "ppo"),
        ("ppo_length", "rs1_length"),
        ("rs1_length", "ppo"),
    ]
    claims = [_against(text, *pair, unit) for pair in pairs for unit in BUDGETS]
    serving = "{first} has more gold than {second}"
    claims.append(_against(serving, "best_of_n_length", "best_of_n", "responses"))
    text = "{first} has more gold than {second}, trained at {equal}"
    claims += [_against(text, name, "best_of_n", "responses") for name in ("rs1_length", "ppo_length")]
    text = "{first} is further from the starting policy (KL) than {second} at {equal}"
    claims += [_against(text, "rs1", "rs1_length", unit, "kl") for unit in BUDGETS]
    return claims


def _rate_contrast(content: Content, first: str, second: str, unit: str, rank: int, level: float) -> Interval:
    """How much more gold `first` loses than `second` when its rate is the lowest (0) or highest (2) of three.

    The loss is gold at the middle rate minus gold at the other, averaged over the second setting. One seed:
    the interval knows of the prompts alone.
    """
    lost = [_lost(content, arm, unit, rank) for arm in (first, second)]
    pair = paired(*lost, "validation")
    return over_both([pair["difference"]], pair["standard_error"], pair["clusters"], level)


def _lost(content: Content, arm: str, unit: str, rank: int) -> np.ndarray:
    """Gold lost at each validation prompt (M,); DataError when all trials at one of the rates failed."""
    trials = trials_of(content, arm, unit)
    rates, means = _rates_of(trials), []
    for rate in (rates[1], rates[rank]):
        ended = [t["gold"] for t in trials if t["setting"]["learning_rate"] == rate and "gold" in t]
        if not ended:
            what = f"no trial of {arm} at learning rate {rate:g} has ended"
            raise DataError(what, where="arena", fix="Lower the arm's middle learning rate.")
        means.append(np.mean(ended, axis=0))
    return means[0] - means[1]


def _rates_of(trials: Sequence[Mapping[str, Any]]) -> list[float]:
    """The learning rates that were tried, from the lowest."""
    return sorted({trial["setting"]["learning_rate"] for trial in trials})


def judged(content: Content) -> list[dict[str, Any]]:
    """Every claim about measured arms and budgets, with its interval and verdict, as plain data."""
    verdicts = []
    families = {"": _all_claims(), RELATIVES: _relatives_claims(), CORRECTED: _corrected_claims()}
    for family, made in families.items():
        claims = [claim for claim in made if _is_measured(claim, content)]
        level = 1 - RISK / max(1, len(claims))
        for claim in claims:
            interval = claim.find(content, level)
            entry = {"claim": claim.text, "unit": claim.unit, "verdict": verdict_of(interval)}
            entry |= {"family": family} if family else {}
            verdicts.append(entry | {name: float(f"{value:.6g}") for name, value in interval.items()})
    return verdicts


def _is_measured(claim: _Claim, content: Content) -> bool:
    plan = content["plan"]
    if not set(claim.arms) <= set(plan["arms"]) or claim.budget not in plan["budgets"]:
        return False
    if not all(runs_of(content, arm, claim.budget) for arm in claim.arms):
        return False
    trials = [trials_of(content, arm, claim.budget) for arm in claim.arms] if claim.rates else []
    return all(len(_rates_of(tried)) >= claim.rates for tried in trials)
