"""Exercise 6.2: the pieces of PPO: token rewards with their KL, advantages, and the two clipped losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from autograder.checks import (
    Agrees,
    Ideas,
    Learner,
    Rng,
    Unchanged,
    as_tensor,
    graded,
    read_tensor,
    tensor,
    tensor_agrees,
)
from autograder.exercise import require
from autograder.exercises.clipping import descent, ratios
from rslib.rl import advantages as exact
from rslib.rl import losses

IDEAS = Ideas("""
token rewards (): Minus coefficient times KL on every token of the mask, plus the score on the last one.
KL sign: The sign of the KL is turned: straying from the reference is paid for.
coefficient 1 (KL): The KL is charged with the coefficient 1. Use the coefficient that is passed in.
no KL (KL): No KL is charged.
every token: The score stands on every token. It is given once, on the last.
last column: The score stands in the last column. Rows end earlier: it belongs on the last token of the mask.
score repeated (last column): The score stands behind the last token as well: the running count of the mask
    stays full there. Only the mask's own last token has it.
first token: The score stands on the first token.
summed: The KL of the whole response is charged on its last token. Each token pays for itself.
off the mask (mask): Places off the mask have a reward.
squared: The difference is squared. The estimate asked for is the plain difference.
absolute (squared): The difference lost its sign. The estimate asked for is the plain difference.
k3 (squared): This is another estimate of the KL, one that is never negative. The plain difference is asked
    for.
probabilities (KL): Probabilities are compared. The estimate is made of log-probabilities.
per length: The score is divided by the length of its response. It is given whole.
score sign: The score is taken off.
shared (per length): The score is divided among the tokens. It is given whole, once, on the last.
behind the end (off by one): The score stands one place behind the last token of the mask.
before the last (off by one): The score stands one place before the last token of the mask.
score alone (no KL): The last token has the score and no KL. It has both.
score scaled: The score is multiplied by the coefficient, which belongs to the KL alone.
never paid: A token that is rarer than under the reference has a negative log-ratio, and is paid. Here it
    gets 0.
no tokens (F32): A row without tokens has no last one; its rewards are 0.

advantage (): delta is r + discount * V(next) - V; A is delta + discount * smoothing * A(next).
same token (GAE off by one): The value of the same token is used for the next state: the difference of values
    is 0. Look at V at t + 1.
two ahead (GAE off by one): The value two tokens ahead is used.
no smoothing: Only the next token's error is used: the recursion is missing, or its factor is 0.
no discount: The discount plays no part.
smoothing alone (no discount): The recursion runs with the smoothing alone; its factor is discount times
    smoothing.
discount alone (no smoothing): The recursion runs with the discount alone; its factor is discount times
    smoothing.
bleeds: A value from behind the last token has got in. Behind the end there is nothing to come: V is 0.
forwards: The recursion runs from the first token to the last. What comes later has to be known first.
returns: These are the returns, advantage plus value. The advantage is asked for.
turned (sign): The sign is turned.
mask: Behind the last token of a row advantages are 0.
whitened / standardised (advantage): These are shifted and scaled. The plain advantages are asked for.
value not discounted (no discount): In delta the value of the next token stands undiscounted.
from the padding (bleeds): The recursion begins in the padding. It begins at the last token of the row.
own value behind (bleeds): Behind the last token stands its own value. There is nothing to come: V is 0 there.
no values (advantage): The values play no part: these are the rewards still to come.
no next value (advantage): Of the values only the token's own is read. What is expected after it counts too.

policy (): Minus the smaller of ratio times advantage and clipped ratio times advantage.
larger product (clip on the wrong side): The larger of the two products is taken: what should be held back is
    pushed further, and the rest is held.
always clipped (clip on the wrong side): The ratio is clipped whatever the advantage says, so a token that
    went the wrong way is never brought back. Take the smaller of two products.
no clip: Nothing is clipped.
sign: The sign is turned: this would be made larger.
ratio upside down: The ratio is upside down: it is new over old.
no ratio: The difference of the log-probabilities stands where the ratio belongs: exp is missing.
no policy (no ratio): The log-probabilities play no part: the advantage alone has no gradient.
logarithms divided (no ratio): The log-probabilities are divided by each other. The ratio is that of the
    probabilities: exp of the difference.
held from above (clip on the wrong side): The ratio is held from above alone, before the advantage is known.
    Take the smaller of two products.
log-ratio held (clip): The log-ratio is held, so the bounds of the ratio are not 1 - clip and 1 + clip.
product held (clip): The product is held. The ratio is held, and then multiplied by the advantage.
reciprocal (clip): The lower bound is 1 / (1 + clip). It is 1 - clip.
clip of 0.2 (clip): The ratio is held between 0.8 and 1.2, whatever `clip` says.
one bound (clip): The ratio is held on one side of 1 alone. It is held on both.
clip at 0 (clip): The ratio is held to [0, clip] or [-clip, clip]. It is held around 1.
detached: The loss carries no gradient: its first argument was detached, or left torch.
gradient: The value is right and its gradient is not. What was held has none.

value (): Half the larger of two squared errors: of the value, and of the held value.
smaller error: The smaller of the two errors is taken: a value that ran away is let go.
not held (no clip): Nothing is held near the old value. Who holds it near the return holds nothing.
held alone: Only the held value is compared. Take the larger of the two errors.
half: The half is missing.
near 0 (clip): The value is held to [-clip, clip]. It is held around the old value.
not squared: The errors are not squared.
share of the old / other bound first (clip): The value is held within a share of the old one, not within
    `clip` of it.
sum of both (smaller error): The two errors are added. Take the larger.
old error (held alone): The second error is that of the old value. It is that of the value held near it.
mean of both (smaller error): The mean of the two errors is taken, not the larger.
""")


def some_mask(rng: Rng) -> Tensor:
    """A mask (4, 6) of rows that end at different tokens."""
    return torch.tensor(np.arange(6)[None] < rng.permutation([1, 3, 4, 6])[:, None])


# Token rewards --------------------------------------------------------------------------------------------


def scored(rng: Rng, *, empty: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Scores (B,), log-probabilities and those of the reference (B, T), mask, coefficient.

    empty: whether the first row has no tokens.
    """
    mask = some_mask(rng)
    logprobs, reference = (tensor(rng.uniform(-3, -0.1, tuple(mask.shape))) for _ in range(2))
    if empty:
        mask[0] = False
    return tensor(rng.normal(0, 2, len(mask))), logprobs, reference, mask, float(rng.uniform(0.1, 0.4))


def token_rewards(scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, c: float) -> Tensor:
    """-c * (log pi - log reference) on each token of the mask, and the score on the last."""
    return exact.token_rewards(scores, logprobs - reference, mask, c)


def reward_slips(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, c: float
) -> dict[str, Tensor]:
    """What wrong places of the score and wrong charges of the KL give."""
    kl = (logprobs - reference) * mask
    full = mask.cumsum(1) == mask.sum(1, keepdim=True)  # from the last token on, through the padding
    last = mask & full
    at_last, columns = last * scores[:, None], torch.arange(mask.shape[1])
    return {
        "KL sign": at_last + c * kl,
        "coefficient 1": at_last - kl,
        "no KL": at_last,
        "every token": (scores[:, None] - c * kl) * mask,
        "last column": (columns == columns[-1]) * scores[:, None] - c * kl,
        "score repeated": full * scores[:, None] - c * kl,
        "first token": (columns == 0) * scores[:, None] - c * kl,
        "summed": last * (scores - c * kl.sum(1))[:, None],
        "off the mask": at_last - c * (logprobs - reference),
        "squared": at_last - c * kl.square(),
        "absolute": at_last - c * kl.abs(),
        "k3": at_last - c * (torch.expm1(-kl) + kl) * mask,
        "probabilities": at_last - c * (logprobs.exp() - reference.exp()) * mask,
        "per length": at_last / mask.sum(1, keepdim=True) - c * kl,
        "score sign": -at_last - c * kl,
        "shared": (scores[:, None] / mask.sum(1, keepdim=True) - c * kl) * mask,
        "behind the end": at_last.roll(1, 1) * (columns > 0) - c * kl,
        "before the last": at_last.roll(-1, 1) * (columns < columns[-1]) - c * kl,
        "score alone": torch.where(last, at_last, -c * kl),
        "score scaled": c * (at_last - kl),
        "never paid": at_last - c * kl.clamp(min=0),
    }


# Advantages -----------------------------------------------------------------------------------------------


def episodes(rng: Rng) -> tuple[Tensor, Tensor, Tensor, float, float]:
    """Rewards, values and mask (B, T), discount, smoothing; values behind the end of a row are wild."""
    mask = some_mask(rng)
    rewards, values = (tensor(rng.normal(0, 1.5, tuple(mask.shape))) for _ in range(2))
    discount, smoothing = float(rng.uniform(0.8, 0.95)), float(rng.uniform(0.4, 0.7))
    return torch.where(mask, rewards, 0.0), values, mask, discount, smoothing


def advantages(*args: Tensor | float) -> Tensor:
    """The definition: GAE of rewards, values, mask, discount and smoothing."""
    return exact.gae(*args)[0]


def errors(rewards: Tensor, values: Tensor, following: Tensor, discount: float, ahead: int = 1) -> Tensor:
    """Temporal-difference errors (B, T); the next state's value is `following`, `ahead` tokens further."""
    padded = torch.cat([following, torch.zeros(len(values), ahead)], 1)
    return rewards + discount * padded[:, ahead:] - values


def accumulated(deltas: Tensor, factor: float, mask: Tensor, *, forwards: bool = False) -> Tensor:
    """Sums (B, T) of errors, each `factor` times the sum before it; from the last token on, or the first."""
    sums, running = torch.zeros_like(deltas), torch.zeros(len(deltas))
    tokens = range(deltas.shape[1])
    for t in tokens if forwards else reversed(tokens):
        running = (deltas[:, t] + factor * running) * mask[:, t]
        sums[:, t] = running
    return sums


def advantage_slips(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float, smoothing: float
) -> dict[str, Tensor]:
    """What wrong neighbours and wrong factors give."""
    right, known = advantages(rewards, values, mask, discount, smoothing), values * mask
    deltas, factor = errors(rewards, values, known, discount), discount * smoothing
    last, everywhere = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True)), torch.ones_like(mask)
    unmasked = accumulated(errors(rewards, values, values, discount), factor, everywhere) * mask
    return {
        "same token": accumulated(errors(rewards, values, known, discount, 0), factor, mask),
        "two ahead": accumulated(errors(rewards, values, known, discount, 2), factor, mask),
        "no smoothing": deltas * mask,
        "no discount": accumulated(errors(rewards, values, known, 1.0), smoothing, mask),
        "smoothing alone": accumulated(deltas, smoothing, mask),
        "discount alone": accumulated(deltas, discount, mask),
        "bleeds": accumulated(errors(rewards, values, values, discount), factor, mask),
        "forwards": accumulated(deltas, factor, mask, forwards=True),
        "returns": right + known,
        "turned": -right,
        "whitened": exact.whiten(right, mask),
        "standardised": (right - right[mask].mean()) / right[mask].std() * mask,
        "value not discounted": accumulated(errors(rewards, values, known, 1.0), factor, mask),
        "from the padding": unmasked,
        "own value behind": accumulated(deltas + last * discount * values, factor, mask),
        "no values": accumulated(rewards, factor, mask),
        "no next value": accumulated(rewards - known, factor, mask),
    }


def on_the_mask(result: object, *args: Tensor) -> Tensor:
    """The learner's advantages, 0 behind the end of each row."""
    return torch.where(args[2], read_tensor(GAE)(result, *args), 0.0)


def nothing_behind(rewards: Tensor, values: Tensor, mask: Tensor, *_: float) -> Tensor:
    """Advantages off the mask, as they should be."""
    return torch.zeros(int((~mask).sum()))


def behind_the_end(result: object, *args: Tensor) -> Tensor:
    """The learner's advantages off the mask."""
    return read_tensor(PADDED)(result, *args)[~args[2]]


# The losses -----------------------------------------------------------------------------------------------


def clip_slips(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> dict[str, Tensor]:
    """What wrong clips and wrong ratios give."""
    ratio, difference = torch.exp(logprobs - old), logprobs - old
    pushed, held = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    inverse = (1 / ratio).clamp(1 - clip, 1 + clip)
    return {
        "larger product": -torch.maximum(pushed, held),
        "always clipped": -held,
        "no clip": -pushed,
        "no policy": -advantages,
        "sign": torch.minimum(pushed, held),
        "ratio upside down": -torch.minimum(advantages / ratio, inverse * advantages),
        "no ratio": -torch.minimum(
            difference * advantages, difference.clamp(1 - clip, 1 + clip) * advantages
        ),
        "clip at 0": -torch.minimum(pushed, ratio.clamp(-clip, clip) * advantages),
        "one bound": -torch.minimum(pushed, ratio.clamp(max=1 + clip) * advantages),
        "held from above": -ratio.clamp(max=1 + clip) * advantages,
        "log-ratio held": -torch.minimum(pushed, difference.clamp(-clip, clip).exp() * advantages),
        "product held": -torch.minimum(pushed, pushed.clamp(1 - clip, 1 + clip)),
        "reciprocal": -torch.minimum(pushed, ratio.clamp(1 / (1 + clip), 1 + clip) * advantages),
        "clip of 0.2": -torch.minimum(pushed, ratio.clamp(0.8, 1.2) * advantages),
        "logarithms divided": -torch.minimum(
            logprobs / old * advantages, (logprobs / old).clamp(1 - clip, 1 + clip) * advantages
        ),
    }


def gradient_of_clip(clipped_policy_loss: Learner, rng: Rng) -> None:
    """The check of the gradient: 0 beyond the clip, on the advantage's side."""
    logprobs, *constants = ratios(rng)
    check_gradient(clipped_policy_loss, losses.clipped_policy, logprobs, constants)


def gradient_of_value(clipped_value_loss: Learner, rng: Rng) -> None:
    """The check of the gradient of the value model's loss."""
    values, *constants = moved_values(rng)
    check_gradient(clipped_value_loss, losses.clipped_value, values, constants)


def check_gradient(
    learner: Learner, right: Callable[..., Tensor], leaf: Tensor, constants: Sequence[Tensor | float]
) -> None:
    """The learner's loss has the gradient of the right one with respect to its first argument."""
    leaf = leaf.clone().requires_grad_(True)
    loss = as_tensor(learner(leaf * 1.0, *constants), GRADIENT)
    require(loss.requires_grad, GRADIENT, IDEAS["detached"])
    loss.sum().backward()
    exact = -descent(lambda now: right(now, *constants), leaf.detach())
    close = leaf.grad is not None and torch.allclose(leaf.grad, exact, atol=1e-3, rtol=1e-3)
    require(close, GRADIENT, IDEAS["gradient"])


def moved_values(rng: Rng) -> tuple[Tensor, Tensor, Tensor, float]:
    """Values beyond the clip from the old ones, the old ones, returns (3, 4), and the clip."""
    clip, shape = float(rng.uniform(0.2, 0.4)), (3, 4)
    old, returns = (tensor(rng.normal(0, 1, shape)) for _ in range(2))
    moved = rng.uniform(0.6, 1.5, shape) * np.tile([1, -1], 6).reshape(shape)
    return old + tensor(moved), old, returns, clip


def value_slips(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> dict[str, Tensor]:
    """What wrong holds of the value and wrong errors give."""
    near = old + (values - old).clamp(-clip, clip)
    plain, held = (values - returns).square(), (near - returns).square()
    other = torch.maximum(torch.minimum(values, old * (1 + clip)), old * (1 - clip))
    return {
        "smaller error": 0.5 * torch.minimum(plain, held),
        "not held": 0.5 * plain,
        "held alone": 0.5 * held,
        "half": torch.maximum(plain, held),
        "near 0": 0.5 * torch.maximum(plain, (values.clamp(-clip, clip) - returns).square()),
        "not squared": 0.5 * torch.maximum((values - returns).abs(), (near - returns).abs()),
        "mean of both": 0.25 * (plain + held),
        "sum of both": 0.5 * (plain + held),
        "share of the old": 0.5
        * torch.maximum(plain, (_within_a_share(values, old, clip) - returns).square()),
        "other bound first": 0.5 * torch.maximum(plain, (other - returns).square()),
        "old error": 0.5 * torch.maximum(plain, (old - returns).square()),
    }


def _within_a_share(values: Tensor, old: Tensor, clip: float) -> Tensor:
    """Values held between 1 - clip and 1 + clip times the old ones."""
    return torch.minimum(torch.maximum(values, old * (1 - clip)), old * (1 + clip))


# The exercise ---------------------------------------------------------------------------------------------

PENALTY, GAE, PADDED = "charges KL to the reference", "looks one token ahead", "stops at the last token"
CLIPPED, GRADIENT, VALUE = "clips on the right side", "lets the gradient through", "takes the larger error"
FINITE = "stays finite"

grade_rewards = graded(
    "token_rewards",
    IDEAS,
    tensor_agrees(PENALTY, scored, token_rewards, "token rewards", reward_slips, like=1),
    tensor_agrees(FINITE, partial(scored, empty=True), token_rewards, "no tokens", like=1),
    Unchanged(scored),
)
grade_advantages = graded(
    "gae",
    IDEAS,
    tensor_agrees(GAE, episodes, advantages, "advantage", advantage_slips, of=on_the_mask),
    Agrees(PADDED, episodes, nothing_behind, "mask", tolerance=0.0, of=behind_the_end),
    Unchanged(episodes),
)
grade_policy = graded(
    "clipped_policy_loss",
    IDEAS,
    tensor_agrees(CLIPPED, ratios, losses.clipped_policy, "policy", clip_slips),
    gradient_of_clip,
    Unchanged(ratios),
)
grade_value = graded(
    "clipped_value_loss",
    IDEAS,
    tensor_agrees(VALUE, moved_values, losses.clipped_value, "value", value_slips),
    gradient_of_value,
    Unchanged(moved_values),
)
