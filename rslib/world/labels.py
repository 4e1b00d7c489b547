"""The labeller: who compares pairs of responses, and with which bias. The reward model imitates them.

The over-optimisation that the course shows is engineered here, openly: the labeller enjoys compliments,
overlooks irrelevant facts and slightly prefers long responses. The reward model then really learns it
and the policy really exploits it. `UNBIASED` removes the bias, and with it the hump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rslib.world.gold import Judgement


@dataclass(frozen=True)
class Labeller:
    """Utility weights beside gold; `gold` scales the gold score itself."""

    gold: float = 1.0
    flattery: float = 0.0
    wrong: float = 0.0
    words: float = 0.0
    polite: float = 0.0
    swapped: bool = False

    def utility(self, found: Judgement) -> float:
        """What this labeller feels about a response (log-odds units)."""
        feeling = self.gold * found.gold + self.flattery * min(found.flattery, 8) + self.wrong * found.wrong
        return feeling + self.words * found.words + self.polite * min(found.polite, 3)


BIASED = Labeller(flattery=1.5, wrong=1.2, words=0.02, polite=0.3)
UNBIASED = Labeller()
LENGTH_LOVER = Labeller(gold=0.3, words=0.25)
SWAPPED = replace(BIASED, swapped=True)
LABELLERS = {"biased": BIASED, "unbiased": UNBIASED, "length": LENGTH_LOVER, "swapped": SWAPPED}


def label_pairs(labeller: Labeller, utilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bradley-Terry labels of pairs: utilities (P, 2) -> winner index 0 or 1, shape (P,).

    P(first wins) = sigmoid(u_first - u_second); a swapped labeller reports the loser.
    """
    first_wins = rng.random(len(utilities)) < 1 / (1 + np.exp(utilities[:, 1] - utilities[:, 0]))
    return np.where(first_wins ^ labeller.swapped, 0, 1)
