"""What gives the key of choice questions away, as complaints."""

from collections.abc import Sequence

import numpy as np

from autograder.exercise import Variant
from autograder.keys.questions import Option, Question


def lint(questions: Sequence[Question], learners: int = 200) -> list[str]:
    """What gives the key away: standing first, or being the longest, more often than chance + 10 %.

    Position is counted over the variants of many learners, length over the questions of the source (an option
    counts as longest only if no other is as long). Empty if there is nothing to complain about.
    """
    complaints = []
    for tier in ("answers", "reasons"):
        counted = [q for q in questions if getattr(q, tier) and not (tier == "answers" and q.fixed)]
        if counted:
            complaints += _lint_tier(tier, counted, learners)
    return complaints


def _lint_tier(tier: str, questions: Sequence[Question], learners: int) -> list[str]:
    chance = float(np.mean([1 / len(getattr(q, tier)) for q in questions]))
    longest = float(np.mean([_key_is_longest(getattr(q, tier)) for q in questions]))
    variants = [Variant(f"learner {k}", "lint", "lint") for k in range(learners)]
    first = float(np.mean([q.order(v)[tier == "reasons"][0] == 0 for q in questions for v in variants]))
    words = (("longest", longest), ("first", first))
    return [
        f"{tier}: the key is {word} in {share:.0%} of cases, chance is {chance:.0%}"
        for word, share in words
        if share > chance + 0.10
    ]


def _key_is_longest(options: Sequence[Option]) -> bool:
    return all(len(options[0].text) > len(o.text) for o in options[1:])
