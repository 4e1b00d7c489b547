"""Reinforcement learning with one named defect: what notebook 06 diagnoses.

A flaw is a method of the loop with one part replaced, a change of the loop's settings, or both:

    method, loop, start = flawed("kl_sign", rl.Loop(steps=8), policy)
    rl.train(start, reward_model, prompts, method, loop, out="runs/kl_sign")

All but one are PPO's; groups are GRPO's. What each does to a run is measured in docs/signatures.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rslib import tables
from rslib.config import unknown_name
from rslib.models import Policy
from rslib.models.loaded import tokenise
from rslib.optimization import Objective
from rslib.rl.advantages import gae, group_normalised, kl_estimate, token_rewards
from rslib.rl.loop import Loop
from rslib.rl.methods import GRPO, PPO, Method
from rslib.rl.rollouts import Learner, Rollouts

FLAWS: dict[str, type[Flaw]] = {}
"""Every flaw of reinforcement learning by name."""


class Flaw(Method):
    """A method with one defect; a subclass says what it is called and the stage where it sits.

    `description` is the subclass's docstring, as the end of a line. `changes` are settings of the loop.
    """

    stage: str
    description: str
    changes: Mapping[str, Any] = {}

    def __init_subclass__(cls, *, name: str, stage: str) -> None:
        text = " ".join((cls.__doc__ or "").split()).removesuffix(".")
        cls.name, cls.stage, cls.description = name, stage, text[:1].lower() + text[1:]
        FLAWS[name] = cls

    @classmethod
    def start(cls, policy: Policy) -> Policy:
        """The policy that a run with this flaw begins with."""
        return policy


def flawed(name: str, loop: Loop, policy: Policy) -> tuple[Method, Loop, Policy]:
    """Method, loop and start of a run with this flaw. Raises ConfigError for an unknown name.

    >>> method, loop, _ = flawed("no_end_penalty", Loop(steps=2), None)
    >>> method.stage, loop.steps, loop.missing_eos_penalty
    ('reward', 2, 0.0)
    """
    if name not in FLAWS:
        raise unknown_name("flaw", name, FLAWS, "rl.flaws.flawed(name=...)")
    kind = FLAWS[name]
    return kind(), dataclasses.replace(loop, **kind.changes), kind.start(policy)


# Drawing --------------------------------------------------------------------------------------------------


class _NoChatTemplate(Flaw, PPO, name="no_chat_template", stage="draw"):
    """Prompts are drawn on as plain text, without the chat template that users will meet."""

    @classmethod
    def start(cls, policy: Policy) -> Policy:
        class Plain(type(policy)):
            def encode_many(self, prompts: Sequence[Any]) -> list[list[int]]:
                return tokenise(self, prompts)

        return Plain(**vars(policy))


class _StaleLogprobs(Flaw, PPO, name="stale_logprobs", stage="draw"):
    """The old log-probabilities are those of the first draw's policy; they are never measured again."""

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        # The gap to the reference stays what it was, so that the KL penalty is still right.
        first, gap = rollouts.reference, rollouts.logprobs - rollouts.reference
        stale = dataclasses.replace(rollouts, logprobs=first, reference=first - gap)
        return super().objective(learner, stale, kl_coefficient)


class _EndMasked(Flaw, PPO, name="end_masked", stage="draw"):
    """The mask stops one token early: the end of a response is never learned, its score goes elsewhere."""

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        return super().objective(learner, _without_end(rollouts), kl_coefficient)


def _without_end(rollouts: Rollouts) -> Rollouts:
    """The rollouts without the last token of each response."""
    mask = rollouts.mask & (rollouts.mask.cumsum(1) < rollouts.mask.sum(1, keepdim=True))
    rows = [dataclasses.replace(row, ids=row.ids[:-1]) for row in rollouts.rows]
    logprobs, reference = (torch.where(mask, x, 0.0) for x in (rollouts.logprobs, rollouts.reference))
    return dataclasses.replace(rollouts, rows=rows, mask=mask, logprobs=logprobs, reference=reference)


# The score ------------------------------------------------------------------------------------------------


class _ScoreEveryToken(Flaw, PPO, name="score_every_token", stage="reward"):
    """The response's score is given on each of its tokens, not once: long responses collect more."""

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        penalty = kl_coefficient * (rollouts.logprobs - rollouts.reference)
        return torch.where(rollouts.mask, rollouts.rewards[:, None] - penalty, 0.0)


class _NoEndPenalty(Flaw, PPO, name="no_end_penalty", stage="reward"):
    """A response that was cut loses nothing."""

    changes = {"missing_eos_penalty": 0.0}


class _CutRewarded(Flaw, PPO, name="cut_rewarded", stage="reward"):
    """The penalty for a missing end of sequence has the wrong sign: responses that were cut are paid."""

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        cut = torch.tensor(tables.finish_reasons(rollouts.table) == "length", device=rollouts.rewards.device)
        paid = rollouts.rewards + 2 * Loop.missing_eos_penalty * cut
        return super().rewards(dataclasses.replace(rollouts, rewards=paid), kl_coefficient)


# The KL penalty -------------------------------------------------------------------------------------------


class _KLSign(Flaw, PPO, name="kl_sign", stage="kl"):
    """The KL penalty has the wrong sign: leaving the reference is paid for."""

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        return super().rewards(rollouts, -kl_coefficient)


class _KLReversed(Flaw, PPO, name="kl_reversed", stage="kl"):
    """Policy and reference have changed places in the estimate (k3) of the KL."""

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        kl = kl_estimate(rollouts.reference, rollouts.logprobs, "k3")
        return token_rewards(rollouts.rewards, kl, rollouts.mask, kl_coefficient)


class _NoPenalty(Flaw, PPO, name="no_penalty", stage="kl"):
    """The KL coefficient never reaches the rewards: leaving the reference costs nothing."""

    def rewards(self, rollouts: Rollouts, kl_coefficient: float) -> Tensor:
        return super().rewards(rollouts, 0.0)


# Advantages -----------------------------------------------------------------------------------------------


class _NotCentred(Flaw, PPO, name="not_centred", stage="advantage"):
    """No baseline: the rewards still to come stand where advantages belong."""

    def advantages(self, rollouts: Rollouts, values: Tensor, kl_coefficient: float) -> tuple[Tensor, Tensor]:
        _, returns = super().advantages(rollouts, values, kl_coefficient)
        to_come, _ = gae(self.rewards(rollouts, kl_coefficient), 0 * values, rollouts.mask, 1.0, 1.0)
        return to_come, returns


class _ShortSighted(Flaw, PPO, name="short_sighted", stage="advantage"):
    """A discount of 0.8 per token: the score at the end hardly reaches the first words."""

    def __init__(self) -> None:
        super().__init__(discount=0.8)


class _RowsMixed(Flaw, PPO, name="rows_mixed", stage="advantage"):
    """Rows were sorted in between, advantages were not: each row learns by that of another."""

    def advantages(self, rollouts: Rollouts, values: Tensor, kl_coefficient: float) -> tuple[Tensor, Tensor]:
        advantages, returns = super().advantages(rollouts, values, kl_coefficient)
        return advantages.roll(1, 0), returns


class _GroupsMixed(Flaw, GRPO, name="groups_mixed", stage="advantage"):
    """Rows are taken for groups by i % M instead of i // n: a response is compared with other prompts'."""

    def advantages(self, rollouts: Rollouts) -> Tensor:
        groups = rollouts.rewards.view(rollouts.n, -1).T
        return group_normalised(groups, self.epsilon).T.flatten()


# The loss -------------------------------------------------------------------------------------------------


class _Detached(Flaw, PPO, name="detached", stage="loss"):
    """The log-probabilities are detached: the policy has no gradient, only the value model learns."""

    def policy_loss(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
        return super().policy_loss(logprobs.detach(), old_logprobs, advantages)


class _WrongSide(Flaw, PPO, name="clip_wrong_side", stage="loss"):
    """The larger of the two products is taken: what has gone too far is pushed on."""

    def policy_loss(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
        return -super().policy_loss(logprobs, old_logprobs, -advantages)


class _ValueOnPadding(Flaw, PPO, name="value_on_padding", stage="loss"):
    """The value loss counts the padding behind each response, and every mean is taken over it."""

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        right = super().objective(learner, rollouts, kl_coefficient)
        padded = _padded(rollouts, learner.policy.pad_id)

        def loss_sum(rows: list[int]) -> Tensor:
            behind = learner.values(padded, rows)[~rollouts.mask[rows]]  # where nothing is still to come
            return right.loss_sum(rows) + self.value_coefficient * behind.square().sum() / 2

        return Objective(loss_sum, lambda rows: float(rollouts.mask[rows].numel()))


def _padded(rollouts: Rollouts, pad_id: int) -> Rollouts:
    """The rollouts with every response filled up to the longest, the padding taken for tokens of it."""
    missing = (~rollouts.mask).sum(1).tolist()
    rows = [
        dataclasses.replace(row, ids=[*row.ids, *[pad_id] * count])
        for row, count in zip(rollouts.rows, missing, strict=True)
    ]
    return dataclasses.replace(rollouts, rows=rows, mask=torch.ones_like(rollouts.mask))
