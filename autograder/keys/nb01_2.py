"""Exercise 1.2: the pool of bad orders of `1_2.txt` as questions.

The stop of each order is found by `ordering.trace`; a test holds the questions to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from autograder.exercise import Variant
from autograder.handouts import nb01_2 as orders
from autograder.handouts.ordering import CARDS
from autograder.keys import ordering
from autograder.keys.questions import Option, Question
from autograder.ordering_run import ContractError

RUNS = "It runs to the end."
LACKS = "One card here asks for what is not there. Go from left to right and note what each card makes."
_TEXT = Path(__file__).with_name("1_2.txt").read_text(encoding="utf-8")
_, _REASONS, _STOPPING, _RUNNING = _TEXT.split("\n# ")
REASONS = {
    name: Option(text, idea, hint)
    for name, text, idea, hint in re.findall(r"^(\w+): (.+)\n  (.+?): (.+)$", _REASONS, re.MULTILINE)
}


@dataclass(frozen=True)
class BadOrder:
    """An order, the name of its reason, the reasons and the cards that are offered beside the right ones."""

    order: str
    why: str
    others: tuple[str, ...]
    cards: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The cards of the order."""
        return tuple(self.order.split())

    def stop(self) -> str:
        """The card at which the order stops, or ""."""
        try:
            ordering.trace(self.names)
        except ContractError as broken:
            return broken.card
        return ""

    def question(self, id: str) -> Question:
        """The question about this order, right options first."""
        stop = self.stop()
        right = Option(f"It stops at `{stop}`." if stop else RUNS)
        others = [Option(f"It stops at `{card}`.", "contract", _finds(card)) for card in self.cards]
        if stop:
            others.append(Option(RUNS, "contract", LACKS))
        reasons = [Option(REASONS[self.why].text), *(REASONS[name] for name in self.others)]
        return Question(id, " → ".join(self.names), (right, *others), tuple(reasons))


def _finds(card: str) -> str:
    needs = " and ".join(CARDS[card].needs)
    return f"`{card}` asks for: {needs}. Is that there when its turn comes, and does it get its turn?"


def _orders(text: str) -> tuple[BadOrder, ...]:
    rows = re.findall(r"^(.+)\n  (\w+); (.+); (.+)$", text, re.MULTILINE)
    return tuple(BadOrder(row[0], row[1], tuple(row[2].split()), tuple(row[3].split())) for row in rows)


BREAKING, RUNNING = _orders(_STOPPING), _orders(_RUNNING)
QUESTIONS = tuple(replace(o.question("a"), id=f"q{k}") for k, o in enumerate((*BREAKING, *RUNNING)))
"""The pool."""


def _decks(count: int = 24) -> list[list[int]]:
    """Some of the ways to draw two orders that stop and two that run, each pair with different reasons."""
    pools = (range(len(BREAKING)), range(len(BREAKING), len(QUESTIONS)))
    orders = (*BREAKING, *RUNNING)
    pairs = [[p for p in combinations(pool, 2) if len({orders[k].why for k in p}) == 2] for pool in pools]
    every = [sorted(_learners((*first, *second))) for first in pairs[0] for second in pairs[1]]
    return [every[int(k)] for k in np.random.default_rng(1).permutation(len(every))[:count]]


def _learners(places: Sequence[int]) -> list[int]:
    """Places of this source as places of the learners' file, whose questions stand by the alphabet."""
    texts = sorted(q.text for q in QUESTIONS)
    return [texts.index(QUESTIONS[k].text) for k in places]


DECKS = _decks()


def drawn(variant: Variant) -> list[Question]:
    """This learner's four questions."""
    known = {q.text: q for q in QUESTIONS}
    return [replace(known[a.text], id=a.id) for a in orders.drawn(variant)]
