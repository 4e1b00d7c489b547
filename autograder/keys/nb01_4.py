"""Exercise 1.4: the roles, numbers and systems of `1_4.txt` as questions.

The systems are described in the notebook in words of our own, each with its source. Roles and numbers are two
lists that hold for all systems, so a learner meets them once.
"""

from __future__ import annotations

import re
from pathlib import Path

from autograder.handouts.choice import LETTERS
from autograder.keys.questions import Option, Question

_TEXT = re.sub(r"\n {4,}", " ", Path(__file__).with_name("1_4.txt").read_text(encoding="utf-8"))
_ROLES, _COUNTS, SYSTEMS = (
    re.findall(r"^(.+)\n  (.+)$", section, re.MULTILINE) for section in _TEXT.split("\n# ")[1:]
)
"""Pairs of (name: role, feedback), (number, feedback), (system, its role; its number)."""
ROLES = {name: (text, feedback) for (name, text), feedback in ((r.split(": ", 1), f) for r, f in _ROLES)}
COUNTS = {number: (number, feedback) for number, feedback in _COUNTS}


def _options(table: dict[str, tuple[str, str]], key: str) -> tuple[Option, ...]:
    """The key first, then all others with why they do not fit this system."""
    others = (
        Option(text, _idea(table, key, name), feedback)
        for name, (text, feedback) in table.items()
        if name != key
    )
    return (Option(table[key][0]), *others)


def _idea(table: dict[str, tuple[str, str]], key: str, chosen: str) -> str:
    """F35 where serving and training were confused, either way."""
    if table is COUNTS:
        return "n"
    return "F35" if "serving" in (key, chosen) else "role"


def _question(id: str, system: str, answer: str) -> Question:
    role, count = answer.split("; ")
    return Question(id, system, _options(ROLES, role), _options(COUNTS, count), shared=True)


QUESTIONS = tuple(_question(id, *system) for id, system in zip(LETTERS.lower(), SYSTEMS, strict=False))
