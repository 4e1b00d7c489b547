"""Exercise 6.3: every method as one number per token, checked against the gradient of its loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autograder.checks import as_tensor, tensor
from autograder.exercise import Exercise, Misconception, Part, diagnose, require
from autograder.exercises.nb06_1 import TOLERANCE
from autograder.exercises.nb06_2 import _ratios, _uniform
from autograder.work import Work
from rslib.rl import losses, unified

ONES, KEPT, RATIO, PULL, PAIR = (
    "gives every token 1",
    "gives 1 to kept responses alone",
    "is 0 beyond the clip",
    "pulls towards the reference",
    "weighs a pair by its doubt",
)
GRADIENT = "is the gradient of the loss"


def pulled(loss: Callable[[Tensor], Tensor], logprobs: Tensor) -> Tensor:
    """Minus the gradient of a loss with respect to the log-probabilities: the coefficient behind it."""
    leaf = logprobs.clone().requires_grad_(True)
    loss(leaf).sum().backward()
    return -leaf.grad


def grade_tuning(work: Work, rng: np.random.Generator) -> None:
    """SFT: 1 for every token. Rejection sampling: 1 for the tokens of kept responses."""
    logprobs = _uniform(rng, -3, -0.1, (4, 5))
    found = as_tensor(work.function("sft")(logprobs), ONES, (4, 5)).detach()
    ideas = [
        Misconception(
            "logprob",
            "The coefficient is not the log-probability: it is what its gradient is multiplied by.",
            logprobs,
        ),
        Misconception(
            "probability",
            "Likely tokens are weighed more. The next-token loss weighs all alike.",
            logprobs.exp(),
        ),
        Misconception("sign", "The sign is turned: training would unlearn the data.", -torch.ones(4, 5)),
    ]
    diagnose(ONES, found, torch.ones(4, 5), ideas=ideas, otherwise="The loss is -log pi of each token.")
    kept = torch.tensor(rng.permutation([True, False, True, False]))
    found = as_tensor(work.function("rejection_sampling")(logprobs, kept), KEPT, (4, 5)).detach()
    right = unified.rejection_sampling(logprobs, kept)
    ideas = [
        Misconception("F02", "Every response gets 1: that is training on everything.", torch.ones(4, 5)),
        Misconception(
            "negatives",
            "What was not kept is pushed down. Rejection sampling leaves it alone.",
            2 * right - 1,
        ),
        Misconception("F03", "The kept and the rejected have changed places.", 1 - right),
        Misconception(
            "divided",
            "The kept are weighed up by how few they are. The loss averages by itself.",
            right * 2,
        ),
    ]
    diagnose(
        KEPT, found, right, ideas=ideas, otherwise="1 for the tokens of kept responses, 0 for the others."
    )


def grade_ppo(work: Work, rng: np.random.Generator) -> None:
    """Ratio times advantage, and 0 beyond the clip on the advantage's side."""
    logprobs, old, advantages, clip = _ratios(rng)
    ratio = torch.exp(logprobs - old)
    out = (ratio > 1 + clip) | (ratio < 1 - clip)
    right = pulled(lambda now: losses.clipped_policy(now, old, advantages, clip), logprobs)
    held = ratio.clamp(1 - clip, 1 + clip)
    wrong_side = torch.where(advantages > 0, ratio < 1 - clip, ratio > 1 + clip)
    ideas = [
        Misconception("no clip", "Tokens beyond the clip are still pushed on.", ratio * advantages),
        Misconception(
            "clip on the wrong side",
            "Every token outside the clip gets 0, also one that went the wrong way and has to come back.",
            torch.where(out, 0.0, ratio * advantages),
        ),
        Misconception(
            "clip on the wrong side",
            "Tokens that went the wrong way get 0, and those that went too far are pushed on.",
            torch.where(wrong_side, 0.0, ratio * advantages),
        ),
        Misconception(
            "held",
            "Beyond the clip the held ratio is still pushed: a clamped number has the gradient 0.",
            held * advantages,
        ),
        Misconception("no ratio", "The ratio is missing.", torch.where(right == 0, 0.0, advantages)),
        Misconception("sign", "The sign is turned.", -right),
    ]
    found = as_tensor(work.function("ppo")(logprobs, old, advantages, clip), RATIO, tuple(old.shape)).detach()
    diagnose(
        RATIO,
        found,
        right,
        ideas=ideas,
        otherwise="Take the gradient of the clipped loss by hand.",
        tolerance=TOLERANCE,
    )


def grade_grpo(work: Work, rng: np.random.Generator) -> None:
    """PPO's coefficient plus the pull of the KL in the loss."""
    logprobs, old, advantages, clip = _ratios(rng)
    reference = logprobs + tensor(rng.normal(0, 0.5, tuple(old.shape)))
    c = float(rng.uniform(0.1, 0.5))
    right = pulled(lambda now: losses.grpo(now, old, reference, advantages, clip, c), logprobs)
    part, gap = unified.ppo(logprobs, old, advantages, clip), reference - logprobs
    ideas = [
        Misconception("KL", "The pull to the reference is missing.", part),
        Misconception(
            "KL sign",
            "The pull has the wrong sign: it drives the policy away from the reference.",
            part - c * torch.expm1(gap),
        ),
        Misconception(
            "KL",
            "The pull is the plain difference of log-probabilities: that is the gradient "
            "of another estimate (k2).",
            part + c * gap,
        ),
        Misconception(
            "KL",
            "The value of the KL estimate is added. Its gradient is asked for.",
            part - c * (torch.expm1(gap) - gap),
        ),
        Misconception(
            "KL",
            "The ratio reference over policy is used; 1 has to be taken off.",
            part + c * torch.exp(gap),
        ),
        Misconception("KL", "The coefficient of the KL is left out.", part + torch.expm1(gap)),
        Misconception(
            "no clip",
            "The pull is right; PPO's own part is not clipped.",
            torch.exp(logprobs - old) * advantages + c * torch.expm1(gap),
        ),
        Misconception("sign", "The sign is turned.", -right),
    ]
    found = as_tensor(
        work.function("grpo")(logprobs, old, reference, advantages, clip, c), PULL, tuple(old.shape)
    )
    diagnose(
        PULL,
        found.detach(),
        right,
        ideas=ideas,
        otherwise="PPO's coefficient plus coefficient * (reference / policy - 1).",
        tolerance=TOLERANCE,
    )


def grade_dpo(work: Work, rng: np.random.Generator) -> None:
    """The sigmoid of minus beta times margin, times beta, on whole responses."""
    chosen, rejected, ref_chosen, ref_rejected = (tensor(rng.normal(-20, 4, 5)) for _ in range(4))
    beta = float(rng.uniform(0.1, 0.4))
    right = pulled(lambda now: losses.dpo(now, rejected, ref_chosen, ref_rejected, beta), chosen)
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    bare = chosen - rejected
    ideas = [
        Misconception(
            "certain",
            "Pairs that are already told apart are pushed the most: the sign inside the sigmoid is turned.",
            beta * torch.sigmoid(beta * margin),
        ),
        Misconception(
            "no beta",
            "beta stands in front and is missing inside the sigmoid.",
            beta * torch.sigmoid(-margin),
        ),
        Misconception(
            "no beta",
            "beta stands inside the sigmoid and is missing in front.",
            torch.sigmoid(-beta * margin),
        ),
        Misconception("no beta", "beta plays no part.", torch.sigmoid(-margin)),
        Misconception(
            "no reference",
            "The reference plays no part: the margin is how much more the policy prefers "
            "the chosen response than the reference does.",
            beta * torch.sigmoid(-beta * bare),
        ),
        Misconception("sign", "The sign is turned.", -right),
        Misconception(
            "loss",
            "This is the loss. Its gradient is asked for.",
            -torch.nn.functional.logsigmoid(beta * margin),
        ),
        Misconception(
            "constant", "Every pair gets beta, however sure the policy is.", torch.full((5,), beta)
        ),
    ]
    found = as_tensor(
        work.function("dpo")(chosen, rejected, ref_chosen, ref_rejected, beta), PAIR, (5,)
    ).detach()
    diagnose(
        PAIR,
        found,
        right,
        ideas=ideas,
        otherwise="Take the gradient of -log sigmoid(beta * margin) by hand.",
        tolerance=TOLERANCE,
    )
    sure = tensor([1000.0, -1000.0])
    found = as_tensor(work.function("dpo")(sure, -sure, 0 * sure, 0 * sure, 1.0), PAIR, (2,)).detach()
    message = (
        "A margin of 2,000 nats overflows: exp of a large number is infinite. There is a function for it."
    )
    require(bool(torch.isfinite(found).all()), PAIR, message, idea="overflow", got=str(found.tolist()))


EXERCISE = Exercise(
    "6.3",
    "One number per token",
    3,
    15,
    ("sft", "rejection_sampling", "ppo", "grpo", "dpo"),
    (
        Part("fine-tuning and rejection sampling", 0.5, grade_tuning),
        Part("PPO", 1.0, grade_ppo),
        Part("GRPO", 1.0, grade_grpo),
        Part("DPO", 1.0, grade_dpo),
    ),
)
