"""Exercise 8.3: a memo to one of the teams; a person judges it, and a machine its numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np

from autograder.exercise import Exercise, Part, require, short
from autograder.exercises.calculator import STRATEGIES, break_even_requests, memory_gb
from autograder.handouts.locked import locked
from autograder.handouts.nb08_2 import Team, teams, yearly_cost
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
NUMBER = re.compile(r"(\$?)\s?(\d[\d,]*(?:\.\d+)?)\s?(GB|gigabytes|dollars)?")


def truths(team: Team, strategy: str) -> dict[str, float]:
    """What a memo cites of a strategy for a team."""
    return {
        "memory_gb": memory_gb(team.parameters, strategy),
        "dollars": yearly_cost(team, strategy),
        "break_even_requests": break_even_requests(team.prompts, team.n, team.epochs),
    }


def parts(work: Work) -> tuple[str, dict[str, Any], Team, str]:
    """The memo, what is cited, the team and the strategy. CheckFailed where these two are unknown."""
    memo, cited = work.value("memo", str), work.value("cited", dict)
    known = teams(replace(work.variant, exercise="8.2"))
    letter, strategy = (str(cited.get(name, "")).strip().lower() for name in ("team", "strategy"))
    good = letter in known and strategy in STRATEGIES
    message = "`cited` names a team of 8.2 (`team`) and a strategy of 8.1 (`strategy`)."
    require(good, CITED, message, got=short(cited))
    return memo, cited, known[letter], strategy


def stated(memo: str) -> list[tuple[float, str]]:
    """Every number of the text with its unit: "$", "GB" or ""."""
    numbers = []
    for sign, digits, unit in NUMBER.findall(memo):
        kind = "$" if sign or unit == "dollars" else "GB" if unit else ""
        numbers.append((float(digits.replace(",", "")), kind))
    return numbers


def near(value: float, other: float) -> bool:
    """Equal when rounded as people round: within 2 %, or half a unit of the last digit of a small number."""
    return math.isclose(value, other, rel_tol=0.02, abs_tol=0.006)


def grade_numbers(work: Work, rng: np.random.Generator) -> None:
    """The three cited numbers are the calculator's, and they stand in the text."""
    memo, cited, team, strategy = parts(work)
    numbers = [number for number, _ in stated(memo)]
    for name, right in truths(team, strategy).items():
        value = cited.get(name)
        real = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        plain = real and np.isfinite(value)
        require(plain, CITED, f"`cited` has no number {name!r}.", got=short(value))
        message = f"The calculator gives another {name} for this team and strategy."
        require(near(float(value), right), AGREES, message, idea="contradiction", got=f"{float(value):,.6g}")
        message = f"The memo's text does not say the {name} that is cited."
        there = any(near(number, float(value)) for number in numbers)
        require(there, STANDS, message, idea="not said", got=f"{float(value):,.6g}")


EXERCISE = Exercise(
    "8.3",
    "A memo",
    3,
    15,
    ("memo", "cited"),
    (Part("the numbers", 1.0, grade_numbers), Part("the text", 0.5, locked("memo", "nb08_3", "grade_text"))),
    by_hand=BY_HAND,
)
