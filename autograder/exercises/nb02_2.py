"""Exercise 2.2: the Bradley-Terry loss and pair accuracy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.checks import Agrees, Check, Corner, Ideas, Learner, Refuses, Rng, graded, tensor
from autograder.exercise import Exercise, Misconception, Part, diagnose, require

if TYPE_CHECKING:
    from torch import Tensor

IDEAS = Ideas("""
loss (): Not the mean loss of the pairs. For one pair it is minus the logarithm of the probability that these
    rewards give to what people chose. Work one pair out by hand.
swapped (F03): The sign is swapped: this loss falls when the rejected response gets the higher reward.
one for each (one-per-pair): This is one loss for each pair. An optimiser needs one number: the mean.
a list (one-per-pair): The number is right and stands in a list of one. A loss is a number, of shape ().
sum: This is the sum over the pairs. It grows with the batch; the mean does not.
minus-forgotten: This is log sigmoid without the minus: a loss that training would push towards the wrong
    order.
no-sigmoid: This is the mean difference of the rewards. Nothing stops it: training would push rewards apart
    for ever. The probability that people prefer the chosen response is the sigmoid of the difference.
absolute (absolute-difference): An absolute difference forgets which of the two responses was preferred.
absolute inside (absolute-difference): The absolute difference goes into the sigmoid, so both orders of a
    pair cost the same.
no-log: This is one minus the mean probability: the logarithm is missing.
no log, negative (no-log): This is minus the mean probability: the logarithm is missing.
mean inside (mean-too-early): The mean is taken inside the logarithm. The loss of a batch is the mean of the
    pairs' losses.
means compared (mean-too-early): The two means are compared. Pairs are compared within one prompt, and only
    then averaged.
broadcast: Every chosen response is compared with every rejected one, across prompts. Pair k is chosen[k] with
    rejected[k].
pointwise: The rejected response has no part in this value. Bradley-Terry knows differences only.
each alone (pointwise): Each reward goes into a sigmoid of its own. The probability is the sigmoid of their
    difference.
hinge: This is a hinge, which is 0 beyond a margin. The logarithm of a probability never is.
margin: One is taken off the difference first: a margin. The formula has none.
log2: This is in bits. The natural logarithm gives nats.
tied (): Where both rewards are equal the model gives the pair's outcome one half.
shapes (broadcast): Shapes (3,) and (3, 1) broadcast to (3, 3): every chosen response would be compared with
    every rejected one, across prompts. The docstring asks for a ValueError.
empty batch (F32): The mean of no pairs is NaN, and one NaN in a training loop ruins every weight. The
    docstring asks for a ValueError.

detached: The result is cut off from the rewards, so nothing could be trained on it. Stay with torch, and
    without detach(), item() or numpy().
no gradient (detached): No gradient reaches the {side} rewards: on their way something was detached, or made
    anew.
range (): Somewhere on the way a number left the range of its type, or was clipped.
underflow: sigmoid(-300) is 0 in float32, sigmoid(-3000) in float64 as well, and the logarithm of 0 is minus
    infinity. PyTorch has one function for both steps, and another that is the loss itself.
clipped: No infinity, but the value is wrong: a small number inside of the logarithm caps the loss.
slope (): The gradient for the {side} rewards is not what the slope of the loss says.
clamped (clipped): The difference is held within limits before the logarithm. Beyond them the loss of a pair
    no longer grows, and its gradient is gone.
flat (clipped): The gradient is gone where it is needed most: something was clipped.
branch (underflow): The value is right and its gradient is NaN: torch.where and similar compute both branches,
    and the one that is not used overflows. Zero times infinity is NaN.

accuracy (): Not the share of pairs whose chosen response has the higher reward.
near-tie: Only equal rewards are a tie. Rewards that differ have an order, however near they are.
wrong order (F03): This is the share of pairs in the wrong order.
tie-lost: A tie counts as a loss here. Equal rewards are a coin toss: one half.
tie-won: A tie counts as a win here: a constant reward would score 1.
tie-dropped: Ties are left out of the count here; each counts one half.
zero-point: Rewards above zero are counted. A reward has no zero; compare the two.
two means (mean-too-early): The two means are compared, not the pairs.
count: This is a number of pairs. The share is asked for.
per cent (count): This is in per cent. The share is asked for, between 0 and 1.
chances (no-order): This is the mean probability that the rewards give. The share of pairs in the right order
    counts each pair whole.
every pair (broadcast): Every chosen response is compared with every rejected one. Pair k is chosen[k] with
    rejected[k].
NaN (F32): NaN compares false with everything. A damaged reward would count as a lost pair, or drop out of the
    count, and nobody would know. The docstring asks for a ValueError.
no pairs (F32): An accuracy over no pairs is not a number. The docstring asks for a ValueError.
""")


SINGLE = 1e-5
"""Single precision is enough; the ideas of a share lie 0.01 apart."""
NEAR = 1e-6
"""So near lie rewards that are no tie; single precision tells them apart, the usual tolerances do not."""


# The loss -------------------------------------------------------------------------------------------------


def rewards(rng: Rng) -> tuple[Tensor, Tensor]:
    """Rewards of 4 to 8 pairs, float32: chosen and rejected."""
    chosen, rejected = tensor(rng.normal(0, 2, (2, int(rng.integers(4, 9)))))
    return chosen, rejected


def loss(chosen: Tensor, rejected: Tensor) -> float:
    """The mean loss of the pairs, in float64."""
    return float(np.logaddexp(0.0, (rejected - chosen).double().numpy()).mean())


def loss_slips(chosen: Tensor, rejected: Tensor) -> dict[str, Any]:
    """What wrong readings of the loss give."""
    difference = (chosen - rejected).double().numpy()
    losses, chance = np.logaddexp(0.0, -difference), 1 / (1 + np.exp(-difference))
    return {
        "swapped": np.logaddexp(0.0, difference).mean(),
        "one for each": losses,
        "a list": losses.mean(keepdims=True),
        "sum": losses.sum(),
        "minus-forgotten": -losses.mean(),
        "no-sigmoid": -difference.mean(),
        "absolute": np.abs(difference).mean(),
        "absolute inside": np.logaddexp(0.0, -np.abs(difference)).mean(),
        "no-log": 1 - chance.mean(),
        "no log, negative": -chance.mean(),
        "mean inside": -np.log(chance.mean()),
        "means compared": np.logaddexp(0.0, -difference.mean()),
        "broadcast": np.logaddexp(0.0, (rejected[None] - chosen[:, None]).double().numpy()).mean(),
        "pointwise": np.logaddexp(0.0, -chosen.double().numpy()).mean(),
        "each alone": np.logaddexp(0.0, [-chosen.double().numpy(), rejected.double().numpy()]).sum()
        / len(losses),
        "hinge": np.maximum(0.0, 1 - difference).mean(),
        "margin": np.logaddexp(0.0, 1 - difference).mean(),
        "log2": losses.mean() / np.log(2),
    }


def far_apart(where: str, least: float) -> Check:
    """The check of value and gradient on five pairs whose rewards differ by `least` or more."""

    def check(learner: Learner, rng: Rng) -> None:
        import torch

        sizes = least + rng.uniform(0, 100, 5) if least else np.abs(rng.normal(0, 2, 5))
        signs, base = rng.permutation([1.0, -1.0, -1.0, 1.0, -1.0]), float(rng.normal())
        chosen = (tensor(signs * sizes) + base).requires_grad_()
        rejected = torch.full_like(chosen, base).requires_grad_()
        got = learner(chosen * 1.0, rejected * 1.0)  # not leaves, so that the graph leads back here
        case = f"differences {np.round((signs * sizes), 2).tolist()}"
        flows = isinstance(got, torch.Tensor) and got.requires_grad
        require(flows, "lets the gradient through", IDEAS["detached"], case=case)
        pair = chosen.detach(), rejected.detach()
        diagnose(
            f"is right where rewards are {where}",
            got,
            loss(*pair),
            ideas=_capped(*pair) if least else IDEAS.of(loss_slips(*pair)),
            otherwise=IDEAS["range" if least else "loss"],
            tolerance=1e-3,
            case=case,
        )
        got.backward()
        _check_slopes(where, chosen, rejected, case)

    return check


def _check_slopes(where: str, chosen: Tensor, rejected: Tensor, case: str) -> None:
    """The gradient that arrived at the rewards; the loss falls by the chance of the other outcome."""
    difference = (chosen - rejected).detach().double().numpy()
    right = -1 / (1 + np.exp(np.clip(difference, -700, 700))) / len(difference)
    for side, leaf, slope in (("chosen", chosen, right), ("rejected", rejected, -right)):
        lost = IDEAS.filled("no gradient", side=side)
        require(leaf.grad is not None, "lets the gradient through", lost, case=case)
        diagnose(
            f"has the right slope where rewards are {where}",
            leaf.grad,
            slope,
            ideas=IDEAS.of({"flat": 0 * right, "branch": np.full(len(right), np.nan)}),
            otherwise=IDEAS.filled("slope", side=side),
            tolerance=1e-4,
            case=case,
        )


LIMITS = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 88.0, 100.0)


def _capped(chosen: Tensor, rejected: Tensor) -> list[Misconception]:
    """What an underflow gives, a small number inside of the logarithm, and a clamped difference."""
    difference = (chosen - rejected).numpy()
    clamped = [np.logaddexp(0.0, np.clip(-difference, -limit, limit)).mean() for limit in LIMITS]
    with np.errstate(divide="ignore", over="ignore"):
        chance = (1 / (1 + np.exp(-difference))).astype(np.float32)
    small = (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    caps = [-np.log(limit(chance, eps)).mean() for limit in (np.add, np.maximum) for eps in small]
    values = [("underflow", np.inf), ("underflow", np.nan), *(("clipped", float(cap)) for cap in caps)]
    values += [("clamped", float(value)) for value in clamped]
    return [idea for name, value in values for idea in IDEAS.of({name: value})]


# Pair accuracy --------------------------------------------------------------------------------------------


def whole_rewards(rng: Rng, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of 7 to 12 pairs, none 0; ties are odd in number: a coin for each never counts one half.

    Without ties, some rewards differ so little that a tolerance would take them for tied.
    """
    while True:
        chosen, rejected = rng.choice([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], (2, int(rng.integers(7, 13))))
        if (chosen == rejected).sum() % 2:
            return chosen + (0.0 if ties else NEAR), rejected


def accuracy(chosen: np.ndarray, rejected: np.ndarray) -> float:
    """The share of pairs in the right order; a tie counts one half."""
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))


def accuracy_slips(chosen: np.ndarray, rejected: np.ndarray) -> dict[str, float]:
    """What wrong readings of pair accuracy give; those of ties where there are some."""
    wins, ties, right = chosen > rejected, chosen == rejected, accuracy(chosen, rejected)
    if ties.any():
        decided = max(1, int((~ties).sum()))
        of_ties = {
            "tie-lost": wins.mean(),
            "tie-won": (wins | ties).mean(),
            "tie-dropped": wins.sum() / decided,
        }
    else:
        of_ties = {"near-tie": accuracy(chosen.round(), rejected.round())}
    return of_ties | {
        "wrong order": 1 - right,
        "zero-point": (chosen > 0).mean(),
        "two means": float(chosen.mean() > rejected.mean()),
        "count": right * len(wins),
        "per cent": right * 100,
        "chances": (1 / (1 + np.exp(rejected - chosen))).mean(),
        "every pair": accuracy(chosen[:, None], rejected[None]),
    }


def damaged(rng: Rng, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Rewards with a NaN on one side."""
    pair = whole_rewards(rng, ties=True)
    pair[side][int(rng.integers(len(pair[side])))] = np.nan
    return pair


def share_of(check: str, *, ties: bool) -> Agrees:
    """The check of the share on rewards with or without ties."""
    draw = partial(whole_rewards, ties=ties)
    return Agrees(check, draw, accuracy, "accuracy", accuracy_slips, tolerance=SINGLE, apart=0.01)


def tied(rng: Rng) -> tuple[Tensor, Tensor]:
    """Pairs of equal rewards."""
    return tensor([0.7] * 4), tensor([0.7] * 4)


def of_two_shapes(rng: Rng) -> tuple[Tensor, Tensor]:
    """Rewards (3,) and (3, 1)."""
    return tensor([0.0] * 3), tensor([[0.0]] * 3)


def no_pairs(rng: Rng) -> tuple[Tensor, Tensor]:
    """Rewards (0,)."""
    return tensor([]), tensor([])


NONE = np.zeros(0)
EXERCISE = Exercise(
    "2.2",
    "A loss and an accuracy",
    2,
    12,
    ("bt_loss", "pair_accuracy"),
    (
        Part(
            "the loss of a batch",
            1.0,
            graded(
                "bt_loss",
                IDEAS,
                Agrees("is the mean loss", rewards, loss, "loss", loss_slips, 3, tolerance=1e-4, apart=0.02),
                Corner("a tie costs log 2", tied, np.log(2), "tied", tolerance=1e-4),
                Refuses("refuses shapes that differ", of_two_shapes, "shapes"),
                Refuses("refuses an empty batch", no_pairs, "empty batch"),
            ),
        ),
        Part(
            "rewards far apart, and the gradient",
            1.0,
            graded(
                "bt_loss",
                IDEAS,
                far_apart("near each other", 0.0),
                far_apart("far apart", 300.0),
                far_apart("very far apart", 3000.0),  # in float64 the sigmoid is 0 too below -745
            ),
        ),
        Part(
            "pair accuracy",
            1.0,
            graded(
                "pair_accuracy",
                IDEAS,
                share_of("is the share in the right order", ties=False),
                share_of("counts a tie as one half", ties=True),
                Refuses("refuses NaN", partial(damaged, side=0), "NaN"),
                Refuses("refuses NaN", partial(damaged, side=1), "NaN"),
                Refuses("refuses no pairs", (NONE, NONE), "no pairs"),
            ),
        ),
    ),
    needs_torch=True,
)
