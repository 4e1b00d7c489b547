"""Exercise 8.2: six teams as stories; which strategy fits, which limit decides, what would change the answer.

`teams.json` holds teams, six together, without what is right for them: that is in `autograder/keys/`. What a
strategy takes is computed by the learner's own functions of 8.1, bundled as a `Calculator`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from autograder.exercise import Exercise, Part, Variant, inline, table
from autograder.handouts.locked import locked
from autograder.handouts.nb08_prices import MACHINES, PRICES, ROOM, STRATEGIES, WEIGHTS, Machine, Prices

FILE = Path(__file__).with_name("teams.json")
NAME = "decisions"
LETTERS = "abcdef"


@dataclass(frozen=True)
class Team:
    """A team: its story and its limits.

    parameters, judge: of the policy and of the reward model, 0 where a program judges. comparisons: that
    people label, at `label` dollars each. trainer, server: the machines that tune and that serve. requests:
    in a year. wait: seconds until the first word. trains: whether weights may change. rl: whether anybody can
    run an RL loop. wins: of 100 responses in the pilot, for each strategy, those preferred to today's policy.
    needed: how many are asked for. budget: dollars of the year.
    """

    story: str
    parameters: float
    judge: float
    comparisons: int
    label: float
    trainer: Machine
    server: Machine
    requests: float
    wait: float
    trains: bool
    rl: bool
    wins: tuple[int, ...]
    needed: int
    budget: float
    prompts: int = 20_000
    n: int = 16
    epochs: int = 3


LIMITS: dict[str, str] = {
    "memory": "gigabytes of the machine: the server's for `serve`, the trainer's for the others",
    "permission": "whether the weights may be changed",
    "skill": "whether anybody can run a reinforcement learning loop, which `rloo` and `ppo` need",
    "latency": "seconds until the first word",
    "quality": "wins of 100 in the pilot",
    "budget": "dollars for the year",
}


# What a strategy takes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calculator:
    """The five functions of exercise 8.1."""

    memory_gb: Callable[..., float]
    tuning_flops: Callable[..., tuple[float, float]]
    cost: Callable[..., float]
    wait_seconds: Callable[..., float]
    break_even_requests: Callable[..., float]


def calculator_of(*functions: Callable[..., Any]) -> Calculator | None:
    """The learner's functions as one calculator; None, and a line why, where one does not work yet."""
    machine, sizes = MACHINES["one H100"], (7e9, 7e9, 500, 1000, 16, 3, "rs", "full")
    cases = (
        (7e9, 7e9, "rs", "full"),
        sizes,
        (1e18, 1e18, machine.peak, machine.hour),
        (7e9, 7e9, (200, 300), 16, "serve", "full", machine.peak, machine.bandwidth),
        (1000, 0.002, 0.001),
    )
    known = [partial(_in_floats, function) for function in functions]
    for function, in_floats, case in zip(functions, known, cases, strict=True):
        name = getattr(function, "__name__", "a function")
        try:
            result = in_floats(*case)
        except Exception as error:
            print(f"`{name}` of 8.1 stops with {type(error).__name__}: {error}. Mend it, then come back.")
            return None
        if result is None or result is ...:
            print(f"Write `{name}` of 8.1 first; what follows is computed by your functions.")
            return None
    return Calculator(*known)


def _in_floats(function: Callable[..., Any], *args: Any) -> Any:
    """What a learner's function gives, as floats that can be printed: fractions and arrays are right too."""
    result = function(*args)
    if result is None or result is ...:
        return result
    return float(result) if np.ndim(result) == 0 else tuple(map(float, result))


@dataclass(frozen=True)
class Row:
    """What a strategy takes: weights that fit ("" if none), GB, seconds of waiting, dollars, wins."""

    weights: str
    gigabytes: float
    wait: float
    labels: float
    people: float
    tuning: float
    serving: float
    wins: int

    @property
    def total(self) -> float:
        """Dollars of the first year."""
        return self.labels + self.people + self.tuning + self.serving


def row(team: Team, strategy: str, use: Calculator, prices: Prices = PRICES) -> Row:
    """What a strategy takes for a team, with the first weights that fit (4bit where none do)."""
    machine = team.server if strategy == "serve" else team.trainer
    sizes = {kind: use.memory_gb(team.parameters, team.judge, strategy, kind) for kind in WEIGHTS}
    fitting = next((kind for kind, size in sizes.items() if ROOM * size <= machine.gigabytes), "")
    weights = fitting or WEIGHTS[-1]
    counts = (prices.tokens, team.prompts, team.n, team.epochs, strategy, weights)
    shares = (prices.drawing, prices.working)
    flops = use.tuning_flops(team.parameters, team.judge, *counts)
    served = team.server.peak, team.server.bandwidth
    replies = ((prices.prompt, prices.reply), team.n, strategy, weights, *served)
    return Row(
        fitting,
        sizes[weights],
        use.wait_seconds(team.parameters, team.judge, *replies),
        team.comparisons * team.label,
        dict(prices.weeks)[strategy] * prices.week,
        use.cost(*flops, team.trainer.peak, team.trainer.hour, *shares),
        team.requests * request(team, strategy, use, prices),
        team.wins[STRATEGIES.index(strategy)],
    )


def request(team: Team, strategy: str, use: Calculator, prices: Prices = PRICES) -> float:
    """Dollars of one request: n responses drawn and scored for `serve`, else one drawn."""
    n, judge = (team.n, team.judge) if strategy == "serve" else (1, 0.0)
    drawn, scored = (2 * prices.tokens * n * size for size in (team.parameters, judge))
    return use.cost(drawn, scored, team.server.peak, team.server.hour, prices.drawing, prices.working)


def rows(team: Team, use: Calculator, prices: Prices = PRICES) -> dict[str, Row]:
    """What every strategy takes for a team."""
    return {strategy: row(team, strategy, use, prices) for strategy in STRATEGIES}


def even(team: Team, use: Calculator, prices: Prices = PRICES) -> float:
    """Requests after which serving the best of n has cost more than a round of rejection sampling."""
    serve, tuned = (row(team, strategy, use, prices) for strategy in ("serve", "rs"))
    once = tuned.people + tuned.tuning - serve.people
    each = (request(team, strategy, use, prices) for strategy in ("serve", "rs"))
    return use.break_even_requests(once, *each)


# As text --------------------------------------------------------------------------------------------------


def short_number(value: float) -> str:
    """A number as people write it, to three digits.

    >>> [short_number(x) for x in (0.25, 64, 900, 22_632, 1.5e6, 7e9, float("inf"))]
    ['0.25', '64', '900', '22,600', '1.5 M', '7 B', 'never']
    """
    if math.isinf(value):
        return "never"
    for unit, name in ((1e9, " B"), (1e6, " M")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def dollars(value: float) -> str:
    """A sum.

    >>> dollars(0.25), dollars(64.1), dollars(20_000), dollars(1.5e6)
    ('$0.25', '$64', '$20,000', '$1.5 M')
    """
    if value >= 0.9995e6:
        return f"${short_number(value)}"
    return "$0" if value == 0 else f"${value:.2f}" if value < 10 else f"${value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


class Sheet:
    """What every strategy takes, as a table."""

    HEAD = "weights GB wait labels people tuning serving year wins".split()

    def __init__(self, team: Team, use: Calculator, prices: Prices = PRICES) -> None:
        self.rows = rows(team, use, prices)

    def lines(self) -> list[list[str]]:
        """A line for each strategy."""
        return [
            [
                strategy,
                row.weights or "none fits",
                short_number(row.gigabytes),
                _seconds(row.wait),
                *map(dollars, (row.labels, row.people, row.tuning, row.serving, row.total)),
                str(row.wins),
            ]
            for strategy, row in self.rows.items()
        ]

    def __repr__(self) -> str:
        lines = [["", *self.HEAD], *self.lines()]
        return "\n".join("".join(f"{cell:>11}" for cell in line) for line in lines)

    def _repr_html_(self) -> str:
        caption = "What each strategy takes in the first year, by your functions"
        return table(caption, self.lines(), ("strategy", *self.HEAD))


STORIES: dict[str, str] = {
    "A support bot": "A shop answers its customers with a policy of {policy}. They click thumbs, free of "
    "charge; a reward model of {judge} learned from these and from {comparisons} comparisons at {label}.",
    "A mathematics tutor": "A tutor for schools, {policy}. A program checks every result, so there is no "
    "reward model, and nobody has to label anything.",
    "An app on the phone": "Notes are summarised by {policy} on the customer's own phone. A reward "
    "model of {judge} learned from {comparisons} comparisons at {label}.",
    "A hospital": "Doctors get a draft of each discharge letter from a policy of {policy}. Nurses labelled "
    "{comparisons} comparisons at {label} for a reward model of {judge}.",
    "A law firm": "Contracts are drafted by a policy of {policy}. Lawyers labelled {comparisons} comparisons "
    "at {label} for a reward model of {judge}.",
    "A shopping search": "A line about each product, by a policy of {policy}. Crowd workers labelled "
    "{comparisons} comparisons at {label} for a reward model of {judge}.",
}


def told(team: Team) -> str:
    """A team's story with its limits, in sentences."""
    sizes = {"policy": f"{short_number(team.parameters)} parameters", "judge": short_number(team.judge)}
    labels = {"comparisons": short_number(team.comparisons), "label": f"${team.label:.2f}"}
    machine = f"They tune and serve on {_machine(team.trainer)}."
    if team.server != team.trainer:
        machine = f"They can tune on {_machine(team.trainer)}; it runs on {_machine(team.server)}."
    wins = ", ".join(f"{name} {won}" for name, won in zip(STRATEGIES, team.wins, strict=True))
    return " ".join(
        (
            STORIES[team.story].format(**sizes, **labels),
            machine,
            f"{short_number(team.requests)} requests a year; the first word within {team.wait:g} s.",
            "Their weights may be tuned."
            if team.trains
            else "The model was approved as it is: no new weights.",
            "Somebody has run an RL loop before." if team.rl else "Nobody can run an RL loop.",
            f"Wins of 100 in a pilot that others ran for them: {wins}; they ask for {team.needed}.",
            f"The year may cost {dollars(team.budget)}.",
        )
    )


def _machine(machine: Machine) -> str:
    return f"{machine.name} ({machine.gigabytes:g} GB)"


# The teams of a learner -----------------------------------------------------------------------------------

_NAMES = [field.name for field in fields(Team)]


def packed(team: Team) -> list[Any]:
    """A team as teams.json holds it."""
    values = dict(zip(_NAMES, astuple(team), strict=True))
    values |= {"trainer": team.trainer.name, "server": team.server.name, "wins": list(team.wins)}
    return list(values.values())[:14]


def _unpacked(values: list[Any]) -> Team:
    given = dict(zip(_NAMES, values, strict=False))
    given |= {name: MACHINES[given[name]] for name in ("trainer", "server")}
    return Team(**given | {"wins": tuple(given["wins"])})


@cache
def decks() -> list[list[Team]]:
    """Sixes of teams, one of each story, so that everybody's six are as hard."""
    return [[_unpacked(values) for values in deck] for deck in json.loads(FILE.read_text(encoding="utf-8"))]


def teams(variant: Variant) -> dict[str, Team]:
    """A learner's six teams, in some order."""
    rng = variant.rng("teams")
    deck = decks()[int(rng.integers(len(decks())))]
    return {letter: deck[int(k)] for letter, k in zip(LETTERS, rng.permutation(len(deck)), strict=True)}


def larger(team: Team, factor: float) -> Team:
    """The team with machines of so many times the memory."""
    machines = {name: getattr(team, name) for name in ("trainer", "server")}
    return replace(team, **{k: replace(m, gigabytes=factor * m.gigabytes) for k, m in machines.items()})


CHANGES: dict[str, tuple[str, Callable[[Team], Team]]] = {
    "requests x 100": ("a hundred times the requests", lambda t: replace(t, requests=100 * t.requests)),
    "requests / 100": ("a hundredth of the requests", lambda t: replace(t, requests=t.requests / 100)),
    "memory x 4": ("machines with four times the memory", lambda t: larger(t, 4)),
    "memory / 4": ("machines with a quarter of the memory", lambda t: larger(t, 0.25)),
    "no training": ("nobody may change the weights", lambda t: replace(t, trains=False)),
    "patience": ("users wait a minute for the first word", lambda t: replace(t, wait=60.0)),
    "higher aim": ("ten more wins of 100 are asked for", lambda t: replace(t, needed=t.needed + 10)),
    "nothing": ("none of these changes the answer", lambda t: t),
}


class Desk:
    """The six teams as a learner sees them."""

    def __init__(self, variant: Variant) -> None:
        self.teams = teams(variant)

    def __repr__(self) -> str:
        return "\n\n".join(f"({k}) {team.story}. {told(team)}" for k, team in self.teams.items())

    def _repr_html_(self) -> str:
        stories = (
            f"<p><strong>({k}) {escape(team.story)}.</strong> {inline(told(team))}</p>"
            for k, team in self.teams.items()
        )
        plain = "class='tex2jax_ignore mathjax_ignore'"  # else a notebook sets what stands between two $
        return f"<div {plain} style='max-width:50em'>{''.join(stories)}</div>"


class Choices:
    """The words of an answer: strategies, weights, limits, changes."""

    def _lists(self) -> Mapping[str, Mapping[str, str]]:
        changes = {name: meaning for name, (meaning, _) in CHANGES.items()}
        return {"limit": LIMITS | {"none": "no single limit decides"}, "change": changes}

    def _lines(self) -> list[list[str]]:
        return [[k, name, meaning] for k, names in self._lists().items() for name, meaning in names.items()]

    def __repr__(self) -> str:
        return "\n".join(f"{kind:8} {name:16} {meaning}" for kind, name, meaning in self._lines())

    def _repr_html_(self) -> str:
        return table("Limits and changes", self._lines(), ("kind", "word", "meaning"))


EXERCISE = Exercise(
    "8.2",
    "Six teams",
    3,
    20,
    (NAME,),
    tuple(Part(f"team {letter}", 0.5, locked(NAME, "nb08_2", "grade_team", letter)) for letter in LETTERS),
    given=Desk,
)
