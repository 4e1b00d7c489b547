"""Exercise 2.2: the Bradley-Terry loss and pair accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from autograder.exercise import CheckFailed, Exercise, Misconception, Part, diagnose, require
from autograder.work import Work

FAR = {"near each other": 0.0, "far apart": 300.0, "very far apart": 3000.0}
"""Least difference of two rewards; in float64 the sigmoid reaches 0 too, at about -745."""
NO_MEAN = (
    "Not the mean loss of the pairs. For one pair it is minus the logarithm of the probability that these "
    "rewards give to what people chose. Work one pair out by hand."
)


def refuses(function: Callable[..., Any], *args: Any) -> bool:
    """Whether the learner's function raises ValueError for these arguments. Another failure is raised."""
    try:
        function(*args)
    except CheckFailed as wrong:
        if isinstance(wrong.__cause__, ValueError):
            return True
        raise
    return False


def grade_loss(work: Work, rng: np.random.Generator) -> None:
    """The loss of a batch: its value, a tie, and what is no batch of pairs."""
    loss = work.function("bt_loss")
    for _ in range(3):
        chosen, rejected = _rewards(rng)
        diagnose(
            "is the mean loss",
            loss(chosen, rejected),
            float(_losses(chosen, rejected).mean()),
            ideas=_loss_ideas(chosen, rejected),
            otherwise=NO_MEAN,
            tolerance=1e-4,
            case={"chosen": chosen.numpy().round(3), "rejected": rejected.numpy().round(3)},
        )
    tied = torch.full((4,), float(rng.normal()))
    diagnose(
        "a tie costs log 2",
        loss(tied, tied.clone()),
        float(np.log(2)),
        otherwise="Where both rewards are equal the model gives the pair's outcome one half.",
        tolerance=1e-4,
        case="four pairs of equal rewards",
    )
    _refuses_what_is_no_batch(loss)


def _refuses_what_is_no_batch(loss: Callable[..., Any]) -> None:
    row = torch.zeros(3)
    require(
        refuses(loss, row, row.unsqueeze(1)),
        "refuses shapes that differ",
        "Shapes (3,) and (3, 1) broadcast to (3, 3): every chosen response would be compared with every "
        "rejected one, across prompts. The docstring asks for a ValueError.",
        idea="broadcast",
        case="bt_loss(shape (3,), shape (3, 1))",
    )
    require(
        refuses(loss, row[:0], row[:0]),
        "refuses an empty batch",
        "The mean of no pairs is NaN, and one NaN in a training loop ruins every weight. "
        "The docstring asks for a ValueError.",
        idea="F32",
        case="bt_loss(no pairs)",
    )


def _rewards(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards of 4 to 8 pairs, float32; right and wrong readings of the task differ on them."""
    while True:
        chosen, rejected = torch.tensor(rng.normal(0, 2, (2, int(rng.integers(4, 9)))), dtype=torch.float32)
        right = float(_losses(chosen, rejected).mean())
        named = {i.id: float(i.value) for i in _loss_ideas(chosen, rejected) if np.ndim(i.value) == 0}
        if min(abs(a - b) for a, b in itertools.combinations([right, *named.values()], 2)) > 0.02:
            return chosen, rejected


def _losses(chosen: torch.Tensor, rejected: torch.Tensor) -> np.ndarray:
    return np.logaddexp(0.0, (rejected - chosen).double().numpy())


def _loss_ideas(chosen: torch.Tensor, rejected: torch.Tensor) -> list[Misconception]:
    """What the known wrong readings of the loss give on these rewards."""
    difference = (chosen - rejected).double().numpy()
    sigmoid = 1 / (1 + np.exp(-difference))
    right = np.logaddexp(0.0, -difference)
    crossed = (chosen[:, None] - rejected[None, :]).double().numpy()
    return [
        Misconception(
            "F03",
            "The sign is swapped: this loss falls when the rejected response gets the higher reward.",
            float(np.logaddexp(0.0, difference).mean()),
        ),
        Misconception(
            "one-per-pair", "This is one loss for each pair. An optimiser needs one number: the mean.", right
        ),
        Misconception(
            "one-per-pair",
            "The number is right and stands in a list of one. A loss is a number, of shape ().",
            right.mean(keepdims=True),
        ),
        Misconception(
            "sum",
            "This is the sum over the pairs. It grows with the batch; the mean does not.",
            float(right.sum()),
        ),
        Misconception(
            "minus-forgotten",
            "This is log sigmoid without the minus: a loss that training would push towards the wrong order.",
            float(-right.mean()),
        ),
        Misconception(
            "no-sigmoid",
            "This is the mean difference of the rewards. Nothing stops it: training would push rewards "
            "apart for ever. The probability that people prefer the chosen response is the sigmoid of the "
            "difference.",
            float(-difference.mean()),
        ),
        Misconception(
            "absolute-difference",
            "An absolute difference forgets which of the two responses was preferred.",
            float(np.abs(difference).mean()),
        ),
        Misconception(
            "absolute-difference",
            "The absolute difference goes into the sigmoid, so both orders of a pair cost the same.",
            float(np.logaddexp(0.0, -np.abs(difference)).mean()),
        ),
        Misconception(
            "no-log",
            "This is one minus the mean probability: the logarithm is missing.",
            float(1 - sigmoid.mean()),
        ),
        Misconception(
            "no-log", "This is minus the mean probability: the logarithm is missing.", float(-sigmoid.mean())
        ),
        Misconception(
            "mean-too-early",
            "The mean is taken inside the logarithm. The loss of a batch is the mean of the pairs' losses.",
            float(-np.log(sigmoid.mean())),
        ),
        Misconception(
            "mean-too-early",
            "The two means are compared. Pairs are compared within one prompt, and only then averaged.",
            float(np.logaddexp(0.0, -difference.mean())),
        ),
        Misconception(
            "broadcast",
            "Every chosen response is compared with every rejected one, across prompts. Pair k is chosen[k] "
            "with rejected[k].",
            float(np.logaddexp(0.0, -crossed).mean()),
        ),
        Misconception(
            "pointwise",
            "The rejected response has no part in this value. Bradley-Terry knows differences only.",
            float(np.logaddexp(0.0, -chosen.double().numpy()).mean()),
        ),
        Misconception(
            "log2", "This is in bits. The natural logarithm gives nats.", float(right.mean() / np.log(2))
        ),
    ]


def grade_far_apart(work: Work, rng: np.random.Generator) -> None:
    """Rewards far apart, and the gradient that autograd finds."""
    loss = work.function("bt_loss")
    signs = np.array([1.0, -1.0, -1.0, 1.0, -1.0])
    for name, least in FAR.items():
        sizes = least + rng.uniform(0, 100, 5) if least else np.abs(rng.normal(0, 2, 5))
        difference = torch.tensor(rng.permutation(signs) * sizes, dtype=torch.float32)
        _check_value_and_gradient(loss, name, difference, float(rng.normal()))


def _check_value_and_gradient(
    loss: Callable[..., Any], name: str, difference: torch.Tensor, base: float
) -> None:
    chosen = (difference + base).requires_grad_()
    rejected = torch.full_like(difference, base).requires_grad_()
    got = loss(chosen * 1.0, rejected * 1.0)  # not leaves, so that the graph leads back here
    case = f"differences {np.round(difference.numpy(), 2).tolist()}"
    require(
        isinstance(got, torch.Tensor) and got.requires_grad,
        "lets the gradient through",
        "The result is cut off from the rewards, so nothing could be trained on it. Stay with torch, and "
        "without detach(), item() or numpy().",
        idea="detached",
        case=case,
    )
    exact, far = difference.double().numpy(), FAR[name] > 0
    diagnose(
        f"is right where rewards are {name}",
        got,
        float(np.logaddexp(0.0, -exact).mean()),
        ideas=_far_ideas(exact) if far else _loss_ideas(chosen.detach(), rejected.detach()),
        otherwise="Somewhere on the way a number left the range of its type, or was clipped."
        if far
        else NO_MEAN,
        tolerance=1e-3,
        case=case,
    )
    got.backward()
    right = -1 / (1 + np.exp(np.clip(exact, -700, 700))) / len(exact)
    for found, expected, side in ((chosen, right, "chosen"), (rejected, -right, "rejected")):
        require(
            found.grad is not None,
            "lets the gradient through",
            f"No gradient reaches the {side} rewards: on their way something was detached, or made anew.",
            idea="detached",
            case=case,
        )
        diagnose(
            f"has the right slope where rewards are {name}",
            found.grad,
            expected,
            ideas=_slope_ideas(right),
            otherwise=f"The gradient for the {side} rewards is not what the slope of the loss says.",
            tolerance=1e-4,
            case=case,
        )


def _slope_ideas(right: np.ndarray) -> list[Misconception]:
    branch = (
        "The value is right and its gradient is NaN: torch.where and similar compute both branches, and the "
        "one that is not used overflows. Zero times infinity is NaN."
    )
    clipped = "The gradient is gone where it is needed most: something was clipped."
    return [
        Misconception("clipped", clipped, 0 * right),
        Misconception("underflow", branch, np.full(len(right), np.nan)),
    ]


def _far_ideas(difference: np.ndarray) -> list[Misconception]:
    underflow = (
        "sigmoid(-300) is 0 in float32, sigmoid(-3000) in float64 as well, and the logarithm of 0 is minus "
        "infinity. PyTorch has one function for both steps, and another that is the loss itself."
    )
    clipped = "No infinity, but the value is wrong: a small number inside of the logarithm caps the loss."
    with np.errstate(divide="ignore", over="ignore"):
        sigmoid = (1 / (1 + np.exp(-difference.astype(np.float32)))).astype(np.float32)
    capped = [float(-np.log(sigmoid + eps).mean()) for eps in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)]
    floors = [
        float(-np.log(np.maximum(sigmoid, eps)).mean()) for eps in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    ]
    return [Misconception("underflow", underflow, value) for value in (np.inf, np.nan)] + [
        Misconception("clipped", clipped, value) for value in (*capped, *floors)
    ]


def grade_accuracy(work: Work, rng: np.random.Generator) -> None:
    """Pair accuracy with ties, NaN and no pairs."""
    accuracy = work.function("pair_accuracy")
    for ties in (False, True):
        chosen, rejected = _whole_rewards(rng, ties=ties)
        diagnose(
            "counts a tie as one half" if ties else "is the share in the right order",
            accuracy(chosen, rejected),
            _accuracy(chosen, rejected),
            ideas=_accuracy_ideas(chosen, rejected),
            otherwise="Not the share of pairs whose chosen response has the higher reward.",
            tolerance=1e-9,
            case={"chosen": chosen.tolist(), "rejected": rejected.tolist()},
        )
    damaged = chosen.copy()
    damaged[int(rng.integers(len(damaged)))] = np.nan
    for pair in ((damaged, rejected), (rejected, damaged)):
        require(
            refuses(accuracy, *pair),
            "refuses NaN",
            "NaN compares false with everything. A damaged reward would count as a lost pair, or drop out of "
            "the count, and nobody would know. The docstring asks for a ValueError.",
            idea="F32",
            case={"chosen": pair[0].tolist(), "rejected": pair[1].tolist()},
        )
    require(
        refuses(accuracy, chosen[:0], rejected[:0]),
        "refuses no pairs",
        "An accuracy over no pairs is not a number. The docstring asks for a ValueError.",
        idea="F32",
        case="pair_accuracy of two empty arrays",
    )


def _whole_rewards(rng: np.random.Generator, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of 7 to 12 pairs on which the right reading and the known wrong ones all differ.

    Ties are odd in number, so that a coin for each of them never counts one half on average.
    """
    while True:
        chosen, rejected = rng.integers(-3, 4, (2, int(rng.integers(7, 13)))).astype(float)
        chosen += 0.0 if ties else 0.01
        ideas = [i for i in _accuracy_ideas(chosen, rejected) if ties or not i.id.startswith("tie")]
        values = sorted([_accuracy(chosen, rejected), *(idea.value for idea in ideas)])
        odd = bool((chosen == rejected).sum() % 2) or not ties
        if min(np.diff(values)) > 0.01 and odd:
            return chosen, rejected


def _accuracy(chosen: np.ndarray, rejected: np.ndarray) -> float:
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))


def _accuracy_ideas(chosen: np.ndarray, rejected: np.ndarray) -> list[Misconception]:
    wins, ties = chosen > rejected, chosen == rejected
    decided = max(1, int((~ties).sum()))
    rounded = _accuracy(chosen.round(), rejected.round())
    near = Misconception(
        "near-tie", "Only equal rewards are a tie. Rewards that differ by 0.01 have an order.", rounded
    )
    return [near] * bool((chosen % 1).any()) + [
        Misconception(
            "F03", "This is the share of pairs in the wrong order.", float(1 - _accuracy(chosen, rejected))
        ),
        Misconception(
            "tie-lost",
            "A tie counts as a loss here. Equal rewards are a coin toss: one half.",
            float(wins.mean()),
        ),
        Misconception(
            "tie-won",
            "A tie counts as a win here: a constant reward would score 1.",
            float((wins | ties).mean()),
        ),
        Misconception(
            "tie-dropped",
            "Ties are left out of the count here; each counts one half.",
            float(wins.sum() / decided),
        ),
        Misconception(
            "zero-point",
            "Rewards above zero are counted. A reward has no zero; compare the two.",
            float((chosen > 0).mean()),
        ),
        Misconception(
            "mean-too-early",
            "The two means are compared, not the pairs.",
            float(chosen.mean() > rejected.mean()),
        ),
        Misconception(
            "count",
            "This is a number of pairs. The share is asked for.",
            float(wins.sum() + 0.5 * ties.sum()),
        ),
    ]


EXERCISES = (
    Exercise(
        "2.2",
        "A loss and an accuracy",
        2,
        12,
        ("bt_loss", "pair_accuracy"),
        (
            Part("the loss of a batch", 1.0, grade_loss),
            Part("rewards far apart, and the gradient", 1.0, grade_far_apart),
            Part("pair accuracy", 1.0, grade_accuracy),
        ),
    ),
)
