"""Exercise 6.1: the leave-one-out advantage, its normalised cousin, and the loss with its exact gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.exercise import CheckFailed, Exercise, Misconception, Part, diagnose, require, short
from autograder.exercises.nb03_1 import assert_inputs_unchanged
from autograder.work import Work
from rslib.rl.advantages import group_normalised, leave_one_out
from rslib.world import outcomes

LOO, EQUAL, ALONE = "leaves its own reward out", "gives 0 for equal rewards", "copes with one response"
SCALED, LOSS, MASKED = (
    "divides by the spread",
    "sums tokens, averages rows",
    "reads the mask",
)
GRADIENT, EXACT = "lets the gradient through", "has the exact gradient"
TOLERANCE = 1e-4
EPSILON = 1e-4


def tensor(values: Any) -> Tensor:
    """Float32, what the engine trains in."""
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def as_tensor(found: Any, check: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """The learner's result as a tensor of the asked shape; an array or a list will do."""
    try:
        result = found if isinstance(found, Tensor) else torch.as_tensor(np.asarray(found, dtype=float))
    except (TypeError, ValueError):
        raise CheckFailed(check, "A tensor of numbers is asked for.", got=short(found)) from None
    right = shape is None or tuple(result.shape) == shape
    require(
        right, check, f"The result has the shape {tuple(result.shape)}; {shape} is asked for.", idea="shape"
    )
    return result


def _rewards(rng: np.random.Generator, prompts: int, n: int) -> Tensor:
    """Rewards (M, n) whose prompts differ in level and spread."""
    level, spread = rng.normal(0, 4, (prompts, 1)), rng.uniform(0.5, 3, (prompts, 1))
    return tensor(level + spread * rng.normal(size=(prompts, n)))


def _loo_ideas(rewards: Tensor) -> list[Misconception]:
    mean = rewards.mean(1, keepdim=True)
    return [
        Misconception(
            "own baseline",
            "The baseline contains the reward that it judges. Leave it out.",
            rewards - mean,
        ),
        Misconception(
            "sign",
            "The sign is turned: a reward above the others gives a negative advantage.",
            -leave_one_out(rewards),
        ),
        Misconception(
            "F29",
            "The baseline is taken over all prompts. Each prompt has its own.",
            rewards - rewards.mean(),
        ),
        Misconception(
            "F29",
            "The baseline is that of all other rows of the batch. Each prompt has its own.",
            leave_one_out(rewards.reshape(1, -1)).reshape(rewards.shape),
        ),
        Misconception(
            "axis",
            "The mean runs over the prompts. The other responses of a prompt stand in its row.",
            leave_one_out(rewards.T).T,
        ),
        Misconception("no baseline", "These are the rewards themselves: no baseline was taken off.", rewards),
        Misconception(
            "scaled",
            "These are divided by a spread. Here the plain difference is asked for.",
            group_normalised(rewards),
        ),
        Misconception(
            "n for n - 1",
            "The sum of the others is divided by n. They are n - 1.",
            rewards - (rewards.sum(1, keepdim=True) - rewards) / rewards.shape[1],
        ),
    ]


def grade_leave_one_out(work: Work, rng: np.random.Generator) -> None:
    """Against the definition; equal rewards; one response."""
    function = work.function("leave_one_out")
    for prompts, n in ((3, 4), (5, 2), (2, 8)):
        rewards = _rewards(rng, prompts, n)
        found = as_tensor(function(rewards), LOO, (prompts, n)).detach()
        diagnose(
            LOO,
            found,
            leave_one_out(rewards),
            ideas=_loo_ideas(rewards),
            otherwise="Each reward minus the mean of the other rewards of its prompt is asked for.",
            tolerance=TOLERANCE,
            case=f"rewards {tuple(rewards.shape)} = {short(rewards.numpy())}",
        )
    found = as_tensor(function(torch.full((2, 3), 0.7)), EQUAL, (2, 3)).detach()
    message = "Equal rewards say nothing about any response: their advantages are 0."
    require(bool((found.abs() < 1e-5).all()), EQUAL, message, idea="F42", got=short(found.numpy()))
    one = tensor([[2.0], [-1.0]])
    found = as_tensor(function(one), ALONE, (2, 1)).detach()
    message = (
        "With one response there are no others, and the mean of nothing is NaN. The docstring says "
        "what to give."
    )
    require(bool(torch.isfinite(found).all()), ALONE, message, idea="F32", got=short(found.numpy()))
    diagnose(ALONE, found, one, otherwise="The docstring says what one response gets.", tolerance=TOLERANCE)
    assert_inputs_unchanged(work, "leave_one_out", one)


def _scaled_ideas(rewards: Tensor) -> list[Misconception]:
    centred, ddof0 = rewards - rewards.mean(1, keepdim=True), rewards.std(1, keepdim=True, correction=0)
    return [
        Misconception("not scaled", "The mean is taken off, and nothing is divided by.", centred),
        Misconception(
            "F29",
            "The spread is that of the whole batch. Each prompt has its own.",
            centred / (rewards.std() + EPSILON),
        ),
        Misconception(
            "F29",
            "Mean and spread are those of the whole batch. Each prompt has its own.",
            (rewards - rewards.mean()) / (rewards.std() + EPSILON),
        ),
        Misconception(
            "ddof",
            "The standard deviation divides by n. The docstring asks for n - 1.",
            centred / (ddof0 + EPSILON),
        ),
        Misconception(
            "own baseline",
            "The leave-one-out difference is divided. Here the mean of all n is taken off.",
            leave_one_out(rewards) / (rewards.std(1, keepdim=True) + EPSILON),
        ),
        Misconception(
            "variance",
            "This is divided by the variance, not by its root.",
            centred / (rewards.var(1, keepdim=True) + EPSILON),
        ),
        Misconception("sign", "The sign is turned.", -group_normalised(rewards)),
    ]


def grade_group_normalised(work: Work, rng: np.random.Generator) -> None:
    """GRPO's advantage: against the definition, and finite where all rewards are equal."""
    function = work.function("group_normalised")
    for prompts, n in ((3, 4), (2, 6)):
        rewards = _rewards(rng, prompts, n)
        found = as_tensor(function(rewards), SCALED, (prompts, n)).detach()
        diagnose(
            SCALED,
            found,
            group_normalised(rewards),
            ideas=_scaled_ideas(rewards),
            otherwise="Each reward minus its prompt's mean, over its prompt's deviation plus epsilon.",
            tolerance=1e-3,
            case=f"rewards {tuple(rewards.shape)} = {short(rewards.numpy())}",
        )
    equal = torch.cat([torch.full((1, 4), 0.5), _rewards(rng, 1, 4)])
    found = as_tensor(function(equal), EQUAL, (2, 4)).detach()
    message = (
        "A prompt whose rewards are all equal has the spread 0, and 0 / 0 is NaN: one such prompt ruins "
        "every weight. What is epsilon for?"
    )
    require(bool(torch.isfinite(found).all()), EQUAL, message, idea="no epsilon", got=short(found.numpy()))
    message = "Equal rewards say nothing about any response: their advantages are 0."
    require(bool((found[0].abs() < 1e-3).all()), EQUAL, message, idea="F42", got=short(found.numpy()))


# The loss -------------------------------------------------------------------------------------------------


def _batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities (B, T), advantages (B,), mask (B, T); wild values off the mask, several lengths."""
    rows, tokens = 4, 6
    lengths = rng.permutation([1, 3, 4, 6])
    mask = torch.tensor(np.arange(tokens)[None] < lengths[:, None])
    logprobs = tensor(-rng.uniform(0.1, 3, (rows, tokens)))
    return torch.where(mask, logprobs, -50.0), tensor(rng.normal(0, 2, rows)), mask


def _loss(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return -(advantages * (logprobs * mask).sum(1)).mean()


def _loss_ideas(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> list[Misconception]:
    kept, lengths, right = logprobs * mask, mask.sum(1), _loss(logprobs, advantages, mask)
    weighed = kept * advantages[:, None]
    return [
        Misconception(
            "sign",
            "The sign is turned: an optimiser that makes this smaller makes good responses rarer.",
            -right,
        ),
        Misconception(
            "token-mean",
            "This is the mean over all tokens: a long response counts more per token of "
            "others. Sum over the tokens of a row, then average over rows.",
            -weighed.sum() / mask.sum(),
        ),
        Misconception(
            "sequence-mean",
            "Each row is divided by its length, so a token of a long response counts "
            "less. Sum over the tokens of a row.",
            -(weighed.sum(1) / lengths).mean(),
        ),
        Misconception("sum", "The rows are summed. The mean over rows is asked for.", right * len(mask)),
        Misconception(
            "mask", "Places off the mask are summed as well.", -(advantages * logprobs.sum(1)).mean()
        ),
        Misconception("no advantage", "The advantages play no part.", -kept.sum(1).mean()),
        Misconception(
            "per row",
            "This is one number for each row. An optimiser needs one: the mean.",
            -weighed.sum(1),
        ),
    ]


def grade_loss(work: Work, rng: np.random.Generator) -> None:
    """Its value, its mask, and its gradient in a world whose responses can be listed."""
    function, (logprobs, advantages, mask) = work.function("reinforce_loss"), _batch(rng)
    found = as_tensor(function(logprobs, advantages, mask), LOSS)
    diagnose(
        LOSS,
        found.detach(),
        float(_loss(logprobs, advantages, mask)),
        ideas=[
            Misconception(i.id, i.message, i.value if i.value.dim() else float(i.value))
            for i in _loss_ideas(logprobs, advantages, mask)
        ],
        otherwise="Minus advantage times log-probability: summed over tokens, averaged over rows.",
        tolerance=TOLERANCE,
        case=f"advantages {short(advantages.numpy())}, lengths {mask.sum(1).tolist()}",
    )
    _check_mask(function, logprobs, advantages, mask)
    _check_gradient(function, rng)


def _check_mask(function: Any, logprobs: Tensor, advantages: Tensor, mask: Tensor) -> None:
    wild = torch.where(mask, logprobs, float("-inf"))
    found = as_tensor(function(wild, advantages, mask), MASKED).detach()
    message = "Off the mask stands -inf here, and 0 times -inf is NaN: choose by the mask, do not multiply."
    require(bool(torch.isfinite(found).all()), MASKED, message, idea="mask", got=short(float(found)))
    empty = mask.clone()
    empty[0] = False
    found = as_tensor(function(logprobs, advantages, empty), MASKED).detach()
    message = "A row without tokens makes the loss NaN: something divides by its length."
    require(bool(torch.isfinite(found).all()), MASKED, message, idea="F32", got=short(float(found)))


def _check_gradient(function: Any, rng: np.random.Generator) -> None:
    """All K responses of a small world, weighted by their chance: the gradient is a sum and no estimate."""
    world = outcomes.enumerate_outcomes(letters=2, longest=3)
    start, rewards = rng.normal(0, 1, world.shape), rng.normal(0, 2, len(world))
    logits = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    table = torch.log_softmax(logits, 1)
    logprobs = table[torch.tensor(world.prefixes), torch.tensor(world.tokens)]
    weights = tensor(len(world) * outcomes.law(world, start) * rewards)
    loss = as_tensor(function(logprobs, weights, torch.tensor(world.mask)), GRADIENT)
    message = "The loss carries no gradient: somewhere the log-probabilities were detached, or left torch."
    require(loss.requires_grad, GRADIENT, message, idea="detached")
    loss.backward()
    exact = outcomes.regularised_gradient(world, start, rewards, start, 0.0)
    message = (
        "In a world of fifteen responses, each weighted by its chance, minus the gradient of this loss is "
        "not the gradient of the mean reward."
    )
    found = -logits.grad.numpy() if logits.grad is not None else np.zeros(world.shape)
    close = np.allclose(found, exact, atol=1e-3, rtol=1e-3)
    require(close, EXACT, message, idea="gradient", got=short(found[0]), expected=short(exact[0]))


EXERCISE = Exercise(
    "6.1",
    "What an advantage is, and the loss that follows it",
    2,
    15,
    ("leave_one_out", "group_normalised", "reinforce_loss"),
    (
        Part("leave one out", 1.0, grade_leave_one_out),
        Part("normalised in the group", 1.0, grade_group_normalised),
        Part("the loss", 1.5, grade_loss),
    ),
)
