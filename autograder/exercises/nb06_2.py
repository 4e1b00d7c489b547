"""Exercise 6.2: the pieces of PPO: token rewards with their KL, advantages, and the two clipped losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autograder.checks import as_tensor, tensor
from autograder.exercise import Exercise, Misconception, Part, diagnose, require, short
from autograder.exercises.nb06_1 import TOLERANCE
from autograder.work import Work
from rslib.rl import advantages as exact
from rslib.rl import losses

PENALTY, GAE, PADDED = "charges KL to the reference", "looks one token ahead", "stops at the last token"
CLIPPED, GRADIENT, VALUE = (
    "clips on the right side",
    "lets the gradient through",
    "takes the larger error",
)
FINITE = "stays finite"


def _mask(rng: np.random.Generator, tokens: int = 6) -> Tensor:
    lengths = rng.permutation([1, 3, 4, 6])
    return torch.tensor(np.arange(tokens)[None] < lengths[:, None])


def _uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> Tensor:
    return tensor(rng.uniform(low, high, shape))


# Token rewards --------------------------------------------------------------------------------------------


def _last(mask: Tensor) -> Tensor:
    return mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))


def _penalty_ideas(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, c: float
) -> list[Misconception]:
    kl = (logprobs - reference) * mask
    right = exact.token_rewards(scores, kl, mask, c)
    at_last = _last(mask) * scores[:, None]
    end = torch.zeros_like(kl)
    end[:, -1] = scores
    summed = _last(mask) * (scores - c * kl.sum(1))[:, None]
    return [
        Misconception(
            "KL sign",
            "The sign of the KL is turned: straying from the reference is paid for.",
            at_last + c * kl,
        ),
        Misconception(
            "KL",
            "The KL is charged with the coefficient 1. Use the coefficient that is passed in.",
            at_last - kl,
        ),
        Misconception("KL", "No KL is charged.", at_last),
        Misconception(
            "every token",
            "The score stands on every token. It is given once, on the last.",
            (scores[:, None] - c * kl) * mask,
        ),
        Misconception(
            "last column",
            "The score stands in the last column. Rows end earlier: it belongs on the "
            "last token of the mask.",
            end - c * kl,
        ),
        Misconception(
            "first token",
            "The score stands on the first token.",
            torch.cat([scores[:, None], torch.zeros_like(kl[:, 1:])], 1) - c * kl,
        ),
        Misconception(
            "summed",
            "The KL of the whole response is charged on its last token. Each token pays for itself.",
            summed,
        ),
        Misconception("mask", "Places off the mask have a reward.", at_last - c * (logprobs - reference)),
        Misconception(
            "squared",
            "The difference is squared. The estimate asked for is the plain difference.",
            at_last - c * kl.square(),
        ),
        Misconception("score sign", "The score is taken off.", right - 2 * at_last),
    ]


def grade_token_rewards(work: Work, rng: np.random.Generator) -> None:
    """-coefficient * (log pi - log reference) on each token, and the score on the last."""
    function, mask = work.function("token_rewards"), _mask(rng)
    logprobs, reference = (_uniform(rng, -3, -0.1, tuple(mask.shape)) for _ in range(2))
    scores, coefficient = tensor(rng.normal(0, 2, len(mask))), float(rng.uniform(0.1, 0.4))
    found = as_tensor(function(scores, logprobs, reference, mask, coefficient), PENALTY, tuple(mask.shape))
    diagnose(
        PENALTY,
        found.detach(),
        exact.token_rewards(scores, logprobs - reference, mask, coefficient),
        ideas=_penalty_ideas(scores, logprobs, reference, mask, coefficient),
        otherwise="Minus coefficient times KL on every token of the mask, plus the score on the last one.",
        tolerance=TOLERANCE,
        case=f"lengths {mask.sum(1).tolist()}, scores {short(scores.numpy())}",
    )
    empty = mask.clone()
    empty[0] = False
    found = as_tensor(function(scores, logprobs, reference, empty, coefficient), FINITE).detach()
    message = "A row without tokens has no last one; its rewards are 0."
    right = bool(torch.isfinite(found).all()) and not bool(found[0].any())
    require(right, FINITE, message, idea="F32", got=short(found[0].numpy()))


# Advantages -----------------------------------------------------------------------------------------------


def _gae(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float, smoothing: float, ahead: int
) -> Tensor:
    """GAE whose value of the next state is taken `ahead` tokens further; 1 is right."""
    padded = torch.cat([values * mask, torch.zeros(len(values), 3)], 1)
    found, running = torch.zeros_like(values), torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * padded[:, t + ahead] - values[:, t]
        running = (delta + discount * smoothing * running) * mask[:, t]
        found[:, t] = running
    return found


def _gae_ideas(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float, smoothing: float
) -> list[Misconception]:
    def of(*args: float, ahead: int = 1, kept: Tensor = mask) -> Tensor:
        return _gae(rewards * mask, values, kept, *(args or (discount, smoothing)), ahead)

    delta = of(discount, 0.0)
    following = torch.cat([values[:, 1:], torch.zeros(len(values), 1)], 1)
    beyond = rewards * mask + discount * following - values
    running, bled = torch.zeros(len(values)), torch.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        running = (beyond[:, t] + discount * smoothing * running) * mask[:, t]
        bled[:, t] = running
    return [
        Misconception(
            "GAE off by one",
            "The value of the same token is used for the next state: the difference of "
            "values is 0. Look at V at t + 1.",
            of(ahead=0),
        ),
        Misconception("GAE off by one", "The value two tokens ahead is used.", of(ahead=2)),
        Misconception(
            "no smoothing",
            "Only the next token's error is used: the recursion is missing, or its factor is 0.",
            delta,
        ),
        Misconception("no discount", "The discount plays no part.", of(1.0, smoothing)),
        Misconception(
            "no discount",
            "The recursion runs with the smoothing alone; its factor is discount times smoothing.",
            _mixed(rewards * mask, values, mask, discount, smoothing),
        ),
        Misconception(
            "no smoothing",
            "The recursion runs with the discount alone; its factor is discount times smoothing.",
            of(discount, 1.0),
        ),
        Misconception(
            "bleeds",
            "A value from behind the last token has got in. Behind the end there is nothing to come: V is 0.",
            bled,
        ),
        Misconception(
            "forwards",
            "The recursion runs from the first token to the last. What comes later has to be known first.",
            _forwards(rewards * mask, values, mask, discount, smoothing),
        ),
        Misconception(
            "returns",
            "These are the returns, advantage plus value. The advantage is asked for.",
            of() + values * mask,
        ),
        Misconception("sign", "The sign is turned.", -of()),
    ]


def _mixed(rewards: Tensor, values: Tensor, mask: Tensor, discount: float, smoothing: float) -> Tensor:
    delta, found = _gae(rewards, values, mask, discount, 0.0, 1), torch.zeros_like(values)
    running = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        running = (delta[:, t] + smoothing * running) * mask[:, t]
        found[:, t] = running
    return found


def _forwards(rewards: Tensor, values: Tensor, mask: Tensor, discount: float, smoothing: float) -> Tensor:
    delta, found = _gae(rewards, values, mask, discount, 0.0, 1), torch.zeros_like(values)
    running = torch.zeros(len(values))
    for t in range(values.shape[1]):
        running = (delta[:, t] + discount * smoothing * running) * mask[:, t]
        found[:, t] = running
    return found


def grade_gae(work: Work, rng: np.random.Generator) -> None:
    """Against the definition, on rows that end at different tokens and have wild values behind their end."""
    function, mask = work.function("gae"), _mask(rng)
    rewards, values = (tensor(rng.normal(0, 1.5, tuple(mask.shape))) for _ in range(2))
    rewards = torch.where(mask, rewards, 0.0)
    discount, smoothing = float(rng.uniform(0.8, 0.95)), float(rng.uniform(0.4, 0.7))
    found = as_tensor(function(rewards, values, mask, discount, smoothing), GAE, tuple(mask.shape)).detach()
    right = exact.gae(rewards, values, mask, discount, smoothing)[0]
    diagnose(
        GAE,
        torch.where(mask, found, 0.0),
        right,
        ideas=_gae_ideas(rewards, values, mask, discount, smoothing),
        otherwise="delta is r + discount * V(next) - V; A is delta + discount * smoothing * A(next).",
        tolerance=TOLERANCE,
        case=f"lengths {mask.sum(1).tolist()}, discount {discount:.2f}, smoothing {smoothing:.2f}",
    )
    message = "Behind the last token of a row advantages are 0."
    require(bool((found[~mask] == 0).all()), PADDED, message, idea="mask", got=short(found[~mask].numpy()))


# The losses -----------------------------------------------------------------------------------------------


def _ratios(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    """Log-probabilities with ratios inside and far outside of the clip, for advantages of both signs."""
    clip = float(rng.uniform(0.1, 0.3))
    ratio = tensor(
        np.concatenate([rng.uniform(1.5, 2.5, 4), rng.uniform(0.3, 0.6, 4), rng.uniform(0.95, 1.05, 4)])
    )
    advantages = tensor(rng.uniform(0.5, 2, 12) * np.tile([1, -1], 6))
    old = _uniform(rng, -3, -1, (12,))
    shape = (3, 4)
    return (old + ratio.log()).reshape(shape), old.reshape(shape), advantages.reshape(shape), clip


def _clip_ideas(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> list[Misconception]:
    ratio = torch.exp(logprobs - old)
    held = ratio.clamp(1 - clip, 1 + clip)
    return [
        Misconception(
            "clip on the wrong side",
            "The larger of the two products is taken: what should be held back is pushed "
            "further, and the rest is held.",
            -torch.maximum(ratio * advantages, held * advantages),
        ),
        Misconception(
            "clip on the wrong side",
            "The ratio is clipped whatever the advantage says, so a token that went the "
            "wrong way is never brought back. Take the smaller of two products.",
            -held * advantages,
        ),
        Misconception("no clip", "Nothing is clipped.", -ratio * advantages),
        Misconception(
            "sign",
            "The sign is turned: this would be made larger.",
            torch.minimum(ratio * advantages, held * advantages),
        ),
        Misconception(
            "ratio upside down",
            "The ratio is upside down: it is new over old.",
            -torch.minimum(advantages / ratio, (1 / ratio).clamp(1 - clip, 1 + clip) * advantages),
        ),
        Misconception(
            "no ratio",
            "The difference of the log-probabilities stands where the ratio belongs: exp is missing.",
            -torch.minimum(
                (logprobs - old) * advantages, (logprobs - old).clamp(1 - clip, 1 + clip) * advantages
            ),
        ),
        Misconception(
            "clip",
            "The ratio is held to [0, clip] or [-clip, clip]. It is held around 1.",
            -torch.minimum(ratio * advantages, ratio.clamp(-clip, clip) * advantages),
        ),
    ]


def grade_clipped_policy(work: Work, rng: np.random.Generator) -> None:
    """Its value on both sides of the clip, and its gradient."""
    function, (logprobs, old, advantages, clip) = work.function("clipped_policy_loss"), _ratios(rng)
    found = as_tensor(function(logprobs, old, advantages, clip), CLIPPED, tuple(old.shape))
    diagnose(
        CLIPPED,
        found.detach(),
        losses.clipped_policy(logprobs, old, advantages, clip),
        ideas=_clip_ideas(logprobs, old, advantages, clip),
        otherwise="Minus the smaller of ratio times advantage and clipped ratio times advantage.",
        tolerance=TOLERANCE,
        case=f"ratios {short(torch.exp(logprobs - old).numpy())}, clip {clip:.2f}",
    )
    leaf = logprobs.clone().requires_grad_(True)
    loss = as_tensor(function(leaf * 1.0, old, advantages, clip), GRADIENT)
    message = "The loss carries no gradient: the log-probabilities were detached, or left torch."
    require(loss.requires_grad, GRADIENT, message, idea="detached")
    loss.sum().backward()
    own = logprobs.clone().requires_grad_(True)
    losses.clipped_policy(own, old, advantages, clip).sum().backward()
    message = (
        "The value is right and its gradient is not. A token beyond the clip on its advantage's side "
        "has none."
    )
    same = leaf.grad is not None and torch.allclose(leaf.grad, own.grad, atol=1e-3, rtol=1e-3)
    require(same, GRADIENT, message, idea="gradient")


def _value_ideas(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> list[Misconception]:
    near = old + (values - old).clamp(-clip, clip)
    plain, held = (values - returns).square(), (near - returns).square()
    return [
        Misconception(
            "smaller error",
            "The smaller of the two errors is taken: a value that ran away is let go.",
            0.5 * torch.minimum(plain, held),
        ),
        Misconception("no clip", "Nothing is held near the old value.", 0.5 * plain),
        Misconception(
            "held alone", "Only the held value is compared. Take the larger of the two errors.", 0.5 * held
        ),
        Misconception("half", "The half is missing.", torch.maximum(plain, held)),
        Misconception(
            "clip",
            "The value is held near the return. It is held near the old value.",
            0.5 * torch.maximum(plain, (returns + (values - returns).clamp(-clip, clip) - returns).square()),
        ),
        Misconception(
            "clip",
            "The value is held to [-clip, clip]. It is held around the old value.",
            0.5 * torch.maximum(plain, (values.clamp(-clip, clip) - returns).square()),
        ),
        Misconception(
            "absolute",
            "The errors are not squared.",
            0.5 * torch.maximum((values - returns).abs(), (near - returns).abs()),
        ),
    ]


def grade_clipped_value(work: Work, rng: np.random.Generator) -> None:
    """Half the larger squared error, of the value and of the value held near the old one."""
    clip, shape = float(rng.uniform(0.2, 0.4)), (3, 4)
    old, returns = (tensor(rng.normal(0, 1, shape)) for _ in range(2))
    moved = rng.uniform(0.6, 1.5, shape) * np.tile([1, -1], 6).reshape(shape)
    values = old + tensor(moved)
    found = as_tensor(work.function("clipped_value_loss")(values, old, returns, clip), VALUE, shape).detach()
    diagnose(
        VALUE,
        found,
        losses.clipped_value(values, old, returns, clip),
        ideas=_value_ideas(values, old, returns, clip),
        otherwise="Half the larger of two squared errors: of the value, and of the held value.",
        tolerance=TOLERANCE,
        case=f"clip {clip:.2f}",
    )


EXERCISE = Exercise(
    "6.2",
    "The pieces of PPO",
    3,
    20,
    ("token_rewards", "gae", "clipped_policy_loss", "clipped_value_loss"),
    (
        Part("rewards with their KL", 1.0, grade_token_rewards),
        Part("advantages", 1.0, grade_gae),
        Part("the policy's loss", 1.0, grade_clipped_policy),
        Part("the value's loss", 0.5, grade_clipped_value),
    ),
)
