"""Exercise 1.4: which system used rejection sampling where in its recipe, and with how many responses.

The systems are described in the notebook in words of our own, each with its source. Roles and numbers are two
lists that hold for all systems, so a learner meets them once.
"""

from __future__ import annotations

from autograder.exercise import Exercise, Variant, table
from autograder.handouts.choice import Sheet, asked, parts


class Matching(Sheet):
    """The systems and the two lists, as this learner sees them."""

    def lists(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """(heading, [(label, text), ...]) of roles and of numbers."""
        roles, counts = (options for _, options in self.tiers(self.questions[0]))
        return [("Where in the recipe", roles), ("Responses to a prompt", counts)]

    def __repr__(self) -> str:
        lines = [f"({q.id}) {q.text}" for q in self.questions]
        for heading, options in self.lists():
            lines += [heading, *(f"  {label}. {text}" for label, text in options)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        systems = [(f"({q.id})", q.text) for q in self.questions]
        tables = (table(heading, rows) for heading, rows in [("System", systems), *self.lists()])
        return f"<div style='max-width:50em'>{''.join(tables)}</div>"


def matching(variant: Variant) -> Matching:
    """What a learner gets."""
    return Matching("1.4", asked("1.4"), variant)


EXERCISE = Exercise(
    "1.4",
    "Who used it, and where",
    difficulty=1,
    minutes=7,
    names=("used",),
    parts=parts("1.4", "used", 0.5),
    given=matching,
)
