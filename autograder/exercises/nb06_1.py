"""Exercise 6.1: the leave-one-out advantage, its normalised cousin, and the loss with its exact gradient."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.checks import (
    Agrees,
    Corner,
    Finite,
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
from autograder.exercise import require, short
from rslib.rl.advantages import group_normalised, leave_one_out
from rslib.world import outcomes

EPSILON = 1e-4
EXACT = "has the exact gradient"
IDEAS = Ideas("""
leave one out (): Each reward minus the mean of the other rewards of its prompt is asked for.
own baseline: The baseline contains the reward that it judges. Leave it out.
sign: The sign is turned: a reward above the others gives a negative advantage.
all prompts (F29): The baseline is taken over all prompts. Each prompt has its own.
all rows (F29): The baseline is that of all other rows of the batch. Each prompt has its own.
median: The baseline is the median of the others. Their mean is asked for.
best (own baseline): The baseline is the highest reward of the prompt: no response is ever above it.
axis: The mean runs over the prompts. The other responses of a prompt stand in its row.
no baseline: These are the rewards themselves: no baseline was taken off.
scaled: These are divided by a spread. Here the plain difference is asked for.
n for n - 1: The sum of the others is divided by n. They are n - 1.
own in the sum (own baseline): The sum of all n is divided by n - 1: the response's own reward is still in it.
baseline: This is the baseline, the mean of the others. The advantage is the reward minus it.
one other / next other / other before: The baseline is the reward of one other response. It is the mean of all
    the others.
equal (F42): Equal rewards say nothing about any response: their advantages are 0.
alone (F32): With one response there are no others, and the mean of nothing is NaN. The docstring says what to
    give.
one response (): The docstring says what one response gets.
its own (own baseline): A single response gets 0: its own reward was taken off it. It has no others.

normalised (): Each reward minus its prompt's mean, over its prompt's deviation plus epsilon.
not scaled: The mean is taken off, and nothing is divided by.
not centred: The rewards are divided by the spread, and their mean was not taken off.
batch spread (F29): The spread is that of the whole batch. Each prompt has its own.
batch mean and spread (F29): Mean and spread are those of the whole batch. Each prompt has its own.
ddof: The standard deviation divides by n. The docstring asks for n - 1.
divided (own baseline): The leave-one-out difference is divided. Here the mean of all n is taken off.
variance: This is divided by the variance, not by its root.
turned (sign): The sign is turned.
column spread (axis): The spread runs over the prompts. The responses of a prompt stand in its row.
no epsilon: A prompt whose rewards are all equal has the spread 0, and 0 / 0 is NaN: one such prompt ruins
    every weight. What is epsilon for?
own epsilon / nothing added (no epsilon): The argument `epsilon` plays no part: another number is added, or
    none.
in the root (epsilon): Epsilon is added to the variance, under the root. It is added to the deviation.

loss (): Minus advantage times log-probability: summed over tokens, averaged over rows.
rises (sign): The sign is turned: an optimiser that makes this smaller makes good responses rarer.
token-mean: This is the mean over all tokens of the batch, so how much a response counts depends on how
    long the others are. Sum over the tokens of a row, then average over rows.
sequence-mean: Each row is divided by its length, so a token of a long response counts less. Sum over the
    tokens of a row.
sum: The rows are summed. The mean over rows is asked for.
mask: Places off the mask are summed as well.
mask turned (mask): Here the places off the mask are summed, and those of the mask are left out.
centred: The mean of the advantages is taken off once more. They are used as they come.
no advantage: The advantages play no part.
probability / of whole rows (probability): Here stand probabilities, not log-probabilities: exp was taken.
squared: The advantages are squared, so a bad response is made likelier too.
last token: The advantage meets the last token alone. Every token of the response has its part.
per row: This is one number for each row. An optimiser needs one: the mean.
wild (mask): Off the mask stands -inf here, and 0 times -inf is NaN: choose by the mask, do not multiply.
no tokens (F32): A row without tokens makes the loss NaN: something divides by its length.
detached: The loss carries no gradient: somewhere the log-probabilities were detached, or left torch.
gradient: In a world of fifteen responses, each weighted by its chance, minus the gradient of this loss is not
    the gradient of the mean reward.
""")


# Advantages -----------------------------------------------------------------------------------------------


def rewards(rng: Rng, *, prompts: int, n: int) -> tuple[Tensor]:
    """Rewards (M, n) whose prompts differ in level and spread."""
    level, spread = rng.normal(0, 4, (prompts, 1)), rng.uniform(0.5, 3, (prompts, 1))
    return (tensor(level + spread * rng.normal(size=(prompts, n))),)


def partly_equal(rng: Rng) -> tuple[Tensor]:
    """Rewards (2, 4), all equal for the first prompt alone."""
    return (torch.cat([torch.full((1, 4), 0.5), *rewards(rng, prompts=1, n=4)]),)


def of_first(result: Any, rewards: Tensor) -> Tensor:
    """The learner's advantages of the first prompt."""
    return read_tensor(ZERO)(result, rewards)[0]


def no_advantage(rewards: Tensor) -> Tensor:
    """What equal rewards of one prompt give."""
    return torch.zeros(rewards.shape[1])


def one_out_slips(rewards: Tensor) -> dict[str, Tensor]:
    """What wrong baselines give."""
    others = rewards.sum(1, keepdim=True) - rewards
    return {
        "own baseline": rewards - rewards.mean(1, keepdim=True),
        "sign": -leave_one_out(rewards),
        "all prompts": rewards - rewards.mean(),
        "all rows": leave_one_out(rewards.reshape(1, -1)).reshape(rewards.shape),
        "axis": leave_one_out(rewards.T).T,
        "no baseline": rewards,
        "scaled": group_normalised(rewards),
        "n for n - 1": rewards - others / rewards.shape[1],
        "median": _less_the_median(rewards),
        "best": rewards - rewards.max(1, keepdim=True).values,
        "own in the sum": rewards - rewards.sum(1, keepdim=True) / (rewards.shape[1] - 1),
        "baseline": others / (rewards.shape[1] - 1),
        "one other": rewards - rewards.flip(1),
        "next other": rewards - rewards.roll(-1, 1),
        "other before": rewards - rewards.roll(1, 1),
    }


def _less_the_median(rewards: Tensor) -> Tensor:
    """Each reward minus the median of the others of its row."""
    table = rewards.numpy()
    others = [[np.median(np.delete(row, k)) for k in range(len(row))] for row in table]
    return rewards - tensor(others)


def normalised_slips(rewards: Tensor) -> dict[str, Tensor]:
    """What wrong scales give."""
    centred, spread = rewards - rewards.mean(1, keepdim=True), rewards.std(1, keepdim=True)
    return {
        "not scaled": centred,
        "not centred": rewards / (spread + EPSILON),
        "batch spread": centred / (rewards.std() + EPSILON),
        "batch mean and spread": (rewards - rewards.mean()) / (rewards.std() + EPSILON),
        "ddof": centred / (rewards.std(1, keepdim=True, correction=0) + EPSILON),
        "divided": leave_one_out(rewards) / (spread + EPSILON),
        "variance": centred / (spread**2 + EPSILON),
        "turned": -group_normalised(rewards),
        "column spread": (rewards - rewards.mean(0)) / (rewards.std(0) + EPSILON),
    }


def large_epsilon(rng: Rng) -> tuple[Tensor, float]:
    """Rewards (3, 4), and an epsilon that shows where it is added."""
    return *rewards(rng, prompts=3, n=4), float(rng.uniform(0.3, 0.8))


def epsilon_slips(rewards: Tensor, epsilon: float) -> dict[str, Tensor]:
    """What an epsilon at the wrong place gives."""
    centred, spread = rewards - rewards.mean(1, keepdim=True), rewards.std(1, keepdim=True)
    return {
        "own epsilon": centred / (spread + EPSILON),
        "nothing added": centred / spread,
        "in the root": centred / (spread.square() + epsilon).sqrt(),
    }


def leaves_itself_out(prompts: int, n: int) -> Agrees:
    """The check of the leave-one-out advantage on rewards (M, n)."""
    draw = partial(rewards, prompts=prompts, n=n)
    check = "leaves its own reward out"
    return tensor_agrees(check, draw, leave_one_out, "leave one out", one_out_slips, apart=0.0)


def divides_by_spread(prompts: int, n: int) -> Agrees:
    """The check of GRPO's advantage on rewards (M, n)."""
    check, draw = "divides by the spread", partial(rewards, prompts=prompts, n=n)
    return tensor_agrees(
        check, draw, group_normalised, "normalised", normalised_slips, tolerance=1e-3, apart=0.0
    )


# The loss -------------------------------------------------------------------------------------------------


def batch(rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities (B, T), advantages (B,), mask (B, T); wild values off the mask, several lengths."""
    mask = torch.tensor(np.arange(6)[None] < rng.permutation([1, 3, 4, 6])[:, None])
    return torch.where(mask, tensor(-rng.uniform(0.1, 3, (4, 6))), -50.0), tensor(rng.normal(0, 2, 4)), mask


def with_wild_padding(rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
    """A batch with -inf off the mask."""
    logprobs, advantages, mask = batch(rng)
    return torch.where(mask, logprobs, float("-inf")), advantages, mask


def with_empty_row(rng: Rng) -> tuple[Tensor, Tensor, Tensor]:
    """A batch whose first row has no tokens."""
    logprobs, advantages, mask = batch(rng)
    mask[0] = False
    return logprobs, advantages, mask


def _last(mask: Tensor) -> Tensor:
    """True on the last token of each row."""
    return mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))


def right_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """The definition."""
    return -(advantages * (logprobs * mask).sum(1)).mean()


def loss_slips(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What wrong means, signs and masks give."""
    right = right_loss(logprobs, advantages, mask)
    weighed = logprobs * mask * advantages[:, None]
    return {
        "rises": -right,
        "token-mean": -weighed.sum() / mask.sum(),
        "sequence-mean": -(weighed.sum(1) / mask.sum(1)).mean(),
        "sum": right * len(mask),
        "mask": -(advantages * logprobs.sum(1)).mean(),
        "no advantage": -(logprobs * mask).sum(1).mean(),
        "per row": -weighed.sum(1),
        "probability": -(advantages * (logprobs.exp() * mask).sum(1)).mean(),
        "of whole rows": -(advantages * (logprobs * mask).sum(1).exp()).mean(),
        "squared": -(advantages.square() * (logprobs * mask).sum(1)).mean(),
        "last token": -(advantages * (logprobs * _last(mask)).sum(1)).mean(),
        "mask turned": -(advantages * (logprobs * ~mask).sum(1)).mean(),
        "centred": -((advantages - advantages.mean()) * (logprobs * mask).sum(1)).mean(),
    }


def exact_gradient(reinforce_loss: Learner, rng: Rng) -> None:
    """All K responses of a small world, weighted by their chance: the gradient is a sum and no estimate."""
    world, check = outcomes.enumerate_outcomes(letters=2, longest=3), "lets the gradient through"
    start, worth = rng.normal(0, 1, world.shape), rng.normal(0, 2, len(world))
    logits = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    logprobs = torch.log_softmax(logits, 1)[torch.tensor(world.prefixes), torch.tensor(world.tokens)]
    weights = tensor(len(world) * outcomes.outcome_probs(world, start) * worth)
    loss = as_tensor(reinforce_loss(logprobs, weights, torch.tensor(world.mask)), check)
    require(loss.requires_grad, check, IDEAS["detached"])
    require(loss.numel() == 1, check, IDEAS["per row"], got=f"the shape {tuple(loss.shape)}")
    loss.sum().backward()
    reached = logits.grad is not None and bool(logits.grad.any())
    require(reached, check, IDEAS["detached"])
    exact = outcomes.regularised_gradient(world, start, worth, start, 0.0)
    got = -logits.grad.numpy() if logits.grad is not None else np.zeros(world.shape)
    close, shown = np.allclose(got, exact, atol=1e-3, rtol=1e-3), short(exact[0])
    require(close, EXACT, IDEAS["gradient"], got=short(got[0]), expected=shown)


# The exercise ---------------------------------------------------------------------------------------------

EQUAL, ONE = torch.full((2, 3), 0.7), tensor([[2.0], [-1.0]])
ZERO, ALONE = "gives 0 for equal rewards", "copes with one response"
ADDED = "adds epsilon to the spread"
LOSS, MASKED = "sums tokens, averages rows", "reads the mask"
grade_one_out = graded(
    "leave_one_out",
    IDEAS,
    leaves_itself_out(3, 4),
    leaves_itself_out(5, 2),
    leaves_itself_out(2, 8),
    Corner(ZERO, (EQUAL,), 0 * EQUAL, "equal", of=read_tensor(ZERO)),
    Finite(ALONE, (ONE,), "alone", of=read_tensor(ALONE)),
    tensor_agrees(
        ALONE, lambda rng: (ONE,), leave_one_out, "one response", lambda alone: {"its own": 0 * alone}
    ),
    Unchanged(partial(rewards, prompts=3, n=4)),
)
grade_normalised = graded(
    "group_normalised",
    IDEAS,
    divides_by_spread(3, 4),
    divides_by_spread(2, 6),
    Finite(ZERO, partly_equal, "no epsilon", of=read_tensor(ZERO)),
    tensor_agrees(ZERO, partly_equal, no_advantage, "equal", tolerance=1e-3, of=of_first),
    tensor_agrees(ADDED, large_epsilon, group_normalised, "normalised", epsilon_slips),
    Unchanged(partial(rewards, prompts=3, n=4)),
)
grade_loss = graded(
    "reinforce_loss",
    IDEAS,
    tensor_agrees(LOSS, batch, right_loss, "loss", loss_slips, like=None),
    Finite(MASKED, with_wild_padding, "wild", of=read_tensor(MASKED, None)),
    Finite(MASKED, with_empty_row, "no tokens", of=read_tensor(MASKED, None)),
    exact_gradient,
    Unchanged(batch),
)
