"""The reward models on trial in exercise 2.3, as a learner gets them: to be asked, not to be looked at.

Two of four are the same network: `tiny`, and `tiny` that is shown an empty prompt. The other two are drawn
from a second good one and three bad ones, so that one or two of four are fit for use.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

import rslib
from autograder.exercise import Variant

if TYPE_CHECKING:
    from rslib.models import RewardModel

LETTERS = "ABCD"
ALWAYS, DRAWN = ("tiny", "tiny-blind"), ("tiny-unbiased", "tiny-length", "tiny-swapped", "noise")
NOISE_HEADS = (2, 3)
"""Seeds of untrained heads whose rewards follow neither gold nor length; others do by chance."""


class Scorer:
    """A reward model that can be asked and not looked at: `scorer(prompts, responses)` gives the rewards.

    It remembers what it was asked, so that asking again costs nothing.
    """

    def __init__(self, reward_model: RewardModel, name: str = "") -> None:
        self._model, self._name = reward_model, name
        self._known: dict[tuple[str, str], float] = {}

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The reward of each response under its prompt, shape (rows,)."""
        from rslib.scoring import token_rewards

        pairs = list(zip(prompts, responses, strict=True))
        new = sorted({pair for pair in pairs if pair not in self._known})
        if new:
            encoded = self._model.encode_many(new)
            rewards = token_rewards(self._model.model, [prompt for prompt, _ in new], encoded)
            self._known.update(zip(new, rewards.tolist(), strict=True))
        return np.array([self._known[pair] for pair in pairs])

    def __repr__(self) -> str:
        return f"reward model {self._name}".strip()


@cache
def model(name: str) -> RewardModel:
    """An embedded reward model, or "noise2": the policy's trunk under an untrained head with that seed."""
    from rslib.reward_modeling import new_reward_model

    if name.startswith("noise"):
        return new_reward_model(rslib.load_policy("tiny"), int(name.removeprefix("noise")))
    return rslib.load_reward_model(name)


@cache
def _scorer(name: str, letter: str = "") -> Scorer:
    return Scorer(model(name), letter)


def names_of(variant: Variant) -> dict[str, str]:
    """Which model stands behind each letter for this learner."""
    rng = variant.rng("models")
    drawn = [str(name) for name in rng.choice(DRAWN, 2, replace=False)]
    head = f"noise{rng.choice(NOISE_HEADS)}"
    names = rng.permutation([*ALWAYS, *(head if name == "noise" else name for name in drawn)])
    return dict(zip(LETTERS, map(str, names), strict=True))


def scorers(variant: Variant) -> dict[str, Scorer]:
    """The four reward models of a learner, by letter."""
    return {letter: _scorer(name, letter) for letter, name in names_of(variant).items()}
