"""The solver of exercise 8.2, and teams of every kind.

python -m autograder.keys.nb08_2     writes autograder/handouts/teams.json, which holds teams alone
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import numpy as np

from autograder.exercise import CheckFailed, require
from autograder.exercises.calculator import break_even_requests, memory_gb
from autograder.handouts.locked import entry
from autograder.handouts.nb08_2 import CHANGES, FILE, LIMITS, STRATEGIES, Team, teams, yearly_cost
from autograder.work import Work
from rslib.store import atomic_write

DECKS = 120
NEAR = 1.25
"""A strategy within this factor of the cheapest one that fits is as good an answer."""
FORM, FITS, DECIDES, FLIPS = (
    "names a strategy, a limit and a change",
    "fits the limits",
    "names the limit",
    "flips",
)


def broken(team: Team, strategy: str) -> set[str]:
    """The limits that a strategy breaks."""
    rules: dict[str, Callable[[], bool]] = {
        "memory": lambda: memory_gb(team.parameters, strategy) > team.memory,
        "budget": lambda: yearly_cost(team, strategy) > team.budget,
        "latency": lambda: strategy == "serve" and team.n > team.slowest,
        "weights": lambda: strategy != "serve" and not team.trains,
        "skill": lambda: strategy in ("rloo", "ppo") and not team.rl,
    }
    return {limit for limit, is_broken in rules.items() if is_broken()}


def acceptable(team: Team) -> set[str]:
    """The strategies that break no limit and cost at most NEAR times the cheapest of those, or {"none"}."""
    fitting = {s: yearly_cost(team, s) for s in STRATEGIES if not broken(team, s)}
    if not fitting:
        return {"none"}
    return {s for s, dollars in fitting.items() if dollars <= NEAR * min(fitting.values())}


FREED = {
    "memory": {"memory": float("inf")},
    "budget": {"budget": float("inf")},
    "latency": {"slowest": 10**9},
    "weights": {"trains": True},
    "skill": {"rl": True},
}


def deciding(team: Team) -> set[str]:
    """The limits without which the acceptable strategies would be others, or {"none"}."""
    now = acceptable(team)
    return {k for k, freed in FREED.items() if acceptable(replace(team, **freed)) != now} or {"none"}


def flipping(team: Team) -> set[str]:
    """The changes that make every strategy that was acceptable unacceptable, or `nothing`."""
    now = acceptable(team)
    return {k for k, (_, change) in CHANGES.items() if not acceptable(change(team)) & now} or {"nothing"}


def random_team(rng: np.random.Generator) -> Team:
    """Any team: sizes and limits over the range that start-ups have."""
    parameters = float(rng.choice([1, 3, 7, 13])) * 1e9
    return Team(
        parameters,
        float(rng.choice([24, 40, 80, 160, 320])),
        float(rng.choice([100, 1_000, 20_000, 200_000])),
        float(rng.choice([1e4, 1e6, 1e8])),
        int(rng.choice([1, 4, 32])),
        bool(rng.random() < 0.8),
        bool(rng.random() < 0.4),
    )


KINDS: tuple[Callable[[Team], bool], ...] = (
    lambda team: acceptable(team) == {"none"} and len(deciding(team)) == 1,
    lambda team: acceptable(team) == {"serve"} and "memory" in deciding(team),
    lambda team: acceptable(team) == {"rs"} and "latency" in deciding(team),
    lambda team: acceptable(team) == {"rs", "dpo"} and deciding(team) == {"skill"},
    lambda team: "rs" in acceptable(team) and deciding(team) == {"none"} and "nothing" not in flipping(team),
    lambda team: "budget" in deciding(team),
)
"""What a learner's six teams are like, one of each, so that everybody's six are as hard."""


def six(rng: np.random.Generator) -> list[Team]:
    """A team of each kind, by size and limits, so that no place tells a kind."""
    chosen: list[Team] = []
    for kind in KINDS:
        while not kind(team := random_team(rng)) or team in chosen:
            continue
        chosen.append(team)
    return sorted(chosen, key=astuple)


def content() -> list[list[tuple[Any, ...]]]:
    """What teams.json holds."""
    rng = np.random.default_rng(82)
    return [[astuple(team)[:7] for team in six(rng)] for _ in range(DECKS)]


def grade_team(letter: str, work: Work, rng: np.random.Generator) -> None:
    """An acceptable strategy, a limit that decides, a change that flips."""
    answer = entry(work, "decisions", letter, f"entry for team {letter}", blank=("", "", ""))
    words = list(answer) if isinstance(answer, tuple | list) else []
    three = len(words) == 3 and all(isinstance(word, str) for word in words)
    form = f"decisions[{letter!r}] is (strategy, limit, change), all words of the three lists."
    require(three, FORM, form, got=str(answer))
    strategy, limit, change = (word.strip().lower() for word in words)
    known = strategy in (*STRATEGIES, "none") and limit in (*LIMITS, "none") and change in CHANGES
    require(known, FORM, form, got=str(answer))
    team = teams(work.variant)[letter]
    _check_strategy(strategy, team)
    message = "Without this limit the same strategies would be acceptable, so it is not what decides."
    require(limit in deciding(team), DECIDES, message, idea="limit", got=limit)
    message = "After this change what was acceptable still is."
    require(change in flipping(team), FLIPS, message, idea="flip", got=change)


def _check_strategy(strategy: str, team: Team) -> None:
    right = acceptable(team)
    if strategy in right:
        return
    if strategy == "none":
        raise CheckFailed(FITS, "There is a strategy that breaks no limit.", idea="gives up", got=strategy)
    limits = broken(team, strategy)
    if limits:
        message = f"It breaks a limit: {LIMITS[min(limits)]}."
        raise CheckFailed(FITS, message, idea=IDEAS[min(limits)], got=strategy)
    even = break_even_requests(team.prompts, team.n, team.epochs)
    message = (
        "It fits, and another that fits costs less than four fifths of it in a year. Serving the best of n "
        f"costs more than a round of rejection sampling from {even:,.0f} requests on."
    )
    raise CheckFailed(FITS, message, idea="dearer", got=strategy)


IDEAS = {"memory": "memory", "budget": "budget", "latency": "F35", "weights": "F01", "skill": "F36"}


def main() -> None:
    """Write the learners' file anew."""
    lines = ",\n".join(json.dumps(deck) for deck in content())
    atomic_write(FILE, f"[{lines}]\n")


if __name__ == "__main__":
    main()
