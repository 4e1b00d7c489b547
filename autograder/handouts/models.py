"""The embedded models that exercises work with, loaded once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rslib.models import Policy, RewardModel


@cache
def base_policy() -> Policy:
    """The embedded policy."""
    from rslib.models import load_policy

    return load_policy("tiny")


@cache
def judge() -> RewardModel:
    """The embedded reward model."""
    from rslib.models import load_reward_model

    return load_reward_model("tiny")
