"""Exercise 8.2: six teams; which strategies fit, which limit decides, and what would change the answer.

`teams.json` holds teams, six together, without what is right for them: that is in `autograder/keys/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts.locked import locked

FILE = Path(__file__).with_name("teams.json")
NAME = "decisions"
PEAK, UTILISATION, PRICE = 1e15, 0.4, 3.0
"""FLOPs a second of one accelerator, the share that is reached, dollars an hour."""
TOKENS = 500
LETTERS = "abcdef"
COUNTS = {
    "serve": (0, 0, 0, 0),
    "rs": (0, 4, 6, 0),
    "dpo": (4, 4, 12, 0),
    "rloo": (0, 12, 0, 0),
    "ppo": (0, 8, 0, 12),
}
"""FLOPs of tuning per parameter, token and prompt: once, times n, times epochs, times both."""
STRATEGIES = tuple(COUNTS)


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
    once, by_n, by_epoch, by_both = COUNTS[strategy]
    count = once + by_n * team.n + by_epoch * team.epochs + by_both * team.n * team.epochs
    flops = count * team.parameters * TOKENS * team.prompts + team.requests * each
    return flops / (PEAK * UTILISATION) / 3600 * PRICE


# The teams of a learner -----------------------------------------------------------------------------------


@cache
def decks() -> list[list[Team]]:
    """Sixes of teams, one of each kind, so that everybody's six are as hard."""
    return [[Team(*values) for values in deck] for deck in json.loads(FILE.read_text(encoding="utf-8"))]


def teams(variant: Variant) -> dict[str, Team]:
    """A learner's six teams, in some order."""
    rng = variant.rng("teams")
    deck = decks()[int(rng.integers(len(decks())))]
    return {letter: deck[int(k)] for letter, k in zip(LETTERS, rng.permutation(len(deck)), strict=True)}


CHANGES: dict[str, tuple[str, Callable[[Team], Team]]] = {
    "requests x 100": ("a hundred times the requests", lambda t: replace(t, requests=100 * t.requests)),
    "requests / 100": ("a hundredth of the requests", lambda t: replace(t, requests=t.requests / 100)),
    "memory x 4": ("machines with four times the memory", lambda t: replace(t, memory=4 * t.memory)),
    "memory / 4": ("machines with a quarter of the memory", lambda t: replace(t, memory=t.memory / 4)),
    "no training": ("nobody may change the weights", lambda t: replace(t, trains=False)),
    "nothing": ("none of these changes the answer", lambda t: t),
}


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


EXERCISE = Exercise(
    "8.2",
    "Six teams",
    3,
    15,
    (NAME,),
    tuple(Part(f"team {letter}", 0.5, locked(NAME, "nb08_2", "grade_team", letter)) for letter in LETTERS),
    given=Desk,
)
