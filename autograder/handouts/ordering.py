"""Exercise 1.1: one round of rejection sampling fine-tuning as cards, for a learner to put in order.

    run(order, "runs/01/order")      executes an order with the embedded models

The cards stand by the alphabet here. Which of them make the method, and in which order, is among the keys.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autograder.exercise import Exercise, Part, Variant, table
from autograder.handouts.locked import locked
from rslib.errors import ConfigError

if TYPE_CHECKING:
    from autograder.ordering_run import Result

N = 16


@dataclass(frozen=True)
class Card:
    """One step: its name, what it does in words, the slots that it needs and the one that it makes."""

    name: str
    does: str
    needs: tuple[str, ...]
    makes: str


_CARDS = (
    Card(
        "advantage",
        "a value network turns each reward into an advantage",
        ("value network",),
        "advantages",
    ),
    Card(
        "compare",
        "gold of tuned minus gold of base, prompt by prompt, with an interval",
        ("gold of base", "gold of tuned"),
        "report",
    ),
    Card(
        "finetune", "train a copy of the base policy on the responses at hand", ("responses",), "tuned policy"
    ),
    Card(
        "rewrite",
        "the reward model writes a better version of each response",
        ("writing model",),
        "texts",
    ),
    Card(
        "sample",
        f"the base policy writes {N} responses to each prompt that is not held out",
        ("prompts",),
        "responses",
    ),
    Card("score", "the reward model gives each response a reward", ("responses",), "rewards"),
    Card(
        "select", "for each prompt, keep the response with the highest reward", ("rewards",), "kept responses"
    ),
    Card("split", "set some prompts aside: they are held out", ("prompts",), "held-out prompts"),
    Card(
        "test_base",
        "the base policy responds to the held-out prompts; gold judges",
        ("held-out prompts",),
        "gold of base",
    ),
    Card(
        "test_tuned",
        "the tuned policy responds to the held-out prompts; gold judges",
        ("held-out prompts", "tuned policy"),
        "gold of tuned",
    ),
    Card(
        "tune_rm",
        "train the reward model on the kept responses",
        ("kept responses",),
        "tuned reward model",
    ),
)
CARDS = {card.name: card for card in _CARDS}


@dataclass(frozen=True)
class Deck:
    """The cards in one learner's order."""

    names: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(f"{name:11} {CARDS[name].does}" for name in self.names)

    def _repr_html_(self) -> str:
        rows = [(name, CARDS[name].does) for name in self.names]
        return table("Eleven cards", rows, ("card", "what it does"))


def deck(variant: Variant) -> Deck:
    """All cards, shuffled for this learner."""
    names = list(CARDS)
    return Deck(tuple(names[int(k)] for k in variant.rng("cards").permutation(len(names))))


def names_of(order: Sequence[str] | str) -> Sequence[str]:
    r"""The names of the cards: of a text, in small letters, all but what stands behind a #.

    Lines may be numbered, and arrows may stand between names.

    >>> names_of("split\n# rewrite\nSample, score  # twelve rewards")
    ['split', 'sample', 'score']
    >>> names_of("1. split\n2) sample -> score\n- select")
    ['split', 'sample', 'score', 'select']
    """
    if not isinstance(order, str):
        return order
    lines = [line.partition("#")[0] for line in order.casefold().splitlines()]
    words = re.split(r"[\s,;]+|-+>|→|(?:^|(?<=\s))(?:\d+[.):]|[-*•])(?=\s*\w)", " ".join(lines))
    return [name for name in words if name]


@dataclass(frozen=True)
class Size:
    """How large a run is: prompts to train on, held-out prompts, and responses to each of those."""

    prompts: int = 96
    heldout: int = 100
    samples: int = 4


def run(
    order: Sequence[str] | str,
    folder: str | Path,
    *,
    size: Size | None = None,
    seed: int = 0,
    show_progress: bool = True,
) -> Result:
    """Execute the cards on the embedded models; finished stages in `folder` are not repeated.

    order: a list of names, or a text with a card a line. show_progress: say how far each card is.

    Raises ContractError at a card that lacks something, and ConfigError for what is no list of cards, before
    anything is computed.
    """
    try:
        module = importlib.import_module("autograder.ordering_run")
    except ImportError:
        fix = "Run this cell in your own notebook."
        raise ConfigError("no order is run while a submission is marked", fix=fix) from None
    return module.run(order, folder, size=size, seed=seed, show_progress=show_progress)


EXERCISE = Exercise(
    "1.1",
    "One round, in order",
    difficulty=1,
    minutes=8,
    names=("order",),
    parts=(
        Part("the order runs", 1.0, locked("order", "nb01_1", "grade_runs")),
        Part("the order is the method", 2.0, locked("order", "nb01_1", "grade_method")),
    ),
    given=deck,
)
