"""Exercise 8.2: six teams; which strategies fit, which limit decides, and what would change the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from autograder.exercise import ANSWERED, Exercise, Part, Variant, Wrong, require, table
from autograder.exercises.nb08_1 import STRATEGIES, break_even_requests, cost, memory_gb, training_flops
from autograder.work import Work

PEAK, UTILISATION, PRICE = 1e15, 0.4, 3.0
"""FLOPs a second of one accelerator, the share that is reached, dollars an hour."""
TOKENS = 500
NEAR = 1.25
"""A strategy within this factor of the cheapest one that fits is as good an answer."""
LETTERS = "abcdef"
FORM, FITS, DECIDES, FLIPS = (
    "names a strategy, a limit and a change",
    "fits the limits",
    "names the limit",
    "flips",
)


@dataclass(frozen=True)
class Team:
    """A team's limits. memory: gigabytes in one machine. budget: dollars for a year, training and serving.

    requests: in a year. slowest: how many responses a user may wait for, drawn one after the other on one
    accelerator. trains: whether they may change weights at all. rl: whether anybody can run an RL loop.
    """

    parameters: float
    memory: float
    budget: float
    requests: float
    slowest: int
    trains: bool
    rl: bool
    prompts: int = 50_000
    n: int = 16
    epochs: int = 3


LIMITS: dict[str, str] = {
    "memory": "gigabytes that one machine has",
    "budget": "dollars for the year",
    "latency": "how many responses a user may wait for",
    "weights": "whether the weights may be changed",
    "skill": "whether anybody can run a reinforcement learning loop",
}


def yearly_cost(team: Team, strategy: str) -> float:
    """Dollars of a year: tuning once, and serving every request.

    A tuned policy draws one response, at 2 per parameter and token; serving the best of n draws and scores n.
    """
    each = team.parameters * TOKENS * (4 * team.n if strategy == "serve" else 2)
    sizes = (team.parameters, TOKENS, team.prompts, team.n, team.epochs)
    return cost(training_flops(*sizes, strategy) + team.requests * each, PEAK, UTILISATION, PRICE)


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


CHANGES: dict[str, tuple[str, Callable[[Team], Team]]] = {
    "requests x 100": ("a hundred times the requests", lambda t: replace(t, requests=100 * t.requests)),
    "requests / 100": ("a hundredth of the requests", lambda t: replace(t, requests=t.requests / 100)),
    "memory x 4": ("machines with four times the memory", lambda t: replace(t, memory=4 * t.memory)),
    "memory / 4": ("machines with a quarter of the memory", lambda t: replace(t, memory=t.memory / 4)),
    "no training": ("nobody may change the weights", lambda t: replace(t, trains=False)),
    "nothing": ("none of these changes the answer", lambda t: t),
}


def flipping(team: Team) -> set[str]:
    """The changes that make every strategy that was acceptable unacceptable, or `nothing`."""
    now = acceptable(team)
    return {k for k, (_, change) in CHANGES.items() if not acceptable(change(team)) & now} or {"nothing"}


# The teams of a learner -----------------------------------------------------------------------------------


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


def teams(variant: Variant) -> dict[str, Team]:
    """A learner's six teams, in some order."""
    rng, found = variant.rng("teams"), []
    for kind in KINDS:
        while not kind(team := random_team(rng)) or team in found:
            continue
        found.append(team)
    return {letter: found[k] for letter, k in zip(LETTERS, rng.permutation(len(found)), strict=True)}


def _cell(value: float | bool) -> str:
    return str(value) if isinstance(value, bool) else f"{value:g}"


class Desk:
    """The six teams as a learner sees them."""

    def __init__(self, variant: Variant) -> None:
        self.teams = teams(variant)

    def _lines(self) -> list[list[str]]:
        columns = [asdict(team) for team in self.teams.values()]
        return [[name, *(_cell(column[name]) for column in columns)] for name in columns[0]]

    def __repr__(self) -> str:
        lines = [["team", *self.teams], *self._lines()]
        return "\n".join(f"{line[0]:<12}" + "".join(f"{cell:>10}" for cell in line[1:]) for line in lines)

    def _repr_html_(self) -> str:
        return table("Six teams", self._lines(), ("limit", *self.teams))


def grade_team(letter: str, work: Work, rng: np.random.Generator) -> None:
    """An acceptable strategy, a limit that decides, a change that flips."""
    said = work.value("decisions", dict).get(letter)
    if said is None or said is ... or said == ("", "", ""):
        raise Wrong(ANSWERED, f"`decisions` has no entry for team {letter} yet.")
    three = isinstance(said, tuple | list) and len(said) == 3 and all(isinstance(word, str) for word in said)
    form = f"decisions[{letter!r}] is (strategy, limit, change), all words of the three lists."
    require(three, FORM, form, got=str(said))
    strategy, limit, change = (word.strip().lower() for word in said)
    known = strategy in (*STRATEGIES, "none") and limit in (*LIMITS, "none") and change in CHANGES
    require(known, FORM, form, got=str(said))
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
        raise Wrong(FITS, "There is a strategy that breaks no limit.", idea="gives up", got=strategy)
    limits = broken(team, strategy)
    if limits:
        message = f"It breaks a limit: {LIMITS[min(limits)]}."
        raise Wrong(FITS, message, idea=IDEAS[min(limits)], got=strategy)
    even = break_even_requests(team.prompts, team.n, team.epochs)
    message = (
        "It fits, and another that fits costs less than four fifths of it in a year. Serving the best of n "
        f"costs more than a round of rejection sampling from {even:,.0f} requests on."
    )
    raise Wrong(FITS, message, idea="dearer", got=strategy)


IDEAS = {"memory": "memory", "budget": "budget", "latency": "F35", "weights": "F01", "skill": "F36"}

EXERCISE = Exercise(
    "8.2",
    "Six teams",
    3,
    15,
    ("decisions",),
    tuple(Part(f"team {letter}", 0.5, partial(grade_team, letter)) for letter in LETTERS),
    given=Desk,
)
