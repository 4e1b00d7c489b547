"""Exercise 1.2: four bad orders, drawn from a pool; which card stops, or which number gets worse, and why.

The stop of each order is found by `ordering.trace`; a test holds the questions to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from autograder import ordering
from autograder.choice import Option, Question, Sheet, grade_question
from autograder.exercise import Exercise, Part, Variant
from autograder.work import Work

IDS = "abcd"
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
        except ordering.ContractError as broken:
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
    needs = " and ".join(ordering.CARDS[card].needs)
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


def drawn(variant: Variant) -> list[Question]:
    """Two orders that stop and two that run, as this learner's questions a to d."""
    rng = variant.rng("orders")
    orders = [*_some(BREAKING, rng), *_some(RUNNING, rng)]
    return [orders[int(k)].question(id) for id, k in zip(IDS, rng.permutation(4), strict=True)]


def _some(pool: Sequence[BadOrder], rng: np.random.Generator) -> list[BadOrder]:
    """Two of a pool, with different reasons."""
    first, *rest = [pool[int(k)] for k in rng.permutation(len(pool))]
    return [first, next(order for order in rest if order.why != first.why)]


def all_questions() -> list[Question]:
    """Every question of the pool, for the lint."""
    return [replace(o.question("a"), id=f"q{k}") for k, o in enumerate((*BREAKING, *RUNNING))]


def grade_one(place: int, work: Work, rng: np.random.Generator) -> None:
    """One of the four questions."""
    grade_question(drawn(work.variant)[place], "what_happens", work, rng)


def sheet(variant: Variant) -> Sheet:
    """The four questions as this learner sees them."""
    return Sheet("1.2", tuple(drawn(variant)), variant)


EXERCISE = Exercise(
    "1.2",
    "Four orders that go wrong",
    difficulty=2,
    minutes=10,
    names=("what_happens",),
    parts=tuple(Part(f"order {id}", 1.0, partial(grade_one, k)) for k, id in enumerate(IDS)),
    given=sheet,
)
