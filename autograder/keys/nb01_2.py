"""Exercise 1.2: the pool of bad orders: which card stops, or which number gets worse, and why.

The stop of each order is found by `ordering.trace`; a test holds the questions to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from autograder.exercise import Variant
from autograder.exercises import nb01_2 as orders
from autograder.keys import ordering
from autograder.keys.questions import Option, Question
from autograder.ordering import CARDS
from autograder.ordering_run import ContractError

RUNS = "It runs to the end."
LACKS = "One card here asks for what is not there. Go from left to right and note what each card makes."
REASONS = {
    "rewards": (
        "The card needs rewards, and no response has one yet.",
        "Rewards are made by `score`, for the responses at its turn. Is this what the card misses?",
    ),
    "responses": (
        "The card needs responses, and none is written yet.",
        "Responses are made by `sample`, and every card behind it finds them. Where does it stand here?",
    ),
    "tuned": (
        "The card needs a tuned policy, and there is none.",
        "A tuned policy is asked for by one card of the eleven. Does this order stop at that card?",
    ),
    "heldout": (
        "The card needs held-out prompts, and there are none.",
        "Held-out prompts are made by `split` and asked for by the cards that test. Where do these stand?",
    ),
    "value": (
        "The card needs what none of the eleven cards makes.",
        "Every thing that a card of this order needs is made by one of the eleven cards.",
    ),
    "alone": (
        "The card needs two measurements, and one is missing.",
        "Count the `test_` cards, and look where they stand. Which card needs both?",
    ),
    "all": (
        "Every response is trained on: gold hardly moves.",
        "Look at what `finetune` finds at its turn: has `select` kept anything by then?",
    ),
    "leak": (
        "The judge's prompts are trained on: gold proves little.",
        "Look at which prompts `sample` finds at its turn: are some held out by then?",
    ),
    "nothing": (
        "No card compares: the number at the end stands alone.",
        "Look at the last cards: is the tuned policy weighed against the base policy?",
    ),
    "worst": (
        "The worst is kept: the selection gap turns negative.",
        "`select` keeps the highest reward in whatever order it stands; no card turns its sign.",
    ),
    "free": (
        "Nothing is lost: these cards may change places.",
        "Only cards that need nothing from each other may swap. Write down what each of them makes.",
    ),
}
"""Reason -> (text, what to look at when it is chosen wrongly)."""


@dataclass(frozen=True)
class BadOrder:
    """An order, the key of its reason, the reasons and the cards that are offered beside the right ones."""

    order: str
    why: str
    others: tuple[str, str, str]
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
        text, *_ = REASONS[self.why]
        reasons = [Option(text), *(Option(REASONS[k][0], _idea(k), REASONS[k][1]) for k in self.others)]
        return Question(id, " → ".join(self.names), (right, *others), tuple(reasons))


def _finds(card: str) -> str:
    needs = " and ".join(CARDS[card].needs)
    return f"`{card}` asks for: {needs}. Is that there when its turn comes, and does it get its turn?"


def _idea(reason: str) -> str:
    known = {
        "all": "F02",
        "leak": "F18",
        "nothing": "F15",
        "worst": "F03",
        "value": "F36",
        "free": "any order",
    }
    return known.get(reason, "contract")


BREAKING = (
    BadOrder(
        "split sample select score finetune test_base test_tuned compare",
        "rewards",
        ("tuned", "worst", "all"),
        ("score", "finetune"),
    ),
    BadOrder(
        "split score sample select finetune test_base test_tuned compare",
        "responses",
        ("rewards", "free", "leak"),
        ("sample", "select"),
    ),
    BadOrder(
        "split test_base sample score select test_tuned finetune compare",
        "tuned",
        ("alone", "nothing", "free"),
        ("finetune", "compare"),
    ),
    BadOrder(
        "sample score select finetune test_base test_tuned compare",
        "heldout",
        ("tuned", "leak", "all"),
        ("sample", "test_tuned"),
    ),
    BadOrder(
        "split sample score select tune_rm test_base test_tuned compare",
        "tuned",
        ("heldout", "value", "all"),
        ("tune_rm", "compare"),
    ),
    BadOrder(
        "split sample score advantage select finetune test_base test_tuned compare",
        "value",
        ("rewards", "worst", "free"),
        ("select", "test_base"),
    ),
    BadOrder(
        "split sample score select finetune test_tuned compare test_base",
        "alone",
        ("heldout", "nothing", "free"),
        ("test_tuned", "test_base"),
    ),
)
RUNNING = (
    BadOrder(
        "split test_base sample finetune score select test_tuned compare",
        "all",
        ("rewards", "worst", "free"),
        ("finetune", "select", "test_tuned"),
    ),
    BadOrder(
        "split sample score finetune select test_base test_tuned compare",
        "all",
        ("leak", "tuned", "free"),
        ("finetune", "select", "test_base"),
    ),
    BadOrder(
        "sample score select split finetune test_base test_tuned compare",
        "leak",
        ("all", "heldout", "free"),
        ("score", "split", "finetune"),
    ),
    BadOrder(
        "sample split test_base score select finetune test_tuned compare",
        "leak",
        ("worst", "responses", "free"),
        ("score", "test_base", "compare"),
    ),
    BadOrder(
        "split sample score select finetune test_tuned",
        "nothing",
        ("leak", "worst", "all"),
        ("select", "finetune", "test_tuned"),
    ),
)


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
