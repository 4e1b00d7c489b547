"""Exercise 6.3: every method as one number per token, checked against the gradient of its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autograder.checks import (
    Finite,
    Ideas,
    Rng,
    Unchanged,
    as_tensor,
    graded,
    in_turn,
    read_tensor,
    tensor,
    tensor_agrees,
)
from autograder.exercises.clipping import descent, ratios
from rslib.rl import losses, unified

IDEAS = Ideas("""
ones (): The next-token loss is -log pi of each token. What does grad log pi get multiplied by in it?
logprob / loss of a token: The coefficient is not the log-probability: it is what its gradient is multiplied
    by.
doubt (probability): Unlikely tokens are weighed more: that is the derivative by the logit, not by log pi.
probability: Likely tokens are weighed more. The next-token loss weighs all alike.
unlearned (sign): The sign is turned: training would unlearn the data.
averaged: Here stands 1 over the number of tokens. The loss averages by itself; each token has the same
    weight.

kept (): 1 for the tokens of kept responses, 0 for the others.
everything (F02): Every response gets 1: that is training on everything.
negatives: What was not kept is pushed down. Rejection sampling leaves it alone.
rejected (F03): The kept and the rejected have changed places.
divided: The kept are weighed up by how few they are. The loss averages by itself.
mean of the kept (divided): Here stands 1 over the number of the kept. The loss averages by itself.
by logprob / loss of the kept: The kept tokens get their log-probability. In the loss it is grad log pi that
    is multiplied.

ppo (): Take the gradient of the clipped loss by hand.
no clip: Tokens beyond the clip are still pushed on.
never back (clip on the wrong side): Every token outside the clip gets 0, also one that went the wrong way and
    has to come back.
pushed on (clip on the wrong side): Tokens that went the wrong way get 0, and those that went too far are
    pushed on.
held: Beyond the clip the held ratio is still pushed: a clamped number has the gradient 0.
no ratio: The ratio is missing.
upside down (no ratio): The ratio is upside down: it is new over old.
products: This is the smaller of the two products: minus the loss, and not its derivative.
good held alone (clip on the wrong side): Of the tokens beyond the clip, those with a negative advantage are
    still pushed on.
bad held alone (clip on the wrong side): Of the tokens beyond the clip, those with a positive advantage are
    still pushed on.
over the tokens (averaged): These are divided by the number of tokens. The loop averages afterwards.
sign: The sign is turned.

grpo (): Two parts are added, and one of them is not right: what the clipped loss gives, which you have as
    `ppo`, and what the KL term gives. Take the derivative of the KL term by the log-probability.
no pull (KL): The pull to the reference is missing.
KL sign: The pull has the wrong sign: it drives the policy away from the reference.
k2 (KL): The pull is the plain difference of log-probabilities: that is the gradient of another estimate (k2).
value of the KL (KL): The value of the KL estimate is added. Its gradient is asked for.
no minus 1 (KL): A policy that equals the reference is still pulled here. What should it feel?
pull upside down (KL): The ratio inside of the pull is upside down.
gap turned (KL): The gap in the exponent is turned round: which of the two stands first in d?
to the old (KL): The pull goes to the policy that drew. It goes to the reference.
k1 (KL): The pull is the same for every token: that is the gradient of another estimate (k1).
pull clipped (KL): The pull is gone where the clip holds. The KL term stands outside of the clip.
coefficient 1 (KL): The coefficient of the KL is left out.
pulled without clip (no clip): The pull is right; PPO's own part is not clipped.

dpo (): Take the gradient of -log sigmoid(beta * margin) by hand.
certain: Pairs that are already told apart are pushed the most: the sign inside the sigmoid is turned.
beta in front (no beta): beta stands in front and is missing inside the sigmoid.
beta inside (no beta): beta stands inside the sigmoid and is missing in front.
no beta: beta plays no part.
references exchanged (no reference): The reference's part of the margin has the wrong sign: it is added, or
    each log-probability is held against the reference of the other response.
over the pairs (averaged): These are divided by the number of pairs. The loop averages afterwards.
slope (loss): This is the derivative of the sigmoid itself. The loss is minus its logarithm.
halved: Here stands half of it, or a mean over both responses. The coefficient is that of the chosen one.
no reference: The reference plays no part: the margin is how much more the policy prefers the chosen response
    than the reference does.
loss: This is the loss. Its gradient is asked for.
constant: Every pair gets beta, however sure the policy is.
overflow: A margin of 600 nats overflows: exp of a large number is infinite. There is a function for it.
""")


# Fine-tuning and rejection sampling -----------------------------------------------------------------------


def for_every_token(check: str) -> Callable[..., Tensor]:
    """As `read_tensor`; one number, or one a response, stands for all of its tokens."""
    read = read_tensor(check)

    def of(result: Any, *args: Any) -> Tensor:
        values, shape = as_tensor(result, check), args[0].shape
        spread = values.ndim == 0 or tuple(values.shape) in ((1,), (1, 1), (shape[0], 1))
        return read(values.expand(shape) if spread else values, *args)

    return of


def some_logprobs(rng: Rng) -> tuple[Tensor]:
    """Log-probabilities (4, 5)."""
    return (tensor(rng.uniform(-3, -0.1, (4, 5))),)


def half_kept(rng: Rng) -> tuple[Tensor, Tensor]:
    """Log-probabilities (4, 5), and which two of the responses are kept."""
    return *some_logprobs(rng), torch.tensor(rng.permutation([True, False, True, False]))


def sft_slips(logprobs: Tensor) -> dict[str, Tensor]:
    """What is multiplied by the wrong thing."""
    ones = torch.ones_like(logprobs)
    return {
        "logprob": logprobs,
        "loss of a token": -logprobs,
        "probability": logprobs.exp(),
        "doubt": 1 - logprobs.exp(),
        "unlearned": -ones,
        "averaged": ones / logprobs.shape[1],
    }


def kept_slips(logprobs: Tensor, kept: Tensor) -> dict[str, Tensor]:
    """What wrong weights of rows give."""
    right = unified.rejection_sampling(logprobs, kept)
    return {
        "everything": torch.ones_like(right),
        "negatives": 2 * right - 1,
        "rejected": 1 - right,
        "divided": right * 2,
        "by logprob": right * logprobs,
        "loss of the kept": -right * logprobs,
        "mean of the kept": right / kept.sum(),
    }


# PPO and GRPO ---------------------------------------------------------------------------------------------


def ppo(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Ratio times advantage, and 0 beyond the clip on the advantage's side: by the loss's gradient."""
    return descent(lambda now: losses.clipped_policy(now, old, advantages, clip), logprobs)


def ppo_slips(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> dict[str, Tensor]:
    """What wrong sides of the clip give."""
    ratio, right = torch.exp(logprobs - old), ppo(logprobs, old, advantages, clip)
    outside = (ratio > 1 + clip) | (ratio < 1 - clip)
    wrong_side = torch.where(advantages > 0, ratio < 1 - clip, ratio > 1 + clip)
    return {
        "no clip": ratio * advantages,
        "never back": torch.where(outside, 0.0, ratio * advantages),
        "pushed on": torch.where(wrong_side, 0.0, ratio * advantages),
        "held": ratio.clamp(1 - clip, 1 + clip) * advantages,
        "no ratio": torch.where(right == 0, 0.0, advantages),
        "upside down": torch.where(right == 0, 0.0, advantages / ratio),
        "products": torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages),
        "good held alone": torch.where(advantages > 0, right, ratio * advantages),
        "bad held alone": torch.where(advantages < 0, right, ratio * advantages),
        "over the tokens": right / right.numel(),
        "sign": -right,
    }


def with_reference(rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor, float, float]:
    """Log-probabilities, old ones, the reference's, advantages, clip, coefficient of the KL."""
    logprobs, old, advantages, clip = ratios(rng)
    reference = logprobs + tensor(rng.normal(0, 0.5, tuple(old.shape)))
    return logprobs, old, reference, advantages, clip, float(rng.uniform(0.1, 0.5))


def grpo(logprobs: Tensor, *constants: Tensor | float) -> Tensor:
    """PPO's coefficient plus the pull of the KL in the loss: by the loss's gradient."""
    return descent(lambda now: losses.grpo(now, *constants), logprobs)


def grpo_slips(
    logprobs: Tensor, old: Tensor, reference: Tensor, advantages: Tensor, clip: float, c: float
) -> dict[str, Tensor]:
    """What wrong pulls give."""
    part, gap = unified.ppo(logprobs, old, advantages, clip), reference - logprobs
    return {
        "no pull": part,
        "KL sign": part - c * torch.expm1(gap),
        "k2": part + c * gap,
        "value of the KL": part - c * (torch.expm1(gap) - gap),
        "no minus 1": part + c * torch.exp(gap),
        "coefficient 1": part + torch.expm1(gap),
        "pull upside down": part - c * torch.expm1(-gap),
        "gap turned": part + c * torch.expm1(-gap),
        "to the old": part + c * torch.expm1(old - logprobs),
        "k1": part - c,
        "pull clipped": torch.where(part == 0, 0.0, part + c * torch.expm1(gap)),
        "pulled without clip": torch.exp(logprobs - old) * advantages + c * torch.expm1(gap),
        "sign": -grpo(logprobs, old, reference, advantages, clip, c),
    }


# DPO ------------------------------------------------------------------------------------------------------


def pairs(rng: Rng) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Log-probabilities (5,) of chosen and rejected responses, the reference's of both, beta."""
    chosen, rejected, ref_chosen, ref_rejected = (tensor(rng.normal(-20, 4, 5)) for _ in range(4))
    return chosen, rejected, ref_chosen, ref_rejected, float(rng.uniform(0.1, 0.4))


def dpo(chosen: Tensor, *constants: Tensor | float) -> Tensor:
    """Beta times the sigmoid of minus beta times margin: by the loss's gradient."""
    return descent(lambda now: losses.dpo(now, *constants), chosen)


def dpo_slips(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float
) -> dict[str, Tensor]:
    """What wrong margins and a forgotten beta give."""
    margin, bare = (chosen - ref_chosen) - (rejected - ref_rejected), chosen - rejected
    exchanged = (chosen - ref_rejected) - (rejected - ref_chosen)
    return {
        "references exchanged": beta * torch.sigmoid(-beta * exchanged),
        "certain": beta * torch.sigmoid(beta * margin),
        "beta in front": beta * torch.sigmoid(-margin),
        "beta inside": torch.sigmoid(-beta * margin),
        "no beta": torch.sigmoid(-margin),
        "no reference": beta * torch.sigmoid(-beta * bare),
        "sign": -dpo(chosen, rejected, ref_chosen, ref_rejected, beta),
        "loss": -torch.nn.functional.logsigmoid(beta * margin),
        "constant": torch.full_like(margin, beta),
        "halved": beta * torch.sigmoid(-beta * margin) / 2,
        "over the pairs": beta * torch.sigmoid(-beta * margin) / len(margin),
        "slope": beta * torch.sigmoid(-beta * margin) * torch.sigmoid(beta * margin),
    }


# The exercise ---------------------------------------------------------------------------------------------

ONES, KEPT, RATIO = "gives every token 1", "gives 1 to kept responses alone", "is 0 beyond the clip"
PULL, PAIR = "pulls towards the reference", "weighs a pair by its doubt"
SURE = tensor([300.0, -300.0])
grade_tuning = in_turn(
    graded(
        "sft",
        IDEAS,
        tensor_agrees(ONES, some_logprobs, torch.ones_like, "ones", sft_slips, of=for_every_token(ONES)),
    ),
    graded(
        "rejection_sampling",
        IDEAS,
        tensor_agrees(
            KEPT, half_kept, unified.rejection_sampling, "kept", kept_slips, of=for_every_token(KEPT)
        ),
    ),
)
grade_ppo = graded("ppo", IDEAS, tensor_agrees(RATIO, ratios, ppo, "ppo", ppo_slips), Unchanged(ratios))
grade_grpo = graded(
    "grpo", IDEAS, tensor_agrees(PULL, with_reference, grpo, "grpo", grpo_slips), Unchanged(with_reference)
)
grade_dpo = graded(
    "dpo",
    IDEAS,
    tensor_agrees(PAIR, pairs, dpo, "dpo", dpo_slips),
    Finite(PAIR, (SURE, -SURE, 0 * SURE, 0 * SURE, 1.0), "overflow", of=read_tensor(PAIR)),
    Unchanged(pairs),
)
