"""Exercise 1.2: four bad orders, drawn from a pool; which card stops, or which number gets worse, and why."""

from __future__ import annotations

from dataclasses import replace

from autograder.exercise import Exercise, Part, Variant
from autograder.handouts.choice import Asked, Sheet, asked, content
from autograder.handouts.locked import locked

IDS = "abcd"
NAME = "what_happens"


def drawn(variant: Variant) -> list[Asked]:
    """A learner's four questions a to d: a deck of the file, in some order.

    Two of every deck stop and two run, so that everybody's four are as hard.
    """
    pool, rng = asked("1.2"), variant.rng("orders")
    decks = content()["1.2"]["decks"]
    deck = rng.permutation(decks[int(rng.integers(len(decks)))])
    return [replace(pool[int(k)], id=id) for id, k in zip(IDS, deck, strict=True)]


def sheet(variant: Variant) -> Sheet:
    """The four questions as this learner sees them."""
    return Sheet("1.2", tuple(drawn(variant)), variant)


EXERCISE = Exercise(
    "1.2",
    "Four orders that go wrong",
    difficulty=2,
    minutes=10,
    names=(NAME,),
    parts=tuple(Part(f"order {id}", 1.0, locked(NAME, "questions", "grade", "1.2", id, NAME)) for id in IDS),
    given=sheet,
)
