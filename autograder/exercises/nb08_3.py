"""Exercise 8.3: a memo to one of the teams; a person judges it, a machine the three numbers that it cites.

Only numbers that stand for the three cited ones are judged: a memo may say any other number as well.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from autograder.exercise import CheckFailed, Exercise, Part, numbers, require, short
from autograder.exercises import calculator
from autograder.exercises.calculator import USE
from autograder.handouts.locked import locked
from autograder.handouts.nb08_2 import Row, Team, even, row, rows, teams
from autograder.handouts.nb08_prices import PRICES, ROOM, STRATEGIES
from autograder.work import Work

FEWEST_WORDS, MOST_WORDS = 120, 400
BY_HAND = 5.0
"""Five criteria; docs/memo_rubric.md describes the levels of each."""
LENGTH, NAMES, CITED, STANDS, AGREES, CHOICE = (
    "keeps its length",
    "names the strategy",
    "cites three numbers",
    "says what it cites",
    "has the calculator's numbers",
    "advises what fits",
)
QUANTITIES = {"memory_gb": "GB", "dollars": "$", "break_even_requests": ""}
"""What is cited, and its unit."""
SPOKEN = {
    "memory_gb": "memory (`memory_gb`)",
    "dollars": "sum of dollars (`dollars`)",
    "break_even_requests": "break-even (`break_even_requests`)",
}
NEAR = 0.02
"""Numbers agree within 2 %, or where the one is the other, rounded to the digits that are written."""


def truths(team: Team, strategy: str) -> dict[str, float]:
    """What a memo cites of a strategy for a team."""
    taken = row(team, strategy, USE)
    values = (taken.gigabytes, taken.total, even(team, USE))
    return dict(zip(QUANTITIES, values, strict=True))


def known_teams(work: Work) -> dict[str, Team]:
    """The learner's teams of 8.2, by letter."""
    return teams(replace(work.variant, exercise="8.2"))


def parts(work: Work) -> tuple[str, dict[str, Any], Team, str]:
    """The memo, what is cited, the team and the strategy. CheckFailed where these two are unknown."""
    memo, cited = work.value("memo", str), work.value("cited", dict)
    known = known_teams(work)
    words = (cited.get(name) for name in ("team", "strategy"))
    letter, strategy = (word.strip().casefold() if isinstance(word, str) else "" for word in words)
    letter = re.sub(r"\bteam\b|\W", "", letter)  # "(b)", "team b"
    good = letter in known and strategy in STRATEGIES
    message = "`cited` names a team of 8.2 (`team`) and a strategy of 8.1 (`strategy`)."
    require(good, CITED, message, got=short(cited))
    return memo, cited, known[letter], strategy


# Numbers of a text ----------------------------------------------------------------------------------------

SCALES = {"k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9}
SIZES = {"tb": 1e3, "terabytes": 1e3, "mb": 1e-3, "megabytes": 1e-3}
NUMBER = re.compile(
    r"""(?P<sign>us\$|usd|\$|€)?\s?
    (?P<digits>\d{1,3}(?:[,\u2009\u202f '’_]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    (?:[\s\u00a0-]?(?P<scale>k|thousand|mn|million|m|bn|billion|b)(?![a-z]))?
    (?:[\s\u00a0-]?(?P<unit>gb|gigabytes?|gib|tb|terabytes?|mb|megabytes?|euros?|eur|€|dollars?|usd|us\$|\$)(?![a-z]))?""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Stated:
    """A number of a text: its value, "GB", "$", "€" or "", and half a unit of its last digit."""

    value: float
    kind: str
    half: float

    def is_near(self, right: float) -> bool:
        """Whether it says this number, as people round: to within 10 % at most."""
        if math.isinf(right):
            return False
        gap, rounded = abs(self.value - right), min(self.half * 1.000001, 0.1 * abs(right))
        return gap <= max(NEAR * abs(right), rounded)


def stated(text: str) -> list[Stated]:
    """Every number of a text."""
    return [_stated(match) for match in NUMBER.finditer(text)]


def _stated(match: re.Match[str]) -> Stated:
    digits = re.sub(r"[,\u2009\u202f '’_]", "", match["digits"])
    unit, sign = (match["unit"] or "").lower(), match["sign"]
    scale = SCALES.get((match["scale"] or "").lower(), 1.0) * SIZES.get(unit, 1.0)
    money = bool(sign) or unit[:1] == "d" or unit in ("usd", "us$", "$")
    places = len(digits.partition("e")[0].partition(".")[2])
    power = int(digits.partition("e")[2] or 0)
    kind = "€" if sign == "€" or unit[:1] in ("e", "€") else "$" if money else "GB" if unit else ""
    return Stated(float(digits) * scale, kind, 0.5 * 10.0 ** (power - places) * scale)


# What is said of the three --------------------------------------------------------------------------------

NEVER = re.compile(
    r"\bnever\b|\binfinit|\bno break.?even|(?:\b(?:not|cannot)|n't)\b.{0,30}\b(?:break|pay|paid)",
    re.IGNORECASE,
)
MEANS = {
    "memory_gb": re.compile(r"\b(?:fullest moment|peak memory|at its peak)\b", re.IGNORECASE),
    "dollars": re.compile(r"\b(?:total cost|costs? in (?:all|total)|in all|all told)\b", re.IGNORECASE),
    "break_even_requests": re.compile(
        r"\b(?:break.?even|breaks? even|pa(?:id|ys?) (?:for itself|itself back|back))\b", re.IGNORECASE
    ),
}
"""Words by which a sentence speaks of a cited number, and of no other."""
OTHERWISE = re.compile(
    r"\b(?:if|would|were|could|unless|instead|another|other|double|twice|half|times|month|week|more|less|saves?)\b",
    re.IGNORECASE,
)
"""Words by which a sentence speaks of another case than the one that is advised."""
SENTENCE = re.compile(r"(?<=[.;:!?])\s+|\n\s*\n|\n\s*[-*|]")


def _says(name: str, memo: str, right: float) -> bool:
    """Whether the memo says this number."""
    if math.isinf(right):
        return bool(NEVER.search(memo))
    kinds = {"GB": ("GB",), "$": ("$", ""), "": ("",)}[QUANTITIES[name]]
    return any(number.is_near(right) for number in stated(memo) if number.kind in kinds)


def _contradiction(name: str, memo: str, team: Team, right: float) -> str:
    """A sentence's number that stands for the cited one and differs from it, or ""."""
    for sentence in SENTENCE.split(memo):
        spoken = [number for number in stated(sentence) if number.kind == QUANTITIES[name]]
        if not MEANS[name].search(sentence) or OTHERWISE.search(sentence) or not spoken:
            continue
        allowed = [right, *_others(name, team)]
        if not any(number.is_near(value) for number in spoken for value in allowed):
            return f"{spoken[0].value:,.6g}"
    return ""


def _others(name: str, team: Team) -> list[float]:
    """Numbers of the same unit that are true of this team as well."""
    if name == "memory_gb":
        machines = [team.trainer.gigabytes, team.server.gigabytes]
        every = [
            calculator.memory_gb(team.parameters, team.judge, strategy, weights)
            for strategy in STRATEGIES
            for weights in calculator.TRAINING
        ]
        return machines + every + [ROOM * size for size in every]
    if name == "dollars":
        return [team.budget, *(total for row in rows(team, USE).values() for total in _sums(row))]
    return [team.requests, float(team.comparisons), float(team.prompts), float(team.n)]


def _instead(name: str, value: float, team: Team, strategy: str, mine: Mapping[str, Team]) -> str:
    """What a wrong number is a number of, as a sentence after a blank; "" where nobody knows."""
    of_others = [truths(other, strategy)[name] for other in mine.values()]
    known = [*_readings(name, team, strategy), ("This is the number of another team.", of_others)]
    near = (said for said, values in known if any(math.isclose(value, v, rel_tol=NEAR) for v in values))
    return "".join(f" {said}" for said in itertools.islice(near, 1))


def _readings(name: str, team: Team, strategy: str) -> list[tuple[str, list[float]]]:
    """What can stand in the place of a cited number, as sentences, each with its numbers."""
    right, taken = truths(team, strategy)[name], row(team, strategy, USE)
    size = partial(calculator.memory_gb, team.parameters, team.judge, strategy)
    of_name = {
        "memory_gb": [
            ("This has the quarter on top that the machine must hold as well.", [ROOM * right]),
            (
                "This is what the machine has, not what the strategy takes.",
                [team.trainer.gigabytes, team.server.gigabytes],
            ),
            (
                "This is the memory with other weights than those that fit first.",
                [size(weights) for weights in calculator.TRAINING],
            ),
        ],
        "dollars": [
            ("Labels, people, tuning and serving make the year: some of these are missing.", _sums(taken)),
            ("This is what the year may cost, not what it costs.", [team.budget]),
            ("These are the dollars of a month, not of a year.", [right / 12]),
        ],
        "break_even_requests": [
            ("A request to the tuned policy costs less, so it is finite.", [math.inf]),
            ("These are the requests of the team's year.", [team.requests]),
            ("The engineers' weeks are missing here.", [even(team, USE, replace(PRICES, week=0.0))]),
        ],
    }
    units = [right * 10.0**power for power in (-9, -6, -3, 3, 6, 9)]
    others = [truths(team, other)[name] for other in STRATEGIES]
    return [
        ("It is a thousand, a million or a billion times too large or too small.", units),
        *of_name[name],
        ("This is the number of another strategy.", others),
    ]


def _sums(row: Row) -> list[float]:
    """Every sum of some of a strategy's items."""
    items = (row.labels, row.people, row.tuning, row.serving)
    chosen = itertools.product((0.0, 1.0), repeat=len(items))
    return [sum(a * b for a, b in zip(items, factors, strict=True)) for factors in chosen]


def _cited(entry: Any) -> np.ndarray | None:
    """A cited entry as numbers; a text is read as the memo is: "$28.1k", "never"."""
    if isinstance(entry, str):
        said = stated(entry)
        entry = math.inf if NEVER.search(entry) and not said else said[0].value if len(said) == 1 else None
    return None if isinstance(entry, bool) else numbers(entry)


def grade_numbers(work: Work, rng: np.random.Generator) -> None:
    """The three cited numbers are the calculator's, stand in the text, and nothing there contradicts them."""
    memo, cited, team, strategy = parts(work)
    for name, right in truths(team, strategy).items():
        array = _cited(cited.get(name))
        plain = array is not None and array.size == 1 and not np.isnan(array).any()
        require(plain, CITED, f"`cited` has no number {name!r}.", got=short(cited.get(name)))
        value = float(array.ravel()[0])
        agrees = value == right or math.isclose(value, right, rel_tol=NEAR)
        message = f"The calculator gives another {SPOKEN[name]} for this team and strategy."
        message += "" if agrees else _instead(name, value, team, strategy, known_teams(work))
        require(agrees, AGREES, message, idea="contradiction", got=f"{value:,.6g}")
        message = f"The memo's text does not say the {SPOKEN[name]} that is cited."
        if any(number.kind == "€" and number.is_near(right) for number in stated(memo)):
            message += " It stands there in euros, and the calculator counts in dollars."
        require(_says(name, memo, right), STANDS, message, idea="not said", got=f"{value:,.6g}")
        if other := _contradiction(name, memo, team, right):
            message = f"A sentence of the memo gives another {SPOKEN[name]} than `cited`."
            raise CheckFailed(AGREES, message, idea="contradiction", got=other)


EXERCISE = Exercise(
    "8.3",
    "A memo",
    3,
    15,
    ("memo", "cited"),
    (Part("the numbers", 1.0, grade_numbers), Part("the text", 0.5, locked("memo", "nb08_3", "grade_text"))),
    by_hand=BY_HAND,
)
